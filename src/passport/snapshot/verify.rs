//! Reading all of a snapshot: what is wrong with it, and the log that it holds.
//!
//! 1. The manifest, by its own checksum; `SHA256SUMS` has to say the same.
//! 2. The files: none is missing, none is there that the manifest does not name, each has its length and its digest.
//! 3. The log: the chain of segments, every batch and block, every record, seqs without a gap up to the manifest's last
//!    one, each idempotency key once.
//!
//! It only reads, and it goes on behind what it finds, so that one answer names every file that is damaged.

use std::hash::Hasher as _;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::copy::{self, Bounds};
use super::manifest::{self, FileRow, Manifest};
use super::{LOG_DIR, MANIFEST_NAME, SUMS_NAME, SnapshotError};
use crate::disk::Disk;
use crate::passport::log::Log;
use crate::passport::open::read_id;
use crate::passport::recovery::{self, OpenError};
use crate::passport::watermark::Watermark;
use crate::passport::{EntrySource, ReadError};
use crate::units::Seq;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// From the snapshot's directory, or the file's own name.
    pub file: Option<String>,
    pub offset: Option<u64>,
    pub seq: Option<u64>,
    pub what: String,
}

impl Finding {
    fn in_file(file: &str, what: impl Into<String>) -> Finding {
        Finding { file: Some(file.to_owned()), offset: None, seq: None, what: what.into() }
    }
    fn of_open(error: OpenError) -> Finding {
        match error {
            OpenError::Damaged { file, offset, seq, what, .. } => {
                Finding { file: Some(file), offset: Some(offset), seq: Some(seq.get()), what }
            }
            OpenError::Io { path, error } => Finding::in_file(&path, error.to_string()),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.file.as_deref().unwrap_or("the snapshot"))?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, " (seq {seq})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What a check of a snapshot found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// There where it could be read.
    pub manifest: Option<Manifest>,
    /// Entries that were read.
    pub entries: u64,
    /// Empty: all of it is good.
    pub findings: Vec<Finding>,
}

/// Checks the snapshot in `dir`. Takes 16 to 32 bytes of memory for each entry in it, to find a key that is stored twice.
///
/// # Errors
/// There is no manifest: the directory is no snapshot. A disk that cannot be read.
pub fn verify(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Verdict, SnapshotError> {
    check(disk, dir).map(|(verdict, _)| verdict)
}

/// [`verify`], and the log where nothing is wrong with it.
pub(super) fn check(disk: &Arc<dyn Disk>, dir: &Path) -> Result<(Verdict, Option<Log>), SnapshotError> {
    let manifest = match Manifest::read(disk.as_ref(), dir)? {
        Ok(manifest) => manifest,
        Err(what) => {
            let findings = vec![Finding::in_file(MANIFEST_NAME, what)];
            return Ok((Verdict { manifest: None, entries: 0, findings }, None));
        }
    };
    let mut findings = check_files(disk.as_ref(), dir, &manifest)?;
    let log_dir = dir.join(LOG_DIR);
    let is_whole = findings.is_empty();
    let (mut entries, mut log) = (0, None);
    match open(disk, &log_dir, &manifest) {
        Ok(opened) => {
            entries = check_entries(&opened, &mut findings);
            log = is_whole.then_some(opened);
        }
        Err(error) => {
            // All that is wrong with the segments, or, where each is whole by itself, what the opening said.
            let found = recovery::survey(disk.as_ref(), &log_dir).unwrap_or_else(|error| vec![error]);
            let found = if found.is_empty() { vec![error] } else { found };
            findings.extend(found.into_iter().map(Finding::of_open));
        }
    }
    if findings.is_empty() && entries != manifest.last_seq().get() {
        let what = format!("it says that the log ends at seq {}, which ends at {entries}", manifest.last_seq());
        findings.push(Finding::in_file(MANIFEST_NAME, what));
    }
    let log = log.filter(|_| findings.is_empty());
    Ok((Verdict { manifest: Some(manifest), entries, findings }, log))
}

/// The files by themselves.
fn check_files(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<Vec<Finding>, SnapshotError> {
    let mut findings = Vec::new();
    for file in &manifest.files {
        findings.extend(check_file(disk, dir, file)?);
    }
    match manifest::read_text(disk, &dir.join(SUMS_NAME)) {
        Ok(Ok(text)) if text == manifest.sums() => {}
        Ok(_) => findings.push(Finding::in_file(SUMS_NAME, "it does not say what the manifest says")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::in_file(SUMS_NAME, "it is missing"));
        }
        Err(error) => return Err(SnapshotError::io(&dir.join(SUMS_NAME), error)),
    }
    for path in names_in(disk, dir)? {
        let is_named = [MANIFEST_NAME, SUMS_NAME].contains(&path.as_str());
        if !is_named && !manifest.files.iter().any(|file| file.path == path) {
            findings.push(Finding::in_file(&path, "it is there, and the manifest does not name it"));
        }
    }
    Ok(findings)
}

fn check_file(disk: &dyn Disk, dir: &Path, file: &FileRow) -> Result<Option<Finding>, SnapshotError> {
    let found = |what: String| Ok(Some(Finding::in_file(&file.path, what)));
    match copy::digest_file(disk, &dir.join(&file.path), Bounds::NONE) {
        Ok(digest) if digest.bytes() != file.bytes => {
            found(format!("it is {} bytes long, the manifest says {}", digest.bytes(), file.bytes))
        }
        Ok(digest) if digest.to_hex() != file.sha256 => {
            found(format!("its SHA-256 is {}, the manifest says {}", digest.to_hex(), file.sha256))
        }
        Ok(_) => Ok(None),
        Err(SnapshotError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            found("it is missing".into())
        }
        // A bad sector is a finding like any other: the files behind it are looked at too.
        Err(error) => found(error.to_string()),
    }
}

/// Every file and every directory of a snapshot, from its own; the log's directory is left out.
fn names_in(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, SnapshotError> {
    let mut names = Vec::new();
    for (prefix, dir) in [(String::new(), dir.to_owned()), (format!("{LOG_DIR}/"), dir.join(LOG_DIR))] {
        let failed = |error| SnapshotError::io(&dir, error);
        let listed = match disk.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            listed => listed.map_err(failed)?,
        };
        names.extend(listed.into_iter().map(|entry| format!("{prefix}{}", entry.name)));
        let dirs = disk.list_dirs(&dir).map_err(failed)?;
        names.extend(dirs.into_iter().map(|name| format!("{prefix}{name}")).filter(|name| name != LOG_DIR));
    }
    Ok(names)
}

/// The log of a snapshot, to be read.
fn open(disk: &Arc<dyn Disk>, log_dir: &Path, manifest: &Manifest) -> Result<Log, OpenError> {
    let segments = recovery::open_to_read(disk.as_ref(), log_dir)?;
    let log_id = segments.first().expect("a log has a segment").log_id();
    let stored_id = read_id(disk.as_ref(), log_dir)?;
    if stored_id != Some(log_id) || manifest::hex(&log_id) != manifest.log_id_hex() {
        return Err(OpenError::other_log(log_dir));
    }
    let last_seq = segments.last().expect("a log has a segment").last_seq();
    Ok(Log::new(disk.clone(), log_dir.to_owned(), Arc::new(Watermark::new(last_seq)), segments, log_id))
}

/// Reads every entry; gives the last seq that could be read. The keys' fingerprints grow with what is read: how many there
/// are is only a trailer's word before that.
fn check_entries(log: &Log, findings: &mut Vec<Finding>) -> u64 {
    let log_id = log.segments().first().expect("a log has a segment").log_id();
    let mut keys: Vec<(u64, Seq)> = Vec::new();
    let read = log.scan(Seq::ZERO, &mut |entry| {
        let mut hasher = SipHasher13::new_with_key(&log_id);
        hasher.write(entry.envelope.message_id.as_bytes());
        keys.push((hasher.finish(), entry.seq));
        ControlFlow::Continue(())
    });
    let read_to = keys.last().map_or(Seq::ZERO, |(_, seq)| *seq);
    if let Err(error) = read {
        findings.push(Finding::of_open(error.into()));
    }
    // Two fingerprints that are equal are looked at; the keys themselves decide.
    keys.sort_unstable();
    let doubtful = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    for pair in doubtful {
        match (key_of(log, pair[0].1), key_of(log, pair[1].1)) {
            (Ok(first), Ok(second)) if first != second => {}
            (Ok(key), Ok(_)) => findings.push(Finding {
                seq: Some(pair[1].1.get()),
                what: format!("the idempotency key {key:?} is stored twice, at seq {} and {}", pair[0].1, pair[1].1),
                file: None,
                offset: None,
            }),
            (Err(error), _) | (_, Err(error)) => findings.push(Finding::of_open(error.into())),
        }
    }
    read_to.get()
}

fn key_of(log: &Log, seq: Seq) -> Result<String, ReadError> {
    let mut key = String::new();
    log.get(seq, &mut |entry| key = entry.envelope.message_id.to_owned())?;
    Ok(key)
}
