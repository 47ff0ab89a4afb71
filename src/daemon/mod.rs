//! SEAM: the wiring of a daemon, to be replaced as a whole; only the signatures hold.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;

/// A daemon that serves, in this process, on threads of its own.
pub struct Running {
    address: SocketAddr,
    failures: crossbeam_channel::Receiver<String>,
}

/// Opens the data directory of `config`, takes its lock, and serves.
///
/// # Errors
/// Another process holds the directory; damage in the log; an address that is taken.
pub fn start(_config: Config, _clock: Arc<dyn Clock>) -> anyhow::Result<Running> {
    anyhow::bail!("this build has no daemon")
}

impl Running {
    /// Where it listens; with port 0 configured, the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Gets one message when the daemon cannot go on (a sync that failed): the process has to end, with a failure.
    pub fn failures(&self) -> crossbeam_channel::Receiver<String> {
        self.failures.clone()
    }
    /// Stops accepting, finishes what was accepted, checkpoints, frees the directory.
    pub fn shutdown(self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The OpenAPI 3.1 description of all routes.
pub fn openapi_json() -> String {
    "{\"openapi\":\"3.1.0\"}".to_string()
}
