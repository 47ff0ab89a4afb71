//! `coliseum rebuild`: the projections anew from the log, beside the old ones, which serve until the new ones are ready.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::attach::{Attached, Consumers, Purpose};
use super::client::Request;
use super::filter::target;
use super::output::{self, Unit, grouped};
use super::{Failure, Outcome, Place, Status};

const POLL: Duration = Duration::from_millis(100);
/// The state of a consumer that serves its own, current answers.
const RUNNING: &str = "running";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum rebuild
  coliseum rebuild coliseum
  coliseum rebuild --data-dir /var/lib/coliseum --json

The old boards go on serving until the new ones hold as much of the log. Ctrl-C ends the watching; a rebuild in a running
daemon goes on.")]
pub struct RebuildArgs {
    /// The projection to build anew; all of them unless one is named
    #[arg(value_name = "CONSUMER")]
    consumer: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Print {entries, consumers} at the end
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RebuildArgs) -> Outcome {
    let config = args.place.load()?;
    let mut attached = Attached::open(&config, Purpose::Read)?;
    let consumer = args.consumer.as_deref();
    let rebuilt = check_name(&mut attached, consumer).and_then(|()| Ok(rebuild(&mut attached, consumer)?));
    attached.close()?;
    let done = rebuilt?;
    if args.json {
        let consumers: Vec<Value> = done
            .named(consumer)
            .map(|consumer| json!({"name": consumer.name, "appliedSeq": consumer.applied_seq, "state": consumer.state}))
            .collect();
        output::print_json(&json!({"entries": done.head_seq, "consumers": consumers}))?;
    } else {
        let names: Vec<&str> = done.named(consumer).map(|consumer| consumer.name.as_str()).collect();
        output::print(&format!("rebuilt from {} entries: {}\n", grouped(done.head_seq), names.join(", ")))?;
    }
    Ok(Status::Good)
}

/// A name that no projection has is a slip on the command line.
fn check_name(attached: &mut Attached, consumer: Option<&str>) -> Result<(), Failure> {
    let known = Consumers::get(&mut attached.client)?;
    if known.named(consumer).next().is_some() {
        return Ok(());
    }
    let names: Vec<&str> = known.named(None).map(|consumer| consumer.name.as_str()).collect();
    Err(Failure::Usage(format!("no projection is called that; there are: {}", names.join(", "))))
}

/// Asks for the rebuild of one projection, or of all, and follows it to its end.
pub(super) fn rebuild(attached: &mut Attached, consumer: Option<&str>) -> anyhow::Result<Consumers> {
    let target = target("/api/admin/rebuild", consumer.into_iter().map(|name| ("consumer", name)));
    attached.client.send_ok(Request::post(&target, &[], b"").patient())?.bytes()?;
    let head = Consumers::get(&mut attached.client)?.head_seq;
    let bar = output::progress("rebuilding", Unit::Entries, head);
    loop {
        let now = Consumers::get(&mut attached.client)?;
        let applied = now.applied_by(consumer);
        bar.set_position(applied);
        if let Some(failed) = now.named(consumer).find(|consumer| consumer.state == "failed") {
            anyhow::bail!("{} failed; the daemon's log on stderr says why, the old answers go on", failed.name);
        }
        if applied >= head && now.named(consumer).all(|consumer| consumer.state == RUNNING) {
            bar.finish_and_clear();
            return Ok(now);
        }
        std::thread::sleep(POLL);
    }
}
