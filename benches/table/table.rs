//! What each row has to reach, and how a line of it is printed.

use std::fmt;

use anyhow::{Error, Result};

/// A line of the table: what is judged, and by what.
pub struct Row {
    pub number: u8,
    what: &'static str,
    bar: Bar,
}

/// What a figure has to reach.
struct Bar {
    better: Better,
    least: f64,
    aim: f64,
    unit: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Better {
    More,
    Less,
}
use Better::{Less, More};

pub const TABLE: [Row; 12] = [
    row(1, "one event a request, 64 connections, against a bare hyper POST server", bar(More, 0.65, 0.8, "x")),
    row(
        2,
        "batches of 1,000, 8 connections, sustained, against a hyper server that only parses",
        bar(More, 0.15, 0.3, "x"),
    ),
    row(3, "top-100 board, 32 connections, against a bare hyper server with the same bytes", bar(More, 0.9, 0.97, "x")),
    row(4, "5,000 board reads/s beside 50,000 events/s in batches: p99", bar(Less, 1.0, 0.6, "ms")),
    row(5, "receipt to visible on the board beside 50,000 events/s in batches: p99", bar(Less, 50.0, 10.0, "ms")),
    row(6, "receipt of one idle connection, p50, against one 4 KiB write + fdatasync", bar(Less, 1.6, 1.25, "x")),
    row(7, "batch throughput, the last three marks against the first three", bar(More, 0.85, 0.95, "x")),
    row(8, "on disk per event of 300 bytes: log, indexes and idempotency, sealed", bar(Less, 110.0, 80.0, "bytes")),
    row(9, "resident memory once idle, 2 million users, 100,000 artists", bar(Less, 1.5, 0.8, "GiB")),
    row(9, "resident memory at its peak, the filling included", bar(Less, 1.5, 0.8, "GiB")),
    row(10, "ready after kill -9 under load, the slowest", bar(Less, 2.0, 0.5, "s")),
    row(11, "rebuild of all projections, the daemon stopped", bar(More, 1.0, 1.5, "M ev/s")),
];

const fn row(number: u8, what: &'static str, bar: Bar) -> Row {
    Row { number, what, bar }
}

const fn bar(better: Better, least: f64, aim: f64, unit: &'static str) -> Bar {
    Bar { better, least, aim, unit }
}

impl Bar {
    fn reached(&self, value: f64) -> &'static str {
        let passes = |bar: f64| if self.better == More { value >= bar } else { value <= bar };
        match (passes(self.least), passes(self.aim)) {
            (true, true) => "aim",
            (true, false) => "yes",
            _ => "NO",
        }
    }
    fn shown(&self, value: f64) -> String {
        format!("{} {value} {}", if self.better == More { ">=" } else { "<=" }, self.unit)
    }
}

/// The figure of a line, in the unit of its bar, and the lines that say what it is made of.
pub struct Measured {
    pub value: f64,
    /// What it also has to be; where it is not, the row is not reached whatever the figure.
    pub but: Option<String>,
    pub notes: Vec<String>,
}

impl Measured {
    pub fn new(value: f64, notes: impl IntoIterator<Item = String>) -> Measured {
        Measured { value, but: None, notes: notes.into_iter().collect() }
    }
}

/// Why a row was not tried. Any other error means that it was, and did not work.
#[derive(Debug, Clone)]
pub struct NotRun(pub String);

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotRun {}

/// An error that more than one row has.
pub fn again(error: &Error) -> Error {
    match error.downcast_ref::<NotRun>() {
        Some(not_run) => not_run.clone().into(),
        None => anyhow::anyhow!("{error:#}"),
    }
}

pub fn print_head() {
    print_line("row", "result", "at least", "aim", "reached", "what");
}

/// The lines of one row.
pub fn print_rows(number: u8, measured: Result<Vec<Measured>>) {
    let rows = TABLE.iter().filter(|row| row.number == number);
    match measured {
        Ok(all) => rows.zip(all).for_each(|(row, measured)| {
            let reached = if measured.but.is_some() { "NO" } else { row.bar.reached(measured.value) };
            print_row(row, &format!("{} {}", figure(measured.value), row.bar.unit), reached);
            measured.but.iter().chain(&measured.notes).for_each(|note| print_note(note));
        }),
        Err(error) => {
            let word = if error.is::<NotRun>() { "not run" } else { "FAILED" };
            rows.for_each(|row| print_row(row, "-", word));
            print_note(&format!("{}: {error:#}", word.to_lowercase()));
        }
    }
}

fn print_row(row: &Row, result: &str, reached: &str) {
    let (least, aim) = (row.bar.shown(row.bar.least), row.bar.shown(row.bar.aim));
    print_line(&row.number.to_string(), result, &least, &aim, reached, row.what);
}

fn print_line(number: &str, result: &str, least: &str, aim: &str, reached: &str, what: &str) {
    println!("{number:>3}  {result:>12}  {least:>13}  {aim:>13}  {reached:<7}  {what}");
}

fn print_note(note: &str) {
    println!("{:60}{note}", "");
}

/// Peers that are servers to install: this bench starts none.
pub fn print_peers() {
    println!(
        "\npeers that need a server installed; scripts of shared/peers, to be run by hand, in turn with rows 1 to 3:"
    );
    println!("  Redis, appendfsync always: not run; run-redis.sh redis-best");
    println!("  PostgreSQL, fsync: not run; run-pg.sh best");
}

/// Three digits behind the point where they say something.
fn figure(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.3}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// 1234567 as 1,234,567.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
