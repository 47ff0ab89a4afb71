//! A flush on its way: what was taken from a projection is written and committed, on a thread of its own where there is one,
//! while the fold goes on.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use redb::{Database, Durability};

use super::checkpoint::Checkpoint;
use super::contain::contain;
use super::{Changes, StoreError, dead_letters};
use crate::units::Seq;

/// Everything that one commit holds.
pub(super) struct Commit<C> {
    pub changes: C,
    pub dead_letters: dead_letters::Changes,
    pub checkpoint: Checkpoint,
    /// On disk once it is done; without, it is only good for a reload in this process.
    pub synced: bool,
}

impl<C: Changes> Commit<C> {
    /// # Errors
    /// What failed, or panicked. The file is as it was.
    fn make(mut self, database: &Database) -> Result<C, String> {
        let mut transaction = contain(|| database.begin_write().map_err(|error| error.to_string())).flatten()?;
        let durability = if self.synced { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).map_err(|error| error.to_string())?;
        transaction.set_quick_repair(self.synced);
        // The transaction stays out here, so that it is rolled back and not leaked when the projection panics.
        let written = contain(|| {
            self.changes.write(&transaction)?;
            self.dead_letters.write(&transaction)?;
            self.checkpoint.write(&transaction)
        });
        written.unwrap_or_else(|panic| Err(StoreError(panic))).map_err(|error| error.0)?;
        contain(|| transaction.commit().map_err(|error| error.to_string())).flatten()?;
        Ok(self.changes)
    }
}

const NO_THREAD: &str = "the thread that flushes has ended";

type Job = Box<dyn FnOnce() + Send>;

/// The thread that flushes of one projection are made on. It ends when this is dropped.
pub(super) struct FlushThread {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl FlushThread {
    pub fn start(name: String) -> io::Result<FlushThread> {
        let (sender, jobs) = bounded::<Job>(1);
        let thread = thread::Builder::new().name(name).spawn(move || jobs.iter().for_each(|job| job()))?;
        Ok(FlushThread { jobs: sender, thread })
    }

    /// It is of no use any more: a job has panicked.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// See the module. Whoever drops it waits for its end: nothing else may write to the file before.
pub(super) struct Flushing<C> {
    /// The last entry that it holds.
    pub applied: Seq,
    pub synced: bool,
    /// Entries that it takes along, and those that no synced commit held before it.
    pub entries: u64,
    pub unsynced: u64,
    work: Option<Work<C>>,
}

enum Work<C> {
    Done(Result<C, String>),
    Beside(Receiver<Result<C, String>>),
}

impl<C: Changes> Flushing<C> {
    /// Begins it on that thread; without one, it is over when this returns.
    pub fn begin(
        commit: Commit<C>,
        database: &Arc<Database>,
        thread: Option<&FlushThread>,
        (entries, unsynced): (u64, u64),
    ) -> Flushing<C> {
        let (applied, synced) = (commit.checkpoint.applied, commit.synced);
        let work = match thread {
            None => Work::Done(commit.make(database)),
            Some(FlushThread { jobs, .. }) => {
                let (sender, result) = bounded(1);
                let database = Arc::clone(database);
                let job = move || {
                    let made = commit.make(&database);
                    // Whoever is told may open the file again.
                    drop(database);
                    // Nobody is told who has gone.
                    let _ = sender.send(made);
                };
                // A thread that has ended drops the job, which ends the flush as an error.
                let _ = jobs.send(Box::new(job));
                Work::Beside(result)
            }
        };
        Flushing { applied, synced, entries, unsynced, work: Some(work) }
    }

    pub fn is_over(&mut self) -> bool {
        if let Some(Work::Beside(result)) = &self.work {
            let made = match result.try_recv() {
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => Err(NO_THREAD.to_owned()),
                Ok(made) => made,
            };
            self.work = Some(Work::Done(made));
        }
        true
    }

    /// Waits for it.
    ///
    /// # Errors
    /// What failed. The file is as it was, and what was taken from the projection is lost.
    pub fn end(mut self) -> Result<C, String> {
        match self.work.take() {
            Some(Work::Done(result)) => result,
            Some(Work::Beside(result)) => result.recv().unwrap_or_else(|_| Err(NO_THREAD.to_owned())),
            None => unreachable!("it is taken here and when it is dropped"),
        }
    }
}

impl<C> Drop for Flushing<C> {
    fn drop(&mut self) {
        if let Some(Work::Beside(result)) = self.work.take() {
            // Nobody is left who would want to know how it went.
            let _ = result.recv();
        }
    }
}
