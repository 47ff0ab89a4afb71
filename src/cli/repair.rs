//! `coliseum repair`: says what it would do about damaged files, and does it with `--yes`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::attach::{Attached, Purpose, is_locked};
use super::output::{self, Unit, grouped, printable};
use super::{Outcome, Place, Status, owner, rebuild, verify};
use crate::clock::SystemClock;
use crate::passport::repair::{Done, Plan, RepairOptions};
use crate::projection;
use crate::world::World;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum repair
  coliseum repair --from /backup/2026-11-25
  coliseum repair --from /backup/2026-11-25 --yes

Reads every file and prints what is wrong and what it would do; nothing changes without --yes. Whole files are taken out of
the snapshot where it holds the same segment: name a copy of a snapshot on another disk, since one on the same disk shares
the file and its damage. Without one the log is cut behind its last good event before the damage. What is removed is kept in
quarantine/, and events behind the damage that can still be read are written there as NDJSON for `coliseum import`. Run it
as the user to whom the data directory belongs. The daemon must be stopped. Exit codes: 0 nothing to do, or done; 1 something to do, or failed; 2 usage.")]
pub struct RepairArgs {
    #[command(flatten)]
    place: Place,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// Take whole files out of this snapshot, or out of a copy of the data directory
    #[arg(long, value_name = "SNAPSHOT")]
    from: Option<PathBuf>,
    /// Print {ok, steps, notes, keptTo, loss, done, quarantine, salvaged}
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RepairArgs) -> Outcome {
    let config = args.place.load()?;
    let dir = &config.data_dir;
    if !dir.join("passport").is_dir() {
        return Err(anyhow::anyhow!(
            "{} holds no log; name its directory with --data-dir, or make one with `coliseum serve`",
            dir.display()
        )
        .into());
    }
    if is_locked(dir)? {
        return beside_a_daemon(args, &config);
    }
    owner::warn_others(dir);
    let _lock = lock(dir, args.yes)?;
    let options = RepairOptions {
        data_dir: dir.clone(),
        snapshot: args.from.clone(),
        segment_bytes: config.passport.segment_bytes,
        derived_dirs: vec!["projections".into()],
    };
    let world = World::with_clock(Arc::new(SystemClock));
    let plan = plan(&world, &options)?;
    let done = if args.yes && !plan.is_empty() { Some(plan.apply(&world, &options)?) } else { None };
    if args.json {
        output::print_json(&to_json(&plan, done.as_ref()))?;
    } else {
        output::print(&text(&plan, done.as_ref(), args))?;
    }
    Ok(if plan.is_empty() || done.is_some() { Status::Good } else { Status::Failed })
}

fn plan(world: &World, options: &RepairOptions) -> anyhow::Result<Plan> {
    let bar = output::progress("reading", Unit::Entries, 0);
    let mut plan = Plan::make(world, options, &mut |file| bar.set_message(file.to_owned()))?;
    bar.finish_and_clear();
    if !plan.shortens() {
        for (file, why) in projection::survey(&options.data_dir.join("projections"), plan.kept_to) {
            plan.quarantine(&Path::new("projections").join(file), why);
        }
    }
    Ok(plan)
}

/// Takes the lock of the directory for as long as the result lives. Only a repair that changes something makes the file.
fn lock(dir: &Path, may_make: bool) -> anyhow::Result<Option<File>> {
    let path = dir.join("lock");
    let opened = File::options().write(true).create(may_make).truncate(false).open(&path);
    let file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("{}: cannot be opened", path.display()))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => anyhow::bail!("{} is in use by another process; stop it first", dir.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{}: cannot be locked", path.display())),
    }
}

/// A daemon runs: what it finds, and to stop it first, since files change under nobody's hands. Projections are built
/// again.
fn beside_a_daemon(args: &RepairArgs, config: &crate::config::Config) -> Outcome {
    let mut attached = Attached::open(config, Purpose::Read)?;
    let verdict = verify::verify(&mut attached)?;
    let findings = verdict["findings"].as_array().cloned().unwrap_or_default();
    // What names no file is a projection's, which the daemon builds again while the old one serves.
    let is_mended = args.yes && !findings.is_empty() && findings.iter().all(|finding| finding["file"].is_null());
    if is_mended {
        rebuild::rebuild(&mut attached, None)?;
    }
    attached.close()?;
    let is_good = findings.is_empty() || is_mended;
    if args.json {
        output::print_json(&json!({"ok": is_good, "running": true, "findings": findings, "done": is_mended}))?;
    } else if findings.is_empty() {
        output::print("nothing to do\n")?;
    } else if is_mended {
        output::print("the projections were built again from the log; next: coliseum verify\n")?;
    } else {
        let mut out = String::new();
        for finding in &findings {
            let place = finding["file"].as_str().unwrap_or("projections");
            let what = finding["what"].as_str().unwrap_or_default();
            out.push_str(&format!("{}: {}\n", printable(place), printable(what)));
        }
        out.push_str(
            "a daemon runs on this directory: stop it, then run `coliseum repair` again; a projection alone is mended by \
             `coliseum rebuild` while it runs\n",
        );
        output::print(&out)?;
    }
    Ok(if is_good { Status::Good } else { Status::Failed })
}

fn to_json(plan: &Plan, done: Option<&Done>) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "what": step.what, "why": step.why, "file": step.file, "offset": step.offset,
                "seq": step.seq.map(crate::units::Seq::get),
            })
        })
        .collect();
    let loss = plan.loss.map(|loss| {
        json!({
            "firstSeq": loss.first.get(), "lastSeq": loss.last.get(), "salvaged": loss.salvaged, "gone": loss.gone(),
        })
    });
    json!({
        "ok": plan.is_empty() || done.is_some(),
        "steps": steps,
        "notes": plan.notes,
        "keptTo": plan.kept_to.get(),
        "loss": loss,
        "done": done.is_some(),
        "quarantine": done.map(|done| done.quarantine.display().to_string()),
        "salvaged": done.and_then(|done| done.salvaged.as_ref()).map(|(path, _)| path.display().to_string()),
    })
}

fn text(plan: &Plan, done: Option<&Done>, args: &RepairArgs) -> String {
    let mut out = String::new();
    for note in &plan.notes {
        out.push_str(&format!("note: {}\n", printable(note)));
    }
    if plan.is_empty() {
        out.push_str(&format!("nothing to do: the log is whole up to seq {}\n", grouped(plan.kept_to.get())));
        return out;
    }
    for (at, step) in plan.steps.iter().enumerate() {
        out.push_str(&format!("{}. {}\n   because: {}", at + 1, printable(&step.what), printable(&step.why)));
        if let Some(offset) = step.offset {
            out.push_str(&format!(" (offset {offset})"));
        }
        out.push('\n');
    }
    match plan.loss {
        None => out.push_str("No event is lost.\n"),
        Some(loss) => {
            let count = loss.last.get() - loss.first.get() + 1;
            let (kept, gone) = (grouped(loss.salvaged), grouped(loss.gone()));
            out.push_str(&format!(
                "The log ends at seq {} then. {} events leave it, seq {} to {}: {kept} of them can be read and are kept in \
                 salvaged.ndjson, {gone} cannot.\n",
                plan.kept_to,
                grouped(count),
                loss.first,
                loss.last
            ));
            if args.from.is_none() {
                out.push_str(
                    "With a copy of a snapshot on another disk that holds the damaged segment, nothing is lost: --from \
                     SNAPSHOT. One on this disk shares the file, and its damage.\n",
                );
            }
        }
    }
    match done {
        None => out.push_str("Nothing was changed. Do it with --yes.\n"),
        Some(done) => {
            out.push_str(&format!("Done. What was removed is in {}\n", done.quarantine.display()));
            if let Some((path, count)) = &done.salvaged {
                let (count, path) = (grouped(*count), path.display());
                out.push_str(&format!(
                    "Bring {count} events back, with their keys and times: coliseum import {path}\n"
                ));
            }
            out.push_str("Next: coliseum verify\n");
        }
    }
    out
}
