//! What the value of a field may be: each rule reads a value, or says what it expected instead.

use std::borrow::Cow;

use super::number::decimal;
use super::scan::{Kind, Value};
use super::time::parse_rfc3339;
use super::{Currency, Plan, TargetType};
use crate::limits::{
    AMOUNT_CENTS_MAX, ARTIST_IDS_MAX, DURATION_SECONDS_MAX, EVENT_TYPE_BYTES_MAX, GENRES_MAX, ID_BYTES_MAX,
    LEADERBOARD_DEPTH_MAX, TEXT_BYTES_MAX, VOTE_WEIGHT_MAX, WORD_BYTES_MAX,
};
use crate::units::{Decimal, Domain, Timestamp};

/// Decimals of a vote's weight: micro-points hold no more.
const WEIGHT_DECIMALS_MAX: u32 = 6;
/// Decimals of a duration: as many as leave room for its whole seconds in 128 bits.
const SECONDS_DECIMALS_MAX: u32 = 30;

/// What a rule expected instead of the value, or instead of one item of the list that it is.
pub(super) struct Misfit {
    pub expected: &'static str,
    pub item: Option<usize>,
}

impl From<&'static str> for Misfit {
    fn from(expected: &'static str) -> Misfit {
        Misfit { expected, item: None }
    }
}

type Read<T> = Result<T, Misfit>;

/// The name of an event's type: `category.name`.
pub(super) fn event_type(value: Value<'_>) -> Read<Cow<'_, str>> {
    let well_formed = |name: &str| {
        let part = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_lowercase())
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let mut parts = name.split('.');
        name.len() <= EVENT_TYPE_BYTES_MAX && name.contains('.') && parts.all(part)
    };
    string_where(value, well_formed, "a type as `category.name` of a-z, 0-9 and _, at most 64 bytes")
}

/// An id: 1 to 128 bytes without control characters.
pub(super) fn id(value: Value<'_>) -> Read<Cow<'_, str>> {
    string_where(value, is_id, "a string of 1 to 128 bytes without control characters")
}

/// The name of a session or a device: as an id, but it may be empty.
pub(super) fn label(value: Value<'_>) -> Read<Cow<'_, str>> {
    let fits = |label: &str| label.is_empty() || is_id(label);
    string_where(value, fits, "a string of at most 128 bytes without control characters")
}

/// Where an event came from: at most 32 bytes without control characters.
pub(super) fn source(value: Value<'_>) -> Read<Cow<'_, str>> {
    let fits = |source: &str| source.is_empty() || is_word(source);
    string_where(value, fits, "a string of at most 32 bytes without control characters")
}

fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A word that has well-known values and may be another: 1 to 32 bytes without control characters.
pub(super) fn word(value: Value<'_>) -> Read<Cow<'_, str>> {
    string_where(value, is_word, "a string of 1 to 32 bytes without control characters")
}

/// Free text, perhaps empty.
pub(super) fn text(value: Value<'_>) -> Read<Cow<'_, str>> {
    string_where(value, |text| text.len() <= TEXT_BYTES_MAX, "a string of at most 1024 bytes")
}

/// Free text with something in it.
pub(super) fn full_text(value: Value<'_>) -> Read<Cow<'_, str>> {
    string_where(value, |text| (1..=TEXT_BYTES_MAX).contains(&text.len()), "a string of 1 to 1024 bytes")
}

/// When an event is to start: a time, kept as it is written.
pub(super) fn starts_at(value: Value<'_>) -> Read<Cow<'_, str>> {
    string_where(value, |text| parse_rfc3339(text).is_some(), "an RFC 3339 time with offset")
}

/// A currency: three lower-case letters.
pub(super) fn currency(value: Value<'_>) -> Read<Cow<'_, str>> {
    string_where(value, |code| Currency::of(code).is_some(), "three lower-case letters, such as `usd`")
}

/// RFC 3339 with an offset.
pub(super) fn timestamp(value: Value<'_>) -> Read<Timestamp> {
    let time = value.string().and_then(|text| parse_rfc3339(&text));
    time.ok_or("an RFC 3339 time with offset, such as `2026-05-01T20:15:00Z`, of the years 0001 to 9999".into())
}

/// The same, and how it is spelled, where that is without escapes.
pub(super) fn timestamp_and_text(value: Value<'_>) -> Read<(Timestamp, Option<&str>)> {
    Ok((timestamp(value)?, value.plain_string()))
}

/// Money: an integer of cents, 1 to 10^12, however it is spelled (`1e2`, `100.0`).
pub(super) fn cents(value: Value<'_>) -> Read<i64> {
    let cents = integer(value).filter(|cents| (1..=AMOUNT_CENTS_MAX).contains(cents));
    cents.and_then(|cents| i64::try_from(cents).ok()).ok_or("an integer from 1 to 1000000000000".into())
}

/// The weight of a vote: over 0 to 1000, at most 6 decimals.
pub(super) fn weight(value: Value<'_>) -> Read<Decimal> {
    let unit = 10i128.pow(WEIGHT_DECIMALS_MAX);
    let millionths = value.number().and_then(decimal).and_then(|weight| weight.at_scale(WEIGHT_DECIMALS_MAX));
    let fits = millionths.filter(|weight| (1..=VOTE_WEIGHT_MAX * unit).contains(weight));
    let weight = fits.map(|weight| Decimal::new(weight, WEIGHT_DECIMALS_MAX).normalized());
    weight.ok_or("a number over 0 to 1000 with at most 6 decimals".into())
}

/// The length of a play: 0 to 86400 seconds.
pub(super) fn seconds(value: Value<'_>) -> Read<Decimal> {
    let fits = |seconds: &Decimal| {
        let most = DURATION_SECONDS_MAX * 10i128.pow(seconds.scale());
        (0..=most).contains(&seconds.mantissa())
    };
    let seconds = value.number().and_then(decimal).filter(|seconds| seconds.scale() <= SECONDS_DECIMALS_MAX);
    seconds.filter(fits).ok_or("a number from 0 to 86400 with at most 30 decimals".into())
}

/// How many positions of a board a user may see: an integer from 0 to 2^53.
pub(super) fn depth(value: Value<'_>) -> Read<u64> {
    let depth = integer(value).filter(|depth| (0..=i128::from(LEADERBOARD_DEPTH_MAX)).contains(depth));
    depth.and_then(|depth| u64::try_from(depth).ok()).ok_or("an integer from 0 to 9007199254740992".into())
}

/// What a follow or a share points at: a closed list.
pub(super) fn target_type(value: Value<'_>) -> Read<TargetType> {
    match value.string().as_deref() {
        Some("artist") => Ok(TargetType::Artist),
        Some("user") => Ok(TargetType::User),
        Some("event") => Ok(TargetType::Event),
        Some("venue") => Ok(TargetType::Venue),
        Some("track") => Ok(TargetType::Track),
        _ => Err("one of `artist`, `user`, `event`, `venue`, `track`".into()),
    }
}

/// A user's plan: a closed list.
pub(super) fn plan(value: Value<'_>) -> Read<Plan> {
    match value.string().as_deref() {
        Some("free") => Ok(Plan::Free),
        Some("basic") => Ok(Plan::Basic),
        Some("pro") => Ok(Plan::Pro),
        Some("enterprise") => Ok(Plan::Enterprise),
        _ => Err("one of `free`, `basic`, `pro`, `enterprise`".into()),
    }
}

/// A list of up to 100 ids.
pub(super) fn ids(value: Value<'_>) -> Read<Vec<Cow<'_, str>>> {
    list(value, 0..=ARTIST_IDS_MAX, "a list of at most 100 ids", id)
}

/// A list of 1 to 100 ids.
pub(super) fn some_ids(value: Value<'_>) -> Read<Vec<Cow<'_, str>>> {
    list(value, 1..=ARTIST_IDS_MAX, "a list of 1 to 100 ids", id)
}

/// A list of up to 100 names of genres.
pub(super) fn genres(value: Value<'_>) -> Read<Vec<Cow<'_, str>>> {
    list(value, 0..=GENRES_MAX, "a list of at most 100 strings", text)
}

/// Domains by their letters, each once.
pub(super) fn domains(value: Value<'_>) -> Read<Vec<Cow<'_, str>>> {
    const EACH_ONCE: &str = "a list of `A`, `T`, `G`, `C`, each at most once";
    let letter = |value| {
        let known = |letter: &str| Domain::ALL.iter().any(|domain| domain.upper() == letter);
        string_where(value, known, "one of `A`, `T`, `G`, `C`")
    };
    let domains = list(value, 0..=Domain::ALL.len(), EACH_ONCE, letter)?;
    match (1..domains.len()).find(|&place| domains[..place].contains(&domains[place])) {
        Some(repeated) => Err(Misfit { expected: "a domain that is not in the list before", item: Some(repeated) }),
        None => Ok(domains),
    }
}

fn list<'a, T>(
    value: Value<'a>,
    count: std::ops::RangeInclusive<usize>,
    expected: &'static str,
    item: impl Fn(Value<'a>) -> Read<T>,
) -> Read<Vec<T>> {
    // Counted before anything is read: a hostile list may have thousands of items.
    if value.kind != Kind::Array || !count.contains(&value.items().take(count.end() + 1).count()) {
        return Err(expected.into());
    }
    let read = |(place, value)| item(value).map_err(|misfit| Misfit { item: Some(place), ..misfit });
    value.items().enumerate().map(read).collect()
}

/// An integer by its value: `100.0` and `1e2` are one, `12.5` is none.
fn integer(value: Value<'_>) -> Option<i128> {
    value.number().and_then(decimal)?.at_scale(0)
}

fn is_id(text: &str) -> bool {
    // Without an early end, so that the compiler looks at many bytes at once.
    let printable_ascii = text.bytes().fold(true, |all, byte| all & (0x20..0x7F).contains(&byte));
    (1..=ID_BYTES_MAX).contains(&text.len()) && (printable_ascii || !text.contains(char::is_control))
}

fn string_where<'a>(value: Value<'a>, fits: impl FnOnce(&str) -> bool, expected: &'static str) -> Read<Cow<'a, str>> {
    value.string().filter(|text| fits(text)).ok_or(Misfit::from(expected))
}
