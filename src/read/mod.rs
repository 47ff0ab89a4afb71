//! Queries into plain answers: each is made from one view and the log up to it, so that it is one prefix of the log.
//!
//! Nothing here takes a lock that a writer holds, and nothing here writes. Handlers of the HTTP room check parameters,
//! pick the view and call one function of this room.

pub mod analytics;
pub mod artists;
pub mod boards;
pub mod counts;
pub mod entitlements;
pub mod entries;
pub mod json;
pub mod mediaid;
pub mod mutations;
pub mod report;
pub mod treasury;

use std::sync::Arc;

use crate::passport::{Log, ReadError};
use crate::projection::StoreError;
use crate::units::Seq;

/// Why an answer could not be made. Damage is an error, never other content.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A stored event that this build's catalogue cannot read.
    #[error("entry {0} is not readable: {1}")]
    Unreadable(Seq, String),
    /// The projection's own file failed.
    #[error("{0}")]
    Projection(#[from] StoreError),
}

/// The read side of the log.
#[derive(Clone)]
pub struct Reader {
    pub log: Arc<Log>,
}
