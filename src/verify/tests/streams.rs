//! Random steps: entries of every type by few users, artists and events, so that they meet, and flushes and crashes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Event;

#[derive(Clone, Debug)]
pub enum Step {
    Apply(Event),
    Flush {
        early: bool,
    },
    Check,
    /// Keeps a view, to be looked into at the end.
    Hold,
    Reopen,
}

/// Ids whose byte order is neither their length's nor a locale's.
fn artist() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "B", "a-10", "a-9", "é", "z"])
}

fn event() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["e1", "E", "e-2"])
}

fn text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["pop", "Pop", "", "jazz", "ὀδυσσεύς", "x y"])
}

fn city() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Turin", " turin\u{2003}", "TURIN", "Malmö", "MALMÖ", " ", "Zürich"])
}

fn money() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["money_spent", "money_refunded", "money_earned", "earning_reversed"]);
    let role = prop::sample::select(vec![None, Some("artist"), Some("platform"), Some("venue")]);
    let currency = prop::sample::select(vec![None, Some("usd"), Some("eur"), Some("jpy")]);
    let cents = prop_oneof![4 => 1i64..5000, 1 => Just(1_000_000_000_000i64)];
    (kind, role, currency, cents, prop::option::of(artist()), prop::option::of(event())).prop_map(
        |(kind, role, currency, cents, artist, event)| {
            json!({"type": format!("treasury.{kind}"), "amountCents": cents, "currency": currency, "role": role,
                "artistId": artist, "eventId": event})
        },
    )
}

fn payload() -> impl Strategy<Value = Value> {
    let weight = prop::sample::select(vec![json!(null), json!(2.5), json!(0.000001), json!(1000)]);
    let duration = prop::sample::select(vec![json!(null), json!(29.999), json!(30), json!(0)]);
    let target = prop::sample::select(vec!["artist", "venue", "user"]);
    let plan = prop::sample::select(vec![
        json!({"type": "coliseum.entitlement_changed", "plan": "pro"}),
        json!({"type": "coliseum.entitlement_changed", "plan": "free"}),
        json!({"type": "coliseum.entitlement_changed", "plan": "basic", "domains": ["C", "A"], "leaderboardDepth": 7,
            "expiresAt": "2026-05-01T00:00:00+02:00"}),
    ]);
    let artists = || prop::collection::vec(artist(), 1..4);
    prop_oneof![
        4 => (event(), city(), prop::option::of(artist()), prop::option::of(artists())).prop_map(|(e, c, a, list)|
            json!({"type": "concierto.event_attended", "eventId": e, "city": c, "artistId": a, "artistIds": list})),
        4 => (event(), artists(), prop::option::of(text())).prop_map(|(e, list, name)|
            json!({"type": "concierto.event_scheduled", "eventId": e, "artistIds": list, "name": name})),
        5 => money(),
        1 => (artist(), weight).prop_map(|(a, weight)|
            json!({"type": "coliseum.vote_cast", "artistId": a, "eventId": "e1", "weight": weight})),
        4 => (artist(), duration, prop::option::of(text()), prop::option::of(city())).prop_map(|(a, d, genre, c)|
            json!({"type": "player.track_played", "trackId": "t", "artistId": a, "artistName": "ignored",
                "durationSeconds": d, "genre": genre, "city": c})),
        1 => artist().prop_map(|a| json!({"type": "player.track_favorited", "trackId": "t", "artistId": a})),
        1 => (artist(), target.clone()).prop_map(|(a, target)|
            json!({"type": "social.follow", "targetId": a, "targetType": target})),
        1 => (artist(), target, prop::option::of(artist())).prop_map(|(a, target, credited)|
            json!({"type": "social.share", "targetId": a, "targetType": target, "platform": "x", "artistId": credited})),
        2 => (artist(), prop::option::of(prop::collection::vec(text(), 0..4))).prop_map(|(a, genres)|
            json!({"type": "artist.profile_updated", "artistId": a, "artistName": format!("{a}!"), "genres": genres})),
        1 => (any::<bool>(), artist()).prop_map(|(named, a)|
            json!({"type": if named { "custom.named" } else { "custom.unnamed" }, "artistId": a})),
        1 => plan,
    ]
}

/// Days close to each other, on both sides of 1970, and any time.
fn at_micros() -> impl Strategy<Value = i64> {
    const DAY_MICROS: i64 = 86_400_000_000;
    prop_oneof![
        8 => (-4i64..6, 0..DAY_MICROS).prop_map(|(day, micros)| day * DAY_MICROS + micros),
        2 => (20_000i64..20_006, prop::sample::select(vec![0, 1, DAY_MICROS - 1]))
            .prop_map(|(day, micros)| day * DAY_MICROS + micros),
        1 => -62_135_596_800_000_000i64..253_402_300_800_000_000,
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let user = prop::sample::select(vec!["u", "v", "U", "ü"]);
    prop_oneof![
        24 => (user, at_micros(), payload())
            .prop_map(|(user_id, at_micros, payload)| Step::Apply(Event { user_id, at_micros, payload })),
        3 => prop::bool::weighted(0.3).prop_map(|early| Step::Flush { early }),
        2 => Just(Step::Check),
        1 => Just(Step::Hold),
        1 => Just(Step::Reopen),
    ]
}
