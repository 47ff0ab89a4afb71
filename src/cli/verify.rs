//! `coliseum verify`: every checksum, every seq, and every projection against a recomputation.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attach::{Attached, Purpose};
use super::client::Request;
use super::output::{self, Unit, grouped, printable};
use super::{Outcome, Place, Status};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::disk::{Disk, RealDisk};
use crate::passport::repair::{Plan, RepairOptions};
use crate::passport::snapshot::{self, MANIFEST_NAME, SUMS_NAME};
use crate::passport::{self, OpenError};
use crate::units::Seq;
use crate::world::World;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum verify
  coliseum verify /var/lib/coliseum
  coliseum verify --data-dir /var/lib/coliseum --json
  coliseum verify /backup/monday

Reads the whole log, live or not: checksums, the chain of batches, seq without a gap, the idempotency keys, the indexes, and
each projection against a plain recomputation. Of a snapshot: its manifest, every digest, and the log in it. Exit codes:
0 all good; 1 damage, which is named with its file, offset and seq; 2 usage.

Of a data directory the daemon does it: it answers meanwhile, and takes a gigabyte or two more. The projections are recomputed
in parts, for which the log is read once for each four million entries: that is some five minutes for ten million. Ctrl-C
stops it.")]
pub struct VerifyArgs {
    /// A snapshot, or a data directory in the place of --data-dir
    #[arg(value_name = "DIR", conflicts_with = "data_dir")]
    path: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Print the result: {ok, entries, findings, notes}
    #[arg(long)]
    json: bool,
}

/// What a check that may not write leaves out.
const NOT_COMPARED: &str = "the projections were not compared with the log";

/// Where something is wrong, and what.
#[derive(Debug, Serialize, Deserialize)]
struct Finding {
    file: Option<String>,
    offset: Option<u64>,
    seq: Option<u64>,
    what: String,
}

impl Finding {
    fn line(&self) -> String {
        let mut out = self.file.as_deref().map(printable).unwrap_or_default();
        if let Some(offset) = self.offset {
            out.push_str(&format!(" at offset {offset}"));
        }
        if let Some(seq) = self.seq {
            out.push_str(&format!(" (seq {seq})"));
        }
        out.push_str(&format!(": {}\n", printable(&self.what)));
        out
    }
}

/// The last line of the answer.
#[derive(Debug, Deserialize)]
struct Verdict {
    ok: bool,
    #[serde(default)]
    entries: u64,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    notes: Vec<String>,
}

pub fn run(args: &VerifyArgs) -> Outcome {
    let mut config = args.place.load()?;
    if let Some(path) = &args.path {
        if path.join(MANIFEST_NAME).exists() {
            let disk: Arc<dyn Disk> = Arc::new(RealDisk);
            return tell_of_snapshot(snapshot::verify(&disk, path)?, args.json);
        }
        if has_lost_manifest(path) {
            return tell_of_snapshot(without_manifest(), args.json);
        }
        config.data_dir = path.clone();
    }
    let line = match Attached::open(&config, Purpose::Read) {
        Ok(mut attached) => {
            let verdict = verify(&mut attached);
            attached.close()?;
            verdict?
        }
        Err(error) if cannot_be_written(&error) => read_only(&config)?,
        Err(error) => survey(&config.data_dir.join("passport"), error)?,
    };
    let verdict: Verdict = serde_json::from_value(line.clone()).context("the daemon's verdict")?;
    if args.json {
        output::print_json(&line)?;
    } else {
        output::print(&text(&verdict))?;
    }
    Ok(if verdict.ok && verdict.findings.is_empty() { Status::Good } else { Status::Failed })
}

fn cannot_be_written(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kinds.into_iter().any(|kind| matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem))
}

/// Checks files that nobody here may write, without a daemon: the log, its indexes and its runs of keys. A projection
/// cannot be brought up to the log then, so that its boards are not compared.
fn read_only(config: &Config) -> anyhow::Result<Value> {
    let world = World::with_clock(Arc::new(SystemClock));
    let options = RepairOptions {
        data_dir: config.data_dir.clone(),
        snapshot: None,
        segment_bytes: config.passport.segment_bytes,
        derived_dirs: Vec::new(),
    };
    let bar = output::progress("verifying", Unit::Entries, 0);
    let plan = Plan::make(&world, &options, &mut |file| bar.set_message(file.to_owned()))?;
    bar.finish_and_clear();
    let findings: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| json!({"file": step.file, "offset": step.offset, "seq": step.seq.map(Seq::get), "what": step.why}))
        .collect();
    let mut notes = plan.notes;
    notes.push(format!("the directory cannot be written, so {NOT_COMPARED}"));
    Ok(json!({"ok": findings.is_empty(), "entries": plan.kept_to.get(), "findings": findings, "notes": notes}))
}

/// Whether a directory without a manifest is a snapshot all the same: it has the digests of one, or is where they are. It
/// holds a log, and a daemon that works on that would write into a backup.
fn has_lost_manifest(path: &Path) -> bool {
    let Ok(whole) = path.canonicalize() else { return false };
    let is_among_snapshots = whole.parent().is_some_and(|above| above.ends_with("snapshots"));
    whole.is_dir() && (whole.join(SUMS_NAME).exists() || is_among_snapshots)
}

fn without_manifest() -> snapshot::Verdict {
    let what = "it is missing: this is a snapshot, and nothing says what belongs to it. To check it as a data directory, \
                copy it elsewhere without SHA256SUMS";
    let finding =
        snapshot::Finding { file: Some(MANIFEST_NAME.to_owned()), offset: None, seq: None, what: what.to_owned() };
    snapshot::Verdict { manifest: None, entries: 0, findings: vec![finding] }
}

/// The answer about a snapshot, which no daemon works on.
fn tell_of_snapshot(found: snapshot::Verdict, as_json: bool) -> Outcome {
    let findings: Vec<Finding> = found
        .findings
        .into_iter()
        .map(|finding| Finding { file: finding.file, offset: finding.offset, seq: finding.seq, what: finding.what })
        .collect();
    let ok = findings.is_empty();
    if as_json {
        output::print_json(&json!({"ok": ok, "entries": found.entries, "findings": findings}))?;
    } else if ok {
        let entries = grouped(found.entries);
        output::print(&format!(
            "OK: {entries} entries; the manifest, every digest and every seq are as they should be\n"
        ))?;
    } else {
        for finding in &findings {
            output::print(&finding.line())?;
        }
        output::print(&format!(
            "DAMAGED: {} findings. Do not restore from it; take another snapshot\n",
            findings.len()
        ))?;
    }
    Ok(if ok { Status::Good } else { Status::Failed })
}

/// What a log that does not open has wrong, in the shape of the daemon's verdict.
pub(super) fn survey(dir: &Path, why: anyhow::Error) -> anyhow::Result<Value> {
    let Some(OpenError::Damaged { .. }) = why.downcast_ref() else { return Err(why) };
    let mut errors = passport::survey(&RealDisk, dir)?;
    if errors.is_empty() {
        // Each segment is whole by itself: what is wrong is what the start said.
        errors.extend(why.downcast::<OpenError>());
    }
    let findings: Vec<Value> = errors
        .into_iter()
        .map(|error| match error {
            OpenError::Damaged { file, offset, seq, what, .. } => {
                json!({"file": file, "offset": offset, "seq": seq.get(), "what": what})
            }
            OpenError::Io { path, error } => json!({"file": path, "what": error.to_string()}),
        })
        .collect();
    Ok(json!({"ok": false, "entries": 0, "findings": findings, "notes": []}))
}

/// Follows the daemon's check to its verdict.
pub(super) fn verify(attached: &mut Attached) -> anyhow::Result<Value> {
    let answer = attached.client.send_ok(Request::post("/api/admin/verify", &[], b"").patient())?;
    let bar = output::progress("verifying", Unit::Entries, 0);
    for line in BufReader::new(answer).lines() {
        let line = line.context("reading the daemon's check")?;
        if line.is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(&line).context("the daemon's check holds a line that is no JSON")?;
        if value.get("ok").is_some() {
            bar.finish_and_clear();
            return Ok(value);
        }
        show_progress(&bar, &value["progress"]);
    }
    anyhow::bail!("the daemon's check ended without a verdict; its log on stderr says more")
}

/// `progress` is a count of entries, or an object with `entries`, `total` and `phase`.
fn show_progress(bar: &indicatif::ProgressBar, progress: &Value) {
    if let Some(entries) = progress.as_u64().or(progress["entries"].as_u64()) {
        bar.set_position(entries);
    }
    if let Some(phase) = progress["phase"].as_str() {
        bar.set_message(printable(phase));
    }
}

fn text(verdict: &Verdict) -> String {
    let entries = grouped(verdict.entries);
    let mut out: String = verdict.notes.iter().map(|note| format!("note: {}\n", printable(note))).collect();
    if verdict.ok && verdict.findings.is_empty() {
        let projections =
            if verdict.notes.iter().any(|note| note.contains(NOT_COMPARED)) { "" } else { " and every projection" };
        out.push_str(&format!("OK: {entries} entries; every checksum, every seq{projections} is as it should be\n"));
        return out;
    }
    verdict.findings.iter().for_each(|finding| out.push_str(&finding.line()));
    let count = verdict.findings.len();
    out.push_str(&format!(
        "DAMAGED: {count} findings in {entries} entries. A projection that is wrong is mended by `coliseum rebuild`; for \
         files, stop the daemon and run `coliseum repair`, which says what it would do\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_its_place() {
        let verdict = r#"{"ok":false,"entries":1200,"findings":[{"file":"passport/1.seg","offset":4096,"seq":17,"what":"checksum differs"},{"what":"board a/7d differs"}]}"#;
        let shown = text(&serde_json::from_str(verdict).expect("a verdict"));
        assert!(shown.starts_with("passport/1.seg at offset 4096 (seq 17): checksum differs\n: board a/7d"), "{shown}");
        assert!(shown.contains("2 findings in 1,200 entries") && shown.contains("coliseum rebuild"));
        assert!(
            text(&serde_json::from_str(r#"{"ok":true,"entries":3}"#).expect("a verdict")).starts_with("OK: 3 entries")
        );
    }
}
