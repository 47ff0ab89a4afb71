//! The commands. Each reads its arguments, does one thing, writes data to stdout and messages to stderr.
//!
//! - Commands about a log are HTTP clients of the daemon that runs on the data directory; where none does, one is
//!   started in this process for the time of the command ([`attach`]). There is one code path for both.
//! - Exit codes: 0 good; 1 failed, damaged, or some lines rejected; 2 a command or a configuration that is wrong.
//! - A reader that goes away (`| head`) ends a command quietly.

pub mod attach;
pub mod client;
mod config_check;
mod demo;
mod export;
mod filter;
pub mod generate;
mod import;
#[doc(hidden)]
pub use import::fuzz as import_fuzz;
pub mod load;
pub mod output;
mod owner;
mod print;
mod rebuild;
mod repair;
mod report;
mod restore;
mod serve;
mod signal;
mod snapshot;
mod sse;
mod tail;
mod top;
mod verify;
pub mod wire;

use std::io;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, ConfigError, Overrides};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good = 0,
    /// Failed, damaged, or some lines rejected.
    Failed = 1,
    /// Ended by Ctrl-C, as shells count it.
    Interrupted = 130,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub enum Failure {
    /// The command line or the configuration is wrong: exit code 2.
    Usage(String),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        match error.downcast::<ConfigError>() {
            Ok(error) => Failure::Usage(error.to_string()),
            Err(error) => Failure::Failed(error),
        }
    }
}

impl Failure {
    /// Whether all that failed is that nobody reads stdout any more.
    pub fn is_broken_pipe(&self) -> bool {
        let Failure::Failed(error) = self else { return false };
        error.chain().any(|cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        })
    }
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(message) => f.write_str(message),
            Failure::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

/// What every command returns.
pub type Outcome = Result<Status, Failure>;

/// An exactly-once event log with live leaderboards: one binary, one box, no external database.
#[derive(Debug, Parser)]
#[command(
    name = "coliseum",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  coliseum demo                      something to see, in a throw-away directory
  coliseum                           serve ./data on 127.0.0.1:7878
  coliseum import votes.ndjson.gz    put a file of events into the log
  coliseum top a 7d                  who leads

Exit codes: 0 good; 1 failed, damaged or some lines rejected; 2 usage."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
    /// Log level on stderr: error, warn, info, debug, trace, or by module (info,coliseum::passport=debug)
    #[arg(long, env = "COLISEUM_LOG", global = true, value_name = "LEVEL", value_parser = config::parse_log_level)]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (the default command)
    Serve(serve::ServeArgs),
    /// Show it at work: a throw-away daemon, a stream of events, and boards that move
    Demo(demo::DemoArgs),
    /// Put a file of events into the log
    Import(import::ImportArgs),
    /// Write the log as NDJSON
    Export(export::ExportArgs),
    /// Show a leaderboard
    Top(top::TopArgs),
    /// Write the report of an artist as a page to print, or as JSON or CSV
    Report(report::ReportArgs),
    /// Follow the log of a running daemon
    Tail(tail::TailArgs),
    /// Check every checksum, every seq, and every projection against a recomputation
    Verify(verify::VerifyArgs),
    /// Say what to do about damaged files, and do it with --yes
    Repair(repair::RepairArgs),
    /// Copy the log, complete and checkable, while writes go on
    Snapshot(snapshot::SnapshotArgs),
    /// Make a data directory from a snapshot
    Restore(restore::RestoreArgs),
    /// Build the projections anew from the log
    Rebuild(rebuild::RebuildArgs),
    /// Put load on a running daemon and measure its answers
    Load(load::LoadArgs),
    /// Look at the configuration
    Config(config_check::ConfigArgs),
    /// Print a file that goes with the daemon
    Print(print::PrintArgs),
    /// Print a completion script for a shell
    Completions(print::CompletionsArgs),
}

/// Where the configuration and the log are; the same for all commands.
#[derive(Clone, Debug, Default, Args)]
pub struct Place {
    /// Configuration file; without it ./config.toml, if there is one
    #[arg(long, env = "COLISEUM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory [default: data]
    #[arg(long, env = "COLISEUM_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    fn overrides(&self) -> Overrides {
        Overrides { file: self.config.clone(), data_dir: self.data_dir.clone(), ..Overrides::default() }
    }
    /// The configuration with these flags over it.
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.overrides())
    }
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Outcome {
    let log = cli.log.as_deref();
    match cli.command {
        None => serve::run(&cli.serve, log),
        Some(Command::Serve(args)) => serve::run(&args, log),
        Some(command) => {
            // The commands speak for themselves; the daemon that one may start here only warns.
            init_log(config::LogFormat::Text, log.unwrap_or("warn"));
            run_command(command)
        }
    }
}

fn run_command(command: Command) -> Outcome {
    match command {
        Command::Serve(args) => serve::run(&args, None),
        Command::Demo(args) => demo::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Rebuild(args) => rebuild::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Config(args) => config_check::run(&args),
        Command::Print(args) => print::run(&args),
        Command::Completions(args) => print::completions(&args),
    }
}

/// Sends log lines to stderr: no colours, one event one line, control characters escaped.
fn init_log(format: config::LogFormat, level: &str) {
    let filter = tracing_subscriber::EnvFilter::new(level);
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| output::EscapingStderr);
    // A second subscriber in one process (a test) is refused; the first one goes on.
    let _ = match format {
        config::LogFormat::Text => lines.try_init(),
        config::LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn each_command(command: &mut clap::Command, each: &mut dyn FnMut(&mut clap::Command)) {
        each(command);
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            each_command(inner, each);
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        each_command(&mut Cli::command(), &mut |command| {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{}: no example in {help}", command.get_name());
        });
    }

    #[test]
    fn every_command_that_prints_data_takes_json() {
        let with_json =
            ["import", "top", "tail", "verify", "repair", "snapshot", "restore", "rebuild", "load", "check"];
        each_command(&mut Cli::command(), &mut |command| {
            let has = command.get_arguments().any(|argument| argument.get_id() == "json");
            assert_eq!(has, with_json.contains(&command.get_name()), "{}", command.get_name());
        });
    }

    #[test]
    fn serve_is_what_happens_without_a_command() {
        let cli = Cli::try_parse_from(["coliseum", "--listen", "127.0.0.1:0", "--data-dir", "x"]).expect("good");
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.place.data_dir, Some(PathBuf::from("x")));
    }

    #[test]
    fn what_is_wrong_on_the_command_line_is_refused() {
        for words in [
            vec!["coliseum", "nonsense"],
            vec!["coliseum", "--listen", "nowhere"],
            vec!["coliseum", "top", "x", "7d"],
            vec!["coliseum", "top", "a", "8d"],
            vec!["coliseum", "import"],
            vec!["coliseum", "load", "single", "--rate", "0"],
            vec!["coliseum", "--log", "loud"],
        ] {
            assert_eq!(Cli::try_parse_from(&words).expect_err(&words.join(" ")).exit_code(), 2);
        }
    }

    #[test]
    fn a_reader_that_went_away_is_told_from_other_failures() {
        let gone = Failure::from(anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing"));
        let other = Failure::from(io::Error::from(io::ErrorKind::NotFound));
        assert!(gone.is_broken_pipe() && !other.is_broken_pipe());
    }

    #[test]
    fn a_wrong_configuration_counts_as_usage() {
        let error = ConfigError { file: None, problems: vec!["x".into()] };
        assert_eq!(Failure::from(error.clone()).exit_code(), 2);
        assert_eq!(Failure::from(anyhow::Error::from(error)).exit_code(), 2);
    }
}
