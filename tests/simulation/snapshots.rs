//! Snapshots of the running log, and logs made from them: there as a whole or not at all, whatever happens meanwhile, and a
//! prefix of what was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coliseum::disk::Disk;
use coliseum::passport::snapshot::{self, RestoreError, SnapshotName, Store, Until};
use coliseum::units::Seq;

use crate::machine::{DATA, Machine, Process, Violation};
use crate::random::Draws;

/// What was asked for, and whether it was acknowledged.
#[derive(Default)]
pub struct Copies {
    /// By name: the last seq that was acknowledged when it was asked for, and whether it was taken.
    taken: Vec<(String, u64, bool)>,
    /// By directory: the last seq that was wanted, and whether it was restored.
    restored: Vec<(PathBuf, u64, bool)>,
}

fn dir() -> PathBuf {
    Path::new(DATA).join("snapshots")
}

impl Machine {
    /// Takes a snapshot of the log as it is now.
    pub fn take_snapshot(&mut self, process: &Process) {
        let name = format!("s{}", self.copies.taken.len());
        let store = Store::open(process.log.log(), dir(), 0);
        let named = SnapshotName::parse(&name).expect("a good name");
        let is_taken = store.take(&named, self.now()).is_ok();
        self.copies.taken.push((name, self.truth.log.len() as u64, is_taken));
    }

    /// Makes a log of one of the snapshots, up to some entry of it.
    pub fn restore_snapshot(&mut self, draws: &mut Draws) {
        let taken: Vec<_> = self.copies.taken.iter().filter(|(_, last, is_taken)| *is_taken && *last > 0).collect();
        if taken.is_empty() {
            return;
        }
        let (name, last, _) = (*draws.pick(&taken)).clone();
        let until = draws.between(1, last);
        let to = Path::new("/srv/restored").join(self.copies.restored.len().to_string());
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let made = snapshot::restore(&disk, self.random(), &dir().join(name), &to, Until::Seq(Seq::new(until)));
        self.copies.restored.push((to, until, made.is_ok()));
    }

    /// On a disk that works: what was acknowledged is there, and what is there is whole.
    pub fn judge_copies(&mut self) -> Result<u64, Violation> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let names = disk.list_dirs(&dir()).unwrap_or_default();
        let mut judged = 0;
        for (name, acknowledged, is_taken) in &self.copies.taken {
            if !names.contains(name) {
                if *is_taken {
                    return Err(format!("the snapshot {name} is gone"));
                }
                continue;
            }
            let found =
                snapshot::verify(&disk, &dir().join(name)).map_err(|error| format!("snapshot {name}: {error}"))?;
            if let Some(finding) = found.findings.first() {
                return Err(format!("the snapshot {name} is not whole: {finding}"));
            }
            if found.entries < *acknowledged || found.entries > self.truth.log.len() as u64 {
                return Err(format!("the snapshot {name} holds {} entries, not {acknowledged} or more", found.entries));
            }
            judged += 1;
        }
        for (to, until, is_restored) in std::mem::take(&mut self.copies.restored) {
            match disk.list(&to.join("passport")) {
                Err(_) if is_restored => return Err(format!("the log restored to {} is gone", to.display())),
                Err(_) => continue,
                Ok(_) => {}
            }
            self.judge_restored(&to, until).map_err(|violation| format!("restored to {until}: {violation}"))?;
            let again = snapshot::restore(&disk, self.random(), &dir().join("s0"), &to, Until::End);
            if !matches!(again, Err(RestoreError::HoldsLog { .. })) {
                return Err("a restore over a log is not refused".to_owned());
            }
            judged += 1;
        }
        Ok(judged)
    }
}
