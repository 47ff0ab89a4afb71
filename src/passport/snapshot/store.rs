//! The directory of snapshots of a live log: one is taken at a time, scheduled ones are removed by count.
//!
//! Whoever takes one waits for the one before; writers and readers wait for neither. Its owner says what time it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::copy::Bounds;
use super::manifest::Manifest;
use super::take::Taking;
use super::{PARTIAL_SUFFIX, SnapshotError, SnapshotName, partial_name};
use crate::disk::Disk;
use crate::passport::log::Log;
use crate::units::Timestamp;

/// `<data>/snapshots/`, which is made with the first snapshot.
pub struct Store {
    log: Arc<Log>,
    dir: PathBuf,
    min_free_bytes: u64,
    /// Held while the directory is changed.
    changing: Mutex<()>,
    is_stopped: AtomicBool,
    /// 0: none yet.
    last_success_micros: AtomicI64,
    failures: AtomicU64,
}

/// One directory of the store.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The directory's own name: a snapshot that was moved here may have been taken under another.
    pub name: SnapshotName,
    /// What it holds, or what is wrong with its manifest.
    pub manifest: Result<Manifest, String>,
}

/// What a store counts.
#[derive(Clone, Copy, Debug)]
pub struct StoreCounts {
    /// When the newest snapshot was asked for.
    pub last_success: Option<Timestamp>,
    /// Snapshots and removals that failed since the start; a name that was refused is none.
    pub failures: u64,
}

impl Store {
    /// The store of a log in `dir`. What a crash left there is removed.
    pub fn open(log: Arc<Log>, dir: PathBuf, min_free_bytes: u64) -> Store {
        let store = Store {
            log,
            dir,
            min_free_bytes,
            changing: Mutex::new(()),
            is_stopped: AtomicBool::new(false),
            last_success_micros: AtomicI64::new(0),
            failures: AtomicU64::new(0),
        };
        // The log serves without them; what is wrong with the directory is said again by whoever takes one.
        match store.remove_partials().and_then(|()| store.manifests()) {
            Ok(manifests) => {
                let newest = manifests.first().map_or(0, |(_, newest)| newest.created_at().micros());
                store.last_success_micros.store(newest, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "the snapshots that are there cannot be read"),
        }
        store
    }

    fn disk(&self) -> &dyn Disk {
        self.log.disk.as_ref()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn counts(&self) -> StoreCounts {
        let last = self.last_success_micros.load(Ordering::Relaxed);
        StoreCounts {
            last_success: (last != 0).then(|| Timestamp::from_micros(last)),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Takes a snapshot of what is synced now. Blocks for as long as it takes.
    ///
    /// # Errors
    /// A snapshot of this name is there; damage in what is copied; the disk; [`Store::give_up`].
    pub fn take(&self, name: &SnapshotName, now: Timestamp) -> Result<Manifest, SnapshotError> {
        let _alone = self.changing.lock();
        let taken = self.take_alone(name, now);
        match &taken {
            Ok(_) => self.last_success_micros.store(now.micros(), Ordering::Relaxed),
            Err(SnapshotError::Exists(_) | SnapshotError::Stopped) => {}
            Err(_) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        taken
    }

    fn take_alone(&self, name: &SnapshotName, now: Timestamp) -> Result<Manifest, SnapshotError> {
        let bounds = self.bounds();
        bounds.go_on()?;
        let failed = |error| SnapshotError::io(&self.dir, error);
        self.disk().create_dir_all(&self.dir).map_err(failed)?;
        if let Some(parent) = self.dir.parent() {
            self.disk().sync_dir(parent).map_err(failed)?;
        }
        if self.is_taken(name)? {
            return Err(SnapshotError::Exists(name.clone()));
        }
        self.remove_partials()?;
        let before = self.manifests()?.into_iter().next().map(|(name, newest)| (self.dir.join(name.as_str()), newest));
        Taking { log: &self.log, bounds, before }.run(&self.dir, name, now)
    }

    fn bounds(&self) -> Bounds<'_> {
        Bounds { is_stopped: &self.is_stopped, min_free_bytes: self.min_free_bytes }
    }

    /// Every snapshot, the newest first; those whose manifest cannot be read last.
    pub fn list(&self) -> Result<Vec<Listed>, SnapshotError> {
        let mut all = Vec::new();
        for name in self.names()? {
            match Manifest::read(self.disk(), &self.dir.join(name.as_str())) {
                Ok(manifest) => all.push(Listed { name, manifest }),
                // Removed or moved away since the directory was read, or a directory that is no snapshot.
                Err(SnapshotError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let created = |listed: &Listed| listed.manifest.as_ref().ok().map(Manifest::created_at);
        all.sort_by(|a, b| created(b).cmp(&created(a)).then_with(|| b.name.cmp(&a.name)));
        Ok(all)
    }

    /// The snapshots whose manifest can be read, the newest first.
    fn manifests(&self) -> Result<Vec<(SnapshotName, Manifest)>, SnapshotError> {
        let readable = |listed: Listed| listed.manifest.ok().map(|manifest| (listed.name, manifest));
        Ok(self.list()?.into_iter().filter_map(readable).collect())
    }

    /// When the newest scheduled snapshot up to `now` was taken. One of a later time, which a clock that was ahead leaves,
    /// says nothing about when the next one is due.
    pub fn newest_auto(&self, now: Timestamp) -> Result<Option<Timestamp>, SnapshotError> {
        let autos = self.manifests()?.into_iter().filter(|(name, _)| name.is_auto());
        Ok(autos.map(|(_, manifest)| manifest.created_at()).find(|created| *created <= now))
    }

    /// Removes the oldest scheduled snapshots but for `taken`, the one that was just taken, and the newest up to `keep`
    /// with it; gives the names of those that are gone. What is newer is for the log's numbers to say: their times and
    /// names are those of a clock that may have been wrong. One whose manifest cannot be read is neither counted nor
    /// removed, and no more is a directory that is no snapshot, whatever it is called.
    ///
    /// 1. A snapshot gets its partial name, and the directory is synced: it is absent from now on.
    /// 2. Its files go. A crash before the last one leaves a partial directory.
    pub fn remove_old(&self, keep: usize, taken: &SnapshotName) -> Result<Vec<SnapshotName>, SnapshotError> {
        let _alone = self.changing.lock();
        let removed = self.remove_old_alone(keep, taken);
        if removed.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        removed
    }

    fn remove_old_alone(&self, keep: usize, taken: &SnapshotName) -> Result<Vec<SnapshotName>, SnapshotError> {
        let mut others = self.manifests()?;
        others.retain(|(name, _)| name.is_auto() && name != taken);
        others.sort_by_key(|(_, manifest)| (manifest.last_seq(), manifest.created_at()));
        others.truncate(others.len().saturating_sub(keep.saturating_sub(1)));
        let old: Vec<SnapshotName> = others.into_iter().map(|(name, _)| name).collect();
        for name in &old {
            let (whole, partial) = (self.dir.join(name.as_str()), self.dir.join(partial_name(name.as_str())));
            let failed = |error| SnapshotError::io(&whole, error);
            self.disk().rename(&whole, &partial).map_err(failed)?;
            self.disk().sync_dir(&self.dir).map_err(failed)?;
            self.disk().remove_dir_all(&partial).map_err(failed)?;
        }
        Ok(old)
    }

    /// Gives up what is being taken, and refuses what comes after. Waits for nothing.
    pub fn give_up(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// The same, and waits until nothing touches the directory any more.
    pub fn stop(&self) {
        self.give_up();
        drop(self.changing.lock());
    }

    fn is_taken(&self, name: &SnapshotName) -> Result<bool, SnapshotError> {
        let failed = |error| SnapshotError::io(&self.dir, error);
        let is_dir = self.disk().list_dirs(&self.dir).map_err(failed)?.iter().any(|there| there == name.as_str());
        Ok(is_dir || self.disk().list(&self.dir).map_err(failed)?.iter().any(|there| there.name == name.as_str()))
    }

    /// The directories that may be snapshots.
    fn names(&self) -> Result<Vec<SnapshotName>, SnapshotError> {
        let dirs = self.dirs()?;
        Ok(dirs.iter().filter_map(|name| SnapshotName::of_directory(name).ok()).collect())
    }

    fn dirs(&self) -> Result<Vec<String>, SnapshotError> {
        match self.disk().list_dirs(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            dirs => dirs.map_err(|error| SnapshotError::io(&self.dir, error)),
        }
    }

    fn remove_partials(&self) -> Result<(), SnapshotError> {
        for name in self.dirs()?.iter().filter(|name| name.starts_with('.') && name.ends_with(PARTIAL_SUFFIX)) {
            let path = self.dir.join(name);
            self.disk().remove_dir_all(&path).map_err(|error| SnapshotError::io(&path, error))?;
        }
        Ok(())
    }
}
