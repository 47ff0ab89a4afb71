//! Rows 7 to 11: one store of many events, of 2 million users and 100,000 artists.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use super::process::{self, DAEMON, Daemon, File};
use super::table::{Measured, NotRun, grouped, median};

/// The workload repeats that part of its events, which are stored once.
const DUPLICATES: f64 = 0.02;
const MARK_MAX: u64 = 1_000_000;
const MARK_MIN: u64 = 100_000;
/// How many marks are looked at, at the start and at the end.
const MARKS: usize = 3;
const KILLS: u64 = 5;
const GIBIBYTE: f64 = 1024.0 * 1024.0 * 1024.0;

pub struct Store<'a> {
    bench: &'a Bench,
    /// Before the directory: it ends first.
    daemon: Option<Daemon>,
    dir: tempfile::TempDir,
    /// Events of one mark, and events a second in each.
    mark: u64,
    marks: Vec<f64>,
    events: u64,
}

impl<'a> Store<'a> {
    /// Fills it at full speed, and waits until nothing is left to do.
    pub fn fill(bench: &'a Bench) -> Result<Store<'a>> {
        let dir = bench.directory()?;
        let daemon = Daemon::start(dir.path())?;
        let mark = (bench.events / 50).clamp(MARK_MIN, MARK_MAX);
        let requests = (bench.events as f64 / (1.0 - DUPLICATES) / 1_000.0).ceil();
        eprintln!("  filling …");
        let words = format!("batch --connections 8 --requests {requests} --marks {mark}");
        let seen = bench.peers.load(&bench.wide, DAEMON, &words)?;
        let marks = seen["marks"].as_array().context("marks")?.iter().filter_map(Value::as_f64).collect();
        daemon.settle()?;
        let events = daemon.head()?;
        Ok(Store { bench, daemon: Some(daemon), dir, mark, marks, events })
    }

    fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().context("an earlier row lost the daemon")
    }

    fn at_events(&self) -> String {
        format!("at {} events", grouped(self.events as f64))
    }

    /// Row 7.
    pub fn throughput(&self) -> Result<Vec<Measured>> {
        let Some(last_at) = self.marks.len().checked_sub(MARKS).filter(|at| *at >= MARKS) else {
            return Err(NotRun(format!("{} has too few marks", self.at_events())).into());
        };
        let (first, last) = (median(&self.marks[..MARKS]), median(&self.marks[last_at..]));
        let note = format!(
            "{}: {} events/s in the first {MARKS} of {}, {} in the last {MARKS}",
            self.at_events(),
            grouped(first),
            grouped(self.mark as f64),
            grouped(last)
        );
        Ok(vec![Measured::new(last / first, [note])])
    }

    /// Row 8: the lengths of the sealed segments and of their entry indexes, over the events in them, and those of the
    /// runs of idempotency keys, over the events that these cover. The active segment, the one made ahead, and keys that
    /// are in memory yet count on neither side.
    pub fn bytes(&self) -> Result<Vec<Measured>> {
        let files = self.daemon()?.passport_files()?;
        let sum = |extension: &str| {
            files.iter().filter(|file| file.name.ends_with(extension)).map(|file| file.bytes as f64).sum::<f64>()
        };
        let active = files.iter().find_map(|file| file.name.strip_suffix(".seg")).context("an active segment")?;
        let sealed = active.parse::<f64>()? - 1.0;
        let keyed = keyed(&files)?;
        if sealed == 0.0 || keyed == 0.0 {
            return Err(NotRun(format!("{}: nothing is sealed yet", self.at_events())).into());
        }
        let (log, indexes, keys) = (sum(".segz") / sealed, sum(".idx") / sealed, sum(".keys") / keyed);
        let parts = format!("log {log:.1}, entry indexes {indexes:.1}, idempotency keys {keys:.1}");
        let counted = format!(
            "{}: .segz and .idx over {} events, .keys over {}",
            self.at_events(),
            grouped(sealed),
            grouped(keyed)
        );
        Ok(vec![Measured::new(log + indexes + keys, [parts, counted])])
    }

    /// Row 9: of the process that was filled.
    pub fn memory(&self) -> Result<Vec<Measured>> {
        let daemon = self.daemon()?;
        let (idle, peak) = (daemon.memory("VmRSS")?, daemon.memory("VmHWM")?);
        let (users, artists) = met(&self.bench.wide.join("events.ndjson"))?;
        let note =
            format!("{}, {} users, {} artists", self.at_events(), grouped(users as f64), grouped(artists as f64));
        Ok(vec![Measured::new(idle / GIBIBYTE, [note]), Measured::new(peak / GIBIBYTE, [])])
    }

    /// Row 10: from the start of the process to `/readyz` 200. The page cache is warm.
    pub fn restarts(&mut self) -> Result<Vec<Measured>> {
        let mut all = Vec::new();
        for kill in 0..KILLS {
            let daemon = self.daemon.take().context("an earlier row lost the daemon")?;
            let load = self.bench.peers.start_load(&self.bench.wide, DAEMON, "batch --seconds 120 --pool 200000")?;
            daemon.wait_for_events()?;
            std::thread::sleep(Duration::from_millis(1_000 + 1_370 * kill));
            daemon.kill();
            drop(load);
            let next = Daemon::start(self.dir.path())?;
            all.push(next.ready_after.as_secs_f64());
            self.daemon = Some(next);
        }
        self.events = self.daemon()?.head()?;
        let shown: Vec<String> = all.iter().map(|seconds| format!("{seconds:.2}")).collect();
        let note = format!("{}: {} s; page cache warm", self.at_events(), shown.join(", "));
        Ok(vec![Measured::new(all.into_iter().fold(0.0, f64::max), [note])])
    }

    /// Row 11: the whole command, the opening of the store included.
    pub fn rebuild(&mut self) -> Result<Vec<Measured>> {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop()?;
        }
        let (events, took) = process::rebuild(self.dir.path())?;
        let seconds = took.as_secs_f64();
        let note = format!("{} events in {seconds:.1} s", grouped(events));
        Ok(vec![Measured::new(events / seconds / 1e6, [note])])
    }
}

/// The last event that the runs of idempotency keys cover; they are named by their first and their last.
fn keyed(files: &[File]) -> Result<f64> {
    let ends = files.iter().filter_map(|file| file.name.strip_suffix(".keys")?.split_once('-'));
    let ends: Vec<f64> = ends.map(|(_, last)| last.parse::<f64>()).collect::<Result<_, _>>()?;
    Ok(ends.into_iter().fold(0.0, f64::max))
}

/// How many users and artists the events are of.
fn met(events: &Path) -> Result<(usize, usize)> {
    let (mut users, mut artists) = (HashSet::new(), HashSet::new());
    for line in BufReader::with_capacity(1 << 20, fs::File::open(events)?).split(b'\n') {
        let line = line?;
        let id = |name: &str| -> Option<[u8; 36]> {
            let at = memchr::memmem::find(&line, name.as_bytes())? + name.len();
            line.get(at..at + 36)?.try_into().ok()
        };
        users.extend(id(r#""userId":""#));
        artists.extend(id(r#""artistId":""#).or_else(|| id(r#""targetId":""#)));
    }
    ensure!(!users.is_empty(), "no users in {}", events.display());
    Ok((users.len(), artists.len()))
}
