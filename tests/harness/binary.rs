//! The real binary in a process of its own: started, signalled, and asked from outside.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::http::Client;
use super::{DEADLINE, POLL_PAUSE, until};
use crate::model::json::Json;

pub const EXE: &str = env!("CARGO_BIN_EXE_coliseum");

/// How a daemon is started: on which directory, by which configuration, under which tool.
#[derive(Clone, Debug)]
pub struct Launch {
    data_dir: PathBuf,
    /// Where its standard error goes; by default beside the data directory.
    log_file: PathBuf,
    config: Option<PathBuf>,
    under: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    listen: String,
}

impl Launch {
    pub fn on(data_dir: &Path) -> Launch {
        Launch {
            data_dir: data_dir.to_owned(),
            log_file: data_dir.with_extension("stderr"),
            config: None,
            under: Vec::new(),
            environment: Vec::new(),
            listen: "127.0.0.1:0".to_owned(),
        }
    }
    /// Keeps notes (configuration, standard error) in another directory than the one that holds the data.
    pub fn notes_in(mut self, directory: &Path) -> Launch {
        self.log_file = directory.join("daemon.stderr");
        self
    }
    pub fn config(mut self, text: &str) -> Launch {
        let path = self.log_file.with_extension("toml");
        std::fs::write(&path, text).expect("the test's directory is writable");
        self.config = Some(path);
        self
    }
    /// Under a tool that starts it: `["prlimit", "--nofile=64"]`.
    pub fn under<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Launch {
        self.under = words.into_iter().map(Into::into).collect();
        self
    }
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Launch {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
    /// On a port that was free a moment ago: for a daemon that may be unable to write `daemon.json`.
    pub fn on_a_port_of_ours(mut self) -> Launch {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        self.listen = free.expect("a free port").to_string();
        self
    }

    fn command(&self) -> Command {
        let mut words = self.under.iter().cloned().chain([OsString::from(EXE)]);
        let mut command = Command::new(words.next().expect("there is a word"));
        command.args(words).arg("serve").arg("--data-dir").arg(&self.data_dir).args(["--listen", &self.listen]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Its own directory, so that no config.toml of the repository is read.
        command.current_dir(self.data_dir.parent().expect("the data directory lies in the test's"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&self) -> Binary {
        let stderr = File::create(&self.log_file).expect("the test's directory is writable");
        let child = self.command().stderr(stderr).spawn().expect("the binary starts");
        let client = Client { address: self.listen.clone() };
        Binary { child, client, log_file: self.log_file.clone(), is_wrapped: self.wraps() }
    }

    /// Starts it and waits until it answers, ready or not.
    pub fn start_unready(&self) -> Binary {
        let mut binary = self.spawn();
        if self.listen.ends_with(":0") {
            // A file of an earlier process would name a port that nobody listens on any more.
            binary.client.address = until("daemon.json with this pid", || {
                binary.assert_alive();
                let text = std::fs::read_to_string(self.data_dir.join("daemon.json")).ok()?;
                let file = Json::parse(&text).ok()?;
                let is_its = file.get("pid").map(Json::as_integer)
                    == Some(i64::from(binary.daemon_pid()?.as_raw_nonzero().get()));
                is_its.then(|| file.at("address").as_text().to_owned())
            });
        }
        until("/healthz is 200", || {
            binary.assert_alive();
            let answer = binary.client.try_request("GET", "/healthz", &[], b"").ok()?;
            (answer.status == 200).then_some(())
        });
        binary
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) -> Binary {
        let mut binary = self.start_unready();
        until("/readyz is 200", || {
            binary.assert_alive();
            let answer = binary.client.try_request("GET", "/readyz", &[], b"").ok()?;
            (answer.status == 200).then_some(())
        });
        binary
    }

    /// Whether the tool stays as the daemon's parent, rather than becoming it.
    fn wraps(&self) -> bool {
        self.under.first().is_some_and(|tool| tool == "strace")
    }
}

/// A running `coliseum serve`. Dropping it kills it.
pub struct Binary {
    child: Child,
    pub client: Client,
    log_file: PathBuf,
    is_wrapped: bool,
}

impl Binary {
    /// Starts it on a port that the system picks, and waits until it is ready.
    pub fn start(data_dir: &Path) -> Binary {
        Launch::on(data_dir).start()
    }

    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
            panic!("the daemon ended with {status}: {}", self.stderr());
        }
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// The daemon's own process; none before the tool that it runs under has started it.
    pub fn daemon_pid(&self) -> Option<Pid> {
        let own = Pid::from_child(&self.child);
        if !self.is_wrapped {
            return Some(own);
        }
        let parent = own.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        children.split_whitespace().find_map(|pid| Pid::from_raw(pid.parse().ok()?))
    }

    /// One line of `/proc/<pid>/status`, such as `VmHWM`, without its name.
    pub fn proc_status(&self, name: &str) -> String {
        let pid = self.daemon_pid().expect("the daemon runs").as_raw_nonzero();
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.daemon_pid().expect("the daemon runs");
        kill_process(pid, signal).expect("the process is ours");
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.kill_all();
    }

    /// SIGTERM; gives how it ended.
    pub fn terminate(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it ends by itself; gives how.
    pub fn wait(mut self) -> ExitStatus {
        until("the daemon ends", || self.child.try_wait().expect("a child can be waited for"))
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// The daemon first: a tool that dies before it would leave it running.
    fn kill_all(&mut self) {
        if self.child.try_wait().ok().flatten().is_some() {
            return;
        }
        match self.daemon_pid() {
            Some(pid) => drop(kill_process(pid, Signal::KILL)),
            None => drop(self.child.kill()),
        }
        let _ = self.child.wait();
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// `serve` on a port that the system picks.
pub fn serve(data_dir: &Path) -> Command {
    Launch::on(data_dir).command()
}

/// A second `serve` on a directory that one holds already: its exit status and standard error.
pub fn serve_expecting_refusal(data_dir: &Path) -> (ExitStatus, String) {
    let log_file = data_dir.with_extension("refused");
    let stderr = File::create(&log_file).expect("the test's directory is writable");
    let mut child = Launch::on(data_dir).command().stderr(stderr).spawn().expect("the binary starts");
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
