//! Numbers and names as a person reads them.

use crate::coliseum::metrics::Days;
use crate::event::Metric;
use crate::units::{Domain, MicroPoints};

/// `1,234,567.5`: micro-points as points, with as many decimals as they need, at most two.
pub fn points(score: MicroPoints) -> String {
    decimal(score.get(), 1_000_000, 2)
}

/// `1,234.50`: cents as major units.
pub fn money(cents: i128) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let size = cents.unsigned_abs();
    format!("{sign}{}.{:02}", grouped(size / 100), size % 100)
}

/// A quotient of cents.
pub fn money_per(cents: Option<f64>) -> String {
    cents.map_or_else(|| "–".to_owned(), |cents| money(cents.round() as i128))
}

/// `12.5 %`
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// With two decimals.
pub fn plain(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

/// `12,345`
pub fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `units / per`, rounded half up to at most so many decimals, without zeros behind.
fn decimal(units: i128, per: u128, decimals: u32) -> String {
    let scale = 10u128.pow(decimals);
    let scaled = (units.unsigned_abs() * scale + per / 2) / per;
    let sign = if units < 0 && scaled > 0 { "-" } else { "" };
    let (whole, fraction) = (grouped(scaled / scale), scaled % scale);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:0width$}", width = decimals as usize);
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

/// What a sum of a metric says: votes with their weight, money in major units.
pub fn sum(metric: Metric, sum: i128) -> String {
    match metric {
        Metric::VotesCast => points(MicroPoints::new(sum)),
        metric if metric.is_money() => money(sum),
        _ if sum < 0 => format!("-{}", grouped(sum.unsigned_abs())),
        _ => grouped(sum.unsigned_abs()),
    }
}

pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::EventsAttended => "Attendances",
        Metric::MoneySpent => "Money spent, less refunds",
        Metric::MoneyEarned => "Money earned, less reversals",
        Metric::VotesCast => "Votes",
        Metric::TracksPlayed => "Plays",
        Metric::Favorites => "Favorites",
        Metric::Follows => "Follows",
        Metric::Shares => "Shares",
    }
}

pub const fn domain_name(domain: Domain) -> &'static str {
    match domain {
        Domain::Cultural => "Cultural",
        Domain::Behavioral => "Behavioral",
        Domain::Economic => "Economic",
        Domain::Spatial => "Spatial",
    }
}

/// `the last 30 days`
pub fn period(days: Days) -> String {
    match days {
        Days::Last(1) => "the last day".to_owned(),
        Days::Last(days) => format!("the last {days} days"),
        Days::AllTime => "all time".to_owned(),
    }
}

/// The day of a time as an answer writes it: `2026-05-01`.
pub fn day(rfc3339: &str) -> &str {
    rfc3339.split_once('T').map_or(rfc3339, |(day, _)| day)
}

/// Text that stands for itself in HTML and SVG, in attributes too. What cannot stand there is left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_a_person_writes_them() {
        for (micro, shown) in [
            (0, "0"),
            (1_500_000, "1.5"),
            (-1_500_000, "-1.5"),
            (1_234_567_890_000, "1,234,567.89"),
            (4_999, "0"),
            (5_000, "0.01"),
            (-4_999, "0"),
            (999_995_000, "1,000"),
        ] {
            assert_eq!(points(MicroPoints::new(micro)), shown, "{micro}");
        }
        for (cents, shown) in [(0, "0.00"), (5, "0.05"), (-123_456, "-1,234.56"), (100_000_000, "1,000,000.00")] {
            assert_eq!(money(cents), shown);
        }
        assert_eq!((percent(Some(0.375)), percent(None)), ("37.5 %".to_owned(), "–".to_owned()));
        assert_eq!(money_per(Some(6429.4)), "64.29");
        assert_eq!(sum(Metric::VotesCast, 2_500_000), "2.5");
        assert_eq!(sum(Metric::MoneySpent, 250), "2.50");
        assert_eq!(sum(Metric::Shares, 1_250), "1,250");
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        assert_eq!(escaped("<a b=\"c\" d='e'>&\u{1}"), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp; ");
    }
}
