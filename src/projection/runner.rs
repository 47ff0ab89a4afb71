//! The thread of one projection: it drives the follower that serves, publishes its views, takes commands, and swaps in
//! what was built beside.
//!
//! A view is published at once when the end of the log is reached, and at most every 20 ms while it is not; every 100 ms
//! where nobody has looked at the last one or waits for the next; and always so that making views takes no more than a
//! quarter of the thread. The published seq never goes back: after a reload
//! or a swap nothing is published before the fold has come to where readers already were.
//!
//! The first entry after a silence is folded at once; behind it the thread looks every few milliseconds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::contain::contain;
use super::fold::Fold;
use super::follower::{Follower, Step};
use super::handle::{Command, NotFound, Shared, Standing};
use super::store::Place;
use super::versions::{self, Building};
use super::{Identity, Projection, Wiring};
use crate::units::{Minute, Seq};

/// The longest sleep: a clock that was moved is seen after this.
const SLEEP_LONGEST: Duration = Duration::from_millis(250);
/// After making a view, this many times as long is left for other work.
const REST_PER_VIEW: u32 = 3;

/// A view that nobody looked at is left as it is for so long: making views of every few entries costs as much as folding them.
/// The first look has the next one made at once.
const REST_UNREAD: Duration = Duration::from_millis(100);

/// Having folded entries, the thread looks for more of them after this at the earliest: what comes one by one is folded some at
/// a time, since waking up and making a view cost as much as many entries. The first one after a silence does not wait.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(3);

/// What readers have.
struct Shown {
    applied: Seq,
    minute: Minute,
    /// When the last view was made, and what it cost.
    at: Instant,
    cost: Duration,
    /// The next view is of other tables: it is shown even if neither seq nor minute moved.
    is_stale: bool,
}

pub(super) struct Runner<P: Projection> {
    wiring: Arc<Wiring>,
    /// What the projection is to be, which the serving file may not be yet.
    wanted: Arc<Identity<P>>,
    shared: Arc<Shared<P>>,
    commands: Receiver<Command>,
    serving: Follower<P>,
    building: Option<Building<P>>,
    shown: Shown,
    /// When entries were folded last.
    folded_at: Instant,
    /// The end of the log at the start: having come there is being ready.
    target: Seq,
    /// The serving file is on its way there, and is not flushed until it has come there.
    holds_flushes: bool,
    /// The serving file was made at this start, so that coming to the target is a rebuild.
    is_new: bool,
    is_stopping: bool,
}

impl<P: Projection> Runner<P> {
    pub fn new(
        wiring: Arc<Wiring>,
        wanted: Arc<Identity<P>>,
        shared: Arc<Shared<P>>,
        commands: Receiver<Command>,
        mut serving: Follower<P>,
        target: Seq,
    ) -> Runner<P> {
        let (applied, minute) =
            serving.fold().map_or((Seq::ZERO, Minute::default()), |fold| (fold.applied(), fold.minute()));
        let shown = Shown { applied, minute, at: Instant::now(), cost: Duration::ZERO, is_stale: false };
        let is_new = applied == Seq::ZERO;
        let of_start = wiring.options.of_start(target.get().saturating_sub(applied.get()));
        let holds_flushes = of_start.is_some();
        if let Some(options) = of_start {
            serving.go_on_with(&Arc::new(wiring.with_options(options)));
        }
        let mut runner = Runner {
            wiring,
            wanted,
            shared,
            commands,
            serving,
            building: None,
            shown,
            folded_at: Instant::now(),
            target,
            holds_flushes,
            is_new,
            is_stopping: false,
        };
        if runner.is_to_be_replaced() {
            runner.build(false);
        }
        runner.report();
        runner
    }

    /// Whether what serves is only a stand-in: of other rules, or in memory.
    fn is_to_be_replaced(&self) -> bool {
        self.serving.identity().version != self.wanted.version || *self.serving.place() == Place::Memory
    }

    /// Runs until it is told to stop or no handle is left; flushes at the end.
    pub fn run(mut self) {
        while !self.is_stopping {
            if let Err(panic) = contain(|| self.turn()) {
                tracing::error!(consumer = P::NAME, problem = panic, "the projection's thread goes on after a panic");
                self.serving.distrust(panic);
            }
        }
        if let Some(building) = self.building.take() {
            building.stop();
        }
        if let Err(why) = contain(|| self.serving.checkpoint()).flatten() {
            tracing::warn!(consumer = P::NAME, problem = why, "the last flush failed; the next start folds again");
        }
        self.report();
        let serving = self.serving;
        let _ = contain(|| drop(serving));
    }

    fn turn(&mut self) {
        self.take_commands();
        self.adopt_if_built();
        if self.is_stopping {
            return;
        }
        let before = self.applied();
        let step = self.serving.step();
        if self.applied() != before {
            self.folded_at = Instant::now();
        }
        if self.holds_flushes && self.applied() >= Some(self.target) {
            self.holds_flushes = false;
            self.serving.go_on_with(&self.wiring);
        }
        if let Step::Lost(why) = &step
            && self.building.is_none()
        {
            tracing::error!(consumer = P::NAME, problem = why, "the file is lost; another one is built from the log");
            self.build(true);
        }
        let is_caught_up = matches!(step, Step::CaughtUp);
        if self.view_due(is_caught_up).is_some_and(|due| due <= Instant::now()) {
            self.publish(false);
        }
        self.report();
        match step {
            Step::More => {}
            Step::CaughtUp => self.sleep_at_the_end(),
            Step::Wait(until) => self.sleep_until(until),
            Step::Lost(_) => self.sleep_until(Instant::now() + SLEEP_LONGEST),
        }
    }

    fn applied(&self) -> Option<Seq> {
        self.serving.fold().map(Fold::applied)
    }

    fn take_commands(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.is_stopping = true;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Shutdown => self.is_stopping = true,
            Command::Rebuild => {
                if self.building.is_none() {
                    self.build(true);
                }
                self.report();
                self.shared.rebuild_wanted.store(false, Ordering::Release);
            }
            Command::Retry { seq, reply } => {
                let is_dead = self.serving.fold().is_some_and(|fold| fold.dead_letters().get(seq).is_some());
                let answer = if is_dead { Ok(self.serving.retry(seq)) } else { Err(NotFound(seq)) };
                if answer == Ok(Ok(())) {
                    self.shown.is_stale = true;
                    self.publish(true);
                }
                self.report();
                // The one who asked may have gone.
                let _ = reply.send(answer);
            }
        }
    }

    fn build(&mut self, afresh: bool) {
        match Building::start(&self.wiring, &self.wanted, afresh) {
            Ok(building) => self.building = Some(building),
            Err(error) => tracing::error!(consumer = P::NAME, %error, "a rebuild got no thread"),
        }
    }

    /// Swaps in what was built beside, once it is there.
    fn adopt_if_built(&mut self) {
        let Some(built) = self.building.as_ref().and_then(Building::built) else { return };
        self.building = None;
        let replaced = std::mem::replace(&mut self.serving, *built);
        versions::settle(&mut self.serving, &self.wiring);
        let _ = contain(|| drop(replaced));
        self.shown.is_stale = true;
        self.is_new = false;
        tracing::info!(consumer = P::NAME, version = self.wanted.version, "the rebuilt tables serve");
    }

    /// When the next view is due; `None` while readers have all there is.
    fn view_due(&self, is_caught_up: bool) -> Option<Instant> {
        let fold = self.serving.fold()?;
        let is_new = fold.applied() != self.shown.applied
            || fold.minute() != self.shown.minute
            || self.shown.is_stale
            || self.serving.wants_view();
        if !is_new || fold.applied() < self.shown.applied {
            return None;
        }
        // Being ready waits for the view of the target, and for none before it.
        if self.shown.applied < self.target && fold.applied() >= self.target {
            return Some(self.shown.at);
        }
        let least = match (self.shared.is_view_wanted(), is_caught_up) {
            (false, _) => REST_UNREAD,
            (true, true) => Duration::ZERO,
            (true, false) => self.wiring.options.publish_interval,
        };
        let rest = least.max(self.shown.cost * REST_PER_VIEW);
        Some(self.shown.at + rest)
    }

    fn publish(&mut self, is_after_retry: bool) {
        let Some((applied, minute)) = self.serving.fold().map(|fold| (fold.applied(), fold.minute())) else { return };
        if is_after_retry && applied < self.shown.applied {
            return;
        }
        let started = Instant::now();
        let Some(view) = self.serving.view() else { return };
        // Whoever sees the view finds the dead letters of before it.
        self.report_dead_letters();
        self.shared.publish(view, applied, minute);
        let at = Instant::now();
        self.shown = Shown { applied, minute, at, cost: at - started, is_stale: false };
        if applied >= self.target {
            self.shared.set_caught_up();
        }
    }

    fn report_dead_letters(&self) {
        if let Some(fold) = self.serving.fold() {
            self.shared.publish_dead_letters(fold.dead_letters().all());
        }
    }

    /// Writes down how it stands.
    fn report(&mut self) {
        self.report_dead_letters();
        let received_at = self.serving.fold().and_then(|fold| fold.received_at());
        let applied = self.shown.applied;
        if applied >= self.target {
            self.shared.set_caught_up();
        }
        let progress = || Some(format!("{applied}/{}", self.wiring.watermark.get()));
        let (state, detail) = if let Some(building) = &self.building {
            ("rebuilding", Some(building.describe(self.wiring.watermark.get())))
        } else if let Some(why) = self.serving.trouble() {
            ("stalled", Some(why.to_owned()))
        } else if applied < self.target && self.is_new {
            ("rebuilding", progress())
        } else if applied < self.target {
            ("starting", progress())
        } else {
            ("running", self.serving.trial())
        };
        *self.shared.standing.lock() = Standing { state, detail, received_at };
    }

    /// Everything is folded: sleeps until the log grows, the minute ends, or something of its own is due.
    fn sleep_at_the_end(&mut self) {
        let now = Instant::now();
        let clock = self.wiring.clock.now();
        let to_next_minute = clock.minute().plus(1).start().micros().saturating_sub(clock.micros());
        let mut timeout = Duration::from_micros(to_next_minute.max(1).unsigned_abs()).min(SLEEP_LONGEST);
        for due in [self.view_due(true), self.serving.flush_due()].into_iter().flatten() {
            timeout = timeout.min(due.saturating_duration_since(now));
        }
        if let Some(fold) = self.serving.fold() {
            self.wiring.watermark.wait_past(fold.applied(), timeout);
        }
        let earliest = self.folded_at + LOOK_AGAIN_AFTER;
        if Instant::now() < earliest {
            self.sleep_until(earliest);
        }
    }

    /// Something failed and is tried again then; commands are taken meanwhile.
    fn sleep_until(&mut self, until: Instant) {
        let timeout = until.saturating_duration_since(Instant::now()).min(SLEEP_LONGEST);
        match self.commands.recv_timeout(timeout) {
            Ok(command) => self.obey(command),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.is_stopping = true,
        }
    }
}
