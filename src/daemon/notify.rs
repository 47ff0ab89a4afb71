//! What systemd is told: that the daemon is ready, how a long start gets on, that the log's writer works, that it stops.
//!
//! A unit of `Type=notify` counts as started with READY=1. That is sent when `/readyz` would be 200 for the first time;
//! and also when it would not, but waiting or a restart would change nothing: reads are served on a full disk, and the
//! log takes events while a projection is held up. The status line says so then.
//!
//! - **A long start** sends EXTEND_TIMEOUT_USEC for as long as it gets on: entries are read, entries are folded. One
//!   that stands still does not, and is ended by `TimeoutStartSec`.
//! - **The watchdog** is fed by the writer's own heartbeat and by nothing else: a sync that hangs keeps the writer from
//!   coming round, and systemd ends the daemon `WatchdogSec` later. What had no sync by then was acknowledged to nobody.
//!
//! Without NOTIFY_SOCKET in the environment all of it is nothing, and no thread runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use parking_lot::Mutex;
use sd_notify::NotifyState;

use crate::passport::WriterStatus;
use crate::projection::{ConsumerStatus, Consumers};
use crate::units::Seq;

/// The longest time between two looks at the daemon.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What a start that gets on asks for, from now on, with each look.
const START_EXTENSION: Duration = Duration::from_secs(60);
/// What a stop asks for on top of `shutdown_timeout`: the projections' last flush, and the log's.
const STOP_EXTENSION: Duration = Duration::from_secs(60);
/// The watchdog is fed this many times in `WatchdogSec`.
const FEEDS_PER_WATCHDOG: u32 = 4;

/// Tells systemd how the daemon is doing, on a thread of its own, until it is dropped.
pub struct Notifier {
    shared: Arc<Shared>,
    /// `None` where no service manager listens.
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

/// What the start puts down and the thread looks at.
#[derive(Default)]
struct Shared {
    opening: Opening,
    standing: Mutex<Option<Standing>>,
}

/// How far the log's opening has come, where it has more to read than it should.
#[derive(Default)]
struct Opening {
    read: AtomicU64,
    of: AtomicU64,
}

/// How a daemon that serves stands.
pub struct Standing {
    pub(super) address: SocketAddr,
    pub(super) writer: Arc<WriterStatus>,
    pub(super) consumers: Consumers,
}

impl Notifier {
    /// Listens to nothing and says nothing unless the environment names a service manager's socket.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> anyhow::Result<Notifier> {
        let shared = Arc::new(Shared::default());
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Notifier { shared, thread: None });
        }
        let watchdog = sd_notify::watchdog_enabled();
        let (stop, stopped) = unbounded();
        let looked_at = shared.clone();
        let thread = std::thread::Builder::new()
            .name("notify".into())
            .spawn(move || run(&looked_at, watchdog, &stopped))
            .context("the thread that talks to systemd cannot be started")?;
        Ok(Notifier { shared, thread: Some((stop, thread)) })
    }

    /// The log's opening reads entries again that its indexes should have spared it: to `read` by now, `of` in all.
    pub fn opening(&self, read: Seq, of: Seq) {
        self.shared.opening.of.store(of.get(), Ordering::Relaxed);
        self.shared.opening.read.store(read.get(), Ordering::Relaxed);
    }

    /// The daemon serves; from now on it is looked at.
    pub fn serving(&self, standing: Standing) {
        *self.shared.standing.lock() = Some(standing);
    }

    /// The stop begins, and may take `shutdown_timeout` and then some.
    pub fn stopping(&self, shutdown_timeout: Duration) {
        let extension = extension(shutdown_timeout.saturating_add(STOP_EXTENSION));
        self.tell(&[NotifyState::Stopping, extension, NotifyState::Status("stopping")]);
    }

    /// The daemon ends by itself, and this is why.
    pub fn failed(&self, why: &str) {
        self.tell(&[NotifyState::Status(&one_line(why))]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.thread.is_some() {
            send(states);
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.thread.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("the thread that talks to systemd ended in a panic");
        }
    }
}

fn run(shared: &Shared, watchdog: Option<Duration>, stopped: &Receiver<()>) {
    let mut teller = Teller::new(watchdog.map(|watchdog| watchdog / FEEDS_PER_WATCHDOG));
    let interval = teller.feed_interval.map_or(LOOK_INTERVAL, |feed| feed.min(LOOK_INTERVAL));
    loop {
        teller.turn(&look(shared), Instant::now(), &mut send);
        if let Ok(()) | Err(RecvTimeoutError::Disconnected) = stopped.recv_timeout(interval) {
            return;
        }
    }
}

fn look(shared: &Shared) -> Look {
    match &*shared.standing.lock() {
        Some(standing) => standing.look(),
        None => shared.opening.look(),
    }
}

impl Standing {
    fn look(&self) -> Look {
        let consumers: Vec<(ConsumerStatus, bool)> =
            self.consumers.iter().map(|consumer| (consumer.status(), consumer.caught_up_once())).collect();
        let is_up = is_up(&consumers);
        let mut status = if is_up { vec![format!("serving on {}", self.address)] } else { Vec::new() };
        status.extend(consumers.iter().filter_map(|(consumer, _)| doing(consumer)));
        status.extend(self.writer.read_only().map(|why| format!("read-only: {why}")));
        Look {
            is_up,
            // Any one that gets on moves the sum: none of them ever goes back.
            progress: consumers.iter().map(|(consumer, _)| consumer.applied.get()).sum(),
            heartbeats: self.writer.heartbeats(),
            status: status.join("; "),
        }
    }
}

/// Whether waiting makes no consumer readier: each has caught up, or is held up.
fn is_up(consumers: &[(ConsumerStatus, bool)]) -> bool {
    consumers.iter().all(|(consumer, is_caught_up)| *is_caught_up || consumer.state == "stalled")
}

/// What a consumer does other than to follow the log.
fn doing(consumer: &ConsumerStatus) -> Option<String> {
    let ConsumerStatus { name, state, detail, .. } = consumer;
    (state != "running").then(|| format!("{state} {name} {}", detail.as_deref().unwrap_or_default()))
}

impl Opening {
    fn look(&self) -> Look {
        let (read, of) = (self.read.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
        let status = match of {
            0 => "recovering the log".to_owned(),
            of => format!("rebuilding the index of idempotency keys {read}/{of}"),
        };
        Look { is_up: false, progress: read, heartbeats: 0, status }
    }
}

/// The daemon at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// Ready, or as ready as waiting makes it.
    pub is_up: bool,
    /// Moves while a start gets on.
    pub progress: u64,
    /// Moves while the log's writer works.
    pub heartbeats: u64,
    /// For humans, in `systemctl status`.
    pub status: String,
}

/// What has been told, and so what is new.
struct Teller {
    feed_interval: Option<Duration>,
    is_ready: bool,
    progress: u64,
    fed: Option<(u64, Instant)>,
    status: String,
}

impl Teller {
    fn new(feed_interval: Option<Duration>) -> Teller {
        Teller { feed_interval, is_ready: false, progress: 0, fed: None, status: String::new() }
    }

    /// Says what has changed since the last look; nothing if nothing has.
    fn turn(&mut self, look: &Look, now: Instant, say: &mut dyn FnMut(&[NotifyState<'_>])) {
        let mut states = Vec::new();
        let status = one_line(&look.status);
        if status != self.status {
            states.push(NotifyState::Status(&status));
        }
        if look.is_up && !self.is_ready {
            self.is_ready = true;
            states.push(NotifyState::Ready);
        }
        if !self.is_ready && look.progress != self.progress {
            states.push(extension(START_EXTENSION));
        }
        self.progress = look.progress;
        if self.is_fed(look.heartbeats, now) {
            states.push(NotifyState::Watchdog);
        }
        if !states.is_empty() {
            say(&states);
        }
        self.status = status;
    }

    /// Whether the watchdog gets its share now: the writer has come round since the last one.
    fn is_fed(&mut self, heartbeats: u64, now: Instant) -> bool {
        let Some(interval) = self.feed_interval else { return false };
        let is_due = match self.fed {
            None => heartbeats > 0,
            Some((with, at)) => heartbeats != with && now.saturating_duration_since(at) >= interval,
        };
        if is_due {
            self.fed = Some((heartbeats, now));
        }
        is_due
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how the daemon is doing");
    }
}

fn extension(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}

/// A line break would start the next field of the message.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(is_up: bool, progress: u64, heartbeats: u64, status: &str) -> Look {
        Look { is_up, progress, heartbeats, status: status.into() }
    }

    /// What one turn says, as it stands in the message.
    fn said(teller: &mut Teller, look: &Look, now: Instant) -> String {
        let mut words = Vec::new();
        teller.turn(look, now, &mut |states| words.extend(states.iter().map(ToString::to_string)));
        words.join(" ")
    }

    fn consumer(name: &'static str, state: &str, detail: Option<&str>) -> ConsumerStatus {
        ConsumerStatus {
            name,
            applied: Seq::ZERO,
            state: state.into(),
            detail: detail.map(Into::into),
            dead_letters: 0,
            last_applied_received_at: None,
        }
    }

    #[test]
    fn a_start_waits_for_every_projection_that_gets_on_and_for_none_that_is_held_up() {
        let running = || consumer("a", "running", None);
        let stalled = || consumer("b", "stalled", Some("the disk is full"));
        let starting = || consumer("b", "starting", Some("5/9"));
        assert!(is_up(&[(running(), true), (stalled(), false)]));
        assert!(!is_up(&[(running(), true), (starting(), false)]));
        assert!(is_up(&[(running(), true), (starting(), true)]));
        assert_eq!(doing(&running()), None);
        assert_eq!(doing(&stalled()).as_deref(), Some("stalled b the disk is full"));
    }

    #[test]
    fn a_start_that_gets_on_asks_for_time_and_one_that_stands_still_does_not() {
        let (mut teller, now) = (Teller::new(None), Instant::now());
        assert_eq!(said(&mut teller, &look(false, 0, 0, "recovering the log"), now), "STATUS=recovering the log");
        assert_eq!(
            said(&mut teller, &look(false, 5, 0, "rebuilding 5/9"), now),
            "STATUS=rebuilding 5/9 EXTEND_TIMEOUT_USEC=60000000"
        );
        assert_eq!(said(&mut teller, &look(false, 5, 0, "rebuilding 5/9"), now), "");
        assert_eq!(said(&mut teller, &look(true, 9, 0, "serving"), now), "STATUS=serving READY=1");
        assert_eq!(said(&mut teller, &look(true, 12, 0, "serving"), now), "");
        assert_eq!(said(&mut teller, &look(false, 13, 0, "serving"), now), "", "ready once is ready");
    }

    #[test]
    fn the_watchdog_is_fed_as_often_as_asked_and_only_if_the_writer_moved() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let mut teller = Teller::new(Some(second));
        let mut at = |tenths: u32, heartbeats: u64| {
            said(&mut teller, &look(true, 0, heartbeats, ""), start + tenths * Duration::from_millis(100))
        };
        assert_eq!(at(0, 1), "READY=1 WATCHDOG=1");
        assert_eq!(at(5, 2), "", "too early");
        assert_eq!(at(10, 3), "WATCHDOG=1");
        assert_eq!(at(20, 3), "", "the writer has not come round");
        assert_eq!(at(900, 3), "");
        assert_eq!(at(901, 4), "WATCHDOG=1");
    }

    #[test]
    fn nobody_who_asked_for_no_watchdog_gets_one() {
        let mut teller = Teller::new(None);
        assert_eq!(said(&mut teller, &look(true, 0, 7, "s"), Instant::now()), "STATUS=s READY=1");
    }

    #[test]
    fn a_status_of_several_lines_is_one_line() {
        let mut teller = Teller::new(None);
        let two_lines = look(false, 0, 0, "held up: one\nREADY=1");
        assert_eq!(said(&mut teller, &two_lines, Instant::now()), "STATUS=held up: one READY=1");
    }
}
