//! Reading the `[scoring]` table: defaults, checks, and messages that name the key and what it takes.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Multiplier, POINTS_DECIMALS, Rule, Rules, RulesError};
use crate::event::TargetType;
use crate::limits::{DURATION_SECONDS_MAX, EVENT_TYPE_BYTES_MAX, WORD_BYTES_MAX};
use crate::units::{Decimal, Domain};

/// The largest base delta, in points, either way.
const BASE_DELTA_POINTS_MAX: i128 = 1_000_000;
/// A rate or its inverse: from 10^-9 to 10^9, so that sums of ten million of the largest events fit 128 bits.
const RATE_MAX: i128 = 1_000_000_000;
const RATE_SMALLEST_SCALE: u32 = 9;
/// The largest multiplier of a ticket tier.
const TIER_MULTIPLIER_MAX: i128 = 1_000;

/// The type whose line-ups may come late; its rule is a default, so it always is there.
pub(super) const ATTENDED: &str = "concierto.event_attended";
const VOTE_CAST: &str = "coliseum.vote_cast";
const FOLLOW: &str = "social.follow";
const SHARE: &str = "social.share";
const EARNINGS: [&str; 2] = ["treasury.money_earned", "treasury.earning_reversed"];
const PAYMENTS: [&str; 2] = ["treasury.money_spent", "treasury.money_refunded"];

const DEFAULTS: &str = r#"
base_currency = "usd"
min_play_seconds = 30
[fx]
[rules."concierto.event_attended"]
t = 3
c = 10
multiplier = "ticket_tier"
ticket_tier = { vip = 1.5 }
[rules."treasury.money_spent"]
g = 1
multiplier = "amount"
[rules."treasury.money_refunded"]
g = -1
multiplier = "amount"
[rules."treasury.money_earned"]
g = 0.25
multiplier = "amount"
role = "artist"
[rules."treasury.earning_reversed"]
g = -0.25
multiplier = "amount"
role = "artist"
[rules."coliseum.vote_cast"]
a = 2
t = 1
multiplier = "weight"
[rules."player.track_played"]
a = 0.5
t = 1
[rules."player.track_favorited"]
a = 2
t = 1
[rules."social.follow"]
a = 2
t = 1
target_type = "artist"
[rules."social.share"]
a = 3
t = 1
c = 1
"#;

pub(super) const ANY: &str = "any";
const CURRENCY: &str = "takes three lower-case letters, such as \"usd\"";
const MULTIPLIERS: [(&str, Multiplier); 4] = [
    ("one", Multiplier::One),
    ("amount", Multiplier::Amount),
    ("weight", Multiplier::Weight),
    ("ticket_tier", Multiplier::TicketTier),
];
const TARGETS: [(&str, TargetType); 5] = [
    ("artist", TargetType::Artist),
    ("user", TargetType::User),
    ("event", TargetType::Event),
    ("venue", TargetType::Venue),
    ("track", TargetType::Track),
];

/// Lays the user's table over the defaults, and checks every key.
pub(super) fn read(scoring: &Table) -> Result<Rules, RulesError> {
    let mut table: Table = DEFAULTS.parse().expect("the defaults are TOML");
    merge(&mut table, scoring, "scoring")?;
    only_known(&table, &["base_currency", "min_play_seconds", "fx", "rules"], "scoring")?;
    let base_currency = text(&table["base_currency"], "scoring.base_currency", CURRENCY, is_currency)?;
    let seconds_key = "scoring.min_play_seconds";
    let min_play_seconds = table["min_play_seconds"]
        .as_integer()
        .filter(|seconds| (0..=DURATION_SECONDS_MAX).contains(&i128::from(*seconds)))
        .ok_or_else(|| wrong(seconds_key, "takes whole seconds, 0 to 86400", &table["min_play_seconds"]))?;
    let fx = read_rates(&table["fx"], &base_currency)?;
    let mut rules = BTreeMap::new();
    for (event_type, value) in inner(&table["rules"], "scoring.rules")? {
        let rule = read_rule(event_type, value)?;
        rules.insert(rule.event_type.clone(), rule);
    }
    Ok(Rules { base_currency, min_play_seconds: min_play_seconds as u32, fx, rules })
}

/// As a TOML basic string, whose escapes are JSON's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
pub(super) fn multiplier_name(multiplier: Multiplier) -> &'static str {
    MULTIPLIERS[multiplier as usize].0
}
pub(super) fn target_name(target: TargetType) -> &'static str {
    TARGETS[target as usize].0
}
pub(super) fn takes_role(event_type: &str) -> bool {
    EARNINGS.contains(&event_type)
}
pub(super) fn takes_target(event_type: &str) -> bool {
    [FOLLOW, SHARE].contains(&event_type)
}
fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_event_type(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.len() <= EVENT_TYPE_BYTES_MAX && text.contains('.') && text.split('.').all(part)
}

fn wrong(key: &str, takes: &str, got: &Value) -> RulesError {
    RulesError { key: key.into(), problem: format!("{takes}; it is {got}") }
}

pub(super) fn inner<'t>(value: &'t Value, key: &str) -> Result<&'t Table, RulesError> {
    value.as_table().ok_or_else(|| wrong(key, "takes a table", value))
}

fn text(value: &Value, key: &str, takes: &str, check: fn(&str) -> bool) -> Result<String, RulesError> {
    let text = value.as_str().filter(|text| check(text));
    text.map(String::from).ok_or_else(|| wrong(key, takes, value))
}

/// Lays the user's keys over the defaults, table by table.
fn merge(defaults: &mut Table, user: &Table, path: &str) -> Result<(), RulesError> {
    for (key, value) in user {
        let path = if key.contains('.') { format!("{path}.\"{key}\"") } else { format!("{path}.{key}") };
        match (defaults.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over, &path)?,
            (Some(Value::Table(_)), other) => return Err(wrong(&path, "takes a table", other)),
            (_, value) => {
                defaults.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn only_known(table: &Table, known: &[&str], path: &str) -> Result<(), RulesError> {
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(name, unknown));
    let nearest = nearest.expect("every table knows a key");
    Err(RulesError { key: format!("{path}.{unknown}"), problem: format!("no such key; the nearest is `{nearest}`") })
}

/// A number as its shortest decimal: the float 1.08 is exactly 1.08.
fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Integer(whole) => Some(Decimal::new(i128::from(*whole), 0)),
        Value::Float(float) if float.is_finite() => Decimal::parse(&float.to_string()).map(Decimal::normalized),
        _ => None,
    }
}

fn read_rates(value: &Value, base_currency: &str) -> Result<BTreeMap<String, Decimal>, RulesError> {
    let mut rates = BTreeMap::new();
    for (currency, value) in inner(value, "scoring.fx")? {
        let key = format!("scoring.fx.{currency}");
        if !is_currency(currency) {
            return Err(RulesError { key, problem: format!("the key {CURRENCY}") });
        }
        let rate = decimal(value).filter(|rate| {
            let smallest = 10i128.pow(rate.scale().saturating_sub(RATE_SMALLEST_SCALE));
            rate.scale() <= 36 && rate.mantissa() >= smallest && rate.mantissa() / 10i128.pow(rate.scale()) <= RATE_MAX
        });
        let takes = "takes units of the base currency for one unit, a number from 1e-9 to 1e9";
        let rate = rate.ok_or_else(|| wrong(&key, takes, value))?;
        if currency == base_currency && rate != Decimal::ONE {
            return Err(wrong(&key, "is the base currency, whose rate is 1", value));
        }
        if currency != base_currency {
            rates.insert(currency.clone(), rate);
        }
    }
    Ok(rates)
}

fn read_rule(event_type: &str, value: &Value) -> Result<Rule, RulesError> {
    let path = format!("scoring.rules.\"{event_type}\"");
    if !is_event_type(event_type) {
        let problem = "the key takes an event type: `category.name`, lower case, at most 64 bytes".into();
        return Err(RulesError { key: path, problem });
    }
    let table = inner(value, &path)?;
    let known =
        ["a", "t", "g", "c", "multiplier", "multiplier_domains", "ticket_tier", "role", "target_type"].as_slice();
    only_known(table, known, &path)?;
    let mut base = [0i64; 4];
    for domain in Domain::ALL {
        let Some(value) = table.get(domain.lower()) else { continue };
        let key = format!("{path}.{}", domain.lower());
        let micro_points = decimal(value)
            .and_then(|points| points.at_scale(POINTS_DECIMALS))
            .filter(|micro| micro.abs() <= BASE_DELTA_POINTS_MAX * 1_000_000);
        let takes = "takes points from -1000000 to 1000000 with at most 6 decimals";
        base[domain.index()] = micro_points.ok_or_else(|| wrong(&key, takes, value))? as i64;
    }
    let multiplier = read_multiplier(event_type, table, &path)?;
    Ok(Rule {
        event_type: event_type.into(),
        base,
        multiplier,
        multiplied: read_multiplied(multiplier, table, &path)?,
        ticket_tiers: read_tiers(event_type, table, &path)?,
        role: read_role(event_type, table, &path)?,
        target_type: read_target(event_type, table, &path)?,
    })
}

fn read_multiplier(event_type: &str, table: &Table, path: &str) -> Result<Multiplier, RulesError> {
    let Some(value) = table.get("multiplier") else { return Ok(Multiplier::One) };
    let (own, takes) = match event_type {
        ATTENDED => (Some(Multiplier::TicketTier), "takes \"one\" or \"ticket_tier\""),
        VOTE_CAST => (Some(Multiplier::Weight), "takes \"one\" or \"weight\""),
        money if EARNINGS.contains(&money) || PAYMENTS.contains(&money) => {
            (Some(Multiplier::Amount), "takes \"one\" or \"amount\"")
        }
        _ => (None, "takes \"one\" for events of this type"),
    };
    let named = MULTIPLIERS.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(_, multiplier)| *multiplier);
    named
        .filter(|multiplier| *multiplier == Multiplier::One || Some(*multiplier) == own)
        .ok_or_else(|| wrong(&format!("{path}.multiplier"), takes, value))
}

fn read_multiplied(multiplier: Multiplier, table: &Table, path: &str) -> Result<[bool; 4], RulesError> {
    let Some(value) = table.get("multiplier_domains") else {
        return Ok(if multiplier == Multiplier::Weight { [true, false, false, false] } else { [true; 4] });
    };
    let bad = || wrong(&format!("{path}.multiplier_domains"), "takes a list of \"A\", \"T\", \"G\", \"C\"", value);
    let mut multiplied = [false; 4];
    for letter in value.as_array().ok_or_else(bad)? {
        let domain = Domain::ALL.into_iter().find(|domain| letter.as_str() == Some(domain.upper()));
        multiplied[domain.ok_or_else(bad)?.index()] = true;
    }
    Ok(multiplied)
}

fn read_tiers(event_type: &str, table: &Table, path: &str) -> Result<BTreeMap<String, Decimal>, RulesError> {
    let Some(value) = table.get("ticket_tier") else { return Ok(BTreeMap::new()) };
    let path = format!("{path}.ticket_tier");
    if event_type != ATTENDED {
        return Err(wrong(&path, &format!("belongs to the rule of {ATTENDED} only"), value));
    }
    let mut tiers = BTreeMap::new();
    for (tier, value) in inner(value, &path)? {
        let key = format!("{path}.{tier}");
        if tier.is_empty() || tier.len() > WORD_BYTES_MAX || tier.chars().any(char::is_control) {
            return Err(RulesError { key, problem: "the key takes a ticket tier of 1 to 32 bytes".into() });
        }
        let multiplier = decimal(value).filter(|multiplier| {
            let micro = multiplier.at_scale(POINTS_DECIMALS);
            micro.is_some_and(|micro| (0..=TIER_MULTIPLIER_MAX * 1_000_000).contains(&micro))
        });
        let takes = "takes a multiplier from 0 to 1000 with at most 6 decimals";
        tiers.insert(tier.clone(), multiplier.ok_or_else(|| wrong(&key, takes, value))?);
    }
    Ok(tiers)
}

fn read_role(event_type: &str, table: &Table, path: &str) -> Result<Option<String>, RulesError> {
    let Some(value) = table.get("role") else { return Ok(None) };
    let key = format!("{path}.role");
    if !takes_role(event_type) {
        return Err(wrong(&key, "belongs to the rules of earnings and their reversals only", value));
    }
    let role = text(value, &key, "takes a role of 1 to 32 bytes, or \"any\"", |role| {
        !role.is_empty() && role.len() <= WORD_BYTES_MAX && !role.chars().any(|c| c.is_control() || "\"\\".contains(c))
    })?;
    Ok((role != ANY).then_some(role))
}

fn read_target(event_type: &str, table: &Table, path: &str) -> Result<Option<TargetType>, RulesError> {
    let Some(value) = table.get("target_type") else { return Ok(None) };
    let key = format!("{path}.target_type");
    if !takes_target(event_type) {
        return Err(wrong(&key, "belongs to the rules of follows and shares only", value));
    }
    if value.as_str() == Some(ANY) {
        return Ok(None);
    }
    let target = TARGETS.iter().find(|(name, _)| value.as_str() == Some(name)).map(|(_, target)| *target);
    let takes = "takes \"artist\", \"user\", \"event\", \"venue\", \"track\" or \"any\"";
    target.map(Some).ok_or_else(|| wrong(&key, takes, value))
}
