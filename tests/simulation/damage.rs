//! What happens to files at rest, and what the next start has to make of it: an error that names the file, or the same
//! answers as before; never other content, and never less without a word.

use std::path::{Path, PathBuf};

use coliseum::passport::{AppendError, EntrySource, OpenError};

use crate::machine::{Machine, Process, Refusal, Violation, passport_dir};
use crate::random::Draws;
use crate::run::Run;

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    FlippedBit,
    Cut,
    Zeroed,
    Gone,
    /// It has the bytes of another one of its kind.
    Swapped,
}

/// What the files of the log are evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Segment,
    LastSegment,
    LogId,
    Derived,
}

/// Damages one file of the log, starts on it, asks, and puts everything back. Whether the start was refused.
pub fn strike(run: &mut Run<'_>) -> Result<bool, Violation> {
    run.machine.disk.settle();
    let image = run.machine.disk.image();
    let mut files = run.machine.disk.files_below(&passport_dir());
    files.retain(|path| path.extension().is_none_or(|extension| extension != "tmp" && extension != "bytes"));
    if files.is_empty() {
        return Ok(false);
    }
    let path = run.chaos.pick(&files).clone();
    let blow = *run.chaos.pick(&[
        Blow::FlippedBit,
        Blow::FlippedBit,
        Blow::FlippedBit,
        Blow::Cut,
        Blow::Zeroed,
        Blow::Gone,
        Blow::Swapped,
    ]);
    let changed = strike_file(&run.machine, &path, blow, &files, &mut run.chaos);
    let outcome = if changed { judge(run, &path, blow, role(&path, &files)) } else { Ok(false) };
    run.machine.disk.put_back(image);
    outcome.map_err(|violation| format!("{blow:?} in {}: {violation}", path.display()))
}

fn role(path: &Path, files: &[PathBuf]) -> Role {
    let is_segment = |path: &Path| path.extension().is_some_and(|extension| extension == "seg" || extension == "segz");
    match path.file_name().and_then(|name| name.to_str()) {
        Some("log.id") => Role::LogId,
        _ if is_segment(path) && files.iter().rfind(|path| is_segment(path)).is_some_and(|last| last == path) => {
            Role::LastSegment
        }
        _ if is_segment(path) => Role::Segment,
        _ => Role::Derived,
    }
}

/// Whether a byte changed.
fn strike_file(machine: &Machine, path: &Path, blow: Blow, files: &[PathBuf], draws: &mut Draws) -> bool {
    let before = machine.disk.contents(path);
    match blow {
        Blow::Gone => {
            coliseum::disk::Disk::remove(&machine.disk, path).expect("it is there");
            machine.disk.settle();
            return true;
        }
        Blow::FlippedBit if before.is_empty() => return false,
        Blow::FlippedBit => {
            // Half of them where there are bytes that mean something.
            let end = before.iter().rposition(|byte| *byte != 0).map_or(before.len(), |at| at + 1);
            let end = if draws.once_in(2) { end } else { before.len() };
            let bit = draws.below(end as u64 * 8) as usize;
            machine.disk.damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        }
        Blow::Cut => {
            let length = draws.below(before.len() as u64) as usize;
            machine.disk.damage(path, |bytes| bytes.truncate(length));
        }
        Blow::Zeroed => {
            let from = draws.below(before.len() as u64) as usize;
            machine.disk.damage(path, |bytes| bytes[from..].fill(0));
        }
        Blow::Swapped => {
            let alike: Vec<&PathBuf> =
                files.iter().filter(|other| *other != path && other.extension() == path.extension()).collect();
            if alike.is_empty() {
                return false;
            }
            let bytes = machine.disk.contents(draws.pick::<&PathBuf>(&alike));
            machine.disk.damage(path, |into| *into = bytes);
        }
    }
    machine.disk.contents(path) != before
}

fn judge(run: &mut Run<'_>, path: &Path, blow: Blow, role: Role) -> Result<bool, Violation> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let process = match run.machine.start() {
        Ok(process) => process,
        Err(Refusal::Log(error)) => return refused(&error, &name, role, blow),
        // The log is shorter than what the projection has folded.
        Err(Refusal::Projection(_)) if role == Role::LastSegment => return Ok(true),
        Err(refusal) => return Err(format!("the start is refused: {refusal}")),
    };
    let durable = process.log.log().durable().get();
    let held = run.machine.truth.log.len() as u64;
    if durable < held {
        // Only the end may go: as a torn tail, which is kept, or with a whole file that nobody can miss but the projection.
        let is_told = process.log.torn_tail().is_some();
        let is_end = role == Role::LastSegment && (is_told || matches!(blow, Blow::Gone | Blow::Zeroed));
        if !is_end {
            return Err(format!("{} of {held} entries are gone in silence", held - durable));
        }
        if process.fold.applied().is_some_and(|applied| applied.get() > durable) {
            return Err("the projection knows of entries that the log has lost, and the start goes on".to_owned());
        }
        return Ok(false);
    }
    answers(run, process, role)
}

/// A start may be refused over the log's own files, and says which.
fn refused(error: &OpenError, name: &str, role: Role, blow: Blow) -> Result<bool, Violation> {
    if role == Role::Derived {
        return Err(format!("the start is refused over a derived file: {error}"));
    }
    let text = error.to_string();
    let names_it = text.contains(name.trim_end_matches(".seg").trim_end_matches(".segz")) || text.contains("passport");
    // A segment that is gone or is another is noticed at its neighbour.
    if !names_it && !matches!(blow, Blow::Gone | Blow::Swapped) {
        return Err(format!("the refusal does not name {name}: {text}"));
    }
    match error {
        OpenError::Damaged { .. } if text.contains("Next: ") => Ok(true),
        OpenError::Damaged { .. } => Err(format!("the refusal does not say what to do: {text}")),
        OpenError::Io { .. } => Err(format!("damage is told as an error of the disk: {text}")),
    }
}

/// What starts on damage answers as before, or with an error.
fn answers(run: &mut Run<'_>, mut process: Process, role: Role) -> Result<bool, Violation> {
    for _ in 0..4 {
        let whole = run.machine.look(&process, &mut run.chaos)?;
        if !whole && role == Role::Derived {
            return Err("a damaged derived file makes a read fail".to_owned());
        }
    }
    // Idempotency: an event that is there is never stored again, whatever the index has become.
    let known = run.machine.ask_for_known(&mut process, &mut run.chaos)?;
    match known {
        Ok(()) => {}
        Err(AppendError::Unreadable(_)) if role != Role::Derived || process.log.keep().is_ok() => {}
        Err(error) => return Err(format!("a repeat is answered by: {error}")),
    }
    Ok(false)
}
