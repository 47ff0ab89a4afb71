//! The runner that every projection shares: it follows the log behind the durable watermark, folds entries, writes one
//! redb transaction that holds the changes and the checkpoint, and publishes an immutable view to readers.
//!
//! [`start`] opens or makes the projection's file and returns a [`Handle`] that has a view from then on:
//!
//! ```text
//! projections/<NAME>/<version>.redb            the tables, the checkpoint and the dead letters
//! projections/<NAME>/<version>.redb.building   the same, not whole yet; renamed when it is
//! ```
//!
//! **Exactly once.** The changes and the checkpoint are in one transaction. Most commits are not synced: after a crash
//! the file is at its last synced commit, and the entries since are folded again on a state that has none of them.
//!
//! **Never in silence.** What the log cannot give is waited for. An entry that cannot be folded becomes a
//! [`DeadLetter`] after its goes. A file ahead of the log stops the start, since then the log has lost entries.
//!
//! **Disposable.** A file that is damaged, of another layout or of another log is removed and built again. A file of
//! other rules goes on serving and following while the new one is built beside it on a second thread, and is then
//! swapped for it in one pointer. On a full disk the tables are built in memory, until a file can be.
//!
//! | file | idea |
//! | --- | --- |
//! | `handle` | what readers hold; everything that is published |
//! | `consumer` | all running projections, whatever they fold |
//! | `runner` | the thread: commands, publishing, waiting |
//! | `stepped` | the same parts without a thread, for whoever takes the steps |
//! | `versions` | which file serves at start; the rebuild beside it, the swap |
//! | `convoy` | rebuilds of several projections in step |
//! | `follower` | keeps a fold going behind the log, whatever fails under it |
//! | `fold` | a projection, its file, and the seq that both have come to |
//! | `flushing` | what is written and committed while the fold goes on |
//! | `store`, `checkpoint`, `dead_letters` | the file, and the runner's own two tables in it |
//! | `names`, `kept` | names by dense numbers, and values by such numbers that fit into memory |
//! | `rows` | rows of numbers in sorted runs, for projections that keep many |
//! | `survey` | which files of a stopped projection are of no use |
//! | `backoff`, `contain`, `options` | waits, panics, bounds |

mod backoff;
mod checkpoint;
mod consumer;
mod contain;
mod convoy;
mod dead_letters;
mod flushing;
mod fold;
mod follower;
mod handle;
pub mod kept;
pub mod names;
mod options;
pub mod rows;
mod runner;
mod stepped;
mod store;
mod survey;
mod versions;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use checkpoint::is_checkpoint;
pub use consumer::{AppliedSeqs, Consumer, Consumers};
pub use convoy::Convoy;
pub use dead_letters::DeadLetter;
pub use handle::{ConsumerStatus, Handle, NotFound, StartError};
pub use options::Options;
pub use stepped::{Progress, Stepped};
pub use survey::survey;
pub use versions::start;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkpoint::Checkpoint;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::passport::{EntrySource, Parsed, Watermark};
use crate::units::{Seq, Timestamp};
use crate::world::World;

/// An entry that cannot be folded. The state is as before the entry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ApplyError(pub String);

/// The projection's own file failed or is damaged; it is rebuilt from the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

impl StoreError {
    /// Takes the text of any of redb's errors.
    pub fn of(error: impl std::fmt::Display) -> StoreError {
        StoreError(error.to_string())
    }
}

/// What changed up to one moment, on its way into the tables.
pub trait Changes: Send + 'static {
    /// Writes them; the runner adds the checkpoint and commits. This is on another thread, while the fold goes on.
    fn write(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError>;
}

/// One derived view of the log: a fold with a clock, its tables, and the immutable view that readers get.
///
/// The runner's thread owns it. After any sequence of calls the view must be exactly what a plain recomputation over
/// entries 1…applied at the minute of the last `tick` gives.
///
/// Any call may fail or panic. Where the memory cannot be trusted afterwards (all but an [`ApplyError`]) the runner
/// drops the value and calls [`Projection::open`] on the same file, which is at its last flush. So nothing in memory
/// needs undoing, and whatever `open` reads must have been in [`Projection::changes`]. Tables named `runner.…` are the
/// runner's.
pub trait Projection: Sized + Send + 'static {
    /// What readers hold: immutable, complete, of one prefix of the log.
    type View: Send + Sync + 'static;
    /// What it is made under (rules, clock); a change of [`Projection::version`] means a rebuild.
    type Setup: Clone + Send + Sync + 'static;
    /// What a flush writes.
    type Changes: Changes;

    /// The consumer's name in the API and its directory under `projections/`: `coliseum`.
    const NAME: &'static str;

    /// Names layout and rules: the file that holds the tables is of this version or is rebuilt.
    fn version(setup: &Self::Setup) -> String;
    /// The setup as bytes, kept in the file, so that an old version can go on serving while the new one is rebuilt.
    fn encode_setup(setup: &Self::Setup) -> Vec<u8>;
    fn decode_setup(bytes: &[u8]) -> Result<Self::Setup, StoreError>;

    /// Opens the tables (made if they are missing) and loads what lives in memory. `now` is the clock's time.
    fn open(database: Arc<redb::Database>, setup: &Self::Setup, now: Timestamp) -> Result<Self, StoreError>;

    /// The same, on more threads than one where that is quicker.
    fn open_on_threads(database: Arc<redb::Database>, setup: &Self::Setup, now: Timestamp) -> Result<Self, StoreError> {
        Self::open(database, setup, now)
    }
    /// Told of entries that come next, all of them or none: what is looked up for all at once is there when each is folded.
    fn look_ahead(&mut self, _entries: &[Parsed<'_>]) {}
    /// Folds one entry into memory. On an error nothing has changed.
    fn apply(&mut self, parsed: &Parsed<'_>) -> Result<(), ApplyError>;
    /// Moves the windows to the minute that holds `now`, forwards or back.
    fn tick(&mut self, now: Timestamp) -> Result<(), StoreError>;
    /// Takes what has changed since the last changes, which are written and committed by now. Quick: the fold waits.
    ///
    /// Until these are committed, the file says what it said before; views and ticks go on to tell of everything.
    fn changes(&mut self) -> Self::Changes;
    /// Takes changes back that are written. Their commit is seen by the next read transaction at the earliest.
    fn written(&mut self, changes: Self::Changes);
    /// Whether another view should be made though nothing changes: a part of its work was left to the next.
    fn wants_view(&self) -> bool {
        false
    }
    /// The view of everything folded so far. Cost follows what changed since the last one.
    fn view(&mut self, applied: Seq) -> Arc<Self::View>;

    /// Changes taken and written in one go, for whoever commits them alone. Where the transaction is not committed, the
    /// value is of no use any more.
    fn flush(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
        let mut changes = self.changes();
        changes.write(transaction)?;
        self.written(changes);
        Ok(())
    }
}

/// The log that a projection follows.
pub struct Followed {
    pub log: Arc<dyn EntrySource>,
    pub watermark: Arc<Watermark>,
    pub log_id: [u8; 16],
    /// With the other projections of it.
    pub convoy: Arc<Convoy>,
}

/// What every part of one projection's runner is given.
#[derive(Clone)]
struct Wiring {
    log: Arc<dyn EntrySource>,
    watermark: Arc<Watermark>,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    log_id: [u8; 16],
    convoy: Arc<Convoy>,
    /// `projections/<NAME>`.
    dir: PathBuf,
    options: Options,
    /// Whether a flush may have a thread of its own.
    has_threads: bool,
}

impl Wiring {
    fn new(dir: PathBuf, followed: Followed, world: &World, options: Options, has_threads: bool) -> Wiring {
        let Followed { log, watermark, log_id, convoy } = followed;
        let (clock, disk) = (world.clock.clone(), world.disk.clone());
        Wiring { log, watermark, clock, disk, log_id, convoy, dir, options, has_threads }
    }

    fn with_options(&self, options: Options) -> Wiring {
        Wiring { options, ..self.clone() }
    }

    /// The time since an instant of the same clock.
    fn since(&self, earlier: Instant) -> Duration {
        self.clock.instant().saturating_duration_since(earlier)
    }

    fn is_short_of_space(&self, path: &Path) -> bool {
        store::is_short_of_space(self.disk.as_ref(), path, &self.options)
    }
}

/// Which rules a file is made under.
struct Identity<P: Projection> {
    setup: P::Setup,
    version: String,
    setup_bytes: Vec<u8>,
}

impl<P: Projection> Identity<P> {
    fn of(setup: P::Setup) -> Identity<P> {
        Identity { version: P::version(&setup), setup_bytes: P::encode_setup(&setup), setup }
    }

    fn checkpoint(&self, applied: Seq, received_at: Option<Timestamp>, wiring: &Wiring) -> Checkpoint {
        Checkpoint {
            applied,
            received_at,
            log_id: wiring.log_id,
            version: self.version.clone(),
            setup: self.setup_bytes.clone(),
        }
    }
}
