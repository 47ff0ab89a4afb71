//! Bytes of a snapshot or of a segment file: hashed, copied, synced, a piece at a time.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};

use super::SnapshotError;
use super::manifest::hex;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::limits::SNAPSHOT_PIECE_BYTES;
use crate::passport::ReadError;
use crate::passport::log::Segment;
use crate::passport::segment::{FIRST_BATCH_OFFSET, RawSegment};
use crate::units::Seq;

/// The length and the SHA-256 of bytes that go by.
#[derive(Clone, Default)]
pub(in crate::passport) struct Digest {
    hasher: Sha256,
    bytes: u64,
}

impl Digest {
    pub fn of(bytes: &[u8]) -> Digest {
        let mut digest = Digest::default();
        digest.add(bytes);
        digest
    }
    pub fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
    /// Adds zeros that nobody holds.
    fn add_zeros(&mut self, count: u64) {
        let zeros = vec![0; SNAPSHOT_PIECE_BYTES.min(count as usize)];
        let mut left = count;
        while left > 0 {
            let piece = left.min(zeros.len() as u64);
            self.add(&zeros[..piece as usize]);
            left -= piece;
        }
    }
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn to_hex(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }
}

/// How long work may go on, and how full it may make the disk.
#[derive(Clone, Copy)]
pub(in crate::passport) struct Bounds<'a> {
    /// Looked at between two pieces; `true` ends the work.
    pub is_stopped: &'a AtomicBool,
    /// What a copy leaves free.
    pub min_free_bytes: u64,
}

static NEVER: AtomicBool = AtomicBool::new(false);

impl Bounds<'_> {
    /// None: the work goes on to its end, or to the end of the disk.
    pub const NONE: Bounds<'static> = Bounds { is_stopped: &NEVER, min_free_bytes: 0 };

    pub fn go_on(&self) -> Result<(), SnapshotError> {
        if self.is_stopped.load(Ordering::Relaxed) { Err(SnapshotError::Stopped) } else { Ok(()) }
    }

    /// A copy must not turn the log read-only.
    fn room_for(&self, disk: &dyn Disk, to: &Path, bytes: u64) -> Result<(), SnapshotError> {
        let failed = |error| SnapshotError::io(to, error);
        let free = disk.free_bytes(to.parent().unwrap_or(to)).map_err(failed)?;
        if free < bytes.saturating_add(self.min_free_bytes) {
            let what =
                format!("{free} bytes are free, the copy takes {bytes} and {} have to stay", self.min_free_bytes);
            return Err(failed(io::Error::new(io::ErrorKind::StorageFull, what)));
        }
        Ok(())
    }
}

/// Reads a whole file.
pub(super) fn digest_file(disk: &dyn Disk, path: &Path, bounds: Bounds<'_>) -> Result<Digest, SnapshotError> {
    let file = disk.open(path, OpenMode::Read).map_err(|error| SnapshotError::io(path, error))?;
    let mut digest = Digest::default();
    each_piece(file.as_ref(), path, bounds, |_, bytes| {
        digest.add(bytes);
        Ok(())
    })?;
    Ok(digest)
}

/// Copies a whole file to a new name and syncs it, with every byte written, zeros too: what is copied may be an active
/// segment, which is written into later and must have its room by then.
pub(in crate::passport) fn copy_file(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    bounds: Bounds<'_>,
) -> Result<Digest, SnapshotError> {
    let source = disk.open(from, OpenMode::Read).map_err(|error| SnapshotError::io(from, error))?;
    let failed = |error| SnapshotError::io(to, error);
    let len_bytes = source.len_bytes().map_err(|error| SnapshotError::io(from, error))?;
    bounds.room_for(disk, to, len_bytes)?;
    let target = disk.open(to, OpenMode::CreateNew).map_err(failed)?;
    let mut digest = Digest::default();
    each_piece(source.as_ref(), from, bounds, |offset, bytes| {
        digest.add(bytes);
        target.write_all_at(bytes, offset).map_err(failed)
    })?;
    target.sync().map_err(failed)?;
    Ok(digest)
}

fn each_piece(
    file: &dyn DiskFile,
    path: &Path,
    bounds: Bounds<'_>,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let failed = |error| SnapshotError::io(path, error);
    let len_bytes = file.len_bytes().map_err(failed)?;
    let mut piece = vec![0; SNAPSHOT_PIECE_BYTES.min(len_bytes as usize)];
    let mut offset = 0;
    while offset < len_bytes {
        bounds.go_on()?;
        let bytes = &mut piece[..(len_bytes - offset).min(SNAPSHOT_PIECE_BYTES as u64) as usize];
        file.read_exact_at(bytes, offset).map_err(failed)?;
        each(offset, bytes)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

/// Copies what is synced of a segment that may be being written, batch by batch, each checked; zeros behind it take no
/// room. Gives the last seq that it holds.
pub(super) fn copy_synced(
    disk: &dyn Disk,
    raw: &RawSegment,
    to: &Path,
    bounds: Bounds<'_>,
) -> Result<(Digest, Seq), SnapshotError> {
    let failed = |error| SnapshotError::io(to, error);
    let (end_offset, last_seq) = {
        let places = raw.places.read();
        (places.end_offset, places.last_seq)
    };
    bounds.room_for(disk, to, end_offset)?;
    let target = disk.open(to, OpenMode::CreateNew).map_err(failed)?;
    let header = raw.header.encode();
    target.write_all_at(&header, 0).map_err(failed)?;
    let mut digest = Digest::of(&header);
    let mut next = raw.first_seq();
    while digest.bytes() < end_offset {
        bounds.go_on()?;
        let batches = raw.read_batches(next, SNAPSHOT_PIECE_BYTES as u64)?.expect("a synced batch stays");
        next = batches.records().last().map_or(next, |(seq, _)| seq.next());
        let mut bytes = batches.into_bytes();
        // What was synced since the end was looked at is for the next snapshot.
        bytes.truncate((end_offset - digest.bytes()) as usize);
        target.write_all_at(&bytes, digest.bytes()).map_err(failed)?;
        digest.add(&bytes);
    }
    assert_eq!(digest.bytes(), end_offset.max(FIRST_BATCH_OFFSET), "batches end where the writer said");
    target.truncate(raw.header.file_bytes).map_err(failed)?;
    digest.add_zeros(raw.header.file_bytes - end_offset);
    target.sync().map_err(failed)?;
    Ok((digest, last_seq))
}

/// Every record of a segment up to `last`, each block or batch of it checked.
pub(super) fn each_record<E: From<ReadError>>(
    segment: &Segment,
    last: Seq,
    each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let last = last.min(segment.last_seq());
    let mut next = segment.first_seq();
    while next <= last {
        match segment {
            Segment::Raw(raw) => {
                let batches = raw.read_batches(next, SNAPSHOT_PIECE_BYTES as u64)?.expect("a synced batch stays");
                for (seq, record) in batches.records().take_while(|(seq, _)| *seq <= last) {
                    each(record)?;
                    next = seq.next();
                }
            }
            Segment::Sealed(sealed) => {
                let block = sealed.block_with(next)?.expect("a sealed segment holds its seqs");
                for (seq, record) in block.records().take_while(|(seq, _)| *seq <= last) {
                    each(record)?;
                    next = seq.next();
                }
            }
        }
    }
    Ok(())
}
