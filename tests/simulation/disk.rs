//! A disk in memory that does what disks do when the power goes.
//!
//! What is durable: the bytes and the length of a file after [`DiskFile::sync`], a name made, moved or removed after
//! [`Disk::sync_dir`] of its directory, a directory after the same of its parent. Everything else is in a cache, and
//! [`SimDisk::cut_power`] draws what of it has reached the disk by itself: each 512-byte sector of each write, each length,
//! each name on its own, in any combination.
//!
//! Beside that it fails the call it is told to fail, fills up, writes short, and flips bits. After a sync that failed the
//! cache holds what was written, takes it for clean, and never writes it (as Linux does); only what is written anew is
//! synced by a later sync.
//!
//! The controls, at the end, take a promise of the disk away: a simulation that still finds nothing wrong is blind.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coliseum::disk::{DirEntry, Disk, DiskFile, OpenMode};
use parking_lot::Mutex;

use crate::random::Draws;

const SECTOR_BYTES: usize = 512;

/// What a call does, as far as faults care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Open,
    Read,
    Write,
    Length,
    Sync,
    List,
    MakeDir,
    Rename,
    Link,
    Remove,
    SyncDir,
}

pub const KINDS: [Kind; 11] = [
    Kind::Open,
    Kind::Read,
    Kind::Write,
    Kind::Length,
    Kind::Sync,
    Kind::List,
    Kind::MakeDir,
    Kind::Rename,
    Kind::Link,
    Kind::Remove,
    Kind::SyncDir,
];

/// A promise that the disk does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A sync of a file whose name has this in it does nothing and says that it went well.
    SyncOf(&'static str),
    /// The same for a directory whose name ends like this.
    SyncDirOf(&'static str),
}

/// A write or a length that is in the cache only.
#[derive(Clone, Debug)]
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    locked: bool,
}

/// A name that was made, moved or removed and not synced.
#[derive(Clone, Debug)]
enum NameChange {
    Made { name: PathBuf, inode: usize },
    Moved { from: PathBuf, to: PathBuf, inode: usize },
    Removed { name: PathBuf },
    MadeDir { name: PathBuf },
    MovedDir { from: PathBuf, to: PathBuf },
    RemovedDir { name: PathBuf },
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    cached: Names,
    durable: Names,
    /// By directory, in order.
    changes: BTreeMap<PathBuf, Vec<NameChange>>,
    /// Handles of an earlier one are of a machine that lost its power.
    life: u64,
    calls: u64,
    /// The power goes at this call.
    cut_at: Option<u64>,
    is_cut: bool,
    /// The call of this kind, counted from 1, that fails.
    fail: Option<(Kind, u64)>,
    failed: u64,
    capacity_bytes: u64,
    lies: Vec<Lie>,
    /// A hash of every call with all that it was given.
    trace: u64,
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    pub fn new() -> SimDisk {
        let mut state = State { capacity_bytes: u64::MAX, ..State::default() };
        for names in [&mut state.cached, &mut state.durable] {
            names.dirs.insert(PathBuf::from("/"));
        }
        SimDisk(Arc::new(Mutex::new(state)))
    }

    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }
    pub fn trace(&self) -> u64 {
        self.0.lock().trace
    }
    /// The power goes at the `calls`-th call from now, counted from 1.
    pub fn cut_in(&self, calls: u64) {
        let mut state = self.0.lock();
        state.cut_at = Some(state.calls + calls);
    }
    pub fn dont_cut(&self) {
        self.0.lock().cut_at = None;
    }
    pub fn is_cut(&self) -> bool {
        self.0.lock().is_cut
    }
    /// The `nth` call of a kind from now fails, once.
    pub fn fail(&self, kind: Kind, nth: u64) {
        self.0.lock().fail = Some((kind, nth));
    }
    pub fn dont_fail(&self) {
        self.0.lock().fail = None;
    }
    /// How many calls have failed by order, a full disk included.
    pub fn failed(&self) -> u64 {
        self.0.lock().failed
    }
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity_bytes = bytes;
    }
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used()
    }
    pub fn lie(&self, lie: Lie) {
        self.0.lock().lies.push(lie);
    }

    /// The power goes, if it has not yet, and comes back.
    pub fn cut_power(&self, draws: &mut Draws) {
        let mut state = self.0.lock();
        // How much of the cache has reached the disk: nothing, everything, or a part.
        let percents = [0, 100, 50, 90, 10];
        let (names_percent, bytes_percent) = (*draws.pick(&percents), *draws.pick(&percents));
        let changes = std::mem::take(&mut state.changes);
        for change in changes.into_values().flatten() {
            if draws.percent(names_percent) {
                state.durable.apply(&change);
            }
        }
        state.durable.drop_orphans();
        state.cached = state.durable.clone();
        for inode in &mut state.inodes {
            for change in std::mem::take(&mut inode.unsynced) {
                change.reach(&mut inode.durable, bytes_percent, draws);
            }
            inode.cached.clone_from(&inode.durable);
            inode.locked = false;
        }
        state.revive();
    }

    /// The process is killed: what it wrote stays in the cache, its handles and locks are gone.
    pub fn kill(&self) {
        let mut state = self.0.lock();
        state.inodes.iter_mut().for_each(|inode| inode.locked = false);
        state.revive();
    }

    /// The files there are below a directory.
    pub fn files_below(&self, dir: &Path) -> Vec<PathBuf> {
        self.0.lock().cached.files.keys().filter(|path| path.starts_with(dir)).cloned().collect()
    }
    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let state = self.0.lock();
        state.inodes[state.cached.files[path]].cached.clone()
    }
    /// Changes a file at rest.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let inode = state.cached.files[path];
        change(&mut state.inodes[inode].cached);
        state.inodes[inode].durable = state.inodes[inode].cached.clone();
        state.inodes[inode].unsynced.clear();
    }
    /// All bytes and names, to come back to.
    pub fn image(&self) -> Image {
        let state = self.0.lock();
        assert!(state.changes.is_empty() && state.inodes.iter().all(|inode| inode.unsynced.is_empty()));
        Image { inodes: state.inodes.clone(), names: state.cached.clone() }
    }
    pub fn put_back(&self, image: Image) {
        let mut state = self.0.lock();
        state.inodes = image.inodes;
        state.durable = image.names.clone();
        state.cached = image.names;
        state.changes.clear();
        state.revive();
    }
    /// Everything that is in the cache reaches the disk.
    pub fn settle(&self) {
        let mut state = self.0.lock();
        state.changes.clear();
        state.durable = state.cached.clone();
        for inode in &mut state.inodes {
            inode.unsynced.clear();
            inode.durable.clone_from(&inode.cached);
        }
    }
}

/// A disk that nobody writes to.
pub struct Image {
    inodes: Vec<Inode>,
    names: Names,
}

impl Unsynced {
    /// Puts on the disk what the draw says has reached it.
    fn reach(self, durable: &mut Vec<u8>, percent: u64, draws: &mut Draws) {
        match self {
            Unsynced::Length(length) => {
                if draws.percent(percent) {
                    durable.resize(length, 0);
                }
            }
            Unsynced::Write { offset, bytes } => {
                let end = offset + bytes.len();
                // The length that the write made may not have reached the disk, though sectors have.
                if end > durable.len() {
                    if !draws.percent(percent) {
                        return;
                    }
                    durable.resize(end, 0);
                }
                let mut at = offset;
                while at < end {
                    let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                    if draws.percent(percent) {
                        durable[at..next].copy_from_slice(&bytes[at - offset..next - offset]);
                    }
                    at = next;
                }
            }
        }
    }
}

impl Names {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Made { name, inode } => drop(self.files.insert(name.clone(), *inode)),
            NameChange::Moved { from, to, inode } => {
                self.files.remove(from);
                self.files.insert(to.clone(), *inode);
            }
            NameChange::Removed { name } => drop(self.files.remove(name)),
            NameChange::MadeDir { name } => drop(self.dirs.insert(name.clone())),
            NameChange::MovedDir { from, to } => self.move_dir(from, to),
            NameChange::RemovedDir { name } => {
                self.dirs.retain(|dir| !dir.starts_with(name));
                self.files.retain(|file, _| !file.starts_with(name));
            }
        }
    }

    fn move_dir(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        let files = std::mem::take(&mut self.files);
        self.files = files.into_iter().map(|(path, inode)| (moved(&path).unwrap_or(path), inode)).collect();
        let dirs = std::mem::take(&mut self.dirs);
        self.dirs = dirs.into_iter().map(|path| moved(&path).map_or(path, clean)).collect();
    }

    /// A name in a directory that is not there leads nowhere.
    fn drop_orphans(&mut self) {
        let dirs = self.dirs.clone();
        let is_reached = |path: &Path| path.ancestors().skip(1).all(|dir| dirs.contains(dir));
        self.dirs.retain(|dir| is_reached(dir));
        self.files.retain(|file, _| is_reached(file));
    }
}

/// Without the empty part that joining nothing leaves at the end.
fn clean(path: PathBuf) -> PathBuf {
    path.components().collect()
}

impl State {
    fn used(&self) -> u64 {
        let linked: BTreeSet<usize> = self.cached.files.values().copied().collect();
        linked.into_iter().map(|inode| self.inodes[inode].cached.len() as u64).sum()
    }

    fn revive(&mut self) {
        self.life += 1;
        self.is_cut = false;
        self.cut_at = None;
        self.fail = None;
    }

    /// Counts a call; an error if the power is gone, or this one is to fail.
    fn call(&mut self, life: Option<u64>, kind: Kind, path: &Path, detail: u64) -> io::Result<()> {
        if life.is_some_and(|life| life != self.life) {
            return Err(io::Error::other("this handle is of an earlier life"));
        }
        self.calls += 1;
        self.note(kind as u64);
        path.as_os_str().as_encoded_bytes().iter().for_each(|byte| self.note(u64::from(*byte)));
        self.note(detail);
        if self.cut_at.is_some_and(|at| self.calls >= at) {
            self.is_cut = true;
        }
        if self.is_cut {
            return Err(io::Error::other("the power is gone"));
        }
        if let Some((wanted, left)) = &mut self.fail
            && *wanted == kind
        {
            *left -= 1;
            if *left == 0 {
                self.fail = None;
                self.failed += 1;
                return Err(io::Error::other(format!("told to fail: {kind:?}")));
            }
        }
        Ok(())
    }

    fn note(&mut self, value: u64) {
        self.trace = (self.trace.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn change(&mut self, dir: &Path, change: NameChange) {
        self.cached.apply(&change);
        self.changes.entry(dir.to_owned()).or_default().push(change);
    }

    fn expect_dir(&self, dir: &Path) -> io::Result<()> {
        if self.cached.dirs.contains(dir) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn inode_of(&self, path: &Path) -> io::Result<usize> {
        self.cached.files.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes into the cache, as much as the disk has room for.
    fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len();
        let growth = end.saturating_sub(self.inodes[inode].cached.len()) as u64;
        let room = self.capacity_bytes.saturating_sub(self.used());
        let fits = if growth > room { bytes.len().saturating_sub((growth - room) as usize) } else { bytes.len() };
        let file = &mut self.inodes[inode];
        if fits > 0 {
            if file.cached.len() < offset + fits {
                file.cached.resize(offset + fits, 0);
            }
            file.cached[offset..offset + fits].copy_from_slice(&bytes[..fits]);
            file.unsynced.push(Unsynced::Write { offset, bytes: bytes[..fits].to_vec() });
        }
        if fits < bytes.len() {
            self.failed += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.call(None, Kind::Open, path, mode as u64)?;
        if mode == OpenMode::CreateNew {
            state.expect_dir(parent(path))?;
            if state.cached.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.change(parent(path), NameChange::Made { name: path.to_owned(), inode });
        }
        let inode = state.inode_of(path)?;
        let (opened_as, life) = (path.to_owned(), state.life);
        Ok(Arc::new(SimFile { disk: self.clone(), inode, opened_as, life, holds_lock: AtomicBool::new(false) }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.0.lock();
        state.call(None, Kind::List, dir, 0)?;
        state.expect_dir(dir)?;
        let inside = state.cached.files.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .map(|(path, inode)| DirEntry {
                name: path.file_name().expect("a file's name").to_str().expect("UTF-8").to_owned(),
                len_bytes: state.inodes[*inode].cached.len() as u64,
            })
            .collect())
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.0.lock();
        state.call(None, Kind::List, dir, 1)?;
        state.expect_dir(dir)?;
        let inside = state.cached.dirs.iter().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().expect("a name").to_str().expect("UTF-8").to_owned()).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(None, Kind::MakeDir, dir, 0)?;
        let missing: Vec<PathBuf> =
            dir.ancestors().filter(|dir| !state.cached.dirs.contains(*dir)).map(Path::to_owned).collect();
        for dir in missing.into_iter().rev() {
            let above = parent(&dir).to_owned();
            state.change(&above, NameChange::MadeDir { name: dir });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(None, Kind::Rename, from, 0)?;
        state.expect_dir(parent(to))?;
        let change = if state.cached.dirs.contains(from) {
            if state.cached.dirs.contains(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            NameChange::MovedDir { from: from.to_owned(), to: to.to_owned() }
        } else {
            NameChange::Moved { from: from.to_owned(), to: to.to_owned(), inode: state.inode_of(from)? }
        };
        state.change(parent(to), change);
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(None, Kind::Link, to, 0)?;
        state.expect_dir(parent(to))?;
        if state.cached.files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inode_of(from)?;
        state.change(parent(to), NameChange::Made { name: to.to_owned(), inode });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(None, Kind::Remove, path, 0)?;
        state.inode_of(path)?;
        state.change(parent(path), NameChange::Removed { name: path.to_owned() });
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(None, Kind::Remove, dir, 1)?;
        state.expect_dir(dir)?;
        state.change(parent(dir), NameChange::RemovedDir { name: dir.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(None, Kind::SyncDir, dir, 0)?;
        state.expect_dir(dir)?;
        let lies = |lie: &Lie| matches!(lie, Lie::SyncDirOf(name) if dir.ends_with(name));
        if state.lies.iter().any(lies) {
            return Ok(());
        }
        for change in state.changes.remove(dir).unwrap_or_default() {
            state.durable.apply(&change);
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.capacity_bytes.saturating_sub(state.used()))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    opened_as: PathBuf,
    life: u64,
    holds_lock: AtomicBool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.call(Some(self.life), Kind::Read, &self.opened_as, offset)?;
        let from = state.inodes[self.inode].cached.get(offset as usize..).unwrap_or_default();
        let bytes = from.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let called =
            state.call(Some(self.life), Kind::Write, &self.opened_as, offset ^ u64::from(crc32fast::hash(bytes)));
        if let Err(error) = called {
            // It fails in the middle: a part is in the cache.
            if state.life == self.life && !bytes.is_empty() {
                let part = crc32fast::hash(bytes) as usize % bytes.len();
                let _ = state.write(self.inode, offset as usize, &bytes[..part]);
            }
            return Err(error);
        }
        state.write(self.inode, offset as usize, bytes)
    }

    fn len_bytes(&self) -> io::Result<u64> {
        let mut state = self.disk.0.lock();
        state.call(Some(self.life), Kind::Length, &self.opened_as, 0)?;
        Ok(state.inodes[self.inode].cached.len() as u64)
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.call(Some(self.life), Kind::Length, &self.opened_as, len_bytes)?;
        let growth = len_bytes.saturating_sub(state.inodes[self.inode].cached.len() as u64);
        if growth > state.capacity_bytes.saturating_sub(state.used()) {
            state.failed += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.inodes[self.inode];
        file.cached.resize(len_bytes as usize, 0);
        file.unsynced.push(Unsynced::Length(len_bytes as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let called = state.call(Some(self.life), Kind::Sync, &self.opened_as, 0);
        let is_cut = state.is_cut;
        // By the name that the file has now, which is another one than it was opened with where it was renamed.
        let is_named = |name: &str| {
            let mut names = state.cached.files.iter().filter(|(_, inode)| **inode == self.inode);
            names.any(|(path, _)| path.to_string_lossy().contains(name))
        };
        let is_lie = state.lies.iter().any(|lie| matches!(lie, Lie::SyncOf(name) if is_named(name)));
        let file = &mut state.inodes[self.inode];
        if called.is_err() {
            // The cache takes what it could not write for clean: it is there to be read, and never written.
            if !is_cut {
                file.unsynced.clear();
            }
            return called;
        }
        if !is_lie {
            for change in std::mem::take(&mut file.unsynced) {
                change.reach(&mut file.durable, 100, &mut Draws::new(0));
            }
        }
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.0.lock();
        let is_free = state.life == self.life && !std::mem::replace(&mut state.inodes[self.inode].locked, true);
        self.holds_lock.fetch_or(is_free, Ordering::SeqCst);
        Ok(is_free)
    }

    fn unlock(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if self.holds_lock.swap(false, Ordering::SeqCst) && state.life == self.life {
            state.inodes[self.inode].locked = false;
        }
        Ok(())
    }
}
