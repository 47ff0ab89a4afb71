//! The Passport: the canonical append-only log of events, durable before it answers.
//!
//! - [`Appender`] takes a [`Group`] of events (one request) and answers one [`Outcome`] each, after the sync.
//! - [`EntrySource`] gives readers entries by seq, in order, and in filtered pages, up to the durable watermark.
//! - A [`Piece`] gives those who follow the log entries in a row, parsed once for all of them; it lives in memory only.
//! - [`Watermark`] is the seq of the last synced event; no reader ever sees anything above it.

mod batch;
mod entry_index;
#[doc(hidden)]
pub mod fuzz;
mod group;
pub mod index;
mod keeper;
pub mod keys;
mod log;
mod open;
mod piece;
pub mod record;
mod recovery;
pub mod repair;
mod round;
mod scrub;
mod sealed;
mod segment;
pub mod snapshot;
mod spare;
mod status;
#[cfg(test)]
mod tests;
mod watermark;
mod writer;

pub use group::{AppendError, Appender, Group, Outcome};
pub use log::Log;
pub use open::{Passport, PassportOptions, Stepped};
pub use piece::{Parsed, Piece};
pub use record::{Entry, Envelope};
pub use recovery::{OpenError, TornTail, survey};
pub use scrub::{Scrub, ScrubOptions, ScrubReport, ScrubStatus};
pub use status::{SYNC_BUCKETS_US, WriterCounts, WriterStatus};
pub use watermark::Watermark;
pub use writer::Durability;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::units::{Seq, Timestamp};

/// Why entries could not be read. Never other content: damage is an error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The bytes on disk are not what was written.
    #[error("{file}: damaged at offset {offset} (seq {seq}): {what}; run `coliseum verify`")]
    Damaged { file: String, offset: u64, seq: Seq, what: String },
    #[error("{file}: {what}")]
    Io { file: String, what: String },
}

/// Which entries a reader asks for. All given filters must hold.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    pub user_id: Option<String>,
    /// A whole type, such as `coliseum.vote_cast`.
    pub event_type: Option<String>,
    pub category: Option<String>,
    /// `artist`, `user`, `event`, `venue`, `track`.
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    /// Entries whose own fields credit this artist (line-ups are the reader's to add by `or_attended_event_ids`).
    pub artist_id: Option<String>,
    /// With `artist_id`: attendances of these events match it too.
    pub or_attended_event_ids: Vec<String>,
    pub source: Option<String>,
    /// Inclusive, on `at`.
    pub from: Option<Timestamp>,
    /// Exclusive, on `at`.
    pub to: Option<Timestamp>,
}

/// Which way a page runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// The log as its readers see it: entries 1 to the durable watermark, immutable.
pub trait EntrySource: Send + Sync + 'static {
    /// The last entry that may be read.
    fn durable(&self) -> Seq;

    /// Calls `each` for every entry after `after`, in order, until it breaks or the watermark is reached.
    /// Returns the last seq it gave, or `after` if none.
    fn scan(&self, after: Seq, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<Seq, ReadError>;

    /// A piece that holds the entry behind `after`, for who follows the log; `None` where there is none yet. It may hold
    /// entries before that one, and some that are not to be read yet.
    fn piece(&self, after: Seq) -> Result<Option<Arc<Piece>>, ReadError>;

    /// Calls `each` with the entry `seq`; `false` if there is none (0, or above the watermark).
    fn get(&self, seq: Seq, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool, ReadError>;

    /// Calls `each` for the entries in `low..=high` that pass the filter, in the order asked for, until it breaks.
    /// Uses the entry index: cost follows the entries that match, not those that are there.
    fn query(
        &self,
        filter: &EntryFilter,
        low: Seq,
        high: Seq,
        order: Order,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError>;
}
