//! Taking a snapshot.
//!
//! 1. The partial directory, with `log.id`.
//! 2. Each segment of one set, in order: a sealed one linked, or copied where that does not work; a raw one copied, the
//!    last up to its last synced batch. The set is one pointer, so it has no hole, and whatever was acknowledged before it was loaded lies in
//!    it. The keeper may seal a raw segment meanwhile and remove the raw file: then its sealed form is there instead.
//! 3. The digests, in `manifest.json` and `SHA256SUMS`.
//! 4. Both directories are synced: all that the snapshot is made of is on disk.
//! 5. It gets its name, and the directory of snapshots is synced.
//!
//! A crash before 5 leaves a partial directory, which the next start or the next snapshot removes; one within 5 leaves that
//! or the whole snapshot.
//!
//! The digest of a sealed segment is taken from the newest snapshot before this one, where that has the same segment by its
//! trailer (ids, and the checksum over all checksums of blocks): a segment is read once in its life, and every block of it
//! is checked then. A segment that is damaged later does not match its digest, which [`super::verify()`] finds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copy::{self, Bounds, Digest};
use super::manifest::{FileRow, Manifest};
use super::{LOG_DIR, MANIFEST_NAME, SUMS_NAME, SnapshotError, SnapshotName, partial_name};
use crate::disk::{Disk, OpenMode};
use crate::passport::ReadError;
use crate::passport::log::{Log, Segment};
use crate::passport::open::{ID_NAME, write_id};
use crate::passport::sealed::SealedSegment;
use crate::passport::segment::file_name;
use crate::units::{Seq, Timestamp};

/// What one snapshot is made from.
pub(super) struct Taking<'a> {
    pub log: &'a Log,
    pub bounds: Bounds<'a>,
    /// The newest snapshot before this one, whose digests are as good as new.
    pub before: Option<(PathBuf, Manifest)>,
}

impl Taking<'_> {
    fn disk(&self) -> &dyn Disk {
        self.log.disk.as_ref()
    }

    /// Makes the snapshot `name` in `dir`, which exists. Nothing is left of one that fails before its last step.
    pub fn run(&self, dir: &Path, name: &SnapshotName, created_at: Timestamp) -> Result<Manifest, SnapshotError> {
        let partial = dir.join(partial_name(name.as_str()));
        match self.build(dir, &partial, name, created_at) {
            Ok(manifest) => Ok(manifest),
            Err(error) => {
                // A crash leaves it too, so whoever comes next removes what cannot be removed now.
                let _ = self.disk().remove_dir_all(&partial);
                Err(error)
            }
        }
    }

    fn build(
        &self,
        dir: &Path,
        partial: &Path,
        name: &SnapshotName,
        created_at: Timestamp,
    ) -> Result<Manifest, SnapshotError> {
        let disk = self.disk();
        let log_dir = partial.join(LOG_DIR);
        let failed = |error| SnapshotError::io(partial, error);
        let segments = self.log.segments();
        let log_id = segments.first().expect("a log has a segment").log_id();

        // 1.
        disk.create_dir_all(&log_dir).map_err(failed)?;
        write_id(disk, &log_dir, log_id).map_err(failed)?;
        let id = copy::digest_file(disk, &log_dir.join(ID_NAME), self.bounds)?;
        let mut files = vec![row(ID_NAME, &id)];

        // 2.
        let mut last_seq = Seq::ZERO;
        for (at, segment) in segments.iter().enumerate() {
            self.bounds.go_on()?;
            let (file, last) = match segment.as_ref() {
                Segment::Raw(raw) if at + 1 == segments.len() => {
                    let name = file_name(&raw.path);
                    let (digest, last) = copy::copy_synced(disk, raw, &log_dir.join(&name), self.bounds)?;
                    (row(&name, &digest), last)
                }
                _ => (self.add_full(segment.clone(), &log_dir)?, segment.last_seq()),
            };
            files.push(file);
            last_seq = last;
        }

        // 3.
        let manifest = Manifest::new(name, created_at, log_id, last_seq, files);
        write_text(disk, &partial.join(MANIFEST_NAME), &manifest.render())?;
        write_text(disk, &partial.join(SUMS_NAME), &manifest.sums())?;

        // 4.
        disk.sync_dir(&log_dir).map_err(failed)?;
        disk.sync_dir(partial).map_err(failed)?;

        // 5.
        let whole = dir.join(name.as_str());
        disk.rename(partial, &whole).map_err(|error| SnapshotError::io(&whole, error))?;
        disk.sync_dir(dir).map_err(|error| SnapshotError::io(dir, error))?;
        Ok(manifest)
    }

    /// Links or copies a segment that takes no more entries.
    fn add_full(&self, mut segment: Arc<Segment>, log_dir: &Path) -> Result<FileRow, SnapshotError> {
        loop {
            let (from, name) = (self.log.dir.join(segment.file_name()), segment.file_name());
            let added = match segment.as_ref() {
                Segment::Sealed(_) => self.link_or_copy(&from, &log_dir.join(&name)),
                // Full and written no more, but a start whose last segment was lost goes on in the one before it.
                Segment::Raw(_) => copy::copy_file(self.disk(), &from, &log_dir.join(&name), self.bounds).map(drop),
            };
            match added {
                Err(SnapshotError::Io { error, .. })
                    if error.kind() == io::ErrorKind::NotFound && matches!(segment.as_ref(), Segment::Raw(_)) =>
                {
                    let now = self.log.segment_with(segment.first_seq()).expect("a segment stays in the set");
                    if let Segment::Raw(_) = now.as_ref() {
                        return Err(SnapshotError::io(&from, error));
                    }
                    segment = now;
                }
                added => {
                    added?;
                    return self.row_of(&segment, &log_dir.join(&name));
                }
            }
        }
    }

    fn link_or_copy(&self, from: &Path, to: &Path) -> Result<(), SnapshotError> {
        match self.disk().hard_link(from, to) {
            Ok(()) => Ok(()),
            // Another file system, one without links, or too many of them: the copy says if it is something else.
            Err(_) => copy::copy_file(self.disk(), from, to, self.bounds).map(drop),
        }
    }

    /// The digest of a segment's file at its new place.
    fn row_of(&self, segment: &Segment, path: &Path) -> Result<FileRow, SnapshotError> {
        if let Segment::Sealed(sealed) = segment
            && let Some(known) = self.known(sealed)
        {
            return Ok(known);
        }
        copy::each_record(segment, segment.last_seq(), &mut |_| Ok::<(), ReadError>(()))?;
        Ok(row(&file_name(path), &copy::digest_file(self.disk(), path, self.bounds)?))
    }

    /// The row that the snapshot before this one has for the same segment.
    fn known(&self, sealed: &SealedSegment) -> Option<FileRow> {
        let (dir, manifest) = self.before.as_ref()?;
        let name = file_name(&sealed.path);
        let row = manifest.files.iter().find(|file| file.path == path_of(&name))?;
        let older = SealedSegment::open(self.disk(), dir.join(LOG_DIR).join(&name)).ok()?;
        (row.bytes == sealed.trailer.file_bytes && older.trailer == sealed.trailer).then(|| row.clone())
    }
}

fn path_of(name: &str) -> String {
    format!("{LOG_DIR}/{name}")
}

fn row(name: &str, digest: &Digest) -> FileRow {
    FileRow { path: path_of(name), bytes: digest.bytes(), sha256: digest.to_hex() }
}

fn write_text(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), SnapshotError> {
    let failed = |error| SnapshotError::io(path, error);
    let file = disk.open(path, OpenMode::CreateNew).map_err(failed)?;
    file.write_all_at(text.as_bytes(), 0).map_err(failed)?;
    file.sync().map_err(failed)
}
