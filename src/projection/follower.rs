//! The follower: keeps one [`Fold`] going behind the log, whatever fails under it. It knows no readers and no commands;
//! the runner and the rebuild each drive one, a step at a time.
//!
//! | what fails | what happens |
//! | --- | --- |
//! | the log cannot be read | the state stays; read again, ever more slowly; never skipped |
//! | an entry cannot be folded | tried again with back-off, then a dead letter |
//! | a fold, tick or view panics | the projection is loaded again from the last commit |
//! | a flush fails | the same, and the next flush waits; folding goes on up to a bound |
//! | the disk failed under a flush | the file is closed and opened again |
//! | the file no longer opens | tried again; at last [`Step::Lost`]: the owner builds another one |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::backoff::Backoff;
use super::contain::contain;
use super::dead_letters::Trials;
use super::flushing::FlushThread;
use super::fold::{Advance, Fold, LoadError, Trouble};
use super::store::{self, OpenError, Place};
use super::{Identity, Projection, Wiring};
use crate::units::Seq;

/// What to do after a step.
#[derive(Debug)]
pub(super) enum Step {
    /// The end of the log is reached.
    CaughtUp,
    /// There is more to fold at once.
    More,
    /// Nothing to do before this instant, new entries or not.
    Wait(Instant),
    /// The file is of no use any more, and says why.
    Lost(String),
}

pub(super) struct Follower<P: Projection> {
    wiring: Arc<Wiring>,
    identity: Arc<Identity<P>>,
    place: Place,
    /// Whether a file that is missing or of no use is made anew, from the start of the log.
    makes_file: bool,
    /// `None` while the file does not open.
    fold: Option<Fold<P>>,
    /// From the first flush on, where there are threads.
    flush_thread: Option<FlushThread>,
    trials: Trials,
    reading: Backoff,
    storing: Backoff,
    /// Goes at opening the file that failed in a row.
    openings_failed: u32,
    resume_at: Option<Instant>,
    flush_not_before: Option<Instant>,
    /// When the first entry was folded that no flush has taken, and the first that no synced commit holds.
    unflushed_since: Instant,
    unsynced_since: Instant,
    read_trouble: Option<String>,
    store_trouble: Option<String>,
}

impl<P: Projection> Follower<P> {
    /// Follows the log with a fold that is there.
    pub fn of(fold: Fold<P>, identity: Arc<Identity<P>>, wiring: Arc<Wiring>) -> Follower<P> {
        let place = fold.place().clone();
        Follower { fold: Some(fold), ..Follower::new(place, false, identity, wiring) }
    }

    /// Builds `path`: goes on with what is there if it is of this log and version, else starts anew.
    pub fn building(path: PathBuf, identity: Arc<Identity<P>>, wiring: Arc<Wiring>) -> Follower<P> {
        Follower::new(Place::File(path), true, identity, wiring)
    }

    fn new(place: Place, makes_file: bool, identity: Arc<Identity<P>>, wiring: Arc<Wiring>) -> Follower<P> {
        let options = &wiring.options;
        Follower {
            place,
            makes_file,
            fold: None,
            flush_thread: None,
            trials: Trials::default(),
            reading: Backoff::new(options.read_retry_first, options.read_retry_longest),
            storing: Backoff::new(options.store_retry_first, options.store_retry_longest),
            openings_failed: 0,
            resume_at: None,
            flush_not_before: None,
            unflushed_since: wiring.clock.instant(),
            unsynced_since: wiring.clock.instant(),
            read_trouble: None,
            store_trouble: None,
            identity,
            wiring,
        }
    }

    /// From now on under other options.
    pub fn go_on_with(&mut self, wiring: &Arc<Wiring>) {
        self.wiring = Arc::clone(wiring);
    }

    pub fn fold(&self) -> Option<&Fold<P>> {
        self.fold.as_ref()
    }
    pub fn place(&self) -> &Place {
        &self.place
    }
    pub fn identity(&self) -> &Arc<Identity<P>> {
        &self.identity
    }

    /// What keeps it from folding or from flushing, if something does.
    pub fn trouble(&self) -> Option<&str> {
        self.read_trouble.as_deref().or(self.store_trouble.as_deref())
    }

    /// The entry that is being tried again, if there is one.
    pub fn trial(&self) -> Option<String> {
        self.trials.describe(self.fold.as_ref()?.applied().next())
    }

    /// When a flush is due that no new entry asks for.
    pub fn flush_due(&self) -> Option<Instant> {
        let fold = self.fold.as_ref().filter(|fold| !fold.is_flushing())?;
        let options = &self.wiring.options;
        let plain = (fold.unflushed() > 0).then(|| self.unflushed_since + options.flush_interval);
        let synced = (fold.unsynced() > 0).then(|| self.unsynced_since + options.sync_interval);
        let due = plain.into_iter().chain(synced).min()?;
        Some(self.flush_not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// Moves on by one batch: flushes if it is due, ticks if the minute has changed, folds.
    ///
    /// The flush comes first, so that a view of what was folded can be published between two steps, ahead of it.
    pub fn step(&mut self) -> Step {
        if let Some(resume_at) = self.resume_at {
            if self.wiring.clock.instant() < resume_at {
                return Step::Wait(resume_at);
            }
            self.resume_at = None;
        }
        if self.fold.is_none()
            && let Err(step) = self.reopen()
        {
            return step;
        }
        self.work().unwrap_or_else(|trouble| self.suffer(trouble))
    }

    fn work(&mut self) -> Result<Step, Trouble> {
        self.flush_if_due();
        let Some(fold) = &mut self.fold else { return Ok(Step::More) };
        let now = self.wiring.clock.now();
        if now.minute() != fold.minute() {
            fold.tick(now)?;
        }
        let options = &self.wiring.options;
        let room = options.unflushed_entries_max.saturating_sub(fold.uncommitted()).min(options.flush_entries);
        if room == 0 {
            return Ok(self.make_room());
        }
        let (unflushed, unsynced) = (fold.unflushed(), fold.unsynced());
        let started = self.wiring.clock.instant();
        let advance = fold.advance(&self.wiring, &mut self.trials, room)?;
        if unflushed == 0 {
            self.unflushed_since = started;
        }
        if unsynced == 0 {
            self.unsynced_since = started;
        }
        self.read_trouble = None;
        self.reading.succeeded();
        Ok(match advance {
            Advance::CaughtUp => Step::CaughtUp,
            Advance::Wait(until) => Step::Wait(until),
            Advance::More => Step::More,
            Advance::FlushFirst => {
                self.flush_unless_held();
                Step::More
            }
        })
    }

    /// Too much is folded that no commit holds: nothing more before a flush went well.
    fn make_room(&mut self) -> Step {
        match self.flush_not_before {
            Some(not_before) if self.wiring.clock.instant() < not_before => Step::Wait(not_before),
            _ => {
                self.flush_unless_held();
                Step::More
            }
        }
    }

    /// Ends a flush that is over, and begins one that is due. What fails has been dealt with: the next step goes on from
    /// what there is.
    fn flush_if_due(&mut self) {
        // More than one flush's worth is not let come up behind the one that is on its way.
        let is_full = self.fold.as_ref().is_some_and(|fold| fold.unflushed() >= self.wiring.options.flush_entries);
        let _ = self.end_flush(is_full);
        let Some(fold) = &self.fold else { return };
        let is_due = fold.unflushed() > 0
            && (is_full || self.wiring.since(self.unflushed_since) >= self.wiring.options.flush_interval);
        let is_sync_due = self.is_sync_due();
        if (is_due || is_sync_due) && !self.is_flush_held() && !fold.is_flushing() {
            let _ = self.begin_flush(is_sync_due);
            let _ = self.end_flush(false);
        }
    }

    /// Flushes now and waits for it, unless a failure says to wait.
    fn flush_unless_held(&mut self) {
        if !self.is_flush_held() {
            // As above.
            let _ = self.flush(self.is_sync_due());
        }
    }

    fn is_sync_due(&self) -> bool {
        let options = &self.wiring.options;
        self.fold.as_ref().is_some_and(|fold| {
            fold.unsynced() > 0
                && (fold.unsynced() >= options.sync_entries
                    || self.wiring.since(self.unsynced_since) >= options.sync_interval)
        })
    }

    fn is_flush_held(&self) -> bool {
        self.flush_not_before.is_some_and(|not_before| self.wiring.clock.instant() < not_before)
    }

    /// Puts everything folded so far onto the disk, whether or not a flush is due.
    ///
    /// # Errors
    /// As [`Follower::flush`].
    pub fn checkpoint(&mut self) -> Result<(), String> {
        self.flush(true)
    }

    /// Flushes now, and waits for it.
    ///
    /// # Errors
    /// Says why it failed. The next flush waits by then, and a memory that is not to be trusted was loaded again.
    fn flush(&mut self, synced: bool) -> Result<(), String> {
        self.end_flush(true)?;
        self.begin_flush(synced)?;
        self.end_flush(true)
    }

    /// Begins a flush; none is on its way.
    ///
    /// # Errors
    /// As [`Follower::flush`].
    fn begin_flush(&mut self, synced: bool) -> Result<(), String> {
        let Some(fold) = &mut self.fold else { return Err("the projection's file is not open".to_owned()) };
        if self.wiring.has_threads && self.flush_thread.as_ref().is_none_or(FlushThread::has_ended) {
            match FlushThread::start(format!("flush-{}", P::NAME)) {
                Ok(thread) => self.flush_thread = Some(thread),
                Err(error) => return Err(self.flush_failed(&Trouble::Refused(format!("it gets no thread: {error}")))),
            }
        }
        let begun = fold.begin_flush(synced, self.flush_thread.as_ref(), &self.identity, &self.wiring);
        let (applied, is_flushing) = (fold.applied(), fold.is_flushing());
        begun.map_err(|trouble| self.flush_failed(&trouble))?;
        if !is_flushing {
            // Nothing has changed since the last one.
            self.flushed(applied);
        } else if synced {
            // What no synced commit holds once this one is made is folded from now on.
            self.unsynced_since = self.wiring.clock.instant();
        }
        Ok(())
    }

    /// Ends the flush that is on its way, if it is over or `waits` for that.
    ///
    /// # Errors
    /// As [`Follower::flush`].
    fn end_flush(&mut self, waits: bool) -> Result<(), String> {
        let Some(fold) = &mut self.fold else { return Ok(()) };
        if let Some(applied) = fold.end_flush(waits).map_err(|trouble| self.flush_failed(&trouble))? {
            self.flushed(applied);
        }
        Ok(())
    }

    fn flushed(&mut self, applied: Seq) {
        self.trials.flushed(applied);
        self.flush_not_before = None;
        self.recovered();
    }

    fn flush_failed(&mut self, trouble: &Trouble) -> String {
        let why = trouble.why().to_owned();
        tracing::warn!(consumer = P::NAME, problem = why, "a flush failed and is tried again");
        self.store_trouble = Some(why.clone());
        self.flush_not_before = Some(self.wiring.clock.instant() + self.storing.failed());
        if matches!(trouble, Trouble::Tainted(_)) {
            self.reload(&why);
        }
        why
    }

    /// Folds a dead letter's entry now, and puts the outcome on the disk before it says so.
    pub fn retry(&mut self, seq: Seq) -> Result<(), String> {
        // What came before must not be lost with an entry that panics.
        self.checkpoint()?;
        let fold = self.fold.as_mut().expect("a checkpoint leaves the file open");
        let outcome = match fold.retry(seq, &self.wiring) {
            Ok(outcome) => outcome,
            Err(trouble) => {
                let why = trouble.why().to_owned();
                if !matches!(trouble, Trouble::Read(_)) {
                    self.reload(&why);
                }
                if let Some(fold) = &mut self.fold {
                    fold.keep_dead(seq, &why, &self.wiring);
                }
                Err(why)
            }
        };
        match self.checkpoint() {
            // In memory it is folded, and the next flush that works takes it along.
            Err(_) if outcome.is_ok() && !self.is_dead(seq) => Ok(()),
            kept => outcome.and(kept),
        }
    }

    /// Whether `seq` is a dead letter. So is every entry while the file is not open.
    fn is_dead(&self, seq: Seq) -> bool {
        self.fold.as_ref().is_none_or(|fold| fold.dead_letters().get(seq).is_some())
    }

    /// The view of everything folded; `None` if making it failed, which has been dealt with.
    pub fn view(&mut self) -> Option<Arc<P::View>> {
        match self.fold.as_mut()?.view() {
            Ok(view) => {
                self.recovered();
                Some(view)
            }
            Err(trouble) => {
                self.suffer(trouble);
                None
            }
        }
    }

    /// Whether a view would show that what was wrong is over, or the projection asks for one.
    pub fn wants_view(&self) -> bool {
        let is_over = self.store_trouble.is_some() && self.flush_not_before.is_none();
        self.fold.as_ref().is_some_and(|fold| is_over || fold.wants_view())
    }

    fn recovered(&mut self) {
        if self.flush_not_before.is_none() {
            self.store_trouble = None;
            self.storing.succeeded();
        }
    }

    /// A panic that no single call explains: the memory may be anything.
    pub fn distrust(&mut self, why: String) {
        self.suffer(Trouble::Tainted(why));
    }

    fn suffer(&mut self, trouble: Trouble) -> Step {
        let wait = match trouble {
            // The entry's own trial says when it is tried again.
            Trouble::EntryPanicked(why) => {
                self.reload(&why);
                return Step::More;
            }
            Trouble::Read(why) => {
                tracing::error!(consumer = P::NAME, problem = why, "the log cannot be read");
                self.read_trouble = Some(why);
                self.reading.failed()
            }
            Trouble::Refused(why) | Trouble::Tainted(why) => {
                self.reload(&why);
                self.store_trouble = Some(why);
                self.storing.failed()
            }
        };
        let until = self.wiring.clock.instant() + wait;
        self.resume_at = Some(until);
        Step::Wait(until)
    }

    /// Loads the state again from the last commit; if that fails the next step opens the file again.
    fn reload(&mut self, why: &str) {
        tracing::warn!(consumer = P::NAME, problem = why, "the projection is loaded again from its last commit");
        let Some(fold) = self.fold.take() else { return };
        match contain(|| fold.reload(&self.identity, &self.wiring)) {
            Ok(Ok(fold)) => self.fold = Some(fold),
            Ok(Err(error)) => self.store_trouble = Some(error.why()),
            Err(panic) => self.store_trouble = Some(panic),
        }
    }

    fn reopen(&mut self) -> Result<(), Step> {
        let Place::File(path) = &self.place else {
            return Err(Step::Lost("tables in memory cannot be opened again".to_owned()));
        };
        let opened = match Fold::open(path, &self.identity, &self.wiring) {
            Err(error) if self.makes_file && is_to_be_made(&error) => {
                tracing::info!(consumer = P::NAME, file = %path.display(), reason = error.why(), "building a file");
                Fold::create(path, &self.identity, &self.wiring)
            }
            opened => opened,
        };
        match opened {
            Ok(fold) => {
                self.fold = Some(fold);
                self.openings_failed = 0;
                Ok(())
            }
            Err(error) => Err(self.not_opened(&error)),
        }
    }

    fn not_opened(&mut self, error: &LoadError) -> Step {
        let why = error.why();
        tracing::warn!(consumer = P::NAME, problem = why, "the projection's file does not open");
        self.store_trouble = Some(why.clone());
        self.openings_failed += 1;
        let until = self.wiring.clock.instant() + self.storing.failed();
        self.resume_at = Some(until);
        let is_hopeless = is_to_be_made(error) || self.openings_failed >= self.wiring.options.attempts_max;
        if is_hopeless && !self.makes_file { Step::Lost(why) } else { Step::Wait(until) }
    }

    /// The file is whole: gives it the name under which the next start looks for it.
    pub fn settle(&mut self, path: PathBuf) -> std::io::Result<()> {
        if let Place::File(from) = &self.place {
            store::rename(self.wiring.disk.as_ref(), from, &path)?;
        }
        self.place = Place::File(path);
        self.makes_file = false;
        if let Some(fold) = &mut self.fold {
            fold.move_to(self.place.clone());
        }
        Ok(())
    }
}

/// Whether another file in its place is the answer.
fn is_to_be_made(error: &LoadError) -> bool {
    matches!(error, LoadError::Open(OpenError::Missing | OpenError::Disposable(_)) | LoadError::AheadOfLog { .. })
}
