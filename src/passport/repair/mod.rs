//! Mending the files of a log that does not open, or that has damage inside: first a plan, which changes nothing, then the
//! plan done.
//!
//! # Contract
//!
//! - **It never invents.** What the log holds afterwards is a prefix of what it held, record for record, under the same
//!   numbers; a record counts only under a checksum that it passes. Where a snapshot holds the very same segment, that
//!   file takes the damaged one's place and nothing is lost.
//! - **It keeps what it removes.** Each file that leaves goes to `quarantine/<time>/` as it is, under the path that it
//!   had. Records behind the damage that can still be read whole are written there as `salvaged.ndjson`, in the form of
//!   `coliseum export`: `coliseum import` brings them back with their keys and times, under new numbers.
//! - **It can be interrupted.** Whatever a crash leaves, the next plan goes on from there; see [`Plan::apply`].
//! - Nothing to do is an empty plan. A torn tail is nothing to do: the next start cuts it.
//!
//! | file | idea |
//! | --- | --- |
//! | `inspect` | reads one segment file, however damaged: how far it is good, and what is whole behind that |
//! | `chain` | which files follow each other from seq 1 on, and where that ends |
//! | `derived` | entry indexes and key runs that are of no use |
//! | `salvage` | records behind the damage, as NDJSON |
//! | `apply` | the steps, in an order that survives a crash at any of them |
//!
//! The log must not be open: the caller holds the directory's lock.

mod apply;
mod chain;
mod derived;
mod inspect;
mod salvage;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::recovery::OpenError;
use crate::units::Seq;
use crate::world::World;

pub use apply::Done;

/// What to repair, and from what.
#[derive(Clone, Debug)]
pub struct RepairOptions {
    /// The data directory, which holds `passport/`.
    pub data_dir: PathBuf,
    /// A snapshot to take whole files from.
    pub snapshot: Option<PathBuf>,
    /// Size of a segment file that is made.
    pub segment_bytes: u64,
    /// Directories beside `passport/` that hold what is derived from the log: they leave when the log gets shorter.
    pub derived_dirs: Vec<String>,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Step {
    /// In words: what is done.
    pub what: String,
    /// And what is wrong.
    pub why: String,
    /// The file that is wrong, as it is called under the data directory.
    pub file: String,
    pub offset: Option<u64>,
    pub seq: Option<Seq>,
    action: Action,
}

/// What a step does to the files.
#[derive(Clone, Debug)]
enum Action {
    /// Moves a file or directory, named under the data directory, to the quarantine.
    Quarantine(PathBuf),
    /// Writes `log.id`.
    WriteLogId,
    /// Gives a segment file of `passport/` the name that its content says.
    Rename { from: String, to: String },
    /// Copies a whole file of the snapshot to a name in `passport/`.
    Restore { from: PathBuf, to: String },
    /// Writes the good beginning of a segment as the new active one.
    Rewrite(Beginning),
}

/// The records of a file that the log goes on with, and what they follow. Without records: an empty active segment.
#[derive(Clone, Debug)]
struct Beginning {
    /// The file, and which form it has.
    source: Option<inspect::Place>,
    first: Seq,
    /// One before `first` where there are none.
    last: Seq,
    previous_segment_id: u64,
    previous_checksum: u32,
}

/// Events that leave the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    pub first: Seq,
    /// The last that is known of; there may have been more in a file that is missing.
    pub last: Seq,
    /// How many of them can be read, and are kept in `salvaged.ndjson`.
    pub salvaged: u64,
}

impl Loss {
    /// How many cannot be read.
    pub fn gone(&self) -> u64 {
        (self.last.get() - self.first.get() + 1).saturating_sub(self.salvaged)
    }
}

/// What a repair would do.
#[derive(Debug)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What is worth knowing and needs no repair.
    pub notes: Vec<String>,
    /// The last seq of the log afterwards.
    pub kept_to: Seq,
    pub loss: Option<Loss>,
    log_id: Option<[u8; 16]>,
    /// Files whose records behind `kept_to` are salvaged.
    salvage: Vec<inspect::Place>,
}

impl Plan {
    /// Looks at every file and says what there is to do; changes nothing. `show` gets the name of each file that is read.
    ///
    /// # Errors
    /// The disk cannot be read, or the files are of several logs and nothing says which of them is meant.
    pub fn make(world: &World, options: &RepairOptions, show: &mut dyn FnMut(&str)) -> Result<Plan, OpenError> {
        let disk = world.disk.as_ref();
        let survey = inspect::survey(disk, options, show)?;
        let mut plan = chain::plan(&survey, options)?;
        plan.count_loss(disk)?;
        derived::add_steps(disk, options, &survey, &mut plan)?;
        Ok(plan)
    }

    /// Adds a file or directory of the data directory that is to leave.
    pub fn quarantine(&mut self, path: &Path, why: String) {
        self.steps.push(Step::quarantine(path, why, None, None));
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the log ends earlier than it did.
    pub fn shortens(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::Rewrite(_)))
    }
}

impl Step {
    fn quarantine(path: &Path, why: String, offset: Option<u64>, seq: Option<Seq>) -> Step {
        let file = path.display().to_string();
        Step {
            what: format!("move {file} to the quarantine"),
            why,
            file,
            offset,
            seq,
            action: Action::Quarantine(path.to_owned()),
        }
    }
}
