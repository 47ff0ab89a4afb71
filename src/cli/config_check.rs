//! `coliseum config check`: whether the daemon would start with this configuration.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Outcome, Place, Status, output};
use crate::config::Config;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  coliseum config check --config /etc/coliseum.toml")]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say OK, or every problem of the configuration
    Check(CheckArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum config check
  coliseum config check --config /etc/coliseum.toml --json

Exit codes: 0 good; 2 a problem, which is named with its key, what the key takes, and the file.")]
struct CheckArgs {
    #[command(flatten)]
    place: Place,
    /// Print {ok, file, problems}
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ConfigArgs) -> Outcome {
    let ConfigCommand::Check(args) = &args.command;
    let file = Config::file(&args.place.overrides()).map(|file| file.display().to_string());
    let checked = args.place.load();
    if args.json {
        let problems = checked.as_ref().err().map(|error| error.problems.clone()).unwrap_or_default();
        output::print_json(&json!({"ok": checked.is_ok(), "file": file, "problems": problems}))?;
    }
    match checked {
        Err(error) => Err(Failure::Usage(error.to_string())),
        Ok(_) if args.json => Ok(Status::Good),
        Ok(_) => {
            output::print(&format!("OK: {}\n", file.as_deref().unwrap_or("no file, all defaults")))?;
            Ok(Status::Good)
        }
    }
}
