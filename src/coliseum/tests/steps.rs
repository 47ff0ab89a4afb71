//! Random steps: entries of every type, most of them close to an edge of a window, clocks that jump, and crashes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::MINUTE_MICROS;

#[derive(Clone, Debug)]
pub enum Step {
    Apply(Value, At),
    Tick(i64),
    /// With how far the clock goes between the flush and its commit; `None`: nothing happens there.
    Flush {
        early: Option<i64>,
    },
    /// Changes are taken; what else happens before their commit is up to the steps.
    Take,
    /// Commits them; with a view before the fold knows of it.
    Commit {
        early: bool,
    },
    Check,
    /// Keeps a view, to be looked into at the end.
    Hold,
    Reopen,
}

/// Where an event's time lies.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// Minutes before the clock, and microseconds into that minute.
    Ago(i64, i64),
    Micros(i64),
}

pub fn artist() -> impl Strategy<Value = String> {
    // Ids whose byte order is neither their length's nor a locale's.
    prop::sample::select(vec!["a", "B", "a-10", "a-9", "é", "z", "Z"]).prop_map(String::from)
}

pub fn event() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["e1", "e2", "e3"]).prop_map(String::from)
}

fn user() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["u", "v", "U", "ü"])
}

/// Some are one city, some are none.
fn city() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Turin", " turin\u{2003}", "TURIN", "Malmö", "MALMÖ", " ", "Zürich", "ΟΔΟΣ"])
}

fn genre() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["pop", "Pop", "", "jazz", "é"])
}

pub fn without_nulls(mut payload: Value) -> Value {
    payload.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    payload
}

pub fn payload() -> impl Strategy<Value = Value> {
    let currency = prop::sample::select(vec![None, Some("usd"), Some("eur"), Some("gbp")]);
    let tier = prop::sample::select(vec![None, Some("vip"), Some("half"), Some("none"), Some("other")]);
    let money = prop::sample::select(vec![
        ("treasury.money_spent", None),
        ("treasury.money_refunded", None),
        ("treasury.money_earned", Some("artist")),
        ("treasury.money_earned", Some("venue")),
        ("treasury.money_earned", None),
        ("treasury.earning_reversed", Some("artist")),
    ]);
    let weight =
        prop::sample::select(vec![None, Some(json!(1)), Some(json!(2.5)), Some(json!(0.000001)), Some(json!(1000))]);
    let plan = prop::sample::select(vec!["free", "basic", "pro", "enterprise"]);
    let domains = prop::sample::subsequence(vec!["C", "A", "G", "T"], 0..=4);
    let duration = prop::sample::select(vec![None, Some(json!(29.999)), Some(json!(30)), Some(json!(0))]);
    let target = prop::sample::select(vec!["artist", "venue", "user"]);
    let event = prop_oneof![
        4 => (event(), tier, city(), prop::option::of(artist()), prop::option::of(prop::collection::vec(artist(), 1..3)))
            .prop_map(|(e, tier, c, a, list)| json!({"type": "concierto.event_attended", "eventId": e, "city": c,
                "ticketTier": tier, "artistId": a, "artistIds": list})),
        4 => (event(), prop::collection::vec(artist(), 1..4))
            .prop_map(|(e, list)| json!({"type": "concierto.event_scheduled", "eventId": e, "artistIds": list})),
        4 => (money, 1i64..5000, currency, prop::option::of(artist()), prop::option::of(event())).prop_map(
            |((kind, role), cents, currency, a, e)| json!({"type": kind, "amountCents": cents, "currency": currency,
                "role": role, "artistId": a, "eventId": e})),
        1 => (artist(), Just(1_000_000_000_000i64)).prop_map(|(a, cents)|
            json!({"type": "treasury.money_spent", "amountCents": cents, "currency": "eur", "artistId": a})),
        4 => (artist(), event(), weight).prop_map(|(a, e, weight)|
            json!({"type": "coliseum.vote_cast", "artistId": a, "eventId": e, "weight": weight})),
        4 => (artist(), duration, prop::option::of(genre()), prop::option::of(city())).prop_map(|(a, duration, g, c)|
            json!({"type": "player.track_played", "trackId": "t", "artistId": a, "artistName": "ignored",
                "durationSeconds": duration, "genre": g, "city": c})),
        1 => artist().prop_map(|a| json!({"type": "player.track_favorited", "trackId": "t", "artistId": a})),
        2 => (artist(), target.clone()).prop_map(|(a, target)|
            json!({"type": "social.follow", "targetId": a, "targetType": target})),
        2 => (artist(), target, prop::option::of(artist())).prop_map(|(a, target, credited)|
            json!({"type": "social.share", "targetId": a, "targetType": target, "platform": "x", "artistId": credited})),
        2 => (artist(), prop::option::of(prop::collection::vec(genre(), 0..7)), prop::option::of("[a-c]"))
            .prop_map(|(a, genres, city)| json!({"type": "artist.profile_updated", "artistId": a,
                "artistName": format!("{a}!"), "genres": genres, "homeCity": city})),
        2 => (prop::bool::ANY, artist(), prop::collection::vec(artist(), 0..3)).prop_map(|(named, a, list)| {
            json!({"type": if named { "custom.named" } else { "custom.unnamed" }, "artistId": a, "artistIds": list})
        }),
        1 => (plan, prop::option::of(domains), prop::option::of(0u64..600)).prop_map(|(plan, domains, depth)|
            json!({"type": "coliseum.entitlement_changed", "plan": plan, "domains": domains,
                "leaderboardDepth": depth})),
    ];
    (event, user()).prop_map(|(mut payload, user)| {
        payload["userId"] = json!(user);
        without_nulls(payload)
    })
}

pub fn at() -> impl Strategy<Value = At> {
    let near_an_edge = (prop::sample::select(vec![0, 1440, 10_080, 11_520, 43_200, 44_640]), -6i64..6);
    prop_oneof![
        6 => (near_an_edge, 0..MINUTE_MICROS).prop_map(|((edge, off), micros)| At::Ago(edge + off, micros)),
        3 => (0i64..50_000, 0..MINUTE_MICROS).prop_map(|(minutes, micros)| At::Ago(minutes, micros)),
        1 => (500_000i64..700_000).prop_map(|minutes| At::Ago(minutes, 0)),
        1 => (-300_000_000_000_000_000i64..100_000_000).prop_map(At::Micros),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let forwards = prop::sample::select(vec![0, 1, 2, 7, 60, 1439, 1440, 1441, 10_080, 43_200, 57_600]);
    let early = prop::option::weighted(
        0.3,
        (forwards.clone(), any::<bool>()).prop_map(|(minutes, back)| if back { -minutes } else { minutes }),
    );
    prop_oneof![
        24 => (payload(), at()).prop_map(|(payload, at)| Step::Apply(payload, at)),
        4 => forwards.clone().prop_map(Step::Tick),
        2 => forwards.prop_map(|minutes| Step::Tick(-minutes)),
        3 => early.prop_map(|early| Step::Flush { early }),
        2 => Just(Step::Take),
        2 => any::<bool>().prop_map(|early| Step::Commit { early }),
        2 => Just(Step::Check),
        1 => Just(Step::Hold),
        1 => Just(Step::Reopen),
    ]
}
