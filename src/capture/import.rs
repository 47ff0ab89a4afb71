//! Lines of an import: events as on the way in, entries as on the way out, or events with a key beside them.
//!
//! - An event, checked as the native API does.
//! - An exported entry (an integer `seq`, `receivedAt`, and the payload in `metadata`): stored again with its own key,
//!   time, time of receipt, source, user, session and device; its old `seq` is not kept, the log gives the next one.
//! - `{"importKey": "…", "event": {…}}`: an event that gets this key if it has none of its own, so that the same file
//!   read twice counts once.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch::{self, BatchOptions, Checked};
use super::candidate::{Arrival, Candidate, check_id, check_word};
use super::{CaptureContext, trim};
use crate::event::{Event, parse_rfc3339};
use crate::problem::Problem;
use crate::units::Timestamp;

/// The source of events that name none.
pub const SOURCE: &str = "import";

/// Reads the lines of one request: `POST /api/admin/import`. [`batch::store`] stores them.
///
/// # Errors
/// As [`batch::check_batch`].
pub fn check_import<C: CaptureContext>(context: &C, body: &[u8], options: BatchOptions) -> Result<Checked, Problem> {
    batch::check_lines(context, body, read_line, SOURCE, options)
}

/// The keys that tell the forms apart, and an entry's own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    event_type_of_event: Option<&'a RawValue>,
    #[serde(borrow)]
    import_key: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow)]
    device_id: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    at: Option<&'a RawValue>,
    #[serde(borrow)]
    received_at: Option<&'a RawValue>,
    #[serde(borrow)]
    at_corrected: Option<&'a RawValue>,
}

/// Reads one line of an import.
///
/// # Errors
/// As [`Candidate::new`]; for an entry 422 at its field.
pub fn read_line<'a>(text: &'a str, arrival: &Arrival) -> Result<Candidate<'a>, Problem> {
    let has = |key: &str| memchr::memmem::find(text.as_bytes(), key.as_bytes()).is_some();
    // Plain events, the usual case, are parsed once only.
    if !has("\"receivedAt\"") && !has("\"importKey\"") {
        return Candidate::new(text, None, None, arrival);
    }
    let Ok(line) = serde_json::from_str::<Line<'_>>(text) else {
        // Broken, or an odd event: its own check says what is wrong.
        return Candidate::new(text, None, None, arrival);
    };
    if let (Some(key), Some(event), None) = (line.import_key, line.event, line.event_type_of_event) {
        let key = string(key, "/importKey")?;
        check_id(&key, "/importKey")?;
        return Candidate::new(event.get(), None, Some(key), arrival);
    }
    let has_number = line.seq.is_some_and(|seq| seq.get().parse::<u64>().is_ok());
    let is_entry = has_number && line.received_at.is_some() && line.event_type.is_some();
    if is_entry && line.event_type_of_event.is_none() {
        entry(&line, arrival)
    } else {
        Candidate::new(text, None, None, arrival)
    }
}

fn entry<'a>(line: &Line<'a>, arrival: &Arrival) -> Result<Candidate<'a>, Problem> {
    let Some(metadata) = line.metadata else {
        return Err(Problem::field(
            "/metadata",
            "The entry has no payload (it was erased), so there is nothing to store.",
        ));
    };
    let payload = trim(metadata.get());
    let mut event = Event::parse(payload).map_err(|problem| {
        let pointer = format!("/metadata{}", problem.pointer.as_deref().unwrap_or_default());
        problem.with_pointer(pointer)
    })?;
    let message_id = id(line.message_id, "/messageId")?.ok_or_else(|| missing("/messageId"))?;
    let user_id = id(line.user_id, "/userId")?.ok_or_else(|| missing("/userId"))?;
    let event_type = id(line.event_type, "/eventType")?.ok_or_else(|| missing("/eventType"))?;
    if event_type != event.event_type {
        return Err(Problem::field("/eventType", format!("The payload is a `{}`.", event.event_type)));
    }
    if user_id != event.user_id {
        return Err(Problem::field("/userId", "The payload names another user."));
    }
    event.session_id = id(line.session_id, "/sessionId")?;
    event.device_id = id(line.device_id, "/deviceId")?;
    let source = match line.source {
        Some(raw) => string(raw, "/source")?,
        None => Cow::Borrowed(arrival.source),
    };
    check_word(&source, "/source")?;
    Ok(Candidate {
        at: time(line.at, "/at")?,
        received_at: time(line.received_at, "/receivedAt")?,
        at_corrected: line.at_corrected.is_some_and(|raw| raw.get() == "true"),
        // It was judged when it first came in.
        ahead: false,
        message_id,
        key_made: false,
        source,
        payload,
        event,
    })
}

fn missing(pointer: &str) -> Problem {
    Problem::field(pointer, "An entry has this field.")
}

fn string<'a>(raw: &'a RawValue, pointer: &str) -> Result<Cow<'a, str>, Problem> {
    /// A string borrowed where it has no escapes.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'a>>(raw.get())
        .map(|text| text.0)
        .map_err(|_| Problem::field(pointer, "Expected a string."))
}

fn id<'a>(raw: Option<&'a RawValue>, pointer: &str) -> Result<Option<Cow<'a, str>>, Problem> {
    let Some(raw) = raw else { return Ok(None) };
    let id = string(raw, pointer)?;
    check_id(&id, pointer)?;
    Ok(Some(id))
}

fn time(raw: Option<&RawValue>, pointer: &str) -> Result<Timestamp, Problem> {
    let text = raw.map(|raw| string(raw, pointer)).transpose()?;
    text.and_then(|text| parse_rfc3339(&text))
        .ok_or_else(|| Problem::field(pointer, "Expected an RFC 3339 time with an offset."))
}
