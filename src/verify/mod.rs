//! `coliseum verify`: reads everything once and says what is not as it should be.
//!
//! 1. The log: every segment, every checksum, every record, every seq, and no idempotency key twice.
//! 2. The entry indexes of sealed segments: every block.
//! 3. The projection: all boards of one view against a plain recomputation from the log ([`recompute`]), which shares
//!    the rules of scoring with the projection and nothing of its windows, totals, orders and tables.
//!
//! It only reads, so it runs beside the daemon; it checks the log to its end, and the boards of one view.

mod recompute;

use std::ops::ControlFlow;

use crate::coliseum::View;
use crate::passport::{Log, ReadError};
use crate::units::Seq;

use recompute::Recomputation;

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
        format!("{}\n", serde_json::json!({"ok": ok, "entries": self.entries, "findings": findings}))
    }
}

/// Checks the log up to `head`, and the view, which should hold all of that. `progress` may stop it by answering `false`.
pub fn run(log: &Log, head: Seq, view: &View, progress: &mut dyn FnMut(Progress) -> bool) -> Verdict {
    let mut check = Check {
        total: head.max(view.applied()),
        applied: view.applied(),
        next: Seq::new(1),
        keys: Vec::new(),
        recomputation: Recomputation::new(view.rules().clone(), view.minute()),
        findings: Vec::new(),
        stopped: false,
    };
    check.read_log(log, progress);
    check.keys_once(log);
    check.indexes(log, progress);
    // Boards of a log that cannot be read have nothing to be compared with.
    if check.findings.is_empty() && !check.stopped {
        let shown = Progress { phase: "boards", entries: check.total.get(), total: check.total.get() };
        progress(shown);
        check.findings.extend(check.recomputation.differences(view).into_iter().map(Finding::plain));
        if check.applied < head {
            let applied = check.applied;
            let what =
                format!("the projection is held up at seq {applied}, the log holds {head}; its consumer says why");
            check.findings.push(Finding::plain(what));
        }
    }
    check.findings.truncate(FINDINGS_MAX);
    Verdict { entries: check.next.get() - 1, findings: check.findings }
}

struct Check {
    total: Seq,
    /// The last entry that the view holds.
    applied: Seq,
    /// The seq that must come next.
    next: Seq,
    /// A fingerprint of every key; two that are equal are looked at.
    keys: Vec<(u64, u64)>,
    recomputation: Recomputation,
    findings: Vec<Finding>,
    stopped: bool,
}

impl Check {
    fn read_log(&mut self, log: &Log, progress: &mut dyn FnMut(Progress) -> bool) {
        use std::hash::{BuildHasher, RandomState};
        let hasher = RandomState::new();
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
                self.keys.push((hasher.hash_one(entry.envelope.message_id), entry.seq.get()));
                if entry.seq <= self.applied
                    && let Err(what) = self.recomputation.add(&entry)
                {
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
                self.next = segment.last_seq().next();
            }
        }
        if self.next <= self.total && !self.stopped {
            let what = format!("the log ends before seq {}, which it once called durable", self.total);
            self.findings.push(Finding { file: None, offset: None, seq: Some(self.next.get()), what });
        }
    }

    /// Every key stands once.
    fn keys_once(&mut self, log: &Log) {
        use crate::passport::EntrySource;
        self.keys.sort_unstable();
        for pair in self.keys.windows(2) {
            let [(left, first), (right, second)] = pair else { continue };
            if left != right {
                continue;
            }
            let mut ids: Vec<String> = Vec::new();
            for seq in [first, second] {
                let read = log.get(Seq::new(*seq), &mut |entry| ids.push(entry.envelope.message_id.to_owned()));
                if let Err(error) = read {
                    self.findings.push(Finding::of(&error));
                }
            }
            if let [one, other] = ids.as_slice()
                && one == other
            {
                let what = format!("the idempotency key {one:?} is stored twice, at seq {first} and {second}");
                self.findings.push(Finding { file: None, offset: None, seq: Some(*second), what });
            }
        }
    }

    fn indexes(&mut self, log: &Log, progress: &mut dyn FnMut(Progress) -> bool) {
        if self.stopped {
            return;
        }
        let shown = Progress { phase: "indexes", entries: self.total.get(), total: self.total.get() };
        self.stopped = !progress(shown);
        for (file, what) in log.verify_indexes() {
            self.findings.push(Finding { file: Some(file), offset: None, seq: None, what });
        }
    }
}
