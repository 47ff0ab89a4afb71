//! How far an import got: `<data>/imports/<identity>.json`, written after each answer and removed at the end.
//!
//! It only saves time. One that is lost, or older than the log, means that some items are sent again and are duplicates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Counts of one file, over all the runs that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The last line that the daemon answered for.
    pub line: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// The highest seq that the daemon named: a log that ends before it is another one.
    pub last_seq: u64,
    /// The file's end was reached.
    #[serde(skip)]
    pub complete: bool,
}

pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub fn new(data_dir: &Path, identity: &str) -> StateFile {
        StateFile { path: data_dir.join("imports").join(format!("{identity}.json")) }
    }

    /// What an earlier run left; `None` if there was none, or its note cannot be read.
    pub fn read(&self) -> Option<Progress> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Notes how far the import is; the file is whole at any instant.
    pub fn write(&self, progress: &Progress) -> anyhow::Result<()> {
        let write = || {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(dir)?;
            let fresh = self.path.with_extension("tmp");
            fs::write(&fresh, serde_json::to_vec(progress)?)?;
            fs::rename(&fresh, &self.path)
        };
        write().with_context(|| self.path.display().to_string())
    }

    /// Forgets a finished import.
    pub fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| self.path.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_found_again_by_the_files_identity_and_forgotten_at_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateFile::new(dir.path(), "abc");
        assert_eq!(state.read(), None);
        state.remove().expect("nothing to remove is fine");
        let progress = Progress { line: 7, accepted: 5, duplicates: 1, rejected: 1, last_seq: 9, complete: false };
        state.write(&progress).expect("written");
        assert_eq!(StateFile::new(dir.path(), "abc").read(), Some(progress));
        assert_eq!(StateFile::new(dir.path(), "abd").read(), None);
        fs::write(dir.path().join("imports/abc.json"), "{").expect("written");
        assert_eq!(state.read(), None);
        state.remove().expect("removed");
        assert!(!dir.path().join("imports/abc.json").exists());
    }
}
