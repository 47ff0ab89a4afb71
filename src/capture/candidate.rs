//! One event that is good by itself, with the time, the key and the source under which it asks to be stored.

use std::borrow::Cow;

use uuid::Uuid;

use crate::event::Event;
use crate::limits::{ID_BYTES_MAX, WORD_BYTES_MAX};
use crate::passport::{Envelope, Group};
use crate::problem::Problem;
use crate::units::Timestamp;

/// The instants that RFC 3339 can write in UTC: years 0001 to 9999.
const EARLIEST_MICROS: i64 = -62_135_596_800_000_000;
const LATEST_MICROS: i64 = 253_402_300_799_999_999;

/// When and by which way events came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// One reading of the clock for the whole request.
    pub received_at: Timestamp,
    /// How far `at` may lie ahead of it, in seconds.
    pub at_ahead_seconds: u64,
    /// The way in: an entry's source where its event names none.
    pub source: &'static str,
}

/// An event that may be appended.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub event: Event<'a>,
    pub at: Timestamp,
    pub received_at: Timestamp,
    pub at_corrected: bool,
    /// Refused for its time unless its key turns out to be stored.
    pub ahead: bool,
    pub message_id: Cow<'a, str>,
    /// Whether the daemon made the key.
    pub key_made: bool,
    pub source: Cow<'a, str>,
    /// The event's text as it came, without whitespace around it.
    pub payload: &'a str,
}

impl<'a> Candidate<'a> {
    /// Checks `text` and settles its time, key and source. `request_key` is the `Idempotency-Key` of a request with one
    /// event, `spare_key` what stands in where neither the event nor the request has a key.
    ///
    /// # Errors
    /// As [`Event::parse`]; 422 at `/messageId` when the event and the request name different keys; 422 at `/sentAt`
    /// when it moves `at` out of the years 0001 to 9999.
    pub fn new(
        text: &'a str,
        request_key: Option<&'a str>,
        spare_key: Option<Cow<'a, str>>,
        arrival: &Arrival,
    ) -> Result<Candidate<'a>, Problem> {
        let payload = super::trim(text);
        let mut event = Event::parse(payload)?;
        let at = corrected(&event, arrival.received_at)?;
        let mut key_made = false;
        let message_id = match (event.message_id.take(), request_key) {
            (Some(own), Some(other)) if own != other => {
                let detail = "The header Idempotency-Key and `messageId` name different keys; send one of them.";
                return Err(Problem::field("/messageId", detail));
            }
            (Some(own), _) => own,
            (None, Some(key)) => Cow::Borrowed(key),
            (None, None) => match event.stripe_key().map(Cow::Owned).or(spare_key) {
                Some(key) => key,
                None => {
                    key_made = true;
                    Cow::Owned(made_key(arrival.received_at))
                }
            },
        };
        check_id(&message_id, "/messageId")?;
        let source = event.source.take().unwrap_or(Cow::Borrowed(arrival.source));
        let latest =
            arrival.received_at.micros().saturating_add_unsigned(arrival.at_ahead_seconds.saturating_mul(1_000_000));
        Ok(Candidate {
            at,
            received_at: arrival.received_at,
            at_corrected: false,
            ahead: at.micros() > latest,
            message_id,
            key_made,
            source,
            payload,
            event,
        })
    }

    /// Adds it to the group.
    pub fn push(&self, group: &mut Group) {
        let envelope = Envelope {
            received_at_micros: self.received_at.micros(),
            at_micros: self.at.micros(),
            at_corrected: self.at_corrected,
            event_type: &self.event.event_type,
            message_id: &self.message_id,
            user_id: &self.event.user_id,
            session_id: self.event.session_id.as_deref(),
            device_id: self.event.device_id.as_deref(),
            source: &self.source,
            payload: self.payload,
        };
        // A time that `sentAt` or an adapter has moved is not what the payload says.
        let at_text = self.event.at_text.filter(|_| self.at == self.event.at);
        group.push(&envelope, at_text, self.ahead);
    }
}

/// `at`, moved by how far the sender's clock is off where `sentAt` tells.
fn corrected(event: &Event<'_>, received_at: Timestamp) -> Result<Timestamp, Problem> {
    let Some(sent_at) = event.sent_at else { return Ok(event.at) };
    let moved = i128::from(received_at.micros()) - (i128::from(sent_at.micros()) - i128::from(event.at.micros()));
    match i64::try_from(moved) {
        Ok(micros) if (EARLIEST_MICROS..=LATEST_MICROS).contains(&micros) => Ok(Timestamp::from_micros(micros)),
        _ => Err(Problem::field("/sentAt", "`sentAt` moves `at` out of the years 0001 to 9999.")),
    }
}

/// A UUIDv7 of the time of receipt.
fn made_key(received_at: Timestamp) -> String {
    let micros = received_at.micros().max(0) as u64;
    let nanos = (micros % 1_000_000) as u32 * 1000;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, micros / 1_000_000, nanos)).to_string()
}

/// An id that came beside an event's text: 1 to 128 bytes without control characters.
///
/// # Errors
/// 422 at `pointer`.
pub(super) fn check_id(id: &str, pointer: &str) -> Result<(), Problem> {
    check_text(id, ID_BYTES_MAX, pointer)
}

/// A word that came beside an event's text: 1 to 32 bytes without control characters.
///
/// # Errors
/// 422 at `pointer`.
pub(super) fn check_word(word: &str, pointer: &str) -> Result<(), Problem> {
    check_text(word, WORD_BYTES_MAX, pointer)
}

fn check_text(text: &str, bytes_max: usize, pointer: &str) -> Result<(), Problem> {
    if (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::field(pointer, format!("Expected 1 to {bytes_max} bytes without control characters.")))
}
