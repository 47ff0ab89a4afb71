//! JSON numbers by their exact decimal value, however they are spelled and however long they are.

use crate::units::Decimal;

/// Digits of the largest [`Decimal`] that is read.
const DECIMAL_DIGITS_MAX: i64 = 36;
/// Exponents up to this are added up as integers; beyond it only equal spellings are equal.
const EXPONENT_MAX: u64 = 1_000_000_000_000_000;

/// A number taken apart: `digits` (as an integer) times 10 to the power of `last_place` and the exponent.
#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    negative: bool,
    /// From the first to the last digit that is not zero, perhaps with the point between them; empty for zero.
    digits: &'a str,
    /// The place of the last of `digits` in the spelling: 0 for ones, 2 for hundreds, -1 for tenths.
    last_place: i64,
    exponent: Exponent<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exponent<'a> {
    Small(i64),
    /// Over [`EXPONENT_MAX`] in size: its digits without leading zeros.
    Huge {
        negative: bool,
        digits: &'a str,
    },
}

impl<'a> Parts<'a> {
    /// Of the spelling of a JSON number that has been passed over.
    fn of(number: &'a str) -> Parts<'a> {
        let negative = number.starts_with('-');
        let plain = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = plain.split_once(['e', 'E']).unwrap_or((plain, "0"));
        let up_to_last = mantissa.trim_end_matches(['0', '.']);
        let digits = up_to_last.trim_start_matches(['0', '.']);
        let point = mantissa.find('.').unwrap_or(mantissa.len()) as i64;
        let last = up_to_last.len() as i64 - 1;
        let last_place = if last < point { point - 1 - last } else { point - last };
        Parts { negative, digits, last_place, exponent: Exponent::of(exponent) }
    }

    fn digit_values(self) -> impl Iterator<Item = u8> {
        self.digits.bytes().filter(|byte| *byte != b'.').map(|byte| byte - b'0')
    }
}

impl Exponent<'_> {
    fn of(spelled: &str) -> Exponent<'_> {
        let negative = spelled.starts_with('-');
        let digits = spelled.trim_start_matches(['+', '-']).trim_start_matches('0');
        let size = if digits.is_empty() { Ok(0) } else { digits.parse::<u64>() };
        match size {
            Ok(size @ ..=EXPONENT_MAX) if negative => Exponent::Small(-(size as i64)),
            Ok(size @ ..=EXPONENT_MAX) => Exponent::Small(size as i64),
            _ => Exponent::Huge { negative, digits },
        }
    }
}

/// The number spelled by `number`, or `None` where it needs more than 36 digits before or behind the point.
pub(super) fn decimal(number: &str) -> Option<Decimal> {
    let parts = Parts::of(number);
    if parts.digits.is_empty() {
        return Some(Decimal::default());
    }
    let Exponent::Small(exponent) = parts.exponent else { return None };
    let power = parts.last_place + exponent;
    let mut count = 0;
    let mut size: i128 = 0;
    for digit in parts.digit_values() {
        count += 1;
        if count > DECIMAL_DIGITS_MAX {
            return None;
        }
        size = size * 10 + i128::from(digit);
    }
    if power > DECIMAL_DIGITS_MAX - count || power < -DECIMAL_DIGITS_MAX {
        return None;
    }
    if power > 0 {
        size *= 10i128.pow(power as u32);
    }
    let scale = (-power).max(0) as u32;
    Some(Decimal::new(if parts.negative { -size } else { size }, scale))
}

/// Whether two spellings are the same number: `1.0` and `1`, `1e2` and `100`, `-0` and `0`.
///
/// Costs as much as the spellings are long, whatever the exponents. Exponents over 10^15 are compared as they are
/// spelled, so that two such numbers may be told apart that are the same, and never the other way round.
pub(super) fn same_number(a: &str, b: &str) -> bool {
    let (a, b) = (Parts::of(a), Parts::of(b));
    if a.digits.is_empty() || b.digits.is_empty() {
        return a.digits.is_empty() && b.digits.is_empty();
    }
    let same_power = match (a.exponent, b.exponent) {
        (Exponent::Small(x), Exponent::Small(y)) => x + a.last_place == y + b.last_place,
        (x, y) => x == y && a.last_place == b.last_place,
    };
    a.negative == b.negative && same_power && a.digit_values().eq(b.digit_values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_the_same_by_value_not_by_spelling() {
        for (a, b) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("1E+2", "0.001e5"),
            ("-0.0", "0e99999999999999999999999"),
            ("12.50", "125e-1"),
            ("1e999999999", "10e999999998"),
            ("1e0000000000000000000000000005", "100000"),
            ("3e99999999999999999999999", "3.0E+099999999999999999999999"),
        ] {
            assert!(same_number(a, b), "{a} and {b}");
        }
        for (a, b) in [
            ("1", "-1"),
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.10000000000000000000000000000000000000000000000001"),
            ("101", "11"),
            ("1e5", "1e6"),
            ("1e99999999999999999999999", "1e-99999999999999999999999"),
            ("0", "1e-99999999999999999999999"),
        ] {
            assert!(!same_number(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn a_number_is_held_exactly_or_not_at_all() {
        for (text, mantissa, scale) in [
            ("0", 0, 0),
            ("-0.000", 0, 0),
            ("12.50", 125, 1),
            ("100", 100, 0),
            ("1e2", 100, 0),
            ("25E-1", 25, 1),
            ("-1.5e1", -15, 0),
            ("1000000000000000000000000000000000000000000e-40", 100, 0),
            ("0e99999999999999999999999", 0, 0),
        ] {
            let held = decimal(text).expect(text);
            assert_eq!((held.mantissa(), held.scale()), (mantissa, scale), "{text}");
        }
        for text in ["1e400", "1e-400", "1e36", "1e99999999999999999999999", "1.0000000000000000000000000000000000001"]
        {
            assert!(decimal(text).is_none(), "{text}");
        }
        assert!(decimal("1e35").is_some());
        assert!(decimal("1e-36").is_some());
    }

    /// A number as an integer times a power of ten, spelled with the point and the exponent somewhere.
    fn spelled(mantissa: i64, power: i32, point: usize, zeros: usize) -> String {
        let mut digits = format!("{}{}", mantissa.unsigned_abs(), "0".repeat(zeros));
        let point = point.min(digits.len() - 1);
        let exponent = power - zeros as i32 + point as i32;
        if point > 0 {
            digits.insert(digits.len() - point, '.');
        }
        format!("{}{digits}e{exponent}", if mantissa < 0 { "-" } else { "" })
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_number_is_that_number(
            mantissa in any::<i64>(), power in -30i32..30,
            point in 0usize..30, zeros in 0usize..30, other_point in 0usize..30, other_zeros in 0usize..30,
        ) {
            let (a, b) = (spelled(mantissa, power, point, zeros), spelled(mantissa, power, other_point, other_zeros));
            prop_assert!(same_number(&a, &b), "{a} {b}");
            let next = spelled(mantissa.wrapping_add(1), power, other_point, other_zeros);
            prop_assert!(!same_number(&a, &next), "{a} {next}");
            prop_assert_eq!(decimal(&a), decimal(&b));
        }

        #[test]
        fn a_decimal_is_what_the_units_read(mantissa in any::<i64>(), power in -40i32..40, point in 0usize..20) {
            let text = spelled(mantissa, power, point, 0);
            if let Some(read) = Decimal::parse(&text) {
                prop_assert_eq!(decimal(&text), Some(read), "{}", text);
            }
        }
    }
}
