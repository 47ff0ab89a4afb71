//! The keeper thread: everything that is done to the log in the background.
//!
//! It seals full segments, writes tables of idempotency keys as runs and joins those, and keeps the live entry index
//! near the watermark. All of it can be interrupted and is done again at the next start; none of it is on the path of
//! an answer. An error (a full disk, mostly) is tried again with a growing pause, since nothing is lost by waiting.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::keys::{KeyError, KeyIndex, Sealed, SeqRange, Upkeep};
use super::log::{Log, Segment};
use super::recovery::OpenError;
use super::{EntrySource, ReadError, sealed};
use crate::limits::{KEEPER_PAUSE_MS_MAX, KEEPER_PAUSE_MS_MIN, KEY_TABLES_BEHIND_MAX, LIVE_INDEX_EVERY_MS};
use crate::units::Seq;
use crate::world::Random;

/// Entries between two words about how far a rebuild has come.
const ENTRIES_PER_TELLING: u64 = 4096;

/// Keys of a damaged run that are held in memory to make it again, 16 bytes each.
const MEND_KEYS_MAX: u64 = 1 << 22;

/// What the writer hands over.
pub(super) enum Task {
    /// A raw segment that takes no more entries.
    Seal(Arc<Segment>),
    /// A full table of keys.
    Keys(Arc<Sealed>),
    /// A run of keys that a look-up found damaged.
    MendKeys(SeqRange),
    Stop,
}

pub(super) struct Keeper {
    log: Arc<Log>,
    upkeep: Upkeep,
    seals: VecDeque<Arc<Segment>>,
    tables: VecDeque<Arc<Sealed>>,
    /// Runs of keys that were found damaged.
    mends: VecDeque<SeqRange>,
    /// Nothing is tried before this, after an error.
    not_before: Option<(Instant, Duration)>,
}

/// Why something in the background did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeeperError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl KeeperError {
    /// Whether it is for want of space only.
    fn is_full(&self) -> bool {
        matches!(self, KeeperError::Keys(error) if error.is_full())
    }
}

impl Keeper {
    pub fn new(log: Arc<Log>, upkeep: Upkeep) -> Keeper {
        Keeper {
            log,
            upkeep,
            seals: VecDeque::new(),
            tables: VecDeque::new(),
            mends: VecDeque::new(),
            not_before: None,
        }
    }

    pub fn start_thread(self, tasks: Receiver<Task>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("keeper".into()).spawn(move || self.run(&tasks))
    }

    fn run(mut self, tasks: &Receiver<Task>) {
        let mut busy = true;
        loop {
            let task = if busy {
                match tasks.try_recv() {
                    Ok(task) => Some(task),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match tasks.recv_timeout(Duration::from_millis(LIVE_INDEX_EVERY_MS)) {
                    Ok(task) => Some(task),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            };
            // All that wait: a table of keys goes before the segments, since a start reads again what no run holds.
            if task.into_iter().chain(tasks.try_iter()).any(|task| self.take(task)) {
                return;
            }
            if self.not_before.is_some_and(|(at, _)| Instant::now() < at) {
                busy = false;
                continue;
            }
            busy = match self.step() {
                Ok(more) => {
                    self.not_before = None;
                    more
                }
                Err(error) => {
                    let pause = self.not_before.map_or(Duration::from_millis(KEEPER_PAUSE_MS_MIN), |(_, pause)| {
                        (pause * 2).min(Duration::from_millis(KEEPER_PAUSE_MS_MAX))
                    });
                    tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "background work on the log is tried again");
                    self.not_before = Some((Instant::now() + pause, pause));
                    false
                }
            };
        }
    }

    /// Puts a task where its turn comes; `true` if it says stop.
    pub fn take(&mut self, task: Task) -> bool {
        match task {
            Task::Stop => return true,
            Task::Seal(segment) => self.seals.push_back(segment),
            Task::Keys(table) => self.tables.push_back(table),
            Task::MendKeys(run) if self.mends.contains(&run) => {}
            Task::MendKeys(run) => self.mends.push_back(run),
        }
        false
    }

    /// Does one piece of work; `false` where there was none.
    pub fn step(&mut self) -> Result<bool, KeeperError> {
        if let Some(run) = self.mends.front() {
            match mend_keys(&self.log, &mut self.upkeep, *run) {
                // Whoever asks for a key behind the damage is told so, and nothing else is held up by it.
                Err(KeeperError::Read(error)) => {
                    tracing::error!(seq = %run, %error, "a damaged run of idempotency keys stays: the log cannot be read either");
                }
                mended => mended?,
            }
            self.mends.pop_front();
            return Ok(true);
        }
        if let Some(gap) = self.upkeep.gaps().first() {
            rebuild_keys(&self.log, &mut self.upkeep, *gap, &|_, _| {})?;
            return Ok(true);
        }
        if let Some(table) = self.tables.front() {
            self.upkeep.write(table)?;
            self.tables.pop_front();
            return Ok(true);
        }
        if let Some(segment) = self.seals.front() {
            seal(&self.log, segment)?;
            self.seals.pop_front();
            return Ok(true);
        }
        let active = self.log.segments().last().cloned();
        if let Some(active) = active {
            self.log.indexes.catch_up(&self.log, &active, self.log.durable())?;
        }
        join_keys(&self.log, &mut self.upkeep)
    }
}

/// Puts a full segment into its sealed form.
///
/// 1. the sealed file, synced and named (a crash leaves both forms, and the next start removes the raw one);
/// 2. its entry index (a crash leaves none, and the first query makes it);
/// 3. readers change over;
/// 4. the raw file goes; readers that hold it open go on reading from it.
fn seal(log: &Log, segment: &Segment) -> Result<(), KeeperError> {
    let Segment::Raw(raw) = segment else { return Ok(()) };
    log.indexes.catch_up(log, segment, raw.last_seq())?;
    let sealed = sealed::seal(log.disk.as_ref(), &log.dir, raw)?;
    log.indexes.write_sealed(log, &sealed)?;
    let first_seq = sealed.first_seq();
    log.replace_segment(sealed);
    log.indexes.forget_live(first_seq);
    log.disk.remove(&raw.path)?;
    Ok(())
}

/// Joins a few runs of keys, or finds that one of them is damaged and has it made again. `false` where nothing was to do.
fn join_keys(log: &Log, upkeep: &mut Upkeep) -> Result<bool, KeeperError> {
    match upkeep.step() {
        Err(KeyError::Damaged { run, .. }) => {
            mend_keys(log, upkeep, run)?;
            Ok(true)
        }
        stepped => Ok(stepped?),
    }
}

/// Makes a damaged run of keys again from the log. One that fits in memory is searched until it is replaced in one step; a
/// larger one is thrown away, and until the gap is filled nothing is stored. It stays where the log cannot be read either.
fn mend_keys(log: &Log, upkeep: &mut Upkeep, run: SeqRange) -> Result<(), KeeperError> {
    if !upkeep.runs().iter().any(|info| info.range == run) {
        // Joined with others meanwhile, or mended by an earlier task.
        return Ok(());
    }
    tracing::warn!(seq = %run, "a run of idempotency keys is damaged and is made again from the log");
    let is_small = run.last().get() - run.first().get() < MEND_KEYS_MAX;
    let fingerprinter = upkeep.fingerprinter();
    let mut keys = Vec::new();
    log.scan(Seq::new(run.first().get() - 1), &mut |entry| {
        if entry.seq > run.last() {
            return ControlFlow::Break(());
        }
        if is_small {
            keys.push((fingerprinter.fingerprint(entry.envelope.message_id), entry.seq));
        }
        ControlFlow::Continue(())
    })?;
    if is_small {
        upkeep.replace(run, keys)?
    } else {
        upkeep.discard(run)?
    }
    Ok(())
}

/// Joins what can be joined, until nothing is left to join and no gap to fill.
fn settle_keys(log: &Log, upkeep: &mut Upkeep, tell: &dyn Fn(Seq, Seq)) -> Result<(), KeeperError> {
    while join_keys(log, upkeep)? {
        fill_gaps(log, upkeep, tell)?;
    }
    Ok(())
}

fn fill_gaps(log: &Log, upkeep: &mut Upkeep, tell: &dyn Fn(Seq, Seq)) -> Result<(), KeeperError> {
    while let Some(gap) = upkeep.gaps().first() {
        rebuild_keys(log, upkeep, *gap, tell)?;
    }
    Ok(())
}

/// Fills a range that no run covers from the log.
fn rebuild_keys(log: &Log, upkeep: &mut Upkeep, gap: SeqRange, tell: &dyn Fn(Seq, Seq)) -> Result<(), KeeperError> {
    tracing::info!(seq = %gap, "the idempotency index is rebuilt from the log");
    let fingerprinter = upkeep.fingerprinter();
    let mut rebuild = upkeep.rebuild(gap);
    let mut added = Ok(());
    log.scan(Seq::new(gap.first().get() - 1), &mut |entry| {
        if entry.seq > gap.last() {
            return ControlFlow::Break(());
        }
        if entry.seq.get().is_multiple_of(ENTRIES_PER_TELLING) {
            tell(entry.seq, gap.last());
        }
        added = rebuild.add(fingerprinter.fingerprint(entry.envelope.message_id), entry.seq);
        if added.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    added?;
    Ok(rebuild.finish()?)
}

/// Opens the idempotency index and brings it up to the log's end, reading from the log what it lacks. What cannot be
/// written for want of space is left to the keeper: a gap, with which nothing is looked up and so nothing stored.
pub(super) fn open_keys(
    log: &Log,
    log_id: [u8; 16],
    random: &dyn Random,
    table_keys: usize,
    tell: &dyn Fn(Seq, Seq),
) -> Result<(KeyIndex, Upkeep), OpenError> {
    let dir = log.dir.join("keys");
    let failed = |error: KeyError| OpenError::io(&dir, io::Error::other(error.to_string()));
    let opened = KeyIndex::open(log.disk.clone(), random, dir.clone(), log_id, log.durable(), table_keys);
    let opened = opened.map_err(failed)?;
    let (mut index, mut upkeep) = (opened.index, opened.upkeep);
    for dropped in &opened.report.dropped {
        tracing::warn!(file = dropped.name, why = dropped.why, "a file of the idempotency index was dropped");
    }
    let stopped = |error| match error {
        KeeperError::Read(error) => OpenError::from(error),
        KeeperError::Keys(error) => failed(error),
        KeeperError::Io(error) => OpenError::io(&dir, error),
    };
    match fill_gaps(log, &mut upkeep, tell) {
        Err(error) if error.is_full() => {}
        filled => filled.map_err(stopped)?,
    }
    let (mut written, mut tables) = (Ok(()), 0);
    log.scan(opened.report.tail_after, &mut |entry| {
        if entry.seq.get().is_multiple_of(ENTRIES_PER_TELLING) {
            tell(entry.seq, log.durable());
        }
        index.insert(index.fingerprint(entry.envelope.message_id), entry.seq);
        if index.wants_seal() {
            tables += 1;
            written = upkeep.write(&index.seal(entry.seq)).map_err(KeeperError::from);
            // Joining runs takes as long as they are large, so the keeper does it, behind the first answers. Only an index
            // that is built anew has too many of them to search.
            if tables > KEY_TABLES_BEHIND_MAX && written.is_ok() {
                written = settle_keys(log, &mut upkeep, tell);
            }
            index.forget_installed();
        }
        if written.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match written {
        Err(error) if error.is_full() => {
            tracing::warn!(%error, "the idempotency index is completed when there is room; until then nothing is stored");
            index = upkeep.postpone(log.durable());
        }
        written => written.map_err(stopped)?,
    }
    Ok((index, upkeep))
}
