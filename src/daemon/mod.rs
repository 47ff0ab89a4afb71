//! The wiring of a daemon: what is opened in which order, and closed in the opposite one.
//!
//! ```text
//! <data>/lock          held exclusively for as long as the daemon lives: one process a directory
//! <data>/daemon.json   {"pid", "address"} of the daemon that holds the lock; removed when it stops in order
//! <data>/passport/     the log                        crate::passport
//! <data>/projections/  what is derived from it        crate::projection
//! <data>/snapshots/    copies of the log               crate::passport::snapshot
//! ```
//!
//! Start: lock, log (recovered), projections (they catch up behind the first answers), HTTP, `daemon.json`.
//! Stop: a snapshot under way is given up, HTTP finishes what it accepted, projections flush, the log syncs and closes, the
//! lock goes.
//!
//! Under systemd, [`notify`] says how that goes, and [`passed_socket`] takes the socket that it may have passed.

pub mod notify;
pub mod passed_socket;
mod projections;
mod schedule;

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::api::{Api, BoardPages, TopPages};
use crate::capture::CaptureLimits;
use crate::clock::Clock;
use crate::config::{Config, Durability as ConfiguredDurability};
use crate::disk::is_full;
use crate::http::{self, HttpLimits};
use crate::passport::snapshot::Store;
use crate::passport::{Durability, Passport, PassportOptions, Scrub, ScrubOptions};
use crate::projection::Consumers;
use crate::units::Seq;
use crate::world::World;
use projections::Projections;
use schedule::Schedule;

/// A daemon that serves, in this process, on threads of its own.
pub struct Running {
    address: SocketAddr,
    failures: crossbeam_channel::Receiver<String>,
    shutdown_timeout: Duration,
    stop_http: Option<oneshot::Sender<()>>,
    http: Option<JoinHandle<std::io::Result<()>>>,
    runtime: Option<Runtime>,
    consumers: Consumers,
    scrub: Scrub,
    snapshots: Arc<Store>,
    schedule: Option<Schedule>,
    passport: Option<Passport>,
    daemon_file: std::path::PathBuf,
    /// Held until everything else is closed.
    _lock: File,
}

/// Opens the data directory of `config`, takes its lock, and serves.
///
/// # Errors
/// Another process holds the directory; damage in the log; an address that is taken.
pub fn start(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Running> {
    start_on(config, clock, None, &|_, _| {})
}

/// The same on a socket that listens already, if there is one; `config.listen` is not used then. `tell` gets how far
/// opening the log has come, as [`Passport::open_telling`] says it.
///
/// # Errors
/// As [`start`].
pub fn start_on(
    config: Config,
    clock: Arc<dyn Clock>,
    passed: Option<TcpListener>,
    tell: &dyn Fn(Seq, Seq),
) -> anyhow::Result<Running> {
    let dir = config.data_dir.clone();
    fs::create_dir_all(&dir).with_context(|| format!("{}: cannot be made", dir.display()))?;
    let lock = take_lock(&dir)?;
    let connections_max = connections_within(raise_file_limit(), config.http.max_connections);
    let durability = match config.passport.durability {
        ConfiguredDurability::Sync => Durability::Sync,
        ConfiguredDurability::Interval => {
            let every = Duration::from_millis(config.passport.sync_interval_ms);
            tracing::warn!(
                every_ms = every.as_millis() as u64,
                "durability = \"interval\": answers do not wait for the disk"
            );
            Durability::Interval(every)
        }
    };
    let options = PassportOptions {
        dir: dir.join("passport"),
        segment_bytes: config.passport.segment_bytes,
        min_free_bytes: config.passport.min_free_bytes,
        durability,
        table_keys: config.passport.key_table_keys,
    };
    refuse_lost_log(&dir)?;
    let world = World::with_clock(clock.clone());
    let passport = Passport::open_telling(&options, &world, tell)?;
    let log = passport.log();
    let Projections { coliseum, treasury, mediaid, all: consumers } =
        Projections::start(&dir, &config, &passport, &world)?;
    let scrub = ScrubOptions {
        bytes_per_second: config.passport.scrub_bytes_per_second,
        interval: config.passport.scrub_interval,
    };
    let scrub = passport.start_scrub(scrub, clock.clone()).context("the scrub's thread cannot be started")?;
    let snapshots = Arc::new(Store::open(log.clone(), dir.join("snapshots"), config.passport.min_free_bytes));
    let schedule = Schedule::start(snapshots.clone(), clock.clone(), &config.snapshots)
        .context("the thread of scheduled snapshots cannot be started")?;
    let api = Arc::new(Api {
        clock,
        scrub: scrub.status(),
        appender: passport.appender(),
        writer: passport.status(),
        key_stats: passport.key_stats(),
        log,
        coliseum,
        treasury,
        mediaid,
        consumers: consumers.clone(),
        plans: config.plans,
        capture: CaptureLimits {
            at_ahead_seconds: config.capture.at_ahead_seconds_max,
            batch_events_max: config.capture.batch_events_max,
            batch_bytes_max: config.capture.batch_bytes_max,
        },
        lag_max: NonZeroU64::new(config.projections.lag_max),
        durable_answers: durability == Durability::Sync,
        min_free_bytes: config.passport.min_free_bytes,
        pages: BoardPages::default(),
        tops: TopPages::default(),
        snapshots: snapshots.clone(),
        taking_snapshot: Arc::new(Semaphore::new(1)),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("http")
        .build()
        .context("the threads that serve HTTP cannot be started")?;
    let (listener, address) = listen(&runtime, config.listen, passed)?;
    let (stop_http, stopped) = oneshot::channel();
    let limits = HttpLimits {
        max_connections: connections_max,
        max_inflight_bytes: config.http.max_inflight_bytes,
        ..HttpLimits::default()
    };
    let http = runtime.spawn(http::serve(listener, api, limits, async move {
        // An error means that the sender is gone, which stops as well.
        let _ = stopped.await;
    }));
    let daemon_file = dir.join("daemon.json");
    write_daemon_file(&daemon_file, address)?;
    Ok(Running {
        address,
        failures: watch_for_failure(&passport)?,
        shutdown_timeout: config.shutdown_timeout,
        stop_http: Some(stop_http),
        http: Some(http),
        runtime: Some(runtime),
        consumers,
        scrub,
        snapshots,
        schedule,
        passport: Some(passport),
        daemon_file,
        _lock: lock,
    })
}

impl Running {
    /// Where it listens; with port 0 configured, the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it stands, from now on.
    pub fn standing(&self) -> notify::Standing {
        let passport = self.passport.as_ref().expect("it is taken by the stop, which takes the daemon");
        notify::Standing { address: self.address, writer: passport.status(), consumers: self.consumers.clone() }
    }

    /// Gets one message when the daemon cannot go on (a sync that failed): the process has to end, with a failure.
    pub fn failures(&self) -> crossbeam_channel::Receiver<String> {
        self.failures.clone()
    }

    /// Stops accepting, finishes what was accepted, checkpoints, frees the directory.
    ///
    /// # Errors
    /// The server broke off, or what it had accepted did not end in time; what was acknowledged is on disk all the same.
    pub fn shutdown(mut self) -> anyhow::Result<()> {
        self.stop()
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let mut served = Ok(());
        // 1. A snapshot takes as long as it takes, and the request that waits for it is one of those that are waited for.
        self.snapshots.give_up();
        // 2. No new requests; those under way get their answers.
        drop(self.stop_http.take());
        if let (Some(runtime), Some(http)) = (self.runtime.take(), self.http.take()) {
            let ended = runtime.block_on(async { tokio::time::timeout(self.shutdown_timeout, http).await });
            served = match ended {
                Ok(Ok(ended)) => ended.context("the HTTP server broke off"),
                Ok(Err(error)) => Err(error).context("the HTTP server broke off"),
                Err(_) => {
                    tracing::warn!("requests were still under way after shutdown_timeout and are broken off");
                    Ok(())
                }
            };
            runtime.shutdown_timeout(RUNTIME_TIMEOUT);
        }
        // 3. Nothing is left of a snapshot when the log closes, and nothing is read in the background any more.
        self.snapshots.stop();
        drop(self.schedule.take());
        self.scrub.stop();
        // 4. Projections flush with a sync; the log syncs and closes.
        self.consumers.shutdown();
        if let Some(passport) = self.passport.take() {
            passport.close();
        }
        // 5. Nobody finds an address where nobody listens.
        if let Err(error) = fs::remove_file(&self.daemon_file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %self.daemon_file.display(), "cannot be removed");
        }
        served
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.passport.is_some()
            && let Err(error) = self.stop()
        {
            tracing::error!(error = format!("{error:#}"), "the daemon did not stop in order");
        }
    }
}

/// How long handlers on blocking threads may still run once the server has ended.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a start waits for the lock, and how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// One process a directory.
fn take_lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("{}: cannot be opened", path.display()))?;
    // A command that only looks holds the lock for a moment.
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut locked = file.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
        std::thread::sleep(LOCK_POLL);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {
            // What a crash left names a port that is another program's by now.
            let _ = fs::remove_file(dir.join("daemon.json"));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(dir.join("daemon.json")).unwrap_or_default();
            bail!(
                "{} is in use by another coliseum process {}; stop it first, or name another directory with --data-dir",
                dir.display(),
                holder.trim()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{}: cannot be locked", path.display())),
    }
}

/// A directory whose projections are there and whose log is not has lost its log; it must not get a new one in silence.
fn refuse_lost_log(dir: &Path) -> anyhow::Result<()> {
    let is_empty = |dir: &Path| fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    let projections = fs::read_dir(dir.join("projections")).into_iter().flatten().flatten();
    let has_projections = projections.map(|projection| projection.path()).any(|projection| !is_empty(&projection));
    if is_empty(&dir.join("passport")) && has_projections {
        bail!(
            "{}: there are projections and no log; the log (`passport/`) is missing. Put it back from a backup, or, to \
             start a new log, remove the directory `projections/`",
            dir.display()
        );
    }
    Ok(())
}

/// Segments, indexes and connections each take a descriptor: as many as the system lets us have.
/// Gives the limit that holds now; `None` for no limit.
fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// At most half of the open files are connections: the log needs its own to go on, and a writer that gets none for the
/// next segment's directory ends the daemon.
fn connections_within(files_max: Option<u64>, wanted: usize) -> usize {
    let most = files_max.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX).max(1));
    if most < wanted {
        tracing::warn!(
            most,
            wanted,
            "http.max_connections is more than half of the open files that the system allows; raise that"
        );
    }
    wanted.min(most)
}

fn listen(
    runtime: &Runtime,
    address: SocketAddr,
    passed: Option<TcpListener>,
) -> anyhow::Result<(tokio::net::TcpListener, SocketAddr)> {
    let taken = || format!("cannot listen on {address}; is another daemon there? --listen names another address");
    let _within = runtime.enter();
    let listener = match passed {
        Some(passed) => tokio::net::TcpListener::from_std(passed),
        None => runtime.block_on(tokio::net::TcpListener::bind(address)),
    };
    let listener = listener.with_context(taken)?;
    let address = listener.local_addr().with_context(taken)?;
    Ok((listener, address))
}

/// Whole or not there: a reader never sees half of it.
fn write_daemon_file(path: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let temporary = path.with_extension("json.tmp");
    let text = serde_json::json!({"pid": std::process::id(), "address": address.to_string()});
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{text}")?;
        fs::rename(&temporary, path)
    };
    unless_full(write(), path)
}

/// It starts on a full disk too, and serves reads; commands then need --url or the address.
fn unless_full(written: std::io::Result<()>, path: &Path) -> anyhow::Result<()> {
    match written {
        Err(error) if is_full(&error) => {
            tracing::warn!(%error, file = %path.display(), "cannot be written");
            Ok(())
        }
        written => written.with_context(|| format!("{}: cannot be written", path.display())),
    }
}

/// Tells of a log that has failed for good.
fn watch_for_failure(passport: &Passport) -> anyhow::Result<crossbeam_channel::Receiver<String>> {
    let (tell, failures) = crossbeam_channel::bounded(1);
    let mut failure = passport.failure();
    std::thread::Builder::new()
        .name("failures".into())
        .spawn(move || {
            let waiting = tokio::runtime::Builder::new_current_thread().build();
            let Ok(runtime) = waiting else { return };
            runtime.block_on(async {
                // An error means that the log was closed in order.
                if let Ok(why) = failure.wait_for(Option::is_some).await {
                    let _ = tell.send(why.clone().unwrap_or_default());
                }
            });
        })
        .context("the thread that watches the log cannot be started")?;
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn a_full_disk_and_a_quota_that_is_used_up_do_not_end_the_start() {
        for (kind, starts) in
            [(ErrorKind::StorageFull, true), (ErrorKind::QuotaExceeded, true), (ErrorKind::PermissionDenied, false)]
        {
            assert_eq!(unless_full(Err(kind.into()), Path::new("daemon.json")).is_ok(), starts, "{kind}");
        }
    }
}
