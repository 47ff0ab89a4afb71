//! `coliseum rebuild`: the projections anew from the log, beside the old ones, which serve until the new ones are ready.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::attach::{Attached, Consumers, Purpose};
use super::client::Request;
use super::output::{self, Unit, grouped};
use super::{Outcome, Place, Status};

const POLL: Duration = Duration::from_millis(100);
/// The state of a consumer that serves its own, current answers.
const RUNNING: &str = "running";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum rebuild
  coliseum rebuild --data-dir /var/lib/coliseum --json

The old boards go on serving until the new ones hold as much of the log. Ctrl-C ends the watching; a rebuild in a running
daemon goes on.")]
pub struct RebuildArgs {
    #[command(flatten)]
    place: Place,
    /// Print {entries, consumers} at the end
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RebuildArgs) -> Outcome {
    let config = args.place.load()?;
    let mut attached = Attached::open(&config, Purpose::Read)?;
    let rebuilt = rebuild(&mut attached);
    attached.close()?;
    let done = rebuilt?;
    if args.json {
        let consumers: Vec<Value> = done
            .consumers
            .iter()
            .map(|consumer| json!({"name": consumer.name, "appliedSeq": consumer.applied_seq, "state": consumer.state}))
            .collect();
        output::print_json(&json!({"entries": done.head_seq, "consumers": consumers}))?;
    } else {
        let names: Vec<&str> = done.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
        output::print(&format!("rebuilt from {} entries: {}\n", grouped(done.head_seq), names.join(", ")))?;
    }
    Ok(Status::Good)
}

/// Asks for the rebuild and follows it to its end.
pub(super) fn rebuild(attached: &mut Attached) -> anyhow::Result<Consumers> {
    attached.client.send_ok(Request::post("/api/admin/rebuild", &[], b"").patient())?.bytes()?;
    let head = Consumers::get(&mut attached.client)?.head_seq;
    let bar = output::progress("rebuilding", Unit::Entries, head);
    loop {
        let now = Consumers::get(&mut attached.client)?;
        bar.set_position(now.applied());
        if let Some(failed) = now.consumers.iter().find(|consumer| consumer.state == "failed") {
            anyhow::bail!("{} failed; the daemon's log on stderr says why, the old answers go on", failed.name);
        }
        if now.applied() >= head && now.consumers.iter().all(|consumer| consumer.state == RUNNING) {
            bar.finish_and_clear();
            return Ok(now);
        }
        std::thread::sleep(POLL);
    }
}
