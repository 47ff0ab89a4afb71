//! Exact decimals in plain arithmetic: `units / 10^scale`.

/// Always in its smallest form, so that equal numbers are equal structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    pub const ONE: Decimal = Decimal { units: 1, scale: 0 };

    pub fn new(mut units: i128, mut scale: u32) -> Decimal {
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Decimal { units, scale }
    }

    /// Any JSON number, by hand from its digits. `None` where it is none or needs more than an `i128`.
    pub fn parse(digits: &str) -> Option<Decimal> {
        let (plain, exponent) = match digits.find(['e', 'E']) {
            Some(at) => (&digits[..at], digits[at + 1..].trim_start_matches('+').parse::<i64>().ok()?),
            None => (digits, 0),
        };
        let (sign, plain) = plain.strip_prefix('-').map_or((1, plain), |rest| (-1, rest));
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        if whole.is_empty() {
            return None;
        }
        let mut units = 0i128;
        for c in whole.chars().chain(fraction.chars()) {
            units = units.checked_mul(10)?.checked_add(i128::from(c.to_digit(10)?))?;
        }
        let mut scale = fraction.len() as i64 - exponent;
        if units == 0 {
            return Some(Decimal { units: 0, scale: 0 });
        }
        while scale < 0 {
            units = units.checked_mul(10)?;
            scale += 1;
        }
        let small = Decimal::new(sign * units, u32::try_from(scale).ok().filter(|scale| *scale <= 400)?);
        Some(small)
    }

    pub fn times(self, other: Decimal) -> Decimal {
        Decimal::new(self.units * other.units, self.scale + other.scale)
    }

    pub fn minus(self, other: Decimal) -> Decimal {
        let scale = self.scale.max(other.scale);
        Decimal::new(self.at_scale(scale) - other.at_scale(scale), scale)
    }

    pub fn is_negative(self) -> bool {
        self.units < 0
    }

    pub fn is_zero(self) -> bool {
        self.units == 0
    }

    /// How many decimals it needs.
    pub fn decimals(self) -> u32 {
        self.scale
    }

    fn at_scale(self, scale: u32) -> i128 {
        self.units * 10i128.pow(scale - self.scale)
    }

    /// In micro-points: rounded once, half to even.
    pub fn to_micro(self) -> i128 {
        if self.scale <= 6 {
            return self.at_scale(6);
        }
        let step = 10i128.pow(self.scale - 6);
        let (below, rest) = (self.units.div_euclid(step), self.units.rem_euclid(step));
        match (rest * 2).cmp(&step) {
            std::cmp::Ordering::Less => below,
            std::cmp::Ordering::Greater => below + 1,
            std::cmp::Ordering::Equal => below + below.rem_euclid(2),
        }
    }

    /// The micro-points of a score as it is shown; panics where it has more than 6 decimals.
    pub fn exact_micro(self) -> i128 {
        assert!(self.scale <= 6, "a score with more than 6 decimals: {self:?}");
        self.at_scale(6)
    }
}
