//! The fold: a projection, the file that holds its tables, and the one seq that both have come to.
//!
//! What it promises: the projection in memory holds the changes of entries 1…`applied` but for the dead letters, each
//! once; the last commit of the file holds those of 1…checkpoint, and says so in the same transaction. When that can no
//! longer be said of the memory (a panic, a flush that failed half way), it is [`Trouble::Tainted`]: the owner drops the
//! projection and loads it again from the last commit.
//!
//! One flush at a time is on its way while entries are folded.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use redb::Database;

use super::checkpoint::Checkpoint;
use super::contain::contain;
use super::dead_letters::{DeadLetter, DeadLetters, Trials};
use super::flushing::{Commit, FlushThread, Flushing};
use super::store::{self, OpenError, Place};
use super::{ApplyError, Identity, Projection, StoreError, Wiring};
use crate::passport::{Entry, Parsed, ReadError};
use crate::units::{Minute, Seq, Timestamp};

/// Entries between two looks at the time, and those that are looked up at once.
const ENTRIES_PER_LOOK: usize = 64;

pub(super) struct Fold<P: Projection> {
    /// Stands first, so that it is dropped before the database it reads.
    projection: P,
    database: Arc<Database>,
    place: Place,
    applied: Seq,
    received_at: Option<Timestamp>,
    minute: Minute,
    dead_letters: DeadLetters,
    flushing: Option<Flushing<P::Changes>>,
    /// Entries that no flush has taken, and those that no synced commit holds.
    unflushed: u64,
    unsynced: u64,
    /// Something else than an entry changed what a flush would write.
    touched: bool,
}

/// Why folding stopped.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The log could not be read. Nothing has changed.
    Read(String),
    /// The file refused a flush before the projection was asked: memory is good, the flush can come later.
    Refused(String),
    /// Folding an entry panicked, which is counted as one go at it. The memory can no longer be trusted: load it again.
    EntryPanicked(String),
    /// The memory can no longer be trusted: load it again.
    Tainted(String),
}

impl Trouble {
    pub fn why(&self) -> &str {
        let (Trouble::Read(why) | Trouble::Refused(why) | Trouble::EntryPanicked(why) | Trouble::Tainted(why)) = self;
        why
    }
}

/// How far a batch came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// To the end of the log.
    CaughtUp,
    /// To the end of its time or its room.
    More,
    /// To an entry that is tried again at this instant.
    Wait(Instant),
    /// To an entry that panicked: what stands before it should be flushed first.
    FlushFirst,
}

/// Why a file does not serve as the state to go on from.
#[derive(Debug)]
pub(super) enum LoadError {
    Open(OpenError),
    /// The file holds entries that the log has not.
    AheadOfLog {
        applied: Seq,
        durable: Seq,
    },
}

impl LoadError {
    pub fn why(&self) -> String {
        match self {
            LoadError::Open(error) => error.why().to_owned(),
            LoadError::AheadOfLog { applied, durable } => {
                format!("it holds seq {applied}, but the log ends at {durable}")
            }
        }
    }
}

impl From<OpenError> for LoadError {
    fn from(error: OpenError) -> LoadError {
        LoadError::Open(error)
    }
}

impl<P: Projection> Fold<P> {
    /// Opens the file and goes on from its checkpoint.
    pub fn open(path: &Path, identity: &Identity<P>, wiring: &Wiring) -> Result<Fold<P>, LoadError> {
        let database = store::open(wiring.disk.as_ref(), path, &wiring.options)?;
        Fold::load(database, Place::File(path.to_owned()), identity, wiring)
    }

    /// Makes the file, at the start of the log.
    pub fn create(path: &Path, identity: &Identity<P>, wiring: &Wiring) -> Result<Fold<P>, LoadError> {
        let checkpoint = identity.checkpoint(Seq::ZERO, None, wiring);
        let database = store::create(wiring.disk.as_ref(), path, &checkpoint, &wiring.options)?;
        Fold::load(database, Place::File(path.to_owned()), identity, wiring)
    }

    /// The same in memory.
    pub fn create_in_memory(identity: &Identity<P>, wiring: &Wiring) -> Result<Fold<P>, LoadError> {
        let database = store::in_memory(&identity.checkpoint(Seq::ZERO, None, wiring), &wiring.options)?;
        Fold::load(database, Place::Memory, identity, wiring)
    }

    /// Goes on from the checkpoint of an open file.
    pub fn load(
        database: Arc<Database>,
        place: Place,
        identity: &Identity<P>,
        wiring: &Wiring,
    ) -> Result<Fold<P>, LoadError> {
        let disposable = |why: String| LoadError::Open(OpenError::Disposable(why));
        let held = contain(|| Ok((Checkpoint::read(&database)?, DeadLetters::read(&database)?)));
        let (checkpoint, dead_letters) =
            held.unwrap_or_else(|panic| Err(StoreError(panic))).map_err(|error| disposable(error.0))?;
        if checkpoint.log_id != wiring.log_id {
            return Err(disposable("it was made from another log".to_owned()));
        }
        if checkpoint.version != identity.version {
            return Err(disposable(format!("it holds version {}, not {}", checkpoint.version, identity.version)));
        }
        let durable = wiring.log.durable();
        if checkpoint.applied > durable {
            return Err(LoadError::AheadOfLog { applied: checkpoint.applied, durable });
        }
        let now = wiring.clock.now();
        let open = if wiring.has_threads { P::open_on_threads } else { P::open };
        let opened = contain(|| open(Arc::clone(&database), &identity.setup, now));
        let projection = opened.unwrap_or_else(|panic| Err(StoreError(panic))).map_err(|error| match &place {
            Place::File(path) if wiring.is_short_of_space(path) => OpenError::Full(error.0),
            _ => OpenError::Disposable(error.0),
        })?;
        Ok(Fold {
            projection,
            database,
            place,
            applied: checkpoint.applied,
            received_at: checkpoint.received_at,
            minute: now.minute(),
            dead_letters,
            flushing: None,
            unflushed: 0,
            unsynced: 0,
            touched: false,
        })
    }

    /// Drops the projection and loads it again from the last commit of the open file. A flush that is on its way comes to
    /// its end first, and may be that commit.
    pub fn reload(self, identity: &Identity<P>, wiring: &Wiring) -> Result<Fold<P>, LoadError> {
        let Fold { projection, database, place, flushing, .. } = self;
        drop(flushing);
        // A projection that panics while it is dropped has nothing left to lose.
        let _ = contain(|| drop(projection));
        // A handle that met an error of the disk reads on and never writes again: the file has to be opened anew.
        let taken = contain(|| database.begin_write().map(drop).map_err(|error| error.to_string())).flatten();
        taken.map_err(|why| LoadError::Open(OpenError::Unreachable(why)))?;
        Fold::load(database, place, identity, wiring)
    }

    pub fn applied(&self) -> Seq {
        self.applied
    }
    pub fn received_at(&self) -> Option<Timestamp> {
        self.received_at
    }
    pub fn minute(&self) -> Minute {
        self.minute
    }
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }
    pub fn place(&self) -> &Place {
        &self.place
    }
    pub fn move_to(&mut self, place: Place) {
        self.place = place;
    }
    /// Entries that no flush has taken.
    pub fn unflushed(&self) -> u64 {
        self.unflushed
    }
    /// Entries that no commit holds.
    pub fn uncommitted(&self) -> u64 {
        self.unflushed + self.flushing.as_ref().map_or(0, |flushing| flushing.entries)
    }
    pub fn is_flushing(&self) -> bool {
        self.flushing.is_some()
    }
    /// Entries that no synced commit holds.
    pub fn unsynced(&self) -> u64 {
        self.unsynced
    }

    /// Folds entries until the log ends, the batch's time is over, or `room` of them are done.
    pub fn advance(&mut self, wiring: &Wiring, trials: &mut Trials, room: u64) -> Result<Advance, Trouble> {
        let started = wiring.clock.instant();
        let unreadable = |error: ReadError| Trouble::Read(error.to_string());
        let mut count = 0;
        loop {
            let durable = wiring.log.durable();
            if durable <= self.applied {
                return Ok(Advance::CaughtUp);
            }
            let piece = wiring.log.piece(self.applied).map_err(unreadable)?;
            let entries = piece.as_ref().map(|piece| piece.entries(self.applied, durable)).unwrap_or_default();
            if entries.is_empty() {
                let applied = self.applied;
                let what = format!("the log says it holds {durable} entries, and gives none after {applied}");
                return Err(Trouble::Read(what));
            }
            for entries in entries.chunks(ENTRIES_PER_LOOK) {
                contain(|| self.projection.look_ahead(entries)).map_err(Trouble::Tainted)?;
                for parsed in entries {
                    if let Some(advance) = self.take(parsed, trials, wiring)? {
                        return Ok(advance);
                    }
                    count += 1;
                    if count >= room {
                        return Ok(Advance::More);
                    }
                }
                if wiring.since(started) >= wiring.options.batch {
                    return Ok(Advance::More);
                }
            }
        }
    }

    /// Folds one entry; `None` if it is done with, one way or the other.
    fn take(&mut self, parsed: &Parsed<'_>, trials: &mut Trials, wiring: &Wiring) -> Result<Option<Advance>, Trouble> {
        let entry = &parsed.entry;
        let seq = entry.seq;
        if seq != self.applied.next() {
            return Err(Trouble::Read(format!("the log gave entry {seq} after {}", self.applied)));
        }
        if !trials.is_empty()
            && let Some(trial) = trials.get_mut(seq)
        {
            if trial.attempts >= wiring.options.attempts_max {
                self.bury(entry, trial.problem.clone(), trial.attempts, wiring);
                return Ok(None);
            }
            if trial.flush_first && self.unflushed > 0 {
                trial.flush_first = false;
                return Ok(Some(Advance::FlushFirst));
            }
            if wiring.clock.instant() < trial.not_before {
                return Ok(Some(Advance::Wait(trial.not_before)));
            }
        }
        match contain(|| self.projection.apply(parsed)) {
            Ok(Ok(())) => {
                self.pass(entry);
                Ok(None)
            }
            Ok(Err(ApplyError(problem))) => {
                let trial = trials.failed(seq, problem, false, wiring);
                if trial.attempts < wiring.options.attempts_max {
                    return Ok(Some(Advance::Wait(trial.not_before)));
                }
                self.bury(entry, trial.problem.clone(), trial.attempts, wiring);
                Ok(None)
            }
            Err(panic) => {
                trials.failed(seq, panic.clone(), true, wiring);
                Err(Trouble::EntryPanicked(format!("entry {seq} {panic}")))
            }
        }
    }

    fn pass(&mut self, entry: &Entry<'_>) {
        self.applied = entry.seq;
        self.received_at = Some(entry.received_at());
        self.unflushed += 1;
        self.unsynced += 1;
    }

    fn bury(&mut self, entry: &Entry<'_>, problem: String, attempts: u32, wiring: &Wiring) {
        tracing::warn!(consumer = P::NAME, seq = entry.seq.get(), attempts, problem, "an entry became a dead letter");
        let at = wiring.clock.now();
        self.dead_letters.put(DeadLetter { seq: entry.seq, problem, attempts, at });
        self.pass(entry);
    }

    /// Moves the windows to the minute that holds `now`.
    pub fn tick(&mut self, now: Timestamp) -> Result<(), Trouble> {
        let ticked = contain(|| self.projection.tick(now)).unwrap_or_else(|panic| Err(StoreError(panic)));
        ticked.map_err(|error| Trouble::Tainted(error.0))?;
        self.minute = now.minute();
        self.touched = true;
        Ok(())
    }

    pub fn wants_view(&self) -> bool {
        self.projection.wants_view()
    }

    pub fn view(&mut self) -> Result<Arc<P::View>, Trouble> {
        let applied = self.applied;
        contain(|| self.projection.view(applied)).map_err(Trouble::Tainted)
    }

    /// Begins to commit the changes since the last flush, and with them the checkpoint and the dead letters; no other flush
    /// is on its way. Without a change nothing begins; without a thread it is over when this returns.
    ///
    /// With `synced` the commit is on disk afterwards; without, it is only good for a reload in this process.
    pub fn begin_flush(
        &mut self,
        synced: bool,
        thread: Option<&FlushThread>,
        identity: &Identity<P>,
        wiring: &Wiring,
    ) -> Result<(), Trouble> {
        assert!(self.flushing.is_none(), "one flush at a time");
        let is_done = if synced { self.unsynced == 0 } else { self.unflushed == 0 };
        if is_done && !self.touched {
            return Ok(());
        }
        if let Place::File(path) = &self.place
            && wiring.is_short_of_space(path)
        {
            return Err(Trouble::Refused("the disk is full".to_owned()));
        }
        let commit = Commit {
            changes: contain(|| self.projection.changes()).map_err(Trouble::Tainted)?,
            dead_letters: self.dead_letters.changes(),
            checkpoint: identity.checkpoint(self.applied, self.received_at, wiring),
            synced,
        };
        let counts = (std::mem::take(&mut self.unflushed), self.unsynced);
        self.flushing = Some(Flushing::begin(commit, &self.database, thread, counts));
        self.touched = false;
        Ok(())
    }

    /// Ends the flush that is on its way, if it is over or `waits` for that; the last seq that it has committed.
    pub fn end_flush(&mut self, waits: bool) -> Result<Option<Seq>, Trouble> {
        let Some(flushing) = self.flushing.take_if(|flushing| waits || flushing.is_over()) else { return Ok(None) };
        let (applied, synced, unsynced) = (flushing.applied, flushing.synced, flushing.unsynced);
        let changes = flushing.end().map_err(Trouble::Tainted)?;
        contain(|| self.projection.written(changes)).map_err(Trouble::Tainted)?;
        if synced {
            self.unsynced -= unsynced;
        }
        Ok(Some(applied))
    }

    /// Folds a dead letter's entry now. The inner error is the entry's: it stays a dead letter, with that problem.
    pub fn retry(&mut self, seq: Seq, wiring: &Wiring) -> Result<Result<(), String>, Trouble> {
        let mut applied = Err("the log does not hold it".to_owned());
        let mut has_panicked = false;
        wiring
            .log
            .get(seq, &mut |entry| {
                applied = contain(|| self.projection.apply(&Parsed::of(entry)).map_err(|error| error.0))
                    .unwrap_or_else(|panic| {
                        has_panicked = true;
                        Err(panic)
                    });
            })
            .map_err(|error| Trouble::Read(error.to_string()))?;
        self.touched = true;
        match applied {
            Err(problem) if has_panicked => Err(Trouble::EntryPanicked(problem)),
            Err(problem) => {
                self.keep_dead(seq, &problem, wiring);
                Ok(Err(problem))
            }
            Ok(()) => {
                self.dead_letters.remove(seq);
                Ok(Ok(()))
            }
        }
    }

    /// Writes down that another go at a dead letter failed.
    pub fn keep_dead(&mut self, seq: Seq, problem: &str, wiring: &Wiring) {
        let attempts = self.dead_letters.get(seq).map_or(0, |letter| letter.attempts) + 1;
        self.dead_letters.put(DeadLetter { seq, problem: problem.to_owned(), attempts, at: wiring.clock.now() });
        self.touched = true;
    }
}
