//! The index against a list of all keys ever inserted, through seals, merges, crashes, damage and failing disks.

mod check;
mod memory_disk;
mod whole;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::layout::{HEADER_BYTES, Header, Layout};
use super::run::file_name;
use super::*;
use crate::world::SystemRandom;
use memory_disk::{MemoryDisk, Survives};

const DIR: &str = "passport/keys";
const LOG: [u8; 16] = *b"identity of log ";

/// An index, the log it is derived from, and the tables on their way from one side to the other.
struct Bed {
    disk: MemoryDisk,
    /// The key of entry n stands at n - 1.
    log: Vec<Fingerprint>,
    index: KeyIndex,
    upkeep: Upkeep,
    waiting: VecDeque<Arc<Sealed>>,
}

impl Bed {
    fn new() -> Bed {
        Bed::on(MemoryDisk::new(), Vec::new())
    }

    fn on(disk: MemoryDisk, log: Vec<Fingerprint>) -> Bed {
        let (mut bed, report) = Bed::open(disk, log).unwrap();
        bed.restore(&report).unwrap();
        bed
    }

    fn open(disk: MemoryDisk, log: Vec<Fingerprint>) -> Result<(Bed, OpenReport), KeyError> {
        let log_end = Seq::new(log.len() as u64);
        let opened =
            KeyIndex::open(Arc::new(disk.clone()), &SystemRandom, PathBuf::from(DIR), LOG, log_end, RECENT_KEYS)?;
        let bed = Bed { disk, log, index: opened.index, upkeep: opened.upkeep, waiting: VecDeque::new() };
        Ok((bed, opened.report))
    }

    /// What the writer does before it answers anything.
    fn restore(&mut self, report: &OpenReport) -> Result<(), KeyError> {
        self.rebuild_gaps()?;
        for seq in report.tail_after.get() + 1..=self.log.len() as u64 {
            self.index.insert(self.log[seq as usize - 1], Seq::new(seq));
        }
        Ok(())
    }

    fn rebuild_gaps(&mut self) -> Result<(), KeyError> {
        for gap in self.upkeep.gaps() {
            let mut rebuild = self.upkeep.rebuild(gap);
            for seq in gap.first().get()..=gap.last().get() {
                rebuild.add(self.log[seq as usize - 1], Seq::new(seq))?;
            }
            rebuild.finish()?;
        }
        Ok(())
    }

    fn reopen(self) -> Bed {
        Bed::on(self.disk, self.log)
    }

    fn insert(&mut self, fingerprint: Fingerprint) {
        self.log.push(fingerprint);
        self.index.insert(fingerprint, Seq::new(self.log.len() as u64));
    }

    fn seal(&mut self) {
        let end = Seq::new(self.log.len() as u64);
        if end > self.index.sealed_to {
            let sealed = self.index.seal(end);
            self.waiting.push_back(sealed);
        }
    }

    fn write_waiting(&mut self) -> Result<(), KeyError> {
        while let Some(sealed) = self.waiting.front() {
            self.upkeep.write(sealed)?;
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), KeyError> {
        self.seal();
        self.write_waiting()?;
        while self.upkeep.step()? {}
        Ok(())
    }

    fn model(&self, fingerprint: Fingerprint) -> Vec<Seq> {
        let same = (1..).zip(&self.log).filter(|(_, key)| **key == fingerprint);
        let mut seqs: Vec<Seq> = same.map(|(seq, _)| Seq::new(seq)).collect();
        seqs.reverse();
        seqs
    }

    /// Looks every key up, singly and in one batch; an error must be one of damage or of the disk, an answer exact.
    fn check(&self, keys: impl IntoIterator<Item = Fingerprint>) -> Result<(), KeyError> {
        let keys: Vec<_> = keys.into_iter().collect();
        let (mut found, mut error) = (Vec::new(), None);
        let mut singly = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            match self.index.candidates(*key, &mut found) {
                Ok(()) => assert_eq!(found, self.model(*key), "{key:x?} with a log of {}", self.log.len()),
                Err(cause) => error = Some(cause),
            }
            singly.extend(found.iter().map(|seq| Hit { index, seq: *seq }));
        }
        let mut hits = Vec::new();
        match (self.index.candidates_batch(&keys, &mut hits), error) {
            (Ok(()), None) => assert_eq!(hits, singly),
            (Err(cause), _) | (_, Some(cause)) => return Err(cause),
        }
        Ok(())
    }

    fn run_files(&self) -> Vec<PathBuf> {
        let runs = self.upkeep.runs();
        runs.iter().map(|run| Path::new(DIR).join(file_name(run.range))).collect()
    }

    fn files(&self) -> Vec<String> {
        self.disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect()
    }
}

/// A few fingerprints that agree in ever more bits, so that quotients and remainders collide, and both ends.
fn pool() -> Vec<Fingerprint> {
    let base = 0x9e37_79b9_7f4a_7c15u64;
    let near = (0..64).step_by(3).map(|bit| base ^ 1 << bit);
    let spread = (1..24).map(|n| base.wrapping_mul(2 * n + 1));
    [0, 1, u64::MAX - 1, u64::MAX].into_iter().chain(near).chain(spread).map(Fingerprint::new).collect()
}

fn scattered(count: u64) -> impl Iterator<Item = Fingerprint> {
    let fingerprinter = Fingerprinter(SipHasher13::new_with_key(b"sixteen bytes ok"));
    (0..count).map(move |n| fingerprinter.fingerprint(&n.to_string()))
}

#[derive(Clone, Debug)]
enum Action {
    Insert(Vec<prop::sample::Index>),
    Seal,
    Write,
    Step,
    Restart,
    PowerCut(Survives),
    CutLog(usize),
    Damage { file: prop::sample::Index, bit: prop::sample::Index },
    LoseFile(prop::sample::Index),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => prop::collection::vec(any::<prop::sample::Index>(), 1..200).prop_map(Action::Insert),
        6 => Just(Action::Seal),
        6 => Just(Action::Write),
        6 => Just(Action::Step),
        1 => Just(Action::Restart),
        1 => prop_oneof![Just(Survives::Nothing), Just(Survives::Names)].prop_map(Action::PowerCut),
        1 => (0usize..300).prop_map(Action::CutLog),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(file, bit)| Action::Damage { file, bit }),
        1 => any::<prop::sample::Index>().prop_map(Action::LoseFile),
    ]
}

fn act(mut bed: Bed, action: &Action, pool: &[Fingerprint]) -> Bed {
    match action {
        Action::Insert(keys) => keys.iter().for_each(|key| bed.insert(*key.get(pool))),
        Action::Seal => bed.seal(),
        Action::Write => bed.write_waiting().unwrap(),
        Action::Step => drop(bed.upkeep.step().unwrap()),
        Action::Restart => bed = bed.reopen(),
        Action::PowerCut(survives) => {
            bed.disk.power_cut(*survives);
            bed = bed.reopen();
        }
        Action::CutLog(entries) => {
            bed.log.truncate(bed.log.len().saturating_sub(*entries));
            bed = bed.reopen();
        }
        Action::Damage { file, bit } => {
            let files = bed.run_files();
            if files.is_empty() {
                return bed;
            }
            bed.disk.damage(&files[file.index(files.len())], |bytes| {
                let bit = bit.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
            // In service: damage where it is read, never another answer. Afterwards: found and mended.
            if let Err(cause) = bed.check(pool.iter().copied()) {
                assert!(matches!(cause, KeyError::Damaged { .. }), "{cause}");
            }
            bed = bed.reopen();
            for run in bed.upkeep.runs() {
                if bed.upkeep.scrub(run.range).is_err() {
                    bed.upkeep.discard(run.range).unwrap();
                    assert!(matches!(bed.check(pool.iter().copied()), Err(KeyError::Incomplete { .. })));
                }
            }
            bed.rebuild_gaps().unwrap();
        }
        Action::LoseFile(file) => {
            let files = bed.files();
            // For good: a run that comes back after the log was cut would speak of other entries.
            bed.disk.remove(&Path::new(DIR).join(file.get(&files))).unwrap();
            bed.disk.sync_dir(Path::new(DIR)).unwrap();
            bed = bed.reopen();
        }
    }
    bed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_key_is_found_and_no_other_whatever_happens(actions in prop::collection::vec(action(), 1..80)) {
        let pool = pool();
        let mut bed = Bed::new();
        for action in &actions {
            bed = act(bed, action, &pool);
            bed.index.forget_installed();
            bed.check(pool.iter().copied()).unwrap();
        }
        bed.settle().unwrap();
        bed.check(pool.iter().copied()).unwrap();
    }

    #[test]
    fn a_directory_that_lies_under_right_checksums_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let bed = one_run(300);
        let path = &bed.run_files()[0];
        bed.disk.damage(path, |bytes| {
            let header = Header::decode(bytes[..HEADER_BYTES].try_into().unwrap()).unwrap();
            let (bits, remainders, entries) = offsets(&header.layout);
            for (at, value) in &changes {
                bytes[bits + at.index(entries - bits)] = *value;
            }
            let bits_crc = crc32fast::hash(&bytes[bits..remainders]);
            let remainders_crc = crc32fast::hash(&bytes[remainders..entries]);
            bytes[..HEADER_BYTES].copy_from_slice(&Header { bits_crc, remainders_crc, ..header }.encode());
        });
        // It may hold (another remainder) or not (another count): it only must come to an end.
        let (bed, _) = Bed::open(bed.disk, bed.log).unwrap();
        let mut found = Vec::new();
        for key in scattered(600) {
            let _ = bed.index.candidates(key, &mut found);
        }
        for run in bed.upkeep.runs() {
            let _ = bed.upkeep.scrub(run.range);
        }
    }
}

fn offsets(layout: &Layout) -> (usize, usize, usize) {
    (layout.bits_offset() as usize, layout.remainders_offset() as usize, layout.entries_offset() as usize)
}

/// An index whose keys are all in one run.
fn one_run(keys: u64) -> Bed {
    let mut bed = Bed::new();
    scattered(keys).for_each(|key| bed.insert(key));
    bed.settle().unwrap();
    assert_eq!(bed.upkeep.runs().len(), 1);
    bed
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_run_is_found_at_open_or_by_the_scrub() {
    let bed = one_run(300);
    let (range, path) = (bed.upkeep.runs()[0].range, &bed.run_files()[0]);
    let good = bed.disk.contents(path);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        bed.disk.put(path, &bad);
        let (again, report) = Bed::open(bed.disk.clone(), bed.log.clone()).unwrap();
        let at_open = report.dropped.iter().any(|file| file.damaged) && report.tail_after == Seq::ZERO;
        let by_scrub = matches!(again.upkeep.scrub(range), Err(KeyError::Damaged { run, .. }) if run == range);
        assert!(at_open || by_scrub, "byte {at}");
    }
}

#[test]
fn a_run_cut_at_any_length_or_grown_is_dropped_at_open() {
    let bed = one_run(300);
    let path = &bed.run_files()[0];
    let good = bed.disk.contents(path);
    let grown = [&good[..], &[0]].concat();
    for bytes in (0..good.len()).map(|len| &good[..len]).chain([&grown[..]]) {
        bed.disk.put(path, bytes);
        let (_, report) = Bed::open(bed.disk.clone(), bed.log.clone()).unwrap();
        assert_eq!((report.tail_after, report.dropped.len()), (Seq::ZERO, 1), "{} bytes", bytes.len());
    }
}

#[test]
fn a_block_of_another_run_or_place_is_not_taken() {
    let bed = one_run(1000);
    let path = &bed.run_files()[0];
    bed.disk.damage(path, |bytes| {
        let header = Header::decode(bytes[..HEADER_BYTES].try_into().unwrap()).unwrap();
        let (one, two) = (header.layout.block_offset(1) as usize, header.layout.block_offset(2) as usize);
        bytes.copy_within(one..two, two);
    });
    assert!(matches!(bed.upkeep.scrub(bed.upkeep.runs()[0].range), Err(KeyError::Damaged { .. })));
    assert!(matches!(bed.check(bed.log.iter().copied().step_by(7)), Err(KeyError::Damaged { .. })));
}

/// Inserts, seals, merges and looks up; every call that fails is made again once. Returns whether anything failed.
fn service_with_retries(bed: &mut Bed, keys: &[Fingerprint]) -> bool {
    let mut failed = false;
    for (n, key) in keys.iter().enumerate() {
        bed.insert(*key);
        if n % 20 == 19 {
            bed.seal();
            while let Err(cause) = bed.write_waiting() {
                assert!(matches!(cause, KeyError::Io { .. }), "{cause}");
                failed = true;
            }
            loop {
                match bed.upkeep.step() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(cause) => {
                        assert!(matches!(cause, KeyError::Io { .. }), "{cause}");
                        failed = true;
                    }
                }
            }
            bed.index.forget_installed();
        }
    }
    if let Err(cause) = bed.check(keys.iter().copied().step_by(7)) {
        assert!(matches!(cause, KeyError::Io { .. }), "{cause}");
        failed = true;
    }
    failed
}

#[test]
fn a_disk_that_fails_at_any_call_gives_errors_and_loses_no_key() {
    let keys: Vec<_> = scattered(200).collect();
    for calls in 0.. {
        let mut bed = Bed::new();
        bed.disk.fail_after(calls, false);
        let failed = service_with_retries(&mut bed, &keys);
        bed.disk.heal();
        bed.check(keys.iter().copied()).unwrap();
        bed.reopen().check(keys.iter().copied()).unwrap();
        if !failed {
            break;
        }
    }
}

#[test]
fn a_power_cut_at_any_call_loses_no_run_and_leaves_nothing_beside_them() {
    let keys: Vec<_> = scattered(400).collect();
    for calls in 0.. {
        let mut reached_the_end = true;
        for survives in [Survives::Nothing, Survives::Names] {
            let mut bed = Bed::new();
            bed.disk.fail_after(calls, true);
            for (n, key) in keys.iter().enumerate() {
                bed.insert(*key);
                if n % 40 == 39 && bed.settle().is_err() {
                    break;
                }
            }
            reached_the_end &= !bed.disk.heal();
            bed.disk.power_cut(survives);
            let covered_to = bed.index.stats_source().stats().covered_to;
            let log = bed.log.clone();
            let (mut bed, report) = Bed::open(bed.disk, bed.log).unwrap();
            let lost = report.dropped.iter().any(|file| file.damaged) || !report.gaps.is_empty();
            assert!(!lost && report.tail_after >= covered_to, "{report:?} though covered to {covered_to}");
            bed.restore(&report).unwrap();
            bed.check(log).unwrap();
            assert!(bed.files().iter().all(|name| !name.ends_with(".tmp")), "{:?}", bed.files());
            assert_eq!(
                bed.files().len(),
                bed.run_files().len() + 1,
                "no run is left beside the one that holds its keys"
            );
        }
        if reached_the_end {
            break;
        }
    }
}

#[test]
fn an_open_that_fails_at_any_call_is_an_error_and_the_next_one_is_whole() {
    let bed = one_run(300);
    bed.disk.put(&Path::new(DIR).join("left.tmp"), b"half");
    for calls in 0.. {
        bed.disk.fail_after(calls, false);
        let opened = Bed::open(bed.disk.clone(), bed.log.clone());
        let failed = bed.disk.heal();
        assert_eq!(opened.is_err(), failed, "call {calls}");
        if !failed {
            break;
        }
    }
    let log = bed.log.clone();
    bed.reopen().check(log).unwrap();
}

#[test]
fn without_its_fingerprint_key_or_with_another_logs_every_run_is_dropped() {
    let path = Path::new(DIR).join(secret::FILE_NAME);
    type Change = fn(&MemoryDisk, &Path);
    let changes: [(&str, Change); 4] = [
        ("missing", |disk, path| disk.remove(path).unwrap()),
        ("damaged", |disk, path| disk.damage(path, |bytes| bytes[20] ^= 1)),
        ("another length", |disk, path| disk.damage(path, |bytes| bytes.truncate(9))),
        ("another log", |disk, path| {
            disk.remove(path).unwrap();
            KeyIndex::open(
                Arc::new(disk.clone()),
                &SystemRandom,
                "passport/keys".into(),
                [9; 16],
                Seq::new(300),
                RECENT_KEYS,
            )
            .map(drop)
            .unwrap();
        }),
    ];
    for (why, change) in changes {
        let bed = one_run(300);
        let log = bed.log.clone();
        let run = file_name(bed.upkeep.runs()[0].range);
        let good = bed.disk.contents(&Path::new(DIR).join(&run));
        change(&bed.disk, &path);
        bed.disk.put(&Path::new(DIR).join(&run), &good);
        let (mut bed, report) = Bed::open(bed.disk, bed.log).unwrap();
        assert_eq!(report.tail_after, Seq::ZERO);
        assert_eq!(report.dropped.len(), 1, "{why}");
        assert!(report.dropped[0].why.contains(why), "{:?}", report.dropped);
        bed.restore(&report).unwrap();
        bed.check(log).unwrap();
    }
}

#[test]
fn a_run_of_another_fingerprint_key_is_dropped() {
    let (bed, other) = (one_run(300), one_run(300));
    let path = &bed.run_files()[0];
    bed.disk.put(path, &other.disk.contents(path));
    let (_, report) = Bed::open(bed.disk, bed.log).unwrap();
    assert!(report.dropped[0].why.contains("another fingerprint key"), "{:?}", report.dropped);
}

#[test]
fn the_bytes_of_a_run_are_those_of_version_1() {
    let bed = Bed::new();
    let range = SeqRange::new(Seq::new(41), Seq::new(43));
    let layout = Layout::new(range, 3).unwrap();
    let disk = Arc::new(bed.disk.clone());
    let mut writer = run_writer::RunWriter::create(disk, DIR.into(), layout, 0x0807_0605_0403_0201).unwrap();
    for (bits, seq) in [(0x0123_4567_89ab_cdef, 43), (0x0123_4567_89ab_cdf0, 41), (0xfedc_ba98_7654_3210, 42)] {
        writer.push(Fingerprint::new(bits), Seq::new(seq)).unwrap();
    }
    writer.finish().unwrap();
    let bytes = bed.disk.contents(&Path::new(DIR).join(file_name(range)));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN.concat());
}

/// Part by part as `layout` says.
const GOLDEN: &[&str] = &[
    // magic, version, checksum of the quotients
    "434f4c494b45595301000000daf85687",
    // first seq, last seq
    "29000000000000002b00000000000000",
    // keys, check of the fingerprint key
    "03000000000000000102030405060708",
    // checksum of the remainders, zero, checksum of the header
    "74b330d200000000e2a39ec7",
    // quotients: two keys of quotient 0, one of 63
    "03000000000000000200000000000000",
    // remainders: 48d, 48d, b72
    "8dd448720b",
    // entries: 46 low bits and seq - 41, then their checksum
    "efcdab89670502f0cdab8967050010325476983a01e9f1153f",
];
