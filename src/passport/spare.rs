//! The next segment's file, made ahead of need and off the path of an answer.
//!
//! A file is written full of zeros and synced before it is used: a sync into bytes that are already there is half again
//! as fast as one into a file that grows or was only `fallocate`d. It is called `spare-N.tmp` until it gets its header
//! and its name, so a crash leaves at most a file that the next start removes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Numbers the temporary names, so that one made in time and one made in haste do not meet.
static NAMES: AtomicU64 = AtomicU64::new(0);

/// Makes one now. Removes what it has written where that fails (a full disk, mostly).
pub(super) fn make(disk: &dyn Disk, dir: &Path, bytes: u64, min_free_bytes: u64) -> io::Result<Spare> {
    let free = disk.free_bytes(dir)?;
    if free < bytes.saturating_add(min_free_bytes) {
        let what =
            format!("{free} bytes are free, the next segment takes {bytes} and min_free_bytes is {min_free_bytes}");
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    let path = dir.join(format!("spare-{}.tmp", NAMES.fetch_add(1, Ordering::Relaxed)));
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

/// A thread that makes one spare for each request.
pub(super) struct SpareMaker {
    requests: Option<Sender<()>>,
    made: Receiver<io::Result<Spare>>,
    outstanding: bool,
    thread: Option<JoinHandle<()>>,
}

impl SpareMaker {
    pub fn start(disk: Arc<dyn Disk>, dir: PathBuf, bytes: u64, min_free_bytes: u64) -> io::Result<SpareMaker> {
        let (requests, wanted) = bounded::<()>(1);
        let (made_to, made) = bounded(1);
        let thread = std::thread::Builder::new().name("spare".into()).spawn(move || {
            while wanted.recv().is_ok() {
                if made_to.send(make(disk.as_ref(), &dir, bytes, min_free_bytes)).is_err() {
                    return;
                }
            }
        })?;
        Ok(SpareMaker { requests: Some(requests), made, outstanding: false, thread: Some(thread) })
    }

    /// Asks for a spare unless one is made or being made.
    pub fn request(&mut self) {
        if !self.outstanding
            && let Some(requests) = &self.requests
        {
            self.outstanding = requests.try_send(()).is_ok();
        }
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
        let made = self.made.recv().map_err(|_| io::Error::other("the thread that makes segments ended"))?;
        self.outstanding = false;
        made
    }
}

impl Drop for SpareMaker {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // At most one spare is in the channel; the thread ends at the next look at its requests.
            while self.made.recv().is_ok() {}
            if thread.join().is_err() {
                tracing::error!("the thread that makes segments panicked");
            }
        }
    }
}
