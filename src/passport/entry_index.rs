//! The entry indexes of all segments, and queries over them.
//!
//! A raw segment has a live index in memory, brought up to date by the keeper thread and by whoever asks; a sealed one
//! has a file, opened when it is first asked and kept among the last [`OPEN_INDEXES_MAX`]. An index that is missing,
//! stale or damaged is made again from its segment: it is never evidence about the log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;

use super::index::{self, Postings, SegmentId, SegmentIndex, SegmentIndexBuilder, TermKey};
use super::log::{Log, Segment};
use super::record::Entry;
use super::sealed::SealedSegment;
use super::{EntryFilter, Order, ReadError};
use crate::disk::OpenMode;
use crate::limits::{INDEX_LOCK_ENTRIES, OPEN_INDEXES_MAX};
use crate::units::Seq;

pub(super) type Live = Arc<RwLock<SegmentIndexBuilder>>;

/// The indexes that are in memory.
pub(super) struct EntryIndexes {
    key: TermKey,
    live: Mutex<BTreeMap<Seq, Live>>,
    /// Least recently used first.
    open: Mutex<Vec<(Seq, Arc<SegmentIndex>)>>,
}

impl EntryIndexes {
    pub fn new(log_id: [u8; 16]) -> EntryIndexes {
        EntryIndexes { key: TermKey::new(log_id), live: Mutex::default(), open: Mutex::default() }
    }

    fn live(&self, first_seq: Seq) -> Live {
        let mut live = self.live.lock();
        let made = || Arc::new(RwLock::new(SegmentIndexBuilder::new(first_seq, self.key)));
        live.entry(first_seq).or_insert_with(made).clone()
    }

    /// Brings the live index of a raw segment up to `high`, a few thousand entries at a lock, and gives it: whoever asks
    /// must ask this one, since the segment may be sealed and its live index forgotten in between.
    pub fn catch_up(&self, log: &Log, segment: &Segment, high: Seq) -> Result<Live, ReadError> {
        let first = segment.first_seq();
        let high = high.min(segment.last_seq());
        let live = self.live(first);
        loop {
            let mut builder = live.write();
            let next = first.plus(u64::from(builder.count()));
            if next > high {
                drop(builder);
                return Ok(live);
            }
            let Some(piece) = log.shared_piece(next)? else {
                let what = format!("it gives no entry {next}, and holds {}", segment.last_seq());
                return Err(ReadError::Io { file: segment.file_name(), what });
            };
            let before = Seq::new(next.get() - 1);
            piece.entries(before, high).iter().take(INDEX_LOCK_ENTRIES).for_each(|parsed| builder.add_parsed(parsed));
        }
    }

    /// The index of a raw segment that takes no more entries, written beside its sealed form.
    pub fn write_sealed(&self, log: &Log, sealed: &SealedSegment) -> Result<(), ReadError> {
        let live = self.live(sealed.first_seq());
        let builder = live.read();
        index::write(log.disk.as_ref(), &log.dir, &builder, segment_id(sealed).digest)
            .map_err(|error| ReadError::Io { file: index::file_name(sealed.first_seq()), what: error.to_string() })
    }

    /// Drops the live index of a segment that is sealed now.
    pub fn forget_live(&self, first_seq: Seq) {
        self.live.lock().remove(&first_seq);
    }

    /// The index of a sealed segment, made again where it is not good.
    fn sealed(&self, log: &Log, segment: &Segment, sealed: &SealedSegment) -> Result<Arc<SegmentIndex>, ReadError> {
        let first = sealed.first_seq();
        {
            let mut open = self.open.lock();
            if let Some(at) = open.iter().position(|(seq, _)| *seq == first) {
                let found = open.remove(at);
                open.push(found.clone());
                return Ok(found.1);
            }
        }
        let id = segment_id(sealed);
        let opened = match SegmentIndex::open(log.disk.as_ref(), &log.dir, &id) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%error, "an entry index is made again from its segment");
                self.make_again(log, segment, &id)?
            }
        };
        let opened = Arc::new(opened);
        let mut open = self.open.lock();
        open.push((first, opened.clone()));
        let surplus = open.len().saturating_sub(OPEN_INDEXES_MAX);
        open.drain(..surplus);
        Ok(opened)
    }

    fn make_again(&self, log: &Log, segment: &Segment, id: &SegmentId) -> Result<SegmentIndex, ReadError> {
        let builder = self.build(log, segment)?;
        let failed =
            |error: index::IndexError| ReadError::Io { file: index::file_name(id.first_seq), what: error.to_string() };
        index::write(log.disk.as_ref(), &log.dir, &builder, id.digest).map_err(failed)?;
        SegmentIndex::open(log.disk.as_ref(), &log.dir, id).map_err(failed)
    }

    /// The index that a segment's entries give.
    fn build(&self, log: &Log, segment: &Segment) -> Result<SegmentIndexBuilder, ReadError> {
        let first = segment.first_seq();
        let mut builder = SegmentIndexBuilder::new(first, self.key);
        log.scan_entries(segment, Seq::new(first.get() - 1), segment.last_seq(), &mut |entry| {
            builder.add_entry(&entry);
            ControlFlow::Continue(())
        })?;
        Ok(builder)
    }

    /// Writes the index of a sealed segment anew, and has readers open that.
    pub fn mend(&self, log: &Log, segment: &Segment, sealed: &SealedSegment) -> Result<(), ReadError> {
        self.make_again(log, segment, &segment_id(sealed))?;
        self.open.lock().retain(|(seq, _)| *seq != sealed.first_seq());
        Ok(())
    }

    /// The local ids of one segment that may match.
    fn candidates(
        &self,
        log: &Log,
        segment: &Segment,
        filter: &EntryFilter,
        low: Seq,
        high: Seq,
    ) -> Result<RoaringBitmap, ReadError> {
        let first = segment.first_seq().get();
        let (low_id, high_id) = ((low.get() - first) as u32, (high.get() - first) as u32);
        match segment {
            Segment::Raw(_) => {
                let live = self.catch_up(log, segment, high)?;
                if log.is_sealed(segment.first_seq()) {
                    // A reader of an old set has just made it again; nobody else would drop it.
                    self.forget_live(segment.first_seq());
                }
                let builder = live.read();
                let found: Result<_, std::convert::Infallible> = index::candidates(&*builder, filter, low_id, high_id);
                Ok(found.unwrap_or_else(|never| match never {}))
            }
            Segment::Sealed(sealed) => {
                let opened = self.sealed(log, segment, sealed)?;
                index::candidates(&*opened, filter, low_id, high_id).or_else(|error| {
                    tracing::warn!(%error, "an entry index is made again from its segment");
                    self.open.lock().retain(|(seq, _)| *seq != sealed.first_seq());
                    let made = self.make_again(log, segment, &segment_id(sealed))?;
                    index::candidates(&made, filter, low_id, high_id).map_err(|error| ReadError::Io {
                        file: index::file_name(sealed.first_seq()),
                        what: error.to_string(),
                    })
                })
            }
        }
    }
}

/// What an index says of the segment that it was made from.
pub(super) fn segment_id(sealed: &SealedSegment) -> SegmentId {
    let trailer = &sealed.trailer;
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&trailer.segment_id.to_le_bytes());
    digest[8..12].copy_from_slice(&trailer.last_checksum.to_le_bytes());
    SegmentId {
        first_seq: trailer.first_seq,
        count: (trailer.last_seq.get() - trailer.first_seq.get() + 1) as u32,
        digest,
    }
}

/// The file and what is wrong with it; an index that is not there yet is made when it is asked for.
pub(super) fn verify(log: &Log, sealed: &SealedSegment) -> Option<(String, String)> {
    let opened = SegmentIndex::open(log.disk.as_ref(), &log.dir, &segment_id(sealed));
    match opened.and_then(|opened| opened.verify()) {
        Ok(()) | Err(index::IndexError::Missing { .. }) => None,
        Err(error) => Some((index::file_name(sealed.first_seq()), error.to_string())),
    }
}

/// The same, and against the index that the segment gives when it is read again: equal to the byte.
pub(super) fn verify_content(log: &Log, segment: &Segment, sealed: &SealedSegment) -> Option<(String, String)> {
    let damaged = verify(log, sealed);
    if damaged.is_some() {
        return damaged;
    }
    let name = index::file_name(sealed.first_seq());
    let file = log.disk.open(&log.dir.join(&name), OpenMode::Read).ok()?;
    let expected = log.indexes.build(log, segment).ok()?.encode(segment_id(sealed).digest);
    let mut bytes = vec![0; expected.len()];
    let same = file.len_bytes().is_ok_and(|len| len == expected.len() as u64)
        && file.read_exact_at(&mut bytes, 0).is_ok()
        && bytes == expected;
    (!same).then(|| (name, "it does not say of its segment's entries what they say themselves".to_owned()))
}

/// Calls `each` with the entries in `low..=high` that pass the filter, in order, until it breaks.
pub(super) fn query(
    log: &Log,
    filter: &EntryFilter,
    low: Seq,
    high: Seq,
    order: Order,
    each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let low = low.max(Seq::new(1));
    let segments = log.segments();
    let overlapping: Vec<_> =
        segments.iter().filter(|segment| segment.first_seq() <= high && segment.last_seq() >= low).collect();
    let mut run = |segment: &Segment| -> Result<ControlFlow<()>, ReadError> {
        let (low, high) = (low.max(segment.first_seq()), high.min(segment.last_seq()));
        let ids = log.indexes.candidates(log, segment, filter, low, high)?;
        let first = segment.first_seq();
        let mut give = |id: u32| {
            let mut flow = ControlFlow::Continue(());
            log.read_entry(first.plus(u64::from(id)), &mut |entry| {
                if index::matches(&entry, filter) {
                    flow = each(entry);
                }
            })?;
            Ok::<_, ReadError>(flow)
        };
        match order {
            Order::Ascending => {
                for id in ids.iter() {
                    if give(id)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            Order::Descending => {
                for id in ids.iter().rev() {
                    if give(id)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    };
    match order {
        Order::Ascending => {
            for segment in overlapping {
                if run(segment)?.is_break() {
                    break;
                }
            }
        }
        Order::Descending => {
            for segment in overlapping.into_iter().rev() {
                if run(segment)?.is_break() {
                    break;
                }
            }
        }
    }
    Ok(())
}
