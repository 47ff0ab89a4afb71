//! A currency by its code.

use std::fmt;

/// A currency's code: three lower-case letters, such as `usd`. Ordered as the codes are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// `None` for a text that is no code.
    pub fn of(code: &str) -> Option<Currency> {
        let code: [u8; 3] = code.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_lowercase).then_some(Currency(code))
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("letters of ASCII are UTF-8")
    }

    /// For keys of numbers: in the order of the codes, and never 0.
    pub const fn number(self) -> u32 {
        let [first, second, third] = self.0;
        u32::from_be_bytes([0, first, second, third])
    }

    /// `None` for a number that no code has.
    pub fn from_number(number: u32) -> Option<Currency> {
        match number.to_be_bytes() {
            [0, code @ ..] if code.iter().all(u8::is_ascii_lowercase) => Some(Currency(code)),
            _ => None,
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Currency;

    #[test]
    fn a_code_is_three_lower_case_letters_and_has_a_number_of_its_own() {
        let mut numbers = Vec::new();
        for code in ["aaa", "aab", "eur", "usd", "zzz"] {
            let currency = Currency::of(code).expect(code);
            assert_eq!((currency.code(), Currency::from_number(currency.number())), (code, Some(currency)));
            numbers.push(currency.number());
        }
        assert!(numbers.is_sorted() && numbers[0] > 0);
        for text in ["", "us", "usdt", "USD", "us1", "ус"] {
            assert_eq!(Currency::of(text), None, "{text}");
        }
        for number in [0, 1, u32::MAX, u32::from_be_bytes([1, b'u', b's', b'd']), u32::from_be_bytes(*b"\0USD")] {
            assert_eq!(Currency::from_number(number), None, "{number}");
        }
    }
}
