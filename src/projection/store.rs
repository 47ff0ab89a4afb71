//! The redb file beneath a projection: made, opened, moved and removed.
//!
//! A file is made under `<version>.redb.building` with its first commit synced, and renamed afterwards, since redb does
//! not survive a crash in the middle of its creation. A file that does not open is disposable: the log is the truth.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{BackendError, Database, DatabaseError, Durability, StorageBackend, StorageError};

use super::checkpoint::Checkpoint;
use super::contain::contain;
use super::{Options, StoreError};
use crate::disk::{Disk, DiskFile, OpenMode, is_full};

/// What stands behind the name of a file that is not whole yet.
pub(super) const BUILDING_SUFFIX: &str = ".building";
/// What a projection's files end in.
pub(super) const FILE_SUFFIX: &str = ".redb";
/// `errno` of a device that failed: the file is damaged, not out of reach.
const EIO: i32 = 5;

/// Where a projection's tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    /// The disk took no file: the tables are in memory until a file can be built beside.
    Memory,
}

/// Why a file was not opened or made.
#[derive(Debug)]
pub(super) enum OpenError {
    /// There is no such file.
    Missing,
    /// Damaged, of another layout, or of another log: of no use to anyone.
    Disposable(String),
    /// The disk is full.
    Full(String),
    /// Out of reach for now: locked, forbidden, too many open files.
    Unreachable(String),
}

impl OpenError {
    pub fn why(&self) -> &str {
        match self {
            OpenError::Missing => "there is no file",
            OpenError::Disposable(why) | OpenError::Full(why) | OpenError::Unreachable(why) => why,
        }
    }

    fn of_io(error: &io::Error) -> OpenError {
        let why = error.to_string();
        match error.kind() {
            ErrorKind::NotFound => OpenError::Missing,
            _ if is_full(error) => OpenError::Full(why),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => OpenError::Disposable(why),
            _ if error.raw_os_error() == Some(EIO) => OpenError::Disposable(why),
            _ => OpenError::Unreachable(why),
        }
    }

    fn of_redb(error: DatabaseError) -> OpenError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Unreachable(error.to_string()),
            DatabaseError::Storage(StorageError::Io(error)) => OpenError::of_io(&error),
            error => OpenError::Disposable(error.to_string()),
        }
    }
}

/// Opens an existing file. Small ones have every page verified, since redb trusts a file that was closed cleanly.
pub(super) fn open(disk: &dyn Disk, path: &Path, options: &Options) -> Result<Arc<Database>, OpenError> {
    let file = disk.open(path, OpenMode::Update).map_err(|error| OpenError::of_io(&error))?;
    let len_bytes = file.len_bytes().map_err(|error| OpenError::of_io(&error))?;
    if len_bytes == 0 {
        return Err(OpenError::Disposable("the file is empty".to_owned()));
    }
    build(FileOfDisk(file), options, len_bytes <= options.integrity_check_bytes_max)
}

/// Makes a new file whose first, synced commit is `checkpoint`; what had this name before is removed.
/// Its name is not durable before [`rename`].
pub(super) fn create(
    disk: &dyn Disk,
    path: &Path,
    checkpoint: &Checkpoint,
    options: &Options,
) -> Result<Arc<Database>, OpenError> {
    let dir = disk.create_dir_all(parent(path));
    dir.and_then(|()| remove(disk, path)).map_err(|error| OpenError::of_io(&error))?;
    let file = disk.open(path, OpenMode::CreateNew).map_err(|error| OpenError::of_io(&error))?;
    let database = build(FileOfDisk(file), options, false)?;
    match contain(|| write_first(&database, checkpoint)) {
        Ok(Ok(())) => Ok(database),
        Ok(Err(error)) | Err(error) if is_short_of_space(disk, path, options) => Err(OpenError::Full(error)),
        // It could be made and not written: the disk failed at it.
        Ok(Err(error)) | Err(error) => Err(OpenError::Disposable(error)),
    }
}

/// Tables in memory, for a start on a disk that takes no file.
pub(super) fn in_memory(checkpoint: &Checkpoint, options: &Options) -> Result<Arc<Database>, OpenError> {
    let database = redb::Builder::new()
        .set_cache_size(options.cache_bytes)
        .create_with_backend(InMemoryBackend::new())
        .map_err(OpenError::of_redb)?;
    write_first(&database, checkpoint).map_err(OpenError::Unreachable)?;
    Ok(Arc::new(database))
}

fn write_first(database: &Database, checkpoint: &Checkpoint) -> Result<(), String> {
    let mut transaction = database.begin_write().map_err(|error| error.to_string())?;
    transaction.set_durability(Durability::Immediate).map_err(|error| error.to_string())?;
    transaction.set_quick_repair(true);
    checkpoint.write(&transaction).map_err(|error: StoreError| error.0)?;
    transaction.commit().map_err(|error| error.to_string())
}

fn build(backend: impl StorageBackend, options: &Options, verify: bool) -> Result<Arc<Database>, OpenError> {
    let built = contain(|| {
        redb::Builder::new()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(verify)
            .create_with_backend(backend)
    });
    match built {
        Ok(Ok(database)) => Ok(Arc::new(database)),
        Ok(Err(error)) => Err(OpenError::of_redb(error)),
        Err(panic) => Err(OpenError::Disposable(panic)),
    }
}

/// A file of the disk as redb wants it.
struct FileOfDisk(Arc<dyn DiskFile>);

impl std::fmt::Debug for FileOfDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileOfDisk")
    }
}

impl StorageBackend for FileOfDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.len_bytes()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
    fn close(&self) -> io::Result<()> {
        self.0.unlock()
    }
    /// The whole file or nothing: where ranges are not supported, redb asks for the whole. It keeps a file that old views
    /// still read from being opened, and written, a second time.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match (start, end) {
            (Bound::Unbounded, Bound::Unbounded) => self.0.try_lock().map_err(BackendError::Io),
            _ => Err(BackendError::Unsupported),
        }
    }
}

/// Gives a whole file its name, durably.
pub(super) fn rename(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    disk.rename(from, to)?;
    disk.sync_dir(parent(to))
}

/// Removes a file if it is there.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the disk beneath `path` has too little room for a flush. A disk that does not say counts as roomy.
pub(super) fn is_short_of_space(disk: &dyn Disk, path: &Path, options: &Options) -> bool {
    disk.free_bytes(parent(path)).is_ok_and(|free_bytes| free_bytes < options.free_bytes_min)
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a projection's file lies in its projection's directory")
}

/// The name of the file of one version: letters, digits, `.`, `-`, `_`; a version with others, or a long one, is told
/// apart by its checksum.
pub(super) fn file_stem(version: &str) -> String {
    const STEM_BYTES_MAX: usize = 80;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let stem: String = version.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    if stem == version && !stem.is_empty() && !stem.starts_with('.') && stem.len() <= STEM_BYTES_MAX {
        return stem;
    }
    let start = &stem[..stem.len().min(STEM_BYTES_MAX)];
    format!("v{start}-{:08x}", crc32fast::hash(version.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::file_stem;

    #[test]
    fn a_version_names_a_file_in_its_own_directory_and_no_other_versions_file() {
        assert_eq!(file_stem("3-1a2b.rules"), "3-1a2b.rules");
        let odd = ["", "a/b", "a\\b", "../x", ".hidden", "a b", "é"];
        let stems: std::collections::BTreeSet<String> = odd.iter().map(|version| file_stem(version)).collect();
        assert_eq!(stems.len(), odd.len());
        assert!(stems.iter().all(|stem| !stem.contains('/') && !stem.starts_with('.')), "{stems:?}");
        assert_ne!(file_stem(&"x".repeat(300)), file_stem(&"x".repeat(301)));
        assert!(file_stem(&"é".repeat(300)).len() < 128);
    }
}
