//! A disk that fills up, and one that is full already.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::harness::binary::{Binary, Launch};
use super::harness::load::{
    Acknowledged, Sender, assert_verified, assert_whole, event, load_until, load_until_it_stops, senders,
};
use super::harness::until;
use super::model::json::Json;
use super::mounts::{Kind, Mount};

const MIN_FREE: u64 = 6 << 20;
const CONFIG: &str = "[passport]\nsegment_bytes = 65536\nkey_table_keys = 1024\nmin_free_bytes = 6291456\n";

struct Filled {
    mount: Mount,
    launch: Launch,
    senders: Vec<Sender>,
    acknowledged: Acknowledged,
}

impl Filled {
    fn new(test: &str, kind: Kind) -> Option<Filled> {
        let mount = Mount::new(test, kind, 64 << 20)?;
        let launch = Launch::on(&mount.dir().join("data")).notes_in(mount.beside()).on_a_port_of_ours().config(CONFIG);
        Some(Filled { mount, launch, senders: senders(), acknowledged: Acknowledged::default() })
    }
    fn passport(&self) -> PathBuf {
        self.mount.dir().join("data/passport")
    }
    fn load(&self, binary: &Binary, more: usize) {
        load_until(&binary.client, &self.senders, &self.acknowledged, more, || ());
    }

    /// How often the daemon has said that it takes no more writes.
    fn said_read_only(&self) -> usize {
        let notes = std::fs::read_to_string(self.mount.beside().join("daemon.stderr")).expect("the daemon's notes");
        notes.matches("the log is read-only").count()
    }

    /// Writes are refused, each with the reason; reads and boards go on.
    fn assert_read_only(&self, binary: &Binary) {
        until("the log is read-only", || (binary.client.get("/readyz").status == 503).then_some(()));
        for n in 0..3 {
            let answer = binary.client.post_json("/api/passport/log", &event(7, n));
            answer.problem(507, &["log-read-only"]);
        }
        assert_eq!(binary.client.get("/healthz").status, 200);
        assert_whole(&binary.client, &self.acknowledged);
    }

    /// With space again, writes come back by themselves.
    fn assert_it_comes_back(&self, binary: &Binary) {
        until("the log takes writes again", || (binary.client.get("/readyz").status == 200).then_some(()));
        self.load(binary, 300);
        assert_whole(&binary.client, &self.acknowledged);
    }
}

fn fill_and_free(test: &str, kind: Kind) {
    let Some(filled) = Filled::new(test, kind) else { return };
    let binary = filled.launch.start();
    filled.load(&binary, 500);
    // Once by somebody else's file, to under the limit and to nothing at all; once by the log itself.
    for but in [MIN_FREE / 2, 0] {
        filled.mount.fill_but(but);
        load_until_it_stops(&binary.client, &filled.senders, &filled.acknowledged);
        filled.assert_read_only(&binary);
        filled.mount.free();
        filled.assert_it_comes_back(&binary);
    }
    filled.mount.fill_but(MIN_FREE + (600 << 10));
    let said = filled.said_read_only();
    load_until_it_stops(&binary.client, &filled.senders, &filled.acknowledged);
    assert!(filled.said_read_only() > said, "the log stopped it");
    let free = filled.mount.free_bytes();
    assert!(free > MIN_FREE / 2, "it stopped with {free} bytes free");
    // What is sealed only now would make room for more.
    filled.mount.fill_but(MIN_FREE / 2);
    filled.assert_read_only(&binary);
    filled.mount.free();
    filled.assert_it_comes_back(&binary);
    assert!(binary.terminate().success());
    assert_verified(&filled.mount.dir().join("data"));
}

#[test]
fn a_full_tmpfs_makes_the_log_read_only_until_there_is_space_again() {
    fill_and_free("a full tmpfs", Kind::Tmpfs);
}

#[test]
fn a_full_ext4_makes_the_log_read_only_until_there_is_space_again() {
    fill_and_free("a full ext4", Kind::Ext4);
}

/// The active segment of a stopped log.
fn active(passport: &Path) -> PathBuf {
    let names = std::fs::read_dir(passport).expect("the log").map(|entry| entry.expect("an entry").path());
    names.filter(|path| path.extension().is_some_and(|it| it == "seg")).max().expect("an active segment")
}

/// Leaves behind the last batch what a torn write leaves.
fn tear(segment: &Path) -> Vec<u8> {
    let bytes = std::fs::read(segment).expect("the segment");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("a header") + 1;
    let torn = vec![0xa5; 300];
    let mut file = std::fs::File::options().write(true).open(segment).expect("the segment");
    file.seek(SeekFrom::Start(end as u64)).and_then(|_| file.write_all(&torn)).expect("room in the segment");
    torn
}

fn remove_files_of(dir: &Path, extension: &str) {
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
        if entry.path().extension().is_some_and(|it| it == extension) {
            std::fs::remove_file(entry.path()).expect("it may be deleted");
        }
    }
}

fn start_on_a_full_disk(test: &str, kind: Kind, is_torn: bool, has_runs: bool) {
    let Some(filled) = Filled::new(test, kind) else { return };
    let binary = filled.launch.start();
    filled.load(&binary, 3000);
    binary.kill();
    let torn = is_torn.then(|| tear(&active(&filled.passport())));
    // Half-made files go at the start, and would leave room.
    remove_files_of(&filled.passport(), "tmp");
    remove_files_of(&filled.mount.dir().join("data"), "json");
    if !has_runs {
        remove_files_of(&filled.passport().join("keys"), "keys");
    }
    filled.mount.fill_but(0);
    for _ in 0..2 {
        let binary = filled.launch.start_unready();
        filled.assert_read_only(&binary);
        binary.kill();
    }
    let binary = filled.launch.start_unready();
    filled.assert_read_only(&binary);
    filled.mount.free();
    filled.assert_it_comes_back(&binary);
    // A key from before the full disk is known again.
    let repeated: &Json = &event(0, 0);
    binary.client.post_json("/api/passport/log", repeated).expect(200);
    if let Some(torn) = torn {
        let kept = std::fs::read_dir(filled.passport().join("torn")).expect("torn/ is there");
        let kept: Vec<Vec<u8>> = kept.map(|entry| std::fs::read(entry.expect("one").path()).expect("bytes")).collect();
        assert_eq!(kept, [torn], "the torn tail is kept aside, once");
    }
    assert!(binary.terminate().success());
    assert_verified(&filled.mount.dir().join("data"));
}

#[test]
fn a_start_with_no_byte_free_serves_reads_and_takes_writes_later() {
    start_on_a_full_disk("a start on a full tmpfs", Kind::Tmpfs, false, true);
    start_on_a_full_disk("a start on a full ext4", Kind::Ext4, false, true);
}

#[test]
fn a_torn_tail_that_cannot_be_kept_aside_waits_for_space() {
    start_on_a_full_disk("a torn tail on a full tmpfs", Kind::Tmpfs, true, true);
    start_on_a_full_disk("a torn tail on a full ext4", Kind::Ext4, true, true);
}

#[test]
fn keys_that_cannot_be_written_as_runs_at_the_start_wait_for_space() {
    start_on_a_full_disk("no key runs on a full tmpfs", Kind::Tmpfs, false, false);
    start_on_a_full_disk("no key runs and a torn tail on a full tmpfs", Kind::Tmpfs, true, false);
}
