//! `coliseum snapshot DIR`: a snapshot of the log in a directory of the user's choice.
//!
//! 1. The daemon takes it in `<data>/snapshots/`, under a name that nobody else has.
//! 2. In the same file system it is renamed to DIR: atomic, and its hard links stay such. Elsewhere it is copied to
//!    `.DIR.partial` beside DIR, synced, renamed, and then removed where it was taken.
//!
//! A kill at any instant leaves DIR complete or absent; what is left over is a snapshot `cli-…` of the data directory, or
//! the partial copy, which the next `snapshot DIR` removes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::attach::{Attached, Purpose};
use super::client::Request;
use super::output::{self, grouped, printable};
use super::{Outcome, Place, Status};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum snapshot /backup/monday
  coliseum snapshot /backup/monday --data-dir /var/lib/coliseum --json
  coliseum verify /backup/monday
  coliseum restore /backup/monday --to /var/lib/coliseum-new

Works on a stopped directory, or through the daemon that runs on it while writes go on. Full segments are hard links
where DIR is on the same file system; `cp`, `rsync` and `tar` of DIR are as good as DIR. Projections are not in it: a restore
builds them again. Exit codes: 0 taken; 1 failed, or DIR exists; 2 usage.")]
pub struct SnapshotArgs {
    /// The directory to make; it must not exist, and the one above it must
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Print {path, name, lastSeq, files, bytes}
    #[arg(long)]
    json: bool,
}

/// What the daemon answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    name: String,
    last_seq: u64,
    files: u64,
    bytes: u64,
}

pub fn run(args: &SnapshotArgs) -> Outcome {
    let config = args.place.load()?;
    let dir = std::path::absolute(&args.dir).with_context(|| args.dir.display().to_string())?;
    let parent = refuse(&dir)?;
    let mut attached = Attached::open(&config, Purpose::Read)?;
    let taken = take(&mut attached).and_then(|taken| {
        let from = config.data_dir.join("snapshots").join(&taken.name);
        move_to(&from, &dir, &parent).map(|()| taken)
    });
    attached.close()?;
    let taken = taken?;
    if args.json {
        let Taken { name, last_seq, files, bytes } = taken;
        let path = dir.to_string_lossy();
        output::print_json(&json!({"path": path, "name": name, "lastSeq": last_seq, "files": files, "bytes": bytes}))?;
    } else {
        let (entries, bytes) = (grouped(taken.last_seq), grouped(taken.bytes));
        output::print(&format!("{entries} entries in {} files, {bytes} bytes: {}\n", taken.files, dir.display()))?;
    }
    Ok(Status::Good)
}

/// Nothing is asked of the daemon where the destination is not good. Gives the directory above it.
fn refuse(dir: &Path) -> anyhow::Result<PathBuf> {
    let parent = dir.parent().filter(|_| dir.file_name().is_some());
    let Some(parent) = parent else { bail!("{}: name a directory that can be made", dir.display()) };
    if fs::symlink_metadata(dir).is_ok() {
        bail!("{} exists; a snapshot is never written over anything, name another directory", dir.display());
    }
    if !parent.is_dir() {
        bail!("{}: the directory above it is not there; make it first", dir.display());
    }
    Ok(parent.to_owned())
}

fn take(attached: &mut Attached) -> anyhow::Result<Taken> {
    let name = format!("cli-{}", uuid::Uuid::now_v7());
    let body = json!({"name": name}).to_string();
    let headers = [("content-type", "application/json")];
    let request = Request::post("/api/admin/snapshots", &headers, body.as_bytes()).patient();
    Ok(attached.client.send_ok(request)?.json(request.target)?)
}

/// Gives the snapshot its place; nothing is left of it elsewhere, but where that cannot be helped.
fn move_to(from: &Path, dir: &Path, parent: &Path) -> anyhow::Result<()> {
    let moved = match rename_new(from, dir) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_to(from, dir, parent),
        renamed => renamed,
    };
    if let Err(error) = moved {
        let _ = fs::remove_dir_all(from);
        return Err(error).with_context(|| format!("{} cannot be made", dir.display()));
    }
    let above = from.parent().unwrap_or(from);
    File::open(above)?.sync_all().with_context(|| above.display().to_string())
}

/// Renames where nothing has the name. That somebody makes the name in between is for the file system to refuse: a
/// directory is renamed over an empty one only.
fn rename_new(from: &Path, dir: &Path) -> io::Result<()> {
    if fs::symlink_metadata(dir).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, dir)?;
    File::open(dir.parent().unwrap_or(dir))?.sync_all()
}

/// Copies a snapshot to another file system, whole or not at all. A source that cannot be removed then is a warning.
fn copy_to(from: &Path, dir: &Path, parent: &Path) -> io::Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let partial = parent.join(format!(".{name}.partial"));
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copied = copy_dir(from, &partial).and_then(|()| rename_new(&partial, dir));
    if copied.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    copied?;
    // Whoever asked has the snapshot; the one in the data directory is too many, and no more than that.
    if let Err(error) = fs::remove_dir_all(from) {
        let from = printable(&from.display().to_string());
        output::note(&format!("warning: {from} cannot be removed, and is not needed any more: {error}"));
    }
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_whole_counts_though_its_source_cannot_be_removed() {
        let above = tempfile::tempdir().expect("a directory");
        let (from, dir) = (above.path().join("taken"), above.path().join("monday"));
        fs::create_dir_all(from.join("passport")).expect("made");
        fs::write(from.join("passport/log.id"), "id").expect("written");
        // No directory is removed by a name that ends in a dot, not even for root.
        copy_to(&from.join("."), &dir, above.path()).expect("the copy is whole");
        assert_eq!(fs::read(dir.join("passport/log.id")).expect("copied"), b"id");
        assert!(from.exists() && !above.path().join(".monday.partial").exists());
    }
}
