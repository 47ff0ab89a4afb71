//! Opening the log: which files are there, whether they follow each other, and where the last one really ends.
//!
//! What a crash can leave, and what is done about it:
//! 1. a torn batch behind the last synced one, no whole batch after it: cut off, and kept aside in `torn/`. A header
//!    that is whole and says another place, another version or an impossible length was never torn: that is damage.
//!    Where the disk is too full to keep it aside it stays where it is, and the log read-only, until there is room;
//! 2. a raw segment beside its sealed form: the sealed form is whole (it was synced before it got its name), so the raw
//!    file is removed; if it is not whole after all, it is the one that goes;
//! 3. `*.tmp` files: removed.
//!
//! Everything else is damage: the start stops and says where. The work is that of the raw segments (the active one, and
//! what was not sealed yet); of a sealed segment only the trailer is read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use parking_lot::RwLock;

use super::ReadError;
use super::batch::{self, BatchError, BatchHeader, HEADER_BYTES, field};
use super::log::Segment;
use super::sealed::SealedSegment;
use super::segment::{
    BatchPlace, FIRST_BATCH_OFFSET, Places, RawSegment, SegmentHeader, file_name, raw_name, seq_in_name,
};
use crate::clock::Clock;
use crate::disk::{Disk, DiskFile, OpenMode, is_full};
use crate::units::{Seq, Timestamp};

/// Why the log could not be opened. The message names file, offset, seq and the next command.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{file}: damaged at offset {offset}, seq {seq}: {what}. Nothing was changed. Next: {next}")]
    Damaged { file: String, offset: u64, seq: Seq, what: String, next: &'static str },
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
}

/// What to do about damage that a restart cannot mend.
const NEXT: &str =
    "run `coliseum verify`, which reads all of the log, then `coliseum repair`, which says what it would do";

impl OpenError {
    pub(super) fn io(path: &Path, error: io::Error) -> OpenError {
        OpenError::Io { path: path.display().to_string(), error }
    }
    /// A log that was there has lost all of its segments.
    pub(super) fn lost_segments(dir: &Path) -> OpenError {
        let what = "the directory has the id of a log and none of its segments";
        OpenError::damaged(dir.display().to_string(), 0, Seq::new(1), what)
    }
    fn no_active(last: &SealedSegment) -> OpenError {
        let what = "the active segment is missing: a segment is sealed only after the one behind it exists";
        OpenError::damaged(raw_name(last.last_seq().next()), 0, last.last_seq().next(), what)
    }
    pub(super) fn other_log(dir: &Path) -> OpenError {
        let what = "`log.id` and the segments belong to different logs";
        OpenError::damaged(dir.display().to_string(), 0, Seq::new(1), what)
    }
    pub(super) fn damaged_file(file: String, what: &str) -> OpenError {
        OpenError::damaged(file, 0, Seq::ZERO, what)
    }
    fn damaged(file: String, offset: u64, seq: Seq, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { file, offset, seq, what: what.into(), next: NEXT }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> OpenError {
        match error {
            ReadError::Damaged { file, offset, seq, what } => OpenError::damaged(file, offset, seq, what),
            ReadError::Io { file, what } => OpenError::Io { path: file, error: io::Error::other(what) },
        }
    }
}

/// A tail that was cut off and kept aside.
#[derive(Clone, Debug)]
pub struct TornTail {
    pub segment: String,
    pub offset: u64,
    pub bytes: u64,
    pub kept_in: PathBuf,
}

/// A torn tail that the disk was too full to keep aside. It lies behind the last batch of the active segment, where no
/// reader looks; nothing may be written before it is cut.
pub(super) struct UncutTail {
    tail: TornTail,
    error: BatchError,
}

impl UncutTail {
    /// Cuts it off, if there is room by now; `false` if there is not.
    ///
    /// # Errors
    /// The disk failed. Nothing may be written behind the tail.
    pub fn cut(&mut self, disk: &dyn Disk, clock: &dyn Clock, raw: &RawSegment) -> io::Result<bool> {
        match cut(disk, clock, raw, &mut self.tail, &self.error) {
            Ok(()) => Ok(true),
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What it takes to keep it aside.
    pub fn bytes(&self) -> u64 {
        self.tail.bytes
    }
}

/// What was found.
pub(super) struct Recovered {
    /// In order; the last is raw and active. Empty for a log that was never written.
    pub segments: Vec<Arc<Segment>>,
    pub torn: Option<TornTail>,
    pub uncut: Option<UncutTail>,
}

/// Looks at every segment by itself and at how they follow each other, and changes nothing: what a log that does not open
/// has wrong, all of it. A torn tail alone is no damage.
pub fn survey(disk: &dyn Disk, dir: &Path) -> Result<Vec<OpenError>, OpenError> {
    let all = files(disk, dir)?;
    let mut found = Vec::new();
    let mut before: Option<Segment> = None;
    for (at, files) in all.iter().enumerate() {
        let opened =
            open_segment(disk, dir, *files, false).and_then(|segment| read_whole(segment, at + 1 == all.len()));
        match opened {
            Ok(segment) => {
                // Behind one that cannot be read, nothing can be said of the next one's place.
                if before.is_some() || at == 0 {
                    found.extend(check_follows(before.as_ref(), &segment).err());
                }
                before = Some(segment);
            }
            Err(error) => {
                found.push(error);
                before = None;
            }
        }
    }
    if let Some(Segment::Sealed(sealed)) = before {
        found.push(OpenError::no_active(&sealed));
    }
    Ok(found)
}

/// Every record of a segment, checked; the segment with its places.
fn read_whole(segment: Segment, last: bool) -> Result<Segment, OpenError> {
    match segment {
        Segment::Raw(raw) => {
            let (raw, stopped) = scan(raw)?;
            if let Some(error) = stopped {
                torn_tail(&raw, &error, last)?;
            }
            Ok(Segment::Raw(raw))
        }
        Segment::Sealed(sealed) => {
            sealed.check_all()?;
            Ok(Segment::Sealed(sealed))
        }
    }
}

/// The forms in which one segment is there.
#[derive(Clone, Copy)]
struct Files {
    first: Seq,
    raw: bool,
    sealed: bool,
}

/// The segments of a directory by the names of their files, in the order of the log.
fn files(disk: &dyn Disk, dir: &Path) -> Result<Vec<Files>, OpenError> {
    let mut all: Vec<Files> = Vec::new();
    for entry in disk.list(dir).map_err(|error| OpenError::io(dir, error))? {
        let (raw, sealed) = (seq_in_name(&entry.name, "seg"), seq_in_name(&entry.name, "segz"));
        let Some(first) = raw.or(sealed) else { continue };
        match all.iter_mut().find(|files| files.first == first) {
            Some(files) => (files.raw, files.sealed) = (true, true),
            None => all.push(Files { first, raw: raw.is_some(), sealed: sealed.is_some() }),
        }
    }
    all.sort_unstable_by_key(|files| files.first);
    Ok(all)
}

/// What one segment says about its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub log_id: [u8; 16],
    pub segment_id: u64,
    pub previous_segment_id: u64,
    pub previous_checksum: u32,
    pub last_checksum: u32,
}

/// Opens every segment of `dir`, checks that they follow each other, and cuts a torn tail.
pub(super) fn recover(disk: &dyn Disk, clock: &dyn Clock, dir: &Path) -> Result<Recovered, OpenError> {
    let failed = |error| OpenError::io(dir, error);
    disk.sync_dir(dir).map_err(failed)?;
    for entry in disk.list(dir).map_err(failed)?.iter().filter(|entry| entry.name.ends_with(".tmp")) {
        disk.remove(&dir.join(&entry.name)).map_err(failed)?;
    }
    let all = files(disk, dir)?;
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let (mut torn, mut uncut) = (None, None);
    for (at, files) in all.iter().enumerate() {
        let segment = match open_segment(disk, dir, *files, true)? {
            Segment::Raw(raw) => {
                let (raw, stopped) = scan(raw)?;
                if let Some(error) = stopped
                    && let Some(mut tail) = torn_tail(&raw, &error, at + 1 == all.len())?
                {
                    match cut(disk, clock, &raw, &mut tail, &error) {
                        Ok(()) => torn = Some(tail),
                        Err(full) if is_full(&full) => {
                            tracing::error!(
                                segment = tail.segment, offset = tail.offset, bytes = tail.bytes, error = %full,
                                "a torn tail cannot be kept aside; the log is read-only until there is room"
                            );
                            uncut = Some(UncutTail { tail, error });
                        }
                        Err(error) => return Err(OpenError::io(&raw.path, error)),
                    }
                }
                if at + 1 == all.len() {
                    write_last_batch_again(&raw).map_err(|error| OpenError::io(&raw.path, error))?;
                }
                Segment::Raw(raw)
            }
            sealed => sealed,
        };
        check_follows(segments.last().map(AsRef::as_ref), &segment)?;
        segments.push(Arc::new(segment));
    }
    if let Some(Segment::Sealed(sealed)) = segments.last().map(AsRef::as_ref) {
        return Err(OpenError::no_active(sealed));
    }
    Ok(Recovered { segments, torn, uncut })
}

/// Opens the segments of a log that nobody writes, checks that they follow each other, and changes nothing. Raw ones are
/// read whole. A torn tail is damage here: whoever copied the log copied it up to a synced batch.
pub(super) fn open_to_read(disk: &dyn Disk, dir: &Path) -> Result<Vec<Arc<Segment>>, OpenError> {
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for files in files(disk, dir)? {
        let segment = match open_segment(disk, dir, files, false)? {
            Segment::Raw(raw) => {
                let (raw, stopped) = scan(raw)?;
                if let Some(error) = stopped
                    && let Some(TornTail { segment, offset, .. }) = torn_tail(&raw, &error, true)?
                {
                    return Err(OpenError::damaged(segment, offset, raw.last_seq().next(), error.to_string()));
                }
                Segment::Raw(raw)
            }
            sealed => sealed,
        };
        check_follows(segments.last().map(AsRef::as_ref), &segment)?;
        segments.push(Arc::new(segment));
    }
    match segments.last().map(AsRef::as_ref) {
        None => Err(OpenError::lost_segments(dir)),
        Some(Segment::Sealed(sealed)) => Err(OpenError::no_active(sealed)),
        Some(Segment::Raw(_)) => Ok(segments),
    }
}

/// Opens one segment by whichever of its two forms counts, and, if it may mend, removes the other.
fn open_segment(disk: &dyn Disk, dir: &Path, files: Files, mend: bool) -> Result<Segment, OpenError> {
    let Files { first, raw, sealed } = files;
    let raw_path = dir.join(raw_name(first));
    if sealed {
        let path = dir.join(super::sealed::sealed_name(first));
        // The raw form goes only when every block of the sealed one is whole: it would be the last good copy.
        let opened = SealedSegment::open(disk, path.clone());
        match opened.and_then(|segment| if raw { segment.check_all().map(|()| segment) } else { Ok(segment) }) {
            Ok(segment) => {
                if segment.first_seq() != first {
                    let what = format!("the file holds seq {} on: it is another segment", segment.first_seq());
                    return Err(OpenError::damaged(file_name(&path), 0, first, what));
                }
                if raw && mend {
                    disk.remove(&raw_path).map_err(|error| OpenError::io(&raw_path, error))?;
                }
                return Ok(Segment::Sealed(segment));
            }
            Err(error) if raw => {
                tracing::warn!(%error, "the sealed form is not whole; the raw segment beside it counts");
                if mend {
                    disk.remove(&path).map_err(|error| OpenError::io(&path, error))?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let failed = |error| OpenError::io(&raw_path, error);
    let file = disk.open(&raw_path, if mend { OpenMode::Update } else { OpenMode::Read }).map_err(failed)?;
    let file_bytes = file.len_bytes().map_err(failed)?;
    let damaged = |what: String| OpenError::damaged(file_name(&raw_path), 0, first, what);
    let mut block = vec![0; FIRST_BATCH_OFFSET.min(file_bytes) as usize];
    file.read_exact_at(&mut block, 0).map_err(failed)?;
    let header = SegmentHeader::decode(&block).map_err(damaged)?;
    if header.file_bytes != file_bytes {
        let what = format!("the file is {file_bytes} bytes long and was made with {}", header.file_bytes);
        return Err(damaged(what));
    }
    if header.first_seq != first {
        return Err(damaged(format!("the header says seq {} on: it is another segment", header.first_seq)));
    }
    let places = Places {
        batches: Vec::new(),
        end_offset: FIRST_BATCH_OFFSET,
        last_seq: Seq::new(first.get() - 1),
        last_checksum: header.chain_start(),
    };
    Ok(Segment::Raw(RawSegment { path: raw_path, header, file, places: RwLock::new(places) }))
}

pub(super) fn link(segment: &Segment) -> Link {
    match segment {
        Segment::Raw(raw) => Link {
            first_seq: raw.first_seq(),
            last_seq: raw.last_seq(),
            log_id: raw.header.log_id,
            segment_id: raw.header.segment_id,
            previous_segment_id: raw.header.previous_segment_id,
            previous_checksum: raw.header.previous_checksum,
            last_checksum: raw.places.read().last_checksum,
        },
        Segment::Sealed(sealed) => Link {
            first_seq: sealed.first_seq(),
            last_seq: sealed.last_seq(),
            log_id: sealed.trailer.log_id,
            segment_id: sealed.trailer.segment_id,
            previous_segment_id: sealed.trailer.previous_segment_id,
            previous_checksum: sealed.trailer.previous_checksum,
            last_checksum: sealed.trailer.last_checksum,
        },
    }
}

/// Checks that `next` is the segment that was written behind `before`.
fn check_follows(before: Option<&Segment>, next: &Segment) -> Result<(), OpenError> {
    let after = link(next);
    let damaged = |what: String| Err(OpenError::damaged(next.file_name(), 0, after.first_seq, what));
    let Some(before) = before else {
        return match after.first_seq.get() {
            1 => Ok(()),
            first => {
                damaged(format!("the log starts at seq {first}: the segments with seq 1 to {} are missing", first - 1))
            }
        };
    };
    let link = link(before);
    if link.log_id != after.log_id {
        return damaged("the segment belongs to another log".into());
    }
    if link.last_seq.next() != after.first_seq {
        return damaged(format!(
            "the segment before it ({}) ends at seq {}: one is missing, cut, or there twice",
            before.file_name(),
            link.last_seq
        ));
    }
    if link.segment_id != after.previous_segment_id || link.last_checksum != after.previous_checksum {
        return damaged(format!(
            "it was not written behind {}: the chain of checksums breaks here",
            before.file_name()
        ));
    }
    Ok(())
}

/// Makes the last batch durable. It may lie in the page cache only: the process that wrote it was killed before its sync,
/// or the sync failed. After a failure the cache holds the batch and takes it for clean, so that another sync would say
/// that all is well and write nothing; what is written again is dirty again. All batches before it were synced, since
/// nothing is written behind one that is not.
fn write_last_batch_again(raw: &RawSegment) -> io::Result<()> {
    let (start, end) = {
        let places = raw.places.read();
        match places.batches.last() {
            Some(last) => (last.offset, places.end_offset),
            None => (0, FIRST_BATCH_OFFSET),
        }
    };
    let mut bytes = vec![0; (end - start) as usize];
    raw.file.read_exact_at(&mut bytes, start)?;
    raw.file.write_all_at(&bytes, start)?;
    raw.file.sync()
}

/// Reads all batches of a raw segment; with why the bytes behind the last whole one are none, if any are there.
fn scan(raw: RawSegment) -> Result<(RawSegment, Option<BatchError>), OpenError> {
    let file_bytes = raw.header.file_bytes;
    let failed = |error| OpenError::io(&raw.path, error);
    let mut window = ReadAhead::of(raw.file.as_ref(), file_bytes);
    let mut places = raw.places.read().clone();
    let stopped = loop {
        let offset = places.end_offset;
        if offset + HEADER_BYTES as u64 > file_bytes {
            break None;
        }
        match next_batch(&mut window, &raw.header, offset, file_bytes).map_err(failed)? {
            Ok(header) => {
                if header.first_seq != places.last_seq.next() || header.previous_checksum != places.last_checksum {
                    let what = "a whole batch lies here that does not follow the one before it";
                    return Err(OpenError::damaged(file_name(&raw.path), offset, places.last_seq.next(), what));
                }
                places.batches.push(BatchPlace { first_seq: header.first_seq, offset });
                places.end_offset = offset + header.total_bytes();
                places.last_seq = header.last_seq();
                places.last_checksum = header.checksum;
            }
            Err(error) => break Some(error),
        }
    };
    *raw.places.write() = places;
    Ok((raw, stopped))
}

/// The batch at `offset`, checked by itself and for its place; the inner error says why there is none.
pub(super) fn next_batch(
    window: &mut ReadAhead<'_>,
    segment: &SegmentHeader,
    offset: u64,
    file_bytes: u64,
) -> io::Result<Result<BatchHeader, BatchError>> {
    let header = match BatchHeader::read(&field(window.get(offset, HEADER_BYTES)?, 0)) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    if header.segment_id != segment.segment_id || header.offset != offset {
        return Ok(Err(BatchError::Place(format!("segment {:x}, offset {}", header.segment_id, header.offset))));
    }
    if offset + header.total_bytes() > file_bytes {
        return Ok(Err(BatchError::Length(header.total_bytes())));
    }
    let whole = window.get(offset, header.total_bytes() as usize)?;
    Ok(header.check_body(whole).map(|()| header))
}

/// What lies behind the last whole batch: zeros (`None`), a torn write to cut off, or damage.
fn torn_tail(raw: &RawSegment, error: &BatchError, last: bool) -> Result<Option<TornTail>, OpenError> {
    let failed = |error| OpenError::io(&raw.path, error);
    let (offset, seq) = {
        let places = raw.places.read();
        (places.end_offset, places.last_seq.next())
    };
    let mut tail = vec![0; (raw.header.file_bytes - offset) as usize];
    raw.file.read_exact_at(&mut tail, offset).map_err(failed)?;
    let Some(length) = tail.iter().rposition(|byte| *byte != 0).map(|at| at + 1) else { return Ok(None) };
    if let Some(found) = whole_batch_in(&tail, offset, &raw.header) {
        let what = format!("{error}; a whole batch lies behind it at offset {found}, so this is no torn tail");
        return Err(OpenError::damaged(file_name(&raw.path), offset, seq, what));
    }
    if !may_be_torn(error) {
        let what = format!("{error}; its header is whole, so this is no torn tail");
        return Err(OpenError::damaged(file_name(&raw.path), offset, seq, what));
    }
    if !last {
        let what = format!("{error}; the segments behind it show that it was whole once");
        return Err(OpenError::damaged(file_name(&raw.path), offset, seq, what));
    }
    let segment = file_name(&raw.path);
    Ok(Some(TornTail { segment, offset, bytes: length as u64, kept_in: PathBuf::new() }))
}

/// Whether a write that a crash interrupted can look like this.
pub(super) fn may_be_torn(error: &BatchError) -> bool {
    matches!(error, BatchError::Magic(_) | BatchError::HeaderChecksum | BatchError::Checksum { .. })
}

/// Cuts a torn tail off.
///
/// 1. What is cut is kept in `torn/`. A crash after this leaves the tail in both places, and the next start cuts it again.
///    Where this fails, what was written of it is removed; once it is kept, another go does not keep it again.
/// 2. The tail is zeroed, so that what is written next is followed by zeros again.
fn cut(
    disk: &dyn Disk,
    clock: &dyn Clock,
    raw: &RawSegment,
    tail: &mut TornTail,
    error: &BatchError,
) -> io::Result<()> {
    let mut bytes = vec![0; tail.bytes as usize];
    raw.file.read_exact_at(&mut bytes, tail.offset)?;
    if tail.kept_in.as_os_str().is_empty() {
        tail.kept_in = keep_aside(disk, raw, tail, &bytes, clock.now())?;
    }
    bytes.fill(0);
    raw.file.write_all_at(&bytes, tail.offset)?;
    raw.file.sync()?;
    tracing::warn!(
        segment = tail.segment, offset = tail.offset, bytes = tail.bytes, kept_in = %tail.kept_in.display(), %error,
        "cut a torn tail: a crash interrupted a write that was never acknowledged"
    );
    Ok(())
}

/// Puts the bytes of a torn tail into a file of their own, durably.
fn keep_aside(disk: &dyn Disk, raw: &RawSegment, tail: &TornTail, bytes: &[u8], now: Timestamp) -> io::Result<PathBuf> {
    let dir = raw.path.parent().expect("a segment lies in the log's directory");
    let torn = dir.join("torn");
    disk.create_dir_all(&torn)?;
    let (path, file) = new_torn_file(disk, &torn, tail, now)?;
    let kept = file.write_all_at(bytes, 0).and_then(|()| file.sync());
    match kept.and_then(|()| disk.sync_dir(&torn)).and_then(|()| disk.sync_dir(dir)) {
        Ok(()) => Ok(path),
        Err(error) => {
            disk.remove(&path)?;
            Err(error)
        }
    }
}

/// A new file for a torn tail. One of the same name is there where a start was broken off and the clock stood still, or was
/// set back.
fn new_torn_file(
    disk: &dyn Disk,
    torn: &Path,
    tail: &TornTail,
    now: Timestamp,
) -> io::Result<(PathBuf, Arc<dyn DiskFile>)> {
    let mut micros = now.micros();
    loop {
        let path = torn.join(format!("{}-{}-{micros}.bytes", tail.segment, tail.offset));
        match disk.open(&path, OpenMode::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => micros += 1,
            made => return made.map(|file| (path, file)),
        }
    }
}

/// The offset of a whole batch of this segment anywhere in `tail`, which starts at `offset` of the file.
pub(super) fn whole_batch_in(tail: &[u8], offset: u64, segment: &SegmentHeader) -> Option<u64> {
    memmem::find_iter(tail, &batch::MAGIC).map(|at| (at, offset + at as u64)).find_map(|(at, place)| {
        let head: [u8; HEADER_BYTES] = tail.get(at..at + HEADER_BYTES)?.try_into().ok()?;
        let header = BatchHeader::read(&head).ok()?;
        let whole = tail.get(at..at + header.total_bytes() as usize)?;
        let ours = header.segment_id == segment.segment_id && header.offset == place;
        (ours && header.check_body(whole).is_ok()).then_some(place)
    })
}

/// Reads a file front to back in large pieces.
pub(super) struct ReadAhead<'a> {
    file: &'a dyn DiskFile,
    file_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> ReadAhead<'a> {
    const PIECE_BYTES: usize = 4 * 1024 * 1024;

    pub fn of(file: &'a dyn DiskFile, file_bytes: u64) -> ReadAhead<'a> {
        ReadAhead { file, file_bytes, start: 0, bytes: Vec::new() }
    }

    pub fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let held = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + len as u64 > held {
            let piece = (len.max(Self::PIECE_BYTES) as u64).min(self.file_bytes - offset);
            self.bytes.resize(piece as usize, 0);
            self.file.read_exact_at(&mut self.bytes, offset)?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + len])
    }
}
