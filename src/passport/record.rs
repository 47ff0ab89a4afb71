//! The codec of one record: an event with its envelope, as it lies inside a batch.
//!
//! ```text
//! record  := version u8 (1) | bincode(standard, varint) of Envelope
//! ```
//! A record carries no `seq` and no checksum of its own: its place in the batch gives the number, the batch's
//! checksum covers it. Golden bytes are in `tests/`; a new layout takes a new version byte.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

use crate::limits::EVENT_BYTES_MAX;
use crate::units::{Seq, Timestamp};

/// Version byte of the layout below.
pub const RECORD_VERSION: u8 = 1;
/// The largest record: the event's text and the fields beside it.
pub const RECORD_BYTES_MAX: usize = EVENT_BYTES_MAX + 2048;

/// What the log keeps of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
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
    #[error("record version {0}, this build reads {RECORD_VERSION}")]
    Version(u8),
    #[error("record does not decode: {0}")]
    Codec(String),
    #[error("record leaves {0} bytes unread")]
    Trailing(usize),
}

type RecordConfig = Configuration<LittleEndian, Varint, Limit<RECORD_BYTES_MAX>>;

const fn config() -> RecordConfig {
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>()
}

/// Appends the record's bytes to `out`.
pub fn encode(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    out.push(RECORD_VERSION);
    bincode::encode_into_std_write(envelope, out, config()).expect("a Vec takes every write");
}

/// Reads the one record that `bytes` are.
pub fn decode(bytes: &[u8]) -> Result<Envelope<'_>, RecordError> {
    let (&version, rest) = bytes.split_first().ok_or(RecordError::Version(0))?;
    if version != RECORD_VERSION {
        return Err(RecordError::Version(version));
    }
    let (envelope, used) = bincode::borrow_decode_from_slice::<Envelope<'_>, _>(rest, config())
        .map_err(|error| RecordError::Codec(error.to_string()))?;
    if used != rest.len() {
        return Err(RecordError::Trailing(rest.len() - used));
    }
    Ok(envelope)
}
