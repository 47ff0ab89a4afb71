//! `coliseum restore SNAPSHOT --to DIR`: a data directory from a snapshot, all of it or up to an entry or a time.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::output::{self, grouped};
use super::{Outcome, Status};
use crate::disk::{Disk, RealDisk};
use crate::event::parse_rfc3339;
use crate::passport::snapshot::{Until, restore};
use crate::units::{Seq, Timestamp};
use crate::world::SystemRandom;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum restore /backup/monday --to /var/lib/coliseum-new
  coliseum restore data/snapshots/before-update --to restored --until-seq 120000
  coliseum restore /backup/monday --to restored --until-time 2026-11-26T09:30:00Z
  coliseum serve --data-dir restored

The snapshot is read whole and checked before anything is written. The log gets its place whole or not at all; the first
start builds the boards from it. What was cut off with --until-seq or --until-time can be sent again, and gets new numbers;
what is in it is known by its messageId as ever. A snapshot that ends before N is restored whole, with a note. Exit codes:
0 restored; 1 the snapshot is damaged, or DIR holds a log; 2 usage.")]
pub struct RestoreArgs {
    /// A snapshot, or a copy of one
    #[arg(value_name = "SNAPSHOT")]
    snapshot: PathBuf,
    /// The data directory to make, or one that holds no log
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// End with this entry
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "until_time")]
    until_seq: Option<u64>,
    /// End before the first entry that was received after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    until_time: Option<Timestamp>,
    /// Print {path, lastSeq, segments}
    #[arg(long)]
    json: bool,
}

fn read_time(text: &str) -> Result<Timestamp, String> {
    parse_rfc3339(text).ok_or_else(|| "takes a time of RFC 3339, such as 2026-11-26T09:30:00Z".into())
}

pub fn run(args: &RestoreArgs) -> Outcome {
    let absolute = |path: &PathBuf| std::path::absolute(path).with_context(|| path.display().to_string());
    let (snapshot, to) = (absolute(&args.snapshot)?, absolute(&args.to)?);
    let until = match (args.until_seq, args.until_time) {
        (Some(seq), _) => Until::Seq(Seq::new(seq)),
        (None, Some(time)) => Until::Time(time),
        (None, None) => Until::End,
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let restored = restore(&disk, &SystemRandom, &snapshot, &to, until)?;
    let last_seq = restored.last_seq.get();
    if let Some(wanted) = args.until_seq.filter(|wanted| *wanted > last_seq) {
        output::note(&format!("note: the snapshot ends at seq {last_seq}, before {wanted}; all of it was restored"));
    }
    if args.json {
        let path = to.to_string_lossy();
        output::print_json(&json!({"path": path, "lastSeq": last_seq, "segments": restored.segments}))?;
    } else {
        output::print(&format!(
            "restored {} entries to {1}; serve them with `coliseum serve --data-dir {1}`\n",
            grouped(last_seq),
            to.display()
        ))?;
    }
    Ok(Status::Good)
}
