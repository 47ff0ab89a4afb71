//! The codec of one record: an event with its envelope, as it lies inside a batch.
//!
//! ```text
//! record  := version u8 | bincode(standard, varint)
//! 1: of the fields of Envelope, in their order
//! 2: the same, but each text before the payload, and `at`, is either itself or the place where the payload says it:
//!      text := 0, text | 1, place        at := 0, microseconds | 1, place of RFC 3339        place := offset u32, length u32
//! ```
//! Version 2 is written, both are read. What an event says about itself is in its payload, byte for byte: saying it again
//! would be a quarter of the record.
//!
//! A record carries no `seq` and no checksum of its own: its place in the batch gives the number, the batch's
//! checksum covers it. Golden bytes are in `tests/`; a new layout takes a new version byte.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

use crate::event::parse_rfc3339;
use crate::limits::EVENT_BYTES_MAX;
use crate::units::{Seq, Timestamp};

/// Version byte of the layout that is written.
pub const RECORD_VERSION: u8 = 2;
/// Version byte of the layout that says everything twice.
const RECORD_VERSION_PLAIN: u8 = 1;
/// The largest record: the event's text and the fields beside it.
pub const RECORD_BYTES_MAX: usize = EVENT_BYTES_MAX + 2048;

/// What the log keeps of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorrowDecode)]
pub struct Envelope<'a> {
    /// Microseconds since 1970: the daemon's clock when the event came in.
    pub received_at_micros: i64,
    /// Microseconds since 1970: when it happened, corrected by `sentAt` where that was given.
    pub at_micros: i64,
    /// Whether an adapter replaced `at` by the time of receipt.
    pub at_corrected: bool,
    pub event_type: &'a str,
    /// The idempotency key.
    pub message_id: &'a str,
    pub user_id: &'a str,
    pub session_id: Option<&'a str>,
    pub device_id: Option<&'a str>,
    pub source: &'a str,
    /// The event's JSON text, byte for byte as it came.
    pub payload: &'a str,
}

/// A stored event: an [`Envelope`] and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub seq: Seq,
    pub envelope: Envelope<'a>,
}

impl Entry<'_> {
    pub fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.envelope.at_micros)
    }
    pub fn received_at(&self) -> Timestamp {
        Timestamp::from_micros(self.envelope.received_at_micros)
    }
}

/// Bytes that are no record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    #[error("record version {0}, this build reads {RECORD_VERSION_PLAIN} and {RECORD_VERSION}")]
    Version(u8),
    #[error("record does not decode: {0}")]
    Codec(String),
    #[error("record leaves {0} bytes unread")]
    Trailing(usize),
    #[error("record names bytes {start} to {end} of its payload, where there is no such text")]
    Place { start: usize, end: usize },
}

/// Part of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
struct Place {
    offset: u32,
    length: u32,
}

impl Place {
    /// Where `text` lies if it is a part of this payload, and not only equal to one.
    fn of(text: &str, payload: &str) -> Option<Place> {
        let offset = text.as_ptr().addr().checked_sub(payload.as_ptr().addr())?;
        let is_part = offset <= payload.len() && text.len() <= payload.len() - offset;
        is_part.then_some(Place { offset: offset as u32, length: text.len() as u32 })
    }

    fn text(self, payload: &str) -> Result<&str, RecordError> {
        let start = self.offset as usize;
        let end = start.saturating_add(self.length as usize);
        payload.get(start..end).ok_or(RecordError::Place { start, end })
    }
}

#[derive(Encode, BorrowDecode)]
enum Text<'a> {
    Itself(&'a str),
    InPayload(Place),
}

impl<'a> Text<'a> {
    fn of(text: &'a str, payload: &str) -> Text<'a> {
        Place::of(text, payload).map_or(Text::Itself(text), Text::InPayload)
    }
    fn read(self, payload: &'a str) -> Result<&'a str, RecordError> {
        match self {
            Text::Itself(text) => Ok(text),
            Text::InPayload(place) => place.text(payload),
        }
    }
}

#[derive(Encode, BorrowDecode)]
enum At {
    Micros(i64),
    InPayload(Place),
}

impl At {
    fn read(self, payload: &str) -> Result<i64, RecordError> {
        match self {
            At::Micros(micros) => Ok(micros),
            At::InPayload(place) => parse_rfc3339(place.text(payload)?)
                .map(Timestamp::micros)
                .ok_or_else(|| RecordError::Codec("the place of its time holds no time".into())),
        }
    }
}

/// The fields as they lie in a record of version 2.
#[derive(Encode, BorrowDecode)]
struct Fields<'a> {
    received_at_micros: i64,
    at: At,
    at_corrected: bool,
    event_type: Text<'a>,
    message_id: Text<'a>,
    user_id: Text<'a>,
    session_id: Option<Text<'a>>,
    device_id: Option<Text<'a>>,
    source: Text<'a>,
    payload: &'a str,
}

impl<'a> Fields<'a> {
    fn of(envelope: &Envelope<'a>, at_text: Option<&'a str>) -> Fields<'a> {
        let payload = envelope.payload;
        let text = |text| Text::of(text, payload);
        let at = at_text.and_then(|at| Place::of(at, payload));
        Fields {
            received_at_micros: envelope.received_at_micros,
            at: at.map_or(At::Micros(envelope.at_micros), At::InPayload),
            at_corrected: envelope.at_corrected,
            event_type: text(envelope.event_type),
            message_id: text(envelope.message_id),
            user_id: text(envelope.user_id),
            session_id: envelope.session_id.map(text),
            device_id: envelope.device_id.map(text),
            source: text(envelope.source),
            payload,
        }
    }

    fn read(self) -> Result<Envelope<'a>, RecordError> {
        let payload = self.payload;
        let text = |text: Text<'a>| text.read(payload);
        Ok(Envelope {
            received_at_micros: self.received_at_micros,
            at_micros: self.at.read(payload)?,
            at_corrected: self.at_corrected,
            event_type: text(self.event_type)?,
            message_id: text(self.message_id)?,
            user_id: text(self.user_id)?,
            session_id: self.session_id.map(text).transpose()?,
            device_id: self.device_id.map(text).transpose()?,
            source: text(self.source)?,
            payload,
        })
    }
}

type RecordConfig = Configuration<LittleEndian, Varint, Limit<RECORD_BYTES_MAX>>;

const fn config() -> RecordConfig {
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>()
}

/// Appends the record's bytes to `out`. A field that borrows from the payload is written as its place there, and so is `at`
/// where `at_text` is the part of the payload that says the same instant.
pub fn encode(envelope: &Envelope<'_>, at_text: Option<&str>, out: &mut Vec<u8>) {
    debug_assert!(at_text.is_none_or(|at| parse_rfc3339(at).map(Timestamp::micros) == Some(envelope.at_micros)));
    out.push(RECORD_VERSION);
    bincode::encode_into_std_write(Fields::of(envelope, at_text), out, config()).expect("a Vec takes every write");
}

/// Reads the one record that `bytes` are.
pub fn decode(bytes: &[u8]) -> Result<Envelope<'_>, RecordError> {
    let (&version, rest) = bytes.split_first().ok_or(RecordError::Version(0))?;
    match version {
        RECORD_VERSION => whole::<Fields<'_>>(rest)?.read(),
        RECORD_VERSION_PLAIN => whole(rest),
        other => Err(RecordError::Version(other)),
    }
}

fn whole<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, RecordError> {
    let (value, used) = bincode::borrow_decode_from_slice::<T, _>(bytes, config())
        .map_err(|error| RecordError::Codec(error.to_string()))?;
    if used != bytes.len() {
        return Err(RecordError::Trailing(bytes.len() - used));
    }
    Ok(value)
}
