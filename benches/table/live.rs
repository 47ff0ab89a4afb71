//! Rows 1 to 6: one daemon, its clients, and what the machine could do at most.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use super::process::{DAEMON, Daemon, LIMIT, get, get_json, number, post_lines};
use super::table::{Measured, grouped, median};

const BOARD: &str = "/api/coliseum/leaderboards/a/7d?limit=100";
const TURNS: usize = 5;
/// Turns of a minute.
const LONG_TURNS: usize = 3;
/// What rows 4 and 5 are measured beside, in batches of 1,000.
const BESIDE_PER_SECOND: f64 = 50_000.0;
/// The batches go on for so long after the measurement, in seconds.
const BESIDE_LONGER: f64 = 5.0;
const READS_PER_SECOND: f64 = 5_000.0;
/// Less of a rate is not the rate that the row is about.
const RATE_KEPT: f64 = 0.95;
const LAG_MAX_MS: f64 = 1_000.0;
/// A receipt holds a write and its sync: one that is faster says that the machine changed between the turns.
const RECEIPT_LEAST: f64 = 0.9;

/// Row 1.
pub fn singles(bench: &Bench) -> Result<Vec<Measured>> {
    let dir = bench.directory()?;
    let daemon = Daemon::start(dir.path())?;
    let words = format!("single --connections 64 --warmup 0.5 --seconds {}", bench.turn);
    let ours = || {
        let seen = bench.peers.load(&bench.standard, DAEMON, &words)?;
        // The limit's turn is not to pay for work of the daemon that is still to do.
        daemon.settle()?;
        number(&seen, "/requests_per_s")
    };
    let theirs = || limit(bench, "post", None, &words, "/requests_per_s");
    Ok(vec![in_turn(TURNS, ours, theirs)?.measured("events/s", "bare hyper, POST")])
}

/// Row 2: each turn on a log that starts empty.
pub fn batches(bench: &Bench) -> Result<Vec<Measured>> {
    let mut drains = Vec::new();
    let ours = || {
        let dir = bench.directory()?;
        let _daemon = Daemon::start(dir.path())?;
        let words = format!("batch --connections 8 --seconds {} --drain /api/passport/consumers", bench.seconds);
        let seen = bench.peers.load(&bench.standard, DAEMON, &words)?;
        drains.push(number(&seen, "/drain_ms")?);
        number(&seen, "/events_per_s")
    };
    let words = format!("batch --connections 8 --warmup 0.5 --seconds {}", bench.turn);
    let theirs = || limit(bench, "parse-fast", None, &words, "/events_per_s");
    let mut measured = in_turn(LONG_TURNS, ours, theirs)?.measured("events/s", "hyper that parses");
    // Less than 0: not within a minute.
    if drains.iter().any(|drain| !(0.0..=LAG_MAX_MS).contains(drain)) {
        measured.but = Some("the projections had not applied everything 1 s after the last receipt".into());
    }
    let shown: Vec<String> = drains.iter().map(|drain| format!("{drain:.0}")).collect();
    let seconds = bench.seconds;
    measured.notes.push(format!(
        "{seconds} s a turn; all applied {} ms after the last receipt (-1: not in 60 s)",
        shown.join(", ")
    ));
    Ok(vec![measured])
}

/// Row 3.
pub fn boards(bench: &Bench) -> Result<Vec<Measured>> {
    let dir = bench.directory()?;
    let _daemon = filled(bench, dir.path())?;
    let rows = get_json(BOARD)?["entries"].as_array().map_or(0, Vec::len);
    ensure!(rows == 100, "the board has {rows} rows");
    let body = dir.path().join("board.json");
    fs::write(&body, get(BOARD)?)?;
    let words = format!("read --connections 32 --warmup 0.5 --seconds {}", bench.turn);
    let ours = || number(&bench.peers.load(&bench.standard, DAEMON, &words)?, "/requests_per_s");
    let theirs = || limit(bench, "static", Some(&body), &words, "/requests_per_s");
    let mut measured = in_turn(TURNS, ours, theirs)?.measured("boards/s", "bare hyper, the same bytes");
    measured.notes.push(format!("{} bytes a board", fs::metadata(&body)?.len()));
    Ok(vec![measured])
}

/// Row 4.
pub fn reads_beside_writes(bench: &Bench) -> Result<Vec<Measured>> {
    let dir = bench.directory()?;
    let daemon = filled(bench, dir.path())?;
    let words = format!("read --rate {READS_PER_SECOND} --connections 32 --warmup 1 --seconds {}", bench.seconds);
    let (seen, written) = beside_batches(bench, &daemon, &words)?;
    let reads = number(&seen, "/requests_per_s")?;
    ensure!(reads >= RATE_KEPT * READS_PER_SECOND, "only {reads:.0} reads/s were answered");
    let note = format!("{} reads/s answered, {} events/s taken", grouped(reads), grouped(written));
    let others =
        format!("p50 {}, p99.9 {}", milliseconds(&seen, "/latency_us/p50")?, milliseconds(&seen, "/latency_us/p99.9")?);
    Ok(vec![Measured::new(number(&seen, "/latency_us/p99")? / 1000.0, [note, others])])
}

/// Row 5.
pub fn receipt_to_board(bench: &Bench) -> Result<Vec<Measured>> {
    let dir = bench.directory()?;
    let daemon = filled(bench, dir.path())?;
    put_probe_on_board()?;
    daemon.settle()?;
    let (seen, written) = beside_batches(bench, &daemon, &format!("fresh --seconds {}", bench.seconds))?;
    for name in ["not_in_10_s", "inconsistent"] {
        let votes = number(&seen, &format!("/{name}"))?;
        ensure!(votes == 0.0, "{votes} votes: {name}");
    }
    let note = format!("{} votes, {} events/s taken", grouped(number(&seen, "/probes")?), grouped(written));
    let others =
        format!("p50 {}, max {}", milliseconds(&seen, "/visible_us/p50")?, milliseconds(&seen, "/visible_us/max")?);
    Ok(vec![Measured::new(number(&seen, "/visible_us/p99")? / 1000.0, [note, others])])
}

/// Row 6.
pub fn lone_receipt(bench: &Bench) -> Result<Vec<Measured>> {
    let dir = bench.directory()?;
    let daemon = filled(bench, dir.path())?;
    let words = format!("single --connections 1 --warmup 0.5 --seconds {}", bench.turn);
    let ours = || {
        let seen = bench.peers.load(&bench.standard, DAEMON, &words)?;
        daemon.settle()?;
        number(&seen, "/latency_us/p50")
    };
    let theirs = || bench.peers.fdatasync(dir.path(), bench.turn);
    let measured = in_turn(TURNS, ours, theirs)?.measured("us", "write + fdatasync");
    let (ratio, note) = (measured.value, measured.notes.concat());
    ensure!(ratio >= RECEIPT_LEAST, "a receipt is not faster than the sync in it; the machine is not quiet ({note})");
    Ok(vec![measured])
}

/// A daemon whose boards are full, and that has nothing to do.
fn filled(bench: &Bench, dir: &Path) -> Result<Daemon> {
    let daemon = Daemon::start(dir)?;
    bench.peers.load(&bench.standard, DAEMON, &format!("batch --requests {}", super::STANDARD_EVENTS / 1_000))?;
    daemon.settle()?;
    Ok(daemon)
}

/// The artist that `fresh` votes for has to be among the first hundred from its first vote on.
fn put_probe_on_board() -> Result<()> {
    let (now, mut lines) = (jiff::Timestamp::now(), String::new());
    for vote in 0..200 {
        writeln!(
            lines,
            r#"{{"type":"coliseum.vote_cast","messageId":"before-{vote}","userId":"perf-user","at":"{now:.3}","artistId":"perf-probe","eventId":"perf-event","weight":1000}}"#
        )?;
    }
    post_lines("/api/passport/batch", &lines)
}

/// What a load saw while the batches came in, and how many events a second these were.
fn beside_batches(bench: &Bench, daemon: &Daemon, words: &str) -> Result<(Value, f64)> {
    let (rate, seconds) = (BESIDE_PER_SECOND / 1_000.0, bench.seconds + BESIDE_LONGER);
    let batches = format!("batch --rate {rate} --seconds {seconds}");
    let mut beside = bench.peers.start_load(&bench.standard, DAEMON, &batches)?;
    daemon.wait_for_events()?;
    let seen = bench.peers.load(&bench.standard, DAEMON, words)?;
    ensure!(!beside.has_ended()?, "the batches beside it ended first");
    let written = number(&beside.finish().context("the batches beside it")?, "/events_per_s")?;
    ensure!(written >= RATE_KEPT * BESIDE_PER_SECOND, "only {written:.0} events/s were taken beside it");
    Ok((seen, written))
}

/// What a limit server does under the same load.
fn limit(bench: &Bench, mode: &str, body: Option<&Path>, words: &str, figure: &str) -> Result<f64> {
    let _server = bench.peers.limit(mode, body)?;
    number(&bench.peers.load(&bench.standard, LIMIT, words)?, figure)
}

fn milliseconds(seen: &Value, pointer: &str) -> Result<String> {
    Ok(format!("{:.2} ms", number(seen, pointer)? / 1000.0))
}

/// The figures of all turns: the daemon's, and the limit's.
struct Turns {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// One after the other, so that both meet the same machine.
fn in_turn(
    turns: usize,
    mut ours: impl FnMut() -> Result<f64>,
    mut theirs: impl FnMut() -> Result<f64>,
) -> Result<Turns> {
    let mut all = Turns { ours: Vec::new(), theirs: Vec::new() };
    for turn in 1..=turns {
        let (one, other) = (ours().context("coliseum")?, theirs().context("the limit")?);
        eprintln!("  turn {turn}: {} and {}, {:.3}", grouped(one), grouped(other), one / other);
        all.ours.push(one);
        all.theirs.push(other);
    }
    Ok(all)
}

impl Turns {
    fn measured(&self, unit: &str, limit: &str) -> Measured {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(one, other)| one / other).collect();
        let (ours, theirs) = (grouped(median(&self.ours)), grouped(median(&self.theirs)));
        let (low, high) =
            ratios.iter().fold((f64::MAX, f64::MIN), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
        let note = format!("{ours} {unit}; {limit}: {theirs}; {} turns, {low:.3} to {high:.3}", ratios.len());
        Measured::new(median(&ratios), [note])
    }
}
