//! The scrub: a thread that reads everything sealed again and again, slowly, so that damage is found before it is
//! asked for: every block and record of the sealed segments, their entry indexes, and the runs of idempotency keys.
//!
//! It reads files from the disk by their names, at a bounded rate, and pauses between two passes. Damage of a segment is
//! told, in the daemon's log, in `/metrics` and in `/readyz`, and mended by nobody: `coliseum repair` does that while the
//! daemon is stopped. A segment that is whole at a later pass counts as damaged no more. A damaged index or run is made
//! again from the log at once, and counted.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::keeper::Task;
use super::keys::{KeyError, StatsSource};
use super::log::{Log, Segment};
use super::sealed::SealedSegment;
use super::segment::file_name;
use super::{ReadError, entry_index};
use crate::clock::Clock;
use crate::disk::OpenMode;
use crate::limits::SCRUB_FIRST_AFTER_MS;
use crate::units::Timestamp;

/// How the scrub works; see `[passport]` in `config.toml`.
#[derive(Clone, Copy, Debug)]
pub struct ScrubOptions {
    /// 0: it does not run.
    pub bytes_per_second: u64,
    /// Pause between two passes.
    pub interval: Duration,
}

/// What the scrub has found so far; written by its thread, read by `/readyz` and `/metrics`.
#[derive(Default)]
pub struct ScrubStatus {
    /// Segment files that are damaged, and how.
    damaged: Mutex<BTreeMap<String, ReadError>>,
    bytes: AtomicU64,
    mended: AtomicU64,
    /// When the last whole pass ended, in microseconds; 0 before the first.
    last_complete: AtomicI64,
}

/// The status at one moment.
#[derive(Clone, Debug, Default)]
pub struct ScrubReport {
    /// Segment files that were damaged when they were read last.
    pub damaged: usize,
    /// The first of them: file, offset, seq.
    pub first: Option<String>,
    pub bytes: u64,
    /// Indexes and key runs that were damaged and made again.
    pub mended: u64,
    pub last_complete: Option<Timestamp>,
}

impl ScrubStatus {
    pub fn report(&self) -> ScrubReport {
        let damaged = self.damaged.lock();
        let last_complete = self.last_complete.load(Ordering::Relaxed);
        ScrubReport {
            damaged: damaged.len(),
            first: damaged.values().next().map(ToString::to_string),
            bytes: self.bytes.load(Ordering::Relaxed),
            mended: self.mended.load(Ordering::Relaxed),
            last_complete: (last_complete != 0).then(|| Timestamp::from_micros(last_complete)),
        }
    }
}

/// The running scrub. Stopping it takes as long as one read.
pub struct Scrub {
    status: Arc<ScrubStatus>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scrub {
    pub(super) fn start(
        log: Arc<Log>,
        keys: StatsSource,
        keeper: Option<Sender<Task>>,
        options: ScrubOptions,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Scrub> {
        let status = Arc::new(ScrubStatus::default());
        if options.bytes_per_second == 0 {
            return Ok(Scrub { status, stop: None, thread: None });
        }
        let (stop, stopped) = bounded(0);
        let pace = Pace { bytes_per_second: options.bytes_per_second, stopped, due: Instant::now() };
        let mut scrubber = Scrubber { log, keys, keeper, clock, status: status.clone(), pace };
        let first_after = options.interval.min(Duration::from_millis(SCRUB_FIRST_AFTER_MS));
        let thread = std::thread::Builder::new().name("scrub".into()).spawn(move || {
            let mut pause = first_after;
            while scrubber.pace.wait(pause) && scrubber.pass().is_some() {
                pause = options.interval;
            }
        })?;
        Ok(Scrub { status, stop: Some(stop), thread: Some(thread) })
    }

    pub fn status(&self) -> Arc<ScrubStatus> {
        self.status.clone()
    }

    /// Ends the thread and waits for it.
    pub fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the scrub's thread panicked");
        }
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Holds the reads to the rate.
struct Pace {
    bytes_per_second: u64,
    stopped: Receiver<()>,
    /// When the bytes read so far are paid for.
    due: Instant,
}

impl Pace {
    /// Waits; `false` when it is to stop. Nothing is ever sent: the other end goes away.
    fn wait(&mut self, pause: Duration) -> bool {
        let goes_on = matches!(self.stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout));
        self.due = Instant::now();
        goes_on
    }

    /// Waits for as long as `bytes` take at the rate; `false` when it is to stop.
    fn pay(&mut self, bytes: u64) -> bool {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        // Time that was lost elsewhere is not made up for.
        self.due = self.due.max(Instant::now()) + cost;
        matches!(self.stopped.recv_deadline(self.due), Err(RecvTimeoutError::Timeout))
    }
}

struct Scrubber {
    log: Arc<Log>,
    keys: StatsSource,
    keeper: Option<Sender<Task>>,
    clock: Arc<dyn Clock>,
    status: Arc<ScrubStatus>,
    pace: Pace,
}

impl Scrubber {
    /// Reads everything sealed once; `None` if it is to stop.
    fn pass(&mut self) -> Option<()> {
        let segments = self.log.segments();
        for segment in segments.iter() {
            if let Segment::Sealed(sealed) = segment.as_ref() {
                self.segment(sealed)?;
                self.index(segment, sealed)?;
            }
        }
        self.runs()?;
        self.status.last_complete.store(self.clock.now().micros(), Ordering::Relaxed);
        Some(())
    }

    fn pay(&mut self, bytes: u64) -> Option<()> {
        self.status.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pace.pay(bytes).then_some(())
    }

    /// The file by its name, so that one that was put in its place is seen.
    fn segment(&mut self, sealed: &SealedSegment) -> Option<()> {
        let name = file_name(&sealed.path);
        let found = match SealedSegment::open(self.log.disk.as_ref(), sealed.path.clone()) {
            Ok(fresh) => self.blocks(&fresh)?,
            Err(error) => Err(error),
        };
        let mut damaged = self.status.damaged.lock();
        match found {
            Ok(()) => {
                if damaged.remove(&name).is_some() {
                    tracing::info!(file = name, "the scrub finds the segment whole again");
                }
            }
            Err(error) => {
                if !damaged.contains_key(&name) {
                    tracing::error!(
                        %error,
                        "the scrub found damage in the log; what lies there is answered with an error, all else goes on. \
                         Next: stop the daemon and run `coliseum repair`, with --from SNAPSHOT if there is one"
                    );
                }
                damaged.insert(name, error);
            }
        }
        Some(())
    }

    fn blocks(&mut self, sealed: &SealedSegment) -> Option<Result<(), ReadError>> {
        let mut seq = sealed.first_seq();
        loop {
            let block = match sealed.block_with(seq) {
                Ok(Some(block)) => block,
                Ok(None) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            };
            if let Err(error) = sealed.check_records(&block) {
                return Some(Err(error));
            }
            let next = block.last_seq().next();
            self.pay(sealed.stored_bytes(seq))?;
            seq = next;
        }
    }

    fn index(&mut self, segment: &Segment, sealed: &SealedSegment) -> Option<()> {
        if let Some((file, what)) = entry_index::verify(&self.log, sealed) {
            tracing::warn!(file, what, "the scrub makes a damaged entry index again from its segment");
            match self.log.indexes.mend(&self.log, segment, sealed) {
                Ok(()) => {
                    self.status.mended.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => tracing::error!(%error, "an entry index cannot be made again"),
            }
        }
        let path = self.log.dir.join(super::index::file_name(sealed.first_seq()));
        let bytes = self.log.disk.open(&path, OpenMode::Read).and_then(|file| file.len_bytes());
        self.pay(bytes.unwrap_or(0))
    }

    fn runs(&mut self) -> Option<()> {
        let held = self.keys.hold();
        let dir = self.log.dir.join("keys");
        for range in held.ranges() {
            let mut goes_on = true;
            let disk = self.log.disk.clone();
            let scrubbed = held.scrub(disk.as_ref(), &dir, range, &mut |bytes| {
                goes_on = self.pay(bytes).is_some();
                goes_on
            });
            match scrubbed {
                Ok(_) => {}
                Err(error @ KeyError::Damaged { .. }) => {
                    tracing::warn!(%error, "the scrub found a damaged run of idempotency keys");
                    if self.keeper.as_ref().is_some_and(|keeper| keeper.send(Task::MendKeys(range)).is_ok()) {
                        self.status.mended.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(error) => tracing::warn!(%error, "the scrub cannot read a run of idempotency keys"),
            }
            if !goes_on {
                return None;
            }
        }
        Some(())
    }
}
