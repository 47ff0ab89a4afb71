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

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::sync::Arc;

use serde::de::Error as _;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use toml::Table;

use crate::event::TargetType;
use crate::units::{Decimal, Domain};

use table::{ANY, ATTENDED, inner, multiplier_name, quoted, takes_role, takes_target, target_name};

/// Decimals of a base delta and of a tier's multiplier.
const POINTS_DECIMALS: u32 = 6;

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
        table::read(scoring)
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

/// The rule that attendances are scored by.
pub fn attendance_rule(rules: &Rules) -> &Rule {
    rules.rule(ATTENDED).expect("a default rule cannot be taken away")
}
