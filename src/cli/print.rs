//! `coliseum print` and `coliseum completions`: the files that go with the daemon.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Cli, Outcome, Status, output};
use crate::{api, config};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum print config > config.toml
  coliseum print openapi | jq .paths")]
pub struct PrintArgs {
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The configuration file: every key with its default, its unit and a comment
    Config,
    /// The OpenAPI 3.1 description of the HTTP API
    Openapi,
}

pub fn run(args: &PrintArgs) -> Outcome {
    match args.what {
        What::Config => output::print(config::DEFAULT_FILE)?,
        What::Openapi => output::print(&format!("{}\n", api::openapi_json().trim_end()))?,
    }
    Ok(Status::Good)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum completions bash > /etc/bash_completion.d/coliseum
  coliseum completions zsh > ~/.zfunc/_coliseum")]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn completions(args: &CompletionsArgs) -> Outcome {
    // Into memory first: the generator panics where stdout is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "coliseum", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Status::Good)
}
