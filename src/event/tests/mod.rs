//! Every rule of the catalogue, through [`Event::parse`]: status, slug and pointer.

mod credit;
mod document;
mod metric;
mod rows;
mod values;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::limits::EVENT_BYTES_MAX;
use crate::problem::Slug;

const AT: &str = "2026-05-01T20:15:00.25Z";

/// A row of the catalogue with every field it has, and which of them it cannot do without.
struct Row {
    event_type: &'static str,
    required: &'static [&'static str],
    full: Json,
}

fn rows() -> Vec<Row> {
    let row = |event_type, required, full| Row { event_type, required, full };
    let spent = json!({"amountCents": 1250, "currency": "eur", "reason": "merch", "eventId": "e1", "artistId": "a1",
        "stripePaymentIntentId": "pi_1"});
    let earned = json!({"amountCents": 1250, "currency": "eur", "role": "artist", "earnSource": "tip",
        "eventId": "e1", "artistId": "a1", "stripeTransferId": "tr_1"});
    vec![
        row(
            "concierto.event_attended",
            &["eventId", "city"],
            json!({"eventId": "e1", "city": "Malmö", "ticketTier": "vip", "artistId": "a1", "artistIds": ["a2", "a1"]}),
        ),
        row("treasury.money_spent", &["amountCents"], spent.clone()),
        row("treasury.money_refunded", &["amountCents"], spent),
        row("treasury.money_earned", &["amountCents"], earned.clone()),
        row("treasury.earning_reversed", &["amountCents"], earned),
        row(
            "coliseum.vote_cast",
            &["artistId", "eventId"],
            json!({"artistId": "a1", "eventId": "e1", "weight": 2.5, "channel": "sms"}),
        ),
        row(
            "player.track_played",
            &["trackId", "artistId"],
            json!({"trackId": "t1", "artistId": "a1", "durationSeconds": 181.5, "genre": "pop", "city": "Malmö"}),
        ),
        row("player.track_favorited", &["trackId", "artistId"], json!({"trackId": "t1", "artistId": "a1"})),
        row("social.follow", &["targetId", "targetType"], json!({"targetId": "a9", "targetType": "artist"})),
        row(
            "social.share",
            &["targetId", "targetType", "platform"],
            json!({"targetId": "a9", "targetType": "artist", "platform": "web", "artistId": "a1"}),
        ),
        row(
            "artist.profile_updated",
            &["artistId", "artistName"],
            json!({"artistId": "a1", "artistName": "ABBA", "genres": ["pop", "disco"], "homeCity": "Stockholm"}),
        ),
        row(
            "concierto.event_scheduled",
            &["eventId", "artistIds"],
            json!({"eventId": "e1", "artistIds": ["a1", "a2", "a1"], "city": "Malmö", "name": "Final",
                "startsAt": "2026-05-16T21:00:00+02:00"}),
        ),
        row(
            "coliseum.entitlement_changed",
            &["plan"],
            json!({"plan": "pro", "domains": ["A", "C"], "leaderboardDepth": 50, "expiresAt": "2027-01-01T00:00:00Z",
                "stripeSubscriptionId": "sub_1"}),
        ),
    ]
}

/// An event of this type with these fields beside the common ones.
fn event(event_type: &str, fields: &Json) -> Map<String, Json> {
    let mut event = json!({"type": event_type, "userId": "u1", "at": AT});
    let members = event.as_object_mut().expect("is an object");
    members.extend(fields.as_object().expect("fields are an object").clone());
    members.clone()
}

fn full(event_type: &str) -> Map<String, Json> {
    let row = rows().into_iter().find(|row| row.event_type == event_type).expect("is in the catalogue");
    event(event_type, &row.full)
}

fn with(mut event: Map<String, Json>, key: &str, value: Json) -> String {
    event.insert(key.to_owned(), value);
    Json::Object(event).to_string()
}

fn without(mut event: Map<String, Json>, key: &str) -> String {
    event.remove(key);
    Json::Object(event).to_string()
}

fn assert_field_problem(text: &str, pointer: &str) {
    let problem = Event::parse(text).expect_err(text);
    assert_eq!((problem.slug, problem.status), (Slug::InvalidEvent, 422), "{text}: {problem}");
    assert_eq!(problem.pointer.as_deref(), Some(pointer), "{text}: {problem}");
    assert!(problem.detail.contains("expected "), "{problem}");
}

/// Text around `spelled`, a value as it is written (`1e400` is no serde_json number).
fn spelled(event_type: &str, key: &str, spelled: &str) -> String {
    with(full(event_type), key, json!("@here@")).replace("\"@here@\"", spelled)
}
