//! From an event's facts to points: pure, exact, rounded once.
//!
//! `effective = base x multiplier`, in micro-points. The base is whole micro-points, the multiplier an exact decimal
//! (an amount is cents / 100 x rate), the product is taken in up to 256 bits and rounded half to even.

use std::sync::Arc;

use ethnum::I256;

use super::rules::{Multiplier, Rule, Rules};
use crate::event::Facts;
use crate::units::{Decimal, Domain, MicroPoints, Seq, Timestamp};

/// One change of one artist's score in one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The entry that caused it: the scored one, or the late line-up that credited it.
    pub seq: Seq,
    /// The entry scored.
    pub of_seq: Seq,
    pub artist: Arc<str>,
    pub domain: Domain,
    /// The rule's event type.
    pub rule: Arc<str>,
    pub base_delta: Decimal,
    pub multiplier: Decimal,
    pub effective: MicroPoints,
    pub occurred_at: Timestamp,
    /// `receivedAt` of the entry that caused it.
    pub created_at: Timestamp,
}

/// What the rules say about one event, whomever it credits.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'r> {
    /// No rule, or its conditions do not hold.
    Nothing,
    /// Money in a currency that has no rate.
    Unconverted,
    Scores(Score<'r>),
}

/// A rule and the multiplier that an event gives it.
#[derive(Clone, Copy, Debug)]
pub struct Score<'r> {
    pub rule: &'r Rule,
    multiplier: Decimal,
}

impl<'r> Score<'r> {
    /// As [`judge`] found it: for attendances that are credited later.
    pub fn new(rule: &'r Rule, multiplier: Decimal) -> Score<'r> {
        Score { rule, multiplier }
    }
    /// The event's multiplier, before it is left out of domains.
    pub fn event_multiplier(&self) -> Decimal {
        self.multiplier
    }
    /// The multiplier as it acts on a domain.
    pub fn multiplier(&self, domain: Domain) -> Decimal {
        if self.rule.multiplies(domain) { self.multiplier } else { Decimal::ONE }
    }
    pub fn effective(&self, domain: Domain) -> MicroPoints {
        MicroPoints::new(product(self.rule.base_micro_points(domain), self.multiplier(domain)))
    }
    /// Micro-points in the order A, T, G, C.
    pub fn deltas(&self) -> [i128; 4] {
        Domain::ALL.map(|domain| self.effective(domain).get())
    }
    /// The mutations of one artist, A, T, G, C; none where the delta is zero.
    pub fn mutations(
        &self,
        artist: &Arc<str>,
        (seq, created_at): (Seq, Timestamp),
        (of_seq, occurred_at): (Seq, Timestamp),
    ) -> impl Iterator<Item = Mutation> {
        Domain::ALL.into_iter().filter_map(move |domain| {
            let effective = self.effective(domain);
            (!effective.is_zero()).then(|| Mutation {
                seq,
                of_seq,
                artist: artist.clone(),
                domain,
                rule: self.rule.event_type().clone(),
                base_delta: self.rule.base_delta(domain),
                multiplier: self.multiplier(domain),
                effective,
                occurred_at,
                created_at,
            })
        })
    }
}

/// Applies the rule of the event's type.
pub fn judge<'r>(rules: &'r Rules, event_type: &str, facts: &Facts<'_>) -> Verdict<'r> {
    let Some(rule) = rules.rule(event_type) else { return Verdict::Nothing };
    let holds = match facts {
        Facts::Money { role, .. } => rule.takes_role(role.as_deref()),
        Facts::Played { .. } => facts.is_scored_play(rules.min_play_seconds()),
        Facts::Follow { target_type, .. } | Facts::Share { target_type, .. } => rule.takes_target(*target_type),
        _ => true,
    };
    if !holds {
        return Verdict::Nothing;
    }
    let multiplier = match (rule.multiplier(), facts) {
        (Multiplier::Amount, Facts::Money { amount_cents, currency, .. }) => match rules.rate(currency) {
            Some(rate) => Decimal::new(i128::from(*amount_cents) * rate.mantissa(), 2 + rate.scale()).normalized(),
            None => return Verdict::Unconverted,
        },
        (Multiplier::Weight, Facts::Vote { weight, .. }) => weight.normalized(),
        (Multiplier::TicketTier, Facts::Attended { ticket_tier, .. }) => rule.tier_multiplier(ticket_tier.as_deref()),
        _ => Decimal::ONE,
    };
    Verdict::Scores(Score { rule, multiplier })
}

/// `base x multiplier`, rounded once, half to even.
fn product(base_micro_points: i64, multiplier: Decimal) -> i128 {
    if base_micro_points == 0 || multiplier.scale() == 0 {
        return i128::from(base_micro_points) * multiplier.mantissa();
    }
    let divisor = 10i128.pow(multiplier.scale());
    match i128::from(base_micro_points).checked_mul(multiplier.mantissa()) {
        Some(exact) => {
            let (whole, rest) = (exact.div_euclid(divisor), exact.rem_euclid(divisor));
            let up = rest > divisor - rest || (rest == divisor - rest && whole % 2 != 0);
            whole + i128::from(up)
        }
        None => {
            let exact = I256::from(base_micro_points) * I256::from(multiplier.mantissa());
            let divisor = I256::from(divisor);
            let (whole, rest) = (exact.div_euclid(divisor), exact.rem_euclid(divisor));
            let up = rest > divisor - rest || (rest == divisor - rest && whole % 2 != 0);
            (whole + I256::from(u8::from(up))).as_i128()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    fn money(cents: i64, currency: &'static str) -> Facts<'static> {
        Facts::Money {
            flow: crate::event::Flow::Spent,
            amount_cents: cents,
            currency: currency.into(),
            reason: "other".into(),
            role: None,
            event_id: None,
            artist_id: Some("x".into()),
            stripe_id: None,
        }
    }

    fn deltas(rules: &Rules, event_type: &str, facts: &Facts<'_>) -> Option<[i128; 4]> {
        match judge(rules, event_type, facts) {
            Verdict::Scores(score) => Some(score.deltas()),
            _ => None,
        }
    }

    #[test]
    fn a_product_is_rounded_once_half_to_even() {
        for (base, multiplier, expected) in [
            (1, "0.5", 0),
            (3, "0.5", 2),
            (-1, "0.5", 0),
            (-3, "0.5", -2),
            (5, "0.5", 2),
            (1, "0.500001", 1),
            (-1, "0.500001", -1),
            (2_000_000, "0.000001", 2),
            (250_000, "99.99", 24_997_500),
        ] {
            assert_eq!(product(base, decimal(multiplier)), expected, "{base} x {multiplier}");
        }
    }

    #[test]
    fn the_largest_product_is_exact() {
        let amount = Decimal::new(1_000_000_000_000 * 99_999_999_999_999_999, 2 + 17);
        let exact = product(1_000_000_000_000, amount);
        assert_eq!(exact, 9_999_999_999_999_999_900_000);
        let rules = Rules::from_toml(
            &"fx = { eur = 0.99999999999999989 }\n[rules.\"treasury.money_spent\"]\ng = 1000000".parse().expect("TOML"),
        )
        .expect("valid");
        let found = deltas(&rules, "treasury.money_spent", &money(1_000_000_000_000, "eur")).expect("has a rate");
        assert_eq!(found[2], 9_999_999_999_999_999_000_000, "a float is its shortest decimal, 0.9999999999999999");
    }

    #[test]
    fn money_counts_in_major_units_of_the_base_currency() {
        let rules = Rules::from_toml(&"fx = { eur = 1.08 }".parse().expect("TOML")).expect("valid");
        assert_eq!(deltas(&rules, "treasury.money_spent", &money(1250, "usd")), Some([0, 0, 12_500_000, 0]));
        assert_eq!(deltas(&rules, "treasury.money_spent", &money(1250, "eur")), Some([0, 0, 13_500_000, 0]));
        assert_eq!(deltas(&rules, "treasury.money_refunded", &money(1, "usd")), Some([0, 0, -10_000, 0]));
        assert!(matches!(judge(&rules, "treasury.money_spent", &money(1, "gbp")), Verdict::Unconverted));
        assert!(matches!(judge(&rules, "treasury.money_earned", &money(1, "gbp")), Verdict::Nothing), "role is absent");
    }

    #[test]
    fn a_weight_multiplies_a_only() {
        let vote =
            Facts::Vote { artist_id: "x".into(), event_id: "e".into(), weight: decimal("2.5"), channel: "app".into() };
        assert_eq!(deltas(&Rules::default(), "coliseum.vote_cast", &vote), Some([5_000_000, 1_000_000, 0, 0]));
    }

    #[test]
    fn a_play_scores_from_the_shortest_length_on_or_with_none_given() {
        let rules = Rules::default();
        let play = |duration: Option<&str>| Facts::Played {
            track_id: "t".into(),
            artist_id: "x".into(),
            duration_seconds: duration.map(decimal),
            genre: None,
            city: None,
        };
        for (duration, scores) in [(None, true), (Some("30"), true), (Some("29.999999"), false), (Some("0"), false)] {
            let found = deltas(&rules, "player.track_played", &play(duration));
            assert_eq!(found, scores.then_some([500_000, 1_000_000, 0, 0]), "{duration:?}");
        }
    }

    proptest! {
        #[test]
        fn narrow_and_wide_products_agree(
            base in -1_000_000_000_000i64..=1_000_000_000_000,
            mantissa in 0i128..=100_000_000_000_000_000_000_000_000_000,
            scale in 10u32..=28,
        ) {
            let exact = I256::from(base) * I256::from(mantissa) * 2;
            let divisor = I256::from(10i128.pow(scale));
            let found = I256::from(product(base, Decimal::new(mantissa, scale)));
            let off = exact - found * divisor * 2;
            prop_assert!(off.abs() <= divisor, "within half a micro-point");
            prop_assert!(off.abs() < divisor || found % 2 == 0, "a tie goes to the even one");
        }
    }
}
