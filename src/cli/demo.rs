//! `coliseum demo`: a daemon in a directory of its own, a stream of plausible events through its HTTP API, and the
//! boards that move. Nothing of it is left at the end.

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use super::attach::Consumers;
use super::client::{Client, Request};
use super::generate::Generator;
use super::output::{self, CLEAR_SCREEN, grouped};
use super::{Outcome, Status, signal, top};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::{self, Running};
use crate::units::Timestamp;

/// Events of the past days that are logged first, so that the boards have a yesterday.
const HISTORY_EVENTS: u64 = 6_000;
const HISTORY_DAYS: u64 = 9;
const HISTORY_BATCH: usize = 1_000;
const TICK: Duration = Duration::from_millis(100);
const REDRAW_EVERY: Duration = Duration::from_secs(1);
/// Between two prints where stdout is no terminal.
const PRINT_EVERY: Duration = Duration::from_secs(5);
const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum demo
  coliseum demo --seconds 10 --events-per-second 500

It serves on 127.0.0.1:7878 (or a free port, where that one is taken) from a directory that is removed at the end.
Ctrl-C ends it.")]
pub struct DemoArgs {
    /// End after so many seconds [default: with Ctrl-C]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Events that happen in a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    events_per_second: u64,
}

/// What counts of a batch's answer.
#[derive(Deserialize)]
struct BatchAnswer {
    accepted: u64,
    rejected: u64,
}

pub fn run(args: &DemoArgs) -> Outcome {
    let dir = tempfile::Builder::new().prefix("coliseum-demo-").tempdir().context("making a directory for the demo")?;
    let signals = signal::stop_signals()?;
    let listen = free_address()?;
    // A demo must run on a box that has little room, too.
    let mut config = Config { data_dir: dir.path().to_path_buf(), listen, ..Config::default() };
    config.passport.min_free_bytes = 16 * 1024 * 1024;
    let running = daemon::start(config, Arc::new(SystemClock))?;
    let shown = show(args, &running, &signals);
    let stopped = running.shutdown();
    let (events, seconds) = shown?;
    stopped?;
    output::print(&format!(
        "\n{} events in {seconds:.0} s, each on disk before it was answered; the demo's directory is removed.\n\
         Your own: `coliseum` serves ./data, `coliseum import FILE` fills it, `coliseum top a 7d` shows who leads.\n",
        grouped(events)
    ))?;
    Ok(Status::Good)
}

/// The usual address, or a free port where that one is taken.
fn free_address() -> io::Result<SocketAddr> {
    let usual = Config::default().listen;
    match TcpListener::bind(usual) {
        Ok(_) => Ok(usual),
        Err(_) => Ok(SocketAddr::new(usual.ip(), 0)),
    }
}

/// Feeds and shows until the end: how many events there are, after how many seconds.
fn show(
    args: &DemoArgs,
    running: &Running,
    signals: &crossbeam_channel::Receiver<&'static str>,
) -> anyhow::Result<(u64, f64)> {
    let mut client = Client::new(running.address());
    let mut generator = Generator::unique("demo")?;
    let mut events = history(&mut client, &mut generator)?;
    let started = Instant::now();
    let terminal = io::stdout().is_terminal();
    let every = if terminal { REDRAW_EVERY } else { PRINT_EVERY };
    let (mut live, mut next_draw) = (0, started);
    loop {
        let elapsed = started.elapsed();
        let over = args.seconds.is_some_and(|seconds| elapsed >= Duration::from_secs(seconds));
        let due = (elapsed.as_secs_f64() * args.events_per_second as f64) as u64;
        if due > live {
            // A machine that cannot keep up gets whole batches, and falls behind.
            let count = (due - live).min(HISTORY_BATCH as u64);
            events += post(&mut client, (0..count).map(|_| (SystemClock.now(), &mut generator).into()))?;
            live += count;
        }
        if Instant::now() >= next_draw || over {
            draw(&mut client, running.address(), events, terminal)?;
            next_draw = Instant::now() + every;
        }
        if over || signals.recv_timeout(TICK).is_ok() {
            return Ok((events, started.elapsed().as_secs_f64()));
        }
        if let Ok(failure) = running.failures().try_recv() {
            anyhow::bail!("the daemon cannot go on: {failure}");
        }
    }
}

/// An event's JSON on a line of its own.
struct Line(Vec<u8>);

impl From<(Timestamp, &mut Generator)> for Line {
    fn from((at, generator): (Timestamp, &mut Generator)) -> Line {
        let mut line = Vec::new();
        generator.event(at, &mut line);
        line.push(b'\n');
        Line(line)
    }
}

/// Logs profiles, line-ups and some days of history; how many events that were.
fn history(client: &mut Client, generator: &mut Generator) -> anyhow::Result<u64> {
    let now = SystemClock.now();
    let start = now.moved_by_micros(-((HISTORY_DAYS * 86_400_000_000) as i64));
    let opening = generator.opening(start);
    let mut events = post(client, opening.into_iter().map(|event| Line(format!("{event}\n").into_bytes())))?;
    let step = HISTORY_DAYS * 86_400_000_000 / HISTORY_EVENTS;
    let mut made = 0;
    while made < HISTORY_EVENTS {
        let batch = (made..HISTORY_EVENTS).take(HISTORY_BATCH);
        made += batch.clone().count() as u64;
        let times = batch.map(|number| start.moved_by_micros((number * step) as i64));
        events += post(client, times.map(|at| (at, &mut *generator).into()))?;
    }
    Ok(events)
}

/// Posts one batch of lines; how many were stored.
fn post(client: &mut Client, lines: impl Iterator<Item = Line>) -> anyhow::Result<u64> {
    let body: Vec<u8> = lines.flat_map(|line| line.0).collect();
    let target = "/api/passport/batch";
    let answer: BatchAnswer = client.send_ok(Request::post(target, NDJSON, &body))?.json(target)?;
    anyhow::ensure!(answer.rejected == 0, "the daemon rejected {} events of the demo", answer.rejected);
    Ok(answer.accepted)
}

/// The boards, and what to try next.
fn draw(client: &mut Client, address: SocketAddr, events: u64, terminal: bool) -> anyhow::Result<()> {
    let path = |board: &str| format!("/api/coliseum/leaderboards/{board}?limit=8");
    let [cultural, economic] = ["a/7d", "g/7d"].map(path);
    let boards = [top::get(client, &cultural)?, top::get(client, &economic)?].map(|board| top::table(&board));
    let lag = Consumers::get(client).map(|now| now.head_seq - now.applied().min(now.head_seq))?;
    let clear = if terminal { CLEAR_SCREEN } else { "" };
    let [left, right] = &boards;
    let json = r#"{"type":"coliseum.vote_cast","userId":"you","artistId":"artist-7","eventId":"show-1","weight":500,"at":"'$(date -u +%FT%TZ)'"}"#;
    output::print(&format!(
        "{clear}Coliseum demo: {} events in the log, {lag} not yet on the boards, http://{address}\n\n{}\n\
         Try in another terminal:\n\
         \x20 curl http://{address}/api/passport/log -d '{json}'\n\
         \x20 curl http://{address}/api/coliseum/leaderboards/a/7d\n\
         \x20 curl http://{address}/api/coliseum/leaderboards/a/7d/artist-7/why\n\
         \x20 curl -N http://{address}/api/passport/stream\n",
        grouped(events),
        beside(left, right)
    ))?;
    Ok(())
}

/// Two blocks of text side by side.
fn beside(left: &str, right: &str) -> String {
    let width = left.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let (mut left, mut right) = (left.lines(), right.lines());
    let mut out = String::new();
    loop {
        let (one, other) = (left.next(), right.next());
        if one.is_none() && other.is_none() {
            return out;
        }
        let row = format!("{:<width$}   {}", one.unwrap_or(""), other.unwrap_or(""));
        out.push_str(row.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_unequal_height_stand_side_by_side() {
        assert_eq!(beside("a\nlänger\n", "x\ny\nz\n"), "a        x\nlänger   y\n         z\n");
        assert_eq!(beside("a\nb\n", ""), "a\nb\n");
    }
}
