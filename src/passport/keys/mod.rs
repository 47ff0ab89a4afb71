//! Idempotency for ever in bounded memory: from an idempotency key to the seqs that may hold it.
//!
//! # Contract
//!
//! The index answers **candidates**. A key becomes a 64-bit fingerprint (SipHash under a random key of this directory),
//! and a look-up gives every seq that was inserted under that fingerprint. The caller reads those entries and compares the
//! real keys; a candidate with another key is simply not it. So exactness never hangs on a fingerprint, entries with equal
//! fingerprints are all kept, and no answer is ever "absent" because something could not be read: that is an error, and
//! the caller refuses the write.
//!
//! Everything here is derived from the log. It can be deleted at any time while the daemon is stopped, is rebuilt from
//! the log, and is never evidence about the log.
//!
//! # Who owns what
//!
//! - [`KeyIndex`] belongs to the writer thread: the recent keys, in a hash table of about [`RECENT_KEYS`] keys, and
//!   look-ups over everything. [`KeyIndex::seal`] hands a full table on without copying it, and goes on searching it until
//!   it has seen the run that holds the same keys: no instant passes at which a key is in neither.
//! - [`Upkeep`] belongs to a background thread. It alone makes, joins and removes run files, and publishes the set of
//!   runs in one pointer. A merge advances in small steps, so that a seal never waits for a long one.
//! - [`Fingerprinter`] and [`StatsSource`] are handles for any thread.
//!
//! # Files in `passport/keys/`
//!
//! | name | holds | made by |
//! | --- | --- | --- |
//! | `fingerprint.key` | the SipHash key and the identity of the log it belongs to (`secret`) | the first open |
//! | `<first seq>-<last seq>.keys`, 20 digits each | a run: the keys of those seqs, sorted by fingerprint (`layout`) | [`Upkeep`] |
//! | `<name>.tmp` | one of the above being written | as above |
//!
//! Runs cover disjoint ascending ranges of seqs, and a merge joins neighbours only, so the names tell what is covered.
//! A file is written under its `.tmp` name, synced, renamed, and the directory synced; the inputs of a merge are removed
//! after that. So a crash leaves `.tmp` files and runs inside the range of another: the next open removes both.
//! A run that is damaged, of another version, of another fingerprint key, or beyond the log's end is removed at open too,
//! and the hole it leaves is reported. While there is a hole, look-ups fail with [`KeyError::Incomplete`].
//!
//! # Cost
//!
//! In memory a run keeps under 2 bytes a key (`directory`), on disk about 10; a merge holds its inputs and its output at
//! once, so that the peaks are 4 and 20. A look-up that finds nothing reads memory only (one in 4000 a run reads
//! a block of the file); a hit reads one block of about 1 KiB. Opening reads the directories, not the entries.

mod check;
mod directory;
#[doc(hidden)]
pub mod fuzz;
mod layout;
mod merge;
mod open;
mod recent;
mod run;
mod run_set;
mod run_writer;
mod secret;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::disk::{Disk, is_full};
use crate::units::Seq;
use crate::world::Random;

pub use check::{HeldRuns, KeyCheck, KeyFinding, survey};
pub use merge::{RunInfo, plan_merge};
pub use open::{DroppedFile, OpenReport, Opened};
pub use upkeep::{Rebuild, Upkeep};

use recent::Recent;
use run_set::Shared;

/// Keys in the recent table when it wants to be sealed, unless configured. At a restart the log's entries behind the last
/// run are read again, so this also bounds the time to be ready.
pub const RECENT_KEYS: usize = crate::limits::KEY_TABLE_KEYS_DEFAULT;
/// Keys in one run; a merge that would exceed it is not planned.
pub const RUN_KEYS_MAX: u64 = 1 << 31;
/// Adjacent runs of one level that are joined into one of the next.
pub const MERGE_FAN_OUT: usize = 4;

/// Keys that [`KeyIndex::candidates_batch`] takes through one run at a time, so that their cache misses overlap.
const LOOKUP_LANES: usize = 32;

const _: () = assert!(RECENT_KEYS as u64 * MERGE_FAN_OUT as u64 <= RUN_KEYS_MAX);

/// Why a look-up, a seal or a merge failed. Never to be taken for "the key is not there".
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{file}: {source}")]
    Io { file: String, source: io::Error },
    /// The bytes are not what was written. [`Upkeep::discard`] the run and rebuild its range from the log.
    #[error("{file}: damaged at offset {offset}: {what}; it is derived from the log: delete it and start again")]
    Damaged { file: String, run: SeqRange, offset: u64, what: String },
    /// A range of the log is in no run; [`Upkeep::rebuild`] fills it.
    #[error("the keys of seq {missing} are not indexed; they must be rebuilt from the log first")]
    Incomplete { missing: SeqRange },
}

/// A range of seqs, both ends included and never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqRange {
    first: Seq,
    last: Seq,
}

impl SeqRange {
    /// # Panics
    /// If it would be empty or hold [`Seq::ZERO`].
    pub fn new(first: Seq, last: Seq) -> SeqRange {
        SeqRange::checked(first, last).expect("a range of seqs starts at 1 or later and ends where it starts or later")
    }
    fn checked(first: Seq, last: Seq) -> Option<SeqRange> {
        (first > Seq::ZERO && first <= last && last.get() < u64::MAX).then_some(SeqRange { first, last })
    }
    pub const fn first(self) -> Seq {
        self.first
    }
    pub const fn last(self) -> Seq {
        self.last
    }
    pub fn contains(self, seq: Seq) -> bool {
        self.first <= seq && seq <= self.last
    }
}

impl fmt::Display for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.first, self.last)
    }
}

/// 64 keyed bits that stand for an idempotency key; uniform, and not to be guessed from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// From bits that are already uniform.
    pub const fn new(bits: u64) -> Fingerprint {
        Fingerprint(bits)
    }
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Makes fingerprints, in any thread: hash where the key is parsed, so that the writer thread does not.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprinter(SipHasher13);

impl Fingerprinter {
    pub fn fingerprint(&self, key: &str) -> Fingerprint {
        Fingerprint(self.0.hash(key.as_bytes()))
    }
}

impl KeyError {
    /// Whether it is for want of space only.
    pub fn is_full(&self) -> bool {
        matches!(self, KeyError::Io { source, .. } if is_full(source))
    }
}

/// One answer of [`KeyIndex::candidates_batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Place of the fingerprint in the batch.
    pub index: usize,
    pub seq: Seq,
}

/// What the runs hold and cost; the recent keys are beside it ([`KeyIndex::recent_keys`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStats {
    pub runs: u64,
    pub run_keys: u64,
    pub disk_bytes: u64,
    pub memory_bytes: u64,
    /// The most that runs had on disk since the open, a merge's inputs and output counted both.
    pub disk_bytes_peak: u64,
    /// The most that runs had in memory since the open, counted likewise.
    pub memory_bytes_peak: u64,
    /// Every key up to here is in a run.
    pub covered_to: Seq,
}

/// Gives [`KeyStats`] to any thread, for `/metrics`.
#[derive(Clone)]
pub struct StatsSource(Arc<Shared>);

impl StatsSource {
    pub fn stats(&self) -> KeyStats {
        self.0.stats()
    }
    /// The runs of this moment, to be read while the background thread goes on.
    pub fn hold(&self) -> HeldRuns {
        HeldRuns::of(&self.0)
    }
}

/// A table of keys that takes no more inserts and waits to be written as a run.
pub struct Sealed {
    range: SeqRange,
    recent: Recent,
}

impl Sealed {
    pub fn range(&self) -> SeqRange {
        self.range
    }
}

/// The writer thread's side: the recent keys, and look-ups over them and all runs.
pub struct KeyIndex {
    shared: Arc<Shared>,
    recent: Recent,
    /// Oldest first; each is dropped once a set of runs that covers it has been seen.
    sealed: VecDeque<Arc<Sealed>>,
    /// The last seq that is in a run or in `sealed`.
    sealed_to: Seq,
    /// The last seq inserted; at least `sealed_to`.
    inserted_to: Seq,
    /// Keys of a recent table that is full.
    table_keys: usize,
}

impl KeyIndex {
    /// Opens the index of the log `log_id`, which ends at `log_end`; makes what is not there.
    ///
    /// Before the first look-up the caller fills the report's gaps through [`Upkeep::rebuild`] and inserts the keys of
    /// the entries behind [`OpenReport::tail_after`].
    ///
    /// # Errors
    /// [`KeyError::Io`] where the disk fails. Damage is no error here: it is dropped and reported.
    pub fn open(
        disk: Arc<dyn Disk>,
        random: &dyn Random,
        dir: PathBuf,
        log_id: [u8; 16],
        log_end: Seq,
        table_keys: usize,
    ) -> Result<Opened, KeyError> {
        open::open(disk, random, dir, log_id, log_end, table_keys)
    }

    fn over(shared: Arc<Shared>, table_keys: usize) -> KeyIndex {
        let covered_to = shared.runs.load().covered_to();
        KeyIndex {
            shared,
            recent: Recent::with_room_for(room(table_keys)),
            sealed: VecDeque::new(),
            sealed_to: covered_to,
            inserted_to: covered_to,
            table_keys,
        }
    }

    pub fn fingerprinter(&self) -> Fingerprinter {
        self.shared.fingerprinter
    }

    pub fn fingerprint(&self, key: &str) -> Fingerprint {
        self.shared.fingerprinter.fingerprint(key)
    }

    pub fn stats_source(&self) -> StatsSource {
        StatsSource(Arc::clone(&self.shared))
    }

    /// Remembers that the entry `seq` has this key.
    ///
    /// # Panics
    /// If `seq` is not above every seq inserted or covered before: keys come in the order of the log.
    pub fn insert(&mut self, fingerprint: Fingerprint, seq: Seq) {
        assert!(seq > self.inserted_to, "key of seq {seq} inserted after that of seq {}", self.inserted_to);
        self.inserted_to = seq;
        self.recent.insert(fingerprint, seq);
    }

    /// Replaces `found` by every seq that may hold the key, newest first; almost always none or one.
    ///
    /// # Errors
    /// The disk failed, a run is damaged or a range is not indexed. The key may be there: refuse the write.
    pub fn candidates(&self, fingerprint: Fingerprint, found: &mut Vec<Seq>) -> Result<(), KeyError> {
        found.clear();
        let runs = self.shared.runs.load();
        runs.check_complete()?;
        self.recent.find(fingerprint, |seq| found.push(seq));
        for sealed in &self.sealed {
            sealed.recent.find(fingerprint, |seq| found.push(seq));
        }
        for run in runs.iter() {
            run.candidates(fingerprint, |seq| found.push(seq))?;
        }
        newest_first(found);
        Ok(())
    }

    /// [`KeyIndex::candidates`] of many keys at once, as they stand now: keys of the same batch do not see each other,
    /// see [`KeyIndex::recent_candidates`]. Hits come by ascending place, and of one place newest first.
    ///
    /// # Errors
    /// As `candidates`.
    pub fn candidates_batch(&self, fingerprints: &[Fingerprint], hits: &mut Vec<Hit>) -> Result<(), KeyError> {
        hits.clear();
        let runs = self.shared.runs.load();
        runs.check_complete()?;
        for (chunk, lanes) in fingerprints.chunks(LOOKUP_LANES).enumerate() {
            let mut hit = |lane, seq| hits.push(Hit { index: chunk * LOOKUP_LANES + lane, seq });
            self.recent.find_lanes(lanes, &mut hit);
            for sealed in &self.sealed {
                sealed.recent.find_lanes(lanes, &mut hit);
            }
            for run in runs.iter() {
                run.candidates_of_lanes(lanes, &mut hit)?;
            }
        }
        hits.sort_unstable_by_key(|hit| (hit.index, std::cmp::Reverse(hit.seq)));
        hits.dedup();
        Ok(())
    }

    /// The candidates among the keys inserted since the last seal, newest first: what an event of a batch asks just before
    /// its own insert, to see the keys of the events before it.
    pub fn recent_candidates(&self, fingerprint: Fingerprint, found: &mut Vec<Seq>) {
        found.clear();
        self.recent.find(fingerprint, |seq| found.push(seq));
        newest_first(found);
    }

    /// A range that no run covers though one should: look-ups fail until it is filled.
    pub fn missing(&self) -> Option<SeqRange> {
        self.shared.runs.load().gaps().first().copied()
    }

    /// Whether the recent table is full, and it is time to seal.
    pub fn wants_seal(&self) -> bool {
        self.recent.len() >= self.table_keys
    }

    /// Closes the recent table, which holds the keys of every entry behind the last seal up to `last`, for
    /// [`Upkeep::write`]. It stays searchable here until it is. Seal only what the log has synced: a run beyond the
    /// log's end is thrown away at the next open.
    ///
    /// # Panics
    /// If `last` is below a seq inserted, or no seq was added since the last seal.
    pub fn seal(&mut self, last: Seq) -> Arc<Sealed> {
        assert!(last >= self.inserted_to, "sealed at seq {last} with seq {} inserted", self.inserted_to);
        self.forget_installed();
        let recent = std::mem::replace(&mut self.recent, Recent::with_room_for(room(self.table_keys)));
        let sealed = Arc::new(Sealed { range: SeqRange::new(self.sealed_to.next(), last), recent });
        self.sealed_to = last;
        self.inserted_to = last;
        self.sealed.push_back(Arc::clone(&sealed));
        sealed
    }

    /// Drops the sealed tables that are runs by now; cheap, once a batch is often enough.
    pub fn forget_installed(&mut self) {
        if self.sealed.is_empty() {
            return;
        }
        let covered_to = self.shared.runs.load().covered_to();
        while self.sealed.front().is_some_and(|sealed| sealed.range.last <= covered_to) {
            self.sealed.pop_front();
        }
    }

    /// Whether more keys are held in memory than so many full tables: the background thread is behind, and the caller
    /// should wait for it.
    pub fn are_behind(&self, tables: usize) -> bool {
        self.recent_keys() > self.table_keys * tables
    }

    /// Keys held in tables, sealed ones that are not yet forgotten included.
    pub fn recent_keys(&self) -> usize {
        self.recent.len() + self.sealed.iter().map(|sealed| sealed.recent.len()).sum::<usize>()
    }

    /// What those tables take in memory.
    pub fn recent_bytes(&self) -> usize {
        self.recent.bytes() + self.sealed.iter().map(|sealed| sealed.recent.bytes()).sum::<usize>()
    }
}

/// What a fresh recent table has room for. Tests seal small ones by the thousand, and let them grow.
fn room(table_keys: usize) -> usize {
    if cfg!(test) { table_keys.min(64) } else { table_keys }
}

/// Sorts by descending seq; a seq seen both in a table and in its run counts once.
fn newest_first(found: &mut Vec<Seq>) {
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
}
