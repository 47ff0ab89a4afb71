//! Random streams of events: what happens, when, to whom, and in which order.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::model::time::{DAY, MINUTE, SECOND};

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Attended { tier: u8, names_artist: bool, city: u8 },
    Scheduled { line_up: u8, name: u8 },
    Money { kind: u8, cents: u32, currency: u8, role: u8, artist: bool, event: bool },
    Vote { micro_weight: Option<u32> },
    Played { tenths: Option<u16>, is_older_client: bool, genre: u8, city: u8 },
    Favorited,
    Follow { target: u8 },
    Share { target: u8, names_artist: bool },
    Profile { genres: u8, city: bool, name: u8 },
    Entitlement { plan: u8, domains: u8, depth: Option<u8>, ends_in_minutes: Option<i16> },
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub enum Age {
    Seconds(u16),
    Minutes(u16),
    /// Around the minute at which an event leaves a window of so many days.
    Edge {
        days: u16,
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
        4 => (0..4u8, any::<bool>(), 0..24u8)
            .prop_map(|(tier, names_artist, city)| Kind::Attended { tier, names_artist, city }),
        3 => (1..32u8, 0..4u8).prop_map(|(line_up, name)| Kind::Scheduled { line_up, name }),
        4 => (0..4u8, 1..200_000u32, 0..6u8, 0..5u8, any::<bool>(), any::<bool>()).prop_map(
            |(kind, cents, currency, role, artist, event)| Kind::Money { kind, cents, currency, role, artist, event }
        ),
        4 => proptest::option::of(1..1_000_000_001u32).prop_map(|micro_weight| Kind::Vote { micro_weight }),
        4 => (proptest::option::of(0..600u16), proptest::bool::weighted(0.3), 0..7u8, 0..32u8)
            .prop_map(|(tenths, is_older_client, genre, city)| Kind::Played { tenths, is_older_client, genre, city }),
        2 => Just(Kind::Favorited),
        2 => (0..5u8).prop_map(|target| Kind::Follow { target }),
        2 => (0..5u8, any::<bool>()).prop_map(|(target, names_artist)| Kind::Share { target, names_artist }),
        2 => (0..7u8, any::<bool>(), 0..4u8).prop_map(|(genres, city, name)| Kind::Profile { genres, city, name }),
        1 => (0..4u8, 0..8u8, proptest::option::of(0..60u8), proptest::option::of(-600..3000i16)).prop_map(
            |(plan, domains, depth, ends_in_minutes)| Kind::Entitlement { plan, domains, depth, ends_in_minutes }
        ),
        1 => Just(Kind::Unknown),
    ]
}

fn age() -> impl Strategy<Value = Age> {
    // The windows, the ones before them, a day earlier, and the years and days of analytics.
    let days = proptest::sample::select(&[1u16, 7, 7, 8, 14, 30, 30, 31, 60, 365][..]);
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
    (kind(), age(), key, fault, 0..12u8, 0..5u8, 0..3u8, any::<bool>(), skew).prop_map(
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
