//! Opening the index: which files are good, which are dropped, and what must be read from the log again.

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::run::{Run, range_of_name};
use super::run_set::{RunSet, Shared};
use super::run_writer::TMP_SUFFIX;
use super::{Fingerprinter, KeyError, KeyIndex, SeqRange, Upkeep, secret};
use crate::disk::Disk;
use crate::units::Seq;
use crate::world::Random;

/// Both sides of an open index, and what its caller has to do before the first look-up.
pub struct Opened {
    pub index: KeyIndex,
    pub upkeep: Upkeep,
    pub report: OpenReport,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Ranges below `tail_after` that no run covers: [`Upkeep::rebuild`] each of them from the log.
    pub gaps: Vec<SeqRange>,
    /// The keys of the entries behind this one go to [`KeyIndex::insert`], sealed on the way as in normal service.
    pub tail_after: Seq,
    /// What was removed.
    pub dropped: Vec<DroppedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedFile {
    pub name: String,
    /// In words, for the log of the daemon.
    pub why: String,
    /// Damage, rather than what a crash or a cut log leaves.
    pub damaged: bool,
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    random: &dyn Random,
    dir: PathBuf,
    log_id: [u8; 16],
    log_end: Seq,
    table_keys: usize,
) -> Result<Opened, KeyError> {
    let mut opening = Opening { disk: &*disk, random, dir: &dir, dropped: Vec::new() };
    let (fingerprinter, runs) = opening.files(log_id, log_end).and_then(|(fingerprinter, ranges)| {
        let runs = opening.load(ranges, secret::check_value(&fingerprinter))?;
        Ok((fingerprinter, runs))
    })?;
    opening.sync_removals()?;
    let dropped = opening.dropped;

    let covered_to = runs.last().map_or(Seq::ZERO, |run| run.range().last());
    let runs = RunSet::new(runs, covered_to);
    let report = OpenReport { gaps: runs.gaps().to_vec(), tail_after: covered_to, dropped };
    let shared = Arc::new(Shared::new(fingerprinter, runs));
    let upkeep = Upkeep::over(Arc::clone(&shared), disk, dir, table_keys);
    Ok(Opened { index: KeyIndex::over(shared, table_keys), upkeep, report })
}

struct Opening<'a> {
    disk: &'a dyn Disk,
    random: &'a dyn Random,
    dir: &'a Path,
    dropped: Vec<DroppedFile>,
}

impl Opening<'_> {
    /// The fingerprint key, made if need be, and the runs that by their names may be good.
    fn files(&mut self, log_id: [u8; 16], log_end: Seq) -> Result<(Fingerprinter, Vec<SeqRange>), KeyError> {
        self.disk.create_dir_all(self.dir).map_err(|source| self.io(source))?;
        let mut ranges = Vec::new();
        for entry in self.disk.list(self.dir).map_err(|source| self.io(source))? {
            if entry.name.ends_with(TMP_SUFFIX) {
                self.drop_file(entry.name, "was not finished", false)?;
            } else if let Some(range) = range_of_name(&entry.name) {
                ranges.push(range);
            }
        }
        let fingerprinter = match secret::load(self.disk, self.dir, log_id)? {
            Ok(fingerprinter) => fingerprinter,
            Err(why) => {
                // Runs first: a key must never meet runs that were made before it.
                for range in ranges.drain(..) {
                    self.drop_file(super::run::file_name(range), why, true)?;
                }
                self.sync_removals()?;
                secret::make(self.disk, self.random, self.dir, log_id)?
            }
        };
        let beyond = ranges.extract_if(.., |range| range.last() > log_end).collect::<Vec<_>>();
        for range in beyond {
            let why = format!("goes beyond the log, which ends at seq {log_end}");
            self.drop_file(super::run::file_name(range), &why, false)?;
        }
        Ok((fingerprinter, ranges))
    }

    /// Opens the runs; of two that overlap the larger stays, if it is whole. They come back in the order of the log.
    fn load(&mut self, mut ranges: Vec<SeqRange>, key_check: u64) -> Result<Vec<Arc<Run>>, KeyError> {
        ranges.sort_unstable_by_key(|range| (range.first(), Reverse(range.last())));
        let mut runs: Vec<Arc<Run>> = Vec::new();
        for range in ranges {
            let name = super::run::file_name(range);
            let covered_to = runs.last().map_or(Seq::ZERO, |run| run.range().last());
            if range.last() <= covered_to {
                self.drop_file(name, "its keys are in a larger run", false)?;
            } else if range.first() <= covered_to {
                self.drop_file(name, "overlaps another run", true)?;
            } else {
                match Run::open(self.disk, self.dir, range, key_check) {
                    Ok(run) => runs.push(Arc::new(run)),
                    Err(KeyError::Damaged { offset, what, .. }) => {
                        self.drop_file(name, &format!("damaged at offset {offset}: {what}"), true)?;
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(runs)
    }

    fn drop_file(&mut self, name: String, why: &str, damaged: bool) -> Result<(), KeyError> {
        let path = self.dir.join(&name);
        let to_error = |source| KeyError::Io { file: path.display().to_string(), source };
        self.disk.remove(&path).map_err(to_error)?;
        self.dropped.push(DroppedFile { name, why: why.into(), damaged });
        Ok(())
    }

    fn sync_removals(&self) -> Result<(), KeyError> {
        if self.dropped.is_empty() {
            return Ok(());
        }
        self.disk.sync_dir(self.dir).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> KeyError {
        KeyError::Io { file: self.dir.display().to_string(), source }
    }
}
