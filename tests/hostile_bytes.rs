//! Every decoder of bytes from outside or from disk, given hostile ones: an answer or an error, never a panic, never more
//! memory than the input accounts for. The samples are those of the fuzz targets.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use coliseum::fuzz::{self, GROWTH_MAX, reseal};
use proptest::prelude::*;
use proptest::sample::Index;

/// What a decoder may take whatever the input: buffers of fixed size, the text of an error.
const FIXED_BYTES: usize = 1024 * 1024;

/// Counts what the thread that runs a decoder has allocated, and the most that it had at one time.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grown(bytes: usize) {
    // A thread that ends has no counters any more, and nobody asks.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn shrunk(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(bytes)));
}

// SAFETY: every call is handed on to the system's allocator as it came; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: `pointer` came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        grown(bytes);
        shrunk(layout.size());
        // SAFETY: `pointer` came from the system's allocator with this layout.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One decoder: its name, the samples that it reads, itself, and what makes its checksums right.
struct Target {
    name: &'static str,
    samples: &'static str,
    decode: fn(&[u8]) -> bool,
    reseal: fn(&mut [u8]),
}

const fn target(name: &'static str, samples: &'static str, decode: fn(&[u8]) -> bool, reseal: fn(&mut [u8])) -> Target {
    Target { name, samples, decode, reseal }
}

fn unsealed(_: &mut [u8]) {}

const TARGETS: &[Target] = &[
    target("record", "record/golden", fuzz::record, unsealed),
    target("batch", "batch/golden", fuzz::batch, reseal::batch),
    target("segment", "segment/golden", fuzz::segment, reseal::segment),
    target("sealed segment", "sealed_segment/golden", fuzz::sealed_segment, reseal::sealed_segment),
    target("entry index", "entry_index/golden", fuzz::entry_index, reseal::entry_index),
    target("key run", "key_run/golden", fuzz::key_run, reseal::key_run),
    target("fingerprint key", "small_files/fingerprint_key", fuzz::fingerprint_key, reseal::ends_in_checksum),
    target("log id", "small_files/log_id", fuzz::id_file, reseal::ends_in_checksum),
    target("checkpoint", "checkpoint/golden", fuzz::checkpoint, reseal::ends_in_checksum),
    target("page", "page/golden", fuzz::page, reseal::page),
    target("rows", "rows/golden", fuzz::rows, reseal::rows),
    target("names", "names/golden", fuzz::names, reseal::names),
    target("event", "event", fuzz::event, unsealed),
    target("import line", "import_line", fuzz::import_line, unsealed),
    target("NDJSON", "import_file/entries.ndjson", fuzz::import_ndjson, unsealed),
    target("CSV", "import_file/events.csv", fuzz::import_csv, unsealed),
    target("query", "query", fuzz::query, unsealed),
    target("configuration", "config", fuzz::config, unsealed),
    target("head", "http/head", fuzz::http_head, unsealed),
    target("chunks", "http/chunked", fuzz::http_chunks, unsealed),
];

impl Target {
    /// Its samples, in the order of their names.
    fn samples(&self) -> Vec<Vec<u8>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(self.samples);
        let mut files = vec![path.clone()];
        if path.is_dir() {
            files = std::fs::read_dir(&path).expect("samples").map(|entry| entry.expect("a sample").path()).collect();
            files.sort();
        }
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
            .collect()
    }

    /// Runs the decoder and holds its memory against the bound.
    fn run(&self, bytes: &[u8]) -> bool {
        let before = HELD.get();
        PEAK.set(before);
        let answer = (self.decode)(bytes);
        let taken = PEAK.get() - before;
        let allowed = bytes.len() * GROWTH_MAX + FIXED_BYTES;
        assert!(taken <= allowed, "{}: {taken} bytes were taken for {} bytes", self.name, bytes.len());
        answer
    }
}

/// One change of a sample.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    /// A number at its edge, in so many bytes, at a place that is often a field's.
    Extreme {
        at: Index,
        bytes: usize,
        value: u64,
        aligned: bool,
    },
    Double(Index, Index),
    Insert(Index, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Change::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Change::Extreme { at, bytes: width, value, aligned } => {
                let at = at.index(bytes.len());
                let at = if *aligned { at / width * width } else { at };
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            Change::Double(from, to) => {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from.max(to)..from.max(to), piece);
            }
            Change::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let edge = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(i64::MAX as u64),
        Just(u64::from(u32::MAX)),
        Just(1 << 31),
        0u64..70_000,
        any::<u64>(),
    ];
    let extreme = (any::<Index>(), prop_oneof![Just(1usize), Just(2), Just(4), Just(8)], edge, any::<bool>());
    prop_oneof![
        (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        any::<Index>().prop_map(Change::Cut),
        extreme.prop_map(|(at, bytes, value, aligned)| Change::Extreme { at, bytes, value, aligned }),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Double(from, to)),
        (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, piece)| Change::Insert(at, piece)),
    ]
}

#[test]
fn every_sample_is_read_whole_and_resealing_it_changes_nothing() {
    for target in TARGETS {
        for sample in target.samples() {
            assert!(target.run(&sample), "{} does not read its own sample", target.name);
            let mut sealed = sample.clone();
            (target.reseal)(&mut sealed);
            assert!(sealed == sample, "{} has other checksums than its layout says", target.name);
        }
    }
}

#[test]
fn every_prefix_of_every_sample_is_an_error_or_a_value() {
    for target in TARGETS {
        for sample in target.samples() {
            let step = (sample.len() / 300).max(1);
            for end in (0..sample.len()).step_by(step) {
                target.run(&sample[..end]);
                let mut sealed = sample[..end].to_vec();
                (target.reseal)(&mut sealed);
                target.run(&sealed);
            }
        }
    }
}

/// Every 4 and 8 bytes of the first kilobyte, and of the last, at their edges: that is where headers and trailers are.
#[test]
fn every_field_at_its_edges_under_right_checksums_is_an_error_or_a_value() {
    for target in TARGETS {
        for sample in target.samples() {
            let head = 0..sample.len().min(256);
            let first_batch = 4096..sample.len().clamp(4096, 4096 + 128);
            let tail = sample.len().saturating_sub(512)..sample.len();
            for at in head.chain(first_batch).chain(tail).filter(|at| at % 4 == 0 || sample.len() - at < 256) {
                for width in [4, 8] {
                    for value in [0, 1, u64::MAX, u64::MAX - 1, i64::MAX as u64, 1 << 31, u64::from(u32::MAX)] {
                        let mut bytes = sample.clone();
                        let end = (at + width).min(bytes.len());
                        bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                        (target.reseal)(&mut bytes);
                        target.run(&bytes);
                    }
                }
            }
        }
    }
}

/// The one lie that needs two fields: a table whose counts add up to what the trailer says, and more records than bytes.
#[test]
fn a_block_that_claims_more_records_than_it_has_bytes_takes_no_memory_for_them() {
    let target = TARGETS.iter().find(|target| target.name == "sealed segment").expect("it is a target");
    let mut bytes = target.samples().remove(0);
    let trailer = bytes.len() - 104;
    let table = u64::from_le_bytes(bytes[trailer + 72..trailer + 80].try_into().expect("eight bytes")) as usize;
    let last_row = trailer - 32;
    assert!(last_row >= table, "the sample has a block");
    let first = u64::from_le_bytes(bytes[last_row + 8..last_row + 16].try_into().expect("eight bytes"));
    let count = 1u32 << 28;
    bytes[last_row + 24..last_row + 28].copy_from_slice(&count.to_le_bytes());
    let last = first + u64::from(count) - 1;
    bytes[trailer + 48..trailer + 56].copy_from_slice(&last.to_le_bytes());
    (target.reseal)(&mut bytes);
    assert!(!target.run(&bytes), "it cannot be whole");
}

/// Segments at the ends of the numbers, with everything else in order.
#[test]
fn a_segment_at_the_end_of_all_numbers_is_damage() {
    let find = |name: &str| TARGETS.iter().find(|target| target.name == name).expect("it is a target");
    let put = |bytes: &mut [u8], at: usize, number: u64| bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    for first in [0, u64::MAX - 3, u64::MAX] {
        let raw = find("segment");
        let mut bytes = raw.samples().remove(0);
        put(&mut bytes, 40, first);
        put(&mut bytes, 4096 + 24, first);
        (raw.reseal)(&mut bytes);
        assert!(!raw.run(&bytes), "a raw segment from seq {first}");

        let sealed = find("sealed segment");
        let mut bytes = sealed.samples().remove(0);
        let trailer = bytes.len() - 104;
        let table = u64::from_le_bytes(bytes[trailer + 72..trailer + 80].try_into().expect("eight bytes")) as usize;
        put(&mut bytes, table + 8, first);
        put(&mut bytes, trailer + 40, first);
        put(&mut bytes, trailer + 48, u64::MAX);
        (sealed.reseal)(&mut bytes);
        assert!(!sealed.run(&bytes), "a sealed segment from seq {first}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_an_error_or_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for target in TARGETS {
            target.run(&bytes);
            let mut sealed = bytes.clone();
            (target.reseal)(&mut sealed);
            target.run(&sealed);
        }
    }

    #[test]
    fn changed_samples_are_an_error_or_a_value(
        which in any::<Index>(),
        sample in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..5),
        is_sealed in prop::bool::weighted(0.8),
    ) {
        let target = &TARGETS[which.index(TARGETS.len())];
        let samples = target.samples();
        let mut bytes = samples[sample.index(samples.len())].clone();
        for change in &changes {
            change.apply(&mut bytes);
        }
        if is_sealed {
            (target.reseal)(&mut bytes);
        }
        target.run(&bytes);
    }
}
