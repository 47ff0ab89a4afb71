//! A flush on its way: what was taken from a projection is written and committed, on a thread of its own where there is one,
//! while the fold goes on.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

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
    Beside(JoinHandle<Result<C, String>>),
}

impl<C: Changes> Flushing<C> {
    /// Begins it on a thread of that name; without one, it is over when this returns.
    pub fn begin(
        commit: Commit<C>,
        database: &Arc<Database>,
        thread_name: Option<String>,
        (entries, unsynced): (u64, u64),
    ) -> Flushing<C> {
        let (applied, synced) = (commit.checkpoint.applied, commit.synced);
        let work = match thread_name {
            None => Work::Done(commit.make(database)),
            Some(name) => {
                let database = Arc::clone(database);
                match thread::Builder::new().name(name).spawn(move || commit.make(&database)) {
                    Ok(thread) => Work::Beside(thread),
                    Err(error) => Work::Done(Err(format!("a flush got no thread: {error}"))),
                }
            }
        };
        Flushing { applied, synced, entries, unsynced, work: Some(work) }
    }

    pub fn is_over(&self) -> bool {
        !matches!(&self.work, Some(Work::Beside(thread)) if !thread.is_finished())
    }

    /// Waits for it.
    ///
    /// # Errors
    /// What failed. The file is as it was, and what was taken from the projection is lost.
    pub fn end(mut self) -> Result<C, String> {
        match self.work.take() {
            Some(Work::Done(result)) => result,
            Some(Work::Beside(thread)) => thread.join().unwrap_or_else(|_| Err("a flush ended in a panic".to_owned())),
            None => unreachable!("it is taken here and when it is dropped"),
        }
    }
}

impl<C> Drop for Flushing<C> {
    fn drop(&mut self) {
        if let Some(Work::Beside(thread)) = self.work.take() {
            // Nobody is left who would want to know how it went.
            let _ = thread.join();
        }
    }
}
