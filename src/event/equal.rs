//! Whether a repeated idempotency key came with the same event: equality of JSON values, not of bytes.

use std::borrow::Cow;

use super::json;
use super::number::same_number;
use super::scan::{Kind, Value};

/// Keys that a sender's library may set anew when it sends an event again.
const KEYS_OF_THE_SENDING: [&str; 2] = ["sentAt", "messageId"];

/// Whether two payloads are equal as JSON values, `sentAt` and `messageId` at their top level aside.
///
/// Order of keys and spelling count for nothing: `1e2` is `100` to any number of digits, `"\u0061"` is `"a"`. Of equal
/// keys in a nested object the last counts. A text that is no JSON document is equal to itself only.
///
/// ```
/// use coliseum::event::same_content;
/// assert!(same_content(r#"{"a":1.0,"b":[2],"sentAt":"x"}"#, r#"{ "b": [2], "a": 1 }"#));
/// assert!(!same_content(r#"{"a":1}"#, r#"{"a":"1"}"#));
/// ```
pub fn same_content(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let (Ok(a), Ok(b)) = (json::document(a), json::document(b)) else { return false };
    match (a.kind, b.kind) {
        (Kind::Object, Kind::Object) => same_members(&content(a), &content(b)),
        _ => same_value(a, b),
    }
}

/// The members of an event that are its own, sorted by key.
fn content(event: Value<'_>) -> Vec<Member<'_>> {
    let mut members = sorted_members(event);
    members.retain(|(key, _)| !KEYS_OF_THE_SENDING.contains(&key.as_ref()));
    members
}

fn same_value(a: Value<'_>, b: Value<'_>) -> bool {
    if a.raw == b.raw {
        return true;
    }
    match (a.kind, b.kind) {
        (Kind::Number, Kind::Number) => same_number(a.raw, b.raw),
        (Kind::PlainString | Kind::EscapedString, Kind::PlainString | Kind::EscapedString) => a.string() == b.string(),
        (Kind::Array, Kind::Array) => {
            let (mut a, mut b) = (a.items(), b.items());
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if same_value(a, b) => {}
                    _ => return false,
                }
            }
        }
        (Kind::Object, Kind::Object) => same_members(&sorted_members(a), &sorted_members(b)),
        _ => false,
    }
}

type Member<'a> = (Cow<'a, str>, Value<'a>);

fn same_members(a: &[Member<'_>], b: &[Member<'_>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same_value(a.1, b.1))
}

/// The members of an object by key, each key once: the last of equal ones.
fn sorted_members(object: Value<'_>) -> Vec<Member<'_>> {
    let mut members: Vec<_> = object.members().collect();
    members.reverse();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members.dedup_by(|later, earlier| later.0 == earlier.0);
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    #[test]
    fn what_is_spelled_otherwise_is_the_same_content() {
        for (a, b) in [
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
            (r#"{"a":1.0}"#, r#"{"a":1}"#),
            (r#"{"a":[{"b":1e2}]}"#, r#"{"a":[ {"b" : 100.00} ]}"#),
            (r#"{"a":"\u00e9\/"}"#, r#"{"\u0061":"é/"}"#),
            (r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"😀"}"#),
            (r#"{"a":1,"sentAt":"2026-05-01T20:15:00Z","messageId":"m"}"#, r#"{"a":1,"sentAt":null}"#),
            (r#"{"a":{"x":1,"x":2}}"#, r#"{"a":{"x":2}}"#),
            (r#"{"a":1e999999999}"#, r#"{"a":10e999999998}"#),
        ] {
            assert!(same_content(a, b), "{a} {b}");
        }
    }

    #[test]
    fn another_value_is_other_content() {
        for (a, b) in [
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[1,2,3]}"#),
            (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#),
            (r#"{"a":{"sentAt":1}}"#, r#"{"a":{"sentAt":2}}"#),
            (r#"{"a":true}"#, r#"{"a":false}"#),
            (r#"{"a":{}}"#, r#"{"a":[]}"#),
            (r#"{"a":1}"#, r#"{"a":1"#),
        ] {
            assert!(!same_content(a, b), "{a} {b}");
        }
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            (-3i64..3).prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            "[a-c\"\\\\é😀\n]{0,3}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::hash_map("[a-c]{0,2}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn content_is_the_same_where_serde_json_says_so(a in any_json(), b in any_json()) {
            prop_assert_eq!(same_content(&a.to_string(), &b.to_string()), a == b);
            let pretty = serde_json::to_string_pretty(&a).expect("a value is written");
            prop_assert!(same_content(&a.to_string(), &pretty));
        }

        #[test]
        fn no_text_panics(a in "[\\[\\]{}\",:0-9a\\\\u]*", b in "\\PC*") {
            same_content(&a, &b);
        }
    }
}
