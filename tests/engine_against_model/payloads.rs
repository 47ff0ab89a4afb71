//! How the drafts of a stream are written down: as JSON, well formed or with one fault, and a second time.

use crate::fields::fields;
use crate::model::json::{Json, number, object, text};
use crate::model::time::{self, DAY, MINUTE, SECOND, minute_of};
use crate::streams::{Age, Draft, Fault, Key, Repeat};

/// One event on its way: what is sent, and beside it the key that the header carries.
#[derive(Clone, Debug)]
pub struct Sent {
    pub payload: Json,
    pub body: String,
    pub header_key: Option<String>,
}

/// A stored event on its way a second time.
pub fn again(payload: &Json, header_key: Option<String>, repeat: Repeat, count: u64, now: i64) -> Sent {
    let sent = |payload: Json, body: String| Sent { payload, body, header_key: header_key.clone() };
    match repeat {
        Repeat::Same => sent(payload.clone(), payload.render()),
        Repeat::OtherContent => {
            let other = payload.with("changed", number(count));
            sent(other.clone(), other.render())
        }
        Repeat::OtherSentAt => {
            let other = payload.with("sentAt", text(time::format(now)));
            sent(other.clone(), other.render())
        }
        Repeat::Respelled => {
            let mut members: Vec<(String, Json)> = payload.members().to_vec();
            members.reverse();
            for (_, value) in &mut members {
                if let Json::Number(digits) = value {
                    *digits = if digits.contains('.') { format!("{digits}0") } else { format!("{digits}.0") };
                }
            }
            let spelled = members
                .iter()
                .map(|(key, value)| format!(" \"\\u{:04x}{}\" : {}\t", key.as_bytes()[0], &key[1..], value.render()));
            let body = format!("\r\n{{{}}}\n", spelled.collect::<Vec<_>>().join(","));
            // One line, since in NDJSON a line is an event.
            let body = body.replace(['\r', '\n'], " ");
            sent(Json::Object(members), body)
        }
    }
}

/// Gives an event a key of its own where a fault took it away.
pub fn with_key(payload: Json, count: u64) -> Json {
    let has_key = payload.present("messageId").is_some();
    let stripe = ["stripePaymentIntentId", "stripeTransferId"].into_iter().any(|key| payload.present(key).is_some());
    if has_key || stripe { payload } else { payload.with("messageId", text(format!("k-{count}"))) }
}

pub fn render(draft: &Draft, now: i64, count: u64) -> (Json, Option<String>) {
    let mut event = object([]);
    let mut header_key = None;
    let key = format!("k-{count}");
    match draft.key {
        Key::Own | Key::Stripe => event = event.with("messageId", text(&key)),
        Key::Header => header_key = Some(key.clone()),
        Key::Made => {}
    }
    let at = at_of(draft.age, now);
    let skew = draft.sender_skew_minutes.map(|minutes| i64::from(minutes) * MINUTE);
    event = event.with("type", text("")).with("userId", text(format!("u{}", draft.user)));
    event = event.with("at", text(time::format(at + skew.unwrap_or(0))));
    if let Some(skew) = skew {
        event = event.with("sentAt", text(time::format(now + skew)));
    }
    if draft.has_session {
        event = event.with("sessionId", text("s1")).with("deviceId", text("d:1")).with("source", text("app"));
    }
    event = fields(draft, event, now);
    if matches!(draft.key, Key::Stripe) {
        let name = match event.text_of("type") {
            Some("treasury.money_spent" | "treasury.money_refunded") => Some("stripePaymentIntentId"),
            Some("treasury.money_earned" | "treasury.earning_reversed") => Some("stripeTransferId"),
            _ => None,
        };
        if let Some(name) = name {
            event = event.without("messageId").with(name, text(format!("pi_{count}")));
        }
    }
    (broken(event, draft.fault), header_key)
}

/// Never in the first minute of an hour, where readings of "to the hour" part.
fn at_of(age: Age, now: i64) -> i64 {
    let at = match age {
        Age::Seconds(seconds) => now - i64::from(seconds) * SECOND - 1,
        Age::Minutes(minutes) => now - i64::from(minutes) * MINUTE,
        Age::Edge { days, minutes } => now - i64::from(days) * DAY + i64::from(minutes) * MINUTE,
        Age::Days(days) => now - i64::from(days) * DAY - 12_345_678,
        Age::Decades(decades) => now - i64::from(decades) * 3653 * DAY,
        Age::AheadSeconds(seconds) => now + i64::from(seconds) * SECOND,
    };
    if minute_of(at).rem_euclid(60) == 0 { at - MINUTE } else { at }
}

/// One thing made wrong, or at least other. Fields of an older client's play are left alone: SPEC does not say
/// which name a pointer gives there.
fn broken(event: Json, fault: Fault) -> Json {
    let members = event.members();
    if event.get("eventData").is_some() {
        return event;
    }
    let name = |index: u8| members[usize::from(index) % members.len()].0.clone();
    let ids = ["userId", "messageId", "artistId", "eventId", "targetId", "trackId", "sessionId", "deviceId"];
    let id = |index: u8| {
        let present: Vec<&str> = ids.into_iter().filter(|id| event.get(id).is_some()).collect();
        present[usize::from(index) % present.len()]
    };
    match fault {
        Fault::None => event,
        Fault::Drop(index) => event.without(&name(index)),
        Fault::Null(index) => event.with(&name(index), Json::Null),
        Fault::OtherKind(index) => {
            let other = match event.at(&name(index)) {
                Json::Text(_) => number(7),
                _ => text("seven"),
            };
            event.with(&name(index), other)
        }
        Fault::Control(index) => event.with(id(index), text("a\u{1}b")),
        Fault::Long(index) => event.with(id(index), text("é".repeat(65))),
        Fault::Number(digits) => {
            let names = ["amountCents", "weight", "durationSeconds"];
            match names.into_iter().find(|name| matches!(event.get(name), Some(Json::Number(_)))) {
                Some(name) => event.with(name, number(digits)),
                None => event,
            }
        }
    }
}
