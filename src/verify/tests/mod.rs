//! The two against each other: a projection under random entries, flushes and crashes, and its plain recomputation.

mod streams;

use std::sync::Arc;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use serde_json::{Value, json};

use super::differences::Recomputed;
use super::{mediaid, treasury};
use crate::event::Currency;
use crate::mediaid::MediaId;
use crate::passport::{Entry, Envelope};
use crate::projection::Projection;
use crate::treasury::Treasury;
use crate::units::{Seq, Timestamp};
use streams::{Step, step};

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
    recomputation: fn(&P::Setup) -> R,
    entries: Vec<Stored>,
    committed: usize,
}

impl<P: Projection, R: Recomputed<View = P::View>> Rig<P, R> {
    fn new(setup: P::Setup, recomputation: fn(&P::Setup) -> R) -> Rig<P, R> {
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
        let mut payload = event.payload.clone();
        payload["userId"] = json!(event.user_id);
        payload["at"] = json!("2026-05-01T20:15:00Z");
        let stored = Stored { seq: self.entries.len() as u64 + 1, event, text: payload.to_string() };
        stored.with(|entry| self.projection().apply(entry)).expect("a good entry");
        self.entries.push(stored);
    }
    fn view(&mut self) -> Arc<P::View> {
        let applied = Seq::new(self.entries.len() as u64);
        self.projection().view(applied)
    }
    /// What a view differs in from the first `count` entries.
    fn differences(&self, view: &P::View, count: usize) -> Vec<String> {
        let mut recomputation = (self.recomputation)(&self.setup);
        for entry in &self.entries[..count] {
            entry.with(|entry| recomputation.add(entry)).expect("a good entry");
        }
        recomputation.differences(view)
    }
    fn check(&mut self) {
        let view = self.view();
        assert_eq!(self.differences(&view, self.entries.len()), [""; 0]);
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
        let mut projection = P::open(self.database.clone(), &self.setup, Timestamp::default()).expect("opens");
        for entry in &self.entries[self.committed..] {
            entry.with(|entry| projection.apply(entry)).expect("a good entry");
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
    Rig::new(crate::mediaid::Setup { min_play_seconds: 30 }, |setup| mediaid::Recomputation::new(*setup))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn the_treasury_is_what_a_plain_recomputation_gives(steps in prop::collection::vec(step(), 1..120)) {
        treasury().run(steps);
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
