//! What idempotency for ever costs: the key index at 1, 10 and 50 million keys.
//!
//! `cargo bench --bench idempotency` runs all three; `cargo bench --bench idempotency -- 0.5 2` runs half a million and two.
//! Keys are inserted, sealed and merged as in the daemon: one thread inserts, another writes and joins runs. Files go to a
//! directory of their own under `/var/tmp` (not `/tmp`, which may be memory), and are removed afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coliseum::disk::RealDisk;
use coliseum::passport::keys::{
    Fingerprint, Fingerprinter, KeyIndex, Opened, RECENT_KEYS, Sealed, StatsSource, Upkeep,
};
use coliseum::units::Seq;
use coliseum::world::SystemRandom;

const MILLIONS: [f64; 3] = [1.0, 10.0, 50.0];
/// Without `--bench`, as `cargo test --benches` calls it: only to see that it runs.
const MILLIONS_TRIED: f64 = 0.3;
const LOOK_UPS: u64 = 1_000_000;
/// Events that the writer typically has in hand at once.
const BATCH: usize = 256;
/// Sealed tables on their way; the writer waits for the background thread beyond it.
const SEALED_MAX: usize = 2;
const LOG: [u8; 16] = [7; 16];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut sizes: Vec<f64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() && arguments.iter().any(|argument| argument == "--bench") {
        sizes = MILLIONS.into();
    } else if sizes.is_empty() {
        sizes = vec![MILLIONS_TRIED];
    }
    println!("recent table of {RECENT_KEYS} keys, batches of {BATCH}, keys of 36 bytes hashed within the timing");
    let columns: Vec<Vec<Row>> = sizes.iter().map(|millions| measure((millions * 1e6) as u64)).collect();
    for row in 0..columns[0].len() {
        print!("{:<44}", columns[0][row].0);
        columns.iter().for_each(|column| print!("{:>14}", column[row].1));
        println!();
    }
    println!(
        "CPU ns are of the looking thread alone, so they hold on a busy machine too; VmHWM is of this process so far"
    );
}

/// What was measured, and how much it was.
type Row = (&'static str, String);

fn measure(keys: u64) -> Vec<Row> {
    let in_var = tempfile::Builder::new().prefix("coliseum-bench-keys-").tempdir_in("/var/tmp");
    let dir = in_var.expect("/var/tmp is writable");
    let Built { index, stats, inserted_in, settled_in, cache_bytes } = build(dir.path(), keys);
    let mut rows = vec![
        ("keys", keys.to_string()),
        ("insert, keys/s", format!("{:.0}", keys as f64 / inserted_in.as_secs_f64())),
        ("insert until all runs are joined, keys/s", format!("{:.0}", keys as f64 / settled_in.as_secs_f64())),
    ];
    let absent = |n: u64| (keys + 1 + n, None);
    let present = |n: u64| (mix(n) % keys + 1, Some(Seq::new(mix(n) % keys + 1)));
    rows.extend(look_ups("absent, one by one, /s", || one_by_one(&index, absent)));
    rows.extend(look_ups("absent, in batches, /s", || batched(&index, absent)));
    rows.extend(look_ups("present, one by one, /s", || one_by_one(&index, present)));
    rows.extend(look_ups("present, in batches, /s", || batched(&index, present)));
    let (stats, source) = (stats.stats(), stats);
    // Both hold the runs, which would otherwise be in memory twice.
    drop((index, source));

    let started = Instant::now();
    let again = open(dir.path(), keys);
    rows.push(("open, ms", format!("{:.1}", started.elapsed().as_secs_f64() * 1e3)));
    assert_eq!((again.report.gaps.len(), again.report.dropped.len()), (0, 0), "the index opens as it was left");
    let a_key = |bytes: u64| format!("{:.2}", bytes as f64 / stats.run_keys as f64);
    rows.extend([
        ("runs", stats.runs.to_string()),
        ("on disk, bytes/key", a_key(stats.disk_bytes)),
        ("  at the peak, within a merge", a_key(stats.disk_bytes_peak)),
        ("in memory, bytes/key", a_key(stats.memory_bytes)),
        ("  at the peak, within a merge", a_key(stats.memory_bytes_peak)),
        ("fixed cache (recent tables) at its peak, MB", format!("{:.1}", cache_bytes as f64 / 1e6)),
        ("VmHWM, MB", format!("{:.0}", resident_peak_mb())),
    ]);
    rows
}

/// Times `look_up`, which makes [`LOOK_UPS`] of them.
fn look_ups(name: &'static str, look_up: impl FnOnce()) -> [Row; 2] {
    let (started, cpu_before) = (Instant::now(), thread_cpu_ns());
    look_up();
    let (seconds, cpu_ns) = (started.elapsed().as_secs_f64(), thread_cpu_ns() - cpu_before);
    let rate = format!("{:.0}", LOOK_UPS as f64 / seconds);
    [(name, rate), ("  CPU ns each", format!("{:.0}", cpu_ns as f64 / LOOK_UPS as f64))]
}

struct Built {
    index: KeyIndex,
    stats: StatsSource,
    /// Until the last insert.
    inserted_in: Duration,
    /// Until the last merge.
    settled_in: Duration,
    /// The most that the tables of recent keys took.
    cache_bytes: usize,
}

fn build(dir: &Path, keys: u64) -> Built {
    let Opened { mut index, upkeep, .. } = open(dir, 0);
    let (stats, fingerprinter) = (index.stats_source(), index.fingerprinter());
    let (to_upkeep, sealed) = crossbeam_channel::bounded(SEALED_MAX);
    let background = std::thread::spawn(move || keep_up(upkeep, &sealed));
    let (mut text, mut cache_bytes) = ([0; 36], 0);
    let started = Instant::now();
    for n in 1..=keys {
        index.insert(fingerprint(&fingerprinter, n, &mut text), Seq::new(n));
        if index.wants_seal() {
            to_upkeep.send(index.seal(Seq::new(n))).expect("the background thread lives until the channel closes");
            cache_bytes = cache_bytes.max(index.recent_bytes());
        }
    }
    let inserted_in = started.elapsed();
    drop(to_upkeep);
    background.join().expect("the background thread ends well");
    index.forget_installed();
    Built { index, stats, inserted_in, settled_in: started.elapsed(), cache_bytes }
}

/// The background thread: sealed tables first, then merges.
fn keep_up(mut upkeep: Upkeep, sealed: &crossbeam_channel::Receiver<Arc<Sealed>>) {
    loop {
        while let Ok(sealed) = sealed.try_recv() {
            upkeep.write(&sealed).expect("a run is written");
        }
        if upkeep.step().expect("runs are joined") {
            continue;
        }
        match sealed.recv() {
            Ok(sealed) => upkeep.write(&sealed).expect("a run is written"),
            Err(_) => return,
        }
    }
}

/// Looks keys up one at a time; `ask` gives the n-th key's number and the seq that must be found.
fn one_by_one(index: &KeyIndex, ask: impl Fn(u64) -> (u64, Option<Seq>)) {
    let (fingerprinter, mut text, mut found) = (index.fingerprinter(), [0; 36], Vec::new());
    for n in 0..LOOK_UPS {
        let (key, expected) = ask(n);
        index.candidates(fingerprint(&fingerprinter, key, &mut text), &mut found).expect("the look-up works");
        assert_eq!(found.first().copied(), expected, "key {key}");
    }
}

/// The same in batches, as the writer does.
fn batched(index: &KeyIndex, ask: impl Fn(u64) -> (u64, Option<Seq>)) {
    let (fingerprinter, mut text, mut hits) = (index.fingerprinter(), [0; 36], Vec::new());
    let (mut fingerprints, mut expected) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    for n in 0..LOOK_UPS {
        let (key, seq) = ask(n);
        expected.extend(seq.map(|seq| (fingerprints.len(), seq)));
        fingerprints.push(fingerprint(&fingerprinter, key, &mut text));
        if fingerprints.len() == BATCH || n + 1 == LOOK_UPS {
            index.candidates_batch(&fingerprints, &mut hits).expect("the look-up works");
            assert!(hits.iter().map(|hit| (hit.index, hit.seq)).eq(expected.iter().copied()));
            fingerprints.clear();
            expected.clear();
        }
    }
}

fn open(dir: &Path, log_end: u64) -> Opened {
    KeyIndex::open(Arc::new(RealDisk), &SystemRandom, dir.join("keys"), LOG, Seq::new(log_end), RECENT_KEYS)
        .expect("the index opens")
}

/// The n-th key: 36 characters, as a UUID has.
fn fingerprint(fingerprinter: &Fingerprinter, n: u64, text: &mut [u8; 36]) -> Fingerprint {
    let (mut high, mut low) = (mix(n), n);
    for digit in &mut text[..18] {
        *digit = b"0123456789abcdef"[(high & 15) as usize];
        high >>= 4;
    }
    for digit in &mut text[18..] {
        *digit = b"0123456789abcdef"[(low & 15) as usize];
        low >>= 4;
    }
    fingerprinter.fingerprint(std::str::from_utf8(text).expect("hexadecimal digits"))
}

/// splitmix64's finalizer.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

/// Time that this thread has been running, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn resident_peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
