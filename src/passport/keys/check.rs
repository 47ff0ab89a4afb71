//! The runs against the log: whether each holds the keys of its range, all of them and nothing else, and whether any key
//! stands twice. In memory it takes a sum a run and the keys that are in no run yet.
//!
//! A sum is over (fingerprint, seq), does not depend on the order, and has 128 bits: two lists with equal sums and counts
//! are the same list. Equal fingerprints are met by going through all runs at once, in the order of fingerprints; whether
//! their keys are equal only the entries can say.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::run::{Run, RunEntries, file_name, range_of_name};
use super::run_set::{RunSet, Shared};
use super::{Fingerprint, Fingerprinter, KeyError, SeqRange, secret};
use crate::disk::Disk;
use crate::units::Seq;

/// Keys between two looks at whether to go on.
const PROGRESS_KEYS: u64 = 1 << 16;

/// The runs of one moment. They can be read for as long as this is held, though they are joined and removed meanwhile.
pub struct HeldRuns {
    runs: Arc<RunSet>,
    fingerprinter: Fingerprinter,
}

impl HeldRuns {
    pub(super) fn of(shared: &Shared) -> HeldRuns {
        HeldRuns { runs: shared.runs.load_full(), fingerprinter: shared.fingerprinter }
    }

    /// Every key up to here is in a run, or in a gap that is being filled.
    pub fn covered_to(&self) -> Seq {
        self.runs.covered_to()
    }

    /// The ranges of the runs, in the order of the log.
    pub fn ranges(&self) -> Vec<SeqRange> {
        self.runs.as_slice().iter().map(|run| run.range()).collect()
    }

    /// Opens the file of a run again and reads all of it: header, directory, every block and the order of its keys. `None`
    /// where the file is gone, joined into a larger one. `pace` gets the bytes of each piece, and stops it with `false`.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] names the run.
    pub fn scrub(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        range: SeqRange,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<()>, KeyError> {
        let run = match Run::open(disk, dir, range, secret::check_value(&self.fingerprinter)) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let keys = run.keys().max(1);
        let bytes = run.disk_bytes();
        let mut entries = RunEntries::of(Arc::new(run));
        let mut read: u64 = 0;
        while entries.next()?.is_some() {
            read += 1;
            if read.is_multiple_of(PROGRESS_KEYS) && !pace(bytes * PROGRESS_KEYS / keys) {
                return Ok(Some(()));
            }
        }
        pace(bytes * (read % PROGRESS_KEYS) / keys);
        Ok(Some(()))
    }

    /// Starts a check.
    pub fn check(self) -> KeyCheck {
        let sums = self.runs.as_slice().iter().map(|_| Some(KeySum::default())).collect();
        KeyCheck { held: self, sums, at: 0, tail: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KeySum {
    sum: u128,
    keys: u64,
}

impl KeySum {
    fn add(&mut self, fingerprint: Fingerprint, seq: Seq) {
        let (fingerprint, seq) = (fingerprint.bits(), seq.get());
        let high = mixed(fingerprint ^ seq.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let low = mixed(seq ^ fingerprint.rotate_left(32).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ high.rotate_left(17));
        self.sum = self.sum.wrapping_add(u128::from(high) << 64 | u128::from(low));
        self.keys += 1;
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): each bit in changes half of those out.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Something that is wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFinding {
    pub file: String,
    pub offset: Option<u64>,
    pub seq: Option<Seq>,
    pub what: String,
}

/// Takes the keys of the log in its order, then goes through the runs.
pub struct KeyCheck {
    held: HeldRuns,
    /// What the log has in the range of each run; `None` where the log could not be read.
    sums: Vec<Option<KeySum>>,
    /// The run that the next key falls into, or the one behind it.
    at: usize,
    /// Keys behind the last run.
    tail: Vec<(Fingerprint, Seq)>,
}

impl KeyCheck {
    /// Takes the key of an entry; seqs ascend.
    pub fn add(&mut self, key: &str, seq: Seq) {
        self.add_fingerprint(self.held.fingerprinter.fingerprint(key), seq);
    }

    pub(super) fn add_fingerprint(&mut self, fingerprint: Fingerprint, seq: Seq) {
        let runs = self.held.runs.as_slice();
        while runs.get(self.at).is_some_and(|run| run.range().last() < seq) {
            self.at += 1;
        }
        match runs.get(self.at) {
            Some(run) if run.range().contains(seq) => {
                if let Some(sum) = &mut self.sums[self.at] {
                    sum.add(fingerprint, seq);
                }
            }
            None if seq > self.held.covered_to() => self.tail.push((fingerprint, seq)),
            // In a gap, which is told as such.
            _ => {}
        }
    }

    /// The log could not be read from `first` to `last`: nothing is said of runs that hold keys of there.
    pub fn skip(&mut self, first: Seq, last: Seq) {
        for (run, sum) in self.held.runs.as_slice().iter().zip(&mut self.sums) {
            if run.range().first() <= last && run.range().last() >= first {
                *sum = None;
            }
        }
    }

    /// Reads all runs. `twins` gets the seqs of entries with equal fingerprints; `go_on` is asked now and then, with the
    /// keys read so far.
    pub fn finish(mut self, go_on: &mut dyn FnMut(u64) -> bool, twins: &mut dyn FnMut(&[Seq])) -> Vec<KeyFinding> {
        let mut findings: Vec<KeyFinding> = self.held.runs.gaps().iter().map(gap_finding).collect();
        self.tail.sort_unstable();
        let mut sources: Vec<Source> =
            self.held.runs.as_slice().iter().map(|run| Source::of(Arc::clone(run), &mut findings)).collect();
        let mut tail = self.tail.iter().copied().peekable();
        let mut group: (Option<Fingerprint>, Vec<Seq>) = (None, Vec::new());
        let mut read: u64 = 0;
        loop {
            let least = sources.iter_mut().filter(|source| source.head.is_some()).min_by_key(|source| source.head);
            let next = match (least, tail.peek().copied()) {
                (Some(source), behind) if behind.is_none_or(|behind| source.head < Some(behind)) => {
                    source.take(&mut findings)
                }
                _ => tail.next(),
            };
            let Some((fingerprint, seq)) = next else { break };
            if group.0 != Some(fingerprint) {
                if group.1.len() > 1 {
                    twins(&group.1);
                }
                group.0 = Some(fingerprint);
                group.1.clear();
            }
            group.1.push(seq);
            read += 1;
            if read.is_multiple_of(PROGRESS_KEYS) && !go_on(read) {
                return findings;
            }
        }
        if group.1.len() > 1 {
            twins(&group.1);
        }
        for (source, expected) in sources.iter().zip(&self.sums) {
            findings.extend(expected.and_then(|expected| source.difference(expected)));
        }
        findings
    }
}

fn gap_finding(gap: &SeqRange) -> KeyFinding {
    let what = format!("the keys of seq {gap} are in no run; the daemon is making it again from the log");
    KeyFinding { file: "keys".into(), offset: None, seq: Some(gap.first()), what }
}

/// A run that is being gone through.
struct Source {
    name: String,
    first: Seq,
    entries: RunEntries,
    head: Option<(Fingerprint, Seq)>,
    sum: KeySum,
    is_damaged: bool,
}

impl Source {
    fn of(run: Arc<Run>, findings: &mut Vec<KeyFinding>) -> Source {
        let range = run.range();
        let (name, entries) = (file_name(range), RunEntries::of(run));
        let (head, sum) = (None, KeySum::default());
        let mut source = Source { name, first: range.first(), entries, head, sum, is_damaged: false };
        source.advance(findings);
        source
    }

    fn take(&mut self, findings: &mut Vec<KeyFinding>) -> Option<(Fingerprint, Seq)> {
        let taken = self.head;
        if let Some((fingerprint, seq)) = taken {
            self.sum.add(fingerprint, seq);
        }
        self.advance(findings);
        taken
    }

    fn advance(&mut self, findings: &mut Vec<KeyFinding>) {
        self.head = self.entries.next().unwrap_or_else(|error| {
            self.is_damaged = true;
            let (offset, what) = match error {
                KeyError::Damaged { offset, what, .. } => (Some(offset), what),
                error => (None, error.to_string()),
            };
            findings.push(KeyFinding { file: self.name.clone(), offset, seq: Some(self.first), what });
            None
        });
    }

    fn difference(&self, expected: KeySum) -> Option<KeyFinding> {
        if self.is_damaged || self.sum == expected {
            return None;
        }
        let what = if self.sum.keys == expected.keys {
            format!("its {} keys are not those that the log has in its range", expected.keys)
        } else {
            format!("it holds {} keys, the log has {} in its range", self.sum.keys, expected.keys)
        };
        Some(KeyFinding { file: self.name.clone(), offset: None, seq: Some(self.first), what })
    }
}

/// The files of `dir` that are of no use for the log `log_id`, which ends at `log_end`, and why. Changes nothing. What a
/// crash leaves (`.tmp` files, runs inside others) the next open removes.
///
/// # Errors
/// The disk failed.
pub fn survey(disk: &dyn Disk, dir: &Path, log_id: [u8; 16], log_end: Seq) -> Result<Vec<(String, String)>, KeyError> {
    let listed = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|source| KeyError::Io { file: dir.display().to_string(), source })?,
    };
    let names = || listed.iter().map(|entry| entry.name.as_str());
    let fingerprinter = match secret::load(disk, dir, log_id)? {
        Ok(fingerprinter) => fingerprinter,
        Err(why) => {
            let ours = names().filter(|name| range_of_name(name).is_some() || *name == secret::FILE_NAME);
            return Ok(ours.map(|name| (name.to_owned(), why.to_owned())).collect());
        }
    };
    let mut bad = Vec::new();
    for (name, range) in names().filter_map(|name| Some((name, range_of_name(name)?))) {
        if range.last() > log_end {
            bad.push((name.to_owned(), format!("it holds keys behind the log's end, seq {log_end}")));
            continue;
        }
        let read = Run::open(disk, dir, range, secret::check_value(&fingerprinter)).and_then(|run| {
            let mut entries = RunEntries::of(Arc::new(run));
            while entries.next()?.is_some() {}
            Ok(())
        });
        match read {
            Ok(()) => {}
            Err(KeyError::Damaged { offset, what, .. }) => {
                bad.push((name.to_owned(), format!("damaged at offset {offset}: {what}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bad)
}
