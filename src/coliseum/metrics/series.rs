//! What is counted, of whom, and when: the numbers that rows are keyed by.

use crate::event::Metric;
use crate::units::{Domain, MINUTES_PER_DAY};

/// Whose events are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    User,
    Artist,
    Event,
    /// Everything: the one subject with the number 0.
    Global,
}

impl SubjectKind {
    pub const ALL: [SubjectKind; 4] = [SubjectKind::User, SubjectKind::Artist, SubjectKind::Event, SubjectKind::Global];
    /// Those that have top lists.
    pub const LISTED: [SubjectKind; 3] = [SubjectKind::User, SubjectKind::Artist, SubjectKind::Event];

    pub const fn name(self) -> &'static str {
        ["user", "artist", "event", "global"][self as usize]
    }
    pub fn from_name(name: &str) -> Option<SubjectKind> {
        SubjectKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// One line of counts and sums: a metric (money in one currency), an artist's points in a domain, or one of the sets that
/// the analytics need, whose rows carry a second number: which fan, which genre, which city.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Series(u32);

impl Series {
    const DOMAINS: u32 = 8;
    /// Fans by their fan events.
    pub const FANS: Series = Series(12);
    /// Fans by their payments in the base currency.
    pub const PAYERS: Series = Series(13);
    /// Scored plays by genre; 0 is none given, else the genre's number and one.
    pub const GENRES: Series = Series(14);
    /// Attendances and plays by city.
    pub const PLACES: Series = Series(15);
    /// From here on a metric of money in a currency, two for each.
    pub const MONEY: Series = Series(16);
    pub const FIRST: Series = Series(0);
    pub const LAST: Series = Series((1 << SERIES_BITS) - 1);

    pub const fn domain(domain: Domain) -> Series {
        Series(Series::DOMAINS + domain as u32)
    }
    /// `currency` is the currency's number; other metrics than those of money have none.
    pub fn metric(metric: Metric, currency: Option<u32>) -> Series {
        match currency {
            Some(currency) => Series(Series::MONEY.0 + 2 * currency + u32::from(metric == Metric::MoneyEarned)),
            None => Series(metric as u32),
        }
    }
    /// The metric, and of money the number of its currency.
    pub fn as_metric(self) -> Option<(Metric, Option<u32>)> {
        match self.0 {
            number if number < Series::DOMAINS => Some((Metric::ALL[number as usize], None)),
            number if number >= Series::MONEY.0 => {
                let money = number - Series::MONEY.0;
                let metric = if money % 2 == 1 { Metric::MoneyEarned } else { Metric::MoneySpent };
                Some((metric, Some(money / 2)))
            }
            _ => None,
        }
    }
    pub fn as_domain(self) -> Option<Domain> {
        Domain::ALL.into_iter().find(|domain| Series::domain(*domain) == self)
    }
    /// Whether the sum is always the count.
    pub fn sum_is_count(self) -> bool {
        self.as_metric().is_some_and(|(metric, currency)| currency.is_none() && metric != Metric::VotesCast)
    }
    pub const fn number(self) -> u32 {
        self.0
    }
    pub const fn from_number(number: u32) -> Series {
        Series(number)
    }
    /// With whose it is, as a part of a key.
    pub const fn of(self, kind: SubjectKind) -> u32 {
        (kind as u32) << SERIES_BITS | self.0
    }
    /// The opposite of [`Series::of`].
    pub fn split(number: u32) -> Option<(SubjectKind, Series)> {
        let kind = SubjectKind::ALL.into_iter().find(|kind| *kind as u32 == number >> SERIES_BITS)?;
        Some((kind, Series(number & Series::LAST.0)))
    }
}

/// 17,576 currencies are possible.
const SERIES_BITS: u32 = 24;

const DAY_ZERO: i64 = 1 << 22;

/// A minute as two numbers of a key: the day, and the minute of the day. Minutes beyond what a timestamp holds are at the
/// ends.
pub(super) fn key_of(minute: i64) -> [u32; 2] {
    let day = minute.div_euclid(MINUTES_PER_DAY) + DAY_ZERO;
    match u32::try_from(day) {
        Ok(day) => [day, minute.rem_euclid(MINUTES_PER_DAY) as u32],
        Err(_) if day < 0 => [0, 0],
        Err(_) => [u32::MAX, u32::MAX],
    }
}

/// The minute of a key.
pub(super) fn minute_of(day: u32, minute: u32) -> i64 {
    (i64::from(day) - DAY_ZERO) * MINUTES_PER_DAY + i64::from(minute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_series_is_another_number_and_comes_back() {
        let mut seen = std::collections::HashSet::new();
        for metric in Metric::ALL {
            for currency in if metric.is_money() { vec![Some(0), Some(1), Some(17_575)] } else { vec![None] } {
                let series = Series::metric(metric, currency);
                assert_eq!(series.as_metric(), Some((metric, currency)));
                assert_eq!(series.as_domain(), None);
                for kind in SubjectKind::ALL {
                    assert!(seen.insert(series.of(kind)));
                    assert_eq!(Series::split(series.of(kind)), Some((kind, series)));
                }
            }
        }
        for domain in Domain::ALL {
            assert_eq!(Series::domain(domain).as_domain(), Some(domain));
            assert_eq!(Series::domain(domain).as_metric(), None);
        }
        assert!(Series::domain(Domain::Spatial) < Series::FANS && Series::PLACES < Series::MONEY);
    }

    proptest! {
        #[test]
        fn keys_of_minutes_are_in_their_order(a in -6_000_000_000i64..6_000_000_000, b in -6_000_000_000i64..6_000_000_000) {
            prop_assert_eq!(a.cmp(&b), key_of(a).cmp(&key_of(b)));
            let [day, minute] = key_of(a);
            prop_assert_eq!(minute_of(day, minute), a);
        }
    }
}
