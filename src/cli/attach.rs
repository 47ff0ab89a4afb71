//! The daemon that a command talks to: the one that runs on the data directory, else one in this process.
//!
//! A daemon holds an exclusive lock on `<data>/lock` and names its address in `<data>/daemon.json`. The lock is what
//! counts: a `daemon.json` without it was left by a crash, and its port may be another program's by now.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;

use super::client::{Client, ClientError, Request};
use super::output::{Unit, note, progress};
use super::{Status, owner, signal};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::daemon::{self, Running};

/// How long a daemon that holds the lock may take to say where it listens.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks at something that another process does.
const POLL: Duration = Duration::from_millis(50);

/// Whether a command only looks, or makes a log where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Read,
    Write,
}

/// A client, and the daemon of this process where it talks to one.
pub struct Attached {
    pub client: Client,
    own: Arc<Mutex<Option<Running>>>,
}

/// `daemon.json`.
#[derive(serde::Deserialize)]
struct DaemonFile {
    pid: u32,
    address: SocketAddr,
}

/// One consumer of `GET /api/passport/consumers`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    pub name: String,
    pub applied_seq: u64,
    #[serde(default)]
    pub state: String,
}

/// `GET /api/passport/consumers`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumers {
    pub head_seq: u64,
    pub consumers: Vec<Consumer>,
}

impl Consumers {
    pub fn get(client: &mut Client) -> Result<Consumers, ClientError> {
        client.get_json("/api/passport/consumers")
    }
    /// How far the slowest consumer is.
    pub fn applied(&self) -> u64 {
        self.applied_by(None)
    }
    /// How far one consumer is; the slowest unless one is named.
    pub fn applied_by(&self, name: Option<&str>) -> u64 {
        self.named(name).map(|consumer| consumer.applied_seq).min().unwrap_or(self.head_seq)
    }
    /// The consumer of that name; all unless one is named.
    pub fn named(&self, name: Option<&str>) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter().filter(move |consumer| name.is_none_or(|name| consumer.name == name))
    }
}

impl Attached {
    /// Finds the daemon of the configured data directory, or starts one.
    ///
    /// # Errors
    /// There is no log to read; the log is damaged; a process that holds the directory does not answer.
    pub fn open(config: &Config, purpose: Purpose) -> anyhow::Result<Attached> {
        let dir = &config.data_dir;
        if dir.join("daemon.json").exists() && is_locked(dir)? {
            return Attached::other(dir);
        }
        if purpose == Purpose::Read && !dir.join("passport").is_dir() && !is_locked(dir)? {
            anyhow::bail!(
                "{} holds no log; name its directory with --data-dir, or make one with `coliseum serve` or \
                 `coliseum import`",
                dir.display()
            );
        }
        owner::warn_others(dir);
        let mut own = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config.clone() };
        // A command is not the daemon whose schedule that is.
        own.snapshots.every = Duration::ZERO;
        match daemon::start(own, Arc::new(SystemClock)) {
            Ok(running) => {
                let client = Client::new(running.address());
                let own = Arc::new(Mutex::new(Some(running)));
                if purpose == Purpose::Read {
                    stop_on_signal(own.clone())?;
                }
                Ok(Attached { client, own })
            }
            // A daemon that starts has the lock before it says where it listens.
            Err(_) if is_locked(dir).unwrap_or(false) => Attached::other(dir),
            Err(error) => Err(error),
        }
    }

    /// The daemon of another process that holds the directory.
    fn other(dir: &Path) -> anyhow::Result<Attached> {
        let address = address_of_holder(dir)?;
        Ok(Attached { client: Client::new(address), own: Arc::default() })
    }

    /// Whether the daemon ends with this command.
    pub fn is_own(&self) -> bool {
        self.own.lock().is_some()
    }

    /// Waits until the projection of that name holds what the log holds now, every one unless one is named, and shows how
    /// far they are.
    pub fn wait_applied(&mut self, name: Option<&str>, patience: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + patience;
        let head = Consumers::get(&mut self.client)?.head_seq;
        let bar = progress("applying the log", Unit::Entries, head);
        loop {
            let now = Consumers::get(&mut self.client)?;
            let applied = now.applied_by(name);
            bar.set_position(applied.min(head));
            if applied >= head || Instant::now() > deadline {
                bar.finish_and_clear();
                return Ok(applied >= head);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Stops the daemon of this process, if there is one.
    pub fn close(self) -> anyhow::Result<()> {
        let Attached { client, own } = self;
        drop(client);
        let running = own.lock().take();
        match running {
            Some(running) => running.shutdown().context("stopping the daemon of this command"),
            None => Ok(()),
        }
    }
}

/// Where the daemon that holds `dir` listens.
///
/// # Errors
/// None runs on it; or one does and does not answer.
pub fn running_address(dir: &Path) -> anyhow::Result<SocketAddr> {
    if !is_locked(dir)? {
        anyhow::bail!("no daemon runs on {}; start one with `coliseum serve --data-dir {0}`", dir.display());
    }
    address_of_holder(dir)
}

fn address_of_holder(dir: &Path) -> anyhow::Result<SocketAddr> {
    let deadline = Instant::now() + ADDRESS_TIMEOUT;
    loop {
        let file = std::fs::read(dir.join("daemon.json")).ok();
        let named = file.and_then(|bytes| serde_json::from_slice::<DaemonFile>(&bytes).ok());
        if let Some(DaemonFile { pid, address }) = named {
            let answered = Client::new(address).send(Request::get("/healthz")).map(drop);
            match answered {
                Ok(()) => return Ok(address),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("process {pid} holds {}", dir.display()));
                }
                Err(_) => {}
            }
        } else if Instant::now() > deadline {
            anyhow::bail!("a process holds {} and does not say where it listens; is it still starting?", dir.display());
        }
        std::thread::sleep(POLL);
    }
}

/// Whether a process holds the lock of `dir`. Asks with a shared lock, so that two who ask do not meet.
pub(super) fn is_locked(dir: &Path) -> anyhow::Result<bool> {
    let path = dir.join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// On Ctrl-C stops the daemon of this process in order, then ends the process.
fn stop_on_signal(own: Arc<Mutex<Option<Running>>>) -> anyhow::Result<()> {
    let signals = signal::stop_signals()?;
    std::thread::Builder::new().name("stop-on-signal".into()).spawn(move || {
        if signals.recv().is_ok() {
            let running = own.lock().take();
            if let Some(Err(error)) = running.map(Running::shutdown) {
                note(&format!("error: {error:#}"));
            }
            std::process::exit(Status::Interrupted as i32);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        Config { data_dir: dir.to_path_buf(), ..Config::default() }
    }

    #[test]
    fn a_directory_without_a_log_is_not_made_by_looking_at_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("typo");
        let error = Attached::open(&config(&missing), Purpose::Read).err().expect("no log").to_string();
        assert!(error.contains("holds no log") && error.contains("--data-dir"), "{error}");
        assert!(!missing.exists());
    }

    #[test]
    fn the_lock_decides_whether_a_daemon_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let stale = r#"{"pid":1,"address":"127.0.0.1:9"}"#;
        std::fs::write(dir.path().join("daemon.json"), stale).expect("written");
        let error = running_address(dir.path()).expect_err("nobody holds it").to_string();
        assert!(error.contains("no daemon runs") && error.contains("coliseum serve"), "{error}");
        let lock = File::create(dir.path().join("lock")).expect("made");
        assert!(!is_locked(dir.path()).expect("asked"));
        lock.try_lock().expect("free");
        assert!(is_locked(dir.path()).expect("asked"));
    }
}
