//! `fingerprint.key`: the random key of the fingerprints, and the log that they belong to.
//!
//! Whoever knew the key could send idempotency keys with one fingerprint and make every look-up slow; so it is random,
//! and stays in this file. Without it the runs mean nothing, and are made anew.
//!
//! Layout, little-endian: magic 8, version u32, key 16, log identity 16, crc32 of the rest u32.

use std::io;
use std::path::Path;

use siphasher::sip::SipHasher13;

use super::layout::little_endian;
use super::run_writer::TMP_SUFFIX;
use super::{Fingerprinter, KeyError};
use crate::disk::{Disk, OpenMode};
use crate::world::Random;

pub(super) const FILE_NAME: &str = "fingerprint.key";

const MAGIC: [u8; 8] = *b"COLIFKEY";
const VERSION: u32 = 1;
const BYTES: usize = 48;

/// The fingerprinter of this log, or why there is none.
pub(super) fn load(
    disk: &dyn Disk,
    dir: &Path,
    log_id: [u8; 16],
) -> Result<Result<Fingerprinter, &'static str>, KeyError> {
    let path = dir.join(FILE_NAME);
    let to_error = |source| KeyError::Io { file: path.display().to_string(), source };
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Err("fingerprint.key is missing")),
        Err(source) => return Err(to_error(source)),
    };
    if file.len_bytes().map_err(to_error)? != BYTES as u64 {
        return Ok(Err("fingerprint.key has another length"));
    }
    let mut bytes = [0; BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(to_error)?;
    let (fields, crc) = bytes.split_at(BYTES - 4);
    if fields[..8] != MAGIC || little_endian(crc) as u32 != crc32fast::hash(fields) {
        return Ok(Err("fingerprint.key is damaged"));
    }
    if little_endian(&fields[8..12]) as u32 != VERSION {
        return Ok(Err("fingerprint.key is of another version"));
    }
    if fields[28..44] != log_id {
        return Ok(Err("fingerprint.key belongs to another log"));
    }
    let key = fields[12..28].try_into().expect("12 to 28 are 16 bytes");
    Ok(Ok(fingerprinter(key)))
}

/// Draws a new key and makes it durable.
pub(super) fn make(
    disk: &dyn Disk,
    random: &dyn Random,
    dir: &Path,
    log_id: [u8; 16],
) -> Result<Fingerprinter, KeyError> {
    let mut key = [0; 16];
    random
        .fill(&mut key)
        .and_then(|()| write(disk, dir, &key, log_id))
        .map_err(|source| KeyError::Io { file: dir.join(FILE_NAME).display().to_string(), source })?;
    Ok(fingerprinter(&key))
}

/// The same for every run made with one key, and as good as never for two keys.
pub(super) fn check_value(fingerprinter: &Fingerprinter) -> u64 {
    fingerprinter.fingerprint("coliseum fingerprint key").bits()
}

fn fingerprinter(key: &[u8; 16]) -> Fingerprinter {
    Fingerprinter(SipHasher13::new_with_key(key))
}

fn write(disk: &dyn Disk, dir: &Path, key: &[u8; 16], log_id: [u8; 16]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&log_id);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    // Leftovers of this name are gone: the open removes every `.tmp` first.
    let tmp = dir.join(format!("{FILE_NAME}{TMP_SUFFIX}"));
    let file = disk.open(&tmp, OpenMode::CreateNew)?;
    file.write_all_at(&bytes, 0)?;
    file.sync()?;
    disk.rename(&tmp, &dir.join(FILE_NAME))?;
    disk.sync_dir(dir)
}
