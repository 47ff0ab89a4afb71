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
    println!(
        "key index, recent table of {RECENT_KEYS} keys; look-ups in batches of {BATCH}, keys of 36 bytes hashed in the timing"
    );
    println!(
        "{:>11} {:>5} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>8} {:>6} {:>6} {:>6} {:>6} {:>8} {:>8}",
        "keys",
        "runs",
        "insert/s",
        "settled/s",
        "absent/s",
        "batched/s",
        "present/s",
        "batched/s",
        "open ms",
        "disk",
        "peak",
        "mem",
        "peak",
        "cache MB",
        "RSS MB"
    );
    for millions in sizes {
        measure((millions * 1e6) as u64);
    }
    println!(
        "disk, mem: bytes a key when settled and at the peak of a merge; cache: the recent tables, fixed; RSS: VmHWM of this process so far"
    );
}

fn measure(keys: u64) {
    let dir =
        tempfile::Builder::new().prefix("coliseum-bench-keys-").tempdir_in("/var/tmp").expect("/var/tmp is writable");
    let Built { index, stats, inserted_in, settled_in, cache_bytes } = build(dir.path(), keys);
    let per_second = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
    let insert = per_second(keys, inserted_in);
    let settled = per_second(keys, settled_in);
    let absent = per_second(LOOK_UPS, one_by_one(&index, |n| (keys + 1 + n, None)));
    let absent_batched = per_second(LOOK_UPS, batched(&index, |n| (keys + 1 + n, None)));
    let any = |n: u64| mix(n) % keys + 1;
    let present = per_second(LOOK_UPS, one_by_one(&index, |n| (any(n), Some(Seq::new(any(n))))));
    let present_batched = per_second(LOOK_UPS, batched(&index, |n| (any(n), Some(Seq::new(any(n))))));
    let stats = stats.stats();
    drop(index);

    let started = Instant::now();
    let again = open(dir.path(), keys);
    let opened_in = started.elapsed();
    assert_eq!((again.report.gaps.len(), again.report.dropped.len()), (0, 0), "the index opens as it was left");
    let a_key = |bytes: u64| bytes as f64 / stats.run_keys as f64;
    println!(
        "{keys:>11} {:>5} {insert:>11.0} {settled:>11.0} {absent:>11.0} {absent_batched:>11.0} {present:>11.0} {present_batched:>11.0} {:>8.1} {:>6.2} {:>6.2} {:>6.2} {:>6.2} {:>8.1} {:>8.0}",
        stats.runs,
        opened_in.as_secs_f64() * 1e3,
        a_key(stats.disk_bytes),
        a_key(stats.disk_bytes_peak),
        a_key(stats.memory_bytes),
        a_key(stats.memory_bytes_peak),
        cache_bytes as f64 / 1e6,
        resident_peak_mb(),
    );
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
fn one_by_one(index: &KeyIndex, ask: impl Fn(u64) -> (u64, Option<Seq>)) -> Duration {
    let (fingerprinter, mut text, mut found) = (index.fingerprinter(), [0; 36], Vec::new());
    let started = Instant::now();
    for n in 0..LOOK_UPS {
        let (key, expected) = ask(n);
        index.candidates(fingerprint(&fingerprinter, key, &mut text), &mut found).expect("the look-up works");
        assert_eq!(found.first().copied(), expected, "key {key}");
    }
    started.elapsed()
}

/// The same in batches, as the writer does.
fn batched(index: &KeyIndex, ask: impl Fn(u64) -> (u64, Option<Seq>)) -> Duration {
    let (fingerprinter, mut text, mut hits) = (index.fingerprinter(), [0; 36], Vec::new());
    let (mut fingerprints, mut expected) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    let started = Instant::now();
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
    started.elapsed()
}

fn open(dir: &Path, log_end: u64) -> Opened {
    KeyIndex::open(Arc::new(RealDisk), dir.join("keys"), LOG, Seq::new(log_end)).expect("the index opens")
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

fn resident_peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
