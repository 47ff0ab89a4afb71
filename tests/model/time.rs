//! RFC 3339 by hand: microseconds since 1970-01-01T00:00:00Z.

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
pub const MINUTES_PER_DAY: i64 = 1440;

/// The minute that holds this instant.
pub fn minute_of(micros: i64) -> i64 {
    micros.div_euclid(MINUTE)
}

/// `2026-05-01T20:15:00.25+02:00` in microseconds; digits past the sixth are cut. `None` where it is no such time.
pub fn parse(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let mark = |at: usize, any: &str| text.get(at..at + 1).filter(|c| any.contains(c));
    mark(4, "-")?;
    mark(7, "-")?;
    mark(10, "Tt")?;
    mark(13, ":")?;
    mark(16, ":")?;
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit())?;
        if end == 0 {
            return None;
        }
        let six: String = fraction[..end].chars().chain("000000".chars()).take(6).collect();
        micros = six.parse().ok()?;
        rest = &fraction[end..];
    }
    let offset_minutes = match rest {
        "Z" | "z" => 0,
        _ if rest.len() == 6 && rest.as_bytes()[3] == b':' => {
            let (hours, minutes): (i64, i64) = (rest[1..3].parse().ok()?, rest[4..6].parse().ok()?);
            let size = hours * 60 + minutes;
            match rest.as_bytes()[0] {
                b'+' if hours < 24 && minutes < 60 => size,
                b'-' if hours < 24 && minutes < 60 => -size,
                _ => return None,
            }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - offset_minutes * 60) * SECOND + micros)
}

/// In UTC with six decimals.
pub fn format(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_from_civil(year, month + 1, 1) <= days {
        month += 1;
    }
    let day = days - days_from_civil(year, month, 1) + 1;
    let (hour, minute, second) = (rest / HOUR, rest / MINUTE % 60, rest / SECOND % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", rest % SECOND)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, counted year by year and month by month.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let leaps = |before: i64| before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
}
