//! Capture: bytes from outside into events in the Passport.
//!
//! Every way in goes the same steps: text is checked by [`crate::event::Event::parse`], gets its time, its key and its
//! source here ([`candidate`]), and is handed to the [`Appender`] with the others of its request as one group. What
//! comes back is an answer in plain terms; the HTTP room turns it into a response. Nothing is kept here: an event is in
//! the log or its sender was told that it is not.

pub mod batch;
mod candidate;
pub mod import;
pub mod native;

pub use candidate::{Arrival, Candidate};

use crate::clock::Clock;
use crate::limits::{AT_AHEAD_SECONDS_DEFAULT, BATCH_BYTES_DEFAULT, BATCH_EVENTS_DEFAULT};
use crate::passport::{AppendError, Appender, Group, Outcome};
use crate::problem::{Problem, Slug};

/// What capture needs of the daemon.
pub trait CaptureContext: Send + Sync + 'static {
    fn appender(&self) -> &Appender;
    fn clock(&self) -> &dyn Clock;
    fn capture_limits(&self) -> CaptureLimits;
    /// Waits while those who follow the log are too far behind, but never long.
    fn keep_pace(&self) -> impl Future<Output = ()> + Send;
}

/// Stores a group; resolves with one outcome for each event when it is on disk.
async fn append<C: CaptureContext>(context: &C, group: Group) -> Result<Vec<Outcome>, Problem> {
    context.keep_pace().await;
    context.appender().append(group).await.map_err(not_appended)
}

/// The bounds that a user can configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureLimits {
    /// How far `at` may lie ahead of the clock, in seconds.
    pub at_ahead_seconds: u64,
    pub batch_events_max: usize,
    /// Of a batch's body, decoded.
    pub batch_bytes_max: usize,
}

impl Default for CaptureLimits {
    fn default() -> CaptureLimits {
        CaptureLimits {
            at_ahead_seconds: AT_AHEAD_SECONDS_DEFAULT,
            batch_events_max: BATCH_EVENTS_DEFAULT,
            batch_bytes_max: BATCH_BYTES_DEFAULT,
        }
    }
}

/// Why nothing of a group was stored, for its sender.
fn not_appended(error: AppendError) -> Problem {
    let detail = error.to_string();
    match error {
        AppendError::QueueFull(_) => Problem::new(Slug::QueueFull, detail),
        AppendError::ReadOnly(_) => Problem::new(Slug::LogReadOnly, detail),
        // Mended in the background where it can be; nothing of the group was stored.
        AppendError::Unreadable(_) => Problem::new(Slug::Internal, detail).with_status(503),
        AppendError::Stopped(_) => Problem::new(Slug::LogReadOnly, detail).with_status(503),
    }
}

/// Why one event of a group was refused by the log; `None` where it is stored, now or before.
fn refusal(outcome: Outcome, limits: CaptureLimits) -> Option<Problem> {
    match outcome {
        Outcome::Stored(_) | Outcome::Duplicate(_) | Outcome::Withheld => None,
        Outcome::Conflict(seq) => {
            let detail =
                format!("Seq {seq} holds this idempotency key with other content; a new event needs a new key.");
            Some(Problem::new(Slug::IdempotencyKeyReused, detail).with_seq(seq.get()))
        }
        Outcome::Ahead => {
            let detail = format!("`at` lies over {} seconds ahead of the daemon's clock.", limits.at_ahead_seconds);
            Some(Problem::new(Slug::AtInFuture, detail).with_pointer("/at"))
        }
    }
}

/// Text without the whitespace that JSON allows around a document.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// # Errors
/// `not-json` 400 for bytes that are no UTF-8.
fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("Byte {} is no UTF-8; JSON is UTF-8.", error.valid_up_to());
        Problem::new(Slug::NotJson, detail)
    })
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
