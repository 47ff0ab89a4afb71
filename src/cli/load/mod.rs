//! `coliseum load`: requests at a daemon, and how long each took.
//!
//! Closed loop: each connection sends its next request when the last one was answered. Open loop (`--rate`): requests
//! are due at fixed instants whatever the daemon does, and a latency counts from the instant the request was due, so
//! that a daemon that stalls cannot hide the requests it held up.

mod connection;
mod histogram;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};

use self::connection::Connection;
use self::histogram::Histogram;
use super::attach::running_address;
use super::client::{Client, Request};
use super::generate::Generator;
use super::output::{self, grouped, note};
use super::{Outcome, Place, Status};
use crate::clock::{Clock, SystemClock};
use crate::{config, limits};

/// Failures in a row after which a connection gives up.
const FAILURES_MAX: u32 = 100;
const PERCENTILES: [(&str, u64); 4] = [("p50", 50_000), ("p90", 90_000), ("p99", 99_000), ("p99.9", 99_900)];

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum load single --connections 64 --duration 10
  coliseum load batch --batch 1000 --requests 500 --json
  coliseum load read --path /api/coliseum/leaderboards/a/7d --connections 16
  coliseum load single --rate 5000 --duration 30

It writes plausible events with fresh keys into the log of the daemon: point it at one that may have them.
Exit codes: 0 good; 1 some requests failed; 2 usage.")]
pub struct LoadArgs {
    /// What to send
    #[arg(value_enum, default_value = "single")]
    mode: Mode,
    #[command(flatten)]
    place: Place,
    /// Address of the daemon, such as 127.0.0.1:7878 [default: the one that runs on the data directory]
    #[arg(long, env = "COLISEUM_LISTEN", value_name = "ADDR", value_parser = config::parse_listen)]
    listen: Option<SocketAddr>,
    /// URL of the daemon, such as http://127.0.0.1:7878
    #[arg(long, value_name = "URL", conflicts_with = "listen")]
    url: Option<String>,
    /// Connections at once
    #[arg(long, short, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Stop after so many seconds [default: 10, unless --requests is given]
    #[arg(long, short, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: Option<u64>,
    /// Stop after so many requests
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Open loop: so many requests a second, due at even distances
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// Events in one request of the mode batch
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=limits::BATCH_EVENTS_MAX as i64))]
    batch: u32,
    /// What the mode read gets
    #[arg(long, value_name = "PATH", default_value = "/api/coliseum/leaderboards/a/7d")]
    path: String,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One event a request: POST /api/passport/log
    Single,
    /// Many events a request: POST /api/passport/batch as NDJSON
    Batch,
    /// GET --path
    Read,
}

/// What all connections share; they take turns on one thread.
struct Shared {
    args: Plan,
    sent: Cell<u64>,
    deadline: Option<Instant>,
    /// The instants at which requests are due, in the open loop.
    due: Option<Mutex<mpsc::UnboundedReceiver<Instant>>>,
    figures: RefCell<Figures>,
}

/// What every connection does.
struct Plan {
    mode: Mode,
    address: SocketAddr,
    host: String,
    requests_max: u64,
    batch: u32,
    path: String,
}

/// What was measured.
#[derive(Default)]
struct Figures {
    latency: Histogram,
    events: u64,
    bytes_received: u64,
    /// By status, or by what broke.
    failures: BTreeMap<String, u64>,
    /// The first answer that was no 2xx.
    first_failure: Option<String>,
}

pub fn run(args: &LoadArgs) -> Outcome {
    let (address, host) = destination(args)?;
    Client::new(address).send(Request::get("/healthz"))?;
    let plan = Plan {
        mode: args.mode,
        address,
        host,
        requests_max: args.requests.unwrap_or(u64::MAX),
        batch: args.batch,
        path: args.path.clone(),
    };
    let seconds = args.duration.or(args.requests.is_none().then_some(10));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    let shared = Rc::new(Shared {
        sent: Cell::new(0),
        deadline: seconds.map(|seconds| started + Duration::from_secs(seconds)),
        due: args.rate.map(|rate| pace(rate, started, seconds, plan.requests_max)).transpose()?,
        figures: RefCell::default(),
        args: plan,
    });
    let mut generator = Generator::unique("load")?;
    let tasks = tokio::task::LocalSet::new();
    for place in 0..usize::from(args.connections) {
        tasks.spawn_local(drive(shared.clone(), generator.fork(place)));
    }
    runtime.block_on(tasks);
    let seconds = started.elapsed().as_secs_f64();
    let unsent = unsent(&shared);
    let figures = shared.figures.borrow();
    report(args, &figures, seconds, unsent)?;
    Ok(if figures.failures.is_empty() { Status::Good } else { Status::Failed })
}

/// The address and the `Host` of the daemon to load.
fn destination(args: &LoadArgs) -> anyhow::Result<(SocketAddr, String)> {
    let host = match (&args.url, args.listen) {
        (Some(url), _) => {
            let rest = url.strip_prefix("http://").with_context(|| format!("{url} does not start with http://"))?;
            let host = rest.trim_end_matches('/');
            anyhow::ensure!(!host.contains('/'), "{url} has a path; name it with --path");
            if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
                host.to_string()
            } else {
                format!("{host}:80")
            }
        }
        (None, Some(listen)) => listen.to_string(),
        (None, None) => running_address(&args.place.load()?.data_dir)?.to_string(),
    };
    let address = host.to_socket_addrs().with_context(|| host.clone())?.next().with_context(|| host.clone())?;
    Ok((address, host))
}

/// A thread that says when each request is due: a timer of the runtime would be late by up to a millisecond.
fn pace(
    rate: u64,
    started: Instant,
    seconds: Option<u64>,
    requests_max: u64,
) -> std::io::Result<Mutex<mpsc::UnboundedReceiver<Instant>>> {
    let (sender, due) = mpsc::unbounded_channel();
    let total = seconds.map_or(u64::MAX, |seconds| seconds.saturating_mul(rate)).min(requests_max);
    std::thread::Builder::new().name("pace".into()).spawn(move || {
        for number in 0..total {
            let due = started + due_after(number, rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(due).is_err() {
                return;
            }
        }
    })?;
    Ok(Mutex::new(due))
}

/// When request `number` is due, from the start.
fn due_after(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Requests that were due and that no connection was free for.
fn unsent(shared: &Shared) -> u64 {
    let Some(Ok(mut due)) = shared.due.as_ref().map(Mutex::try_lock) else { return 0 };
    let mut count = 0;
    while due.try_recv().is_ok() {
        count += 1;
    }
    count
}

/// One connection: request after request until the end.
async fn drive(shared: Rc<Shared>, mut generator: Generator) {
    let plan = &shared.args;
    let mut connection = Connection::new(plan.address);
    let (mut request, mut body) = (Vec::new(), Vec::new());
    let mut failures_in_a_row = 0;
    while failures_in_a_row < FAILURES_MAX && shared.sent.get() < plan.requests_max {
        let due = match &shared.due {
            None => Instant::now(),
            Some(due) => match due.lock().await.recv().await {
                Some(due) => due,
                None => return,
            },
        };
        if shared.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return;
        }
        shared.sent.set(shared.sent.get() + 1);
        prepare(plan, &mut generator, &mut request, &mut body);
        let started = if shared.due.is_some() { due } else { Instant::now() };
        let answered = connection.exchange(&request).await;
        let latency = started.elapsed();
        let mut figures = shared.figures.borrow_mut();
        let good = figures.count(plan, latency, answered, &connection);
        failures_in_a_row = if good { 0 } else { failures_in_a_row + 1 };
    }
}

/// Writes the next request.
fn prepare(plan: &Plan, generator: &mut Generator, request: &mut Vec<u8>, body: &mut Vec<u8>) {
    request.clear();
    body.clear();
    let now = SystemClock.now();
    let head = match plan.mode {
        Mode::Read => Request::get(&plan.path),
        Mode::Single => {
            generator.event(now, body);
            Request::post("/api/passport/log", &[("Content-Type", "application/json")], body)
        }
        Mode::Batch => {
            for _ in 0..plan.batch {
                generator.event(now, body);
                body.push(b'\n');
            }
            Request::post("/api/passport/batch", &[("Content-Type", "application/x-ndjson")], body)
        }
    };
    request.extend_from_slice(&head.head(&plan.host));
    request.extend_from_slice(body);
}

impl Figures {
    /// Counts one answer; whether it was the wanted one.
    fn count(
        &mut self,
        plan: &Plan,
        latency: Duration,
        answered: std::io::Result<u16>,
        connection: &Connection,
    ) -> bool {
        let status = match answered {
            Ok(status) => status,
            Err(error) => {
                self.fail(error.kind().to_string(), || error.to_string());
                return false;
            }
        };
        self.latency.record(latency);
        self.bytes_received += connection.body().len() as u64;
        if !(200..300).contains(&status) {
            self.fail(status.to_string(), || String::from_utf8_lossy(connection.body()).into_owned());
            return false;
        }
        let accepted = match plan.mode {
            Mode::Read => 0,
            Mode::Single => u64::from(status == 201),
            Mode::Batch => accepted(connection.body()),
        };
        self.events += accepted;
        let whole = plan.mode != Mode::Batch || accepted == u64::from(plan.batch);
        if !whole {
            self.fail("rejected".into(), || String::from_utf8_lossy(connection.body()).into_owned());
        }
        whole
    }

    fn fail(&mut self, kind: String, what: impl FnOnce() -> String) {
        *self.failures.entry(kind).or_default() += 1;
        self.first_failure.get_or_insert_with(what);
    }
}

/// `accepted` of a batch's answer; 0 where it has none.
fn accepted(body: &[u8]) -> u64 {
    #[derive(serde::Deserialize)]
    struct Answer {
        accepted: u64,
    }
    serde_json::from_slice::<Answer>(body).map_or(0, |answer| answer.accepted)
}

fn milliseconds(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e6).round() / 1e3
}

fn report(args: &LoadArgs, figures: &Figures, seconds: f64, unsent: u64) -> anyhow::Result<()> {
    let requests = figures.latency.count();
    let per_second = |count: u64| (count as f64 / seconds).round();
    if args.json {
        let mut latency: serde_json::Map<String, serde_json::Value> = PERCENTILES
            .iter()
            .map(|(name, share)| (name.to_string(), milliseconds(figures.latency.percentile(*share)).into()))
            .collect();
        latency.insert("max".into(), milliseconds(figures.latency.max()).into());
        latency.insert("mean".into(), milliseconds(figures.latency.mean()).into());
        output::print_json(&json!({
            "mode": format!("{:?}", args.mode).to_lowercase(), "connections": args.connections, "rate": args.rate,
            "batch": (args.mode == Mode::Batch).then_some(args.batch), "seconds": (seconds * 1e3).round() / 1e3,
            "requests": requests, "requests_per_s": per_second(requests),
            "events": figures.events, "events_per_s": per_second(figures.events),
            "body_bytes_received": figures.bytes_received, "unsent": unsent,
            "failures": figures.failures, "latency_ms": latency,
        }))?;
    } else {
        let mut text =
            format!("{} requests in {seconds:.1} s: {}/s", grouped(requests), grouped(per_second(requests) as u64));
        if args.mode != Mode::Read {
            text.push_str(&format!(
                "; {} events: {}/s",
                grouped(figures.events),
                grouped(per_second(figures.events) as u64)
            ));
        }
        text.push_str("\nlatency");
        for (name, share) in PERCENTILES {
            text.push_str(&format!("  {name} {:.3} ms", milliseconds(figures.latency.percentile(share))));
        }
        text.push_str(&format!("  max {:.3} ms\n", milliseconds(figures.latency.max())));
        if unsent > 0 {
            text.push_str(&format!(
                "{} requests were due and not sent: the rate is more than it takes\n",
                grouped(unsent)
            ));
        }
        output::print(&text)?;
    }
    if let Some(first) = &figures.first_failure {
        let first: String = output::printable(first).chars().take(300).collect();
        note(&format!("failures: {:?}; the first: {first}", figures.failures));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances_that_do_not_drift() {
        assert_eq!(due_after(0, 3), Duration::ZERO);
        assert_eq!(due_after(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(due_after(3_000_000_000, 3), Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn a_batch_counts_what_was_accepted() {
        assert_eq!(accepted(br#"{"accepted":7,"duplicates":0}"#), 7);
        assert_eq!(accepted(b"nonsense"), 0);
    }
}
