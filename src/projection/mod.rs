//! The runner that every projection shares: it follows the log behind the durable watermark, folds entries, writes one
//! redb transaction that holds the changes and the checkpoint, and publishes an immutable view to readers.

use std::sync::Arc;

use crate::passport::Entry;
use crate::units::{Seq, Timestamp};

/// An entry that cannot be folded. The state is as before the entry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ApplyError(pub String);

/// The projection's own file failed or is damaged; it is rebuilt from the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// One derived view of the log: a fold with a clock, its tables, and the immutable view that readers get.
///
/// The runner's thread owns it. After any sequence of calls the view must be exactly what a plain recomputation over
/// entries 1…applied at the minute of the last `tick` gives.
pub trait Projection: Sized + Send + 'static {
    /// What readers hold: immutable, complete, of one prefix of the log.
    type View: Send + Sync + 'static;
    /// What it is made under (rules, clock); a change of [`Projection::version`] means a rebuild.
    type Setup: Clone + Send + Sync + 'static;

    /// The consumer's name in the API and its directory under `projections/`: `coliseum`.
    const NAME: &'static str;

    /// Names layout and rules: the file that holds the tables is of this version or is rebuilt.
    fn version(setup: &Self::Setup) -> String;
    /// The setup as bytes, kept in the file, so that an old version can go on serving while the new one is rebuilt.
    fn encode_setup(setup: &Self::Setup) -> Vec<u8>;
    fn decode_setup(bytes: &[u8]) -> Result<Self::Setup, StoreError>;

    /// Opens the tables (made if they are missing) and loads what lives in memory. `now` is the clock's time.
    fn open(database: Arc<redb::Database>, setup: &Self::Setup, now: Timestamp) -> Result<Self, StoreError>;
    /// Folds one entry into memory. On an error nothing has changed.
    fn apply(&mut self, entry: &Entry<'_>) -> Result<(), ApplyError>;
    /// Moves the windows to the minute that holds `now`, forwards or back.
    fn tick(&mut self, now: Timestamp) -> Result<(), StoreError>;
    /// Writes what has changed since the last flush; the runner adds the checkpoint and commits.
    fn flush(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError>;
    /// The view of everything folded so far. Cost follows what changed since the last one.
    fn view(&mut self, applied: Seq) -> Arc<Self::View>;
}
