//! The rows of a fan: (user, kind, x, y), so that everything of one user stands together.
//!
//! | kind | x | y | count | sum |
//! | --- | --- | --- | --- | --- |
//! | `SEEN` | 0 | 0 | how much later the last entry happened than the first, µs | when the first happened, µs |
//! | `DAY` | day of UTC | 0 | 1 | 0 |
//! | `METRIC` | metric | currency, 0 for none | events | cents, votes in millionths, or events |
//! | `PLAYED` | artist | genre + 1, 0 for none | scored plays | 0 |
//! | `CITY` | city | 0 | attendances and plays | 0 |

use crate::event::{Currency, Measure, Metric};
use crate::projection::StoreError;
use crate::projection::rows::{self, Row};
use crate::units::{MINUTES_PER_DAY, Timestamp};

pub(super) const SEEN: u32 = 0;
pub(super) const DAY: u32 = 1;
pub(super) const METRIC: u32 = 2;
pub(super) const PLAYED: u32 = 3;
pub(super) const CITY: u32 = 4;

/// Merges a newer row into an older one of the same key.
pub(super) fn merge(older: &mut Row<4>, newer: &Row<4>) {
    match older.key[1] {
        SEEN => {
            let last = seen_last(older).max(seen_last(newer));
            older.sum = older.sum.min(newer.sum);
            older.count = u64::try_from(last - older.sum).expect("the last is not before the first");
        }
        DAY => {}
        _ => rows::add(older, newer),
    }
}

/// When the last entry happened, of a row of `SEEN`.
pub(super) fn seen_last(row: &Row<4>) -> i128 {
    row.sum + i128::from(row.count)
}

/// Days have a sign and keys have none: 0, -1, 1, -2, … are numbered from 0 on.
pub(super) fn day_of(at: Timestamp) -> u32 {
    let day = at.minute().get().div_euclid(MINUTES_PER_DAY);
    let day = i32::try_from(day).expect("64 bits of microseconds are 300,000 years on either side of 1970");
    ((day << 1) ^ (day >> 31)) as u32
}

/// The day of a number, counted from 1970-01-01.
pub(super) fn day_from(number: u32) -> i64 {
    i64::from((number >> 1) as i32 ^ -((number & 1) as i32))
}

/// `x` and `y` of what an event adds to its metric.
pub(super) fn metric_of(measure: &Measure<'_>) -> [u32; 2] {
    let currency = measure.currency.and_then(Currency::of).map_or(0, Currency::number);
    [measure.metric.index() as u32, currency]
}

pub(super) fn metric_from([metric, currency]: [u32; 2]) -> Result<(Metric, Option<Currency>), StoreError> {
    let metric = Metric::ALL.get(metric as usize).copied().ok_or_else(|| damaged("a metric is unknown"))?;
    let currency = Currency::from_number(currency);
    match metric.is_money() == currency.is_some() {
        true => Ok((metric, currency)),
        false => Err(damaged("a metric has the wrong currency")),
    }
}

pub(super) fn damaged(how: &str) -> StoreError {
    StoreError(format!("the mediaid tables: {how}; the projection is rebuilt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_before_1970_have_numbers_of_their_own() {
        const DAY_MICROS: i64 = 86_400_000_000;
        for (micros, day, number) in [
            (0, 0, 0),
            (-1, -1, 1),
            (DAY_MICROS - 1, 0, 0),
            (DAY_MICROS, 1, 2),
            (-DAY_MICROS - 1, -2, 3),
            (i64::MAX, 106_751_991, 213_503_982),
            (i64::MIN, -106_751_992, 213_503_983),
        ] {
            let found = day_of(Timestamp::from_micros(micros));
            assert_eq!((found, day_from(found)), (number, day), "{micros}");
        }
    }

    #[test]
    fn seen_spans_all_that_was_merged() {
        let seen = |first: i64, count| Row { key: [7, SEEN, 0, 0], count, sum: i128::from(first) };
        let mut row = seen(10, 0);
        for (other, first, last) in [(seen(12, 0), 10, 12), (seen(-5, 3), -5, 12), (seen(i64::MIN, 2), i64::MIN, 12)] {
            merge(&mut row, &other);
            assert_eq!((row.sum, seen_last(&row)), (i128::from(first), last));
        }
        merge(&mut row, &seen(i64::MAX, 0));
        assert_eq!(row.count, u64::MAX, "the widest span fits");
    }

    #[test]
    fn a_metric_has_a_currency_if_it_is_money_and_none_else() {
        let usd = Currency::of("usd");
        for (metric, currency) in [(Metric::VotesCast, None), (Metric::MoneyEarned, usd), (Metric::MoneySpent, usd)] {
            let code = currency.as_ref().map(Currency::code);
            let key = metric_of(&Measure { metric, sum: 1, currency: code });
            assert_eq!(metric_from(key).expect("a metric"), (metric, currency));
        }
        let number = usd.map_or(0, Currency::number);
        for key in [[8, 0], [Metric::VotesCast as u32, number], [Metric::MoneySpent as u32, 0], [1, u32::MAX]] {
            assert!(metric_from(key).is_err(), "{key:?}");
        }
    }
}
