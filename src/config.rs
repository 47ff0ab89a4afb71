//! What a user can set, read once at the start and immutable after it.
//!
//! A value comes from the flag, else the environment, else the file, else the default. The file is TOML; every key it
//! may hold stands in [`keys`] with its bounds, and in `config.toml` with its default (a test holds the two equal).
//! A key that is not known, or a value that a key does not take, stops the start: [`ConfigError`] names the file, the
//! key, what it takes and the nearest known key, for all problems of the file at once.

mod keys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::coliseum::Rules;
use crate::coliseum::plans::Plans;
use crate::limits;

/// The repository's `config.toml`: every key with its default, its unit and a comment.
pub const DEFAULT_FILE: &str = include_str!("../config.toml");

/// The file that is read from the working directory where none is named.
pub const FILE_NAME: &str = "config.toml";

/// All settings of a daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// How long a stop may take.
    pub shutdown_timeout: Duration,
    pub passport: PassportConfig,
    pub capture: CaptureConfig,
    pub http: HttpConfig,
    pub projections: ProjectionsConfig,
    pub snapshots: SnapshotsConfig,
    /// The `[scoring]` section over the default rules, key by key.
    pub scoring: Rules,
    pub plans: Plans,
    pub log: LogConfig,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassportConfig {
    pub segment_bytes: u64,
    pub durability: Durability,
    /// Time between two syncs under [`Durability::Interval`].
    pub sync_interval_ms: u64,
    pub min_free_bytes: u64,
    /// What the scrub reads a second; 0: it does not run.
    pub scrub_bytes_per_second: u64,
    /// Pause between two passes of the scrub.
    pub scrub_interval: Duration,
    /// Idempotency keys in memory before they are written as a run.
    pub key_table_keys: usize,
}

/// When an event is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the sync that covers it.
    Sync,
    /// Before it: a power cut may lose what was answered since the last sync.
    Interval,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    pub at_ahead_seconds_max: u64,
    pub batch_events_max: usize,
    pub batch_bytes_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    pub max_connections: usize,
    pub max_inflight_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionsConfig {
    pub cache_bytes: usize,
    pub retry_attempts: u32,
    pub retry_first_delay_ms: u64,
    /// Entries; 0: writes are never held up.
    pub lag_max: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotsConfig {
    /// Time between two scheduled snapshots; zero: none is scheduled.
    pub every: Duration,
    /// Scheduled snapshots that are kept.
    pub keep: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A level, or levels by module: `info,coliseum::passport=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: PathBuf::from("data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7878)),
            shutdown_timeout: Duration::from_secs(10),
            passport: PassportConfig {
                segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
                durability: Durability::Sync,
                sync_interval_ms: 100,
                min_free_bytes: limits::MIN_FREE_BYTES_DEFAULT,
                scrub_bytes_per_second: limits::SCRUB_BYTES_PER_SECOND_DEFAULT,
                scrub_interval: Duration::from_secs(limits::SCRUB_INTERVAL_SECONDS_DEFAULT),
                key_table_keys: limits::KEY_TABLE_KEYS_DEFAULT,
            },
            capture: CaptureConfig {
                at_ahead_seconds_max: limits::AT_AHEAD_SECONDS_DEFAULT,
                batch_events_max: limits::BATCH_EVENTS_DEFAULT,
                batch_bytes_max: limits::BATCH_BYTES_DEFAULT,
            },
            http: HttpConfig {
                max_connections: limits::HTTP_CONNECTIONS_DEFAULT,
                max_inflight_bytes: limits::INFLIGHT_BYTES_DEFAULT,
            },
            projections: ProjectionsConfig {
                cache_bytes: 32 * 1024 * 1024,
                retry_attempts: 5,
                retry_first_delay_ms: 50,
                lag_max: limits::LAG_MAX_DEFAULT,
            },
            snapshots: SnapshotsConfig { every: Duration::ZERO, keep: limits::SNAPSHOTS_KEPT_DEFAULT },
            scoring: Rules::default(),
            plans: Plans::default(),
            log: LogConfig { format: LogFormat::Text, level: "info".into() },
        }
    }
}

/// What flags and the environment say; they go before the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file to read; without it `./config.toml`, if there is one.
    pub file: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub log_level: Option<String>,
}

/// A configuration that the daemon does not start with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file that was read; `None` where a flag is at fault.
    pub file: Option<PathBuf>,
    /// One sentence each: the key, what it takes, the nearest known one.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            match &self.file {
                Some(file) => write!(f, "{end}{}: {problem}", file.display())?,
                None => write!(f, "{end}{problem}")?,
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads the file that `overrides` name, or `./config.toml` where it exists, and lays the overrides over it.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, an unknown key, a value that its key does not take.
    pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
        let file = Config::file(overrides);
        let mut config = match &file {
            None => Config::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
                    file: file.clone(),
                    problems: vec![format!(
                        "cannot be read: {error}; `coliseum print config > {}` writes one with every default",
                        path.display()
                    )],
                })?;
                Config::from_toml(&text).map_err(|problems| ConfigError { file: file.clone(), problems })?
            }
        };
        if let Some(data_dir) = &overrides.data_dir {
            config.data_dir = data_dir.clone();
        }
        if let Some(listen) = overrides.listen {
            config.listen = listen;
        }
        if let Some(level) = &overrides.log_level {
            config.log.level = level.clone();
        }
        if let Err(problem) = check_listen(config.listen) {
            let file = file.filter(|_| overrides.listen.is_none());
            return Err(ConfigError { file, problems: vec![problem] });
        }
        Ok(config)
    }

    /// The file that [`Config::load`] reads.
    pub fn file(overrides: &Overrides) -> Option<PathBuf> {
        let local = Path::new(FILE_NAME);
        overrides.file.clone().or_else(|| local.exists().then(|| local.to_path_buf()))
    }

    /// The defaults with a file's text over them; on failure every problem of the text.
    pub fn from_toml(text: &str) -> Result<Config, Vec<String>> {
        let table: toml::Table = text.parse().map_err(|error| vec![format!("is not TOML: {error}")])?;
        keys::read(&table)
    }
}

/// Whether the daemon may serve on an address, and what to do where it may not.
pub fn check_listen(listen: SocketAddr) -> Result<(), String> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "listen = \"{listen}\": with no credential configured the daemon serves everything to everyone, so it takes a \
         loopback address only, such as 127.0.0.1:{}; put a proxy that checks credentials before it",
        listen.port()
    ))
}

/// Reads a log level, or a list of them by module, and says what it takes where it is none.
pub fn parse_log_level(text: &str) -> Result<String, String> {
    keys::log_level(text).map(str::to_string).ok_or_else(|| format!("takes {}", keys::LOG_LEVEL_TAKES))
}

/// Reads an address to listen on, and says what it takes where it is none.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("takes {}", keys::ADDRESS_TAKES))
}
