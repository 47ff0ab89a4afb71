//! What the commands write: data to stdout, messages to stderr, and nothing in either that a terminal would obey.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Clears the screen of a terminal and goes to its upper left corner.
pub const CLEAR_SCREEN: &str = "\x1b[H\x1b[J";

/// `text` with control characters written as escapes, so that what was stored cannot steer a terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                write!(out, "\\u{{{:x}}}", c as u32).expect("a String takes every write");
            }
            c => out.push(c),
        }
    }
    out
}

/// One JSON value on a line of stdout.
pub fn print_json(value: &serde_json::Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// Text to stdout.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A line to stderr. That nobody reads it is no reason to fail.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What a progress bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Entries,
}

/// A progress bar on stderr; without a terminal there it shows nothing. `total` 0: it is not known.
pub fn progress(what: &'static str, unit: Unit, total: u64) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let counts = match (unit, total) {
        (Unit::Bytes, 0) => "{bytes} ({bytes_per_sec}) {msg}",
        (Unit::Bytes, _) => "[{bar:30}] {bytes}/{total_bytes} ({bytes_per_sec}, {eta}) {msg}",
        (Unit::Entries, 0) => "{human_pos} {msg}",
        (Unit::Entries, _) => "[{bar:30}] {human_pos}/{human_len} ({per_sec}, {eta}) {msg}",
    };
    let style = ProgressStyle::with_template(&format!("{{prefix}} {counts}")).expect("the template is a constant");
    let total = (total > 0).then_some(total);
    ProgressBar::with_draw_target(total, target).with_prefix(what).with_style(style.progress_chars("=> "))
}

/// A count with thousands apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes for log lines: every control character but the line's end is escaped, so that one event stays one line.
pub struct EscapingStderr;

impl Write for EscapingStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (body, end) = text.strip_suffix('\n').map_or((text.as_ref(), ""), |body| (body, "\n"));
        let mut err = io::stderr().lock();
        err.write_all(printable(body).as_bytes())?;
        err.write_all(end.as_bytes())?;
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stored_can_steer_a_terminal() {
        assert_eq!(printable("a\x1b[31mb\r\n\u{9b}\u{202e}ü"), "a\\u{1b}[31mb\\r\\n\\u{9b}\\u{202e}ü");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
