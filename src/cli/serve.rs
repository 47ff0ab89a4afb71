//! `coliseum serve`: the daemon, until a signal or a fault ends it.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;

use super::{Failure, Outcome, Place, Status, init_log, signal};
use crate::clock::SystemClock;
use crate::config::{self, Config, Overrides};
use crate::daemon::{self, notify::Notifier, passed_socket};

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  coliseum serve
  coliseum serve --data-dir /var/lib/coliseum --listen 127.0.0.1:7878
  COLISEUM_LOG=debug coliseum serve --config /etc/coliseum.toml

A flag goes before the environment, the environment before the file, the file before the defaults.
SIGTERM and Ctrl-C stop it in order: what was accepted is finished, then exit 0.")]
pub struct ServeArgs {
    #[command(flatten)]
    pub place: Place,
    /// IP address and port to serve HTTP on [default: 127.0.0.1:7878]
    #[arg(long, env = "COLISEUM_LISTEN", value_name = "ADDR", value_parser = config::parse_listen)]
    pub listen: Option<SocketAddr>,
}

pub fn run(args: &ServeArgs, log: Option<&str>) -> Outcome {
    // Before there is a second thread: it changes the environment.
    let passed = passed_socket::take()?;
    let overrides = Overrides { listen: args.listen, log_level: log.map(String::from), ..args.place.overrides() };
    let config = Config::load(&overrides)?;
    init_log(config.log.format, &config.log.level);
    let signals = signal::stop_signals()?;
    let (file, data_dir) = (Config::file(&overrides), config.data_dir.display().to_string());
    let shutdown_timeout = config.shutdown_timeout;
    let notifier = Notifier::start()?;
    let tell = |read, of| notifier.opening(read, of);
    let running = daemon::start_on(config, Arc::new(SystemClock), passed, &tell)
        .inspect_err(|error| notifier.failed(&format!("cannot start: {error:#}")))?;
    notifier.serving(running.standing());
    let config_file = file.map(|file| file.display().to_string());
    tracing::info!(address = %running.address(), data_dir, config_file, "serving");
    crossbeam_channel::select! {
        recv(signals) -> name => tracing::info!(signal = name.unwrap_or("none"), "stopping"),
        recv(running.failures()) -> failure => {
            let what = failure.unwrap_or_else(|_| "the daemon ended by itself".into());
            tracing::error!(what, "the daemon cannot go on");
            notifier.failed(&format!("cannot go on: {what}"));
            // What was acknowledged is on disk; the next start recovers.
            return Err(Failure::Failed(anyhow::anyhow!("{what}; stopped, start it again once that is mended")));
        }
    }
    notifier.stopping(shutdown_timeout);
    running.shutdown()?;
    tracing::info!("stopped");
    Ok(Status::Good)
}
