//! What money did for an artist in one currency, and the parts that it is stored in.
//!
//! A payment adds to one part, and every one of them counts as a transaction; `FIRST` and `LAST` are times, in
//! microseconds. By event it is stored as rows of (.., part): a part's sums add up where rows of one key meet, times do not.
//! In total it is stored whole ([`Revenue::write`]).

use crate::event::{Currency, Flow};
use crate::projection::StoreError;
use crate::projection::rows::{self, Row};
use crate::units::Timestamp;

const GROSS: u32 = 0;
const REFUNDED: u32 = 1;
const EARNED: u32 = 2;
const REVERSED: u32 = 3;
const PLATFORM: u32 = 4;
/// Earnings of other roles: they are transactions and no more.
const OTHER: u32 = 5;
const FIRST: u32 = 6;
const LAST: u32 = 7;

/// The roles that are told apart.
const ROLE_ARTIST: &str = "artist";
const ROLE_PLATFORM: &str = "platform";

/// The money of one artist in one currency. Cents have 128 bits, since one event may move 10^12 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revenue {
    /// Spent.
    pub gross_cents: i128,
    pub refunded_cents: i128,
    /// Of the role artist.
    pub earned_cents: i128,
    /// Of the role artist.
    pub reversed_cents: i128,
    /// Earned less reversed, of the role platform.
    pub platform_cents: i128,
    /// Events of all four types and of any role.
    pub transactions: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

impl Default for Revenue {
    /// Of no event: every time is before the first and after the last.
    fn default() -> Revenue {
        Revenue {
            gross_cents: 0,
            refunded_cents: 0,
            earned_cents: 0,
            reversed_cents: 0,
            platform_cents: 0,
            transactions: 0,
            first_at: Timestamp::from_micros(i64::MAX),
            last_at: Timestamp::from_micros(i64::MIN),
        }
    }
}

/// Artist, currency, transactions, cents, times.
type Stored = (u32, u32, u64, [i128; 5], [i64; 2]);

/// A part, a count of transactions, and a sum.
pub(super) type Part = (u32, u64, i128);

/// What one event stores.
pub(super) fn parts_of(flow: Flow, role: Option<&str>, cents: i64, at: Timestamp) -> [Part; 3] {
    let cents = i128::from(cents);
    let (part, sum) = match (flow, role) {
        (Flow::Spent, _) => (GROSS, cents),
        (Flow::Refunded, _) => (REFUNDED, cents),
        (Flow::Earned, Some(ROLE_ARTIST)) => (EARNED, cents),
        (Flow::Reversed, Some(ROLE_ARTIST)) => (REVERSED, cents),
        (Flow::Earned, Some(ROLE_PLATFORM)) => (PLATFORM, cents),
        (Flow::Reversed, Some(ROLE_PLATFORM)) => (PLATFORM, -cents),
        (Flow::Earned | Flow::Reversed, _) => (OTHER, 0),
    };
    let at = i128::from(at.micros());
    [(part, 1, sum), (FIRST, 1, at), (LAST, 1, at)]
}

/// Merges a newer row of (artist, event, currency, part) into an older one of the same key.
pub(super) fn merge(older: &mut Row<4>, newer: &Row<4>) {
    match older.key[3] {
        FIRST => older.sum = older.sum.min(newer.sum),
        LAST => older.sum = older.sum.max(newer.sum),
        _ => rows::add(older, newer),
    }
}

impl Revenue {
    /// `earned - reversed`.
    pub fn net_cents(&self) -> i128 {
        self.earned_cents - self.reversed_cents
    }

    /// Adds one stored part.
    pub(super) fn take(&mut self, (part, count, sum): Part) -> Result<(), StoreError> {
        let time = || i64::try_from(sum).map(Timestamp::from_micros).map_err(|_| damaged("a time is none"));
        match part {
            GROSS => self.gross_cents += sum,
            REFUNDED => self.refunded_cents += sum,
            EARNED => self.earned_cents += sum,
            REVERSED => self.reversed_cents += sum,
            PLATFORM => self.platform_cents += sum,
            OTHER => {}
            FIRST => self.first_at = self.first_at.min(time()?),
            LAST => self.last_at = self.last_at.max(time()?),
            _ => return Err(damaged("a part is unknown")),
        }
        if part < FIRST {
            self.transactions += count;
        }
        Ok(())
    }

    /// Writes everything, with whose it is.
    pub(super) fn write(&self, artist: u32, currency: Currency, out: &mut Vec<u8>) {
        let cents =
            [self.gross_cents, self.refunded_cents, self.earned_cents, self.reversed_cents, self.platform_cents];
        let times = [self.first_at, self.last_at].map(Timestamp::micros);
        let row: Stored = (artist, currency.number(), self.transactions, cents, times);
        bincode::encode_into_std_write(row, out, bincode::config::standard()).expect("a Vec takes every write");
    }

    /// Reads what [`Revenue::write`] wrote, and passes over it; `None` for bytes that it did not write.
    pub(super) fn read(rest: &mut &[u8]) -> Option<(u32, Currency, Revenue)> {
        let (row, used): (Stored, usize) = bincode::decode_from_slice(rest, bincode::config::standard()).ok()?;
        *rest = &rest[used..];
        let (artist, currency, transactions, cents, times) = row;
        let [gross_cents, refunded_cents, earned_cents, reversed_cents, platform_cents] = cents;
        let [first_at, last_at] = times.map(Timestamp::from_micros);
        let revenue = Revenue {
            gross_cents,
            refunded_cents,
            earned_cents,
            reversed_cents,
            platform_cents,
            transactions,
            first_at,
            last_at,
        };
        Some((artist, Currency::from_number(currency)?, revenue))
    }
}

pub(super) fn damaged(how: &str) -> StoreError {
    StoreError(format!("the treasury tables: {how}; the projection is rebuilt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_decides_where_an_earning_goes_and_every_one_is_a_transaction() {
        let at = |micros| Timestamp::from_micros(micros);
        let mut revenue = Revenue::default();
        for (flow, role, cents, micros) in [
            (Flow::Spent, None, 500, 30),
            (Flow::Refunded, None, 20, -4),
            (Flow::Earned, Some("artist"), 300, 10),
            (Flow::Reversed, Some("artist"), 7, 90),
            (Flow::Earned, Some("platform"), 11, 10),
            (Flow::Reversed, Some("platform"), 40, 10),
            (Flow::Earned, Some("venue"), 1_000, 10),
            (Flow::Reversed, Some("Artist"), 1_000, 10),
        ] {
            parts_of(flow, role, cents, at(micros)).iter().for_each(|part| revenue.take(*part).expect("known parts"));
        }
        let expected = Revenue {
            gross_cents: 500,
            refunded_cents: 20,
            earned_cents: 300,
            reversed_cents: 7,
            platform_cents: -29,
            transactions: 8,
            first_at: at(-4),
            last_at: at(90),
        };
        assert_eq!((revenue, revenue.net_cents()), (expected, 293));
        let (mut bytes, usd) = (Vec::new(), Currency::of("usd").expect("a currency"));
        revenue.write(7, usd, &mut bytes);
        assert_eq!(Revenue::read(&mut bytes.as_slice()), Some((7, usd, revenue)));
        assert!((0..bytes.len()).all(|end| Revenue::read(&mut &bytes[..end]).is_none()));
    }

    #[test]
    fn a_part_that_is_none_is_damage() {
        for part in [(8, 1, 1), (FIRST, 1, i128::from(i64::MAX) + 1), (LAST, 1, i128::MIN)] {
            assert!(Revenue::default().take(part).is_err(), "{part:?}");
        }
    }
}
