//! The fold against the simplest recomputation of SPEC 2 that can be written, under random entries, clocks and crashes.

mod counted;
mod many;
mod model;
mod steps;

use std::sync::Arc;

use proptest::prelude::*;
use redb::ReadableTable as _;
use redb::backends::InMemoryBackend;
use serde_json::{Value, json};

use super::*;
use crate::projection::Changes as _;
use crate::units::{Domain, MicroPoints, Window};
use model::{Change, Line, Model, Stored, test_rules};
use steps::{At, Step, step};

const MINUTE_MICROS: i64 = 60_000_000;
/// 2026-05-01T20:15Z.
const START_MINUTE: i64 = 29_628_255;

fn changes(mutations: Vec<Mutation>) -> Vec<Change> {
    let change = |m: Mutation| Change {
        seq: m.seq.get(),
        of_seq: m.of_seq.get(),
        artist: m.artist.to_string(),
        domain: m.domain.index(),
        effective: m.effective.get(),
        at_micros: m.occurred_at.micros(),
        created_micros: m.created_at.micros(),
    };
    mutations.into_iter().map(change).collect()
}

/// Holds a view against the model, over everything that it answers.
fn check(view: &View, entries: &[Stored], now_minute: i64) {
    let model = Model::of(entries);
    assert_eq!((view.minute().get(), view.applied().get()), (now_minute, entries.len() as u64));
    assert_eq!(view.unconverted(), model.unconverted);
    let ids: Vec<String> = view.cards().iter().map(|card| card.id.to_string()).collect();
    assert_eq!(ids, model.artists);
    check_cards(view, &model);
    for domain in Domain::ALL {
        for window in Window::ALL {
            let expected = model.board(domain.index(), window, now_minute, false);
            check_board(view.board(domain, window), view, &expected);
            for line in &expected {
                let artist = view.artist(&line.artist).expect("known");
                assert_eq!(view.score(artist, domain, window), MicroPoints::new(line.score));
            }
        }
    }
    for hours_ago in [0, 1, 24, 25, 167, 168, 169, 720, 721, 744, 9_700, 20_000, 600_000] {
        let hour = (now_minute.div_euclid(60) - hours_ago) * 60;
        for (domain, window) in
            Domain::ALL.into_iter().zip([Window::Days7, Window::Days30, Window::AllTime, Window::AllTime])
        {
            let past = view.past_board(domain, window, Minute::new(hour + 59).start()).expect("readable");
            assert_eq!(past.as_of(), Minute::new(hour).start());
            check_board(past.leaderboard(), view, &model.board(domain.index(), window, hour, true));
        }
    }
    check_mutations(view, entries, &model);
    counted::check(view, entries, &model, now_minute);
}

fn check_board(board: Leaderboard<'_>, view: &View, expected: &[Line]) {
    let found: Vec<Line> = board.rows(0, usize::MAX).map(Line::of).collect();
    assert_eq!(found, expected);
    assert_eq!(board.total(), expected.len());
    for (index, line) in expected.iter().enumerate() {
        let artist = view.artist(&line.artist).expect("known");
        assert_eq!(board.standing_of(artist).map(Line::of).as_ref(), Some(line));
        assert_eq!(board.rows(index, 1).map(Line::of).collect::<Vec<_>>(), std::slice::from_ref(line));
        let around: Vec<Line> = board.around(artist, 3).into_iter().map(Line::of).collect();
        let start = index.saturating_sub(1).min(expected.len().saturating_sub(3));
        assert_eq!(around, expected[start..expected.len().min(start + 3)]);
    }
}

fn check_cards(view: &View, model: &Model) {
    for (id, (name, genres, city)) in &model.cards {
        let card = view.card(view.artist(id).expect("known"));
        assert_eq!(card.name.as_deref(), Some(name.as_str()));
        assert_eq!(card.genres.iter().map(|genre| genre.to_string()).collect::<Vec<_>>(), *genres);
        assert_eq!(card.home_city.as_deref(), city.as_deref());
    }
    for (event, lineup) in &model.lineups {
        let found = view.lineup(event).expect("scheduled").current();
        assert_eq!(found.map(|artist| view.card(artist).id.to_string()).collect::<Vec<_>>(), *lineup);
        for artist in lineup {
            let artist = view.artist(artist).expect("known");
            let stays = view.events_with(artist).find(|(id, _)| &***id == event).expect("on the line-up").1;
            assert_eq!(stays.last().expect("a stay").removed, None);
        }
    }
}

fn check_mutations(view: &View, entries: &[Stored], model: &Model) {
    for entry in entries {
        entry.with(|entry| {
            let mut expected: Vec<Change> = model.changes.clone();
            expected.retain(|change| change.of_seq == entry.seq.get());
            assert_eq!(changes(view.mutations_of(entry)), expected);
            let mut expected: Vec<Change> = model.changes.clone();
            expected.retain(|change| change.seq == entry.seq.get());
            expected.sort_by_key(|change| (change.of_seq != change.seq, change.of_seq));
            assert_eq!(changes(view.caused_by(entry).expect("readable")), expected);
            let credits = view.credits(entry);
            assert!(credits.iter().all(|credit| credit.caused_by >= entry.seq));
        });
    }
}

/// Drives the projection as the runner does.
struct Rig {
    database: Arc<redb::Database>,
    coliseum: Option<Coliseum>,
    rules: Rules,
    entries: Vec<Stored>,
    committed: usize,
    /// Changes on their way, and of how many entries they are.
    taken: Option<(flush::Changes, usize)>,
    now_micros: i64,
}

impl Rig {
    fn new() -> Rig {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let now_micros = START_MINUTE * MINUTE_MICROS;
        let mut rig = Rig {
            database: Arc::new(database),
            coliseum: None,
            rules: test_rules(),
            entries: Vec::new(),
            committed: 0,
            taken: None,
            now_micros,
        };
        rig.reopen();
        rig
    }
    fn coliseum(&mut self) -> &mut Coliseum {
        self.coliseum.as_mut().expect("open between steps")
    }
    fn apply(&mut self, mut payload: Value, at_micros: i64) {
        let seq = self.entries.len() as u64 + 1;
        if payload.get("userId").is_none() {
            payload["userId"] = json!("u");
        }
        payload["at"] = json!("2026-05-01T20:15:00Z");
        let received_micros = self.now_micros + seq as i64;
        let text = payload.to_string();
        let entry = Stored { seq, at_micros, received_micros, payload, text };
        entry.with(|entry| self.coliseum().apply(&Parsed::of(*entry))).expect("a good entry");
        self.entries.push(entry);
    }
    fn tick(&mut self, minutes: i64) {
        self.now_micros += minutes * MINUTE_MICROS + 1_234_567;
        let now = Timestamp::from_micros(self.now_micros);
        self.coliseum().tick(now).expect("readable");
    }
    fn check(&mut self) {
        let view = self.view();
        check(&view, &self.entries, self.now_micros.div_euclid(MINUTE_MICROS));
    }
    fn view(&mut self) -> Arc<View> {
        let applied = Seq::new(self.entries.len() as u64);
        self.coliseum().view(applied)
    }
    /// `early`: the clock goes so many minutes on, and a view is made and looked into, before the commit.
    fn flush(&mut self, early: Option<i64>) {
        self.commit(false);
        let transaction = self.database.begin_write().expect("in memory");
        self.coliseum().flush(&transaction).expect("writes");
        let committed = self.entries.len();
        let view = early.map(|minutes| {
            self.tick(minutes);
            self.view()
        });
        transaction.commit().expect("in memory");
        self.committed = committed;
        if let Some(view) = view {
            check(&view, &self.entries, self.now_micros.div_euclid(MINUTE_MICROS));
        }
    }
    fn take(&mut self) {
        if self.taken.is_none() {
            self.taken = Some((self.coliseum().changes(), self.entries.len()));
        }
    }
    /// Writes and commits the changes that were taken. `early`: a view is made before the fold knows of it.
    fn commit(&mut self, early: bool) {
        let Some((mut changes, committed)) = self.taken.take() else { return };
        let transaction = self.database.begin_write().expect("in memory");
        changes.write(&transaction).expect("writes");
        transaction.commit().expect("in memory");
        self.committed = committed;
        if early {
            self.check();
        }
        self.coliseum().written(changes);
    }
    /// Forgets what was not committed and folds it again.
    fn reopen(&mut self) {
        self.taken = None;
        let now = Timestamp::from_micros(self.now_micros);
        self.coliseum = None;
        let mut coliseum = Coliseum::open(self.database.clone(), &self.rules, now).expect("opens");
        for entry in &self.entries[self.committed..] {
            entry.with(|entry| coliseum.apply(&Parsed::of(*entry))).expect("a good entry");
        }
        self.coliseum = Some(coliseum);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_answer_is_that_of_a_plain_recomputation(steps in prop::collection::vec(step(), 1..90)) {
        let mut rig = Rig::new();
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::Apply(payload, at) => {
                    let at_micros = match at {
                        At::Ago(minutes, micros) => {
                            (rig.now_micros.div_euclid(MINUTE_MICROS) - minutes) * MINUTE_MICROS + micros
                        }
                        At::Micros(micros) => micros,
                    };
                    rig.apply(payload, at_micros);
                }
                Step::Tick(minutes) => rig.tick(minutes),
                Step::Flush { early } => rig.flush(early),
                Step::Take => rig.take(),
                Step::Commit { early } => rig.commit(early),
                Step::Check => rig.check(),
                Step::Hold => held.push((rig.view(), rig.entries.clone(), rig.now_micros.div_euclid(MINUTE_MICROS))),
                Step::Reopen => rig.reopen(),
            }
        }
        rig.check();
        rig.flush(None);
        rig.reopen();
        rig.check();
        for (view, entries, minute) in held {
            check(&view, &entries, minute);
        }
    }
}

fn vote(artist: &str) -> Value {
    json!({"type": "coliseum.vote_cast", "artistId": artist, "eventId": "e1"})
}

#[test]
fn forty_days_in_steps_of_an_hour_keep_every_board_exact() {
    let mut rig = Rig::new();
    for hour in 0..960 {
        let minute_micros = rig.now_micros;
        rig.apply(vote(["a", "B", "z"][hour % 3]), minute_micros - (hour as i64 % 50) * 1000 * MINUTE_MICROS);
        rig.tick(60);
        if hour % 7 == 0 {
            rig.flush(None);
        }
        if hour % 160 == 159 {
            rig.check();
        }
    }
    rig.tick(-40 * 1440);
    rig.check();
    rig.tick(80 * 1440);
    rig.check();
}

#[test]
fn a_view_stays_what_it_was_while_the_fold_goes_on() {
    let mut rig = Rig::new();
    let at = rig.now_micros;
    rig.apply(json!({"type": "concierto.event_attended", "eventId": "e1", "city": "Turin", "artistId": "a"}), at);
    rig.apply(json!({"type": "concierto.event_scheduled", "eventId": "e1", "artistIds": ["B", "a"]}), at);
    let (view, entries, minute) = (rig.view(), rig.entries.clone(), rig.now_micros / MINUTE_MICROS);
    for round in 0..40 {
        rig.apply(vote("z"), at - round * MINUTE_MICROS);
        rig.apply(json!({"type": "concierto.event_scheduled", "eventId": "e1", "artistIds": ["z"]}), at);
        rig.flush((round % 2 == 0).then_some(-3));
        rig.tick(700);
    }
    check(&view, &entries, minute);
    rig.check();
}

#[test]
fn a_bad_payload_changes_nothing() {
    let mut rig = Rig::new();
    let at = rig.now_micros;
    rig.apply(vote("a"), at);
    let bad = Stored {
        seq: 2,
        at_micros: at,
        received_micros: at,
        payload: json!({"type": "coliseum.vote_cast", "artistId": "new", "eventId": "e1", "userId": "u"}),
        text: "{\"type\":\"coliseum.vote_cast\"}".into(),
    };
    assert!(bad.with(|entry| rig.coliseum().apply(&Parsed::of(*entry))).is_err());
    rig.check();
}

#[test]
fn a_flush_that_was_never_committed_stops_the_next_one() {
    let mut rig = Rig::new();
    let at = rig.now_micros;
    rig.apply(vote("a"), at);
    let transaction = rig.database.begin_write().expect("in memory");
    rig.coliseum().flush(&transaction).expect("writes");
    transaction.abort().expect("in memory");
    rig.check();
    let transaction = rig.database.begin_write().expect("in memory");
    assert!(rig.coliseum().flush(&transaction).is_err());
    drop(transaction);
    rig.reopen();
    rig.check();
}

#[test]
fn damaged_values_are_an_error() {
    let mut rig = Rig::new();
    let at = rig.now_micros;
    rig.apply(json!({"type": "concierto.event_scheduled", "eventId": "e1", "artistIds": ["a"]}), at);
    rig.flush(None);
    let tables = [tables::ARTISTS, tables::ALLTIME, tables::EVENTS];
    for table in tables {
        let transaction = rig.database.begin_write().expect("in memory");
        let whole = {
            let mut table = transaction.open_table(table).expect("made at open");
            let whole = table.get(0).expect("readable").expect("the first number").value().to_vec();
            let mut bad = whole.clone();
            *bad.last_mut().expect("not empty") ^= 4;
            table.insert(0, bad.as_slice()).expect("writes");
            whole
        };
        transaction.commit().expect("in memory");
        let now = Timestamp::from_micros(at);
        assert!(Coliseum::open(rig.database.clone(), &rig.rules, now).is_err(), "{table}");
        let transaction = rig.database.begin_write().expect("in memory");
        transaction.open_table(table).expect("made at open").insert(0, whole.as_slice()).expect("writes");
        transaction.commit().expect("in memory");
    }
    rig.reopen();
    rig.check();
}

#[test]
fn a_setup_reads_back_and_names_its_version() {
    let rules = test_rules();
    let bytes = Coliseum::encode_setup(&rules);
    assert_eq!(Coliseum::decode_setup(&bytes).expect("what was written"), rules);
    assert!(Coliseum::decode_setup(b"\xff").is_err());
    assert_ne!(Coliseum::version(&rules), Coliseum::version(&Rules::default()));
}
