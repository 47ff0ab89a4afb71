//! Scheduled snapshots: one every so often on a thread of its own, and the oldest scheduled ones removed.
//!
//! When the next one is due follows from the newest one that is there, so a restart neither skips nor repeats one. One that
//! fails is logged, counted, and tried again after a growing pause.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::clock::Clock;
use crate::config::SnapshotsConfig;
use crate::passport::snapshot::{SnapshotError, SnapshotName, Store};
use crate::units::Timestamp;

/// How often it looks at the clock, which may be moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pauses after one that failed: the first, doubled up to the last.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The thread. Dropping it ends it; [`Store::give_up`] before that ends a snapshot under way.
pub struct Schedule {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Schedule {
    /// `None` where nothing is scheduled.
    pub fn start(store: Arc<Store>, clock: Arc<dyn Clock>, config: &SnapshotsConfig) -> io::Result<Option<Schedule>> {
        if config.every.is_zero() {
            return Ok(None);
        }
        let (stop, stopped) = bounded(0);
        let scheduler = Scheduler {
            store,
            clock,
            every: i64::try_from(config.every.as_micros()).expect("an interval is at most a year"),
            keep: config.keep,
        };
        let thread = std::thread::Builder::new().name("snapshots".into()).spawn(move || scheduler.run(&stopped))?;
        Ok(Some(Schedule { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of scheduled snapshots panicked");
        }
    }
}

struct Scheduler {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// In microseconds.
    every: i64,
    keep: usize,
}

impl Scheduler {
    fn run(&self, stopped: &Receiver<()>) {
        let mut due = self.first_due();
        let mut pause = PAUSE_MIN;
        let mut not_before: Option<Instant> = None;
        loop {
            let now = self.clock.now();
            // A clock that was moved back does not put the next one off for longer than one interval.
            due = due.min(now.moved_by_micros(self.every));
            if now >= due && not_before.is_none_or(|at| Instant::now() >= at) {
                match self.take(now) {
                    Ok(()) => {
                        due = now.moved_by_micros(self.every);
                        (pause, not_before) = (PAUSE_MIN, None);
                    }
                    Err(SnapshotError::Stopped) => return,
                    Err(error) => {
                        let pause_s = pause.as_secs();
                        tracing::error!(%error, pause_s, "a scheduled snapshot failed and is tried again");
                        not_before = Some(Instant::now() + pause);
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            }
            match stopped.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn first_due(&self) -> Timestamp {
        match self.store.newest_auto(self.clock.now()) {
            Ok(Some(newest)) => newest.moved_by_micros(self.every),
            Ok(None) => self.clock.now(),
            Err(error) => {
                tracing::warn!(%error, "the snapshots that are there cannot be listed");
                self.clock.now()
            }
        }
    }

    fn take(&self, now: Timestamp) -> Result<(), SnapshotError> {
        let name = SnapshotName::auto(now);
        let taken = self.store.take(&name, now)?;
        tracing::info!(name = taken.name, last_seq = taken.last_seq().get(), "took a scheduled snapshot");
        match self.store.remove_old(self.keep, &name) {
            Ok(removed) => removed.iter().for_each(|name| tracing::info!(%name, "removed an old scheduled snapshot")),
            // The next one removes it; to take another one now would make it worse.
            Err(error) => tracing::error!(%error, "an old scheduled snapshot cannot be removed"),
        }
        Ok(())
    }
}
