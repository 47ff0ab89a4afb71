//! A disk in memory that forgets what was not synced, fails at a chosen call, and counts what is read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{DirEntry, Disk, DiskFile, OpenMode};

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survives {
    /// Neither bytes nor names.
    Nothing,
    /// Names made, moved and removed, but not the bytes.
    Names,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// Calls until one fails, and whether all after it fail too.
    FailsAfter {
        calls: u64,
        for_good: bool,
    },
    Dead,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

type Names = BTreeMap<PathBuf, Arc<Mutex<Content>>>;

struct State {
    names: Names,
    synced_names: Names,
    health: Health,
    bytes_read: u64,
}

#[derive(Clone)]
pub(super) struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    pub(super) fn new() -> MemoryDisk {
        let (names, synced_names) = (Names::new(), Names::new());
        MemoryDisk(Arc::new(Mutex::new(State { names, synced_names, health: Health::Good, bytes_read: 0 })))
    }

    pub(super) fn fail_after(&self, calls: u64, for_good: bool) {
        self.0.lock().health = Health::FailsAfter { calls, for_good };
    }

    /// Makes the disk good again; `true` if it had failed.
    pub(super) fn heal(&self) -> bool {
        let failed = !matches!(self.0.lock().health, Health::FailsAfter { .. });
        self.0.lock().health = Health::Good;
        failed
    }

    pub(super) fn power_cut(&self, survives: Survives) {
        let mut state = self.0.lock();
        match survives {
            Survives::Nothing => state.names = state.synced_names.clone(),
            Survives::Names => state.synced_names = state.names.clone(),
        }
        for content in state.names.values() {
            // Another content, since handles from before the cut must not see it.
            let mut content = content.lock();
            content.now = content.synced.clone();
        }
        state.health = Health::Good;
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.0.lock().bytes_read
    }

    pub(super) fn contents(&self, path: &Path) -> Vec<u8> {
        self.0.lock().names[path].lock().now.clone()
    }

    /// Puts a file there as if it had been written and synced.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.lock();
        let content = Content { now: bytes.to_vec(), synced: bytes.to_vec() };
        let content = Arc::new(Mutex::new(content));
        state.synced_names.insert(path.into(), Arc::clone(&content));
        state.names.insert(path.into(), content);
    }

    /// Changes the bytes of a file in place, under the hands of those who have it open.
    pub(super) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let content = Arc::clone(&self.0.lock().names[path]);
        let mut content = content.lock();
        change(&mut content.now);
        content.synced = content.now.clone();
    }

    fn call(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        match &mut state.health {
            Health::Good => return Ok(()),
            Health::FailsAfter { calls, .. } if *calls > 0 => {
                *calls -= 1;
                return Ok(());
            }
            Health::FailsAfter { for_good, .. } => {
                state.health = if *for_good { Health::Dead } else { Health::Good };
            }
            Health::Dead => {}
        }
        Err(io::Error::other("the disk fails here"))
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.call()?;
        let mut state = self.0.lock();
        if mode == OpenMode::CreateNew {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.names.insert(path.into(), Arc::default());
        }
        let content = Arc::clone(state.names.get(path).ok_or_else(not_found)?);
        Ok(Arc::new(MemoryFile { disk: self.clone(), content }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.call()?;
        let state = self.0.lock();
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .map(|(path, content)| DirEntry {
                name: path.file_name().unwrap().to_str().unwrap().into(),
                len_bytes: content.lock().now.len() as u64,
            })
            .collect())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        self.call()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        let mut state = self.0.lock();
        let content = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.into(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        self.0.lock().names.remove(path).map(drop).ok_or_else(not_found)
    }

    fn list_dirs(&self, _: &Path) -> io::Result<Vec<String>> {
        unreachable!("an index has no directories in its own")
    }

    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("an index links nothing")
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        unreachable!("an index removes no directories")
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.call()?;
        let mut state = self.0.lock();
        state.synced_names = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    content: Arc<Mutex<Content>>,
}

impl DiskFile for MemoryFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.call()?;
        self.disk.0.lock().bytes_read += buffer.len() as u64;
        let content = self.content.lock();
        let from = content.now.get(offset as usize..).unwrap_or_default();
        let bytes = from.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.call()?;
        let mut content = self.content.lock();
        let end = offset as usize + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.disk.call()?;
        Ok(self.content.lock().now.len() as u64)
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.disk.call()?;
        self.content.lock().now.resize(len_bytes as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call()?;
        let mut content = self.content.lock();
        content.synced = content.now.clone();
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        unreachable!("an index locks nothing")
    }

    fn unlock(&self) -> io::Result<()> {
        unreachable!("an index locks nothing")
    }
}
