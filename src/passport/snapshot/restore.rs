//! Making a log from a snapshot, all of it or up to an entry.
//!
//! 1. The snapshot is checked as [`super::verify()`] does; one with a finding is not used, and nothing is written.
//! 2. `<to>/` is made where it is not there, with `.passport.partial/` in it. A crash from here on leaves that, which is no
//!    log and is removed by the next restore.
//! 3. Segments that lie within the wanted prefix are copied, and hashed once more on the way. They are never linked: a log
//!    that is written must not share a file with its backup.
//! 4. The segment in which the prefix ends is written anew, raw, under a new id, with its records up to there: it follows
//!    the segment before it as the old one did. Where the prefix ends with a sealed segment, an empty one follows, since a
//!    log never ends with a sealed one.
//! 5. The directory is synced, renamed to `passport/`, and `<to>/` is synced: the log is there as a whole or not at all.
//!
//! What is derived is made again by the first start. Keys of entries behind the prefix are free: such an event can be
//! stored again, and gets the next seq.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copy::{self, Bounds};
use super::manifest::{FileRow, Manifest};
use super::verify::{Finding, check};
use super::{LOG_DIR, MANIFEST_NAME, PARTIAL_SUFFIX, SnapshotError};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::limits::{SEGMENT_BYTES_MIN, SNAPSHOT_PIECE_BYTES};
use crate::passport::batch::{self, HEADER_BYTES};
use crate::passport::log::{Log, Segment};
use crate::passport::open::write_id;
use crate::passport::segment::{FIRST_BATCH_OFFSET, SegmentHeader, raw_name};
use crate::passport::writer::random_id;
use crate::passport::{EntrySource, ReadError};
use crate::units::{Seq, Timestamp};
use crate::world::Random;

/// Where a restored log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Where the snapshot does.
    End,
    /// With this entry, or where the snapshot does if that is earlier.
    Seq(Seq),
    /// Before the first entry that was received after this time.
    Time(Timestamp),
}

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub last_seq: Seq,
    /// Segments of the new log.
    pub segments: usize,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{path} holds a log or what is derived from one; restore to another directory")]
    HoldsLog { path: String },
    #[error("{path} is no snapshot: it has no {MANIFEST_NAME}")]
    NoSnapshot { path: String },
    #[error(
        "the snapshot is damaged and was not used: {}; `coliseum verify` lists all that is wrong ({} findings). Take another \
         snapshot",
        .0[0],
        .0.len()
    )]
    Damaged(Vec<Finding>),
    #[error("a log that is restored up to a seq ends with 1 or a later one")]
    Nothing,
    #[error("the snapshot holds nothing that was received by {0}: its first entry is younger")]
    NothingBefore(String),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl From<ReadError> for RestoreError {
    fn from(error: ReadError) -> RestoreError {
        RestoreError::Snapshot(error.into())
    }
}

/// Makes the log of `snapshot` in the data directory `to`, which holds none.
///
/// # Errors
/// See [`RestoreError`]; the data directory has no log then.
pub fn restore(
    disk: &Arc<dyn Disk>,
    random: &dyn Random,
    snapshot: &Path,
    to: &Path,
    until: Until,
) -> Result<Restored, RestoreError> {
    refuse_log(disk.as_ref(), to)?;
    // 1.
    let (verdict, log) = match check(disk, snapshot) {
        Err(SnapshotError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RestoreError::NoSnapshot { path: snapshot.display().to_string() });
        }
        checked => checked?,
    };
    let (Some(manifest), Some(log)) = (verdict.manifest, log) else {
        return Err(RestoreError::Damaged(verdict.findings));
    };
    let last = last_seq(&log, until)?;
    // 2.
    make_dir(disk.as_ref(), to)?;
    let partial = to.join(format!(".{LOG_DIR}{PARTIAL_SUFFIX}"));
    remove_if_there(disk.as_ref(), &partial)?;
    let restoring = Restoring { disk: disk.as_ref(), random, snapshot, manifest, log, last, partial };
    let restored = restoring.run(to);
    if restored.is_err() {
        // The next restore removes what cannot be removed now.
        let _ = disk.remove_dir_all(&restoring.partial);
    }
    restored
}

/// A directory with a log, or with projections of one, keeps it.
fn refuse_log(disk: &dyn Disk, to: &Path) -> Result<(), RestoreError> {
    for name in [LOG_DIR, "projections"] {
        let path = to.join(name);
        match disk.list(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A file of that name is not restored over either.
            _ => return Err(RestoreError::HoldsLog { path: path.display().to_string() }),
        }
    }
    Ok(())
}

/// The last entry that is wanted.
fn last_seq(log: &Log, until: Until) -> Result<Seq, RestoreError> {
    let end = log.durable();
    match until {
        Until::End => Ok(end),
        Until::Seq(Seq::ZERO) => Err(RestoreError::Nothing),
        Until::Seq(wanted) => Ok(wanted.min(end)),
        Until::Time(time) => {
            let mut last = Seq::ZERO;
            log.scan(Seq::ZERO, &mut |entry| {
                if entry.received_at() > time {
                    return ControlFlow::Break(());
                }
                last = entry.seq;
                ControlFlow::Continue(())
            })?;
            if last == Seq::ZERO { Err(RestoreError::NothingBefore(time.to_rfc3339())) } else { Ok(last) }
        }
    }
}

/// Makes a directory with those above it, durable.
fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<(), SnapshotError> {
    let failed = |error| SnapshotError::io(dir, error);
    let is_missing = |dir: &&Path| disk.list_dirs(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let made: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    disk.create_dir_all(dir).map_err(failed)?;
    for parent in made.iter().filter_map(|made| made.parent()) {
        disk.sync_dir(parent).map_err(failed)?;
    }
    Ok(())
}

fn remove_if_there(disk: &dyn Disk, dir: &Path) -> Result<(), SnapshotError> {
    match disk.remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotError::io(dir, error)),
        _ => Ok(()),
    }
}

struct Restoring<'a> {
    disk: &'a dyn Disk,
    random: &'a dyn Random,
    snapshot: &'a Path,
    manifest: Manifest,
    log: Log,
    /// The last entry of the new log.
    last: Seq,
    partial: PathBuf,
}

impl Restoring<'_> {
    fn run(&self, to: &Path) -> Result<Restored, RestoreError> {
        let failed = |error| SnapshotError::io(&self.partial, error);
        let segments = self.log.segments();
        self.disk.create_dir_all(&self.partial).map_err(failed)?;
        write_id(self.disk, &self.partial, segments[0].log_id()).map_err(failed)?;
        // 3.
        let whole = segments.iter().take_while(|segment| segment.last_seq() <= self.last);
        let mut count = 0;
        for segment in whole {
            self.copy(&segment.file_name())?;
            count += 1;
        }
        // 4.
        let ends_sealed = |count: usize| matches!(segments[count - 1].as_ref(), Segment::Sealed(_));
        if let Some(cut) = segments.get(count).filter(|segment| segment.first_seq() <= self.last) {
            self.write_cut(cut)?;
            count += 1;
        } else if ends_sealed(count) {
            self.write_empty(&segments[count - 1])?;
            count += 1;
        }
        // 5.
        let log_dir = to.join(LOG_DIR);
        self.disk.sync_dir(&self.partial).map_err(failed)?;
        self.disk.rename(&self.partial, &log_dir).map_err(|error| SnapshotError::io(&log_dir, error))?;
        self.disk.sync_dir(to).map_err(|error| SnapshotError::io(to, error))?;
        Ok(Restored { last_seq: self.last, segments: count })
    }

    fn copy(&self, name: &str) -> Result<(), RestoreError> {
        let path = format!("{LOG_DIR}/{name}");
        let digest = copy::copy_file(self.disk, &self.snapshot.join(&path), &self.partial.join(name), Bounds::NONE)?;
        let row = self.manifest.files.iter().find(|file| file.path == path).expect("every segment was checked");
        if *row != (FileRow { path: path.clone(), bytes: digest.bytes(), sha256: digest.to_hex() }) {
            let what = "it has changed since it was checked".to_owned();
            return Err(RestoreError::Damaged(vec![Finding { file: Some(path), offset: None, seq: None, what }]));
        }
        Ok(())
    }

    /// Writes the records of a segment up to the last one that is wanted.
    fn write_cut(&self, segment: &Segment) -> Result<(), RestoreError> {
        let (previous_segment_id, previous_checksum) = match segment {
            Segment::Raw(raw) => (raw.header.previous_segment_id, raw.header.previous_checksum),
            Segment::Sealed(sealed) => (sealed.trailer.previous_segment_id, sealed.trailer.previous_checksum),
        };
        let mut body_bytes = 0;
        copy::each_record(segment, self.last, &mut |record| {
            body_bytes += (record.len() + batch::RECORD_LENGTH_BYTES) as u64;
            Ok::<(), ReadError>(())
        })?;
        // Every batch but the last has a piece of body at least.
        let batches = body_bytes / SNAPSHOT_PIECE_BYTES as u64 + 1;
        let header = SegmentHeader {
            log_id: segment.log_id(),
            segment_id: self.new_id()?,
            first_seq: segment.first_seq(),
            file_bytes: (FIRST_BATCH_OFFSET + body_bytes + batches * HEADER_BYTES as u64).max(SEGMENT_BYTES_MIN),
            previous_segment_id,
            previous_checksum,
        };
        let mut writer = BatchWriter::start(self.disk, &self.partial, header)?;
        copy::each_record(segment, self.last, &mut |record| writer.push(record))?;
        writer.finish()?;
        Ok(())
    }

    /// The active segment behind a sealed one.
    fn write_empty(&self, before: &Segment) -> Result<(), RestoreError> {
        let Segment::Sealed(sealed) = before else { unreachable!("a raw segment is active itself") };
        let header = SegmentHeader {
            log_id: sealed.trailer.log_id,
            segment_id: self.new_id()?,
            first_seq: sealed.last_seq().next(),
            file_bytes: SEGMENT_BYTES_MIN,
            previous_segment_id: sealed.trailer.segment_id,
            previous_checksum: sealed.trailer.last_checksum,
        };
        Ok(BatchWriter::start(self.disk, &self.partial, header)?.finish()?)
    }

    fn new_id(&self) -> Result<u64, SnapshotError> {
        random_id(self.random).map_err(|error| SnapshotError::io(&self.partial, error))
    }
}

/// Writes a raw segment, one batch behind the other.
struct BatchWriter {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    header: SegmentHeader,
    offset: u64,
    previous_checksum: u32,
    next: Seq,
    count: u32,
    /// Room for the batch's header, then its body.
    bytes: Vec<u8>,
}

impl BatchWriter {
    fn start(disk: &dyn Disk, dir: &Path, header: SegmentHeader) -> Result<BatchWriter, SnapshotError> {
        let path = dir.join(raw_name(header.first_seq));
        let failed = |error| SnapshotError::io(&path, error);
        let file = disk.open(&path, OpenMode::CreateNew).map_err(failed)?;
        file.write_all_at(&header.encode(), 0).map_err(failed)?;
        Ok(BatchWriter {
            file,
            path,
            offset: FIRST_BATCH_OFFSET,
            previous_checksum: header.chain_start(),
            next: header.first_seq,
            count: 0,
            bytes: vec![0; HEADER_BYTES],
            header,
        })
    }

    fn push(&mut self, record: &[u8]) -> Result<(), SnapshotError> {
        batch::push_record(&mut self.bytes, record);
        self.count += 1;
        if self.bytes.len() >= HEADER_BYTES + SNAPSHOT_PIECE_BYTES { self.finish_batch() } else { Ok(()) }
    }

    fn finish_batch(&mut self) -> Result<(), SnapshotError> {
        if self.count == 0 {
            return Ok(());
        }
        let id = self.header.segment_id;
        self.previous_checksum =
            batch::finish(&mut self.bytes, id, self.offset, self.next, self.count, self.previous_checksum);
        self.write_at_end()?;
        self.next = self.next.plus(u64::from(self.count));
        self.count = 0;
        self.bytes.resize(HEADER_BYTES, 0);
        Ok(())
    }

    fn write_at_end(&mut self) -> Result<(), SnapshotError> {
        self.file.write_all_at(&self.bytes, self.offset).map_err(|error| SnapshotError::io(&self.path, error))?;
        self.offset += self.bytes.len() as u64;
        Ok(())
    }

    /// The last batch, and zeros up to the length that the header says.
    fn finish(mut self) -> Result<(), SnapshotError> {
        self.finish_batch()?;
        let left = self.header.file_bytes.checked_sub(self.offset).expect("the length was reckoned from the records");
        self.bytes = vec![0; left as usize];
        self.write_at_end()?;
        self.file.sync().map_err(|error| SnapshotError::io(&self.path, error))
    }
}
