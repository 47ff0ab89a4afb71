//! A disk that fails from a call on, as it is for a process that is killed there, and a few other things that a snapshot
//! can meet.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::disk::{DirEntry, Disk, DiskFile, OpenMode, RealDisk};

type Hook = Box<dyn FnOnce() + Send>;

/// A disk on which every call from the n-th on fails, as it is for a process that is killed there; it can refuse links,
/// hold sealing back, and count what is read of sealed segments.
#[derive(Clone, Default)]
pub struct Faults {
    /// 0: no call fails.
    fails_from: Arc<AtomicI64>,
    pub calls: Arc<AtomicI64>,
    pub has_no_links: Arc<AtomicBool>,
    pub sealed_bytes_read: Arc<AtomicI64>,
    /// Held: no segment is sealed.
    pub sealing: Arc<parking_lot::Mutex<()>>,
    /// What is done before the first raw segment is copied.
    pub before_raw_copy: Arc<parking_lot::Mutex<Option<Hook>>>,
}

impl Faults {
    fn call(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let from = self.fails_from.load(Ordering::SeqCst);
        if from > 0 && call >= from { Err(io::Error::other("injected")) } else { Ok(()) }
    }
    /// From now on the n-th call fails, and each behind it.
    pub fn fail_from(&self, n: i64) {
        self.calls.store(0, Ordering::SeqCst);
        self.fails_from.store(n, Ordering::SeqCst);
    }
}

struct FaultsFile {
    file: Arc<dyn DiskFile>,
    faults: Faults,
    is_sealed: bool,
}

impl Disk for Faults {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.call()?;
        let name = path.to_string_lossy();
        if name.ends_with(".segz.tmp") {
            drop(self.sealing.lock());
        }
        if mode == OpenMode::Read
            && name.ends_with(".seg")
            && let Some(hook) = self.before_raw_copy.lock().take()
        {
            hook();
        }
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(FaultsFile { file, faults: self.clone(), is_sealed: name.ends_with(".segz") }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.call()?;
        RealDisk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.create_dir_all(dir)
    }
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call()?;
        RealDisk.list_dirs(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        if self.has_no_links.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        RealDisk.hard_link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.remove(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.remove_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        RealDisk.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.call()?;
        RealDisk.free_bytes(dir)
    }
}

impl DiskFile for FaultsFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.faults.call()?;
        if self.is_sealed {
            self.faults.sealed_bytes_read.fetch_add(buffer.len() as i64, Ordering::SeqCst);
        }
        self.file.read_exact_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.call()?;
        self.file.write_all_at(bytes, offset)
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.faults.call()?;
        self.file.len_bytes()
    }
    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.faults.call()?;
        self.file.truncate(len_bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.faults.call()?;
        self.file.sync()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
