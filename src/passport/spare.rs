//! The next segment's file, made ahead of need and off the path of an answer.
//!
//! A file is written full of zeros and synced before it is used: a sync into bytes that are already there is half again
//! as fast as one into a file that grows or was only `fallocate`d. It is called `*.tmp` until it gets its header
//! and its name, so a crash leaves at most a file that the next start removes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::segment::FIRST_BATCH_OFFSET;
use crate::disk::{Disk, DiskFile, OpenMode};

const ZEROS_BYTES: usize = 1024 * 1024;

/// A file of zeros, synced, under a temporary name.
pub(super) struct Spare {
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub bytes: u64,
}

/// The one that waits to be needed.
const AHEAD_NAME: &str = "spare.tmp";
/// One that is needed at once: the first, or one for a group that is larger than a segment.
pub(super) const AT_ONCE_NAME: &str = "segment.tmp";

/// Makes one now. Removes what it has written where that fails (a full disk, mostly).
pub(super) fn make(disk: &dyn Disk, dir: &Path, name: &str, bytes: u64, min_free_bytes: u64) -> io::Result<Spare> {
    let free = disk.free_bytes(dir)?;
    if free < bytes.saturating_add(min_free_bytes) {
        let what =
            format!("{free} bytes are free, the next segment takes {bytes} and min_free_bytes is {min_free_bytes}");
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    let path = dir.join(name);
    // What an earlier one that failed has left, if it could not be removed either.
    match disk.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&path, OpenMode::CreateNew)?;
    let made = fill(file.as_ref(), bytes);
    if let Err(error) = made {
        disk.remove(&path)?;
        return Err(error);
    }
    Ok(Spare { path, file, bytes })
}

fn fill(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES.min(bytes as usize)];
    let mut offset = 0;
    while offset < bytes {
        let piece = (bytes - offset).min(zeros.len() as u64) as usize;
        file.write_all_at(&zeros[..piece], offset)?;
        offset += piece as u64;
    }
    debug_assert!(bytes >= FIRST_BATCH_OFFSET);
    file.sync()
}

/// What every spare of a log is made like.
#[derive(Clone)]
pub(super) struct Recipe {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub bytes: u64,
    pub min_free_bytes: u64,
}

impl Recipe {
    fn make(&self) -> io::Result<Spare> {
        make(self.disk.as_ref(), &self.dir, AHEAD_NAME, self.bytes, self.min_free_bytes)
    }
}

/// Makes one spare for each request: on a thread of its own, or in [`SpareMaker::step`].
pub(super) struct SpareMaker {
    recipe: Recipe,
    outstanding: bool,
    worker: Option<Worker>,
    /// Made by a step and not taken yet.
    ready: Option<io::Result<Spare>>,
}

/// The thread. It ends when `requests` does.
struct Worker {
    requests: Sender<()>,
    made: Receiver<io::Result<Spare>>,
    thread: JoinHandle<()>,
}

impl SpareMaker {
    pub fn new(recipe: Recipe) -> SpareMaker {
        SpareMaker { recipe, outstanding: false, worker: None, ready: None }
    }

    /// From now on a thread makes them.
    pub fn start_thread(&mut self) -> io::Result<()> {
        let recipe = self.recipe.clone();
        let (requests, wanted) = bounded::<()>(1);
        let (made_to, made) = bounded(1);
        let thread = std::thread::Builder::new().name("spare".into()).spawn(move || {
            while wanted.recv().is_ok() {
                if made_to.send(recipe.make()).is_err() {
                    return;
                }
            }
        })?;
        self.worker = Some(Worker { requests, made, thread });
        Ok(())
    }

    /// Asks for a spare unless one is made or being made.
    pub fn request(&mut self) {
        if !self.outstanding {
            self.outstanding = self.worker.as_ref().is_none_or(|worker| worker.requests.try_send(()).is_ok());
        }
    }

    /// Without a thread: makes the spare that was asked for; `false` where none was.
    pub fn step(&mut self) -> bool {
        let wanted = self.outstanding && self.ready.is_none();
        if wanted {
            self.ready = Some(self.recipe.make());
        }
        wanted
    }

    /// The spare, waiting for it where it is still being made.
    pub fn take(&mut self) -> io::Result<Spare> {
        let asked_before = self.outstanding;
        match self.made() {
            // What failed when it was asked for may work by now.
            Err(_) if asked_before => self.made(),
            made => made,
        }
    }

    fn made(&mut self) -> io::Result<Spare> {
        self.request();
        let made = match &self.worker {
            Some(worker) => worker.made.recv().map_err(|_| io::Error::other("the thread that makes segments ended"))?,
            None => self.ready.take().unwrap_or_else(|| self.recipe.make()),
        };
        self.outstanding = false;
        made
    }
}

impl Drop for SpareMaker {
    fn drop(&mut self) {
        if let Some(Worker { requests, made, thread }) = self.worker.take() {
            drop(requests);
            // At most one spare is in the channel; the thread ends at the next look at its requests.
            while made.recv().is_ok() {}
            if thread.join().is_err() {
                tracing::error!("the thread that makes segments panicked");
            }
        }
    }
}
