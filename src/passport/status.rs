//! What the writer thread tells the rest of the daemon: whether it takes writes, and what it has done.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::units::Timestamp;

/// Upper bounds of the sync latency histogram's buckets, in microseconds.
pub const SYNC_BUCKETS_US: [u64; 12] =
    [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 51_200, 204_800, 1_638_400];

/// Written by the writer thread, read by `/readyz` and `/metrics`.
#[derive(Default)]
pub struct WriterStatus {
    read_only: ArcSwapOption<String>,
    heartbeats: AtomicU64,
    heartbeat_micros: AtomicI64,
    syncs: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    sync_us: AtomicU64,
    sync_buckets: [AtomicU64; SYNC_BUCKETS_US.len()],
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterCounts {
    pub syncs: u64,
    pub events: u64,
    pub bytes: u64,
    pub sync_us: u64,
    /// Syncs that took at most [`SYNC_BUCKETS_US`], not cumulative; what took longer is in `syncs` only.
    pub sync_buckets: [u64; SYNC_BUCKETS_US.len()],
}

impl WriterStatus {
    /// Why the log takes no writes now, if so.
    pub fn read_only(&self) -> Option<String> {
        self.read_only.load().as_ref().map(|why| why.as_ref().clone())
    }

    pub(super) fn set_read_only(&self, why: Option<String>) {
        match (self.read_only.load().is_some(), &why) {
            (false, Some(why)) => tracing::error!(why, "the log is read-only"),
            (true, None) => tracing::info!("the log takes writes again"),
            _ => {}
        }
        self.read_only.store(why.map(Arc::new));
    }

    /// The writer comes round: with each batch, and five times a second while nothing is written. A sync that hangs stops
    /// it, so what is fed by this tells of a writer that works, not of a process that is there.
    pub(super) fn beat(&self, now: Timestamp) {
        self.heartbeats.fetch_add(1, Ordering::Relaxed);
        self.heartbeat_micros.store(now.micros(), Ordering::Relaxed);
    }

    /// How often the writer has come round. It alone says whether the writer moves: the clock may jump.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Ordering::Relaxed)
    }

    /// When it came round last; the epoch before the first time.
    pub fn heartbeat_at(&self) -> Timestamp {
        Timestamp::from_micros(self.heartbeat_micros.load(Ordering::Relaxed))
    }

    pub(super) fn count_sync(&self, took: Duration, events: u32, bytes: usize) {
        let us = took.as_micros() as u64;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(u64::from(events), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sync_us.fetch_add(us, Ordering::Relaxed);
        if let Some(bucket) = SYNC_BUCKETS_US.iter().position(|bound| us <= *bound) {
            self.sync_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn counts(&self) -> WriterCounts {
        let mut counts = WriterCounts {
            syncs: self.syncs.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            sync_us: self.sync_us.load(Ordering::Relaxed),
            sync_buckets: [0; SYNC_BUCKETS_US.len()],
        };
        for (count, bucket) in counts.sync_buckets.iter_mut().zip(&self.sync_buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        counts
    }
}
