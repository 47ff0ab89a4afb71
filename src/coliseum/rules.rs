//! The scoring rules: the `[scoring]` table of the configuration, checked, with SPEC's defaults under it.
//!
//! ```toml
//! [scoring]
//! base_currency = "usd"        # three lower-case letters
//! min_play_seconds = 30        # plays that say they are shorter score nothing
//! [scoring.fx]
//! eur = 1.08                   # base-currency units for one unit
//! [scoring.rules."coliseum.vote_cast"]
//! a = 2                        # points; t, g and c likewise
//! multiplier = "weight"        # one, amount, weight, ticket_tier
//! multiplier_domains = ["A"]   # the others are multiplied by one
//! ```
//! A key that is missing takes its default, of a rule and of its `ticket_tier` table too; a type that has no default
//! rule starts from zeros. A value of [`Rules`] always passed every check, so nothing after it can overflow or divide
//! by zero. A change of any rule changes [`Rules::version`], and with it the projection is rebuilt.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::sync::Arc;

use serde::de::Error as _;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use toml::{Table, Value};

use crate::event::TargetType;
use crate::limits::{DURATION_SECONDS_MAX, EVENT_TYPE_BYTES_MAX, WORD_BYTES_MAX};
use crate::units::{Decimal, Domain};

/// The largest base delta, in points, either way.
pub const BASE_DELTA_POINTS_MAX: i128 = 1_000_000;
/// A rate or its inverse: from 10^-9 to 10^9, so that sums of ten million of the largest events fit 128 bits.
pub const RATE_MAX: i128 = 1_000_000_000;
const RATE_SMALLEST_SCALE: u32 = 9;
/// The largest multiplier of a ticket tier.
pub const TIER_MULTIPLIER_MAX: i128 = 1_000;
/// Decimals of a base delta and of a tier's multiplier.
const POINTS_DECIMALS: u32 = 6;

const ATTENDED: &str = "concierto.event_attended";
const VOTE_CAST: &str = "coliseum.vote_cast";
const TRACK_PLAYED: &str = "player.track_played";
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

/// A key of `[scoring]` that cannot be used: which one, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct RulesError {
    /// `scoring.fx.eur`, `scoring.rules."social.share".a`.
    pub key: String,
    pub problem: String,
}

/// What the base deltas of a rule are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplier {
    One,
    /// Money in major units (cents / 100) of the base currency.
    Amount,
    /// The weight of a vote.
    Weight,
    /// By the rule's table; a tier that is not in it is one.
    TicketTier,
}

/// How events of one type score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    event_type: Arc<str>,
    /// In micro-points.
    base: [i64; 4],
    multiplier: Multiplier,
    multiplied: [bool; 4],
    ticket_tiers: BTreeMap<String, Decimal>,
    /// `None`: any role.
    role: Option<String>,
    /// `None`: any target.
    target_type: Option<TargetType>,
}

impl Rule {
    /// The type it scores, which is also its name in mutations.
    pub fn event_type(&self) -> &Arc<str> {
        &self.event_type
    }
    /// Micro-points before the multiplier.
    pub fn base_micro_points(&self, domain: Domain) -> i64 {
        self.base[domain.index()]
    }
    pub fn base_delta(&self, domain: Domain) -> Decimal {
        Decimal::new(i128::from(self.base[domain.index()]), POINTS_DECIMALS)
    }
    pub fn multiplier(&self) -> Multiplier {
        self.multiplier
    }
    /// Whether the multiplier acts on this domain; if not, it is one there.
    pub fn multiplies(&self, domain: Domain) -> bool {
        self.multiplied[domain.index()]
    }
    pub fn tier_multiplier(&self, ticket_tier: Option<&str>) -> Decimal {
        ticket_tier.and_then(|tier| self.ticket_tiers.get(tier)).copied().unwrap_or(Decimal::ONE)
    }
    pub fn takes_role(&self, role: Option<&str>) -> bool {
        self.role.as_deref().is_none_or(|wanted| role == Some(wanted))
    }
    pub fn takes_target(&self, target_type: TargetType) -> bool {
        self.target_type.is_none_or(|wanted| wanted == target_type)
    }
}

/// Every rule, with the rates and limits that they use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    base_currency: String,
    min_play_seconds: u32,
    fx: BTreeMap<String, Decimal>,
    rules: BTreeMap<Arc<str>, Rule>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules::from_toml(&Table::new()).expect("the defaults pass their own checks")
    }
}

impl<'de> serde::Deserialize<'de> for Rules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Rules, D::Error> {
        Rules::from_toml(&Table::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Rules {
    /// Reads the `[scoring]` table over the defaults.
    ///
    /// # Errors
    /// Names the first key that is unknown, ill-typed or out of range, and says what it takes.
    pub fn from_toml(scoring: &Table) -> Result<Rules, RulesError> {
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

    /// The rule that scores a type, if one does.
    pub fn rule(&self, event_type: &str) -> Option<&Rule> {
        self.rules.get(event_type)
    }
    /// In the order of their types.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }
    pub fn base_currency(&self) -> &str {
        &self.base_currency
    }
    pub fn min_play_seconds(&self) -> u32 {
        self.min_play_seconds
    }
    /// Base-currency units for one unit; one for the base currency itself, `None` where no rate is set.
    pub fn rate(&self, currency: &str) -> Option<Decimal> {
        if currency == self.base_currency { Some(Decimal::ONE) } else { self.fx.get(currency).copied() }
    }

    /// Every key with its value, as TOML that reads back to the same rules, in one canonical order.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let line = |out: &mut String, text: std::fmt::Arguments<'_>| {
            out.write_fmt(text).expect("a String takes every write");
            out.push('\n');
        };
        line(&mut out, format_args!("[scoring]\nbase_currency = \"{}\"", self.base_currency));
        line(&mut out, format_args!("min_play_seconds = {}\n\n[scoring.fx]", self.min_play_seconds));
        for (currency, rate) in &self.fx {
            line(&mut out, format_args!("{currency} = {rate}"));
        }
        for rule in self.rules.values() {
            line(&mut out, format_args!("\n[scoring.rules.\"{}\"]", rule.event_type));
            for domain in Domain::ALL {
                line(&mut out, format_args!("{} = {}", domain.lower(), rule.base_delta(domain)));
            }
            line(&mut out, format_args!("multiplier = \"{}\"", multiplier_name(rule.multiplier)));
            let domains: Vec<String> =
                Domain::ALL.iter().filter(|d| rule.multiplies(**d)).map(|d| format!("\"{}\"", d.upper())).collect();
            line(&mut out, format_args!("multiplier_domains = [{}]", domains.join(", ")));
            if !rule.ticket_tiers.is_empty() {
                let tiers: Vec<String> =
                    rule.ticket_tiers.iter().map(|(tier, by)| format!("{} = {by}", quoted(tier))).collect();
                line(&mut out, format_args!("ticket_tier = {{ {} }}", tiers.join(", ")));
            }
            if takes_role(&rule.event_type) {
                line(&mut out, format_args!("role = \"{}\"", rule.role.as_deref().unwrap_or(ANY)));
            }
            if takes_target(&rule.event_type) {
                line(&mut out, format_args!("target_type = \"{}\"", rule.target_type.map_or(ANY, target_name)));
            }
        }
        out
    }

    /// Reads what [`Rules::to_toml`] wrote.
    ///
    /// # Errors
    /// As [`Rules::from_toml`], and for text that is no TOML.
    pub fn parse_toml(text: &str) -> Result<Rules, RulesError> {
        let not_toml = |problem: String| RulesError { key: "scoring".into(), problem };
        let table: Table = text.parse().map_err(|error: toml::de::Error| not_toml(error.to_string()))?;
        let scoring = table.get("scoring").ok_or_else(|| not_toml("the table is missing".into()))?;
        Rules::from_toml(inner(scoring, "scoring")?)
    }

    /// A name that changes with any rule: 32 hex digits.
    pub fn version(&self) -> String {
        let mut hasher = SipHasher24::new();
        hasher.write(self.to_toml().as_bytes());
        format!("{:032x}", hasher.finish128().as_u128())
    }
}

const ANY: &str = "any";
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

/// As a TOML basic string, whose escapes are JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
fn multiplier_name(multiplier: Multiplier) -> &'static str {
    MULTIPLIERS[multiplier as usize].0
}
fn target_name(target: TargetType) -> &'static str {
    TARGETS[target as usize].0
}
fn takes_role(event_type: &str) -> bool {
    EARNINGS.contains(&event_type)
}
fn takes_target(event_type: &str) -> bool {
    [FOLLOW, SHARE].contains(&event_type)
}
/// The plays that `min_play_seconds` is about.
pub fn is_play(event_type: &str) -> bool {
    event_type == TRACK_PLAYED
}
/// The attendances, whose line-ups may come late.
pub fn is_attendance(event_type: &str) -> bool {
    event_type == ATTENDED
}
/// The rule that attendances are scored by.
pub fn attendance_rule(rules: &Rules) -> &Rule {
    rules.rule(ATTENDED).expect("a default rule cannot be taken away")
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

fn inner<'t>(value: &'t Value, key: &str) -> Result<&'t Table, RulesError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rules, RulesError> {
        Rules::from_toml(&text.parse().expect("the test's text is TOML"))
    }

    #[test]
    fn the_defaults_are_the_table_of_the_contract() {
        let rules = Rules::default();
        let expected = [
            ("coliseum.vote_cast", ["2", "1", "0", "0"]),
            ("concierto.event_attended", ["0", "3", "0", "10"]),
            ("player.track_favorited", ["2", "1", "0", "0"]),
            ("player.track_played", ["0.5", "1", "0", "0"]),
            ("social.follow", ["2", "1", "0", "0"]),
            ("social.share", ["3", "1", "0", "1"]),
            ("treasury.earning_reversed", ["0", "0", "-0.25", "0"]),
            ("treasury.money_earned", ["0", "0", "0.25", "0"]),
            ("treasury.money_refunded", ["0", "0", "-1", "0"]),
            ("treasury.money_spent", ["0", "0", "1", "0"]),
        ];
        let found: Vec<(String, [String; 4])> = rules
            .iter()
            .map(|rule| (rule.event_type().to_string(), Domain::ALL.map(|d| rule.base_delta(d).to_string())))
            .collect();
        assert_eq!(found, expected.map(|(name, deltas)| (name.to_string(), deltas.map(String::from))));
        assert_eq!((rules.base_currency(), rules.min_play_seconds()), ("usd", 30));
        assert_eq!(attendance_rule(&rules).tier_multiplier(Some("vip")).to_string(), "1.5");
        assert!(rules.rule("coliseum.vote_cast").expect("a default").multiplies(Domain::Cultural));
        assert!(!rules.rule("coliseum.vote_cast").expect("a default").multiplies(Domain::Behavioral));
    }

    #[test]
    fn a_users_keys_lie_over_the_defaults_key_by_key() {
        let rules = read(
            "fx = { eur = 1.08 }\n[rules.\"social.share\"]\na = 4\n[rules.\"merch.sold\"]\ng = 0.000001\n\
             [rules.\"concierto.event_attended\"]\nticket_tier = { gold = 2 }",
        )
        .expect("these keys are fine");
        let share = rules.rule("social.share").expect("a default");
        assert_eq!(Domain::ALL.map(|d| share.base_delta(d).to_string()), ["4", "1", "0", "1"]);
        assert_eq!(rules.rule("merch.sold").expect("added").base_micro_points(Domain::Economic), 1);
        assert_eq!(rules.rate("eur").expect("set").to_string(), "1.08");
        assert_eq!(rules.rate("usd"), Some(Decimal::ONE));
        assert_eq!(rules.rate("gbp"), None);
        let tiers = ["gold", "vip", "free"].map(|tier| attendance_rule(&rules).tier_multiplier(Some(tier)).to_string());
        assert_eq!(tiers, ["2", "1.5", "1"]);
    }

    #[test]
    fn rules_read_back_what_they_write_and_a_change_is_another_version() {
        let rules = read(
            "base_currency = \"eur\"\nfx = { usd = 0.9259259259259259, jpy = 1e-9 }\n\
             [rules.\"treasury.money_earned\"]\nrole = \"any\"\n[rules.\"social.share\"]\ntarget_type = \"venue\"\n\
             [rules.\"concierto.event_attended\"]\nticket_tier = { \"front row\" = 0 }",
        )
        .expect("these keys are fine");
        assert_eq!(Rules::parse_toml(&rules.to_toml()), Ok(rules.clone()));
        assert_eq!(Rules::parse_toml(&Rules::default().to_toml()), Ok(Rules::default()));
        assert_ne!(rules.version(), Rules::default().version());
        assert_eq!(Rules::default().version(), read("fx = { usd = 1 }").expect("the base's own rate").version());
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_with_what_it_takes() {
        for (text, key, part) in [
            ("base_curency = \"usd\"", "scoring.base_curency", "`base_currency`"),
            ("base_currency = \"USD\"", "scoring.base_currency", "three lower-case letters"),
            ("min_play_seconds = 1.5", "scoring.min_play_seconds", "whole seconds"),
            ("min_play_seconds = -1", "scoring.min_play_seconds", "whole seconds"),
            ("fx = 3", "scoring.fx", "a table"),
            ("fx = { eur = 0 }", "scoring.fx.eur", "1e-9"),
            ("fx = { eur = -1.0 }", "scoring.fx.eur", "1e-9"),
            ("fx = { eur = 1e10 }", "scoring.fx.eur", "1e9"),
            ("fx = { eur = 1e-10 }", "scoring.fx.eur", "1e-9"),
            ("fx = { eur = nan }", "scoring.fx.eur", "1e9"),
            ("fx = { eur = \"1.08\" }", "scoring.fx.eur", "a number"),
            ("fx = { euro = 1 }", "scoring.fx.euro", "three lower-case letters"),
            ("fx = { usd = 2 }", "scoring.fx.usd", "whose rate is 1"),
            ("[rules.\"social.share\"]\na = 1000000.1", "scoring.rules.\"social.share\".a", "1000000"),
            ("[rules.\"social.share\"]\na = 0.0000001", "scoring.rules.\"social.share\".a", "6 decimals"),
            ("[rules.\"social.share\"]\nx = 1", "scoring.rules.\"social.share\".x", "no such key"),
            (
                "[rules.\"social.share\"]\nmultiplier = \"amount\"",
                "scoring.rules.\"social.share\".multiplier",
                "\"one\"",
            ),
            ("[rules.share]\na = 1", "scoring.rules.\"share\"", "category.name"),
            ("[rules.\"a.b\"]\nrole = \"artist\"", "scoring.rules.\"a.b\".role", "earnings"),
            ("[rules.\"a.b\"]\nticket_tier = {}", "scoring.rules.\"a.b\".ticket_tier", "event_attended"),
            (
                "[rules.\"coliseum.vote_cast\"]\nmultiplier_domains = [\"a\"]",
                "scoring.rules.\"coliseum.vote_cast\".multiplier_domains",
                "\"A\"",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.key, key, "{text}");
            assert!(error.problem.contains(part), "{text}: {error}");
        }
    }
}
