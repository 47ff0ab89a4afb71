//! What a blind simulation would let pass: with a promise of the disk taken away, it has to find something wrong.

use crate::disk::Lie;
use crate::machine::passport_dir;
use crate::random::Draws;
use crate::run::{Plan, Run, guarded};

/// The first of some seeds that finds a violation, and which.
fn first_violation(plan: impl Fn(u64) -> Plan, seeds: u64) -> Option<(u64, String)> {
    (1..=seeds).find_map(|seed| guarded(&plan(seed)).err().map(|violation| (seed, violation)))
}

fn finds(lies: &[Lie]) {
    let found = first_violation(|seed| Plan { lies: lies.to_vec(), ..Plan::random(seed) }, 3000);
    let (seed, violation) = found.unwrap_or_else(|| panic!("{lies:?} goes unnoticed"));
    println!("{lies:?}: found by seed {seed}: {violation}");
}

#[test]
fn a_log_that_is_not_synced_is_found() {
    finds(&[Lie::SyncOf(".seg")]);
}

#[test]
fn a_sealed_segment_that_is_not_synced_is_found() {
    finds(&[Lie::SyncOf(".segz.tmp")]);
}

#[test]
fn a_log_whose_directory_is_not_synced_is_found() {
    finds(&[Lie::SyncDirOf("passport")]);
}

#[test]
fn a_new_log_whose_place_is_not_synced_is_found() {
    finds(&[Lie::SyncDirOf("data")]);
    finds(&[Lie::SyncDirOf("coliseum")]);
}

/// Bytes that are others under checksums that are right: what a flipped bit would be, were there no checksums.
#[test]
fn other_content_under_right_checksums_is_found() {
    let run_of = |seed: u64| {
        let plan = Plan::calm(seed, 40);
        let mut run = Run::new(&plan);
        let mut process = run.start()?;
        for _ in 0..12 {
            run.machine.send(&mut process, &mut Draws::new(seed));
            run.machine.write(&mut process)?.map_err(|why| format!("the writer failed: {why}"))?;
        }
        drop(process);
        run.machine.disk.settle();
        run.machine.disk.kill();
        let files = run.machine.disk.files_below(&passport_dir());
        let last = files.iter().rfind(|path| path.extension().is_some_and(|extension| extension == "seg"));
        run.machine.disk.damage(last.expect("an active segment"), |bytes| forge(bytes));
        let process = run.start()?;
        run.machine.judge(&process)
    };
    let violation = run_of(1).expect_err("a forged entry goes unnoticed");
    assert!(violation.contains("changed"), "{violation}");
}

/// Changes a letter in the last batch of a raw segment, and every checksum that covers it.
fn forge(bytes: &mut [u8]) {
    const HEADER_BYTES: usize = 64;
    let start = memchr::memmem::rfind(bytes, b"CLMB").expect("a batch");
    let body = u32::from_le_bytes(bytes[start + 36..start + 40].try_into().expect("4 bytes")) as usize;
    let batch = &mut bytes[start..start + HEADER_BYTES + body];
    let letter = memchr::memmem::find(batch, b"\"userId\":\"u").expect("an event") + 11;
    batch[letter] ^= 1;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&batch[..52]);
    hasher.update(&batch[HEADER_BYTES..]);
    batch[52..56].copy_from_slice(&hasher.finalize().to_le_bytes());
    let header = crc32fast::hash(&batch[..56]);
    batch[56..60].copy_from_slice(&header.to_le_bytes());
}

#[test]
fn a_snapshot_that_is_not_synced_is_found() {
    finds(&[Lie::SyncDirOf("snapshots")]);
    finds(&[Lie::SyncOf("manifest.json")]);
}

#[test]
fn a_torn_tail_that_is_not_kept_for_good_is_found() {
    finds(&[Lie::SyncDirOf("torn")]);
}
