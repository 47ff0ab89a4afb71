//! The set of runs that look-ups see, immutable and published in one pointer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::run::Run;
use super::{Fingerprinter, KeyError, KeyStats, SeqRange};
use crate::units::Seq;

/// What the writer's side and the upkeep's side have in common.
pub(super) struct Shared {
    pub(super) fingerprinter: Fingerprinter,
    /// Stored by [`super::Upkeep`] only.
    pub(super) runs: ArcSwap<RunSet>,
    disk_bytes_peak: AtomicU64,
    memory_bytes_peak: AtomicU64,
}

impl Shared {
    pub(super) fn new(fingerprinter: Fingerprinter, runs: RunSet) -> Shared {
        let shared = Shared {
            fingerprinter,
            runs: ArcSwap::from_pointee(runs),
            disk_bytes_peak: AtomicU64::new(0),
            memory_bytes_peak: AtomicU64::new(0),
        };
        shared.note_peak(None);
        shared
    }

    /// Counts a run that stands beside the set, about to replace a part of it.
    pub(super) fn note_peak(&self, beside: Option<&Run>) {
        let stats = self.runs.load().stats();
        let (disk, memory) = beside.map_or((0, 0), |run| (run.disk_bytes(), run.memory_bytes()));
        self.disk_bytes_peak.fetch_max(stats.disk_bytes + disk, Ordering::Relaxed);
        self.memory_bytes_peak.fetch_max(stats.memory_bytes + memory, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> KeyStats {
        KeyStats {
            disk_bytes_peak: self.disk_bytes_peak.load(Ordering::Relaxed),
            memory_bytes_peak: self.memory_bytes_peak.load(Ordering::Relaxed),
            ..self.runs.load().stats()
        }
    }
}

/// Runs with disjoint ranges, in the order of the log.
pub(super) struct RunSet {
    runs: Vec<Arc<Run>>,
    /// Up to here everything should be in a run; `gaps` says what is not.
    covered_to: Seq,
    gaps: Vec<SeqRange>,
}

impl RunSet {
    pub(super) fn new(runs: Vec<Arc<Run>>, covered_to: Seq) -> RunSet {
        let mut gaps = Vec::new();
        let mut before = Seq::ZERO;
        for run in &runs {
            let range = run.range();
            assert!(range.first() > before, "run {range} overlaps the one before, which ends at {before}");
            if range.first() > before.next() {
                gaps.push(SeqRange::new(before.next(), Seq::new(range.first().get() - 1)));
            }
            before = range.last();
        }
        if before < covered_to {
            gaps.push(SeqRange::new(before.next(), covered_to));
        }
        RunSet { runs, covered_to: covered_to.max(before), gaps }
    }

    /// Newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter().rev()
    }
    /// In the order of the log.
    pub(super) fn as_slice(&self) -> &[Arc<Run>] {
        &self.runs
    }
    pub(super) fn covered_to(&self) -> Seq {
        self.covered_to
    }
    pub(super) fn gaps(&self) -> &[SeqRange] {
        &self.gaps
    }

    /// Refuses look-ups while a range is missing.
    pub(super) fn check_complete(&self) -> Result<(), KeyError> {
        match self.gaps.first() {
            None => Ok(()),
            Some(missing) => Err(KeyError::Incomplete { missing: *missing }),
        }
    }

    /// The places of the runs that lie inside a range.
    fn inside(&self, range: SeqRange) -> Range<usize> {
        let start = self.runs.partition_point(|run| run.range().first() < range.first());
        let end = self.runs.partition_point(|run| run.range().last() <= range.last());
        start..end.max(start)
    }

    /// This set with `run` in the place of all that it covers.
    pub(super) fn with(&self, run: Arc<Run>) -> RunSet {
        let mut runs = self.runs.clone();
        runs.splice(self.inside(run.range()), [run]);
        RunSet::new(runs, self.covered_to)
    }

    /// This set without the runs inside a range, which becomes a gap.
    pub(super) fn without(&self, range: SeqRange) -> RunSet {
        let mut runs = self.runs.clone();
        runs.drain(self.inside(range));
        RunSet::new(runs, self.covered_to)
    }

    fn stats(&self) -> KeyStats {
        let mut stats = KeyStats { runs: self.runs.len() as u64, covered_to: self.covered_to, ..KeyStats::default() };
        for run in &self.runs {
            stats.run_keys += run.keys();
            stats.disk_bytes += run.disk_bytes();
            stats.memory_bytes += run.memory_bytes();
        }
        stats
    }
}
