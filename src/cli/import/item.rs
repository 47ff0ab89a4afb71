//! One item of a file: the JSON that is sent for it, or why none is.

use std::io::{self, BufRead};

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserializer, Serialize};

/// The longest line that is read, in bytes: an entry with all its mutations has room in it.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// A line that did not get into the log, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// From 1; of the row's first line in a CSV file.
    pub line: u64,
    pub status: u16,
    pub slug: String,
    pub pointer: Option<String>,
    pub detail: String,
}

impl Reject {
    /// A line that cannot even be sent.
    pub fn here(line: u64, status: u16, slug: &str, detail: impl Into<String>) -> Reject {
        Reject { line, status, slug: slug.into(), pointer: None, detail: detail.into() }
    }
}

/// What a reader of some format gives for one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// One line of JSON, in the buffer that the reader was given.
    Json {
        line: u64,
    },
    Rejected(Reject),
}

/// A format: gives items until the end.
pub trait Items {
    /// Puts the next item's JSON into `json` (which it clears first); `None` at the end.
    fn next(&mut self, json: &mut Vec<u8>) -> io::Result<Option<Item>>;
}

/// Lines of JSON; empty ones are passed over.
pub struct NdjsonItems<R> {
    reader: R,
    line: u64,
}

impl<R: BufRead> NdjsonItems<R> {
    pub fn new(reader: R) -> NdjsonItems<R> {
        NdjsonItems { reader, line: 0 }
    }
}

impl<R: BufRead> Items for NdjsonItems<R> {
    fn next(&mut self, json: &mut Vec<u8>) -> io::Result<Option<Item>> {
        loop {
            json.clear();
            let Some(whole) = read_line(&mut self.reader, json)? else { return Ok(None) };
            self.line += 1;
            if !whole {
                let detail = format!("the line is over {LINE_BYTES_MAX} bytes");
                return Ok(Some(Item::Rejected(Reject::here(self.line, 413, "too-large", detail))));
            }
            if self.line == 1 && json.starts_with(b"\xef\xbb\xbf") {
                json.drain(..3);
            }
            let end = json.trim_ascii_end().len();
            json.truncate(end);
            if !json.is_empty() {
                return Ok(Some(Item::Json { line: self.line }));
            }
        }
    }
}

/// Reads a line without its end: `None` at the end of the input, `Some(false)` where it was too long and is cut.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let (mut any, mut whole) = (false, true);
    loop {
        let fresh = reader.fill_buf()?;
        if fresh.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = memchr::memchr(b'\n', fresh);
        let part = &fresh[..end.unwrap_or(fresh.len())];
        let room = LINE_BYTES_MAX - line.len();
        line.extend_from_slice(&part[..part.len().min(room)]);
        whole &= part.len() <= room;
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}

/// Whether a line of JSON carries an idempotency key, its own or Stripe's.
///
/// # Errors
/// The line is not one JSON object. What else is wrong with it the daemon says.
pub fn has_key(json: &[u8]) -> Result<bool, String> {
    let text = std::str::from_utf8(json).map_err(|error| format!("not UTF-8: {error}"))?;
    if !text.trim_start().starts_with('{') {
        return Err("the line is no JSON object; an import reads one event a line".into());
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let keys = (&mut reader).deserialize_map(KeysVisitor).map_err(|error| format!("not JSON: {error}"))?;
    reader.end().map_err(|error| format!("not JSON: {error}"))?;
    let stripe = match keys.event_type.as_deref() {
        Some("treasury.money_spent" | "treasury.money_refunded") => keys.payment_intent,
        Some("treasury.money_earned" | "treasury.earning_reversed") => keys.transfer,
        _ => false,
    };
    Ok(keys.message_id || stripe)
}

/// What of an event's top level decides about its key.
#[derive(Default)]
struct Keys {
    event_type: Option<String>,
    message_id: bool,
    payment_intent: bool,
    transfer: bool,
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Keys::default();
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match name.as_ref() {
                "type" => {
                    let value = map.next_value::<serde_json::Value>()?;
                    keys.event_type = value.as_str().map(String::from);
                }
                "messageId" => keys.message_id = map.next_value::<Option<IgnoredAny>>()?.is_some(),
                "stripePaymentIntentId" => keys.payment_intent = map.next_value::<Option<IgnoredAny>>()?.is_some(),
                "stripeTransferId" => keys.transfer = map.next_value::<Option<IgnoredAny>>()?.is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn items(text: &[u8]) -> Vec<(u64, Result<String, String>)> {
        // A small buffer, so that lines cross its edges.
        let mut reader = NdjsonItems::new(BufReader::with_capacity(7, text));
        let (mut json, mut out) = (Vec::new(), Vec::new());
        while let Some(item) = reader.next(&mut json).expect("memory") {
            out.push(match item {
                Item::Json { line } => (line, Ok(String::from_utf8_lossy(&json).into_owned())),
                Item::Rejected(reject) => (reject.line, Err(reject.slug)),
            });
        }
        out
    }

    #[test]
    fn lines_keep_their_numbers_over_empty_ones_and_any_line_end() {
        let text = b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\":\"no line end\"}";
        let expected = [(1, "{\"a\":1}"), (4, "{\"b\":2}"), (5, "{\"c\":\"no line end\"}")];
        assert_eq!(items(text), expected.map(|(line, json)| (line, Ok(json.to_string()))));
    }

    #[test]
    fn a_line_that_is_too_long_is_rejected_and_the_next_one_is_read() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 1];
        text.extend_from_slice(b"\n{}\n");
        assert_eq!(items(&text), [(1, Err("too-large".to_string())), (2, Ok("{}".to_string()))]);
        let exactly = vec![b'x'; LINE_BYTES_MAX];
        assert!(items(&exactly)[0].1.is_ok());
    }

    #[test]
    fn an_event_with_a_message_id_or_stripes_id_of_its_row_has_a_key() {
        for (json, expected) in [
            (r#"{"type":"a.b","messageId":"m"}"#, true),
            (r#"{"type":"a.b"}"#, false),
            (r#"{"type":"a.b","messageId":null}"#, false),
            (r#"{"type":"a.b","x":{"messageId":"m"}}"#, false),
            (r#"{"m\u0065ssageId":"m"}"#, true),
            (r#"{"stripePaymentIntentId":"p","type":"treasury.money_spent"}"#, true),
            (r#"{"stripePaymentIntentId":"p","type":"treasury.money_earned"}"#, false),
            (r#"{"stripeTransferId":"t","type":"treasury.earning_reversed"}"#, true),
            (r#"{"stripeTransferId":"t","type":"coliseum.vote_cast"}"#, false),
        ] {
            assert_eq!(has_key(json.as_bytes()), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_not_sent() {
        for json in ["{", "[]", "{} {}", "\"x\"", "{\"a\":NaN}", "null", "{\"a\" 1}"] {
            assert!(has_key(json.as_bytes()).is_err(), "{json}");
        }
        assert!(has_key(b"{\"a\":\"\xff\"}").is_err());
        assert!(has_key(format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes()).is_err());
    }
}
