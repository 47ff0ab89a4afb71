//! A load that can be broken off at any instant, and the judgement of what is there afterwards: events that are the same
//! whenever they are made, what was acknowledged of them, and everything that has to hold of the log that took them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::binary::run;
use super::http::Client;
use super::{compare, export, micros, until};
use crate::model::Model;
use crate::model::json::{Json, number, object, text, texts};
use crate::model::time::{self, HOUR};

const THREADS: u64 = 4;

/// The n-th event of a thread: the same whenever it is made, so that what comes back can be checked to the letter.
pub fn event(thread: u64, n: u64) -> Json {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(thread) >> 7;
    let at = micros("2026-01-01T00:00:30Z") + (mixed % 2000) as i64 * HOUR;
    let at = at.min(micros("2026-02-01T00:00:30Z"));
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
pub type Acknowledged = Mutex<HashMap<String, u64>>;

/// One thread's place in its own list of events. What was sent without an answer is sent again next time.
pub struct Sender {
    thread: u64,
    next: AtomicU64,
}

impl Sender {
    /// Sends until the daemon is gone or `is_done`; singles and batches by turns.
    pub fn run(&self, client: &Client, acknowledged: &Acknowledged, is_done: &AtomicBool) {
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

/// A daemon that stops, or that has no room.
fn is_refused(status: u16) -> bool {
    matches!(status, 503 | 507)
}

/// The keys and seqs that an answer acknowledges; none where there was no whole answer.
pub fn send(client: &Client, events: &[Json]) -> Option<Vec<(String, u64)>> {
    let key = |event: &Json| event.at("messageId").as_text().to_owned();
    if let [event] = events {
        let answer = client.try_request("POST", "/api/passport/log", &[], event.render().as_bytes()).ok()?;
        if is_refused(answer.status) {
            return None;
        }
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        return Some(vec![(key(event), answer.json().at("seq").as_integer() as u64)]);
    }
    let body = Json::List(events.to_vec()).render();
    let answer = client.try_request("POST", "/api/passport/batch?results=all", &[], body.as_bytes()).ok()?;
    if is_refused(answer.status) {
        return None;
    }
    let body = answer.expect(200);
    assert_eq!(body.at("rejected").as_integer(), 0, "{}", body.render());
    let results = body.at("results").as_list();
    assert_eq!(results.len(), events.len());
    Some(events.iter().zip(results).map(|(event, result)| (key(event), result.at("seq").as_integer() as u64)).collect())
}

/// Everything that has to hold of a log after the daemon was stopped in whatever way.
pub fn assert_whole(client: &Client, acknowledged: &Acknowledged) {
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

pub fn assert_verified(data_dir: &Path) {
    let directory = data_dir.parent().expect("the data directory lies in the test's");
    let shown = data_dir.to_str().expect("a temporary directory is UTF-8");
    let output = run(&["verify", "--data-dir", shown], directory);
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "verify: {}: {}", output.status, String::from_utf8_lossy(&said));
}

pub fn senders() -> Vec<Sender> {
    (0..THREADS).map(|thread| Sender { thread, next: AtomicU64::new(0) }).collect()
}

pub fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Loads the daemon until every sender was refused or cut off.
pub fn load_until_it_stops(client: &Client, senders: &[Sender], acknowledged: &Acknowledged) {
    let never = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in senders {
            scope.spawn(|| sender.run(client, acknowledged, &never));
        }
    });
}

/// Loads the daemon until so many events more are acknowledged, then ends it in the middle of the load.
pub fn load_until<T>(
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
        until("the load goes on", || (count() >= goal).then_some(()));
        let ended = end();
        is_done.store(true, Ordering::Relaxed);
        ended
    })
}
