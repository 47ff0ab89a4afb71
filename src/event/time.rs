//! RFC 3339 into microseconds, by plain arithmetic: the format is fixed, and every event has one.

use crate::units::Timestamp;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_MINUTE: i64 = 60;
const SECONDS_PER_HOUR: i64 = 3600;
const SECONDS_PER_DAY: i64 = 86_400;

/// The instants that can be written with a year of four digits other than 0000, in UTC.
const EARLIEST_MICROS: i64 = days_from_civil(1, 1, 1) * SECONDS_PER_DAY * MICROS_PER_SECOND;
const LATEST_MICROS: i64 = days_from_civil(10_000, 1, 1) * SECONDS_PER_DAY * MICROS_PER_SECOND - 1;

/// Reads RFC 3339 with an offset: `2026-05-01T20:15:00.25+02:00`, `t` and `z` in either case, `-00:00` as UTC.
///
/// Of the fraction, which may have any number of digits, the first six are kept. A leap second (`:60`, only where it
/// is 23:59 in UTC) is the second that follows, as in POSIX time, so that order is kept. `None` for anything else, and
/// for an instant outside the years 0001 to 9999 of UTC.
///
/// ```
/// use coliseum::event::parse_rfc3339;
/// let time = parse_rfc3339("2026-05-01T22:15:00.2500004+02:00").expect("has an offset");
/// assert_eq!(time.to_rfc3339(), "2026-05-01T20:15:00.250Z");
/// assert!(parse_rfc3339("2026-05-01T22:15:00").is_none(), "no offset");
/// ```
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (fixed, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let separators = [fixed[4], fixed[7], fixed[10].to_ascii_uppercase(), fixed[13], fixed[16]];
    if separators != *b"--T::" {
        return None;
    }
    let (year, month, day) = (digits(&fixed[..4])?, digits(&fixed[5..7])?, digits(&fixed[8..10])?);
    let (hour, minute, second) = (digits(&fixed[11..13])?, digits(&fixed[14..16])?, digits(&fixed[17..])?);
    let (micros, rest) = fraction(rest)?;
    let offset_seconds = offset(rest)?;
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let minute_start =
        days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * SECONDS_PER_HOUR + minute * SECONDS_PER_MINUTE
            - offset_seconds;
    let last_minute_of_the_day = SECONDS_PER_DAY - SECONDS_PER_MINUTE;
    if second == 60 && minute_start.rem_euclid(SECONDS_PER_DAY) != last_minute_of_the_day {
        return None;
    }
    let micros = (minute_start + second) * MICROS_PER_SECOND + micros;
    (EARLIEST_MICROS..=LATEST_MICROS).contains(&micros).then_some(Timestamp::from_micros(micros))
}

/// The microseconds of a fraction, if one stands first, and what follows it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let kept = digits(&text[..length.min(6)])?;
    let scale = [0, 100_000, 10_000, 1_000, 100, 10, 1][length.min(6)];
    Some((kept * scale, &text[length..]))
}

/// Seconds east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
            let seconds = hours * SECONDS_PER_HOUR + minutes * SECONDS_PER_MINUTE;
            let signed = if sign == b'-' { -seconds } else { seconds };
            (hours <= 23 && minutes <= 59).then_some(signed)
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar.
/// <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>: years start in March, so that the leap day
/// is the last, and repeat every 400 years (146,097 days).
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Option<String> {
        parse_rfc3339(text).map(Timestamp::to_rfc3339)
    }

    #[test]
    fn times_are_read_to_the_microsecond() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2024-02-29t23:59:59.9999999z", "2024-02-29T23:59:59.999999Z"),
            ("2026-05-01T00:30:00.25+02:00", "2026-04-30T22:30:00.250Z"),
            ("2026-05-01T00:30:00-00:00", "2026-05-01T00:30:00Z"),
            ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
            ("1957-03-03T00:00:00.0000001Z", "1957-03-03T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0000-12-31T23:00:00-01:00", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_the_second_that_follows() {
        assert_eq!(shown("2016-12-31T23:59:60.5Z").as_deref(), Some("2017-01-01T00:00:00.500Z"));
        assert_eq!(shown("2017-01-01T05:29:60+05:30").as_deref(), Some("2017-01-01T00:00:00Z"));
        for text in ["2016-12-31T23:58:60Z", "2017-01-01T05:30:60+05:00", "9999-12-31T23:59:60Z"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2026-05-01",
            "2026-05-01T20:15:00",
            "2026-05-01 20:15:00Z",
            "2026-05-01T20:15Z",
            "2026-05-01T20:15:00.Z",
            "2026-05-01T20:15:00,5Z",
            "2026-05-01T20:15:00+0200",
            "2026-05-01T20:15:00+02",
            "2026-05-01T20:15:00+24:00",
            "2026-05-01T20:15:00+02:60",
            "2026-05-01T20:15:00Z ",
            " 2026-05-01T20:15:00Z",
            "2026-05-01T20:15:00Z[UTC]",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-05-01T24:00:00Z",
            "2026-05-01T20:60:00Z",
            "2026-05-01T20:15:61Z",
            "+002026-05-01T20:15:00Z",
            "2026-5-1T20:15:00Z",
            "2026-05-01T20:15:0éZ",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn jiff_reads_the_same_time(
            year in 1i64..=9998, month in 0i64..=13, day in 0i64..=32,
            hour in 0i64..=24, minute in 0i64..=60, second in 0i64..60,
            fraction in prop::option::of("[0-9]{1,9}"),
            offset in prop_oneof![Just("Z".to_owned()), Just("z".to_owned()), "[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]"],
        ) {
            let fraction = fraction.map(|digits| format!(".{digits}")).unwrap_or_default();
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}");
            let expected = text.parse::<jiff::Timestamp>().ok().map(|time| time.as_nanosecond().div_euclid(1000) as i64);
            let read = parse_rfc3339(&text).map(Timestamp::micros);
            if year > 1 {
                prop_assert_eq!(read, expected, "{}", text);
            }
        }

        #[test]
        fn a_time_that_is_written_is_read_back(micros in EARLIEST_MICROS..=LATEST_MICROS) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(parse_rfc3339(&time.to_rfc3339()), Some(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC*", near in "[0-9T:.Z+é-]{15,30}") {
            parse_rfc3339(&text);
            parse_rfc3339(&near);
        }
    }
}
