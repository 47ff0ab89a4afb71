//! SPEC 1 and 1.1 as a table: which fields a type has, and what each may hold.

use super::decimal::Decimal;
use super::json::Json;
use super::time;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Holds {
    /// 1 to 128 bytes, no control character.
    Id,
    /// 1 to 32 bytes, any word.
    Word,
    /// One of these.
    Closed(&'static [&'static str]),
    /// Free text.
    Text,
    /// 1 to 100 ids.
    LineUp,
    Ids,
    Texts,
    /// An integer from 1 to 10^12.
    Cents,
    /// Three lower-case letters.
    Currency,
    /// Over 0 to 1000, at most 6 decimals.
    Weight,
    /// 0 to 86400.
    Duration,
    Integer,
    Time,
}
use Holds::*;

pub struct Field {
    pub name: &'static str,
    pub required: bool,
    pub holds: Holds,
}

const fn must(name: &'static str, holds: Holds) -> Field {
    Field { name, required: true, holds }
}
const fn may(name: &'static str, holds: Holds) -> Field {
    Field { name, required: false, holds }
}

pub const TARGETS: &[&str] = &["artist", "user", "event", "venue", "track"];
pub const PLANS: &[&str] = &["free", "basic", "pro", "enterprise"];

const SPENT: &[Field] = &[
    must("amountCents", Cents),
    may("currency", Currency),
    may("reason", Word),
    may("eventId", Id),
    may("artistId", Id),
    may("stripePaymentIntentId", Id),
];
const EARNED: &[Field] = &[
    must("amountCents", Cents),
    may("currency", Currency),
    may("role", Word),
    may("earnSource", Word),
    may("source", Word),
    may("eventId", Id),
    may("artistId", Id),
    may("stripeTransferId", Id),
];

/// Every type of the catalogue with its row of fields.
pub const CATALOGUE: &[(&str, &[Field])] = &[
    (
        "concierto.event_attended",
        &[must("eventId", Id), must("city", Text), may("ticketTier", Word), may("artistId", Id), may("artistIds", Ids)],
    ),
    ("treasury.money_spent", SPENT),
    ("treasury.money_refunded", SPENT),
    ("treasury.money_earned", EARNED),
    ("treasury.earning_reversed", EARNED),
    ("coliseum.vote_cast", &[must("artistId", Id), must("eventId", Id), may("weight", Weight), may("channel", Word)]),
    (
        "player.track_played",
        &[
            must("trackId", Id),
            must("artistId", Id),
            may("durationSeconds", Duration),
            may("genre", Text),
            may("city", Text),
        ],
    ),
    ("player.track_favorited", &[must("trackId", Id), must("artistId", Id)]),
    ("social.follow", &[must("targetId", Id), must("targetType", Closed(TARGETS))]),
    (
        "social.share",
        &[must("targetId", Id), must("targetType", Closed(TARGETS)), must("platform", Word), may("artistId", Id)],
    ),
    (
        "artist.profile_updated",
        &[must("artistId", Id), must("artistName", Text), may("genres", Texts), may("homeCity", Text)],
    ),
    (
        "concierto.event_scheduled",
        &[must("eventId", Id), must("artistIds", LineUp), may("city", Text), may("name", Text), may("startsAt", Time)],
    ),
    (
        "coliseum.entitlement_changed",
        &[
            must("plan", Closed(PLANS)),
            may("domains", Texts),
            may("leaderboardDepth", Integer),
            may("expiresAt", Time),
            may("stripeSubscriptionId", Id),
        ],
    ),
];

const ENVELOPE: &[Field] = &[
    must("userId", Id),
    must("at", Time),
    may("messageId", Id),
    may("sessionId", Id),
    may("deviceId", Id),
    may("sentAt", Time),
];

/// The row of a type; nothing for an unknown one.
pub fn row(kind: &str) -> &'static [Field] {
    CATALOGUE.iter().find(|(name, _)| *name == kind).map_or(&[], |(_, fields)| fields)
}

/// The JSON Pointer of the first thing that is wrong with an event, in the order type, envelope, row.
pub fn first_fault(event: &Json) -> Option<String> {
    let kind = match event.present("type") {
        Some(Json::Text(kind)) if is_type(kind) => kind,
        _ => return Some("/type".to_owned()),
    };
    let is_earning = row(kind).iter().any(|field| field.name == "source");
    let source = may("source", Holds::Word);
    let envelope = ENVELOPE.iter().chain((!is_earning).then_some(&source));
    for field in envelope.chain(row(kind)) {
        match event.present(field.name) {
            None if field.required => return Some(format!("/{}", field.name)),
            None => {}
            Some(value) => {
                if let Some(below) = fault_of(value, field.holds) {
                    return Some(format!("/{}{below}", field.name));
                }
            }
        }
    }
    None
}

/// `^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`, at most 64 bytes.
fn is_type(kind: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    kind.len() <= 64 && kind.contains('.') && kind.split('.').all(is_part)
}

/// Where below the field the fault lies: empty for the field itself, `/2` for the third item of a list.
fn fault_of(value: &Json, holds: Holds) -> Option<String> {
    let fault = |is_good: bool| (!is_good).then(String::new);
    let first_bad_item = |items: &[Json], holds: Holds| {
        let bad = |item: &Json| fault_of(item, holds).is_some();
        items.iter().position(bad).map(|index| format!("/{index}"))
    };
    match (holds, value) {
        (Id, Json::Text(id)) => fault((1..=128).contains(&id.len()) && !id.chars().any(char::is_control)),
        (Word, Json::Text(word)) => fault((1..=32).contains(&word.len()) && !word.chars().any(char::is_control)),
        (Closed(words), Json::Text(word)) => fault(words.contains(&word.as_str())),
        (Text, Json::Text(_)) => None,
        (LineUp, Json::List(items)) if !(1..=100).contains(&items.len()) => Some(String::new()),
        (LineUp | Ids, Json::List(items)) => first_bad_item(items, Id),
        (Texts, Json::List(items)) => first_bad_item(items, Text),
        (Currency, Json::Text(code)) => fault(code.len() == 3 && code.bytes().all(|b| b.is_ascii_lowercase())),
        (Time, Json::Text(text)) => fault(time::parse(text).is_some()),
        (Cents | Weight | Duration | Integer, Json::Number(digits)) => {
            fault(Decimal::parse(digits).is_some_and(|number| is_within(number, holds)))
        }
        _ => Some(String::new()),
    }
}

fn is_within(number: Decimal, holds: Holds) -> bool {
    let over = |bound: i128| Decimal::new(bound, 0).minus(number).is_negative();
    match holds {
        Cents => number.decimals() == 0 && !number.is_negative() && !number.is_zero() && !over(1_000_000_000_000),
        Weight => number.decimals() <= 6 && !number.is_negative() && !number.is_zero() && !over(1000),
        Duration => !number.is_negative() && !over(86_400),
        _ => number.decimals() == 0 && !number.is_negative(),
    }
}
