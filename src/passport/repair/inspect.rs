//! Reads segment files, however damaged they are, and changes nothing.

use std::io;
use std::path::{Path, PathBuf};

use super::super::batch::{BatchHeader, HEADER_BYTES, field, split_record};
use super::super::open::read_id;
use super::super::record;
use super::super::recovery::{Link, OpenError, ReadAhead, may_be_torn, next_batch, whole_batch_in};
use super::super::sealed::SealedSegment;
use super::super::segment::{FIRST_BATCH_OFFSET, SegmentHeader, seq_in_name};
use super::super::{ReadError, sealed, segment};
use super::RepairOptions;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::units::Seq;

/// Behind the name of a file that a repair is giving another name.
pub(super) const MOVED_SUFFIX: &str = ".moved";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Raw,
    Sealed,
}

impl Form {
    pub fn extension(self) -> &'static str {
        match self {
            Form::Raw => "seg",
            Form::Sealed => "segz",
        }
    }
}

/// Where a segment file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub path: PathBuf,
    pub form: Form,
    /// In the snapshot, not in the directory that is repaired.
    pub is_snapshot: bool,
}

/// Where a file stops being good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub offset: u64,
    pub seq: Seq,
    pub what: String,
    /// If nothing comes behind this file, it is a torn tail.
    pub may_be_torn: bool,
}

/// What one segment file holds.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub place: Place,
    pub name: String,
    /// What its header or trailer says; `last_seq` and `last_checksum` of a raw one are those of its good beginning.
    /// `None` where header or trailer are damaged.
    pub link: Option<Link>,
    /// The last record of its good beginning; one before its first if there is none.
    pub good_last: Seq,
    pub stop: Option<Stop>,
}

impl Found {
    pub fn is_whole(&self) -> bool {
        self.stop.is_none()
    }
    /// The name that its content asks for.
    pub fn own_name(&self) -> String {
        let first = self.link.map_or(Seq::ZERO, |link| link.first_seq);
        format!("{:020}.{}", first.get(), self.place.form.extension())
    }
}

/// Everything that there is.
pub(super) struct Survey {
    pub found: Vec<Found>,
    /// The id in `log.id`: `Ok(None)` without the file.
    pub stored_id: Result<Option<[u8; 16]>, OpenError>,
}

pub(super) fn survey(
    disk: &dyn Disk,
    options: &RepairOptions,
    show: &mut dyn FnMut(&str),
) -> Result<Survey, OpenError> {
    let dir = options.data_dir.join("passport");
    let mut found = inspect_dir(disk, &dir, false, show)?;
    if let Some(snapshot) = &options.snapshot {
        let inner = snapshot.join("passport");
        let holds =
            |dir: &Path| disk.list(dir).is_ok_and(|entries| entries.iter().any(|entry| form_of(&entry.name).is_some()));
        let dir = if holds(&inner) { inner } else { snapshot.clone() };
        found.extend(inspect_dir(disk, &dir, true, show)?.into_iter().filter(Found::is_whole));
    }
    let stored_id = match read_id(disk, &dir) {
        Err(error @ OpenError::Io { .. }) => return Err(error),
        stored => stored,
    };
    Ok(Survey { found, stored_id })
}

fn inspect_dir(
    disk: &dyn Disk,
    dir: &Path,
    is_snapshot: bool,
    show: &mut dyn FnMut(&str),
) -> Result<Vec<Found>, OpenError> {
    let mut all = Vec::new();
    for entry in disk.list(dir).map_err(|error| OpenError::io(dir, error))? {
        if entry.name.ends_with(".tmp") {
            continue;
        }
        let failed = |error| OpenError::io(&dir.join(&entry.name), error);
        let by_content = form_by_content(disk, &dir.join(&entry.name)).map_err(failed)?;
        let Some(form) = by_content.or(form_of(&entry.name)) else { continue };
        show(&entry.name);
        let place = Place { path: dir.join(&entry.name), form, is_snapshot };
        all.push(inspect(disk, place, entry.name)?);
    }
    Ok(all)
}

fn form_of(name: &str) -> Option<Form> {
    let name = name.strip_suffix(MOVED_SUFFIX).unwrap_or(name);
    [Form::Raw, Form::Sealed].into_iter().find(|form| seq_in_name(name, form.extension()).is_some())
}

/// What a file is, whatever its name says.
fn form_by_content(disk: &dyn Disk, path: &Path) -> io::Result<Option<Form>> {
    let file = disk.open(path, OpenMode::Read)?;
    let file_bytes = file.len_bytes()?;
    let holds = |magic: &[u8; 8], offset: Option<u64>| -> io::Result<bool> {
        let Some(offset) = offset.filter(|offset| offset + magic.len() as u64 <= file_bytes) else { return Ok(false) };
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes == *magic)
    };
    if holds(&segment::MAGIC, Some(0))? {
        return Ok(Some(Form::Raw));
    }
    let trailer_at = file_bytes.checked_sub(sealed::TRAILER_BYTES as u64);
    Ok(holds(&sealed::MAGIC, trailer_at)?.then_some(Form::Sealed))
}

fn inspect(disk: &dyn Disk, place: Place, name: String) -> Result<Found, OpenError> {
    let seen = match place.form {
        Form::Raw => inspect_raw(disk, &place.path),
        Form::Sealed => inspect_sealed(disk, &place.path),
    };
    let (link, good_last, stop) = seen?;
    Ok(Found { place, name, link, good_last, stop })
}

type Seen = (Option<Link>, Seq, Option<Stop>);

fn unreadable(offset: u64, what: String) -> Seen {
    (None, Seq::ZERO, Some(Stop { offset, seq: Seq::ZERO, what, may_be_torn: false }))
}

fn inspect_sealed(disk: &dyn Disk, path: &Path) -> Result<Seen, OpenError> {
    let sealed = match SealedSegment::open(disk, path.to_owned()) {
        Ok(sealed) => sealed,
        Err(ReadError::Damaged { offset, what, .. }) => return Ok(unreadable(offset, what)),
        Err(error) => return Err(error.into()),
    };
    let stop = match sealed.check_all() {
        Ok(()) => None,
        Err(ReadError::Damaged { offset, seq, what, .. }) => Some(Stop { offset, seq, what, may_be_torn: false }),
        Err(error) => return Err(error.into()),
    };
    let mut next = sealed.first_seq();
    if stop.is_none() {
        next = sealed.last_seq().next();
    } else {
        sealed.whole_blocks(&mut |block| {
            if block.first_seq == next && block.records().all(|(_, bytes)| record::decode(bytes).is_ok()) {
                next = block.last_seq().next();
            }
        })?;
    }
    let trailer = &sealed.trailer;
    let link = Link {
        first_seq: trailer.first_seq,
        last_seq: trailer.last_seq,
        log_id: trailer.log_id,
        segment_id: trailer.segment_id,
        previous_segment_id: trailer.previous_segment_id,
        previous_checksum: trailer.previous_checksum,
        last_checksum: trailer.last_checksum,
    };
    Ok((Some(link), before(next), stop))
}

/// The header of a raw segment, its file, and the file's length; the inner error says what is wrong with the header.
type Opened = (Result<SegmentHeader, String>, std::sync::Arc<dyn DiskFile>, u64);

fn open_raw(disk: &dyn Disk, path: &Path) -> Result<Opened, OpenError> {
    let failed = |error: io::Error| OpenError::io(path, error);
    let file = disk.open(path, OpenMode::Read).map_err(failed)?;
    let file_bytes = file.len_bytes().map_err(failed)?;
    let mut block = vec![0; FIRST_BATCH_OFFSET.min(file_bytes) as usize];
    file.read_exact_at(&mut block, 0).map_err(failed)?;
    Ok((SegmentHeader::decode(&block), file, file_bytes))
}

fn inspect_raw(disk: &dyn Disk, path: &Path) -> Result<Seen, OpenError> {
    let (header, file, file_bytes) = open_raw(disk, path)?;
    let header = match header {
        Ok(header) if header.first_seq > Seq::ZERO => header,
        Ok(_) => return Ok(unreadable(0, "the segment starts at seq 0, which no event has".into())),
        Err(what) => return Ok(unreadable(0, what)),
    };
    let mut walk = RawWalk { header, file: file.as_ref(), file_bytes, path };
    let (end, stop) = walk.good_beginning(&mut |_, _| {})?;
    let link = Link {
        first_seq: header.first_seq,
        last_seq: before(end.next),
        log_id: header.log_id,
        segment_id: header.segment_id,
        previous_segment_id: header.previous_segment_id,
        previous_checksum: header.previous_checksum,
        last_checksum: end.checksum,
    };
    Ok((Some(link), before(end.next), stop))
}

fn before(seq: Seq) -> Seq {
    Seq::new(seq.get() - 1)
}

/// Where the good beginning of a raw segment ends.
struct End {
    next: Seq,
    offset: u64,
    checksum: u32,
}

struct RawWalk<'a> {
    /// As it was written: the first batch names its checksum.
    header: SegmentHeader,
    file: &'a dyn DiskFile,
    file_bytes: u64,
    path: &'a Path,
}

impl RawWalk<'_> {
    fn failed(&self) -> impl Fn(io::Error) -> OpenError {
        let path = self.path.to_owned();
        move |error| OpenError::io(&path, error)
    }

    /// Gives every record from the first one on while one batch follows the other, and says what comes then.
    fn good_beginning(&mut self, each: &mut dyn FnMut(Seq, &[u8])) -> Result<(End, Option<Stop>), OpenError> {
        let mut window = ReadAhead::of(self.file, self.file_bytes);
        let mut end =
            End { next: self.header.first_seq, offset: FIRST_BATCH_OFFSET, checksum: self.header.chain_start() };
        let error = loop {
            if end.offset + HEADER_BYTES as u64 > self.file_bytes {
                break None;
            }
            match next_batch(&mut window, &self.header, end.offset, self.file_bytes).map_err(self.failed())? {
                Err(error) => break Some(error),
                Ok(batch) if batch.first_seq != end.next || batch.previous_checksum != end.checksum => {
                    let what = "a whole batch lies here that does not follow the one before it".to_owned();
                    let stop = Stop { offset: end.offset, seq: end.next, what, may_be_torn: false };
                    return Ok((end, Some(stop)));
                }
                Ok(batch) => {
                    let whole = window.get(end.offset, batch.total_bytes() as usize).map_err(self.failed())?;
                    if let Some(bad) = give_records(&batch, whole, each) {
                        let stop = Stop { offset: end.offset, seq: bad.0, what: bad.1, may_be_torn: false };
                        return Ok((end, Some(stop)));
                    }
                    end = End {
                        next: batch.last_seq().next(),
                        offset: end.offset + batch.total_bytes(),
                        checksum: batch.checksum,
                    };
                }
            }
        };
        let stop = match error {
            Some(error) => self.judge_tail(&end, &error)?,
            None => None,
        };
        Ok((end, stop.or_else(|| self.wrong_length())))
    }

    /// What stands behind the last batch that follows: zeros, what may be a torn write, or damage.
    fn judge_tail(&self, end: &End, error: &super::super::batch::BatchError) -> Result<Option<Stop>, OpenError> {
        let tail = self.tail(end.offset)?;
        if tail.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let behind = whole_batch_in(&tail, end.offset, &self.header);
        let what = match behind {
            Some(offset) => format!("{error}; a whole batch lies behind it at offset {offset}"),
            None => error.to_string(),
        };
        let is_torn = behind.is_none() && may_be_torn(error) && self.wrong_length().is_none();
        Ok(Some(Stop { offset: end.offset, seq: end.next, what, may_be_torn: is_torn }))
    }

    fn wrong_length(&self) -> Option<Stop> {
        let made = self.header.file_bytes;
        (made != self.file_bytes).then(|| Stop {
            offset: self.file_bytes,
            seq: Seq::ZERO,
            what: format!("the file is {} bytes long and was made with {made}", self.file_bytes),
            may_be_torn: false,
        })
    }

    fn tail(&self, offset: u64) -> Result<Vec<u8>, OpenError> {
        let mut tail = vec![0; self.file_bytes.saturating_sub(offset) as usize];
        self.file.read_exact_at(&mut tail, offset).map_err(self.failed())?;
        Ok(tail)
    }

    /// Gives the records of every whole batch of this segment behind `offset`, wherever it lies.
    fn behind(&self, mut offset: u64, each: &mut dyn FnMut(Seq, &[u8])) -> Result<(), OpenError> {
        let tail = self.tail(offset)?;
        let start = offset;
        while let Some(found) = whole_batch_in(&tail[(offset - start) as usize..], offset, &self.header) {
            let whole = &tail[(found - start) as usize..];
            let Ok(batch) = BatchHeader::read(&field(whole, 0)) else { return Ok(()) };
            // A record that does not decode is no record; its neighbours are.
            let _ = give_records(&batch, &whole[..batch.total_bytes() as usize], each);
            offset = found + batch.total_bytes();
        }
        Ok(())
    }
}

/// Gives the records of a checked batch, all or, where one does not decode, none: the seq and why.
fn give_records(batch: &BatchHeader, whole: &[u8], each: &mut dyn FnMut(Seq, &[u8])) -> Option<(Seq, String)> {
    let records = || {
        let mut rest = &whole[HEADER_BYTES..];
        (0..u64::from(batch.count)).map_while(move |at| {
            let (bytes, next) = split_record(rest)?;
            rest = next;
            Some((batch.first_seq.plus(at), bytes))
        })
    };
    if let Some((seq, error)) = records().find_map(|(seq, bytes)| Some((seq, record::decode(bytes).err()?))) {
        return Some((seq, error.to_string()));
    }
    records().for_each(|(seq, bytes)| each(seq, bytes));
    None
}

/// Gives the good beginning of a file, which [`inspect`] has found to follow the log, up to `last`.
pub(super) fn beginning(
    disk: &dyn Disk,
    place: &Place,
    last: Seq,
    each: &mut dyn FnMut(Seq, &[u8]),
) -> Result<(), OpenError> {
    let mut each = |seq: Seq, bytes: &[u8]| {
        if seq <= last {
            each(seq, bytes);
        }
    };
    match place.form {
        Form::Raw => {
            let (header, file, file_bytes) = open_raw(disk, &place.path)?;
            let header = header.map_err(|what| OpenError::damaged_file(place.path.display().to_string(), &what))?;
            let mut walk = RawWalk { header, file: file.as_ref(), file_bytes, path: &place.path };
            walk.good_beginning(&mut each).map(drop)
        }
        Form::Sealed => {
            let sealed = SealedSegment::open(disk, place.path.clone())?;
            let mut next = sealed.first_seq();
            sealed.whole_blocks(&mut |block| {
                if block.first_seq == next {
                    next = block.last_seq().next();
                    block.records().for_each(|(seq, bytes)| each(seq, bytes));
                }
            })?;
            Ok(())
        }
    }
}

/// Gives every record of a file that lies whole under a checksum, in the file's order, if the file is of this log as far as
/// can be read: a file whose header or trailer is damaged still has the log's id at its place.
pub(super) fn every_record(
    disk: &dyn Disk,
    place: &Place,
    log_id: [u8; 16],
    each: &mut dyn FnMut(Seq, &[u8]),
) -> Result<(), OpenError> {
    match place.form {
        Form::Sealed => {
            let sealed = match SealedSegment::open_damaged(disk, place.path.clone()) {
                Ok(sealed) if sealed.trailer.log_id == log_id => sealed,
                Ok(_) | Err(ReadError::Damaged { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            sealed.whole_blocks(&mut |block| {
                block
                    .records()
                    .filter(|(_, bytes)| record::decode(bytes).is_ok())
                    .for_each(|(seq, bytes)| each(seq, bytes));
            })?;
            Ok(())
        }
        Form::Raw => {
            let (header, file, file_bytes) = open_raw(disk, &place.path)?;
            let header = match header {
                Ok(header) => Some(header).filter(|header| header.log_id == log_id),
                Err(_) => guessed_header(file.as_ref(), file_bytes, log_id)
                    .map_err(|error| OpenError::io(&place.path, error))?,
            };
            let Some(header) = header else { return Ok(()) };
            let walk = RawWalk { header, file: file.as_ref(), file_bytes, path: &place.path };
            if file_bytes <= FIRST_BATCH_OFFSET { Ok(()) } else { walk.behind(FIRST_BATCH_OFFSET, each) }
        }
    }
}

/// A stand-in for a header that is damaged: the log's id at its place, and the segment's id as the first batch that is
/// whole has it. Batches name their own segment and offset, so that no other one passes.
fn guessed_header(file: &dyn DiskFile, file_bytes: u64, log_id: [u8; 16]) -> io::Result<Option<SegmentHeader>> {
    if file_bytes <= FIRST_BATCH_OFFSET + HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut head = vec![0; FIRST_BATCH_OFFSET as usize + HEADER_BYTES];
    file.read_exact_at(&mut head, 0)?;
    let first = BatchHeader::read(&field(&head, FIRST_BATCH_OFFSET as usize)).ok();
    let Some(first) = first.filter(|_| field::<16>(&head, 16) == log_id) else { return Ok(None) };
    Ok(Some(SegmentHeader {
        log_id,
        segment_id: first.segment_id,
        first_seq: first.first_seq,
        file_bytes,
        previous_segment_id: 0,
        previous_checksum: 0,
    }))
}
