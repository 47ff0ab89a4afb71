//! The check of all runs against the log.

use super::*;

/// An index of some runs and a tail, with every key once.
fn bed() -> Bed {
    let mut bed = Bed::new();
    for n in 0..1_000u64 {
        bed.insert(key(n));
        if n % 150 == 149 {
            bed.seal();
            bed.write_waiting().unwrap();
        }
    }
    assert_eq!(bed.upkeep.runs().len(), 6);
    bed
}

fn key(n: u64) -> Fingerprint {
    Fingerprint::new(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// What the check of a bed finds when the log holds these keys, and which seqs have one fingerprint.
fn check(bed: &Bed, log: impl IntoIterator<Item = (Fingerprint, u64)>) -> (Vec<KeyFinding>, Vec<Vec<u64>>) {
    let mut check = bed.index.stats_source().hold().check();
    for (fingerprint, seq) in log {
        check.add_fingerprint(fingerprint, Seq::new(seq));
    }
    let mut twins = Vec::new();
    let mut note = |seqs: &[Seq]| twins.push(seqs.iter().map(|seq| seq.get()).collect());
    let findings = check.finish(&mut |_| true, &mut note);
    (findings, twins)
}

fn log(bed: &Bed) -> Vec<(Fingerprint, u64)> {
    bed.log.iter().copied().zip(1..).collect()
}

#[test]
fn runs_that_hold_exactly_the_keys_of_the_log_pass_while_they_are_joined_meanwhile() {
    let mut bed = bed();
    let held = bed.index.stats_source().hold();
    bed.settle().unwrap();
    bed.reopen().settle().unwrap();
    let mut bed = self::bed();
    assert_eq!(check(&bed, log(&bed)), (Vec::new(), Vec::new()));
    bed.settle().unwrap();
    assert_eq!(check(&bed, log(&bed)), (Vec::new(), Vec::new()));
    assert_eq!(held.ranges().len(), 6, "what is held stays as it was");
}

#[test]
fn a_key_that_is_missing_too_many_or_under_another_seq_is_found_and_the_run_named() {
    let bed = bed();
    let mut other = log(&bed);
    other[200].0 = key(5_000);
    let (found, _) = check(&bed, other);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].file.starts_with("00000000000000000151-") && found[0].what.contains("not those"), "{found:?}");

    let mut swapped = log(&bed);
    (swapped[10].0, swapped[11].0) = (swapped[11].0, swapped[10].0);
    assert_eq!(check(&bed, swapped).0.len(), 1, "the same keys under each other's seqs");

    let mut fewer = log(&bed);
    fewer.remove(300);
    let (found, _) = check(&bed, fewer);
    assert!(found.len() == 1 && found[0].what.contains("holds 150 keys, the log has 149"), "{found:?}");
}

#[test]
fn equal_fingerprints_are_met_across_runs_and_the_tail() {
    let mut bed = bed();
    for n in [3, 700, 999] {
        bed.insert(key(n));
    }
    let (found, mut twins) = check(&bed, log(&bed));
    twins.sort();
    assert_eq!((found, twins), (Vec::new(), vec![vec![4, 1001], vec![701, 1002], vec![1000, 1003]]));
}

#[test]
fn a_damaged_run_is_named_with_its_offset_and_a_range_that_could_not_be_read_is_not_judged() {
    let bed = bed();
    let range = bed.upkeep.runs()[2].range;
    bed.disk.damage(&Path::new(DIR).join(file_name(range)), |bytes| {
        let last = bytes.len() - 40;
        bytes[last] ^= 1;
    });
    let (found, _) = check(&bed, log(&bed));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].offset.is_some() && found[0].what.contains("checksum"), "{found:?}");

    let bed = self::bed();
    let mut check = bed.index.stats_source().hold().check();
    check.skip(Seq::new(1), Seq::new(1_000));
    assert_eq!(check.finish(&mut |_| true, &mut |_| {}), Vec::new());
}

#[test]
fn a_survey_names_runs_that_are_damaged_beyond_the_log_or_of_another_one_and_changes_nothing() {
    let bed = bed();
    let dir = Path::new(DIR);
    let survey = |log_id, end| super::survey(&bed.disk, dir, log_id, Seq::new(end)).unwrap();
    assert_eq!(survey(LOG, 1_000), Vec::new());
    assert_eq!(survey(LOG, 899).len(), 1);
    assert_eq!(survey([0; 16], 1_000).len(), 7, "six runs and the secret");
    let run = dir.join(file_name(bed.upkeep.runs()[0].range));
    bed.disk.damage(&run, |bytes| bytes[70] ^= 1);
    let before = bed.disk.contents(&run);
    assert_eq!(survey(LOG, 1_000).len(), 1);
    assert!(bed.disk.contents(&run) == before);
}
