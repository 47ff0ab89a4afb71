//! The daemon as tests start it: in this process with a clock of their own, or as the real binary.
#![allow(dead_code, reason = "each test file asks for its own part of the harness")]

pub mod binary;
pub mod compare;
pub mod http;
pub mod load;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coliseum::clock::{Clock, ManualClock, SystemClock};
use coliseum::config::Config;
use coliseum::daemon::{self, Running};
use coliseum::units::Timestamp;

use crate::model::Model;
use crate::model::json::{Json, object, text};
use crate::model::time;
use http::Client;

/// How long anything may take before a test gives it up. Never waited for: polls end as soon as they can.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two polls, so that a test that waits leaves the processor to what it waits for.
pub const POLL_PAUSE: Duration = Duration::from_millis(1);

/// The rates of every daemon that runs in this process. The last is so small that a cent of it rounds to nothing.
pub const RATES: &[(&str, &str)] = &[("eur", "1.08"), ("gbp", "1.2735"), ("jpy", "0.0000493")];

/// The configuration of every daemon that runs in this process: the smallest segments, some rates.
fn config_text(more: &str) -> String {
    let rates = RATES.iter().map(|(currency, rate)| format!("{currency} = {rate}\n"));
    format!("[passport]\nsegment_bytes = 65536\n\n[scoring.fx]\n{}{more}", rates.collect::<String>())
}

/// The one place that knows how a daemon is started in this process.
fn start(data_dir: &Path, more_config: &str, clock: Arc<dyn Clock>) -> Running {
    let mut config = Config::from_toml(&config_text(more_config)).expect("the test's configuration is good");
    config.data_dir = data_dir.to_owned();
    config.listen = "127.0.0.1:0".parse().expect("an address");
    daemon::start(config, clock).expect("the daemon starts")
}

/// Polls until there is a value; panics after the deadline.
pub fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(POLL_PAUSE);
    }
}

/// A daemon in this process with its own directory.
pub struct Daemon {
    running: Option<Running>,
    pub client: Client,
    directory: tempfile::TempDir,
    clock: Option<Arc<ManualClock>>,
    more_config: &'static str,
}

impl Daemon {
    /// On the machine's clock.
    pub fn start() -> Daemon {
        Daemon::with(None, "")
    }
    /// On the machine's clock, with these sections in its configuration.
    pub fn start_with(more_config: &'static str) -> Daemon {
        Daemon::with(None, more_config)
    }
    /// On a clock that stands at `now` until it is moved.
    pub fn start_at(now: i64) -> Daemon {
        Daemon::with(Some(Arc::new(ManualClock::new(Timestamp::from_micros(now)))), "")
    }
    /// The same with these sections in its configuration.
    pub fn start_at_with(now: i64, more_config: &'static str) -> Daemon {
        Daemon::with(Some(Arc::new(ManualClock::new(Timestamp::from_micros(now)))), more_config)
    }
    fn with(clock: Option<Arc<ManualClock>>, more_config: &'static str) -> Daemon {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut daemon =
            Daemon { running: None, client: Client { address: String::new() }, directory, clock, more_config };
        daemon.resume();
        daemon
    }
    fn resume(&mut self) {
        let clock: Arc<dyn Clock> = match &self.clock {
            Some(clock) => clock.clone(),
            None => Arc::new(SystemClock),
        };
        let data = self.data_dir();
        copy_tree(&data.join("projections"), &self.older_projections());
        let running = start(&data, self.more_config, clock);
        self.client.address = running.address().to_string();
        self.running = Some(running);
        until("/readyz is 200", || (self.client.get("/readyz").status == 200).then_some(()));
    }
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }
    /// The projections as they were when it started last.
    fn older_projections(&self) -> std::path::PathBuf {
        self.directory.path().join("older")
    }
    pub fn set_now(&self, now: i64) {
        self.clock.as_ref().expect("a daemon on a manual clock").set(Timestamp::from_micros(now));
    }
    /// Stops it, as SIGTERM does or as SIGKILL would, does `meanwhile` to its directory, and starts it again.
    pub fn restart(&mut self, is_clean: bool, meanwhile: impl FnOnce(&Path)) {
        let running = self.running.take().expect("it runs");
        running.shutdown().expect("a clean stop");
        if !is_clean {
            // What a crash leaves: the whole log, and projections as their last synced checkpoint had them.
            let _ = std::fs::remove_dir_all(self.data_dir().join("projections"));
            copy_tree(&self.older_projections(), &self.data_dir().join("projections"));
        }
        meanwhile(&self.data_dir());
        self.resume();
    }
    /// Stops it in order, does `meanwhile` to its directory, and starts it again with other sections in its configuration.
    pub fn restart_with(&mut self, more_config: &'static str, meanwhile: impl FnOnce(&Path)) {
        self.more_config = more_config;
        self.restart(true, meanwhile);
    }
    /// The newest seq, as the daemon itself says.
    pub fn head(&self) -> u64 {
        head(&self.client)
    }
    /// Stores one good event and says so: the next seq after `head`, so that nothing else was stored before it.
    pub fn assert_works_after(&self, head: u64, what: &str) {
        let answer = self.client.post_json("/api/passport/log", &good_event());
        assert_eq!(answer.status, 201, "the next good request after {what}: {}", answer.text());
        assert_eq!(answer.json().at("seq").as_integer() as u64, head + 1, "{what} stored something");
    }
}

/// Makes `to` a copy of `from`, or nothing where that is nothing.
fn copy_tree(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let Ok(entries) = std::fs::read_dir(from) else { return };
    std::fs::create_dir_all(to).expect("a directory for the copy");
    for entry in entries {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

pub fn head(client: &Client) -> u64 {
    client.get("/api/passport/consumers").expect(200).at("headSeq").as_integer() as u64
}

/// A vote without a key: good as often as it is sent.
pub fn good_event() -> Json {
    object([
        ("type", text("coliseum.vote_cast")),
        ("userId", text("u1")),
        ("at", text("2024-02-29T12:00:01Z")),
        ("artistId", text("a1")),
        ("eventId", text("e1")),
    ])
}

/// Every entry of the log by `export`, oldest first.
pub fn export(client: &Client) -> Vec<Json> {
    let answer = client.get("/api/passport/export");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(|line| Json::parse(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
}

/// The machine's clock in microseconds.
pub fn now() -> i64 {
    SystemClock.now().micros()
}

/// A model with the rates of [`RATES`].
pub fn model() -> Model {
    Model::new(RATES)
}

/// The instant of an RFC 3339 text that is known to be good.
pub fn micros(rfc3339: &str) -> i64 {
    time::parse(rfc3339).expect("RFC 3339")
}
