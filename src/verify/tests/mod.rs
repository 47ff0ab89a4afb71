//! The two against each other: a projection under random entries, flushes and crashes, and its plain recomputation.

mod streams;

use std::sync::Arc;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use serde_json::{Value, json};

use super::compact::Numbered;
use super::differences::{Differences, Recomputed};
use super::parts::Part;
use super::{mediaid, recompute, treasury};
use crate::coliseum::{Coliseum, Rules};
use crate::event::{Currency, Facts};
use crate::mediaid::MediaId;
use crate::passport::{Entry, Envelope, Parsed};
use crate::projection::Projection;
use crate::treasury::Treasury;
use crate::units::{Seq, Timestamp};
use streams::{Step, step};

/// In the middle of the days of the streams, so that some of their events are before the window of 7 days.
const NOW: Timestamp = Timestamp::from_micros(4 * 86_400_000_000 + 45_296_000_000);

/// An entry as the tests keep it.
struct Stored {
    seq: u64,
    event: Event,
    text: String,
}

/// What came in.
#[derive(Clone, Debug)]
struct Event {
    user_id: &'static str,
    at_micros: i64,
    payload: Value,
}

impl Stored {
    fn with<R>(&self, each: impl FnOnce(&Entry<'_>) -> R) -> R {
        let envelope = Envelope {
            received_at_micros: self.event.at_micros,
            at_micros: self.event.at_micros,
            at_corrected: false,
            event_type: self.event.payload["type"].as_str().expect("every payload has a type"),
            message_id: "m",
            user_id: self.event.user_id,
            session_id: None,
            device_id: None,
            source: "api",
            payload: &self.text,
        };
        each(&Entry { seq: Seq::new(self.seq), envelope })
    }
}

/// Drives a projection as the runner does, beside a way to recompute it.
struct Rig<P: Projection, R> {
    database: Arc<redb::Database>,
    projection: Option<P>,
    setup: P::Setup,
    recomputation: fn(&P::Setup, Part) -> R,
    entries: Vec<Stored>,
    committed: usize,
}

impl<P: Projection, R: Recomputed<View = P::View>> Rig<P, R> {
    fn new(setup: P::Setup, recomputation: fn(&P::Setup, Part) -> R) -> Rig<P, R> {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let mut rig = Rig {
            database: Arc::new(database),
            projection: None,
            setup,
            recomputation,
            entries: Vec::new(),
            committed: 0,
        };
        rig.reopen();
        rig
    }
    fn projection(&mut self) -> &mut P {
        self.projection.as_mut().expect("open between steps")
    }
    fn apply(&mut self, event: Event) {
        self.apply_another(event.clone(), event);
    }
    /// Folds something else than what the log has.
    fn apply_another(&mut self, folded: Event, logged: Event) {
        let seq = self.entries.len() as u64 + 1;
        let stored = |event: Event| {
            let mut payload = event.payload.clone();
            payload["userId"] = json!(event.user_id);
            payload["at"] = json!("2026-05-01T20:15:00Z");
            Stored { seq, event, text: payload.to_string() }
        };
        stored(folded).with(|entry| self.projection().apply(&Parsed::of(*entry))).expect("a good entry");
        self.entries.push(stored(logged));
    }
    fn view(&mut self) -> Arc<P::View> {
        let applied = Seq::new(self.entries.len() as u64);
        self.projection().view(applied)
    }
    /// What a view differs in from the first `count` entries.
    fn differences(&self, view: &P::View, count: usize) -> Vec<String> {
        self.differences_by(1, view, count)
    }
    /// The same, in so many parts.
    fn differences_by(&self, parts: u32, view: &P::View, count: usize) -> Vec<String> {
        let mut found = Differences::default();
        let mut recomputation = Some((self.recomputation)(&self.setup, Part::first_of(parts)));
        while let Some(mut part) = recomputation {
            let mut users = Numbered::default();
            for entry in &self.entries[..count] {
                let add = |entry: &Entry<'_>| {
                    let facts = Facts::of_stored(entry.envelope.event_type, entry.envelope.payload);
                    part.add(entry, &facts.expect("a good entry"), users.number(entry.envelope.user_id))
                };
                entry.with(add).expect("a good entry");
            }
            recomputation = part.compare(view, &Arc::new(users), &mut found, &mut || true);
        }
        found.into_told()
    }
    fn check(&mut self) {
        let view = self.view();
        for parts in 1..4 {
            assert_eq!(self.differences_by(parts, &view, self.entries.len()), [""; 0], "in {parts} parts");
        }
    }
    /// `early`: the view is made, and looked into, before the commit.
    fn flush(&mut self, early: bool) {
        let transaction = self.database.begin_write().expect("in memory");
        self.projection().flush(&transaction).expect("writes");
        if early {
            self.check();
        }
        transaction.commit().expect("in memory");
        self.committed = self.entries.len();
    }
    /// Forgets what was not committed and folds it again.
    fn reopen(&mut self) {
        self.projection = None;
        let mut projection = P::open(self.database.clone(), &self.setup, NOW).expect("opens");
        for entry in &self.entries[self.committed..] {
            entry.with(|entry| projection.apply(&Parsed::of(*entry))).expect("a good entry");
        }
        self.projection = Some(projection);
    }

    /// Takes all steps; a view that was made on the way must stay what it was.
    fn run(mut self, steps: Vec<Step>) {
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::Apply(event) => self.apply(event),
                Step::Flush { early } => self.flush(early),
                Step::Check => self.check(),
                Step::Hold => held.push((self.view(), self.entries.len())),
                Step::Reopen => self.reopen(),
            }
        }
        self.check();
        self.flush(false);
        self.reopen();
        self.check();
        for (view, count) in held {
            assert_eq!(self.differences(&view, count), [""; 0], "a view of {count} entries");
        }
    }
}

fn treasury() -> Rig<Treasury, treasury::Recomputation> {
    let base_currency = Currency::of("usd").expect("a code");
    let credited_types = ["custom.named".to_owned()].into();
    Rig::new(crate::treasury::Setup::new(base_currency, credited_types), treasury::Recomputation::new)
}

fn mediaid() -> Rig<MediaId, mediaid::Recomputation> {
    Rig::new(crate::mediaid::Setup { min_play_seconds: 30 }, |setup, part| mediaid::Recomputation::new(*setup, part))
}

fn coliseum() -> Rig<Coliseum, recompute::Recomputation> {
    let rules = "[fx]\neur = 1.085\n[rules.\"custom.named\"]\na = 0.333333\ng = -1\n".parse().expect("TOML");
    let rules = Rules::from_toml(&rules).expect("valid rules");
    let recomputation =
        |rules: &Rules, part| recompute::Recomputation::new(Arc::new(rules.clone()), NOW.minute(), part);
    Rig::new(rules, recomputation)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn the_treasury_is_what_a_plain_recomputation_gives(steps in prop::collection::vec(step(), 1..120)) {
        treasury().run(steps);
    }

    #[test]
    fn the_coliseum_is_what_a_plain_recomputation_gives(steps in prop::collection::vec(step(), 1..120)) {
        coliseum().run(steps);
    }

    #[test]
    fn every_fan_is_what_a_plain_recomputation_gives(steps in prop::collection::vec(step(), 1..120)) {
        mediaid().run(steps);
    }
}

#[test]
fn what_differs_is_told() {
    let event = |user_id, payload| Event { user_id, at_micros: 7, payload };
    let mut rig = treasury();
    rig.apply(event("u", json!({"type": "treasury.money_spent", "artistId": "a", "eventId": "e", "amountCents": 5})));
    let view = rig.view();
    rig.apply(event("v", json!({"type": "treasury.money_spent", "artistId": "a", "eventId": "e", "amountCents": 5})));
    rig.apply(event("v", json!({"type": "social.follow", "targetType": "artist", "targetId": "b"})));
    let told = rig.differences(&view, 3);
    assert_eq!(told.len(), 5, "{told:#?}");
    for what in
        ["how many artists", "the fans of \"a\"", "the money of \"a\"", "the money of the events", "\"b\" is not"]
    {
        assert!(told.iter().any(|told| told.contains(what)), "{what}: {told:#?}");
    }
    let mut rig = mediaid();
    rig.apply(event("u", json!({"type": "social.follow", "targetType": "artist", "targetId": "b"})));
    let view = rig.view();
    rig.apply(event("u", json!({"type": "social.follow", "targetType": "artist", "targetId": "b"})));
    rig.apply(event("v", json!({"type": "social.follow", "targetType": "artist", "targetId": "b"})));
    let told = rig.differences(&view, 3);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[0].contains("how many users") && told[1].contains("\"u\"") && told[2].contains("\"v\""), "{told:#?}");
}

/// What is told of a coliseum that folded something else than what the log has.
fn told_of(events: &[(Event, Event)]) -> Vec<String> {
    let mut rig = coliseum();
    for (folded, logged) in events {
        rig.apply_another(folded.clone(), logged.clone());
    }
    let view = rig.view();
    let before = rig.differences(&view, events.len());
    // What is stored is told of as what is in memory.
    rig.flush(false);
    let view = rig.view();
    assert_eq!(rig.differences(&view, events.len()), before);
    // Each part tells of its own subjects, and up to so many of each kind.
    let is_cut = before.iter().any(|told| told.contains("more differences"));
    for parts in (2..4).filter(|_| !is_cut) {
        let sorted = |mut told: Vec<String>| {
            told.sort();
            told
        };
        assert_eq!(sorted(rig.differences_by(parts, &view, events.len())), sorted(before.clone()), "in {parts} parts");
    }
    before
}

fn assert_told(told: &[String], wanted: &[&str]) {
    for what in wanted {
        assert!(told.iter().any(|told| told.contains(what)), "{what}: {told:#?}");
    }
}

/// Of a user on a day.
fn on_day(day: i64, user_id: &'static str, payload: Value) -> Event {
    Event { user_id, at_micros: day * 86_400_000_000, payload }
}

#[test]
fn a_total_that_differs_is_told_of_everyone_whose_it_is() {
    let vote = |weight: f64| {
        on_day(3, "u", json!({"type": "coliseum.vote_cast", "artistId": "a", "eventId": "e", "weight": weight}))
    };
    let told = told_of(&[(vote(2.5), vote(2.0))]);
    assert_told(
        &told,
        &[
            "board a/7d position 1",
            "votes_cast of everything, 30d",
            "top users by votes_cast, 7d, position 1",
            "top artists by votes_cast, alltime, position 1",
            "top events by votes_cast, 7d, position 1",
            "votes_cast of the user \"u\", 7d: the log gives +0 to the view's count, -500000 to its sum",
            "votes_cast of the event \"e\", alltime",
            "votes_cast of the event \"e\", all days",
            "votes_cast of the global \"global\", 30d",
            "votes_cast of the artist \"a\" on the day from 1970-01-04T00:00:00Z",
            "A of the artist \"a\" on the day from 1970-01-04T00:00:00Z: the log gives -1000000",
        ],
    );
    assert!(!told.iter().any(|told| told.contains("analytics") || told.contains("entitlement")), "{told:#?}");
}

/// Every total is the same: it is only about who came twice.
#[test]
fn a_set_of_fans_that_differs_is_told() {
    let play = |day, user, artist: &str| {
        on_day(day, user, json!({"type": "player.track_played", "trackId": "t", "artistId": artist, "genre": "g"}))
    };
    let same = |event: Event| (event.clone(), event);
    let told = told_of(&[
        same(play(1, "u", "a")),
        same(play(1, "v", "b")),
        (play(2, "u", "b"), play(2, "u", "a")),
        (play(2, "v", "a"), play(2, "v", "b")),
    ]);
    assert_told(&told, &["analytics of \"a\", 30d: fans", "analytics of \"b\", alltime: repeat fans"]);
    assert!(told.iter().all(|told| told.contains("fans: ")), "{told:#?}");
}

#[test]
fn genres_cities_and_money_that_differ_are_told() {
    let play = |genre: &str, city: &str| {
        let play =
            json!({"type": "player.track_played", "trackId": "t", "artistId": "a", "genre": genre, "city": city});
        on_day(1, "u", play)
    };
    let told = told_of(&[(play("pop", "Turin"), play("rock", "TURIN"))]);
    assert_told(&told, &["analytics of \"a\", 30d: genres", "analytics of \"a\", alltime: top cities"]);
    let spent = |kind: &str, currency: &str| {
        on_day(1, "u", json!({"type": kind, "amountCents": 500, "currency": currency, "artistId": "a"}))
    };
    let told = told_of(&[(spent("treasury.money_spent", "usd"), spent("treasury.money_spent", "eur"))]);
    assert_told(
        &told,
        &[
            "money_spent:usd of the user \"u\", 7d: the log gives -1",
            "money_spent:eur of the user \"u\", 7d: the log gives +1",
            "money_spent:eur of everything, 7d",
            "analytics of \"a\", 30d: paying fans",
            "analytics of \"a\", 30d: revenue",
        ],
    );
    let told = told_of(&[(spent("treasury.money_spent", "jpy"), spent("treasury.money_earned", "jpy"))]);
    assert_told(&told, &["events of money without a rate", "analytics of \"a\", 30d: fans"]);
}

#[test]
fn an_entitlement_a_profile_and_a_line_up_that_differ_are_told() {
    let plan = |plan: &str| on_day(1, "u", json!({"type": "coliseum.entitlement_changed", "plan": plan}));
    let told = told_of(&[(plan("pro"), plan("basic"))]);
    assert_told(&told, &["the entitlement of \"u\""]);
    assert_eq!(told.len(), 1, "{told:#?}");
    let other = on_day(1, "u", json!({"type": "social.follow", "targetType": "venue", "targetId": "x"}));
    let told = told_of(&[(plan("pro"), other)]);
    assert_told(&told, &["how many users were given a plan", "the entitlement of \"u\"", "follows of the user"]);
    let profile = |genre: &str| {
        let profile = json!({"type": "artist.profile_updated", "artistId": "a", "artistName": "A", "genres": [genre]});
        on_day(1, "u", profile)
    };
    let told = told_of(&[(profile("pop"), profile("rock"))]);
    assert!(told.len() == 1 && told[0].contains("the profile of \"a\""), "{told:#?}");
    let lineup = |artist: &str, name: &str| {
        let lineup =
            json!({"type": "concierto.event_scheduled", "eventId": "e", "artistIds": ["a", artist], "name": name});
        on_day(1, "u", lineup)
    };
    let told = told_of(&[(profile("pop"), profile("pop")), (lineup("b", "N"), lineup("a", "M"))]);
    assert_told(&told, &["the line-up of \"e\"", "the name of \"e\"", "how many artists there are"]);
}

#[test]
fn of_many_differences_of_a_kind_a_few_are_told_and_how_many_more() {
    let artists: Vec<String> = (0..30).map(|number| format!("a{number:02}")).collect();
    let follow =
        |artist: &str| on_day(1, "u", json!({"type": "social.follow", "targetType": "artist", "targetId": artist}));
    let mut events: Vec<(Event, Event)> = Vec::new();
    for artist in &artists {
        events.push((follow(artist), follow(artist)));
        events.push((follow(artist), follow("other")));
    }
    let told = told_of(&events);
    let of_board = told.iter().filter(|told| told.starts_with("board a/7d")).count();
    assert_eq!(of_board, 11, "{told:#?}");
    assert_told(
        &told,
        &["board a/7d: and ", "top artists by follows, 7d: and ", "totals of artists: and 114 more differences"],
    );
    assert!(told.len() < 1000, "{}", told.len());
}
