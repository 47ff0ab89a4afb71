//! Documents: one JSON text as a whole, checked before anything in it is believed.
//!
//! serde_json cannot hold what an event promises: it keeps the last of two equal keys, reads half a surrogate pair in
//! what it ignores, lets U+0000 through, and nests 128 deep. These passes are over the grammar only; what a field of
//! an event may be is the catalogue's business.

use std::borrow::Cow;

use super::scan::{Kind, Scanner, SyntaxError, Value};
use crate::limits::JSON_DEPTH_MAX;
use crate::problem::{Problem, Slug};

/// How deep an element of a batch may nest before it takes the whole batch with it. An element between
/// [`JSON_DEPTH_MAX`] and this fails alone, when it is read as an event.
const ELEMENT_DEPTH_MAX: usize = 4 * JSON_DEPTH_MAX;

/// Checks that `text` is one JSON document, whatever its kind: the grammar, nesting up to
/// [`JSON_DEPTH_MAX`], no half surrogate pair. U+0000 and repeated keys are an event's rules and pass.
///
/// # Errors
/// `not-json` 400, with the offset in bytes and what was expected there.
pub fn check_document(text: &str) -> Result<(), Problem> {
    document(text).map(|_| ())
}

/// The elements of the JSON array that `text` is, each as its own text.
///
/// What is wrong inside one element (kind, fields, U+0000, half a surrogate pair, nesting over [`JSON_DEPTH_MAX`]) is
/// left to the element's own check, so that it rejects that element and not the batch.
///
/// # Errors
/// `not-json` 400 where the whole is not one JSON document; `invalid-event` 400 where it is no array;
/// `too-large` 413 at the element after `count_max`.
pub fn array_elements(text: &str, count_max: usize) -> Result<Vec<&str>, Problem> {
    let broken = |error| not_json(text, error);
    let mut scanner = Scanner::new(text, ELEMENT_DEPTH_MAX + 1);
    if scanner.next_byte() != Some(b'[') {
        return Err(wrong_kind(text, scanner, "an array of events"));
    }
    let elements = elements(&mut scanner, count_max)?;
    scanner.end().map_err(broken)?;
    Ok(elements)
}

/// The elements of a batch: of a JSON array, or of the array that stands at `key` in an object (`{"events": […]}`).
/// The object's other members are passed over.
///
/// # Errors
/// As [`array_elements`]; `invalid-event` 400 also where the object has no array at `key`, or more than one.
pub fn batch_elements<'a>(text: &'a str, key: &str, count_max: usize) -> Result<Vec<&'a str>, Problem> {
    let broken = |error| not_json(text, error);
    let mut scanner = Scanner::new(text, ELEMENT_DEPTH_MAX + 2);
    match scanner.next_byte() {
        Some(b'[') => return array_elements(text, count_max),
        Some(b'{') => scanner.open().map_err(broken)?,
        _ => return Err(wrong_kind(text, scanner, "an array of events")),
    }
    let (mut found, mut wrong) = (None, None);
    let mut first = true;
    while let Some(name) = scanner.key(first).map_err(broken)? {
        first = false;
        if name.string().as_deref() != Some(key) {
            scanner.value().map_err(broken)?;
        } else if found.is_none() && scanner.next_byte() == Some(b'[') {
            found = Some(elements(&mut scanner, count_max)?);
        } else {
            scanner.value().map_err(broken)?;
            wrong = Some("must be one array of events");
        }
    }
    scanner.end().map_err(broken)?;
    match (found, wrong) {
        (Some(found), None) => Ok(found),
        (_, wrong) => {
            let what = wrong.unwrap_or("is missing: expected an array of events");
            let pointer = pointer_token(key);
            Err(Problem::field(pointer, format!("`{key}` {what}")).with_status(400))
        }
    }
}

/// Passes over the one object that `text` is, giving each member with its unescaped key; `each` answers whether the
/// key is the first of its name.
///
/// # Errors
/// `not-json` 400; `invalid-event` 400 for a document that is no object, or at a key that `each` had before;
/// `invalid-event` 422 at a string that holds U+0000.
pub(super) fn read_object<'a>(
    text: &'a str,
    mut each: impl FnMut(Cow<'a, str>, Value<'a>) -> bool,
) -> Result<(), Problem> {
    let mut scanner = Scanner::new(text, JSON_DEPTH_MAX);
    if scanner.next_byte() != Some(b'{') {
        return Err(wrong_kind(text, scanner, "an object"));
    }
    let mut repeated = None;
    let outcome = (|| {
        scanner.open()?;
        let mut first = true;
        while let Some((key, value)) = scanner.member(first)? {
            first = false;
            let Some(name) = key.string() else { continue };
            if !each(name, value) {
                repeated.get_or_insert(key);
            }
        }
        scanner.end()
    })();
    outcome.map_err(|error| not_json(text, error))?;
    refuse_lone_surrogate(&scanner)?;
    if let Some(key) = repeated.and_then(Value::string) {
        let detail = format!("the key `{key}` is given more than once; expected each key of an event once");
        return Err(Problem::field(pointer_token(&key), detail).with_status(400));
    }
    match scanner.nul_at {
        Some(offset) => Err(Problem::field(
            pointer_to(text, offset),
            format!("byte {offset}: a string holds U+0000, which no event may hold"),
        )),
        None => Ok(()),
    }
}

/// The one value that `text` is.
///
/// # Errors
/// `not-json` 400.
pub(super) fn document(text: &str) -> Result<Value<'_>, Problem> {
    let mut scanner = Scanner::new(text, JSON_DEPTH_MAX);
    let outcome = scanner.value().and_then(|value| scanner.end().map(|()| value));
    let value = outcome.map_err(|error| not_json(text, error))?;
    refuse_lone_surrogate(&scanner)?;
    Ok(value)
}

/// The items of the array that opens at the scanner's place.
fn elements<'a>(scanner: &mut Scanner<'a>, count_max: usize) -> Result<Vec<&'a str>, Problem> {
    let text = scanner.text();
    let broken = |error| not_json(text, error);
    let mut elements = Vec::new();
    scanner.open().map_err(broken)?;
    while let Some(item) = scanner.item(elements.is_empty()).map_err(broken)? {
        if elements.len() == count_max {
            let detail = format!("the batch has more than {count_max} events; send it in smaller batches");
            return Err(Problem::new(Slug::TooLarge, detail));
        }
        elements.push(item.raw);
    }
    Ok(elements)
}

/// What to say of a document that does not start as `expected`: that it is no JSON at all, or that it is another kind.
fn wrong_kind(text: &str, mut scanner: Scanner<'_>, expected: &str) -> Problem {
    let outcome = scanner.value().and_then(|value| scanner.end().map(|()| value));
    match outcome {
        Err(error) => not_json(text, error),
        Ok(value) => {
            let detail = format!("expected {expected}, found {}", kind_name(value.kind));
            refuse_lone_surrogate(&scanner)
                .err()
                .unwrap_or_else(|| Problem::new(Slug::InvalidEvent, detail).with_status(400))
        }
    }
}

/// How a problem's detail names a kind.
pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::PlainString | Kind::EscapedString => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}

fn not_json(text: &str, error: SyntaxError) -> Problem {
    let rest = text.get(error.at..).unwrap_or_default();
    let found = match rest.chars().next() {
        None if text.is_empty() => "nothing: the body is empty".to_owned(),
        None => "the end of the text".to_owned(),
        Some('\u{feff}') => "a byte order mark".to_owned(),
        Some(other) => format!("`{}`", other.escape_default()),
    };
    Problem::new(Slug::NotJson, format!("byte {}: expected {}, found {found}", error.at, error.expected))
}

fn refuse_lone_surrogate(scanner: &Scanner<'_>) -> Result<(), Problem> {
    match scanner.lone_surrogate_at {
        None => Ok(()),
        Some(at) => Err(Problem::new(
            Slug::NotJson,
            format!("byte {at}: expected a whole surrogate pair, found half of one, which stands for no character"),
        )),
    }
}

/// The JSON Pointer (RFC 6901) to the innermost value that covers the byte at `offset`, or whose key does.
fn pointer_to(text: &str, offset: usize) -> String {
    let mut pointer = String::new();
    let Ok(mut value) = document(text) else { return pointer };
    // Every value is a span of `text`, so that the distance of their addresses is its offset.
    let start = |value: Value<'_>| value.raw.as_ptr() as usize - text.as_ptr() as usize;
    let ends_behind = |value: Value<'_>| offset < start(value) + value.raw.len();
    let covers = |value: Value<'_>| start(value) <= offset && ends_behind(value);
    loop {
        let (token, inner) = match value.kind {
            Kind::Array => match value.items().enumerate().find(|(_, item)| covers(*item)) {
                Some((index, item)) => (pointer_token(&index.to_string()), item),
                None => return pointer,
            },
            // The first member that ends behind the offset: the place lies in its value or in its key.
            Kind::Object => match value.members().find(|(_, member)| ends_behind(*member)) {
                Some((key, member)) => (pointer_token(&key), member),
                None => return pointer,
            },
            _ => return pointer,
        };
        pointer.push_str(&token);
        if !covers(inner) {
            return pointer;
        }
        value = inner;
    }
}

/// One step of a JSON Pointer: `/` and the name, with `~` and `/` in it escaped.
pub(super) fn pointer_token(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests;
