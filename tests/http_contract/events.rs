//! The rules of an event, field by field through the whole catalogue.

use crate::harness::micros;
use crate::model::catalogue::{CATALOGUE, Field, Holds};
use crate::model::json::{Json, number, object, text, texts};
use crate::model::time::{self, DAY, MINUTE};
use crate::{NOW, daemon, invalid, refused, stored, vote};

/// A good value of a field.
fn sample(holds: Holds) -> Json {
    match holds {
        Holds::Id => text("id-1"),
        Holds::Word => text("word"),
        Holds::Closed(words) => text(words[0]),
        Holds::Text => text("Oslo"),
        Holds::LineUp | Holds::Ids => texts(&["a1", "a2"]),
        Holds::Texts => texts(&["A"]),
        Holds::Cents => number(2500),
        Holds::Currency => text("eur"),
        Holds::Weight => number("2.5"),
        Holds::Duration => number("31.5"),
        Holds::Integer => number(10),
        Holds::Time => text("2026-02-01T20:00:00+01:00"),
    }
}

/// An event of this type with every field of its row.
pub fn full_event(kind: &str, row: &[Field]) -> Json {
    let event = object([("type", text(kind)), ("userId", text("u1")), ("at", text("2026-02-28T12:00:00Z"))]);
    // On an earning `source` is another name of `earnSource`: one of the two is enough.
    let named = row.iter().filter(|field| field.name != "source");
    named.fold(event, |event, field| event.with(field.name, sample(field.holds)))
}

#[test]
fn every_type_is_stored_with_all_its_fields_and_with_the_required_ones_alone() {
    let daemon = daemon();
    for (kind, row) in CATALOGUE {
        // Without its Stripe id: that would be the key of both.
        let full = full_event(kind, row).without("stripePaymentIntentId").without("stripeTransferId");
        stored(&daemon, &full);
        let optional = row.iter().filter(|field| !field.required);
        stored(&daemon, &optional.clone().fold(full.clone(), |event, field| event.without(field.name)));
        // An optional field that is null is absent.
        let seq = stored(&daemon, &optional.fold(full, |event, field| event.with(field.name, Json::Null)));
        let entry = daemon.client.get(&format!("/api/passport/entries/{seq}")).expect(200);
        assert_eq!(entry.at("eventType").as_text(), *kind);
    }
}

#[test]
fn a_required_field_that_is_missing_or_null_is_named() {
    let daemon = daemon();
    for (kind, row) in CATALOGUE {
        for field in row.iter().filter(|field| field.required) {
            let pointer = format!("/{}", field.name);
            invalid(&daemon, &full_event(kind, row).without(field.name), &pointer);
            invalid(&daemon, &full_event(kind, row).with(field.name, Json::Null), &pointer);
        }
    }
    for name in ["type", "userId", "at"] {
        invalid(&daemon, &vote().without(name), &format!("/{name}"));
        invalid(&daemon, &vote().with(name, Json::Null), &format!("/{name}"));
    }
}

/// Values that a field cannot hold, with where below the field the fault lies.
fn bad_values(holds: Holds) -> Vec<(Json, &'static str)> {
    let here = |values: Vec<Json>| values.into_iter().map(|value| (value, "")).collect::<Vec<_>>();
    let numbers = |digits: &[&str]| digits.iter().map(number).collect::<Vec<_>>();
    let ids = || {
        vec![
            (texts(&["a1", ""]), "/1"),
            (Json::List(vec![number(1)]), "/0"),
            (texts(&["a1", "a2", "a\u{7}"]), "/2"),
            (texts(&["a1", &"a".repeat(129)]), "/1"),
            (text("a1"), ""),
        ]
    };
    match holds {
        Holds::Id => {
            let mut bad = vec![text(""), text("a".repeat(129)), text("é".repeat(65))];
            bad.extend(["a\u{0}b", "a\nb", "\u{1f}", "a\u{7f}"].map(text));
            bad.extend([number(7), Json::Bool(true), texts(&["a1"]), object([])]);
            here(bad)
        }
        Holds::Word => here(vec![text(""), text("w".repeat(33)), number(1), texts(&["word"]), Json::Bool(false)]),
        Holds::Closed(_) => here(vec![text(""), text("planet"), text("ARTIST"), number(1), texts(&["artist"])]),
        Holds::Text => here(vec![number(1), Json::Bool(true), texts(&["Oslo"]), object([])]),
        Holds::LineUp => {
            let crowd: Vec<String> = (0..101).map(|n| format!("a{n}")).collect();
            ids().into_iter().chain([(Json::List(vec![]), ""), (texts(&crowd), "")]).collect()
        }
        Holds::Ids => ids(),
        Holds::Texts => vec![(text("A"), ""), (Json::List(vec![text("A"), number(1)]), "/1"), (number(1), "")],
        Holds::Cents => {
            let mut bad = numbers(&["0", "-1", "1000000000001", "12.5", "1e400", "18446744073709551616", "0.99"]);
            bad.extend([text("2500"), Json::Bool(true), Json::List(vec![])]);
            here(bad)
        }
        Holds::Currency => {
            here(["", "us", "usdd", "USD", "u1d", "öre"].map(text).into_iter().chain([number(1)]).collect())
        }
        Holds::Weight => {
            let mut bad =
                numbers(&["0", "-1", "-0.000001", "1000.000001", "1001", "0.0000001", "1.0000001", "1e400", "1e4"]);
            bad.extend([text("1"), Json::Bool(true)]);
            here(bad)
        }
        Holds::Duration => {
            let bad = numbers(&["-1", "-0.001", "86400.001", "86401", "1e400"]);
            here(bad.into_iter().chain([text("30"), Json::Bool(true)]).collect())
        }
        Holds::Integer => here(vec![text("10"), number("1.5"), Json::Bool(true)]),
        Holds::Time => {
            let bad =
                ["", "yesterday", "2026-02-01", "2026-02-01T20:00:00", "2026-02-30T20:00:00Z", "2026-02-01T25:00:00Z"];
            here(bad.map(text).into_iter().chain([number("1767225600"), Json::Bool(true)]).collect())
        }
    }
}

#[test]
fn a_field_that_cannot_hold_its_value_is_named() {
    let daemon = daemon();
    for (kind, row) in CATALOGUE {
        for field in *row {
            for (value, below) in bad_values(field.holds) {
                let event = full_event(kind, row);
                let event = if field.name == "source" { event.without("earnSource") } else { event };
                let event = event.with(field.name, value);
                // Without a key of its own it would be keyed by the very id that is broken.
                let event = event.with("messageId", text("never-stored"));
                invalid(&daemon, &event, &format!("/{}{below}", field.name));
            }
        }
    }
}

#[test]
fn the_envelope_is_checked() {
    let daemon = daemon();
    for name in ["userId", "messageId", "sessionId", "deviceId"] {
        for (value, _) in bad_values(Holds::Id) {
            if name == "userId" || name == "messageId" || value != text("") {
                invalid(&daemon, &vote().with(name, value), &format!("/{name}"));
            }
        }
    }
    for name in ["at", "sentAt"] {
        for (value, _) in bad_values(Holds::Time) {
            invalid(&daemon, &vote().with(name, value), &format!("/{name}"));
        }
    }
    for value in [text("s".repeat(33)), number(1), text("a\u{1}")] {
        invalid(&daemon, &vote().with("source", value), "/source");
    }
    let long = format!("a.{}", "b".repeat(63));
    let bad_types = ["", "vote", "Coliseum.vote", "a..b", ".a", "a.", "1a.b", "a.1b", "a-b.c", "a.b c", "ä.b", &long];
    for value in bad_types.map(text).into_iter().chain([number(1), texts(&["a.b"])]) {
        invalid(&daemon, &vote().with("type", value), "/type");
    }
}

#[test]
fn the_bounds_themselves_are_good() {
    let daemon = daemon();
    let spent = |cents: &str| {
        let event = full_event("treasury.money_spent", &[]).with("amountCents", number(cents));
        event.with("artistId", text("a1"))
    };
    for cents in ["1", "1000000000000", "2500.0", "25e2"] {
        stored(&daemon, &spent(cents));
    }
    for weight in ["0.000001", "1000", "1e3", "1000.000000", "2.50"] {
        stored(&daemon, &vote().with("weight", number(weight)));
    }
    let played = full_event("player.track_played", &[]).with("trackId", text("t")).with("artistId", text("a"));
    for seconds in ["0", "86400", "29.999999", "30"] {
        stored(&daemon, &played.with("durationSeconds", number(seconds)));
    }
    for name in ["userId", "messageId", "sessionId", "deviceId", "artistId"] {
        stored(&daemon, &vote().with(name, text(format!("{}é", "x".repeat(126)))).with("nth", text(name)));
    }
    stored(&daemon, &vote().with("source", text("s".repeat(32))).with("channel", text("c".repeat(32))));
    stored(&daemon, &vote().with("type", text(format!("a.{}", "b".repeat(62)))));
    stored(&daemon, &vote().with("type", text("a1_.b_2.c")));
    let crowd: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    let scheduled = full_event("concierto.event_scheduled", &[]).with("eventId", text("e"));
    stored(&daemon, &scheduled.with("artistIds", texts(&crowd)));
}

#[test]
fn an_event_may_be_five_minutes_ahead_and_not_a_microsecond_more() {
    let daemon = daemon();
    let at = |micros: i64| vote().with("at", text(time::format(micros)));
    stored(&daemon, &at(micros(NOW) + 5 * MINUTE));
    refused(&daemon, &at(micros(NOW) + 5 * MINUTE + 1), 422, &["at-in-future"], Some("/at"));
    stored(&daemon, &at(micros("1957-03-03T00:00:00Z")));
    stored(&daemon, &vote().with("at", text("2026-03-01T14:04:59+02:00")));
    // A sender whose clock is a day fast: `at := receivedAt - (sentAt - at)`.
    let corrected = at(micros(NOW) + DAY).with("sentAt", text(time::format(micros(NOW) + DAY + MINUTE)));
    let seq = stored(&daemon, &corrected);
    let entry = daemon.client.get(&format!("/api/passport/entries/{seq}")).expect(200);
    assert_eq!(time::parse(entry.at("at").as_text()), Some(micros(NOW) - MINUTE));
    assert_eq!(time::parse(entry.at("receivedAt").as_text()), Some(micros(NOW)));
    let ahead = at(micros(NOW)).with("sentAt", text(time::format(micros(NOW) - 10 * MINUTE)));
    refused(&daemon, &ahead, 422, &["at-in-future"], Some("/at"));
}
