//! What readers hold of a projection: the published view, how far it has come, and the way to its thread.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::dead_letters::DeadLetter;
use super::{Projection, Wiring};
use crate::passport::Watermark;
use crate::units::{Minute, Seq, Timestamp};

/// How often a waiting caller wakes the thread again: a wake-up that meets a thread on its way to sleep is lost.
const NUDGE_INTERVAL: Duration = Duration::from_millis(10);

/// Why a projection cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log has lost entries that it once called durable.
    #[error(
        "{}: holds entries up to seq {applied}, but the log ends at seq {durable}: the log has lost entries. Put \
         its last segment back from a backup (what a start cut off lies in `passport/torn/`) and run \
         `coliseum verify`, or, to go on without those entries, `coliseum repair`",
        file.display()
    )]
    AheadOfLog { file: PathBuf, applied: Seq, durable: Seq },
    /// The directory or a file in it is out of reach.
    #[error("{}: {what}", path.display())]
    Unreachable { path: PathBuf, what: String },
    #[error("the projection {name} got no thread: {what}")]
    Thread { name: &'static str, what: String },
}

/// There is no dead letter of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {0} is no dead letter of this consumer")]
pub struct NotFound(pub Seq);

/// How a projection is doing, as the API tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerStatus {
    pub name: &'static str,
    /// The last entry that the published view holds.
    pub applied: Seq,
    /// `starting` (reading what the log has beyond its file), `running`, `rebuilding`, or `stalled`.
    pub state: String,
    /// `1234/5000` while rebuilding or starting; why, while stalled; the entry that is being tried again.
    pub detail: Option<String>,
    pub dead_letters: usize,
    /// When the last entry that was folded came in; `None` before the first.
    pub last_applied_received_at: Option<Timestamp>,
}

/// The part of the status that the thread writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub state: &'static str,
    pub detail: Option<String>,
    pub received_at: Option<Timestamp>,
}

/// What the thread publishes and readers read.
pub(super) struct Shared<P: Projection> {
    view: ArcSwap<P::View>,
    applied: AtomicU64,
    applied_watch: watch::Sender<u64>,
    minute_watch: watch::Sender<i64>,
    pub standing: Mutex<Standing>,
    dead_letters: ArcSwap<BTreeMap<Seq, DeadLetter>>,
    caught_up_once: AtomicBool,
    /// Somebody has looked at the view since it was published.
    is_read: AtomicBool,
    /// A rebuild was asked for that the thread has not begun yet.
    pub rebuild_wanted: AtomicBool,
}

impl<P: Projection> Shared<P> {
    pub fn new(view: Arc<P::View>, applied: Seq, minute: Minute) -> Shared<P> {
        Shared {
            view: ArcSwap::new(view),
            applied: AtomicU64::new(applied.get()),
            applied_watch: watch::channel(applied.get()).0,
            minute_watch: watch::channel(minute.get()).0,
            standing: Mutex::new(Standing { state: "starting", detail: None, received_at: None }),
            dead_letters: ArcSwap::default(),
            caught_up_once: AtomicBool::new(false),
            is_read: AtomicBool::new(false),
            rebuild_wanted: AtomicBool::new(false),
        }
    }

    /// The view first, then its seq and minute: who has waited for a seq finds it in the view.
    pub fn publish(&self, view: Arc<P::View>, applied: Seq, minute: Minute) {
        self.is_read.store(false, Ordering::Relaxed);
        self.view.store(view);
        self.applied.store(applied.get(), Ordering::Release);
        self.applied_watch.send_replace(applied.get());
        self.minute_watch.send_replace(minute.get());
    }

    pub fn publish_dead_letters(&self, letters: &Arc<BTreeMap<Seq, DeadLetter>>) {
        if !Arc::ptr_eq(&self.dead_letters.load(), letters) {
            self.dead_letters.store(Arc::clone(letters));
        }
    }

    pub fn applied(&self) -> Seq {
        Seq::new(self.applied.load(Ordering::Acquire))
    }

    /// Whether somebody waits for the next view, or has looked at the last one and so may look again.
    pub fn is_view_wanted(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
            || self.applied_watch.receiver_count() > 0
            || self.minute_watch.receiver_count() > 0
    }

    pub fn set_caught_up(&self) {
        self.caught_up_once.store(true, Ordering::Release);
    }
}

/// What a handle asks of the thread.
pub(super) enum Command {
    Retry { seq: Seq, reply: oneshot::Sender<RetryAnswer> },
    Rebuild,
    Shutdown,
}

type RetryAnswer = Result<Result<(), String>, NotFound>;

/// The way to a running projection. Cheap to clone; the last one that is dropped stops the thread.
pub struct Handle<P: Projection>(Arc<Inner<P>>);

struct Inner<P: Projection> {
    shared: Arc<Shared<P>>,
    commands: Sender<Command>,
    watermark: Arc<Watermark>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<P: Projection> Clone for Handle<P> {
    fn clone(&self) -> Handle<P> {
        Handle(Arc::clone(&self.0))
    }
}

impl<P: Projection> Handle<P> {
    pub(super) fn new(
        shared: Arc<Shared<P>>,
        commands: Sender<Command>,
        wiring: &Wiring,
        thread: JoinHandle<()>,
    ) -> Handle<P> {
        let watermark = Arc::clone(&wiring.watermark);
        Handle(Arc::new(Inner { shared, commands, watermark, thread: Mutex::new(Some(thread)) }))
    }

    /// The latest view, to keep.
    pub fn view(&self) -> Arc<P::View> {
        self.note_read();
        self.0.shared.view.load_full()
    }

    /// The latest view, for the length of one answer: cheaper than [`Handle::view`], not to be held across an await.
    pub fn load(&self) -> Guard<Arc<P::View>> {
        self.note_read();
        self.0.shared.view.load()
    }

    /// Where nobody looks, views are published less often: the first look says that there is somebody.
    fn note_read(&self) {
        let is_read = &self.0.shared.is_read;
        if !is_read.load(Ordering::Relaxed) {
            is_read.store(true, Ordering::Relaxed);
            self.nudge();
        }
    }

    /// The last entry that the published view holds. Never goes back.
    pub fn applied(&self) -> Seq {
        self.0.shared.applied()
    }

    /// The applied seq as a watch channel. It is marked as changed with every view that is published, so also when only
    /// the minute moved and the number is the same.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.shared.applied_watch.subscribe()
    }

    /// Waits until the view holds `seq`; `false` if `timeout` was over first.
    pub async fn wait_applied(&self, seq: Seq, timeout: Duration) -> bool {
        let mut applied = self.subscribe();
        if *applied.borrow() >= seq.get() {
            return true;
        }
        let arrives = applied.wait_for(|applied| *applied >= seq.get());
        let arrives = tokio::time::timeout(timeout, arrives);
        matches!(self.nudging(arrives).await, Ok(Ok(_)))
    }

    /// Has the thread look at the clock now: a reader saw its minute move.
    pub fn nudge(&self) {
        self.0.watermark.nudge();
    }

    /// Waits until the view is of `minute`, or has moved to a later one; `false` if `timeout` was over first.
    pub async fn wait_minute(&self, minute: Minute, timeout: Duration) -> bool {
        let mut minutes = self.0.shared.minute_watch.subscribe();
        let first = *minutes.borrow();
        let arrives = minutes.wait_for(|shown| *shown == minute.get() || (*shown > minute.get() && *shown != first));
        let arrives = tokio::time::timeout(timeout, arrives);
        matches!(self.nudging(arrives).await, Ok(Ok(_)))
    }

    pub fn status(&self) -> ConsumerStatus {
        let Standing { state, detail, received_at } = self.0.shared.standing.lock().clone();
        let state = if self.0.shared.rebuild_wanted.load(Ordering::Acquire) { "rebuilding" } else { state };
        ConsumerStatus {
            name: P::NAME,
            applied: self.applied(),
            state: state.to_owned(),
            detail,
            dead_letters: self.0.shared.dead_letters.load().len(),
            last_applied_received_at: received_at,
        }
    }

    /// The entries that were skipped, by seq.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.0.shared.dead_letters.load().values().cloned().collect()
    }

    /// Folds a dead letter's entry now. `Ok(Ok(()))`: it is folded and no dead letter any more.
    /// `Ok(Err(problem))`: it stays one, with this problem; or it could not be tried, and the text says why.
    pub async fn retry(&self, seq: Seq) -> Result<Result<(), String>, NotFound> {
        let (reply, answer) = oneshot::channel();
        let stopped = || Ok(Err("the projection has stopped".to_owned()));
        if self.0.commands.send(Command::Retry { seq, reply }).is_err() {
            return stopped();
        }
        self.nudging(answer).await.unwrap_or_else(|_| stopped())
    }

    /// Builds the tables anew from the start of the log, beside those that serve, and swaps them. From this call on
    /// until the swap the state is `rebuilding`; asked for again meanwhile, it changes nothing.
    pub fn rebuild(&self) {
        self.0.shared.rebuild_wanted.store(true, Ordering::Release);
        if self.0.commands.send(Command::Rebuild).is_err() {
            self.0.shared.rebuild_wanted.store(false, Ordering::Release);
        }
        self.nudge();
    }

    /// Whether the view has ever held all that the log held at the start: ready to serve.
    pub fn caught_up_once(&self) -> bool {
        self.0.shared.caught_up_once.load(Ordering::Acquire)
    }

    /// Flushes with a sync, stops the thread and waits for it. The last view stays readable. Blocks; calling it again
    /// does nothing.
    pub fn shutdown(&self) {
        let Some(thread) = self.0.thread.lock().take() else { return };
        // An error means that the thread has ended already.
        let _ = self.0.commands.send(Command::Shutdown);
        while !thread.is_finished() {
            self.nudge();
            std::thread::park_timeout(NUDGE_INTERVAL);
        }
        if thread.join().is_err() {
            tracing::error!(consumer = P::NAME, "the projection's thread ended in a panic");
        }
    }

    /// Waits, and wakes the thread again and again meanwhile.
    async fn nudging<T>(&self, waited_for: impl Future<Output = T>) -> T {
        tokio::pin!(waited_for);
        let mut asked_at = Instant::now();
        self.nudge();
        loop {
            let next = tokio::time::Instant::from_std(asked_at + NUDGE_INTERVAL);
            match tokio::time::timeout_at(next, &mut waited_for).await {
                Ok(value) => return value,
                Err(_) => {
                    self.nudge();
                    asked_at = Instant::now();
                }
            }
        }
    }
}
