//! How a projection is run: every bound of the runner, with its default.

use std::time::Duration;

/// The bounds under which one projection is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// redb's page cache, in bytes; its own default of 1 GiB is too much for three projections on one box.
    pub cache_bytes: usize,
    /// Goes at an entry before it becomes a dead letter.
    pub attempts_max: u32,
    /// Wait after the first failed go at an entry; each further one doubles it, up to `entry_retry_longest`.
    pub entry_retry_first: Duration,
    pub entry_retry_longest: Duration,
    /// Wait after a flush, an opening or a tick failed.
    pub store_retry_first: Duration,
    pub store_retry_longest: Duration,
    /// Wait after the log could not be read. Damage does not mend itself, so it is slow.
    pub read_retry_first: Duration,
    pub read_retry_longest: Duration,
    /// How long one batch folds before the runner looks up.
    pub batch: Duration,
    /// While behind the log, a view is published this often at most.
    pub publish_interval: Duration,
    /// A flush without a sync happens after this time or this many entries, whichever is first.
    pub flush_interval: Duration,
    pub flush_entries: u64,
    /// A flush with a sync happens after this time or this many entries: what a crash makes it fold again.
    pub sync_interval: Duration,
    pub sync_entries: u64,
    /// Entries that may be folded without a flush while flushes fail; then folding waits.
    pub unflushed_entries_max: u64,
    /// Free bytes on the disk under which no flush is tried: redb's handle does not survive a full disk.
    pub free_bytes_min: u64,
    /// Files up to this size have every page's checksum verified when they are opened (3 ms a MiB).
    pub integrity_check_bytes_max: u64,
}

/// Longer than a start takes.
const NOT_SOON: Duration = Duration::from_secs(3600);

impl Options {
    /// The same for a file that nobody reads yet: fewer and larger flushes write and merge less, and wait less for the disk.
    pub(super) fn of_building(&self) -> Options {
        let (flush_entries, sync_entries) = (self.flush_entries * 2, self.sync_entries * 2);
        Options { flush_entries, sync_entries, flush_interval: self.sync_interval, ..self.clone() }
    }

    /// The same on the way to where the log ended at a start: being ready waits for that, and for no flush. `None` where it
    /// is far: what a crash leaves is two flushes at most, the one on its way and what came behind it.
    pub(super) fn of_start(&self, entries: u64) -> Option<Options> {
        let (flush_entries, sync_entries) = (self.flush_entries * 3, u64::MAX);
        let (flush_interval, sync_interval) = (NOT_SOON, NOT_SOON);
        let is_near = entries < flush_entries;
        is_near.then(|| Options { flush_entries, sync_entries, flush_interval, sync_interval, ..self.clone() })
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache_bytes: 32 * 1024 * 1024,
            attempts_max: 5,
            entry_retry_first: Duration::from_millis(10),
            entry_retry_longest: Duration::from_secs(1),
            store_retry_first: Duration::from_millis(100),
            store_retry_longest: Duration::from_secs(30),
            read_retry_first: Duration::from_secs(1),
            read_retry_longest: Duration::from_secs(30),
            batch: Duration::from_millis(20),
            publish_interval: Duration::from_millis(20),
            flush_interval: Duration::from_secs(1),
            flush_entries: 100_000,
            sync_interval: Duration::from_secs(10),
            sync_entries: 100_000,
            unflushed_entries_max: 2_000_000,
            free_bytes_min: 32 * 1024 * 1024,
            integrity_check_bytes_max: 64 * 1024 * 1024,
        }
    }
}
