//! How long the daemon takes from `kill -9` under load to `/readyz` 200, with so many events in the log.
//!
//! `cargo bench --bench restart [-- --events N] [--rounds N] [--dir DIRECTORY]` fills a log of the real binary over HTTP up to
//! 100,000 events, then ten times as many, up to N (1,000,000), and at each size kills and starts it again, rounds times
//! (7), at another moment of the load each time. It prints when the first answer came and when it was ready, in seconds
//! from the start of the process. 10,000 artists by Zipf's law and 200,000 users; about 350 bytes an event. 10 million
//! events take 2 GB of disk and some minutes. The page cache is warm: a power cut adds the reading of one or two segments
//! of 64 MiB. Run it on a machine that does nothing else, since the load ends with the daemon.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ADDRESS: &str = "127.0.0.1:7919";
const BATCH: u64 = 2_000;
const SENDERS: u64 = 4;
const ARTISTS: usize = 10_000;
const POLL: Duration = Duration::from_millis(2);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let named = |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default| named(name).map_or(default, |word| word.parse().expect(name));
    let (events_max, rounds) = (number("--events", 1_000_000), number("--rounds", 7));
    let scratch = match named("--dir") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .expect("a directory to write in");
    let source = Source::new();
    let mut size = events_max.min(100_000);
    println!("{:>12}  {:>30}  {:>30}", "events", "first answer (min, median, max)", "ready (min, median, max)");
    loop {
        let (mut daemon, _) = Daemon::start(scratch.path());
        source.send(|| daemon.head() >= size);
        let (mut answers, mut ready) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            source.send_until_killed(&mut daemon, Duration::from_millis(1_000 + 1_370 * round % 9_000));
            let (next, took) = Daemon::start(scratch.path());
            answers.push(took.answers);
            ready.push(took.ready);
            daemon = next;
        }
        println!("{:>12}  {:>30}  {:>30}", daemon.head(), spread(&mut answers), spread(&mut ready));
        if size >= events_max {
            return;
        }
        size = (size * 10).min(events_max);
    }
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let seconds = |at: usize| times.get(at).map_or(0.0, Duration::as_secs_f64);
    format!("{:.2}  {:.2}  {:.2} s", seconds(0), seconds(times.len() / 2), seconds(times.len().saturating_sub(1)))
}

struct Took {
    answers: Duration,
    ready: Duration,
}

/// The binary in a process of its own; killed when it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(scratch: &Path) -> (Daemon, Took) {
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coliseum"));
        command.args(["serve", "--listen", ADDRESS, "--data-dir"]).arg(scratch.join("data")).current_dir(scratch);
        let mut daemon = Daemon(command.stderr(Stdio::null()).spawn().expect("the binary starts"));
        let mut answers = None;
        loop {
            if let Some(status) = status_of(&request("GET", "/readyz", b"")) {
                let now = started.elapsed();
                let answers = *answers.get_or_insert(now);
                if status == 200 {
                    return (daemon, Took { answers, ready: now });
                }
            }
            assert!(daemon.0.try_wait().expect("a child").is_none(), "the daemon ended; is {ADDRESS} taken?");
            std::thread::sleep(POLL);
        }
    }
    fn head(&self) -> u64 {
        let text = String::from_utf8_lossy(&request("GET", "/readyz", b"")).into_owned();
        let digits = text.split_once("\"headSeq\":").map_or("", |(_, rest)| rest);
        digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer as it came; empty where there was none.
fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let asked = || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(ADDRESS)?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {ADDRESS}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        Ok(stream)
    };
    if let Ok(mut stream) = asked() {
        // A daemon that is killed answers half of it.
        let _ = stream.read_to_end(&mut answer);
    }
    answer
}

fn status_of(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// Events with keys that no other run has.
struct Source {
    /// Cumulative weights 1/n of the artists.
    weights: Vec<f64>,
    run: u128,
    next: AtomicU64,
}

impl Source {
    fn new() -> Source {
        let mut total = 0.0;
        let weights = (1..=ARTISTS).map(|n| {
            total += 1.0 / n as f64;
            total
        });
        let run = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
        Source { weights: weights.collect(), run, next: AtomicU64::new(0) }
    }

    /// Sends batches from several threads until it is enough; batches that are refused are sent no more.
    fn send(&self, is_enough: impl Fn() -> bool + Sync) {
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    while !is_enough() {
                        request("POST", "/api/passport/batch", &self.batch());
                    }
                });
            }
        });
    }

    /// Kills the daemon after so long under load.
    fn send_until_killed(&self, daemon: &mut Daemon, after: Duration) {
        let is_killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.send(|| is_killed.load(Ordering::Relaxed)));
            std::thread::sleep(after);
            daemon.0.kill().expect("the process is ours");
            is_killed.store(true, Ordering::Relaxed);
            daemon.0.wait().expect("a child");
        });
    }

    /// Events of the last five minutes, one a line.
    fn batch(&self) -> Vec<u8> {
        let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
        let now = jiff::Timestamp::now();
        let mut lines = String::with_capacity(BATCH as usize * 360);
        for number in first..first + BATCH {
            let mixed = mix(number);
            let place = (mixed >> 11) as f64 / (1u64 << 53) as f64 * self.weights[ARTISTS - 1];
            let artist = self.weights.partition_point(|weight| *weight < place);
            let (user, track) = (mixed % 200_000, mixed % 40_000);
            let at = now - jiff::SignedDuration::from_millis((mixed % 300_000) as i64);
            let (kind, fields) = match mixed % 10 {
                0 | 1 => {
                    ("coliseum.vote_cast", format!(r#""eventId":"e{}","weight":{}"#, mixed % 2_000, 1 + mixed % 12))
                }
                2 => ("treasury.money_spent", format!(r#""amountCents":{},"reason":"ticket""#, 100 + mixed % 9_000)),
                _ => {
                    ("player.track_played", format!(r#""trackId":"t{track}","durationSeconds":187.5,"genre":"house""#))
                }
            };
            writeln!(
                lines,
                r#"{{"type":"{kind}","messageId":"{}-{number:016}","userId":"user-{user:06}","at":"{at:.3}","artistId":"artist-{artist:05}",{fields},"city":"Turin","deviceId":"device-{user:08x}"}}"#,
                self.run
            )
            .expect("into memory");
        }
        lines.into_bytes()
    }
}

/// splitmix64 of a number.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
