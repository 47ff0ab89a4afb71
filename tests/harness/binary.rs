//! The real binary in a process of its own: started, signalled, and asked from outside.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use super::http::Client;
use super::{DEADLINE, POLL_PAUSE, until};
use crate::model::json::Json;

pub const EXE: &str = env!("CARGO_BIN_EXE_coliseum");

/// A running `coliseum serve`. Dropping it kills it.
pub struct Binary {
    child: Child,
    pub client: Client,
    log_file: PathBuf,
}

impl Binary {
    /// Starts it on a port that the system picks, and waits until it is ready.
    pub fn start(data_dir: &Path) -> Binary {
        // A file of an earlier process would name a port that nobody listens on any more.
        let pid_of = |address: &Json| address.get("pid").map(Json::as_integer);
        let log_file = data_dir.with_extension("stderr");
        let stderr = File::create(&log_file).expect("the test's directory is writable");
        let child = serve(data_dir).stdout(Stdio::null()).stderr(stderr).spawn().expect("the binary starts");
        let mut binary = Binary { child, client: Client { address: String::new() }, log_file };
        let address = until("daemon.json with this pid", || {
            binary.assert_alive();
            let text = std::fs::read_to_string(data_dir.join("daemon.json")).ok()?;
            let file = Json::parse(&text).ok().filter(|file| pid_of(file) == Some(i64::from(binary.child.id())))?;
            Some(file.at("address").as_text().to_owned())
        });
        binary.client.address = address;
        until("/readyz is 200", || {
            binary.assert_alive();
            let answer = binary.client.try_request("GET", "/readyz", &[], b"").ok()?;
            (answer.status == 200).then_some(())
        });
        binary
    }

    fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
            panic!("the daemon ended with {status}: {}", self.stderr());
        }
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM; gives how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process is ours");
        until("the daemon ends", || self.child.try_wait().expect("a child can be waited for"))
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` on a port that the system picks.
pub fn serve(data_dir: &Path) -> Command {
    let mut command = Command::new(EXE);
    command.arg("serve").arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0"]);
    // Its own directory, so that no config.toml of the repository is read.
    command.current_dir(data_dir.parent().expect("the data directory lies in the test's"));
    command
}

/// A second `serve` on a directory that one holds already: its exit status and standard error.
pub fn serve_expecting_refusal(data_dir: &Path) -> (ExitStatus, String) {
    let log_file = data_dir.with_extension("refused");
    let stderr = File::create(&log_file).expect("the test's directory is writable");
    let mut child = serve(data_dir).stdout(Stdio::null()).stderr(stderr).spawn().expect("the binary starts");
    let started = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return (status, std::fs::read_to_string(&log_file).unwrap_or_default());
        }
        if started.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("the second process was not refused");
        }
        std::thread::sleep(POLL_PAUSE);
    }
}

/// Runs a command of the binary to its end.
pub fn run(words: &[&str], directory: &Path) -> Output {
    Command::new(EXE).args(words).current_dir(directory).output().expect("the binary starts")
}
