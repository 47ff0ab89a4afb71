//! Random streams of events: what happens in which order, and how each event is written down.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::model::json::{Json, number, object, text, texts};
use crate::model::time::{self, DAY, MINUTE, SECOND, minute_of};

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Attended { tier: u8, names_artist: bool },
    Scheduled { line_up: u8 },
    Money { kind: u8, cents: u32, currency: u8, role: u8, artist: bool, event: bool },
    Vote { micro_weight: Option<u32> },
    Played { tenths: Option<u16>, is_older_client: bool },
    Favorited,
    Follow { target: u8 },
    Share { target: u8, names_artist: bool },
    Profile { genres: bool, city: bool, name: u8 },
    Entitlement { plan: u8 },
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub enum Age {
    Seconds(u16),
    Minutes(u16),
    /// Around the minute at which an event leaves a window of so many days.
    Edge {
        days: u8,
        minutes: i8,
    },
    Days(u8),
    Decades(u8),
    AheadSeconds(u16),
}

#[derive(Clone, Debug)]
pub enum Key {
    Own,
    Header,
    /// The payload's Stripe id stands in for a key.
    Stripe,
    /// The daemon makes one.
    Made,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    None,
    Drop(u8),
    Null(u8),
    OtherKind(u8),
    Control(u8),
    Long(u8),
    Number(&'static str),
}

#[derive(Clone, Debug)]
pub struct Draft {
    pub kind: Kind,
    pub age: Age,
    pub key: Key,
    pub fault: Fault,
    pub user: u8,
    pub artist: u8,
    pub event: u8,
    pub has_session: bool,
    pub sender_skew_minutes: Option<i16>,
}

#[derive(Clone, Copy, Debug)]
pub enum Repeat {
    Same,
    Respelled,
    OtherContent,
    OtherSentAt,
}

#[derive(Clone, Debug)]
pub enum Item {
    New(Draft),
    Again(Index, Repeat),
}

#[derive(Clone, Copy, Debug)]
pub enum Form {
    Array,
    Events,
    Lines,
    Gzip,
    Zstd,
}

#[derive(Clone, Debug)]
pub enum Op {
    Post(Item),
    Batch { items: Vec<Item>, form: Form, all_results: bool, is_atomic: bool },
    Advance(i64),
    Restart { is_clean: bool, loses_projections: bool },
    Check,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => (0..4u8, any::<bool>()).prop_map(|(tier, names_artist)| Kind::Attended { tier, names_artist }),
        3 => (1..32u8).prop_map(|line_up| Kind::Scheduled { line_up }),
        4 => (0..4u8, 1..200_000u32, 0..6u8, 0..3u8, any::<bool>(), any::<bool>()).prop_map(
            |(kind, cents, currency, role, artist, event)| Kind::Money { kind, cents, currency, role, artist, event }
        ),
        4 => proptest::option::of(1..1_000_000_001u32).prop_map(|micro_weight| Kind::Vote { micro_weight }),
        3 => (proptest::option::of(0..600u16), any::<bool>())
            .prop_map(|(tenths, is_older_client)| Kind::Played { tenths, is_older_client }),
        2 => Just(Kind::Favorited),
        2 => (0..5u8).prop_map(|target| Kind::Follow { target }),
        2 => (0..5u8, any::<bool>()).prop_map(|(target, names_artist)| Kind::Share { target, names_artist }),
        2 => (any::<bool>(), any::<bool>(), 0..4u8).prop_map(|(genres, city, name)| Kind::Profile { genres, city, name }),
        1 => (0..4u8).prop_map(|plan| Kind::Entitlement { plan }),
        1 => Just(Kind::Unknown),
    ]
}

fn age() -> impl Strategy<Value = Age> {
    let days = prop_oneof![Just(1u8), Just(7), Just(8), Just(30), Just(31)];
    prop_oneof![
        3 => (0..90u16).prop_map(Age::Seconds),
        3 => (0..3000u16).prop_map(Age::Minutes),
        4 => (days, -3..4i8).prop_map(|(days, minutes)| Age::Edge { days, minutes }),
        3 => (0..45u8).prop_map(Age::Days),
        1 => (1..8u8).prop_map(Age::Decades),
        2 => (0..420u16).prop_map(Age::AheadSeconds),
        1 => Just(Age::AheadSeconds(300)),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let key = prop_oneof![6 => Just(Key::Own), 1 => Just(Key::Header), 1 => Just(Key::Stripe), 1 => Just(Key::Made)];
    let fault = prop_oneof![
        20 => Just(Fault::None),
        1 => any::<u8>().prop_map(Fault::Drop),
        1 => any::<u8>().prop_map(Fault::Null),
        1 => any::<u8>().prop_map(Fault::OtherKind),
        1 => any::<u8>().prop_map(Fault::Control),
        1 => any::<u8>().prop_map(Fault::Long),
        1 => proptest::sample::select(&["-1", "0", "12.5", "1000.000001", "86401", "1e400", "1000000000001"][..])
            .prop_map(Fault::Number),
    ];
    let skew = proptest::option::weighted(0.1, -3000..3000i16);
    (kind(), age(), key, fault, 0..5u8, 0..5u8, 0..3u8, any::<bool>(), skew).prop_map(
        |(kind, age, key, fault, user, artist, event, has_session, sender_skew_minutes)| Draft {
            kind,
            age,
            key,
            fault,
            user,
            artist,
            event,
            has_session,
            sender_skew_minutes,
        },
    )
}

pub fn item() -> impl Strategy<Value = Item> {
    let repeat =
        proptest::sample::select(&[Repeat::Same, Repeat::Respelled, Repeat::OtherContent, Repeat::OtherSentAt][..]);
    prop_oneof![
        5 => draft().prop_map(Item::New),
        1 => (any::<Index>(), repeat).prop_map(|(index, repeat)| Item::Again(index, repeat)),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let form = proptest::sample::select(&[Form::Array, Form::Events, Form::Lines, Form::Gzip, Form::Zstd][..]);
    let batch = (proptest::collection::vec(item(), 1..25), form, any::<bool>(), proptest::bool::weighted(0.15));
    prop_oneof![
        8 => item().prop_map(Op::Post),
        4 => batch.prop_map(|(items, form, all_results, is_atomic)| Op::Batch { items, form, all_results, is_atomic }),
        3 => (1..90i64).prop_map(|seconds| Op::Advance(seconds * SECOND)),
        2 => (1..3000i64).prop_map(|minutes| Op::Advance(minutes * MINUTE)),
        1 => (1..41i64).prop_map(|days| Op::Advance(days * DAY)),
        1 => (any::<bool>(), proptest::bool::weighted(0.3))
            .prop_map(|(is_clean, loses_projections)| Op::Restart { is_clean, loses_projections }),
        2 => Just(Op::Check),
    ]
}

/// One event on its way: what is sent, and beside it the key that the header carries.
#[derive(Clone, Debug)]
pub struct Sent {
    pub payload: Json,
    pub body: String,
    pub header_key: Option<String>,
}

pub fn plain_draft() -> Draft {
    Draft {
        kind: Kind::Favorited,
        age: Age::Seconds(1),
        key: Key::Own,
        fault: Fault::None,
        user: 0,
        artist: 0,
        event: 0,
        has_session: false,
        sender_skew_minutes: None,
    }
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
    event = fields(draft, event);
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

fn fields(draft: &Draft, event: Json) -> Json {
    let artist = text(format!("a{}", draft.artist));
    let concert = text(format!("e{}", draft.event));
    let track = text(format!("t{}", draft.user));
    let typed = |kind: &str| event.with("type", text(kind));
    match draft.kind {
        Kind::Attended { tier, names_artist } => {
            let mut event = typed("concierto.event_attended").with("eventId", concert).with("city", text("Oslo"));
            if let Some(tier) = ["vip", "standing"].get(usize::from(tier)) {
                event = event.with("ticketTier", text(*tier));
            }
            if names_artist {
                event = event.with("artistIds", texts(&["a3", "a1", "a3"])).with("artistId", artist);
            }
            event
        }
        Kind::Scheduled { line_up } => {
            let ids: Vec<String> =
                (0..5).filter(|bit| line_up >> bit & 1 == 1).map(|bit| format!("a{bit}")).rev().collect();
            typed("concierto.event_scheduled").with("eventId", concert).with("artistIds", texts(&ids))
        }
        Kind::Money { kind, cents, currency, role, artist: has_artist, event: has_event } => {
            let kinds = ["money_spent", "money_refunded", "money_earned", "earning_reversed"];
            let mut event = typed(&format!("treasury.{}", kinds[usize::from(kind)])).with("amountCents", number(cents));
            if let Some(currency) = ["usd", "eur", "gbp", "jpy", "sek"].get(usize::from(currency)) {
                event = event.with("currency", text(*currency));
            }
            if kind >= 2 {
                event = event.with("role", text(["artist", "venue", "agent"][usize::from(role)]));
            }
            if has_artist {
                event = event.with("artistId", artist);
            }
            if has_event { event.with("eventId", concert) } else { event }
        }
        Kind::Vote { micro_weight } => {
            let event = typed("coliseum.vote_cast").with("artistId", artist).with("eventId", concert);
            match micro_weight {
                Some(weight) => {
                    event.with("weight", number(format!("{}.{:06}", weight / 1_000_000, weight % 1_000_000)))
                }
                None => event.with("artistIds", texts(&["not-credited"])),
            }
        }
        Kind::Played { tenths, is_older_client } => played(draft, event, tenths, is_older_client),
        Kind::Favorited => typed("player.track_favorited").with("trackId", track).with("artistId", artist),
        Kind::Follow { target } => {
            typed("social.follow").with("targetId", artist).with("targetType", text(TARGETS[usize::from(target)]))
        }
        Kind::Share { target, names_artist } => {
            let event = typed("social.share").with("targetId", text("a1")).with("platform", text("web"));
            let event = event.with("targetType", text(TARGETS[usize::from(target)]));
            if names_artist { event.with("artistId", artist) } else { event }
        }
        Kind::Profile { genres, city, name } => {
            let names = ["Ann", "Zoë \"Z\" <b>", "Ann", "林"];
            let mut event = typed("artist.profile_updated").with("artistId", artist);
            event = event.with("artistName", text(names[usize::from(name)]));
            if genres {
                event = event.with("genres", texts(&["pop", "folk"][..usize::from(name % 3)]));
            }
            if city { event.with("homeCity", text("Bergen")) } else { event }
        }
        Kind::Entitlement { plan } => typed("coliseum.entitlement_changed")
            .with("plan", text(["free", "basic", "pro", "enterprise"][usize::from(plan)])),
        Kind::Unknown => typed("venue.door_opened").with("artistId", artist).with("weight", text("heavy")),
    }
}

const TARGETS: [&str; 5] = ["artist", "user", "event", "venue", "track"];

fn played(draft: &Draft, event: Json, tenths: Option<u16>, is_older_client: bool) -> Json {
    let (artist, track) = (text(format!("a{}", draft.artist)), text(format!("t{}", draft.user)));
    let seconds = tenths.map(|tenths| number(format!("{}.{}", tenths / 10, tenths % 10)));
    if is_older_client {
        let mut data = object([("content_id", track), ("artist_id", artist), ("artist_name", text("No profile"))]);
        if let Some(seconds) = seconds {
            data = data.with("duration_seconds", seconds);
        }
        return event.without("type").with("eventType", text("audio_play")).with("eventData", data);
    }
    let mut event = event.with("type", text("player.track_played")).with("trackId", track).with("artistId", artist);
    if let Some(seconds) = seconds {
        event = event.with("durationSeconds", seconds);
    }
    event.with("genre", text("pop")).with("unknownField", Json::parse(r#"{"b":1.50,"a":[1e2,null]}"#).expect("JSON"))
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
