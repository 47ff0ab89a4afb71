//! The background thread's side: writes sealed tables as runs, joins runs, removes and rebuilds what is damaged.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::layout::Layout;
use super::merge::{Merge, RunInfo, plan_merge};
#[cfg(test)]
use super::run::RunEntries;
use super::run::{Run, file_name};
use super::run_set::{RunSet, Shared};
use super::run_writer::RunWriter;
use super::secret;
use super::{Fingerprint, Fingerprinter, KeyError, KeyIndex, Sealed, SeqRange, StatsSource};
use crate::disk::Disk;
use crate::units::Seq;

/// Keys that one [`Upkeep::step`] moves: a few milliseconds.
const STEP_KEYS: usize = 1 << 16;
/// Full tables of keys that a rebuild sorts in memory at a time.
const REBUILD_TABLES: usize = 4;

/// Makes, joins and removes runs. There is one for an index, so that the set of runs has one owner.
///
/// The thread's loop: [`Upkeep::write`] whenever a sealed table has come, else [`Upkeep::step`] while it says that there
/// is more to do, else wait for the next table. After an error nothing is lost and the call can be made again; tables
/// stay in memory until they are written.
pub struct Upkeep {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    key_check: u64,
    table_keys: usize,
    merge: Option<Merge>,
}

impl Upkeep {
    pub(super) fn over(shared: Arc<Shared>, disk: Arc<dyn Disk>, dir: PathBuf, table_keys: usize) -> Upkeep {
        let key_check = secret::check_value(&shared.fingerprinter);
        Upkeep { shared, disk, dir, key_check, table_keys, merge: None }
    }

    pub fn fingerprinter(&self) -> Fingerprinter {
        self.shared.fingerprinter
    }

    pub fn stats_source(&self) -> StatsSource {
        StatsSource(Arc::clone(&self.shared))
    }

    /// The ranges that are in no run, though a run should hold them.
    pub fn gaps(&self) -> Vec<SeqRange> {
        self.shared.runs.load().gaps().to_vec()
    }

    /// Writes a sealed table as a run. Tables come in the order in which they were sealed.
    ///
    /// # Errors
    /// The disk failed or is full; the table is still searched in memory, and the call can be made again.
    pub fn write(&mut self, sealed: &Sealed) -> Result<(), KeyError> {
        self.write_run(sealed.range, &sealed.recent.sorted())
    }

    /// Does a few milliseconds' worth of joining runs; `false` when nothing is left to do.
    ///
    /// # Errors
    /// The disk failed or is full, or an input is damaged; all inputs are still there, and the join starts over at
    /// the next call.
    pub fn step(&mut self) -> Result<bool, KeyError> {
        let mut merge = match self.merge.take() {
            Some(merge) => merge,
            None => match self.planned()? {
                Some(merge) => merge,
                None => return Ok(false),
            },
        };
        if !merge.step(STEP_KEYS)? {
            self.merge = Some(merge);
            return Ok(true);
        }
        let range = merge.range();
        // 1. The new run is durable. A crash from here on leaves inputs inside its range, which the next open removes.
        merge.finish()?;
        // 2. Look-ups change over to it.
        let inputs = self.install(range)?;
        // 3. The inputs go.
        self.remove(&inputs)?;
        Ok(true)
    }

    /// Reads a whole run and checks every block and the order of its keys, for the tests of what damage does.
    #[cfg(test)]
    pub fn scrub(&self, run: SeqRange) -> Result<(), KeyError> {
        let runs = self.shared.runs.load_full();
        for run in runs.as_slice().iter().filter(|candidate| candidate.range() == run) {
            let mut entries = RunEntries::of(Arc::clone(run));
            while entries.next()?.is_some() {}
        }
        Ok(())
    }

    /// The runs there are, in the order of the log.
    pub fn runs(&self) -> Vec<RunInfo> {
        infos(&self.shared.runs.load())
    }

    /// Writes a damaged run anew, from all keys of its range. Look-ups go on meanwhile, and change over in one step.
    ///
    /// # Errors
    /// The disk failed or is full; the old run is still there.
    pub fn replace(&mut self, run: SeqRange, mut keys: Vec<(Fingerprint, Seq)>) -> Result<(), KeyError> {
        self.merge = None;
        keys.sort_unstable();
        self.write_run(run, &keys)
    }

    /// Throws a damaged run away. Its range is a gap until [`Upkeep::rebuild`] has filled it; look-ups fail meanwhile.
    ///
    /// # Errors
    /// The file could not be removed; the run is still there, and the call can be made again.
    pub fn discard(&mut self, run: SeqRange) -> Result<(), KeyError> {
        self.merge = None;
        let runs = self.shared.runs.load_full();
        let discarded: Vec<_> = runs.as_slice().iter().filter(|candidate| candidate.range() == run).cloned().collect();
        self.remove(&discarded)?;
        if !discarded.is_empty() {
            self.shared.runs.store(Arc::new(runs.without(run)));
        }
        Ok(())
    }

    /// Fills a gap from the log.
    ///
    /// # Panics
    /// If `gap` is not one of [`Upkeep::gaps`].
    pub fn rebuild(&mut self, gap: SeqRange) -> Rebuild<'_> {
        assert!(self.gaps().contains(&gap), "seq {gap} is no gap");
        let chunk = Vec::new();
        Rebuild { upkeep: self, chunk, from: gap.first(), added_to: Seq::ZERO, gap }
    }

    /// Makes a gap of all that is in no run up to `to`, the log's end, for want of space to write runs now. Gives the index
    /// that starts behind it: its look-ups fail until the gap is filled.
    pub fn postpone(&self, to: Seq) -> KeyIndex {
        let runs = self.shared.runs.load_full();
        self.shared.runs.store(Arc::new(RunSet::new(runs.as_slice().to_vec(), to)));
        KeyIndex::over(Arc::clone(&self.shared), self.table_keys)
    }

    fn planned(&self) -> Result<Option<Merge>, KeyError> {
        let runs = self.shared.runs.load();
        let Some(at) = plan_merge(&infos(&runs), self.table_keys) else { return Ok(None) };
        let inputs = &runs.as_slice()[at];
        Merge::start(Arc::clone(&self.disk), self.dir.clone(), self.key_check, inputs).map(Some)
    }

    fn write_run(&mut self, range: SeqRange, entries: &[(Fingerprint, Seq)]) -> Result<(), KeyError> {
        let layout = Layout::new(range, entries.len() as u64).expect("a table is smaller than the largest run");
        let mut writer = RunWriter::create(Arc::clone(&self.disk), self.dir.clone(), layout, self.key_check)?;
        for (fingerprint, seq) in entries {
            writer.push(*fingerprint, *seq)?;
        }
        writer.finish()?;
        self.install(range)?;
        Ok(())
    }

    /// Opens a finished run, publishes it in the place of all runs inside its range, and returns those.
    fn install(&mut self, range: SeqRange) -> Result<Vec<Arc<Run>>, KeyError> {
        let run = Arc::new(Run::open(&*self.disk, &self.dir, range, self.key_check)?);
        self.shared.note_peak(Some(&run));
        let before = self.shared.runs.load_full();
        self.shared.runs.store(Arc::new(before.with(run)));
        let replaced = |run: &&Arc<Run>| range.contains(run.range().first()) && run.range() != range;
        Ok(before.as_slice().iter().filter(replaced).cloned().collect())
    }

    fn remove(&self, runs: &[Arc<Run>]) -> Result<(), KeyError> {
        if runs.is_empty() {
            return Ok(());
        }
        for run in runs {
            let path = self.dir.join(file_name(run.range()));
            match self.disk.remove(&path) {
                // Removed by a call before this one that failed later on.
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(KeyError::Io { file: path.display().to_string(), source }),
                Ok(()) => {}
            }
        }
        let to_error = |source: io::Error| KeyError::Io { file: self.dir.display().to_string(), source };
        self.disk.sync_dir(&self.dir).map_err(to_error)
    }
}

fn infos(runs: &RunSet) -> Vec<RunInfo> {
    runs.as_slice().iter().map(|run| RunInfo { range: run.range(), keys: run.keys() }).collect()
}

/// Fills one gap, in bounded memory: every four full tables become a run, which the usual merges join.
pub struct Rebuild<'a> {
    upkeep: &'a mut Upkeep,
    chunk: Vec<(Fingerprint, Seq)>,
    /// The first seq of the chunk's run.
    from: Seq,
    added_to: Seq,
    gap: SeqRange,
}

impl Rebuild<'_> {
    /// Takes the key of the next entry of the gap, in the order of the log.
    ///
    /// # Errors
    /// The disk failed or is full. What was written stays; open again, or start a new rebuild of the gaps that are left.
    ///
    /// # Panics
    /// If `seq` is outside the gap or not above the last.
    pub fn add(&mut self, fingerprint: Fingerprint, seq: Seq) -> Result<(), KeyError> {
        assert!(self.gap.contains(seq) && seq > self.added_to, "seq {seq} is not next in the gap {}", self.gap);
        if self.chunk.len() == self.upkeep.table_keys * REBUILD_TABLES {
            self.write_chunk(self.added_to)?;
        }
        self.chunk.push((fingerprint, seq));
        self.added_to = seq;
        Ok(())
    }

    /// Closes the gap: everything in it has been added.
    ///
    /// # Errors
    /// As [`Rebuild::add`].
    pub fn finish(mut self) -> Result<(), KeyError> {
        self.write_chunk(self.gap.last())
    }

    fn write_chunk(&mut self, last: Seq) -> Result<(), KeyError> {
        self.chunk.sort_unstable();
        self.upkeep.write_run(SeqRange::new(self.from, last), &self.chunk)?;
        self.chunk.clear();
        self.from = last.next();
        Ok(())
    }
}
