//! Snapshots: the log as it stood at one instant, whole and checkable, in a directory of its own.
//!
//! ```text
//! <data>/snapshots/<name>/manifest.json       what is in it, with digests ([`Manifest`])
//! <data>/snapshots/<name>/SHA256SUMS          the same digests for `sha256sum -c SHA256SUMS`
//! <data>/snapshots/<name>/passport/log.id     the log's id
//! <data>/snapshots/<name>/passport/<seq>.segz sealed segments: hard links to the log's own files, copies where the file
//!                                             system has no links
//! <data>/snapshots/<name>/passport/<seq>.seg  copies of full segments that were not sealed yet, and last of the synced
//!                                             batches of the active one, with zeros behind them
//! <data>/snapshots/.<name>.partial/           being made or being removed; no snapshot, removed at the next chance
//! ```
//!
//! A snapshot holds a prefix of the log that ends at a sync: everything that was acknowledged before it was asked for, and
//! nothing that is not on disk. Only the log is in it. What is derived (indexes, idempotency runs, projections) is made
//! again by the first start after a [`restore()`], so no live redb file is ever copied.
//!
//! Sealed segments never change, so a link is as good as a copy and takes no room. A raw one is copied: a start whose last
//! segment was lost goes on in the one before it. Taking a snapshot holds no lock that a writer or a reader takes.
//!
//! A snapshot is made under its partial name, every file and directory of it is synced, and only then does it get its name:
//! a crash at any instant leaves it complete or absent. It is removed the other way round. [`verify()`] reads all of one;
//! [`restore()`] uses none that has not passed that.

mod copy;
mod manifest;
mod name;
mod restore;
mod store;
mod take;
mod verify;

pub(super) use copy::{Bounds, copy_file};
pub use manifest::{FileRow, Manifest};
pub use name::{AUTO_PREFIX, NameError, SnapshotName};
pub use restore::{RestoreError, Restored, Until, restore};
pub use store::{Listed, Store, StoreCounts};
pub use verify::{Finding, Verdict, verify};

use std::io;
use std::path::Path;

use super::ReadError;
use crate::disk::is_full;

/// The manifest's name in a snapshot: a directory that has it is one.
pub const MANIFEST_NAME: &str = "manifest.json";
/// The name of its digests, as `sha256sum` writes them.
pub const SUMS_NAME: &str = "SHA256SUMS";
/// The log's directory, in a snapshot as in a data directory.
const LOG_DIR: &str = "passport";
const PARTIAL_SUFFIX: &str = ".partial";

/// Why a snapshot was not taken, listed or read. None of it is left under its name.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot `{0}` exists already; name another one")]
    Exists(SnapshotName),
    /// A snapshot of damage would push good ones out.
    #[error("the log cannot be copied: {0}")]
    Log(#[from] ReadError),
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("the daemon stops; the snapshot was given up")]
    Stopped,
}

impl SnapshotError {
    fn io(path: &Path, error: io::Error) -> SnapshotError {
        SnapshotError::Io { path: path.display().to_string(), error }
    }
    /// Whether there is no room for it.
    pub fn is_full_disk(&self) -> bool {
        matches!(self, SnapshotError::Io { error, .. } if is_full(error))
    }
}

/// Where a snapshot of this name is while it is not whole.
fn partial_name(name: &str) -> String {
    format!(".{name}{PARTIAL_SUFFIX}")
}
