//! Joining runs: when ([`plan_merge`]) and how ([`Merge`]).
//!
//! A level holds runs of about the same number of keys, four times the level below. Four neighbours of one level become
//! one of the next, so a key is written once a level, and at most three runs a level are searched.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::layout::Layout;
use super::run::{Run, RunEntries};
use super::run_writer::RunWriter;
use super::{Fingerprint, KeyError, MERGE_FAN_OUT, RUN_KEYS_MAX, SeqRange};
use crate::disk::Disk;
use crate::units::Seq;

/// What a plan has to know of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunInfo {
    pub range: SeqRange,
    pub keys: u64,
}

/// Which of the runs, given in the order of the log, to join next: the smallest level first, `None` when all is well.
///
/// Smaller runs between those of a level are joined with them. Runs with a gap between them are never joined.
pub fn plan_merge(runs: &[RunInfo], table_keys: usize) -> Option<Range<usize>> {
    let levels: Vec<u32> = runs.iter().map(|run| level(run.keys, table_keys as u64)).collect();
    let top = *levels.iter().max()?;
    for joined_level in 0..=top {
        let mut start = 0;
        while start < runs.len() {
            let (end, of_level, keys) = stretch(runs, &levels, start, joined_level);
            if of_level >= MERGE_FAN_OUT && keys <= RUN_KEYS_MAX {
                return Some(start..end);
            }
            start = end.max(start + 1);
        }
    }
    None
}

/// The end of the neighbours from `start` on that are of `joined_level` or below, up to the fourth of that level; how many
/// are of the level itself, and how many keys they hold.
fn stretch(runs: &[RunInfo], levels: &[u32], start: usize, joined_level: u32) -> (usize, usize, u64) {
    let (mut end, mut of_level, mut keys) = (start, 0, 0);
    while end < runs.len() && of_level < MERGE_FAN_OUT {
        let adjoins = end == start || runs[end - 1].range.last().next() == runs[end].range.first();
        if !adjoins || levels[end] > joined_level {
            break;
        }
        of_level += usize::from(levels[end] == joined_level);
        keys += runs[end].keys;
        end += 1;
    }
    (end, of_level, keys)
}

/// 0 for a full table, 1 for four of them, 2 for sixteen; the borders lie between those sizes.
fn level(keys: u64, table_keys: u64) -> u32 {
    match keys / (table_keys * 2) {
        0 => 0,
        tables => tables.ilog(MERGE_FAN_OUT as u64) + 1,
    }
}

/// Neighbours being joined into one run, a step at a time, in bounded memory.
pub(super) struct Merge {
    sources: Vec<RunEntries>,
    /// The next key of each source, as fingerprint then seq in one number; [`END`] behind its last.
    heads: Vec<u128>,
    writer: RunWriter,
    range: SeqRange,
}

const END: u128 = u128::MAX;

impl Merge {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        key_check: u64,
        inputs: &[Arc<Run>],
    ) -> Result<Merge, KeyError> {
        let range = SeqRange::new(inputs[0].range().first(), inputs[inputs.len() - 1].range().last());
        let keys = inputs.iter().map(|run| run.keys()).sum();
        let layout = Layout::new(range, keys).expect("a plan stays under the most keys of a run");
        let mut sources: Vec<RunEntries> = inputs.iter().map(|run| RunEntries::of(Arc::clone(run))).collect();
        let heads = sources.iter_mut().map(head).collect::<Result<_, _>>()?;
        Ok(Merge { sources, heads, writer: RunWriter::create(disk, dir, layout, key_check)?, range })
    }

    pub(super) fn range(&self) -> SeqRange {
        self.range
    }

    /// Moves up to `keys` keys; `true` when all are moved.
    pub(super) fn step(&mut self, keys: usize) -> Result<bool, KeyError> {
        for _ in 0..keys {
            let (least, next) =
                self.heads.iter().copied().enumerate().min_by_key(|(_, head)| *head).unwrap_or((0, END));
            if next == END {
                return Ok(true);
            }
            self.writer.push(Fingerprint::new((next >> 64) as u64), Seq::new(next as u64))?;
            self.heads[least] = head(&mut self.sources[least])?;
        }
        Ok(false)
    }

    /// Makes the new run durable; the inputs are still there.
    pub(super) fn finish(self) -> Result<(), KeyError> {
        self.writer.finish()
    }
}

fn head(source: &mut RunEntries) -> Result<u128, KeyError> {
    let next = source.next()?;
    Ok(next.map_or(END, |(fingerprint, seq)| u128::from(fingerprint.bits()) << 64 | u128::from(seq.get())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: u64 = crate::passport::keys::RECENT_KEYS as u64;

    fn plan_merge(runs: &[RunInfo]) -> Option<Range<usize>> {
        super::plan_merge(runs, TABLE as usize)
    }

    fn adjoining(keys: &[u64]) -> Vec<RunInfo> {
        let mut first = 1;
        keys.iter()
            .map(|keys| {
                let range = SeqRange::new(Seq::new(first), Seq::new(first + keys.max(&1) - 1));
                first = range.last().get() + 1;
                RunInfo { range, keys: *keys }
            })
            .collect()
    }

    fn join(runs: &mut Vec<RunInfo>, at: Range<usize>) {
        let range = SeqRange::new(runs[at.start].range.first(), runs[at.end - 1].range.last());
        let keys = runs[at.clone()].iter().map(|run| run.keys).sum();
        runs.splice(at, [RunInfo { range, keys }]);
    }

    #[test]
    fn four_tables_are_joined_and_three_are_not() {
        assert_eq!(plan_merge(&[]), None);
        assert_eq!(plan_merge(&adjoining(&[TABLE; 3])), None);
        assert_eq!(plan_merge(&adjoining(&[TABLE; 4])), Some(0..4));
        assert_eq!(plan_merge(&adjoining(&[TABLE * 4, TABLE, TABLE, TABLE, TABLE])), Some(1..5));
        assert_eq!(plan_merge(&adjoining(&[TABLE * 4, TABLE * 4, 5, TABLE * 4, TABLE * 4])), Some(0..5));
    }

    #[test]
    fn runs_with_a_gap_between_them_are_not_joined() {
        let mut runs = adjoining(&[TABLE; 8]);
        runs.remove(3);
        assert_eq!(plan_merge(&runs), Some(3..7));
        runs.remove(5);
        assert_eq!(plan_merge(&runs), None);
    }

    #[test]
    fn a_merge_that_would_be_too_large_is_not_planned() {
        assert_eq!(plan_merge(&adjoining(&[RUN_KEYS_MAX / 4 + 1; 4])), None);
        assert_eq!(plan_merge(&adjoining(&[RUN_KEYS_MAX / 4; 4])), Some(0..4));
    }

    #[test]
    fn a_thousand_seals_leave_at_most_three_runs_a_level_and_write_a_key_once_a_level() {
        let (mut runs, mut written) = (Vec::<RunInfo>::new(), 0);
        for seal in 0..1024 {
            let range = SeqRange::new(Seq::new(seal * TABLE + 1), Seq::new((seal + 1) * TABLE));
            runs.push(RunInfo { range, keys: TABLE });
            written += TABLE;
            while let Some(at) = plan_merge(&runs) {
                written += runs[at.clone()].iter().map(|run| run.keys).sum::<u64>();
                join(&mut runs, at);
            }
            for of_level in 0..8 {
                assert!(runs.iter().filter(|run| level(run.keys, TABLE) == of_level).count() <= 3);
            }
        }
        assert_eq!(runs.len(), 1);
        assert_eq!(written, 1024 * TABLE * 6);
    }

    proptest! {
        #[test]
        fn plans_of_any_sizes_come_to_an_end(keys in prop::collection::vec(0..TABLE * 300, 1..60)) {
            let mut runs = adjoining(&keys);
            while let Some(at) = plan_merge(&runs) {
                prop_assert!(at.len() >= MERGE_FAN_OUT);
                join(&mut runs, at);
            }
            prop_assert_eq!(runs.iter().map(|run| run.keys).sum::<u64>(), keys.iter().sum::<u64>());
        }
    }
}
