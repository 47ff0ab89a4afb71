//! The durable watermark: the seq of the last synced event, and those who wait for it to move.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

use crate::units::Seq;

/// Moved by the writer thread only, after a sync; read by everyone.
pub struct Watermark {
    durable: AtomicU64,
    waiting: Mutex<()>,
    moved: Condvar,
    subscribers: watch::Sender<u64>,
}

impl Watermark {
    pub fn new(durable: Seq) -> Watermark {
        Watermark {
            durable: AtomicU64::new(durable.get()),
            waiting: Mutex::new(()),
            moved: Condvar::new(),
            subscribers: watch::channel(durable.get()).0,
        }
    }

    pub fn get(&self) -> Seq {
        Seq::new(self.durable.load(Ordering::Acquire))
    }

    /// Publishes that everything up to `durable` is on disk. Those who look see it from now on, those who wait are woken by
    /// [`Watermark::notify`].
    ///
    /// # Panics
    /// If it would move back: what was once durable stays so.
    pub fn advance(&self, durable: Seq) {
        let before = self.durable.swap(durable.get(), Ordering::AcqRel);
        assert!(before <= durable.get(), "the durable watermark moved back from {before} to {durable}");
    }

    /// Wakes those who wait for it to move, which takes longer than moving it.
    pub fn notify(&self) {
        self.nudge();
        let durable = self.get().get();
        self.subscribers.send_if_modified(|seen| std::mem::replace(seen, durable) != durable);
    }

    /// Wakes every waiting thread though nothing moved, so that it looks at its own reasons to go on.
    pub fn nudge(&self) {
        // The lock orders this against a thread that has looked but does not wait yet.
        drop(self.waiting.lock());
        self.moved.notify_all();
    }

    /// Blocks until the watermark is above `seq`, it is nudged, or `timeout` is over; returns the watermark.
    pub fn wait_past(&self, seq: Seq, timeout: Duration) -> Seq {
        let deadline = Instant::now() + timeout;
        let mut guard = self.waiting.lock();
        if self.get() <= seq {
            self.moved.wait_until(&mut guard, deadline);
        }
        self.get()
    }

    /// For async readers: the watermark as a watch channel.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.subscribers.subscribe()
    }
}
