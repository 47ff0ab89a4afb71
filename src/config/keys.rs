//! The list of keys: name, what each takes, and the field it sets. Unknown names are found against the same list.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::{Config, Durability, LogFormat};
use crate::coliseum::Rules;
use crate::coliseum::plans::Domains;
use crate::limits::{self, LEADERBOARD_DEPTH_MAX};

pub(super) const ADDRESS_TAKES: &str = "an IP address and a port, such as \"127.0.0.1:7878\"";
pub(super) const LOG_LEVEL_TAKES: &str =
    "\"error\", \"warn\", \"info\", \"debug\" or \"trace\", or such by module: \"info,coliseum::passport=debug\"";

/// The section whose keys are the scoring rules'; its own reader checks them.
const SCORING: &str = "scoring";
/// A depth without an end.
const UNLIMITED: &str = "unlimited";

/// One key of the file.
struct Key {
    /// With its section: `passport.segment_bytes`.
    name: &'static str,
    takes: Takes,
}

/// What a key's value may be, and where it goes.
enum Takes {
    Path(fn(&mut Config) -> &mut PathBuf),
    Address(fn(&mut Config) -> &mut SocketAddr),
    /// Seconds as a number, or a string with a unit; both bounds inclusive.
    Duration {
        min: Duration,
        max: Duration,
        field: fn(&mut Config) -> &mut Duration,
    },
    /// The same: 0 for never, or a second to a year.
    Interval(fn(&mut Config) -> &mut Duration),
    /// An integer of some unit, both bounds inclusive.
    Integer {
        unit: &'static str,
        min: u64,
        max: u64,
        set: fn(&mut Config, u64),
    },
    Word {
        words: &'static [&'static str],
        /// Gets the word's place in `words`.
        set: fn(&mut Config, usize),
    },
    LogLevel(fn(&mut Config) -> &mut String),
    Domains(fn(&mut Config) -> &mut Domains),
    /// Rows of a board, or all of them.
    Depth(fn(&mut Config) -> &mut Option<u64>),
}

const HOUR: Duration = Duration::from_secs(3600);
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(366 * 86_400);

const KEYS: &[Key] = &[
    Key { name: "data_dir", takes: Takes::Path(|config| &mut config.data_dir) },
    Key { name: "listen", takes: Takes::Address(|config| &mut config.listen) },
    Key {
        name: "shutdown_timeout",
        takes: Takes::Duration { min: Duration::ZERO, max: HOUR, field: |config| &mut config.shutdown_timeout },
    },
    Key {
        name: "passport.segment_bytes",
        takes: Takes::Integer {
            unit: "bytes",
            min: limits::SEGMENT_BYTES_MIN,
            max: limits::SEGMENT_BYTES_MAX,
            set: |config, value| config.passport.segment_bytes = value,
        },
    },
    Key {
        name: "passport.durability",
        takes: Takes::Word {
            words: &["sync", "interval"],
            set: |config, place| config.passport.durability = [Durability::Sync, Durability::Interval][place],
        },
    },
    Key {
        name: "passport.sync_interval_ms",
        takes: Takes::Integer {
            unit: "milliseconds",
            min: 1,
            max: 60_000,
            set: |config, value| config.passport.sync_interval_ms = value,
        },
    },
    Key {
        name: "passport.min_free_bytes",
        takes: Takes::Integer {
            unit: "bytes",
            min: 0,
            max: i64::MAX as u64,
            set: |config, value| config.passport.min_free_bytes = value,
        },
    },
    Key {
        name: "passport.key_table_keys",
        takes: Takes::Integer {
            unit: "keys",
            min: limits::KEY_TABLE_KEYS_MIN as u64,
            max: limits::KEY_TABLE_KEYS_MAX as u64,
            set: |config, value| config.passport.key_table_keys = value as usize,
        },
    },
    Key {
        name: "passport.scrub_bytes_per_second",
        takes: Takes::Integer {
            unit: "bytes",
            min: 0,
            max: 64 << 30,
            set: |config, value| config.passport.scrub_bytes_per_second = value,
        },
    },
    Key {
        name: "passport.scrub_interval",
        takes: Takes::Duration {
            min: Duration::from_millis(100),
            max: HOUR.saturating_mul(24 * 366),
            field: |config| &mut config.passport.scrub_interval,
        },
    },
    Key {
        name: "capture.at_ahead_seconds_max",
        takes: Takes::Integer {
            unit: "seconds",
            min: 0,
            max: 86_400,
            set: |config, value| config.capture.at_ahead_seconds_max = value,
        },
    },
    Key {
        name: "capture.batch_events_max",
        takes: Takes::Integer {
            unit: "events",
            min: 1,
            max: limits::BATCH_EVENTS_MAX as u64,
            set: |config, value| config.capture.batch_events_max = value as usize,
        },
    },
    Key {
        name: "capture.batch_bytes_max",
        takes: Takes::Integer {
            unit: "bytes",
            min: 2 * limits::EVENT_BYTES_MAX as u64,
            max: limits::BATCH_BYTES_MAX as u64,
            set: |config, value| config.capture.batch_bytes_max = value as usize,
        },
    },
    Key {
        name: "http.max_connections",
        takes: Takes::Integer {
            unit: "connections",
            min: 1,
            max: 65_536,
            set: |config, value| config.http.max_connections = value as usize,
        },
    },
    Key {
        name: "http.max_inflight_bytes",
        takes: Takes::Integer {
            unit: "bytes",
            min: 2 * 2 * limits::EVENT_BYTES_MAX as u64,
            max: 64 << 30,
            set: |config, value| config.http.max_inflight_bytes = value as usize,
        },
    },
    Key {
        name: "projections.cache_bytes",
        takes: Takes::Integer {
            unit: "bytes",
            min: 1 << 20,
            max: 64 << 30,
            set: |config, value| config.projections.cache_bytes = value as usize,
        },
    },
    Key {
        name: "projections.retry_attempts",
        takes: Takes::Integer {
            unit: "attempts",
            min: 1,
            max: 100,
            set: |config, value| config.projections.retry_attempts = value as u32,
        },
    },
    Key {
        name: "projections.retry_first_delay_ms",
        takes: Takes::Integer {
            unit: "milliseconds",
            min: 1,
            max: 60_000,
            set: |config, value| config.projections.retry_first_delay_ms = value,
        },
    },
    Key {
        name: "projections.lag_max",
        takes: Takes::Integer {
            unit: "entries",
            min: 0,
            max: 1 << 32,
            set: |config, value| config.projections.lag_max = value,
        },
    },
    Key { name: "snapshots.every", takes: Takes::Interval(|config| &mut config.snapshots.every) },
    Key {
        name: "snapshots.keep",
        takes: Takes::Integer {
            unit: "snapshots",
            min: 1,
            max: limits::SNAPSHOTS_KEPT_MAX as u64,
            set: |config, value| config.snapshots.keep = value as usize,
        },
    },
    Key { name: "plans.free.domains", takes: Takes::Domains(|config| &mut config.plans.free.domains) },
    Key {
        name: "plans.free.leaderboard_depth",
        takes: Takes::Depth(|config| &mut config.plans.free.leaderboard_depth),
    },
    Key { name: "plans.basic.domains", takes: Takes::Domains(|config| &mut config.plans.basic.domains) },
    Key {
        name: "plans.basic.leaderboard_depth",
        takes: Takes::Depth(|config| &mut config.plans.basic.leaderboard_depth),
    },
    Key { name: "plans.pro.domains", takes: Takes::Domains(|config| &mut config.plans.pro.domains) },
    Key { name: "plans.pro.leaderboard_depth", takes: Takes::Depth(|config| &mut config.plans.pro.leaderboard_depth) },
    Key { name: "plans.enterprise.domains", takes: Takes::Domains(|config| &mut config.plans.enterprise.domains) },
    Key {
        name: "plans.enterprise.leaderboard_depth",
        takes: Takes::Depth(|config| &mut config.plans.enterprise.leaderboard_depth),
    },
    Key {
        name: "log.format",
        takes: Takes::Word {
            words: &["text", "json"],
            set: |config, place| config.log.format = [LogFormat::Text, LogFormat::Json][place],
        },
    },
    Key { name: "log.level", takes: Takes::LogLevel(|config| &mut config.log.level) },
];

impl Takes {
    /// As the end of a sentence: "takes …".
    fn describe(&self) -> String {
        match self {
            Takes::Path(_) => "a directory's path as a string".into(),
            Takes::Address(_) => ADDRESS_TAKES.into(),
            Takes::Duration { min, max, .. } => {
                let least = if min.is_zero() { "0".into() } else { format!("{} s", min.as_secs_f64()) };
                let most = max.as_secs() / HOUR.as_secs();
                format!("seconds as a number, or a string such as \"10s\", \"500ms\", \"1m\"; {least} to {most} h")
            }
            Takes::Interval(_) => {
                "0 for never, seconds as a number, or a string such as \"30m\", \"24h\", \"7d\"; 1 s to 366 d".into()
            }
            Takes::Integer { unit, min, max, .. } => format!("an integer of {unit} from {min} to {max}"),
            Takes::Word { words, .. } => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            Takes::LogLevel(_) => LOG_LEVEL_TAKES.into(),
            Takes::Domains(_) => "a list of domains, \"A\", \"T\", \"G\", \"C\", each at most once".into(),
            Takes::Depth(_) => {
                format!("an integer of rows from 0 to {LEADERBOARD_DEPTH_MAX}, or \"{UNLIMITED}\"")
            }
        }
    }

    /// Sets the field; `None` if the value is nothing that this key takes.
    fn apply(&self, config: &mut Config, value: &Value) -> Option<()> {
        match self {
            Takes::Path(field) => {
                let path = value.as_str().filter(|path| !path.is_empty() && !path.contains('\0'))?;
                *field(config) = PathBuf::from(path);
            }
            Takes::Address(field) => *field(config) = value.as_str()?.parse().ok()?,
            Takes::Duration { min, max, field } => {
                let duration = duration(value)?;
                (*min..=*max).contains(&duration).then(|| *field(config) = duration)?;
            }
            Takes::Interval(field) => {
                let is_good = |whole: &Duration| whole.is_zero() || (INTERVAL_MIN..=INTERVAL_MAX).contains(whole);
                *field(config) = duration(value).filter(is_good)?;
            }
            Takes::Integer { min, max, set, .. } => {
                let number = u64::try_from(value.as_integer()?).ok()?;
                (*min..=*max).contains(&number).then(|| set(config, number))?;
            }
            Takes::Word { words, set } => {
                let word = value.as_str()?;
                set(config, words.iter().position(|known| *known == word)?);
            }
            Takes::LogLevel(field) => *field(config) = log_level(value.as_str()?)?.to_string(),
            Takes::Domains(field) => {
                let letters: Option<Vec<&str>> = value.as_array()?.iter().map(Value::as_str).collect();
                *field(config) = Domains::named(letters?)?;
            }
            Takes::Depth(field) => {
                *field(config) = match value {
                    Value::String(word) => (word == UNLIMITED).then_some(None)?,
                    _ => Some(u64::try_from(value.as_integer()?).ok().filter(|depth| *depth <= LEADERBOARD_DEPTH_MAX)?),
                };
            }
        }
        Some(())
    }
}

/// A number of seconds, or a string with a unit.
fn duration(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Integer(seconds) => *seconds as f64,
        Value::Float(seconds) => *seconds,
        Value::String(text) => {
            let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, unit) = text.split_at(unit_at);
            let scale = match unit.trim() {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
            number.parse::<f64>().ok()? * scale
        }
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// A level, or several by module, each `module::path=level`.
pub(super) fn log_level(text: &str) -> Option<&str> {
    let is_level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
    let is_module =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
    let good = text.split(',').all(|part| match part.split_once('=') {
        None => is_level(part),
        Some((module, level)) => is_module(module) && is_level(level),
    });
    good.then_some(text)
}

/// The defaults with `table` over them, or every problem it has.
pub(super) fn read(table: &Table) -> Result<Config, Vec<String>> {
    let mut config = Config::default();
    let mut problems = Vec::new();
    for (name, value) in table {
        match value.as_table() {
            Some(section) if name == SCORING => match Rules::from_toml(section) {
                Ok(rules) => config.scoring = rules,
                Err(error) => problems.push(error.to_string()),
            },
            None if name == SCORING => problems.push(takes_a_section(name)),
            _ => read_named(&mut config, name, value, &mut problems),
        }
    }
    let twice_batch = config.capture.batch_bytes_max.saturating_mul(2);
    if problems.is_empty() && config.http.max_inflight_bytes < twice_batch {
        problems.push(format!(
            "http.max_inflight_bytes = {}: takes at least twice capture.batch_bytes_max, {twice_batch}",
            config.http.max_inflight_bytes
        ));
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Reads what stands under a name: a key's value, or a section and all in it.
fn read_named(config: &mut Config, name: &str, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Table(section) if is_section(name) => {
            for (inner, value) in section {
                read_named(config, &format!("{name}.{inner}"), value, problems);
            }
        }
        _ if is_section(name) => problems.push(takes_a_section(name)),
        Value::Table(_) if KEYS.iter().all(|key| key.name != name) => problems.push(unknown(name, true)),
        _ => set(config, name, value, problems),
    }
}

fn takes_a_section(name: &str) -> String {
    format!("{name} takes a section, [{name}]")
}

fn set(config: &mut Config, name: &str, value: &Value, problems: &mut Vec<String>) {
    match KEYS.iter().find(|key| key.name == name) {
        None => problems.push(unknown(name, false)),
        Some(key) => {
            if key.takes.apply(config, value).is_none() {
                problems.push(format!("{name} = {}: takes {}", shown(value), key.takes.describe()));
            }
        }
    }
}

/// The value as it could stand in the file, cut to a line.
fn shown(value: &Value) -> String {
    let text = value.to_string().replace('\n', " ");
    if text.chars().count() <= 80 { text } else { text.chars().take(80).chain("…".chars()).collect() }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The sentence for a name that is no key, with the nearest one that is.
fn unknown(name: &str, section: bool) -> String {
    let last = |dotted: &str| dotted.rsplit('.').next().unwrap_or(dotted).to_string();
    let alike = |known: &str| {
        let whole = strsim::normalized_damerau_levenshtein(name, known);
        let end = strsim::normalized_damerau_levenshtein(&last(name), &last(known));
        whole.max(end * 0.95)
    };
    let sections = KEYS.iter().filter_map(|key| key.name.rsplit_once('.')).map(|(section, _)| section);
    let known: Vec<&str> =
        if section { sections.chain([SCORING]).collect() } else { KEYS.iter().map(|key| key.name).collect() };
    let nearest = known.into_iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|known| alike(known) >= 0.4) {
        Some(known) if section => format!("[{name}] is no section; the nearest one is [{known}]"),
        Some(known) => format!("{name} is no key; the nearest one is {known}"),
        None => format!("{name} is no key; `coliseum print config` lists all of them"),
    }
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}
