//! What the daemon and systemd say to each other: readiness, the watchdog, a stop, a socket that is passed; and the units.
//!
//! The service manager is a datagram socket of the test's. What needs a tool that is not installed says SKIPPED.

mod harness;
mod model;

use std::collections::{BTreeSet, HashMap};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::binary::{self, EXE};
use harness::http::Client;
use harness::{good_event, until};
use model::json::{Json, text};

/// The daemon is looked at, and the watchdog fed, four times in this.
const WATCHDOG: Duration = Duration::from_millis(80);

/// A service manager of one daemon.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    /// The fields of all messages so far, in order.
    said: Vec<String>,
}

impl Manager {
    fn in_dir(directory: &Path) -> Manager {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("it can");
        Manager { socket, path, said: Vec::new() }
    }

    fn serve(&self, data_dir: &Path, words: &[&str]) -> Service {
        let mut command = binary::serve(data_dir);
        command.args(words).env("NOTIFY_SOCKET", &self.path);
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Service::spawn(command)
    }

    /// Takes what has been said; gives how many fields there were.
    fn listen(&mut self) -> usize {
        let (mut bytes, before) = ([0; 4096], self.said.len());
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let message = std::str::from_utf8(&bytes[..length]).expect("UTF-8");
            self.said.extend(message.lines().map(str::to_owned));
        }
        self.said.len() - before
    }

    /// Listens until a field has been said; gives its place.
    fn hear(&mut self, what: &str) -> usize {
        until(what, || {
            self.listen();
            self.said.iter().position(|said| said == what)
        })
    }

    fn count(&self, what: &str) -> usize {
        self.said.iter().filter(|said| *said == what).count()
    }
}

/// A process that is killed when the test ends.
struct Service(Child);

impl Service {
    fn spawn(mut command: Command) -> Service {
        Service(command.stderr(Stdio::piped()).spawn().expect("the program starts"))
    }
    /// The daemon's address, once it has written it down.
    fn client(&mut self, data_dir: &Path) -> Client {
        let pid = i64::from(self.0.id());
        until("daemon.json of this process", || {
            assert!(self.0.try_wait().expect("a child").is_none(), "it ended: {}", self.stderr());
            let file = std::fs::read_to_string(data_dir.join("daemon.json")).ok()?;
            let file = Json::parse(&file).ok().filter(|file| file.at("pid").as_integer() == pid)?;
            Some(Client { address: file.at("address").as_text().to_owned() })
        })
    }
    fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process is ours");
        self.exit_code()
    }
    fn exit_code(&mut self) -> Option<i32> {
        until("the process ends", || self.0.try_wait().expect("a child")).code()
    }
    /// What an ended process said.
    fn stderr(&mut self) -> String {
        let mut said = String::new();
        if let Some(mut pipe) = self.0.stderr.take() {
            std::io::Read::read_to_string(&mut pipe, &mut said).expect("UTF-8");
        }
        said
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says loudly that a test did not test: its tool is not there.
fn skipped(tool: &str, what: &str) {
    eprintln!("SKIPPED: {what}: {tool} is not installed");
}

fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Stores so many votes.
fn fill(client: &Client, count: usize) {
    const PIECE: usize = 5_000;
    for first in (0..count).step_by(PIECE) {
        let votes = (first..first + PIECE).map(|n| {
            let vote = good_event().with("artistId", text(format!("a{}", n % 500)));
            vote.with("userId", text(format!("u{}", n % 1000)))
        });
        let answer = client.post("/api/passport/batch", Json::List(votes.collect()).render().as_bytes());
        assert_eq!(answer.expect(200).at("accepted").as_integer() as usize, PIECE);
    }
}

#[test]
fn a_daemon_says_when_it_is_ready_that_its_writer_works_and_when_it_stops() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let mut manager = Manager::in_dir(directory.path());
    let mut service = manager.serve(&data_dir, &[]);
    let ready = manager.hear("READY=1");
    let client = service.client(&data_dir);
    assert_eq!(client.get("/readyz").status, 200);
    let serving = format!("STATUS=serving on {}", client.address);
    assert_eq!(manager.said[..ready].last(), Some(&serving), "{:?}", manager.said);
    until("the watchdog is fed again and again", || {
        manager.listen();
        (manager.count("WATCHDOG=1") >= 5).then_some(())
    });
    assert_eq!(service.terminate(), Some(0));
    manager.listen();
    let stopping = manager.hear("STOPPING=1");
    assert_eq!(manager.said[stopping..stopping + 3], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=70000000", "STATUS=stopping"]);
    assert_eq!(manager.count("READY=1"), 1);
}

#[test]
fn a_daemon_on_a_full_disk_is_ready_to_read_and_says_that_it_takes_no_writes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let config = directory.path().join("full.toml");
    std::fs::write(&config, format!("[passport]\nmin_free_bytes = {}", i64::MAX)).expect("written");
    let mut manager = Manager::in_dir(directory.path());
    let mut service = manager.serve(&data_dir, &["--config", config.to_str().expect("UTF-8")]);
    manager.hear("READY=1");
    let client = service.client(&data_dir);
    until("the status says read-only", || {
        manager.listen();
        manager.said.iter().find(|said| said.starts_with("STATUS=serving") && said.contains("read-only: ")).cloned()
    });
    assert_eq!(client.get("/readyz").status, 503);
    assert_eq!(client.get("/api/coliseum/leaderboards/a/7d").status, 200);
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn a_rebuild_at_the_start_shows_how_far_it_is_and_asks_for_time_until_it_is_ready() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let mut service = Service::spawn(binary::serve(&data_dir));
    fill(&service.client(&data_dir), 20_000);
    assert_eq!(service.terminate(), Some(0));
    std::fs::remove_dir_all(data_dir.join("projections")).expect("it may be deleted");
    let mut manager = Manager::in_dir(directory.path());
    let mut service = manager.serve(&data_dir, &[]);
    let ready = manager.hear("READY=1");
    assert_eq!(service.client(&data_dir).get("/readyz").status, 200);
    let (before, after) = manager.said.split_at(ready);
    let is_progress = |said: &&String| said.starts_with("STATUS=rebuilding coliseum ") && said.ends_with("/20000");
    assert!(before.iter().filter(is_progress).count() > 1, "{before:?}");
    let asks = |said: &&String| said.starts_with("EXTEND_TIMEOUT_USEC=");
    assert!(before.iter().filter(asks).count() > 1, "{before:?}");
    assert_eq!(after.iter().filter(asks).count(), 0, "{after:?}");
}

#[test]
fn a_start_that_fails_says_why_in_the_status() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    std::fs::create_dir_all(data_dir.join("projections/coliseum")).expect("made");
    std::fs::write(data_dir.join("projections/coliseum/x.redb"), b"x").expect("written");
    let mut manager = Manager::in_dir(directory.path());
    let mut service = manager.serve(&data_dir, &[]);
    assert_eq!(service.exit_code(), Some(1));
    manager.listen();
    assert_eq!(manager.count("READY=1"), 0);
    let why = manager.said.iter().find(|said| said.starts_with("STATUS=cannot start: ")).expect("a reason");
    assert!(why.contains("the log (`passport/`) is missing"), "{why}");
}

#[test]
fn a_sync_that_hangs_starves_the_watchdog_and_one_that_ends_feeds_it_again() {
    if !has("strace") {
        return skipped("strace", "the watchdog with a sync that hangs");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let mut manager = Manager::in_dir(directory.path());
    let mut service = manager.serve(&data_dir, &[]);
    manager.hear("READY=1");
    let client = service.client(&data_dir);
    let attached = directory.path().join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=3600000000", "-p"]);
    strace.arg(service.0.id().to_string()).arg("-o").arg("/dev/null");
    strace.stderr(std::fs::File::create(&attached).expect("a file"));
    let mut hang = Service(strace.spawn().expect("strace starts"));
    let said = until("strace is attached or refused", || {
        let said = std::fs::read_to_string(&attached).expect("a file");
        (said.contains("attached") || hang.0.try_wait().expect("a child").is_some()).then_some(said)
    });
    if !said.contains("attached") {
        return skipped("strace with the right to trace", "the watchdog with a sync that hangs");
    }
    let sender = std::thread::spawn({
        let client = client.clone();
        move || client.post_json("/api/passport/log", &good_event()).status
    });
    let silence = 10 * WATCHDOG;
    let mut fed_at = Instant::now();
    until("nothing is said for long enough", || {
        let before = manager.count("WATCHDOG=1");
        manager.listen();
        if manager.count("WATCHDOG=1") > before {
            fed_at = Instant::now();
        }
        (fed_at.elapsed() > silence).then_some(())
    });
    assert!(!sender.is_finished(), "it was acknowledged without a sync");
    assert_eq!(client.get("/healthz").status, 200, "the process itself is there");
    let fed = manager.count("WATCHDOG=1");
    // The tracer ends, and the call goes on.
    drop(hang);
    until("the watchdog is fed again", || {
        manager.listen();
        (manager.count("WATCHDOG=1") > fed).then_some(())
    });
    assert_eq!(sender.join().expect("an answer"), 201);
    assert_eq!(service.terminate(), Some(0));
}

/// The binary as systemd starts it with sockets: descriptors from 3 on, and this process named. The shell moves them.
fn with_sockets(data_dir: &Path, sockets: Vec<OwnedFd>, pid: &str) -> Command {
    let count = sockets.len();
    let mut command = Command::new("sh");
    let script = match count {
        1 => format!("exec 3<&0 0</dev/null; LISTEN_PID={pid} LISTEN_FDS=1 LISTEN_FDNAMES=coliseum.socket exec \"$@\""),
        _ => format!("exec 3<&0 4>&1 0</dev/null 1>&2; LISTEN_PID={pid} LISTEN_FDS=2 exec \"$@\""),
    };
    command.arg("-c").arg(script).arg("sh").arg(EXE).args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(data_dir).current_dir(data_dir.parent().expect("it lies in the test's"));
    let mut sockets = sockets.into_iter();
    command.stdin(sockets.next().expect("a socket"));
    if let Some(second) = sockets.next() {
        command.stdout(second);
    }
    command
}

#[test]
fn a_socket_that_is_passed_is_served_and_outlives_the_daemon() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("bound").to_string();
    let passed = || vec![OwnedFd::from(listener.try_clone().expect("a copy"))];
    let mut service = Service::spawn(with_sockets(&data_dir, passed(), "$$"));
    assert_eq!(service.client(&data_dir).address, address);
    let client = Client { address: address.clone() };
    client.post_json("/api/passport/log", &good_event()).expect(201);
    assert_eq!(service.terminate(), Some(0));
    // Who connects while no daemon runs waits for the next one.
    let waiting = std::thread::spawn(move || client.get("/api/passport/consumers").expect(200));
    let mut service = Service::spawn(with_sockets(&data_dir, passed(), "$$"));
    assert_eq!(waiting.join().expect("an answer").at("headSeq").as_integer(), 1);
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn a_socket_for_another_process_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("bound").to_string();
    let mut service = Service::spawn(with_sockets(&data_dir, vec![listener.into()], "1"));
    assert_ne!(service.client(&data_dir).address, address);
}

#[test]
fn sockets_that_cannot_be_served_stop_the_start_with_what_to_change() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tcp = |address: &str| OwnedFd::from(TcpListener::bind(address).expect("a socket"));
    let listening = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let connected = TcpStream::connect(listening.local_addr().expect("bound")).expect("connects");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for (sockets, said) in [
        (vec![tcp("0.0.0.0:0")], "takes a loopback address only"),
        (vec![tcp("127.0.0.1:0"), tcp("127.0.0.1:0")], "there are 2 sockets; keep one ListenStream="),
        (vec![OwnedFd::from(udp)], "it is no TCP socket; set ListenStream="),
        (vec![OwnedFd::from(connected)], "it does not listen; set Accept=no"),
    ] {
        let mut service = Service::spawn(with_sockets(&directory.path().join("data"), sockets, "$$"));
        assert_eq!(service.exit_code(), Some(2), "{said}: starting again changes nothing");
        let stderr = service.stderr();
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
    assert!(!directory.path().join("data").exists(), "a start that is refused leaves nothing");
}

/// Writes a printed unit with the path of this build's binary, which has to exist for `verify`.
fn write_unit(directory: &Path, word: &str, name: &str) -> PathBuf {
    let printed = binary::run(&["print", word], directory);
    assert!(printed.status.success());
    let unit = String::from_utf8(printed.stdout).expect("UTF-8").replace("/usr/local/bin/coliseum", EXE);
    let path = directory.join(name);
    std::fs::write(&path, unit).expect("written");
    path
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units_and_little_that_is_exposed() {
    if !has("systemd-analyze") {
        return skipped("systemd-analyze", "the check of the printed units");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = write_unit(directory.path(), "systemd-unit", "coliseum.service");
    let socket = write_unit(directory.path(), "systemd-socket", "coliseum.socket");
    for unit in [&unit, &socket] {
        let verified = Command::new("systemd-analyze").arg("verify").arg(unit).output().expect("it runs");
        let said = [verified.stdout, verified.stderr].concat();
        assert!(verified.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
    let mut security = Command::new("systemd-analyze");
    // The threshold is in tenths: exposure above 1.2 is a failure.
    security.args(["security", "--no-pager", "--offline=true", "--threshold=12"]).arg(&unit);
    let judged = security.output().expect("it runs");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

/// The system calls that the lines of a unit leave, by the sets that this systemd has.
fn system_calls_of(unit: &str) -> BTreeSet<String> {
    let listed = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]).output().expect("it runs");
    let (listed, mut sets, mut set) = (String::from_utf8(listed.stdout).expect("UTF-8"), HashMap::new(), "");
    for line in listed.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if line.starts_with('@') {
            set = line.trim();
        } else if !line.trim().is_empty() {
            sets.entry(set).or_insert_with(Vec::new).push(line.trim());
        }
    }
    let mut left = BTreeSet::new();
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let mut words: Vec<&str> = filter.trim_start_matches('~').split(' ').collect();
        while let Some(word) = words.pop() {
            match sets.get(word) {
                Some(members) => words.extend(members),
                None if filter.starts_with('~') => drop(left.remove(word)),
                None => drop(left.insert(word.to_owned())),
            }
        }
    }
    left
}

#[test]
fn the_unit_lets_through_every_system_call_that_the_daemon_makes() {
    if !has("systemd-analyze") || !has("strace") {
        return skipped("systemd-analyze or strace", "the unit's filter of system calls");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (data_dir, calls) = (directory.path().join("data"), directory.path().join("calls"));
    let config = directory.path().join("small.toml");
    std::fs::write(&config, "[passport]\nsegment_bytes = 65536").expect("written");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&calls).arg(EXE).args(["serve", "--listen", "127.0.0.1:0", "--config"]);
    command.arg(&config).arg("--data-dir").arg(&data_dir).current_dir(directory.path());
    let mut traced = Service::spawn(command);
    let daemon = until("daemon.json", || {
        if traced.0.try_wait().expect("a child").is_some() {
            return Some(None);
        }
        Json::parse(&std::fs::read_to_string(data_dir.join("daemon.json")).ok()?).ok().map(Some)
    });
    let Some(daemon) = daemon else {
        return skipped("strace with the right to trace", "the unit's filter of system calls");
    };
    // Enough for segments to be sealed and for the projection to flush.
    fill(&Client { address: daemon.at("address").as_text().to_owned() }, 5_000);
    let pid = rustix::process::Pid::from_raw(daemon.at("pid").as_integer() as i32).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process is ours");
    assert_eq!(traced.exit_code(), Some(0));
    let made = std::fs::read_to_string(&calls).expect("UTF-8");
    let made =
        made.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('(').map(|(name, _)| name));
    let made: BTreeSet<String> = made.filter(|name| name.starts_with(char::is_lowercase)).map(str::to_owned).collect();
    assert!(made.contains("fdatasync") && made.contains("accept4"), "too little was seen: {made:?}");
    let unit = binary::run(&["print", "systemd-unit"], directory.path()).stdout;
    let allowed = system_calls_of(std::str::from_utf8(&unit).expect("UTF-8"));
    let refused: Vec<_> = made.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit's filter would refuse {refused:?}");
}

#[test]
fn the_unit_gives_a_stop_more_time_than_the_daemon_takes_and_the_watchdog_more_than_the_writer_sleeps() {
    let printed = binary::run(&["print", "systemd-unit"], Path::new("/"));
    let unit = String::from_utf8(printed.stdout).expect("UTF-8");
    let seconds = |key: &str| {
        let value = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).expect(key);
        match value.strip_suffix("min") {
            Some(minutes) => minutes.parse::<u64>().expect("a number") * 60,
            None => value.trim_end_matches('s').parse().expect("a number"),
        }
    };
    let config = coliseum::config::Config::default();
    assert!(seconds("TimeoutStopSec") > 2 * config.shutdown_timeout.as_secs());
    // passport.sync_interval_ms is at most a minute.
    assert!(seconds("WatchdogSec") >= 120);
    assert!(unit.contains("RestartPreventExitStatus=2"));
}
