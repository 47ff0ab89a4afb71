//! The processes: the daemon, the limit servers, the load generator. Each is killed when it is dropped.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::table::NotRun;

pub const DAEMON: &str = "127.0.0.1:7930";
pub const LIMIT: &str = "127.0.0.1:7931";
const CONSUMERS: &str = "/api/passport/consumers";

/// Between two looks at something that is awaited.
const POLL: Duration = Duration::from_millis(2);
/// A start, a stop or an answer that takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(120);
/// Background work after 50 million events.
const SETTLE_MAX: Duration = Duration::from_secs(900);
/// Nothing of it is to be seen for so long.
const QUIET: Duration = Duration::from_secs(2);

/// A child that does not outlive its owner.
struct Process(Child);

impl Process {
    fn spawn(command: &mut Command) -> Result<Process> {
        Ok(Process(command.stdin(Stdio::null()).spawn().with_context(|| format!("{:?}", command.get_program()))?))
    }
    fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary, away from the configuration that the environment or this directory may have.
fn coliseum(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coliseum"));
    for name in ["COLISEUM_CONFIG", "COLISEUM_DATA_DIR", "COLISEUM_LISTEN", "COLISEUM_LOG"] {
        command.env_remove(name);
    }
    command.current_dir(dir);
    command
}

/// The daemon, on `data` of a directory.
pub struct Daemon {
    process: Process,
    dir: PathBuf,
    /// From the start of the process to `/readyz` 200.
    pub ready_after: Duration,
}

impl Daemon {
    pub fn start(dir: &Path) -> Result<Daemon> {
        is_free(DAEMON)?;
        let log = fs::File::create(dir.join("daemon.log"))?;
        let mut command = coliseum(dir);
        command.args(["serve", "--listen", DAEMON, "--data-dir", "data"]).stdout(Stdio::null()).stderr(log);
        let started = Instant::now();
        let mut process = Process::spawn(&mut command)?;
        while get("/readyz").is_err() {
            let is_gone = process.has_ended()? || started.elapsed() > PATIENCE;
            ensure!(!is_gone, "the daemon does not serve: {}", last_line(&fs::read_to_string(dir.join("daemon.log"))?));
            std::thread::sleep(POLL);
        }
        Ok(Daemon { process, dir: dir.to_path_buf(), ready_after: started.elapsed() })
    }

    /// The last event that is on disk.
    pub fn head(&self) -> Result<u64> {
        get_json("/readyz")?.pointer("/log/headSeq").and_then(Value::as_u64).context("headSeq")
    }

    /// Waits until an event comes in.
    pub fn wait_for_events(&self) -> Result<()> {
        let (before, since) = (self.head()?, Instant::now());
        while self.head()? == before {
            ensure!(since.elapsed() < PATIENCE, "no event came in");
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until every projection has applied everything, and nothing is sealed or joined in the background.
    pub fn settle(&self) -> Result<()> {
        let started = Instant::now();
        let (mut files, mut since) = (Vec::new(), Instant::now());
        loop {
            let now = self.passport_files()?;
            if now != files {
                (files, since) = (now, Instant::now());
            }
            let raw = files.iter().filter(|file| file.name.ends_with(".seg")).count();
            let is_at_work = raw > 1 || files.iter().any(|file| file.name.ends_with(".tmp"));
            if !is_at_work && since.elapsed() >= QUIET && self.is_caught_up()? {
                return Ok(());
            }
            ensure!(started.elapsed() < SETTLE_MAX, "the background work did not end; {raw} segments are not sealed");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn is_caught_up(&self) -> Result<bool> {
        let state = get_json(CONSUMERS)?;
        let head = state["headSeq"].as_u64();
        let consumers = state["consumers"].as_array().context("consumers")?;
        Ok(consumers.iter().all(|consumer| consumer["appliedSeq"].as_u64() >= head))
    }

    /// What lies in `passport/` and `passport/keys/`, by name, but for the next segment's file, which is always there.
    pub fn passport_files(&self) -> Result<Vec<File>> {
        let passport = self.dir.join("data/passport");
        let mut files = Vec::new();
        for dir in [passport.join("keys"), passport] {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                // One that was joined or sealed meanwhile is gone.
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_file() && name != "spare.tmp" {
                    files.push(File { name, bytes: metadata.len() });
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Bytes that the kernel states under this name.
    pub fn memory(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes: f64 = line.context("a line of memory")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024.0)
    }

    /// `kill -9`.
    pub fn kill(self) {
        drop(self);
    }

    /// Stops it in order.
    pub fn stop(mut self) -> Result<()> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.process.0),
            rustix::process::Signal::TERM,
        )?;
        let since = Instant::now();
        while !self.process.has_ended()? {
            ensure!(since.elapsed() < PATIENCE, "the daemon did not stop");
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    pub name: String,
    pub bytes: u64,
}

/// Builds every projection of a stopped store anew: how many events, and how long the command took.
pub fn rebuild(dir: &Path) -> Result<(f64, Duration)> {
    let mut command = coliseum(dir);
    command.args(["rebuild", "--data-dir", "data", "--json"]);
    let started = Instant::now();
    let (status, out) = run(&mut command)?;
    let took = started.elapsed();
    ensure!(status.success(), "rebuild: {status}");
    Ok((number(&serde_json::from_str(&out)?, "/entries")?, took))
}

/// The program of load and limits.
pub struct Peers(PathBuf);

impl Peers {
    pub fn find(binary: &Path) -> Result<Peers> {
        let found = binary.canonicalize().ok().filter(|path| path.is_file());
        let missing = || {
            NotRun(format!(
                "no peers at {}; cargo build --release --locked in shared/peers makes them, --peers names others",
                binary.display()
            ))
        };
        Ok(Peers(found.ok_or_else(missing)?))
    }

    fn command(&self, events: &Path) -> Command {
        let mut command = Command::new(&self.0);
        // What it says last is then why it ended.
        command.env("BENCH_DIR", events).env("RUST_BACKTRACE", "0");
        command
    }

    /// Writes the workload into a directory.
    pub fn generate(&self, events: &Path, preset: &str, count: u64) -> Result<()> {
        eprintln!("{count} events of the workload {preset} …");
        let mut command = self.command(events);
        let (status, _) = run(command.args(["gen", "--preset", preset, "--events", &count.to_string()]))?;
        ensure!(status.success(), "peers gen: {status}");
        Ok(())
    }

    /// Starts a load of the events in a directory, such as `batch --rate 50`.
    pub fn start_load(&self, events: &Path, at: &str, words: &str) -> Result<Load> {
        let mut command = self.command(events);
        command.args(["load", "--json", "--url", &format!("http://{at}")]).args(words.split(' '));
        Ok(Load(Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?))
    }

    /// A load from start to end.
    pub fn load(&self, events: &Path, at: &str, words: &str) -> Result<Value> {
        self.start_load(events, at, words)?.finish()
    }

    /// Starts a server that does one thing only, such as `post`.
    pub fn limit(&self, mode: &str, body: Option<&Path>) -> Result<Limit> {
        is_free(LIMIT)?;
        let mut command = self.command(Path::new("."));
        command.args(["serve", mode, LIMIT.rsplit(':').next().unwrap_or_default()]);
        if let Some(body) = body {
            command.arg("--body-file").arg(body);
        }
        let mut process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let since = Instant::now();
        while TcpStream::connect(LIMIT).is_err() {
            ensure!(!process.has_ended()? && since.elapsed() < PATIENCE, "peers serve {mode} does not serve");
            std::thread::sleep(POLL);
        }
        Ok(Limit { _process: process })
    }

    /// p50 of one small write and its sync into a file that was written before, in microseconds.
    pub fn fdatasync(&self, dir: &Path, seconds: f64) -> Result<f64> {
        let mut command = self.command(dir);
        command.arg("fdatasync").arg(dir).args(["--prealloc", "zero", "--json", "--seconds", &seconds.to_string()]);
        let (status, out) = run(&mut command)?;
        ensure!(status.success(), "peers fdatasync: {status}");
        number(&serde_json::from_str(&out)?, "/latency_us/p50")
    }
}

/// A limit server; it ends when it is dropped.
pub struct Limit {
    _process: Process,
}

/// A load under way.
pub struct Load(Process);

impl Load {
    pub fn has_ended(&mut self) -> Result<bool> {
        self.0.has_ended()
    }

    /// What it saw; an error where an answer was not good.
    pub fn finish(mut self) -> Result<Value> {
        let (mut out, mut told) = (String::new(), String::new());
        self.0.0.stdout.take().context("a pipe")?.read_to_string(&mut out)?;
        self.0.0.stderr.take().context("a pipe")?.read_to_string(&mut told)?;
        let status = self.0.0.wait()?;
        let Ok(seen) = serde_json::from_str::<Value>(&out) else { bail!("peers load: {status}: {}", last_line(&told)) };
        if number(&seen, "/non_2xx").is_ok_and(|bad| bad > 0.0) {
            let (bad, all) = (number(&seen, "/non_2xx")?, number(&seen, "/requests")?);
            bail!("{bad} requests of {all} were not answered with 2xx; the first: {}", seen["sample"]);
        }
        ensure!(status.success(), "peers load: {status}: {}", last_line(&told));
        Ok(seen)
    }
}

/// A figure of an answer.
pub fn number(value: &Value, pointer: &str) -> Result<f64> {
    value.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("{pointer} of {value}"))
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut process = Process::spawn(command.stdout(Stdio::piped()).stderr(Stdio::inherit()))?;
    let mut out = String::new();
    process.0.stdout.take().context("a pipe")?.read_to_string(&mut out)?;
    Ok((process.0.wait()?, out))
}

/// A server of somebody else would be measured in its place.
fn is_free(address: &str) -> Result<()> {
    ensure!(TcpStream::connect(address).is_err(), "{address} is taken");
    Ok(())
}

/// The last thing that a program said; hints of the panic handler are none.
fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.is_empty() && !line.starts_with("note: ")).unwrap_or("it says nothing")
}

/// The body of the daemon's answer, where that is 2xx.
pub fn get(path: &str) -> Result<Vec<u8>> {
    exchange(&format!("GET {path} HTTP/1.1\r\nhost: {DAEMON}\r\nconnection: close\r\n\r\n"))
}

pub fn get_json(path: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&get(path)?)?)
}

/// Posts one event a line.
pub fn post_lines(path: &str, lines: &str) -> Result<()> {
    let length = lines.len();
    exchange(&format!(
        "POST {path} HTTP/1.1\r\nhost: {DAEMON}\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {length}\r\n\r\n{lines}"
    ))?;
    Ok(())
}

fn exchange(request: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(DAEMON).context("the daemon does not answer")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = memchr::memmem::find(&answer, b"\r\n\r\n").context("an answer")?;
    ensure!(answer.get(9) == Some(&b'2'), "{}", String::from_utf8_lossy(&answer));
    Ok(answer.split_off(head + 4))
}
