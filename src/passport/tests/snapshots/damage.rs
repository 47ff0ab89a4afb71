//! Damage in a snapshot: every kind of it is found, and nothing is restored from it.

use super::super::super::batch;
use super::super::super::log::Segment;
use super::super::super::segment::{FIRST_BATCH_OFFSET, SegmentHeader, raw_name};
use super::super::super::snapshot::{FileRow, Manifest};
use super::*;

/// Every file of a snapshot, from its directory.
fn files_of(snapshot: &Path) -> Vec<PathBuf> {
    let list = |dir: PathBuf| fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let all = list(snapshot.to_owned()).chain(list(snapshot.join("passport")));
    all.filter(|path| path.is_file()).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

fn assert_refused(snapshot: &Path, file: &str, what: &str) {
    let found = findings(snapshot);
    assert!(found.iter().any(|finding| finding.contains(file)), "{what}: {found:?}");
    let to = snapshot.with_extension("refused");
    let refused = restored(snapshot, &to, Until::Seq(Seq::new(1)));
    assert!(matches!(refused, Err(RestoreError::Damaged(_))), "{what}: {refused:?}");
    assert!(!to.exists(), "{what}: nothing is written from damage");
}

#[test]
fn a_flipped_bit_anywhere_in_a_snapshot_is_found_and_it_is_not_restored_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, original) = log_with_snapshot(dir.path());
    passport.close();
    let snapshot = dir.path().join("copy");
    copy_dir(&original, &snapshot);
    for path in files_of(&snapshot) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let good = fs::read(&path).expect("read");
        // Headers, trailers and what lies between: each tenth part, the ends, and zeros behind the last batch.
        let starts = [0, 1, 8, 40, 4095, 4096, 4100, 4160];
        let ends = [1, 60, 104].map(|back| good.len().saturating_sub(back));
        for at in starts
            .into_iter()
            .chain(ends)
            .chain((1..10).map(|part| good.len() * part / 10))
            .filter(|at| *at < good.len())
        {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).expect("written");
            assert_refused(&snapshot, &name, &format!("{name}, byte {at}"));
        }
        fs::write(&path, &good).expect("put back");
    }
    assert_eq!(findings(&snapshot), [""; 0]);
}

#[test]
fn a_file_that_is_missing_cut_swapped_or_too_many_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, original) = log_with_snapshot(dir.path());
    passport.close();
    let snapshot = dir.path().join("copy");
    let fresh = || {
        let _ = fs::remove_dir_all(&snapshot);
        copy_dir(&original, &snapshot);
    };
    fresh();
    for path in files_of(&snapshot).iter().filter(|path| !path.ends_with("manifest.json")) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        fs::remove_file(path).expect("removed");
        assert_refused(&snapshot, &name, "missing");
        fresh();
        let len = fs::metadata(path).expect("there").len();
        fs::File::options().write(true).open(path).and_then(|file| file.set_len(len - 1)).expect("cut");
        assert_refused(&snapshot, &name, "cut");
        fresh();
    }
    let sealed: Vec<_> =
        files_of(&snapshot).into_iter().filter(|path| path.extension().is_some_and(|e| e == "segz")).collect();
    fs::copy(&sealed[0], &sealed[1]).expect("swapped");
    assert_refused(&snapshot, &sealed[1].file_name().expect("a name").to_string_lossy(), "swapped");
    for surplus in ["passport/00000000000000009999.seg", "passport/keys", "x", "passport/x.idx"] {
        fresh();
        let path = snapshot.join(surplus);
        if surplus.ends_with("keys") { fs::create_dir(&path) } else { fs::write(&path, "") }.expect("made");
        assert_refused(&snapshot, surplus, "surplus");
    }
}

/// What somebody who can write a manifest could do: all digests are right, and the log is not.
#[test]
fn digests_that_are_right_do_not_stand_in_for_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, original) = log_with_snapshot(dir.path());
    let log_id = passport.log_id();
    passport.close();
    let snapshot = dir.path().join("copy");
    copy_dir(&original, &snapshot);
    let manifest: Manifest =
        serde_json::from_str(&fs::read_to_string(snapshot.join("manifest.json")).expect("read")).expect("a manifest");
    let write = |files: Vec<FileRow>, last: u64| {
        let anew = Manifest::new(&named("one"), AT, log_id, Seq::new(last), files);
        fs::write(snapshot.join("manifest.json"), anew.render()).expect("written");
        fs::write(snapshot.join("SHA256SUMS"), anew.sums()).expect("written");
    };
    write(manifest.files.clone(), 1479);
    assert_refused(&snapshot, "manifest.json", "another end");
    let gap = manifest.files[2].path.clone();
    fs::remove_file(snapshot.join(&gap)).expect("removed");
    write(manifest.files.iter().filter(|file| file.path != gap).cloned().collect(), 1480);
    assert_refused(&snapshot, &manifest.files[3].path[9..], "a segment is missing");
}

#[test]
fn a_key_that_is_stored_twice_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let snapshot = dir.path().join("twice");
    let log_id = {
        let passport = open(&dir.path().join("log")).expect("opens");
        store(&passport, dir.path()).take(&named("one"), AT).expect("taken");
        copy_dir(&dir.path().join("snapshots/one"), &snapshot);
        passport.log_id()
    };
    let header = SegmentHeader {
        log_id,
        segment_id: 9,
        first_seq: Seq::new(1),
        file_bytes: SEGMENT_BYTES_MIN,
        previous_segment_id: 0,
        previous_checksum: 0,
    };
    let mut bytes = vec![0; batch::HEADER_BYTES];
    for weight in [1, 2] {
        let mut record = Vec::new();
        record::encode(&envelope("the-key", "user-1", &payload("user-1", weight)), None, &mut record);
        batch::push_record(&mut bytes, &record);
    }
    batch::finish(&mut bytes, 9, FIRST_BATCH_OFFSET, Seq::new(1), 2, header.chain_start());
    let file = [header.encode(), bytes].concat();
    let path = snapshot.join("passport").join(raw_name(Seq::new(1)));
    fs::write(&path, &file).expect("written");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(SEGMENT_BYTES_MIN)).expect("its length");
    let mut manifest: Manifest =
        serde_json::from_str(&fs::read_to_string(snapshot.join("manifest.json")).expect("read")).expect("a manifest");
    manifest.files[1].sha256 = sha256(&fs::read(&path).expect("read"));
    let anew = Manifest::new(&named("one"), AT, log_id, Seq::new(2), manifest.files);
    fs::write(snapshot.join("manifest.json"), anew.render()).expect("written");
    fs::write(snapshot.join("SHA256SUMS"), anew.sums()).expect("written");
    assert_refused(&snapshot, "the idempotency key \"the-key\" is stored twice, at seq 1 and 2", "twice");
}

/// The trailer is right by its checksum and says that the segment holds more entries than there is memory for.
#[test]
fn a_count_that_only_a_trailer_claims_takes_no_memory() {
    const LAST: u64 = 1 << 60;
    let dir = tempfile::tempdir().expect("a directory");
    let (passport, original) = log_with_snapshot(dir.path());
    let log_id = passport.log_id();
    let snapshot = dir.path().join("copy");
    copy_dir(&original, &snapshot);
    let segments = passport.log().segments();
    let Some(Segment::Raw(active)) = segments.last().map(AsRef::as_ref) else {
        panic!("the last segment is the active one")
    };
    let mut manifest: Manifest =
        serde_json::from_str(&fs::read_to_string(snapshot.join("manifest.json")).expect("read")).expect("a manifest");
    let count = manifest.files.len();

    let sealed = snapshot.join(&manifest.files[count - 2].path);
    let mut bytes = fs::read(&sealed).expect("read");
    let at = bytes.len() - 104;
    bytes[at + 48..at + 56].copy_from_slice(&LAST.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[at..at + 100]);
    bytes[at + 100..].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&sealed, &bytes).expect("written");
    manifest.files[count - 2].sha256 = sha256(&bytes);

    fs::remove_file(snapshot.join(&manifest.files[count - 1].path)).expect("removed");
    let mut bytes = SegmentHeader { first_seq: Seq::new(LAST + 1), ..active.header }.encode().to_vec();
    bytes.resize(manifest.files[count - 1].bytes as usize, 0);
    let name = raw_name(Seq::new(LAST + 1));
    fs::write(snapshot.join("passport").join(&name), &bytes).expect("written");
    manifest.files[count - 1].path = format!("passport/{name}");
    manifest.files[count - 1].sha256 = sha256(&bytes);

    let anew = Manifest::new(&named("one"), AT, log_id, Seq::new(LAST), manifest.files);
    fs::write(snapshot.join("manifest.json"), anew.render()).expect("written");
    fs::write(snapshot.join("SHA256SUMS"), anew.sums()).expect("written");
    assert_refused(&snapshot, "the block table does not end where the segment does", "a hostile trailer");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
