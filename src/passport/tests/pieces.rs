//! What those who follow the log are given: each entry in its place, parsed, and made once for all of them.

use super::*;

/// Follows the log from `after` to its end as a consumer does: seqs, keys, and whether the payload was read.
fn follow(log: &Log, mut after: Seq) -> Vec<(u64, String, bool)> {
    let mut followed = Vec::new();
    while let Some(piece) = log.piece(after).expect("readable") {
        let entries = piece.entries(after, log.durable());
        assert!(piece.first_seq() <= after.next() && after < piece.last_seq(), "it holds what was asked for");
        assert!(!entries.is_empty(), "nothing after {after}");
        for parsed in entries {
            let key = parsed.entry.envelope.message_id.to_owned();
            let is_vote = matches!(parsed.facts, Ok(crate::event::Facts::Vote { .. }));
            followed.push((parsed.entry.seq.get(), key, is_vote));
            after = parsed.entry.seq;
        }
    }
    assert_eq!(after, log.durable());
    followed
}

#[test]
fn whoever_follows_from_wherever_gets_every_entry_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 2_000);
    let passport = open(dir.path()).expect("opens");
    for from in (2_000..2_120).step_by(3) {
        append(&passport, &[(from, from), (from + 1, 0), (from + 2, 0)]);
    }
    let log = passport.log();
    let whole: Vec<_> = entries(&passport).into_iter().map(|(seq, key, _)| (seq, key, true)).collect();
    assert_eq!(whole.len(), 2_120);
    // From the end on first, so that the pieces that are kept start in other places.
    for after in (0..=2_120).rev().step_by(53).chain([0, 2_119]) {
        assert_eq!(follow(&log, Seq::new(after)), whole[after as usize..], "after {after}");
    }
}

#[test]
fn a_piece_of_the_growing_end_is_made_once_and_says_nothing_of_what_comes() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    let log = passport.log();
    assert!(log.piece(Seq::ZERO).expect("readable").is_none());
    append(&passport, &[(1, 1), (2, 2), (3, 3)]);
    let first = log.piece(Seq::ZERO).expect("readable").expect("it is durable");
    let again = log.piece(Seq::new(1)).expect("readable").expect("it is durable");
    assert!(Arc::ptr_eq(&first, &again), "the second one to come finds it made");
    assert_eq!(first.entries(Seq::new(1), Seq::new(2)).len(), 1, "behind the one, up to the other");
    assert!(first.entries(Seq::new(3), Seq::new(9)).is_empty() && first.entries(Seq::new(3), Seq::ZERO).is_empty());
    append(&passport, &[(4, 4)]);
    assert_eq!(first.last_seq(), Seq::new(3));
    assert_eq!(follow(&log, Seq::new(3)).len(), 1);
    assert!(log.piece(Seq::new(4)).expect("readable").is_none() && log.piece(Seq::new(9)).expect("readable").is_none());
}

#[test]
fn a_piece_of_a_sealed_segment_is_made_once_for_those_in_step() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 2_000);
    let passport = open(dir.path()).expect("opens");
    let log = passport.log();
    assert!(log.is_sealed(Seq::new(1)));
    let made = |after: u64| log.piece(Seq::new(after)).expect("readable").expect("it is durable");
    let first = made(0);
    assert!(Arc::ptr_eq(&first, &made(0)), "the second one to come finds it made");
    assert!(!Arc::ptr_eq(&first, &made(first.last_seq().get())));
}

#[test]
fn a_payload_that_does_not_read_is_the_trouble_of_its_entry() {
    let parsed = Parsed::of(Entry { seq: Seq::new(7), envelope: envelope("k", "u", "{}") });
    assert!(parsed.facts.is_err(), "a vote names its artist");
}
