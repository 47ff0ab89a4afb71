//! Exact fractions, so that a play that is split over genres leaves no doubt about which of two shares is larger.

use std::cmp::Ordering;

/// `over / under` in lowest terms, `under` positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    over: i128,
    under: i128,
}

impl Fraction {
    pub const ZERO: Fraction = Fraction { over: 0, under: 1 };

    pub fn new(over: i128, under: i128) -> Fraction {
        assert!(under > 0, "{over} / {under}");
        let divisor = greatest_common_divisor(over.abs(), under);
        Fraction { over: over / divisor, under: under / divisor }
    }

    pub fn plus(self, other: Fraction) -> Fraction {
        Fraction::new(self.over * other.under + other.over * self.under, self.under * other.under)
    }

    pub fn divided_by(self, other: Fraction) -> Fraction {
        Fraction::new(self.over * other.under, self.under * other.over)
    }

    pub fn to_f64(self) -> f64 {
        self.over as f64 / self.under as f64
    }
}

impl Ord for Fraction {
    fn cmp(&self, other: &Fraction) -> Ordering {
        (self.over * other.under).cmp(&(other.over * self.under))
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Fraction) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
