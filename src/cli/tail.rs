//! `coliseum tail`: follows the log of a running daemon, entry by entry, over interruptions of the connection.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use super::attach::{Consumers, running_address};
use super::client::{Client, ClientError, Request};
use super::filter::FilterArgs;
use super::output::{note, printable};
use super::sse::SseReader;
use super::{Outcome, Place};

const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// Attempts to connect again without an entry between them.
const RECONNECTS_MAX: u32 = 60;
/// The most of an event's own text that a line shows, in characters.
const METADATA_CHARS: usize = 160;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum tail
  coliseum tail --after 0 --type coliseum.vote_cast
  coliseum tail --json | jq .metadata

Without --after it starts with the next entry. Ctrl-C ends it.")]
pub struct TailArgs {
    #[command(flatten)]
    place: Place,
    /// Start behind this seq; 0 is the whole log
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Print each entry as JSON
    #[arg(long)]
    json: bool,
}

/// What a line shows of an entry.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    seq: u64,
    at: String,
    event_type: String,
    user_id: String,
    #[serde(borrow)]
    metadata: &'a serde_json::value::RawValue,
}

pub fn run(args: &TailArgs) -> Outcome {
    let config = args.place.load()?;
    let mut client = Client::new(running_address(&config.data_dir)?);
    let mut after = match args.after {
        Some(after) => after,
        None => Consumers::get(&mut client)?.head_seq,
    };
    let mut failures = 0;
    loop {
        let before = after;
        let ended = follow(args, &mut client, &mut after);
        failures = if after > before { 0 } else { failures + 1 };
        match ended {
            Err(error) if !may_pass(&error) || failures > RECONNECTS_MAX => return Err(error.into()),
            Err(error) => note(&format!("{error:#}; connecting again after seq {after}")),
            Ok(()) => note(&format!("the stream ended; connecting again after seq {after}")),
        }
        std::thread::sleep(RECONNECT_AFTER);
        // A daemon that was started again may listen elsewhere.
        if let Ok(address) = running_address(&config.data_dir) {
            client = Client::new(address);
        }
    }
}

/// Whether the same request may be answered later: the daemon is away, or busy.
fn may_pass(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Connect { .. } | ClientError::Broken { .. }) => true,
        Some(ClientError::Problem(problem)) => problem.status == 503,
        Some(_) => false,
        None => error.downcast_ref::<StreamBroke>().is_some(),
    }
}

/// The connection ended in the middle of a stream.
#[derive(Debug, thiserror::Error)]
#[error("the stream broke")]
struct StreamBroke(#[source] io::Error);

/// Prints entries until the stream ends; `after` is the last one that was printed.
fn follow(args: &TailArgs, client: &mut Client, after: &mut u64) -> anyhow::Result<()> {
    let target = args.filter.target("/api/passport/stream", &[("after", Some(after.to_string()))]);
    let last = after.to_string();
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", last.as_str())];
    let mut answer = client.send_ok(Request { headers: &headers, ..Request::get(&target).patient() })?;
    let mut reader = SseReader::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = answer.read(&mut buffer).map_err(StreamBroke)?;
        if bytes == 0 {
            return Ok(());
        }
        let (mut lines, mut failed) = (String::new(), None);
        reader.feed(&buffer[..bytes], |event| {
            match if args.json { Ok(event.data.clone()) } else { line(&event.data) } {
                Ok(line) => {
                    lines.push_str(&line);
                    lines.push('\n');
                    *after = event.id.parse().unwrap_or(*after);
                }
                Err(error) => failed = failed.take().or(Some(error)),
            }
        })?;
        let mut out = io::stdout().lock();
        out.write_all(lines.as_bytes())?;
        out.flush()?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

/// `seq  at  type  user  metadata`, cut to what a line shows.
fn line(data: &str) -> anyhow::Result<String> {
    let entry: Entry<'_> = serde_json::from_str(data).context("the stream holds something that is no entry")?;
    let metadata = entry.metadata.get();
    let mut shown: String = metadata.chars().take(METADATA_CHARS).collect();
    if shown.len() < metadata.len() {
        shown.push('…');
    }
    let Entry { seq, at, event_type, user_id, .. } = entry;
    Ok(printable(&format!("{seq:>8}  {at}  {event_type:<26}  {user_id}  {shown}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_that_steers_no_terminal() {
        let shown = line(
            r#"{"seq":7,"at":"2026-05-01T20:15:00Z","eventType":"coliseum.vote_cast","userId":"u\n1","metadata":{"a":"ü","b":1.50},"more":1}"#,
        )
        .expect("an entry");
        assert_eq!(
            shown,
            "       7  2026-05-01T20:15:00Z  coliseum.vote_cast          u\\n1  {\"a\":\"ü\",\"b\":1.50}"
        );
        assert!(line("{}").is_err());
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let problem = |status| {
            anyhow::Error::from(ClientError::Problem(super::super::client::RemoteProblem {
                status,
                ..Default::default()
            }))
        };
        assert!(may_pass(&problem(503)) && !may_pass(&problem(400)));
        assert!(may_pass(&StreamBroke(io::Error::other("x")).into()));
        assert!(!may_pass(&io::Error::from(io::ErrorKind::BrokenPipe).into()), "nobody reads stdout any more");
    }
}
