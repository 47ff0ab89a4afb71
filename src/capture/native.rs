//! One event a request: `POST /api/passport/log`.

use super::candidate::check_id;
use super::{Arrival, Candidate, CaptureContext, append, refusal, utf8};
use crate::passport::{Group, Outcome};
use crate::problem::{Problem, Slug};
use crate::units::Seq;

/// That an event is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub seq: Seq,
    pub message_id: String,
    /// It was stored before, under this seq.
    pub duplicate: bool,
}

impl Receipt {
    /// 201 for a new event, 200 for one that was there.
    pub fn status(&self) -> u16 {
        if self.duplicate { 200 } else { 201 }
    }

    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.message_id.len());
        out.extend_from_slice(b"{\"ok\":true,\"seq\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.seq.get()).as_bytes());
        out.extend_from_slice(b",\"messageId\":");
        serde_json::to_writer(&mut out, &self.message_id).expect("a Vec takes every write");
        out.extend_from_slice(if self.duplicate { b",\"duplicate\":true}" } else { b",\"duplicate\":false}" });
        out
    }
}

/// Reads the request's `Idempotency-Key` headers.
///
/// # Errors
/// 422 at `/messageId` for more than one, or one that is no id.
pub fn request_key<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a str>, Problem> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::field("/messageId", "The header Idempotency-Key is given more than once."));
    }
    let key = std::str::from_utf8(value)
        .map_err(|_| Problem::field("/messageId", "The header Idempotency-Key is no UTF-8."))?;
    check_id(key, "/messageId")?;
    Ok(Some(key))
}

/// Stores one event; resolves when it is on disk.
///
/// # Errors
/// What is wrong with the event, or why the log did not take it. Nothing is stored then.
pub async fn log<C: CaptureContext>(context: &C, body: &[u8], key: Option<&str>) -> Result<Receipt, Problem> {
    let limits = context.capture_limits();
    let arrival =
        Arrival { received_at: context.clock().now(), at_ahead_seconds: limits.at_ahead_seconds, source: "api" };
    // The candidate borrows from the body and is let go of before the wait: only its key is needed after it.
    let (group, message_id) = {
        let candidate = Candidate::new(utf8(body)?, key, None, &arrival)?;
        let mut group = Group::new(false);
        candidate.push(&mut group);
        (group, candidate.message_id.into_owned())
    };
    let outcomes = append(context, group).await?;
    let Some(&outcome) = outcomes.first() else {
        return Err(Problem::new(Slug::Internal, "The log gave no answer for the event."));
    };
    match (outcome, refusal(outcome, limits)) {
        (_, Some(problem)) => Err(problem),
        (Outcome::Stored(seq), None) => Ok(Receipt { seq, message_id, duplicate: false }),
        (Outcome::Duplicate(seq), None) => Ok(Receipt { seq, message_id, duplicate: true }),
        (_, None) => Err(Problem::new(Slug::Internal, "The log withheld a single event.")),
    }
}
