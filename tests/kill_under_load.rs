//! The real binary, killed in the middle of a load again and again and looked at from outside.
//!
//! `COLISEUM_KILL_ROUNDS` sets how often, `COLISEUM_KILL_SEED` when.

mod harness;
mod model;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use harness::binary::{Binary, run, serve_expecting_refusal};
use harness::http::Client;
use harness::{compare, export};
use model::Model;
use model::json::{Json, number, object, text, texts};
use model::time::{self, HOUR};

const THREADS: u64 = 4;

/// The n-th event of a thread: the same whenever it is made, so that what comes back can be checked to the letter.
fn event(thread: u64, n: u64) -> Json {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(thread) >> 7;
    let at = harness::micros("2026-01-01T00:00:30Z") + (mixed % 2000) as i64 * HOUR;
    let at = at.min(harness::micros("2026-02-01T00:00:30Z"));
    let base = object([
        ("messageId", text(format!("k-{thread}-{n}"))),
        ("userId", text(format!("u{}", mixed % 40))),
        ("at", text(time::format(at))),
        ("pad", text("x".repeat((mixed % 300) as usize))),
    ]);
    let artist = text(format!("a{}", mixed % 23));
    let concert = text(format!("e{}", mixed % 3));
    match mixed % 11 {
        0 => base.with("type", text("concierto.event_attended")).with("eventId", concert).with("city", text("Oslo")),
        1 if n % 20 == 1 => {
            let line_up = texts(&[format!("a{}", mixed % 5), format!("a{}", mixed % 7)]);
            base.with("type", text("concierto.event_scheduled")).with("eventId", concert).with("artistIds", line_up)
        }
        2 | 3 => {
            let spent = base.with("type", text("treasury.money_spent")).with("artistId", artist);
            spent.with("amountCents", number(mixed % 10_000 + 1))
        }
        4 => {
            let named = base.with("type", text("artist.profile_updated")).with("artistId", artist);
            named.with("artistName", text(format!("Name {}", mixed % 9)))
        }
        _ => {
            let vote = base.with("type", text("coliseum.vote_cast")).with("artistId", artist).with("eventId", concert);
            vote.with("weight", number(format!("{}.{:03}", mixed % 5, mixed % 999 + 1)))
        }
    }
}

/// What the daemon has said it holds: key to seq.
type Acknowledged = Mutex<HashMap<String, u64>>;

/// One thread's place in its own list of events. What was sent without an answer is sent again next time.
struct Sender {
    thread: u64,
    next: AtomicU64,
}

impl Sender {
    /// Sends until the daemon is gone or `is_done`; singles and batches by turns.
    fn run(&self, client: &Client, acknowledged: &Acknowledged, is_done: &AtomicBool) {
        while !is_done.load(Ordering::Relaxed) {
            let n = self.next.load(Ordering::Relaxed);
            let count = if (n / 7).is_multiple_of(2) { 1 } else { 40 };
            let events: Vec<Json> = (n..n + count).map(|n| event(self.thread, n)).collect();
            let Some(receipts) = send(client, &events) else { return };
            let mut acknowledged = acknowledged.lock().expect("no thread panics");
            for (key, seq) in receipts {
                let earlier = acknowledged.insert(key.clone(), seq);
                assert!(earlier.is_none_or(|earlier| earlier == seq), "{key} was {earlier:?} and is {seq} now");
            }
            self.next.store(n + count, Ordering::Relaxed);
        }
    }
}

/// The keys and seqs that an answer acknowledges; none where there was no whole answer.
fn send(client: &Client, events: &[Json]) -> Option<Vec<(String, u64)>> {
    let key = |event: &Json| event.at("messageId").as_text().to_owned();
    if let [event] = events {
        let answer = client.try_request("POST", "/api/passport/log", &[], event.render().as_bytes()).ok()?;
        if answer.status == 503 {
            return None;
        }
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        return Some(vec![(key(event), answer.json().at("seq").as_integer() as u64)]);
    }
    let body = Json::List(events.to_vec()).render();
    let answer = client.try_request("POST", "/api/passport/batch?results=all", &[], body.as_bytes()).ok()?;
    if answer.status == 503 {
        return None;
    }
    let body = answer.expect(200);
    assert_eq!(body.at("rejected").as_integer(), 0, "{}", body.render());
    let results = body.at("results").as_list();
    assert_eq!(results.len(), events.len());
    Some(events.iter().zip(results).map(|(event, result)| (key(event), result.at("seq").as_integer() as u64)).collect())
}

/// Everything that has to hold of a log after the daemon was stopped in whatever way.
fn assert_whole(client: &Client, acknowledged: &Acknowledged) {
    let lines = export(client);
    let mut held = HashMap::new();
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line.at("seq").as_integer() as usize, index + 1, "seq has a gap");
        let key = line.at("messageId").as_text();
        let parts: Vec<u64> = key.split('-').skip(1).map(|part| part.parse().expect("a key of ours")).collect();
        let sent = event(parts[0], parts[1]).render();
        assert_eq!(line.at("metadata").render(), sent, "{key} has another content");
        assert!(held.insert(key.to_owned(), index as u64 + 1).is_none(), "{key} is there twice");
    }
    for (key, seq) in acknowledged.lock().expect("no thread panics").iter() {
        assert_eq!(held.get(key), Some(seq), "{key} was acknowledged as {seq}");
    }
    compare::boards(client, &Model::from_export(&lines, &[]), None);
}

fn assert_verified(data_dir: &Path) {
    let directory = data_dir.parent().expect("the data directory lies in the test's");
    let shown = data_dir.to_str().expect("a temporary directory is UTF-8");
    let output = run(&["verify", "--data-dir", shown], directory);
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "verify: {}: {}", output.status, String::from_utf8_lossy(&said));
}

fn senders() -> Vec<Sender> {
    (0..THREADS).map(|thread| Sender { thread, next: AtomicU64::new(0) }).collect()
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Loads the daemon until so many events more are acknowledged, then ends it in the middle of the load.
fn load_until<T>(
    client: &Client,
    senders: &[Sender],
    acknowledged: &Acknowledged,
    more: usize,
    end: impl FnOnce() -> T,
) -> T {
    let is_done = AtomicBool::new(false);
    let count = || acknowledged.lock().expect("no thread panics").len();
    let goal = count() + more;
    std::thread::scope(|scope| {
        for sender in senders {
            let is_done = &is_done;
            scope.spawn(move || sender.run(client, acknowledged, is_done));
        }
        harness::until("the load goes on", || (count() >= goal).then_some(()));
        let ended = end();
        is_done.store(true, Ordering::Relaxed);
        ended
    })
}

#[test]
fn after_each_kill_every_acknowledged_event_is_there_once_and_the_boards_are_exact() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let seed = number_from_env("COLISEUM_KILL_SEED", harness::now() as u64);
    println!("COLISEUM_KILL_SEED={seed}");
    let mut random = seed;
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    for _ in 0..number_from_env("COLISEUM_KILL_ROUNDS", 8) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let binary = Binary::start(&data_dir);
        assert_whole(&binary.client, &acknowledged);
        let client = binary.client.clone();
        load_until(&client, &senders, &acknowledged, (random >> 33) as usize % 400, || binary.kill());
        assert_verified(&data_dir);
    }
    let binary = Binary::start(&data_dir);
    assert_whole(&binary.client, &acknowledged);
    assert_verified(&data_dir);
    assert!(binary.terminate().success());
    assert_verified(&data_dir);
}

#[test]
fn a_stop_under_load_finishes_what_was_accepted_and_ends_well() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let (senders, acknowledged) = (senders(), Acknowledged::default());
    for _ in 0..2 {
        let binary = Binary::start(&data_dir);
        let client = binary.client.clone();
        let status = load_until(&client, &senders, &acknowledged, 300, || binary.terminate());
        assert!(status.success(), "SIGTERM: {status}");
    }
    let binary = Binary::start(&data_dir);
    assert_whole(&binary.client, &acknowledged);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let binary = Binary::start(&data_dir);
    let (status, said) = serve_expecting_refusal(&data_dir);
    assert!(!status.success());
    let shown = data_dir.to_str().expect("a temporary directory is UTF-8");
    assert!(said.contains(shown), "the message names no directory: {said}");
    assert!(!said.contains("panicked"), "{said}");
    binary.client.post_json("/api/passport/log", &event(0, 0)).expect(201);
    drop(binary);
    // The lock goes with the process, not with a file that stays.
    let binary = Binary::start(&data_dir);
    binary.client.post_json("/api/passport/log", &event(0, 0)).expect(200);
}

#[test]
fn projections_that_are_deleted_are_rebuilt_to_the_same_boards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let acknowledged = Acknowledged::default();
    let binary = Binary::start(&data_dir);
    let events: Vec<Json> = (0..500).map(|n| event(1, n)).collect();
    let receipts = send(&binary.client, &events).expect("an answer");
    acknowledged.lock().expect("no thread panics").extend(receipts);
    binary.kill();
    std::fs::remove_dir_all(data_dir.join("projections")).expect("projections/ may be deleted");
    let binary = Binary::start(&data_dir);
    assert_whole(&binary.client, &acknowledged);
}
