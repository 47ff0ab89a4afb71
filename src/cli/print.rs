//! `coliseum print` and `coliseum completions`: the files that go with the daemon.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Cli, Outcome, Status, output};
use crate::{api, config};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum print config > config.toml
  coliseum print openapi | jq .paths
  coliseum print systemd-unit > /etc/systemd/system/coliseum.service
  coliseum print alerts > /etc/prometheus/rules/coliseum.yml")]
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
    /// The systemd unit of the daemon, hardened; it says where the other files go
    SystemdUnit,
    /// The systemd socket unit that may go with it
    SystemdSocket,
    /// Alert rules for Prometheus
    Alerts,
    /// A dashboard for Grafana, to import as JSON
    Grafana,
}

const SYSTEMD_UNIT: &str = include_str!("../packaging/coliseum.service");
const SYSTEMD_SOCKET: &str = include_str!("../packaging/coliseum.socket");
const ALERTS: &str = include_str!("../packaging/alerts.yml");
const GRAFANA: &str = include_str!("../packaging/grafana.json");

pub fn run(args: &PrintArgs) -> Outcome {
    match args.what {
        What::Config => output::print(config::DEFAULT_FILE)?,
        What::Openapi => output::print(&format!("{}\n", api::openapi_json().trim_end()))?,
        What::SystemdUnit => output::print(SYSTEMD_UNIT)?,
        What::SystemdSocket => output::print(SYSTEMD_SOCKET)?,
        What::Alerts => output::print(ALERTS)?,
        What::Grafana => output::print(GRAFANA)?,
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
