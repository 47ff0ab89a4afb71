//! What a crash or a failing disk leaves: torn tails are cut, everything else stops the start or answers with an error.

use super::*;

#[test]
fn a_torn_tail_is_cut_kept_aside_and_written_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    append(&passport, &[(1, 1)]);
    append(&passport, &[(2, 2), (3, 3)]);
    passport.close();
    let path = segment_files(dir.path(), "seg").remove(0);
    let mut bytes = fs::read(&path).expect("readable");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("not all zero");
    bytes[end - 5..=end].fill(0);
    fs::write(&path, &bytes).expect("writable");

    let passport = open(dir.path()).expect("opens");
    let torn = passport.torn_tail().expect("something was cut").clone();
    assert!(torn.kept_in.exists());
    assert_eq!(entries(&passport).len(), 1);
    assert_eq!(append(&passport, &[(3, 8)]), [Outcome::Stored(Seq::new(2))]);
    passport.close();
    let passport = open(dir.path()).expect("opens");
    assert!(passport.torn_tail().is_none(), "the cut is done once");
    assert_eq!(entries(&passport).len(), 2);
}

#[test]
fn damage_before_the_last_batch_stops_the_start_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    append(&passport, &[(1, 1)]);
    append(&passport, &[(2, 2)]);
    append(&passport, &[(3, 3)]);
    passport.close();
    let path = segment_files(dir.path(), "seg").remove(0);
    let good = fs::read(&path).expect("readable");
    let end = good.iter().rposition(|byte| *byte != 0).expect("not all zero");
    let last = good[..end].windows(4).rposition(|four| four == b"CLMB").expect("a batch");
    for at in (0..72).chain(4096..last) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).expect("writable");
        let error = open(dir.path()).map(|_| ()).expect_err("damage stops the start");
        let text = error.to_string();
        assert!(text.contains(".seg") && text.contains("offset") && text.contains("coliseum verify"), "{text}");
        assert_eq!(fs::read(&path).expect("readable"), bad, "byte {at}: nothing was changed");
    }
    fs::write(&path, &good).expect("writable");
    assert_eq!(entries(&open(dir.path()).expect("opens")).len(), 3);
}

/// Two histories of one segment part after its first batch; a batch of one of them in the other is whole, of this segment and
/// at its own offset. Only the chain tells.
#[test]
fn a_batch_of_another_history_of_the_same_segment_stops_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    append(&open(dir.path()).expect("opens"), &[(1, 1)]);
    let path = segment_files(dir.path(), "seg").remove(0);
    let begun = fs::read(&path).expect("readable");
    let history = |key: u32| {
        fs::write(&path, &begun).expect("writable");
        let _ = fs::remove_dir_all(dir.path().join("passport/keys"));
        let passport = open(dir.path()).expect("opens");
        append(&passport, &[(key, 7)]);
        append(&passport, &[(9, 9)]);
        passport.close();
        fs::read(&path).expect("readable")
    };
    let (one, other) = (history(2), history(3));
    let batches: Vec<usize> = memchr::memmem::find_iter(&one, b"CLMB").collect();
    assert_eq!(batches, memchr::memmem::find_iter(&other, b"CLMB").collect::<Vec<_>>(), "as long as each other");
    let mut spliced = one;
    spliced[batches[1]..batches[2]].copy_from_slice(&other[batches[1]..batches[2]]);
    fs::write(&path, &spliced).expect("writable");
    let text = open(dir.path()).map(|_| ()).expect_err("the chain breaks").to_string();
    assert!(text.contains("does not follow the one before it") && text.contains("seq 3"), "{text}");
}

/// The same one level up: the first segments of two histories have one id and the same seqs.
#[test]
fn a_segment_of_another_history_of_the_same_log_stops_the_start() {
    let (one, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    append(&open(one.path()).expect("opens"), &[(1, 1)]);
    for entry in fs::read_dir(one.path().join("passport")).expect("a directory") {
        let from = entry.expect("an entry").path();
        if from.is_file() {
            let to = other.path().join("passport").join(from.file_name().expect("a name"));
            fs::create_dir_all(to.parent().expect("a parent")).expect("made");
            fs::copy(from, to).expect("copied");
        }
    }
    for (dir, weight) in [(&one, 1), (&other, 2)] {
        let passport = open(dir.path()).expect("opens");
        (2..900).for_each(|key| drop(append(&passport, &[(key, weight)])));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while segment_files(dir.path(), "seg").len() > 1 {
            assert!(std::time::Instant::now() < deadline, "segments are sealed in the background");
            std::thread::yield_now();
        }
    }
    let [first, foreign] = [&one, &other].map(|dir| segment_files(dir.path(), "segz").remove(0));
    fs::copy(foreign, first).expect("copied");
    let text = open(one.path()).map(|_| ()).expect_err("the chain breaks").to_string();
    assert!(text.contains("the chain of checksums breaks here"), "{text}");
}

#[test]
fn a_missing_cut_doubled_or_swapped_segment_stops_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 1_500);
    let sealed = segment_files(dir.path(), "segz");
    let active = segment_files(dir.path(), "seg").remove(0);
    let refuses = |what: &str| {
        let text = open(dir.path()).map(|_| ()).expect_err(what).to_string();
        assert!(text.contains("seq"), "{what}: {text}");
    };
    for path in sealed.iter().chain([&active]) {
        let bytes = fs::read(path).expect("readable");
        fs::remove_file(path).expect("removable");
        refuses("a missing segment");
        fs::write(path, &bytes[..bytes.len() - 10]).expect("writable");
        refuses("a segment cut short");
        fs::write(path, &bytes).expect("writable");
    }
    let (first, second) = (fs::read(&sealed[0]).expect("readable"), fs::read(&sealed[1]).expect("readable"));
    fs::write(&sealed[1], &first).expect("writable");
    refuses("a segment twice");
    fs::write(&sealed[0], &second).expect("writable");
    refuses("two segments swapped");
    fs::write(&sealed[0], &first).expect("writable");
    fs::write(&sealed[1], &second).expect("writable");
    assert_eq!(entries(&open(dir.path()).expect("opens")).len(), 1_500);
}

#[test]
fn every_flipped_bit_of_a_sealed_segment_is_an_error_never_other_content() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 900);
    let path = segment_files(dir.path(), "segz").remove(0);
    let expected = entries(&open(dir.path()).expect("opens"));
    let good = fs::read(&path).expect("readable");
    for at in (0..good.len()).step_by(41).chain(good.len() - 104..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).expect("writable");
        let Ok(passport) = open(dir.path()) else { continue };
        let mut seen = Vec::new();
        let scanned = passport.log().scan(Seq::ZERO, &mut |entry| {
            seen.push((entry.seq.get(), entry.envelope.message_id.to_owned(), entry.envelope.payload.to_owned()));
            ControlFlow::Continue(())
        });
        let error = scanned.expect_err("a flipped bit is found by the read").to_string();
        assert!(error.contains(".segz") && error.contains("offset"), "{error}");
        assert_eq!(seen[..], expected[..seen.len()], "byte {at}: what was given before the damage is true");
    }
}

#[test]
fn derived_files_can_all_be_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 1_200);
    fs::remove_dir_all(dir.path().join("passport/keys")).expect("removable");
    for path in segment_files(dir.path(), "idx") {
        fs::remove_file(path).expect("removable");
    }
    let passport = open(dir.path()).expect("opens");
    assert_eq!(append(&passport, &[(7, 7), (7, 8)]), [Outcome::Duplicate(Seq::new(8)), Outcome::Conflict(Seq::new(8))]);
    let filter = EntryFilter { artist_id: Some("a3".into()), ..EntryFilter::default() };
    let mut found = 0;
    passport
        .log()
        .query(&filter, Seq::new(1), Seq::new(1_200), Order::Ascending, &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        })
        .expect("readable");
    assert_eq!(found, (0..1_200).filter(|weight| weight % 7 == 3).count());
}

#[test]
fn a_survey_names_every_damaged_segment_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 1_500);
    let sealed = segment_files(dir.path(), "segz");
    let passport = dir.path().join("passport");
    assert!(survey(&RealDisk, &passport).expect("readable").is_empty());
    for path in &sealed[..2] {
        let mut bytes = fs::read(path).expect("readable");
        bytes[100] ^= 1;
        fs::write(path, &bytes).expect("writable");
    }
    let before: Vec<_> =
        segment_files(dir.path(), "segz").iter().map(|path| fs::read(path).expect("readable")).collect();
    let found = survey(&RealDisk, &passport).expect("readable");
    assert_eq!(found.len(), 2, "{found:?}");
    let after: Vec<_> =
        segment_files(dir.path(), "segz").iter().map(|path| fs::read(path).expect("readable")).collect();
    assert!(before == after);
    fs::remove_file(&sealed[2]).expect("removable");
    assert_eq!(survey(&RealDisk, &passport).expect("readable").len(), 2, "behind damage a gap cannot be told");
}

#[test]
fn a_damaged_run_of_keys_refuses_writes_until_it_is_made_again_from_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    let all = keys::RECENT_KEYS as u32 + 100;
    for from in (0..all).step_by(5_000) {
        append(&passport, &(from..(from + 5_000).min(all)).map(|key| (key, key)).collect::<Vec<_>>());
    }
    let runs = || {
        let names = fs::read_dir(dir.path().join("passport/keys")).expect("a directory");
        let paths = names.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|found| found == "keys")).collect::<Vec<_>>()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while runs().is_empty() {
        assert!(std::time::Instant::now() < deadline, "a full table becomes a run");
        std::thread::yield_now();
    }
    let run = runs().remove(0);
    let mut bytes = fs::read(&run).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xff);
    // In place, so that the open file sees it.
    let file = fs::File::options().write(true).open(&run).expect("writable");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).expect("writable");
    let again: Vec<_> = (0..2_000).map(|key| (key * 100, key * 100)).collect();
    let expected: Vec<_> = again.iter().map(|(key, _)| Outcome::Duplicate(Seq::new(u64::from(*key) + 1))).collect();
    let mut refused = 0;
    loop {
        match passport.appender().append_blocking(group(false, &again)) {
            Ok(outcomes) => {
                assert_eq!(outcomes, expected, "nothing that was stored is ever stored twice");
                break;
            }
            Err(AppendError::Unreadable(_) | AppendError::ReadOnly(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(std::time::Instant::now() < deadline, "the run is made again");
        std::thread::yield_now();
    }
    assert!(refused > 0, "the damage was met");
}

#[test]
fn a_log_that_lost_all_of_its_segments_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    append(&passport, &[(1, 1)]);
    passport.close();
    fs::remove_file(segment_files(dir.path(), "seg").remove(0)).expect("removable");
    assert!(open(dir.path()).is_err());
}

#[test]
fn a_whole_batch_that_does_not_belong_there_is_damage_and_no_torn_tail() {
    let dir = tempfile::tempdir().expect("a directory");
    let passport = open(dir.path()).expect("opens");
    append(&passport, &[(1, 1)]);
    append(&passport, &[(2, 2)]);
    passport.close();
    let path = segment_files(dir.path(), "seg").remove(0);
    let good = fs::read(&path).expect("readable");
    let end = good.iter().rposition(|byte| *byte != 0).expect("not all zero") + 1;
    let last = good[..end].windows(4).rposition(|four| four == b"CLMB").expect("a batch");
    let refuses = |what: &str, bad: &[u8]| {
        fs::write(&path, bad).expect("writable");
        let text = open(dir.path()).map(|_| ()).expect_err(what).to_string();
        assert!(text.contains("offset") && text.contains("no torn tail"), "{what}: {text}");
        assert_eq!(fs::read(&path).expect("readable"), bad, "{what}: nothing was changed");
    };

    let mut doubled = good.clone();
    let batch = good[last..end].to_vec();
    doubled[end..end + batch.len()].copy_from_slice(&batch);
    refuses("the last batch twice", &doubled);

    let mut moved = good.clone();
    moved[last..].fill(0);
    moved[last..last + batch.len()].copy_from_slice(&good[4096..4096 + batch.len()]);
    refuses("an earlier batch in the place of the last", &moved);

    let mut newer = good.clone();
    newer[last + 4] = 2;
    let checksum = crc32fast::hash(&newer[last..last + 56]);
    newer[last + 56..last + 60].copy_from_slice(&checksum.to_le_bytes());
    refuses("a batch of a later version", &newer);
}

#[test]
fn an_index_that_says_other_things_than_its_segment_is_found_though_its_checksums_hold() {
    let dir = tempfile::tempdir().expect("a directory");
    fill_segments(dir.path(), 1_200);
    let passport = open(dir.path()).expect("opens");
    let log = passport.log();
    assert_eq!(log.verify_indexes(&mut |_| true), Vec::new());
    let segments = log.segments();
    let log::Segment::Sealed(sealed) = segments[0].as_ref() else { panic!("the first segment is sealed") };
    let id = entry_index::segment_id(sealed);
    let mut builder = index::SegmentIndexBuilder::new(id.first_seq, index::TermKey::new(passport.log_id()));
    log.scan(Seq::ZERO, &mut |mut entry| {
        if entry.seq == Seq::new(7) {
            entry.envelope.user_id = "somebody else";
        }
        builder.add_entry(&entry);
        if entry.seq == sealed.last_seq() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .expect("readable");
    index::write(&RealDisk, &dir.path().join("passport"), &builder, id.digest).expect("written");
    let found = log.verify_indexes(&mut |_| true);
    assert!(found.len() == 1 && found[0].0 == "00000000000000000001.idx", "{found:?}");
}
