//! The log as its readers see it: the set of segments, immutable but for the growing end of the last one.
//!
//! The writer and the keeper replace the set (one pointer); a reader that holds an old set goes on reading from files
//! that may already have lost their names. Readers never see past the durable watermark.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::piece::Piece;
use super::record::{self, Entry, RecordError};
use super::sealed::{Block, SealedSegment};
use super::segment::{RawSegment, file_name};
use super::watermark::Watermark;
use super::{EntryFilter, EntrySource, Order, ReadError};
use crate::disk::Disk;
use crate::limits::{BLOCK_CACHE_BYTES, PAST_PIECE_CACHE_BYTES, PIECE_CACHE_BYTES, PIECE_READ_BYTES, SCAN_READ_BYTES};
use crate::units::Seq;

/// One file of the log.
pub enum Segment {
    Raw(RawSegment),
    Sealed(SealedSegment),
}

impl Segment {
    pub fn first_seq(&self) -> Seq {
        match self {
            Segment::Raw(raw) => raw.first_seq(),
            Segment::Sealed(sealed) => sealed.first_seq(),
        }
    }
    pub fn last_seq(&self) -> Seq {
        match self {
            Segment::Raw(raw) => raw.last_seq(),
            Segment::Sealed(sealed) => sealed.last_seq(),
        }
    }
    pub(super) fn log_id(&self) -> [u8; 16] {
        match self {
            Segment::Raw(raw) => raw.header.log_id,
            Segment::Sealed(sealed) => sealed.trailer.log_id,
        }
    }
    pub fn file_name(&self) -> String {
        match self {
            Segment::Raw(raw) => file_name(&raw.path),
            Segment::Sealed(sealed) => file_name(&sealed.path),
        }
    }

    /// A small run of records around `seq`, checked.
    fn block_with(&self, seq: Seq) -> Result<Option<Block>, ReadError> {
        match self {
            Segment::Sealed(sealed) => sealed.block_with(seq),
            Segment::Raw(raw) => Ok(raw.read_batches(seq, 0)?.map(Block::from)),
        }
    }
}

/// The Passport's read side.
pub struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) watermark: Arc<Watermark>,
    segments: ArcSwap<Vec<Arc<Segment>>>,
    /// Held while the set is replaced; readers do not take it.
    replacing: Mutex<()>,
    /// The blocks read last.
    cache: Mutex<Cache<Block>>,
    /// The pieces made last: at the end of the log, and of sealed segments.
    pieces: Pieces,
    past_pieces: Pieces,
    pub(super) indexes: super::entry_index::EntryIndexes,
}

impl Log {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        watermark: Arc<Watermark>,
        segments: Vec<Arc<Segment>>,
        log_id: [u8; 16],
    ) -> Log {
        Log {
            disk,
            dir,
            watermark,
            segments: ArcSwap::from_pointee(segments),
            replacing: Mutex::new(()),
            cache: Mutex::new(Cache::of(BLOCK_CACHE_BYTES)),
            pieces: Pieces::of(PIECE_CACHE_BYTES),
            past_pieces: Pieces::of(PAST_PIECE_CACHE_BYTES),
            indexes: super::entry_index::EntryIndexes::new(log_id),
        }
    }

    /// Free space on the disk that the log is on, as the writer judges it.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        self.disk.free_bytes(&self.dir)
    }

    /// The segments in order; the last one is active.
    pub fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.load_full()
    }

    /// Adds the segment that the writer goes on with.
    pub(super) fn push_segment(&self, segment: Arc<Segment>) {
        let _guard = self.replacing.lock();
        let mut segments = self.segments.load().to_vec();
        segments.push(segment);
        self.segments.store(Arc::new(segments));
    }

    /// Puts a larger segment in the place of the last one, which is empty.
    pub(super) fn replace_last(&self, segment: Arc<Segment>) {
        let _guard = self.replacing.lock();
        let mut segments = self.segments.load().to_vec();
        let last = segments.last_mut().expect("a log that is written has a segment");
        assert!(last.last_seq() < last.first_seq(), "only an empty segment is replaced");
        *last = segment;
        self.segments.store(Arc::new(segments));
    }

    /// Puts the sealed form in the place of a raw segment.
    pub(super) fn replace_segment(&self, sealed: SealedSegment) {
        let _guard = self.replacing.lock();
        let mut segments = self.segments.load().to_vec();
        let place = segments
            .iter_mut()
            .find(|segment| segment.first_seq() == sealed.first_seq())
            .expect("a segment that was sealed is in the set");
        *place = Arc::new(Segment::Sealed(sealed));
        self.segments.store(Arc::new(segments));
    }

    /// Whether readers that come now read the sealed form of the segment that starts at `first`.
    pub(super) fn is_sealed(&self, first: Seq) -> bool {
        self.segment_with(first).is_some_and(|segment| matches!(segment.as_ref(), Segment::Sealed(_)))
    }

    /// The segment that holds `seq`, if one does.
    pub(super) fn segment_with(&self, seq: Seq) -> Option<Arc<Segment>> {
        let segments = self.segments.load();
        let at = segments.partition_point(|segment| segment.first_seq() <= seq);
        at.checked_sub(1).map(|at| segments[at].clone())
    }

    /// Calls `each` with the entry `seq`, which the writer compares with one that has its key: what is sent again was mostly
    /// sent a moment ago, and those who follow the log have read it since.
    pub(super) fn read_sent_before(&self, seq: Seq, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool, ReadError> {
        let kept = self.pieces.kept(seq);
        if let Some(parsed) = kept.as_ref().and_then(|piece| piece.entry(seq)) {
            each(parsed.entry);
            return Ok(true);
        }
        self.read_entry(seq, each)
    }

    /// Calls `each` with the entry `seq`, synced or not, as it lies on the disk.
    pub(super) fn read_entry(&self, seq: Seq, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool, ReadError> {
        let Some(block) = self.cached_block(seq)? else { return Ok(false) };
        let Some(bytes) = block.record(seq) else { return Ok(false) };
        each(self.decode(seq, bytes)?);
        Ok(true)
    }

    fn cached_block(&self, seq: Seq) -> Result<Option<Arc<Block>>, ReadError> {
        if let Some(block) = self.cache.lock().get(seq) {
            return Ok(Some(block));
        }
        let Some(segment) = self.segment_with(seq) else { return Ok(None) };
        let Some(block) = segment.block_with(seq)?.map(Arc::new) else { return Ok(None) };
        self.cache.lock().put(block.clone());
        Ok(Some(block))
    }

    /// Reads a record of this log; bytes that passed their checksum and do not decode are damage all the same.
    fn decode<'a>(&self, seq: Seq, bytes: &'a [u8]) -> Result<Entry<'a>, ReadError> {
        match record::decode(bytes) {
            Ok(envelope) => Ok(Entry { seq, envelope }),
            Err(error) => Err(self.damaged(seq, error)),
        }
    }

    fn damaged(&self, seq: Seq, error: RecordError) -> ReadError {
        let file = self.segment_with(seq).map(|segment| segment.file_name()).unwrap_or_default();
        ReadError::Damaged { file, offset: 0, seq, what: error.to_string() }
    }

    /// The piece that holds `seq`, synced or about to be; it is made once for all who come about the same time. Those who
    /// read what is long past neither wait for those at the end nor take the room of what these keep.
    pub(super) fn shared_piece(&self, seq: Seq) -> Result<Option<Arc<Piece>>, ReadError> {
        if let Some(piece) = self.pieces.kept(seq) {
            return Ok(Some(piece));
        }
        let Some(segment) = self.segment_with(seq) else { return Ok(None) };
        match segment.as_ref() {
            Segment::Raw(raw) => {
                self.pieces.made(seq, || self.piece_of(raw.read_batches(seq, PIECE_READ_BYTES)?.map(Block::from)))
            }
            Segment::Sealed(sealed) => self.past_pieces.made(seq, || self.piece_of(sealed.block_with(seq)?)),
        }
    }

    fn piece_of(&self, block: Option<Block>) -> Result<Option<Arc<Piece>>, ReadError> {
        let made = |block| Piece::of(block, |seq, error| self.damaged(seq, error)).map(Arc::new);
        block.map(made).transpose()
    }

    /// Calls `each` with the entries of one segment, from its first up to `high`, checking all that it reads.
    pub fn scan_segment_entries(
        &self,
        segment: &Segment,
        high: Seq,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.scan_entries(segment, Seq::new(segment.first_seq().get() - 1), high, each)
    }

    /// Reads every entry index of a sealed segment and holds it against its segment; the names of those that are wrong, and
    /// why. `go_on` is asked at each, with the last seq of its segment.
    pub fn verify_indexes(&self, go_on: &mut dyn FnMut(Seq) -> bool) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for segment in self.segments().iter() {
            if let Segment::Sealed(sealed) = segment.as_ref() {
                found.extend(super::entry_index::verify_content(self, segment, sealed));
                if !go_on(segment.last_seq()) {
                    break;
                }
            }
        }
        found
    }

    /// Files in the log's directory that the log does not know, and tails that were cut off: nothing is wrong with them.
    pub fn surplus_files(&self) -> Vec<String> {
        let listed = |dir: &std::path::Path| self.disk.list(dir).unwrap_or_default();
        let is_ours = |name: &str| {
            let is_segment = ["seg", "segz", "idx"].iter().any(|end| super::segment::seq_in_name(name, end).is_some());
            is_segment || name == super::open::ID_NAME || name.ends_with(".tmp")
        };
        let unknown = listed(&self.dir).into_iter().filter(|entry| !is_ours(&entry.name));
        let mut notes: Vec<String> =
            unknown.map(|entry| format!("passport/{} is no file of the log's and is left alone", entry.name)).collect();
        let torn = listed(&self.dir.join("torn")).len();
        if torn > 0 {
            notes.push(format!("passport/torn/ keeps {torn} tails that a crash had left unfinished"));
        }
        notes
    }

    /// Calls `each` with the entries of one segment behind `after` and up to `high`, until it breaks.
    pub(super) fn scan_entries(
        &self,
        segment: &Segment,
        after: Seq,
        high: Seq,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.scan_segment(segment, after, high, each).map(|_| ())
    }

    /// `scan` over one segment; the last seq given, and whether `each` broke.
    fn scan_segment(
        &self,
        segment: &Segment,
        after: Seq,
        durable: Seq,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(Seq, bool), ReadError> {
        let mut done = after;
        let mut give = |seq: Seq, bytes: &[u8]| -> Result<bool, ReadError> {
            if seq <= done {
                return Ok(false);
            }
            if seq > durable {
                return Ok(true);
            }
            done = seq;
            Ok(each(self.decode(seq, bytes)?).is_break())
        };
        let mut next = after.next().max(segment.first_seq());
        let end = segment.last_seq().min(durable);
        while next <= end {
            match segment {
                Segment::Raw(raw) => {
                    let Some(batches) = raw.read_batches(next, SCAN_READ_BYTES)? else { break };
                    for (seq, bytes) in batches.records() {
                        if give(seq, bytes)? {
                            return Ok((done, true));
                        }
                        next = seq.next();
                    }
                }
                Segment::Sealed(sealed) => {
                    let Some(block) = sealed.block_with(next)? else { break };
                    for (seq, bytes) in block.records() {
                        if give(seq, bytes)? {
                            return Ok((done, true));
                        }
                        next = seq.next();
                    }
                }
            }
        }
        Ok((done, false))
    }
}

impl EntrySource for Log {
    fn durable(&self) -> Seq {
        self.watermark.get()
    }

    fn scan(&self, after: Seq, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<Seq, ReadError> {
        let durable = self.durable();
        let segments = self.segments();
        let first = segments.partition_point(|segment| segment.first_seq() <= after.next()).saturating_sub(1);
        let mut done = after;
        for segment in &segments[first..] {
            if done >= durable {
                break;
            }
            let (last, broke) = self.scan_segment(segment, done, durable, each)?;
            done = last;
            if broke {
                break;
            }
        }
        Ok(done)
    }

    fn piece(&self, after: Seq) -> Result<Option<Arc<Piece>>, ReadError> {
        if after >= self.durable() { Ok(None) } else { self.shared_piece(after.next()) }
    }

    fn get(&self, seq: Seq, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool, ReadError> {
        if seq == Seq::ZERO || seq > self.durable() {
            return Ok(false);
        }
        self.read_entry(seq, each)
    }

    fn query(
        &self,
        filter: &EntryFilter,
        low: Seq,
        high: Seq,
        order: Order,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        super::entry_index::query(self, filter, low, high.min(self.durable()), order, each)
    }
}

impl From<super::segment::Batches> for Block {
    /// The records of some batches.
    fn from(batches: super::segment::Batches) -> Block {
        let first_seq = batches.records().next().map_or(Seq::ZERO, |(seq, _)| seq);
        let spans = batches.spans().map(|(_, start, end)| (start as u32, end as u32)).collect();
        Block::new(first_seq, batches.into_bytes(), spans)
    }
}

/// Some entries in a row.
trait Span {
    fn first_seq(&self) -> Seq;
    fn last_seq(&self) -> Seq;
    /// What it takes in memory.
    fn len_bytes(&self) -> usize;
}

impl Span for Block {
    fn first_seq(&self) -> Seq {
        self.first_seq
    }
    fn last_seq(&self) -> Seq {
        Block::last_seq(self)
    }
    fn len_bytes(&self) -> usize {
        Block::len_bytes(self)
    }
}

impl Span for Piece {
    fn first_seq(&self) -> Seq {
        Piece::first_seq(self)
    }
    fn last_seq(&self) -> Seq {
        Piece::last_seq(self)
    }
    fn len_bytes(&self) -> usize {
        Piece::len_bytes(self)
    }
}

/// Pieces that were made lately, and who makes one now.
struct Pieces {
    kept: Mutex<Cache<Piece>>,
    making: Mutex<()>,
}

impl Pieces {
    fn of(bytes_max: usize) -> Pieces {
        Pieces { kept: Mutex::new(Cache::of(bytes_max)), making: Mutex::new(()) }
    }

    fn kept(&self, seq: Seq) -> Option<Arc<Piece>> {
        self.kept.lock().get(seq)
    }

    /// The one that holds `seq`, made by one of those who want it.
    fn made(
        &self,
        seq: Seq,
        make: impl FnOnce() -> Result<Option<Arc<Piece>>, ReadError>,
    ) -> Result<Option<Arc<Piece>>, ReadError> {
        let _one_at_a_time = match self.kept(seq) {
            Some(piece) => return Ok(Some(piece)),
            None => self.making.lock(),
        };
        if let Some(piece) = self.kept(seq) {
            return Ok(Some(piece));
        }
        let made = make()?;
        if let Some(piece) = &made {
            self.kept.lock().put(piece.clone());
        }
        Ok(made)
    }
}

/// What was read last, bounded by its bytes. A block of the active segment is one batch, often of one small event, so
/// there may be tens of thousands: a look-up must not pass them all.
struct Cache<T> {
    /// By first seq; none lies inside another. Where two overlap, both hold the same entries.
    blocks: BTreeMap<Seq, Arc<T>>,
    /// The first seqs of all of them, oldest first, and of some that are gone.
    order: VecDeque<Seq>,
    bytes: usize,
    bytes_max: usize,
}

impl<T: Span> Cache<T> {
    fn of(bytes_max: usize) -> Cache<T> {
        Cache { blocks: BTreeMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    fn get(&self, seq: Seq) -> Option<Arc<T>> {
        let (_, block) = self.blocks.range(..=seq).next_back()?;
        (seq <= block.last_seq()).then(|| block.clone())
    }

    fn put(&mut self, block: Arc<T>) {
        // A block of the sealed form holds many of the raw one, which would hide it.
        let inside: Vec<Seq> = self.blocks.range(block.first_seq()..=block.last_seq()).map(|(seq, _)| *seq).collect();
        inside.into_iter().for_each(|seq| self.forget(seq));
        self.bytes += block.len_bytes();
        self.order.push_back(block.first_seq());
        self.blocks.insert(block.first_seq(), block);
        while self.bytes > self.bytes_max && self.order.len() > 1 {
            if let Some(oldest) = self.order.pop_front() {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, first_seq: Seq) {
        if let Some(block) = self.blocks.remove(&first_seq) {
            self.bytes -= block.len_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: u64, count: u32, bytes: usize) -> Arc<Block> {
        Arc::new(Block::new(Seq::new(first), vec![0; bytes], vec![(0, 0); count as usize]))
    }

    #[test]
    fn a_block_is_found_by_each_of_its_seqs_until_newer_ones_need_its_room() {
        let mut cache = Cache::of(BLOCK_CACHE_BYTES);
        cache.put(block(10, 5, BLOCK_CACHE_BYTES / 4));
        cache.put(block(1, 9, BLOCK_CACHE_BYTES / 4));
        cache.put(block(1, 9, BLOCK_CACHE_BYTES / 4));
        let held = |cache: &Cache<Block>, seq| cache.get(Seq::new(seq)).map(|block| block.first_seq.get());
        assert_eq!(
            [0, 1, 9, 10, 14, 15].map(|seq| held(&cache, seq)),
            [None, Some(1), Some(1), Some(10), Some(10), None]
        );
        cache.put(block(12, 1, 100));
        cache.put(block(10, 5, BLOCK_CACHE_BYTES / 4));
        assert_eq!([11, 12, 14].map(|seq| held(&cache, seq)), [Some(10); 3], "a small block does not hide a large one");
        cache.put(block(20, 1, BLOCK_CACHE_BYTES * 3 / 4));
        assert_eq!([1, 10, 20].map(|seq| held(&cache, seq)), [None, None, Some(20)]);
        assert_eq!(cache.bytes, cache.blocks.values().map(|block| block.len_bytes()).sum::<usize>());
    }
}
