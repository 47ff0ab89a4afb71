//! The numbers of the domain as types that the compiler keeps apart.
//!
//! A [`Seq`] is never an offset, a [`Minute`] never a timestamp and a
//! [`MicroPoints`] never a count: mixing two of them does not compile.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

/// Micro-points in one point. All scores are sums of integers, so that they do not depend on order.
pub const MICRO_POINTS_PER_POINT: i128 = 1_000_000;
/// Minutes in a day (UTC, no leap seconds, as in POSIX time).
pub const MINUTES_PER_DAY: i64 = 1440;
pub const MICROS_PER_MINUTE: i64 = 60_000_000;

/// The gapless number of a stored event: 1, 2, 3, … `Seq::ZERO` stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);

    pub const fn new(number: u64) -> Seq {
        Seq(number)
    }
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The number after this one. No log gets to the last, but a client may name it.
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
    /// The number `count` places further on; `None` where there is no such number.
    pub const fn checked_plus(self, count: u64) -> Option<Seq> {
        match self.0.checked_add(count) {
            Some(number) => Some(Seq(number)),
            None => None,
        }
    }
    /// The number `count` places further on.
    pub const fn plus(self, count: u64) -> Seq {
        Seq(self.0 + count)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An instant in UTC, in whole microseconds since 1970-01-01T00:00:00Z; negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }
    pub const fn micros(self) -> i64 {
        self.0
    }
    /// The minute that holds this instant (floor, so that times before 1970 fall right too).
    pub const fn minute(self) -> Minute {
        Minute(self.0.div_euclid(MICROS_PER_MINUTE))
    }
    /// This instant moved by a signed number of microseconds; saturates at the ends of the range.
    pub const fn moved_by_micros(self, micros: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(micros))
    }
    /// RFC 3339 in UTC with the fewest of 0, 3 or 6 fraction digits that lose nothing: `2026-05-01T20:15:00.250Z`.
    pub fn to_rfc3339(self) -> String {
        let whole = self.0.div_euclid(1_000_000);
        let micros = self.0.rem_euclid(1_000_000);
        // A civil date and not jiff's own timestamp, which ends before the last day of the year 9999.
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        let civil = epoch.saturating_add(jiff::SignedDuration::from_secs(whole));
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        );
        match micros {
            0 => {}
            m if m % 1000 == 0 => text.push_str(&format!(".{:03}", m / 1000)),
            m => text.push_str(&format!(".{m:06}")),
        }
        text.push('Z');
        text
    }
}

/// A minute of UTC, counted from 1970-01-01T00:00Z; the grain of every window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(i64);

impl Minute {
    pub const fn new(number: i64) -> Minute {
        Minute(number)
    }
    pub const fn get(self) -> i64 {
        self.0
    }
    /// The instant at which this minute starts.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0 * MICROS_PER_MINUTE)
    }
    /// The minute `minutes` later (earlier if negative).
    pub const fn plus(self, minutes: i64) -> Minute {
        Minute(self.0 + minutes)
    }
    /// The hour that holds this minute, counted from 1970-01-01T00Z.
    pub const fn hour(self) -> i64 {
        self.0.div_euclid(60)
    }
}

/// A score, or a change of one: integer millionths of a point. 128 bits, since a single event may weigh 10^16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroPoints(i128);

impl MicroPoints {
    pub const ZERO: MicroPoints = MicroPoints(0);

    pub const fn new(micro_points: i128) -> MicroPoints {
        MicroPoints(micro_points)
    }
    pub const fn get(self) -> i128 {
        self.0
    }
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// As a decimal number of points with at most 6 decimals and none that is not needed: `12`, `0.5`, `-3.000001`.
    pub fn write_json(self, out: &mut Vec<u8>) {
        Decimal::new(self.0, 6).write_json(out);
    }
}

impl fmt::Display for MicroPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal::new(self.0, 6).fmt(f)
    }
}
impl Add for MicroPoints {
    type Output = MicroPoints;
    fn add(self, other: MicroPoints) -> MicroPoints {
        MicroPoints(self.0 + other.0)
    }
}
impl Sub for MicroPoints {
    type Output = MicroPoints;
    fn sub(self, other: MicroPoints) -> MicroPoints {
        MicroPoints(self.0 - other.0)
    }
}
impl Neg for MicroPoints {
    type Output = MicroPoints;
    fn neg(self) -> MicroPoints {
        MicroPoints(-self.0)
    }
}
impl AddAssign for MicroPoints {
    fn add_assign(&mut self, other: MicroPoints) {
        self.0 += other.0;
    }
}
impl SubAssign for MicroPoints {
    fn sub_assign(&mut self, other: MicroPoints) {
        self.0 -= other.0;
    }
}

/// An exact decimal number, `mantissa / 10^scale`, as it was written: `12.50` is 1250 at scale 2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    pub const ONE: Decimal = Decimal { mantissa: 1, scale: 0 };

    pub const fn new(mantissa: i128, scale: u32) -> Decimal {
        Decimal { mantissa, scale }
    }
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }
    pub const fn scale(self) -> u32 {
        self.scale
    }
    /// The same number at the smallest scale that holds it: `12.50` becomes 125 at scale 1.
    pub fn normalized(mut self) -> Decimal {
        if self.mantissa == 0 {
            return Decimal::default();
        }
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }
    /// Reads a JSON number (`-12.5e3` too) exactly. `None` where it needs more than 36 digits or a scale over 36.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (plain, exponent) = match digits.split_once(['e', 'E']) {
            Some((plain, exponent)) => (plain, exponent.parse::<i64>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let significant = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        let (mut mantissa, mut scale) = (0i128, fraction.len() as i64 - exponent);
        let all = significant.bytes().chain(fraction.bytes());
        let all: Vec<u8> = all.skip_while(|b| *b == b'0').collect();
        if all.is_empty() {
            return Some(Decimal::default());
        }
        if all.len() > 36 {
            return None;
        }
        for digit in all {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        while scale < 0 {
            mantissa = mantissa.checked_mul(10).filter(|m| *m < 10i128.pow(36))?;
            scale += 1;
        }
        (scale <= 36).then_some(Decimal { mantissa: sign * mantissa, scale: scale as u32 })
    }
    /// This number as an integer count of `10^-scale`, if it is one: `2.5` at scale 6 is 2,500,000.
    pub fn at_scale(self, scale: u32) -> Option<i128> {
        let small = self.normalized();
        if small.scale > scale {
            return None;
        }
        small.mantissa.checked_mul(10i128.checked_pow(scale - small.scale)?)
    }
    /// Writes the shortest decimal form, never with an exponent.
    pub fn write_json(self, out: &mut Vec<u8>) {
        let small = self.normalized();
        let mut buffer = itoa::Buffer::new();
        if small.scale == 0 {
            out.extend_from_slice(buffer.format(small.mantissa).as_bytes());
            return;
        }
        if small.mantissa < 0 {
            out.push(b'-');
        }
        let power = 10u128.pow(small.scale);
        let size = small.mantissa.unsigned_abs();
        out.extend_from_slice(buffer.format(size / power).as_bytes());
        out.push(b'.');
        let fraction = buffer.format(size % power);
        out.extend(std::iter::repeat_n(b'0', small.scale as usize - fraction.len()));
        out.extend_from_slice(fraction.as_bytes());
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        let (a, b) = (self.normalized(), other.normalized());
        a.mantissa == b.mantissa && a.scale == b.scale
    }
}
impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_json(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// The four domains of an artist's strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// A: cultural.
    Cultural,
    /// T: behavioral.
    Behavioral,
    /// G: economic.
    Economic,
    /// C: spatial.
    Spatial,
}

impl Domain {
    /// In the order A, T, G, C, which is also the order of the mutations of one event.
    pub const ALL: [Domain; 4] = [Domain::Cultural, Domain::Behavioral, Domain::Economic, Domain::Spatial];

    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn upper(self) -> &'static str {
        ["A", "T", "G", "C"][self as usize]
    }
    pub const fn lower(self) -> &'static str {
        ["a", "t", "g", "c"][self as usize]
    }
    /// From the letter that boards and their paths use: `a`, `t`, `g`, `c`.
    pub fn from_lower(letter: &str) -> Option<Domain> {
        Domain::ALL.into_iter().find(|domain| domain.lower() == letter)
    }
}

/// The span of time that a board looks back over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    Days7,
    Days30,
    AllTime,
}

impl Window {
    pub const ALL: [Window; 3] = [Window::Days7, Window::Days30, Window::AllTime];

    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn name(self) -> &'static str {
        ["7d", "30d", "alltime"][self as usize]
    }
    pub fn from_name(name: &str) -> Option<Window> {
        Window::ALL.into_iter().find(|window| window.name() == name)
    }
    /// Length in minutes; `None` for all time.
    pub const fn minutes(self) -> Option<i64> {
        match self {
            Window::Days7 => Some(7 * MINUTES_PER_DAY),
            Window::Days30 => Some(30 * MINUTES_PER_DAY),
            Window::AllTime => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_and_written_exactly() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("12.50", "12.5"),
            ("1e3", "1000"),
            ("1.08", "1.08"),
            ("25E-1", "2.5"),
            ("-0.000001", "-0.000001"),
            ("100000000000000000000", "100000000000000000000"),
        ] {
            assert_eq!(Decimal::parse(text).expect(text).to_string(), shown, "{text}");
        }
        for text in ["1e400", "", ".5", "1e-400", "+1", "NaN", "0x1", "1e99999999999999999999"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_minute_before_1970_is_floored() {
        assert_eq!(Timestamp::from_micros(-1).minute(), Minute::new(-1));
        assert_eq!(Minute::new(-1).hour(), -1);
    }

    #[test]
    fn a_time_is_shown_with_the_digits_it_needs() {
        assert_eq!(Timestamp::from_micros(0).to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_micros(1_250_000).to_rfc3339(), "1970-01-01T00:00:01.250Z");
        assert_eq!(Timestamp::from_micros(-1).to_rfc3339(), "1969-12-31T23:59:59.999999Z");
    }
}
