//! The decoders of the idempotency index's files over bytes in memory, for [`crate::fuzz`].

use std::path::Path;
use std::sync::Arc;

use super::layout::little_endian;
use super::run::{Run, RunEntries, file_name};
use super::{Fingerprint, SeqRange, secret};
use crate::passport::fuzz::OneFile;
use crate::units::Seq;

/// A run of the range and the key that it says it has: all of its keys, and look-ups.
pub fn key_run(bytes: &[u8]) -> bool {
    let Some(head) = bytes.get(..48) else { return false };
    let (first, last) = (Seq::new(little_endian(&head[16..24])), Seq::new(little_endian(&head[24..32])));
    let Some(range) = SeqRange::checked(first, last) else { return false };
    let disk = OneFile::new(file_name(range), bytes);
    let Ok(run) = Run::open(&disk, Path::new(""), range, little_endian(&head[40..48])) else { return false };
    let run = Arc::new(run);
    let looked_up = [0, 1, u64::MAX / 3, u64::MAX].map(|bits| run.candidates(Fingerprint::new(bits), |_| {}));
    let mut entries = RunEntries::of(Arc::clone(&run));
    loop {
        match entries.next() {
            Ok(Some((fingerprint, _))) if run.candidates(fingerprint, |_| {}).is_err() => return false,
            Ok(Some(_)) => {}
            Ok(None) => return looked_up.iter().all(Result::is_ok),
            Err(_) => return false,
        }
    }
}

/// `fingerprint.key` of the log that it names.
pub fn fingerprint_key(bytes: &[u8]) -> bool {
    let Some(log_id) = bytes.get(28..44) else { return false };
    let disk = OneFile::new(secret::FILE_NAME.into(), bytes);
    let log_id = log_id.try_into().expect("16 bytes");
    secret::load(&disk, Path::new(""), log_id).is_ok_and(|loaded| loaded.is_ok())
}
