//! The engine held to the naive model: random streams of events, batches, restarts and clock jumps, and after each
//! few of them every answer compared in full.
//!
//! `PROPTEST_CASES` sets how many streams; `PROPTEST_RNG_SEED` replays the seed that a run prints.

mod fields;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../model/mod.rs"]
mod model;
mod payloads;
mod streams;

use std::sync::atomic::{AtomicBool, Ordering};

use harness::http::{Client, Response};
use harness::{Daemon, compare, micros};
use model::json::Json;
use model::time::{DAY, HOUR, MINUTE};
use model::{Model, Outcome};
use payloads::{Sent, again, render, with_key};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use streams::{Age, Draft, Form, Item, Key, Kind, Op, item, op, plain_draft};

const START: &str = "2026-02-27T22:17:42.250Z";
const CASES_DEFAULT: u32 = 12;

/// A running daemon with the model beside it, on one clock.
struct Pair {
    daemon: Daemon,
    model: Model,
    now: i64,
    /// Makes every new event's key another one.
    count: u64,
}

impl Pair {
    fn new() -> Pair {
        let now = micros(START);
        Pair { daemon: Daemon::start_at(now), model: harness::model(), now, count: 0 }
    }

    fn client(&self) -> &Client {
        &self.daemon.client
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Post(item) => self.post(item),
            Op::Batch { items, form, all_results, is_atomic } => self.batch(items, *form, *all_results, *is_atomic),
            Op::Advance(by) => {
                self.now += by;
                self.daemon.set_now(self.now);
            }
            Op::Restart { is_clean, loses_projections } => self.daemon.restart(*is_clean, |data_dir| {
                let projections = data_dir.join("projections");
                if *loses_projections && projections.exists() {
                    std::fs::remove_dir_all(projections).expect("projections/ may be deleted");
                }
            }),
            Op::Check => self.check_boards(),
        }
    }

    fn post(&mut self, item: &Item) {
        let sent = self.sent(item, true);
        let header = sent.header_key.as_deref().map(|key| ("idempotency-key", key));
        let answer = self.client().request("POST", "/api/passport/log", header.as_slice(), sent.body.as_bytes());
        let made = answer.json().text_of("messageId").map(str::to_owned);
        let wanted = self.model.accept(&sent.payload, sent.header_key.as_deref(), made.as_deref(), self.now);
        assert_eq!(answer.status, wanted.status(), "{wanted:?} to {} but {}", sent.body, answer.text());
        match &wanted {
            Outcome::Stored { seq } | Outcome::Duplicate { seq } => {
                let body = answer.json();
                assert!(body.at("ok").as_bool());
                assert_eq!(body.at("seq").as_integer() as u64, *seq, "{}", sent.body);
                assert_eq!(body.at("messageId").as_text(), self.model.entry(*seq).message_id);
                assert_eq!(body.at("duplicate").as_bool(), matches!(wanted, Outcome::Duplicate { .. }));
            }
            bad => assert_problem(&answer.json(), bad, &sent.body),
        }
    }

    fn batch(&mut self, items: &[Item], form: Form, all_results: bool, is_atomic: bool) {
        let sent: Vec<Sent> = items.iter().map(|item| self.sent(item, false)).collect();
        let answer = send_batch(self.client(), &sent, form, all_results, is_atomic);
        let before = self.model.clone();
        let wanted: Vec<Outcome> =
            sent.iter().map(|sent| self.model.accept(&sent.payload, None, None, self.now)).collect();
        if is_atomic && wanted.iter().any(Outcome::is_bad) {
            self.model = before;
            assert_eq!(answer.status, 422, "{}", answer.text());
            return;
        }
        let body = answer.expect(200);
        let count = |is: fn(&Outcome) -> bool| wanted.iter().filter(|outcome| is(outcome)).count() as i64;
        assert_eq!(
            body.at("accepted").as_integer(),
            count(|o| matches!(o, Outcome::Stored { .. })),
            "{}",
            body.render()
        );
        assert_eq!(body.at("duplicates").as_integer(), count(|o| matches!(o, Outcome::Duplicate { .. })));
        assert_eq!(body.at("rejected").as_integer(), count(Outcome::is_bad));
        let stored: Vec<u64> = (before.head() + 1..=self.model.head()).collect();
        assert_eq!(body.at("firstSeq").as_optional_integer().map(|seq| seq as u64), stored.first().copied());
        assert_eq!(body.at("lastSeq").as_optional_integer().map(|seq| seq as u64), stored.last().copied());
        let listed: Vec<usize> = (0..wanted.len())
            .filter(|index| all_results || !matches!(wanted[*index], Outcome::Stored { .. }))
            .collect();
        let results = body.at("results").as_list();
        let indexes: Vec<usize> = results.iter().map(|result| result.at("index").as_integer() as usize).collect();
        assert_eq!(indexes, listed, "{}", body.render());
        for result in results {
            let index = result.at("index").as_integer() as usize;
            let outcome = &wanted[index];
            assert_eq!(result.at("status").as_integer() as u16, outcome.status(), "{}", result.render());
            if outcome.is_bad() {
                assert_problem(result.at("problem"), outcome, &sent[index].body);
            } else {
                assert_eq!(result.at("seq").as_integer() as u64, outcome.seq().expect("a stored one has a seq"));
            }
        }
    }

    /// Turns a draft into bytes. In a batch there is no header, and no room to learn a key that the daemon makes.
    fn sent(&mut self, item: &Item, is_single: bool) -> Sent {
        self.count += 1;
        let plain = plain_draft();
        let draft = match item {
            Item::Again(index, repeat) if !self.model.entries.is_empty() => {
                let entry = &self.model.entries[index.index(self.model.entries.len())];
                // An event whose key stood in a header or was made is sent again under that key, in the header too.
                let has_own = entry.payload.present("messageId").is_some() || entry.message_id.starts_with("stripe:");
                if has_own || is_single {
                    let header_key = (!has_own).then(|| entry.message_id.clone());
                    return again(&entry.payload.clone(), header_key, *repeat, self.count, self.now);
                }
                return self.sent(&Item::New(plain), is_single);
            }
            Item::Again(..) => &plain,
            Item::New(draft) => draft,
        };
        let mut draft = draft.clone();
        if !is_single && matches!(draft.key, Key::Header | Key::Made) {
            draft.key = Key::Own;
        }
        let (payload, header_key) = render(&draft, self.now, self.count);
        let payload = if is_single { payload } else { with_key(payload, self.count) };
        Sent { body: payload.render(), payload, header_key }
    }

    fn check_boards(&self) {
        compare::boards(self.client(), &self.model, Some(self.now));
    }

    /// What is counted and derived beside the boards.
    fn check_answers(&self) {
        compare::answers(self.client(), &self.model, self.now);
    }

    /// Everything that can be asked.
    fn check_all(&self) {
        self.check_boards();
        let hour = self.now.div_euclid(HOUR) * HOUR;
        let past = [hour - DAY, hour - HOUR + 17 * MINUTE, hour - 7 * DAY + 59 * MINUTE];
        for (domain, window) in [('A', "7d"), ('T', "30d"), ('G', "alltime")] {
            compare::board_pages(self.client(), &self.model, domain, window, self.now, &past);
        }
        for artist in 0..5 {
            compare::artist(self.client(), &self.model, &format!("a{artist}"), self.now);
        }
        self.check_answers();
        compare::entries(self.client(), &self.model);
        compare::consumers(self.client(), &self.model);
        self.check_verify();
    }

    /// The daemon's own recomputation finds nothing either.
    fn check_verify(&self) {
        let answer = self.client().post("/api/admin/verify", b"");
        let verdict = Json::parse(answer.text().lines().last().expect("a verdict")).expect("JSON");
        assert!(verdict.at("ok").as_bool(), "{}", verdict.render());
        assert_eq!(verdict.at("entries").as_integer() as u64, self.model.head());
    }
}

fn assert_problem(problem: &Json, wanted: &Outcome, sent: &str) {
    let kind = problem.at("type").as_text();
    match wanted {
        Outcome::Conflict { seq } => {
            assert_eq!(kind, "/problems/idempotency-key-reused", "{sent}");
            assert_eq!(problem.at("seq").as_integer() as u64, *seq, "{sent}");
        }
        Outcome::Rejected { slug, pointer, .. } => {
            assert_eq!(kind, format!("/problems/{slug}"), "{sent}");
            assert_eq!(problem.at("pointer").as_text(), pointer, "{sent}");
        }
        good => panic!("{good:?} is no problem"),
    }
}

fn send_batch(client: &Client, sent: &[Sent], form: Form, all_results: bool, is_atomic: bool) -> Response {
    let bodies: Vec<&str> = sent.iter().map(|sent| sent.body.as_str()).collect();
    let array = format!("[{}]", bodies.join(","));
    let lines = bodies.join("\n");
    let (kind, encoding, body) = match form {
        Form::Array => ("application/json", None, array.into_bytes()),
        Form::Events => ("application/json", None, format!("{{\"events\":{array}}}").into_bytes()),
        Form::Lines => ("application/x-ndjson", None, lines.into_bytes()),
        Form::Gzip => {
            let mut gzip = flate2::read::GzEncoder::new(lines.as_bytes(), flate2::Compression::fast());
            let mut body = Vec::new();
            std::io::Read::read_to_end(&mut gzip, &mut body).expect("gzip into memory");
            ("application/x-ndjson", Some("gzip"), body)
        }
        Form::Zstd => {
            ("application/json", Some("zstd"), zstd::encode_all(array.as_bytes(), 1).expect("zstd into memory"))
        }
    };
    let headers: Vec<(&str, &str)> =
        [("content-type", kind)].into_iter().chain(encoding.map(|name| ("content-encoding", name))).collect();
    let query = match (all_results, is_atomic) {
        (false, false) => "",
        (true, false) => "?results=all",
        (false, true) => "?atomic=true",
        (true, true) => "?results=all&atomic=true",
    };
    client.request("POST", &format!("/api/passport/batch{query}"), &headers, &body)
}

fn runner(cases_default: u32) -> TestRunner {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = from_env("PROPTEST_RNG_SEED").unwrap_or(harness::now() as u64);
    println!("PROPTEST_RNG_SEED={seed}");
    // A test of fewer cases stays at its share of them.
    let share = |cases: u64| (cases as u32 * cases_default / CASES_DEFAULT).max(1);
    let cases = from_env("PROPTEST_CASES").map_or(cases_default, share);
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    TestRunner::new(config)
}

#[test]
fn every_answer_equals_the_model_through_repeats_restarts_and_jumps_of_the_clock() {
    let streams = proptest::collection::vec(op(), 10..60);
    let outcome = runner(CASES_DEFAULT).run(&streams, |ops| {
        let mut pair = Pair::new();
        for op in &ops {
            pair.run(op);
        }
        pair.check_all();
        pair.run(&Op::Restart { is_clean: false, loses_projections: true });
        pair.check_all();
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Enough events that many segments of 64 KiB are sealed, so that keys, filters and reads cross them.
#[test]
fn answers_stay_exact_over_many_small_segments() {
    let batches = proptest::collection::vec(proptest::collection::vec(item(), 40..60), 30..31);
    let outcome = runner(1).run(&batches, |batches| {
        let mut pair = Pair::new();
        for (index, items) in batches.iter().enumerate() {
            pair.batch(items, Form::Lines, index % 2 == 0, false);
            if index % 10 == 9 {
                pair.run(&Op::Advance(3 * DAY));
                pair.run(&Op::Restart { is_clean: index % 20 == 9, loses_projections: false });
                pair.check_boards();
            }
        }
        pair.check_boards();
        pair.check_answers();
        pair.check_verify();
        let exported = harness::export(pair.client());
        assert_eq!(exported.len(), pair.model.entries.len());
        for (found, wanted) in exported.iter().zip(&pair.model.entries) {
            compare::entry(found, wanted);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn forty_days_pass_and_every_board_is_exact_at_each_stop() {
    let mut pair = Pair::new();
    let windows = [('A', "7d"), ('T', "30d"), ('G', "7d"), ('C', "30d")];
    for step in 0..80u8 {
        let vote = Draft { kind: Kind::Vote { micro_weight: Some(1_000_000 + u32::from(step)) }, ..plain_draft() };
        let spent =
            Kind::Money { kind: 0, cents: 100 + u32::from(step), currency: 1, role: 0, artist: true, event: false };
        let drafts = [
            Draft { artist: step % 5, ..vote.clone() },
            Draft { artist: step % 3, kind: spent, age: Age::Minutes(600), ..vote.clone() },
            Draft {
                artist: step % 4,
                kind: Kind::Attended { tier: step % 3, names_artist: true, city: step % 24 },
                ..vote
            },
        ];
        let items: Vec<Item> = drafts.into_iter().map(Item::New).collect();
        pair.batch(&items, Form::Array, false, false);
        pair.run(&Op::Advance(12 * HOUR + i64::from(step % 3) * MINUTE));
        let mutations = pair.model.mutations();
        for (domain, window) in windows {
            compare::board(pair.client(), &pair.model, &mutations, domain, window, Some(pair.now));
        }
    }
    assert!(pair.now - micros(START) >= 40 * DAY);
    pair.check_boards();
    pair.check_answers();
}

#[test]
fn events_leave_a_board_as_minutes_pass_with_no_new_event() {
    let mut pair = Pair::new();
    let items: Vec<Item> = (0..20)
        .map(|n| {
            Item::New(Draft { age: Age::Edge { days: 7, minutes: n % 5 + 1 }, artist: n as u8 % 5, ..plain_draft() })
        })
        .collect();
    pair.batch(&items, Form::Array, false, false);
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let mutations = pair.model.mutations();
        sizes.push(compare::board(pair.client(), &pair.model, &mutations, 'A', "7d", Some(pair.now)).len());
        pair.run(&Op::Advance(MINUTE));
    }
    assert_eq!((sizes[0], sizes[5]), (5, 0), "the board empties: {sizes:?}");
}

/// A board that is read in the middle of writes is still one prefix of the log: the one that it names.
#[test]
fn a_board_read_during_writes_is_exact_for_the_prefix_that_it_names() {
    let mut pair = Pair::new();
    let is_done = AtomicBool::new(false);
    let client = pair.client().clone();
    let boards = [('A', "7d"), ('T', "alltime"), ('C', "30d")];
    let answers = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut answers = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                for (domain, window) in boards {
                    let path = format!("{}?limit=1000", compare::board_path(domain, window));
                    answers.push((domain, window, client.get(&path)));
                }
            }
            answers
        });
        for round in 0..60u8 {
            let items: Vec<Item> = (0..8u8)
                .map(|n| {
                    let kind = match n {
                        0 => Kind::Scheduled { line_up: round % 31 + 1, name: round % 4 },
                        1..4 => Kind::Attended { tier: n, names_artist: false, city: round % 24 },
                        4 => Kind::Profile { genres: round % 7, city: true, name: round % 4 },
                        _ => Kind::Vote { micro_weight: Some(1 + u32::from(round)) },
                    };
                    Item::New(Draft { kind, artist: (round + n) % 5, event: n % 3, ..plain_draft() })
                })
                .collect();
            pair.batch(&items, Form::Array, false, false);
        }
        is_done.store(true, Ordering::Relaxed);
        reader.join().expect("the reader reads")
    });
    let mutations = pair.model.mutations();
    assert!(!answers.is_empty());
    for (domain, window, answer) in &answers {
        compare::is_one_prefix(answer, &pair.model, &mutations, *domain, window);
    }
    pair.check_all();
}
