//! What a blind simulation would let pass: with a promise of the disk taken away, it has to find something wrong.

use crate::disk::Lie;
use crate::run::{Plan, guarded};

/// The first of some seeds that finds a violation, and which.
fn first_violation(plan: impl Fn(u64) -> Plan, seeds: u64) -> Option<(u64, String)> {
    (1..=seeds).find_map(|seed| guarded(&plan(seed)).err().map(|violation| (seed, violation)))
}

fn finds(lies: &[Lie]) {
    let found = first_violation(|seed| Plan { lies: lies.to_vec(), ..Plan::random(seed) }, 400);
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
