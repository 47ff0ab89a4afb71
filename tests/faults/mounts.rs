//! Small file systems of a test's own.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::tools::{run, shown, skipped};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tmpfs,
    Ext4,
    Xfs,
}

/// A mounted file system; unmounted when it is dropped, and its image removed.
pub struct Mount {
    kind: Kind,
    directory: tempfile::TempDir,
}

impl Mount {
    /// Makes and mounts one; says `SKIPPED` where the machine cannot.
    pub fn new(test: &str, kind: Kind, bytes: u64) -> Option<Mount> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mount = Mount { kind, directory };
        match mount.make(bytes) {
            Ok(()) => Some(mount),
            Err(why) => {
                skipped(test, &format!("no {kind:?} can be mounted: {why}"));
                None
            }
        }
    }

    fn make(&self, bytes: u64) -> Result<(), String> {
        std::fs::create_dir(self.dir()).map_err(|error| error.to_string())?;
        if self.kind == Kind::Tmpfs {
            return run(&["mount", "-t", "tmpfs", "-o", &format!("size={bytes}"), "none", shown(&self.dir())]);
        }
        File::create(self.image()).and_then(|file| file.set_len(bytes)).map_err(|error| error.to_string())?;
        match self.kind {
            Kind::Ext4 => run(&["mkfs.ext4", "-q", "-m", "0", shown(&self.image())])?,
            _ => run(&["mkfs.xfs", "-q", shown(&self.image())])?,
        }
        self.mount()
    }

    pub fn mount(&self) -> Result<(), String> {
        run(&["mount", "-o", "loop", shown(&self.image()), shown(&self.dir())])
    }

    pub fn unmount(&self) -> Result<(), String> {
        run(&["umount", shown(&self.dir())])
    }

    /// Cuts the power: what is not on the device by now never will be.
    pub fn cut_power(&self) -> Result<(), String> {
        run(&["xfs_io", "-x", "-c", "shutdown", shown(&self.dir())])
    }

    pub fn dir(&self) -> PathBuf {
        self.directory.path().join("mount")
    }
    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }
    /// A directory beside it that never fills up, for notes.
    pub fn beside(&self) -> &Path {
        self.directory.path()
    }

    /// Takes what is free, but for about `but`, into a file of its own.
    pub fn fill_but(&self, but: u64) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file to fill with");
        let mut piece = 64 * 1024;
        while self.free_bytes() > but && piece > 0 {
            let bytes = (self.free_bytes() - but).min(piece);
            // Smaller and smaller, until not one byte more fits.
            if file.write_all(&vec![7; bytes as usize]).is_err() {
                piece /= 4;
            }
        }
        if but == 0 {
            while file.write_all(&[7]).is_ok() {}
        }
        let _ = file.sync_all();
    }

    /// Gives it back.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the file that fills it");
    }

    pub fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.dir()).expect("it is mounted");
        stat.f_bavail * stat.f_frsize
    }

    fn filler(&self) -> PathBuf {
        self.dir().join("filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Not mounted where making it failed.
        let _ = self.unmount();
    }
}
