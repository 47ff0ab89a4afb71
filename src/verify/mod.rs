//! `coliseum verify`: reads everything once and says what is not as it should be.
//!
//! 1. The log: every segment, every checksum, every record, every seq.
//! 2. The idempotency index: each run of keys holds exactly the keys of its range, and no key of the log stands twice. The
//!    keys behind the last run are in the writer's memory, which every start fills from the log; they count for the second.
//! 3. The entry indexes of sealed segments: every block, and against the index that the entries give.
//! 4. The projections: all boards, profiles and line-ups of one view ([`recompute`]) and all that it counts ([`counted`]),
//!    the money of every artist ([`treasury`]) and every fan ([`mediaid`]) against plain recomputations from the log, which
//!    share the rules of scoring with the projections and nothing of their windows, totals, orders and tables; and that
//!    each projection holds what the log holds. Boards as of a past time and the attendances that late line-ups credit
//!    are not read: what they were made into is.
//!
//! It only reads, so it runs beside the daemon; it checks the log to its end, and one view of each projection. In memory it
//! takes the keys that are in no run yet, the names of all users, artists and events, each attendance with all whom it
//! credits, and what the recomputations sum up of one of the [`parts`] that the others are divided into: the more entries
//! there are, the more parts, and the log is read once for each.

mod compact;
mod counted;
mod differences;
mod mediaid;
mod parts;
mod recompute;
#[cfg(test)]
mod tests;
mod treasury;
mod views;

use std::ops::ControlFlow;

use crate::passport::keys::{KeyCheck, StatsSource};
use crate::passport::{EntrySource, Log, ReadError};
use crate::units::Seq;

use differences::{Differences, Recomputed};
use parts::Part;
use views::Recomputations;
pub use views::Views;

/// Entries between two lines of progress.
const PROGRESS_ENTRIES: u64 = 100_000;
/// Findings that are told; a log that is all wrong needs no million lines.
const FINDINGS_MAX: usize = 1000;

/// How far a check is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub phase: &'static str,
    pub entries: u64,
    pub total: u64,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub file: Option<String>,
    pub offset: Option<u64>,
    pub seq: Option<u64>,
    pub what: String,
}

impl Finding {
    fn of(error: &ReadError) -> Finding {
        match error {
            ReadError::Damaged { file, offset, seq, what } => {
                Finding { file: Some(file.clone()), offset: Some(*offset), seq: Some(seq.get()), what: what.clone() }
            }
            ReadError::Io { file, what } => {
                Finding { file: Some(file.clone()), offset: None, seq: None, what: what.clone() }
            }
        }
    }
    fn plain(what: String) -> Finding {
        Finding { file: None, offset: None, seq: None, what }
    }
}

/// What a whole check found.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub entries: u64,
    pub findings: Vec<Finding>,
    /// What is worth knowing and no damage.
    pub notes: Vec<String>,
}

impl Progress {
    pub fn to_line(self) -> String {
        let Progress { phase, entries, total } = self;
        format!("{}\n", serde_json::json!({"progress": {"phase": phase, "entries": entries, "total": total}}))
    }
}

impl Verdict {
    pub fn to_line(&self) -> String {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|finding| {
                serde_json::json!({
                    "file": finding.file, "offset": finding.offset, "seq": finding.seq, "what": finding.what,
                })
            })
            .collect();
        let ok = findings.is_empty();
        format!(
            "{}\n",
            serde_json::json!({"ok": ok, "entries": self.entries, "findings": findings, "notes": self.notes})
        )
    }
}

/// Checks the log up to `head`, the runs of keys, and a view of each projection, which should hold all of that.
/// `progress` may stop it by answering `false`.
pub fn run(
    log: &Log,
    keys: &StatsSource,
    head: Seq,
    views: &Views<'_>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Verdict {
    let held = keys.hold();
    let total = views.applied().into_iter().fold(head.max(held.covered_to()), |last, (_, applied)| last.max(applied));
    let mut check = Check { total, next: Seq::new(1), findings: Vec::new(), stopped: false };
    let mut recomputations = Recomputations::new(*views, Part::first_for(total.get()));
    let mut keys = held.check();
    check.read_log(log, &mut keys, &mut recomputations, progress);
    check.keys(log, keys, progress);
    check.indexes(log, progress);
    // Views of a log that cannot be read have nothing to be compared with.
    if check.findings.is_empty() && !check.stopped {
        check.projections(log, recomputations, progress);
        for (name, applied) in views.applied().into_iter().filter(|(_, applied)| *applied < head) {
            let what = format!(
                "the projection {name} is held up at seq {applied}, the log holds {head}; its consumer says why"
            );
            check.findings.push(Finding::plain(what));
        }
    }
    check.findings.truncate(FINDINGS_MAX);
    Verdict { entries: check.next.get() - 1, findings: check.findings, notes: log.surplus_files() }
}

struct Check {
    total: Seq,
    /// The seq that must come next.
    next: Seq,
    findings: Vec<Finding>,
    stopped: bool,
}

impl Check {
    fn read_log(
        &mut self,
        log: &Log,
        keys: &mut KeyCheck,
        recomputations: &mut Recomputations<'_>,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) {
        for segment in log.segments().iter() {
            if self.stopped || segment.first_seq() > self.total {
                return;
            }
            if segment.first_seq() != self.next {
                let what =
                    format!("seq {} should come next, this segment starts at {}", self.next, segment.first_seq());
                let file = Some(segment.file_name());
                self.findings.push(Finding { file, offset: None, seq: Some(self.next.get()), what });
                self.next = segment.first_seq();
            }
            let read = log.scan_segment_entries(segment, self.total, &mut |entry| {
                if entry.seq != self.next {
                    let what = format!("seq {} should come next, found {}", self.next, entry.seq);
                    let file = Some(segment.file_name());
                    self.findings.push(Finding { file, offset: None, seq: Some(entry.seq.get()), what });
                }
                self.next = entry.seq.next();
                keys.add(entry.envelope.message_id, entry.seq);
                if let Err(what) = recomputations.add(&entry) {
                    let file = Some(segment.file_name());
                    self.findings.push(Finding { file, offset: None, seq: Some(entry.seq.get()), what });
                }
                if entry.seq.get().is_multiple_of(PROGRESS_ENTRIES) {
                    let shown = Progress { phase: "log", entries: entry.seq.get(), total: self.total.get() };
                    self.stopped = !progress(shown);
                }
                if self.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if let Err(error) = read {
                self.findings.push(Finding::of(&error));
                keys.skip(self.next, segment.last_seq());
                self.next = segment.last_seq().next();
            }
        }
        if self.next <= self.total && !self.stopped {
            let what = format!("the log ends before seq {}, which it once called durable", self.total);
            self.findings.push(Finding { file: None, offset: None, seq: Some(self.next.get()), what });
        }
    }

    /// The log was read for the first part of the recomputations, and is read again for each of the others.
    fn projections(
        &mut self,
        log: &Log,
        mut recomputations: Recomputations<'_>,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) {
        let total = self.total.get();
        loop {
            let (part, parts) = recomputations.part().position();
            let mut show = |part: u32, seq: u64| {
                let entries = (total * u64::from(part - 1) + seq) / u64::from(parts);
                self.stopped |= !progress(Progress { phase: "projections", entries, total });
                !self.stopped
            };
            recomputations = match recomputations.compare(&mut || show(part, total)) {
                Ok(next) => next,
                Err(differences) => return self.findings.extend(differences.into_iter().map(Finding::plain)),
            };
            for segment in log.segments().iter().filter(|segment| segment.first_seq() <= self.total) {
                if !show(part + 1, segment.first_seq().get()) {
                    return;
                }
                let mut problem = None;
                let read = log.scan_segment_entries(segment, self.total, &mut |entry| {
                    problem = recomputations.add(&entry).err();
                    if problem.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                // It was whole a while ago.
                let finding = read.err().map(|error| Finding::of(&error)).or(problem.map(Finding::plain));
                if let Some(finding) = finding {
                    return self.findings.push(finding);
                }
            }
        }
    }

    /// Each run holds the keys of its range, and no key stands twice.
    fn keys(&mut self, log: &Log, keys: KeyCheck, progress: &mut dyn FnMut(Progress) -> bool) {
        if self.stopped {
            return;
        }
        let (total, mut goes_on, mut twice) = (self.total.get(), true, Vec::new());
        let found = keys.finish(
            &mut |read| {
                goes_on = progress(Progress { phase: "keys", entries: read, total });
                goes_on
            },
            &mut |seqs| twins(log, seqs, &mut twice),
        );
        self.stopped = !goes_on;
        self.findings.extend(found.into_iter().map(|found| Finding {
            file: Some(format!("keys/{}", found.file)),
            offset: found.offset,
            seq: found.seq.map(Seq::get),
            what: found.what,
        }));
        self.findings.extend(twice);
    }

    fn indexes(&mut self, log: &Log, progress: &mut dyn FnMut(Progress) -> bool) {
        if self.stopped {
            return;
        }
        let (total, mut goes_on) = (self.total.get(), true);
        let found = log.verify_indexes(&mut |seq| {
            goes_on = progress(Progress { phase: "indexes", entries: seq.get(), total });
            goes_on
        });
        self.stopped = !goes_on;
        for (file, what) in found {
            self.findings.push(Finding { file: Some(file), offset: None, seq: None, what });
        }
    }
}

/// Looks at entries whose keys have one fingerprint: two with one key are a finding.
fn twins(log: &Log, seqs: &[Seq], findings: &mut Vec<Finding>) {
    let mut known: Vec<(String, Seq)> = Vec::new();
    for seq in seqs {
        let mut key = None;
        if let Err(error) = log.get(*seq, &mut |entry| key = Some(entry.envelope.message_id.to_owned())) {
            findings.push(Finding::of(&error));
        }
        let Some(key) = key else { continue };
        match known.iter().find(|(other, _)| *other == key) {
            Some((_, first)) => {
                let what = format!("the idempotency key {key:?} is stored twice, at seq {first} and {seq}");
                findings.push(Finding { file: None, offset: None, seq: Some(seq.get()), what });
            }
            None => known.push((key, *seq)),
        }
    }
}
