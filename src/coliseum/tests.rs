//! The fold against the simplest recomputation of SPEC 2 that can be written, under random entries, clocks and crashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use serde_json::{Value, json};

use super::*;
use crate::passport::Envelope;
use crate::units::{MicroPoints, Window};

const MINUTE_MICROS: i64 = 60_000_000;
/// 2026-05-01T20:15Z.
const START_MINUTE: i64 = 29_628_255;

/// An entry as the tests keep it.
#[derive(Clone, Debug)]
struct Stored {
    seq: u64,
    at_micros: i64,
    received_micros: i64,
    payload: Value,
    text: String,
}

impl Stored {
    fn with<R>(&self, each: impl FnOnce(&Entry<'_>) -> R) -> R {
        let envelope = Envelope {
            received_at_micros: self.received_micros,
            at_micros: self.at_micros,
            at_corrected: false,
            event_type: self.kind(),
            message_id: "m",
            user_id: "u",
            session_id: None,
            device_id: None,
            source: "api",
            payload: &self.text,
        };
        each(&Entry { seq: Seq::new(self.seq), envelope })
    }
    fn kind(&self) -> &str {
        self.payload["type"].as_str().expect("every payload has a type")
    }
    fn text_of(&self, key: &str) -> Option<&str> {
        self.payload.get(key).and_then(Value::as_str)
    }
    /// `artistId`, `artistIds`, then the target that is an artist.
    fn own_credits(&self) -> Vec<String> {
        let p = &self.payload;
        let mut ids: Vec<String> = Vec::new();
        let target = (p["targetType"] == "artist").then(|| &p["targetId"]);
        let list = p["artistIds"].as_array().into_iter().flatten();
        for id in [&p["artistId"]].into_iter().chain(list).chain(target).filter_map(Value::as_str) {
            if !ids.iter().any(|known| known == id) && self.kind() != "custom.unnamed" {
                ids.push(id.into());
            }
        }
        ids
    }
}

fn test_rules() -> Rules {
    let text = "[fx]\neur = 1.085\n[rules.\"custom.named\"]\na = 0.333333\ng = -1\n\
                [rules.\"concierto.event_scheduled\"]\nt = 0.25\n\
                [rules.\"concierto.event_attended\"]\nt = 0.000001\nticket_tier = { half = 0.5, none = 0 }";
    Rules::from_toml(&text.parse().expect("TOML")).expect("valid rules")
}

/// `base x numerator / denominator`, half to even, by the schoolbook.
fn rounded(base: i128, numerator: i128, denominator: i128) -> i128 {
    let exact = base * numerator;
    let low = exact.div_euclid(denominator);
    match (2 * exact.rem_euclid(denominator)).cmp(&denominator) {
        std::cmp::Ordering::Less => low,
        std::cmp::Ordering::Equal => low + (low & 1),
        std::cmp::Ordering::Greater => low + 1,
    }
}

/// A, T, G, C of an entry, whomever it credits; `None` for money without a rate.
fn points(entry: &Stored) -> Option<[i128; 4]> {
    let p = &entry.payload;
    let money = |base: i128| -> Option<[i128; 4]> {
        let cents = i128::from(p["amountCents"].as_i64().expect("money has an amount"));
        let rate = match p.get("currency").and_then(Value::as_str).unwrap_or("usd") {
            "usd" => 1000,
            "eur" => 1085,
            _ => return None,
        };
        Some([0, 0, rounded(base, cents * rate, 100_000), 0])
    };
    let earned = |base: i128| if p["role"] == "artist" { money(base) } else { Some([0; 4]) };
    match entry.kind() {
        "concierto.event_attended" => {
            let by = match entry.text_of("ticketTier") {
                Some("vip") => 15,
                Some("half") => 5,
                Some("none") => 0,
                _ => 10,
            };
            Some([0, rounded(1, by, 10), 0, rounded(10_000_000, by, 10)])
        }
        "treasury.money_spent" => money(1_000_000),
        "treasury.money_refunded" => money(-1_000_000),
        "treasury.money_earned" => earned(250_000),
        "treasury.earning_reversed" => earned(-250_000),
        "coliseum.vote_cast" => {
            let micro = (p["weight"].as_f64().unwrap_or(1.0) * 1e6).round() as i128;
            Some([2 * micro, 1_000_000, 0, 0])
        }
        "player.track_played" if p["durationSeconds"].as_f64().is_some_and(|seconds| seconds < 30.0) => Some([0; 4]),
        "player.track_played" => Some([500_000, 1_000_000, 0, 0]),
        "player.track_favorited" => Some([2_000_000, 1_000_000, 0, 0]),
        "social.follow" => Some([2_000_000, 1_000_000, 0, 0]),
        "social.share" => Some([3_000_000, 1_000_000, 0, 1_000_000]),
        "custom.named" => Some([333_333, 0, -1_000_000, 0]),
        "concierto.event_scheduled" => Some([0, 250_000, 0, 0]),
        _ => Some([0; 4]),
    }
}

/// A mutation as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    seq: u64,
    of_seq: u64,
    artist: String,
    domain: usize,
    effective: i128,
    at_micros: i64,
    created_micros: i64,
}

/// Everything that entries 1…n give, from scratch.
#[derive(Default)]
struct Model {
    changes: Vec<Change>,
    unconverted: u64,
    /// In the order in which they were first named.
    artists: Vec<String>,
    cards: BTreeMap<String, (String, Vec<String>, Option<String>)>,
    lineups: BTreeMap<String, Vec<String>>,
}

impl Model {
    fn of(entries: &[Stored]) -> Model {
        let mut model = Model::default();
        let mut credited: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let mut artists = entry.own_credits();
            artists.iter().for_each(|artist| model.name(artist));
            if entry.kind() == "concierto.event_scheduled" {
                let event = entry.text_of("eventId").expect("required").to_string();
                let lineup = model.lineups.entry(event.clone()).or_default();
                lineup.retain(|artist| artists.contains(artist));
                let new: Vec<String> = artists.iter().filter(|artist| !lineup.contains(artist)).cloned().collect();
                lineup.extend(new.clone());
                for earlier in entries[..index].iter().filter(|e| e.kind() == "concierto.event_attended") {
                    if earlier.text_of("eventId") == Some(&event) {
                        for artist in &new {
                            let known = credited.get_mut(&earlier.seq).expect("every attendance is noted");
                            if !known.contains(artist) {
                                known.push(artist.clone());
                                model.score(earlier, artist, entry);
                            }
                        }
                    }
                }
            }
            if entry.kind() == "concierto.event_attended" {
                let event = entry.text_of("eventId").expect("required");
                for artist in model.lineups.get(event).into_iter().flatten() {
                    if !artists.contains(artist) {
                        artists.push(artist.clone());
                    }
                }
                credited.insert(entry.seq, artists.clone());
            }
            if entry.kind() == "artist.profile_updated" {
                let card = model.cards.entry(artists[0].clone()).or_default();
                card.0 = entry.text_of("artistName").expect("required").into();
                if let Some(genres) = entry.payload.get("genres").and_then(Value::as_array) {
                    card.1 = genres.iter().filter_map(Value::as_str).map(String::from).collect();
                }
                card.2 = entry.text_of("homeCity").map(String::from).or(card.2.take());
            }
            artists.iter().for_each(|artist| model.score(entry, artist, entry));
            let condition = entry.kind().starts_with("treasury.money_spent")
                || entry.kind() == "treasury.money_refunded"
                || entry.payload["role"] == "artist";
            model.unconverted += u64::from(condition && points(entry).is_none());
        }
        model
    }
    fn name(&mut self, artist: &str) {
        if !self.artists.iter().any(|known| known == artist) {
            self.artists.push(artist.into());
        }
    }
    fn score(&mut self, of: &Stored, artist: &str, cause: &Stored) {
        for (domain, effective) in points(of).unwrap_or_default().into_iter().enumerate() {
            if effective != 0 {
                self.changes.push(Change {
                    seq: cause.seq,
                    of_seq: of.seq,
                    artist: artist.into(),
                    domain,
                    effective,
                    at_micros: of.at_micros,
                    created_micros: cause.received_micros,
                });
            }
        }
    }
    /// `(id, score)` in the board's order, of what happened in `first..=last`.
    fn order(&self, domain: usize, first: i64, last: i64) -> Vec<(String, i128)> {
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.domain == domain) {
            if (first..=last).contains(&change.at_micros.div_euclid(MINUTE_MICROS)) {
                *sums.entry(&change.artist).or_default() += change.effective;
            }
        }
        let mut order: Vec<(String, i128)> =
            sums.into_iter().filter(|(_, sum)| *sum != 0).map(|(id, sum)| (id.to_string(), sum)).collect();
        order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.as_bytes().cmp(b.0.as_bytes())));
        order
    }
    /// The board whose window ends at minute `m`; a board of now has no upper bound.
    fn board(&self, domain: usize, window: Window, m: i64, is_past: bool) -> Vec<Line> {
        let first = |end: i64| window.minutes().map_or(i64::MIN, |minutes| end - minutes + 1);
        let now = self.order(domain, first(m), if is_past { m } else { i64::MAX });
        let before = self.order(domain, first(m - 1440), m - 1440);
        let line = |(index, (id, score)): (usize, &(String, i128))| Line {
            position: index as u64 + 1,
            rank: now.iter().filter(|(_, other)| other > score).count() as u64 + 1,
            artist: id.clone(),
            score: *score,
            previous: before.iter().position(|(other, _)| other == id).map(|index| index as u64 + 1),
        };
        now.iter().enumerate().map(line).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    position: u64,
    rank: u64,
    artist: String,
    score: i128,
    previous: Option<u64>,
}

impl Line {
    fn of(standing: Standing<'_>) -> Line {
        Line {
            position: standing.position,
            rank: standing.rank,
            artist: standing.card.id.to_string(),
            score: standing.score.get(),
            previous: standing.previous_position,
        }
    }
}

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
}

fn check_board(board: Leaderboard<'_>, view: &View, expected: &[Line]) {
    let found: Vec<Line> = board.rows(0, usize::MAX).map(Line::of).collect();
    assert_eq!(found, expected);
    assert_eq!(board.total(), expected.len());
    for (index, line) in expected.iter().enumerate() {
        let artist = view.artist(&line.artist).expect("known");
        assert_eq!(board.standing_of(artist).map(Line::of).as_ref(), Some(line));
        assert_eq!(board.rows(index, 1).map(Line::of).collect::<Vec<_>>(), [line.clone()]);
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
        payload["userId"] = json!("u");
        payload["at"] = json!("2026-05-01T20:15:00Z");
        let received_micros = self.now_micros + seq as i64;
        let text = payload.to_string();
        let entry = Stored { seq, at_micros, received_micros, payload, text };
        entry.with(|entry| self.coliseum().apply(entry)).expect("a good entry");
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
    /// `early`: the view is made, and looked into, before the commit.
    fn flush(&mut self, early: bool) {
        let transaction = self.database.begin_write().expect("in memory");
        self.coliseum().flush(&transaction).expect("writes");
        let view = early.then(|| self.view());
        transaction.commit().expect("in memory");
        self.committed = self.entries.len();
        if let Some(view) = view {
            check(&view, &self.entries, self.now_micros.div_euclid(MINUTE_MICROS));
        }
    }
    /// Forgets what was not committed and folds it again.
    fn reopen(&mut self) {
        let now = Timestamp::from_micros(self.now_micros);
        self.coliseum = None;
        let mut coliseum = Coliseum::open(self.database.clone(), &self.rules, now).expect("opens");
        for entry in &self.entries[self.committed..] {
            entry.with(|entry| coliseum.apply(entry)).expect("a good entry");
        }
        self.coliseum = Some(coliseum);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Value, At),
    Tick(i64),
    Flush { early: bool },
    Check,
    Reopen,
}

/// Where an event's time lies.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Minutes before the clock, and microseconds into that minute.
    Ago(i64, i64),
    Micros(i64),
}

fn artist() -> impl Strategy<Value = String> {
    // Ids whose byte order is neither their length's nor a locale's.
    prop::sample::select(vec!["a", "B", "a-10", "a-9", "é", "z", "Z"]).prop_map(String::from)
}

fn event() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["e1", "e2", "e3"]).prop_map(String::from)
}

fn without_nulls(mut payload: Value) -> Value {
    payload.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    payload
}

fn payload() -> impl Strategy<Value = Value> {
    let currency = prop::sample::select(vec![None, Some("usd"), Some("eur"), Some("gbp")]);
    let tier = prop::sample::select(vec![None, Some("vip"), Some("half"), Some("none"), Some("other")]);
    let money = prop::sample::select(vec![
        ("treasury.money_spent", None),
        ("treasury.money_refunded", None),
        ("treasury.money_earned", Some("artist")),
        ("treasury.money_earned", Some("venue")),
        ("treasury.money_earned", None),
        ("treasury.earning_reversed", Some("artist")),
    ]);
    let weight =
        prop::sample::select(vec![None, Some(json!(1)), Some(json!(2.5)), Some(json!(0.000001)), Some(json!(1000))]);
    let duration = prop::sample::select(vec![None, Some(json!(29.999)), Some(json!(30)), Some(json!(0))]);
    let target = prop::sample::select(vec!["artist", "venue", "user"]);
    prop_oneof![
        4 => (event(), tier, prop::option::of(artist()), prop::option::of(prop::collection::vec(artist(), 1..3)))
            .prop_map(|(e, tier, a, list)| json!({"type": "concierto.event_attended", "eventId": e, "city": "Turin",
                "ticketTier": tier, "artistId": a, "artistIds": list})),
        4 => (event(), prop::collection::vec(artist(), 1..4))
            .prop_map(|(e, list)| json!({"type": "concierto.event_scheduled", "eventId": e, "artistIds": list})),
        3 => (money, 1i64..5000, currency, prop::option::of(artist())).prop_map(|((kind, role), cents, currency, a)|
            json!({"type": kind, "amountCents": cents, "currency": currency, "role": role, "artistId": a})),
        1 => (artist(), Just(1_000_000_000_000i64)).prop_map(|(a, cents)|
            json!({"type": "treasury.money_spent", "amountCents": cents, "currency": "eur", "artistId": a})),
        4 => (artist(), weight).prop_map(|(a, weight)|
            json!({"type": "coliseum.vote_cast", "artistId": a, "eventId": "e1", "weight": weight})),
        2 => (artist(), duration).prop_map(|(a, duration)|
            json!({"type": "player.track_played", "trackId": "t", "artistId": a, "artistName": "ignored",
                "durationSeconds": duration})),
        1 => artist().prop_map(|a| json!({"type": "player.track_favorited", "trackId": "t", "artistId": a})),
        2 => (artist(), target.clone()).prop_map(|(a, target)|
            json!({"type": "social.follow", "targetId": a, "targetType": target})),
        2 => (artist(), target, prop::option::of(artist())).prop_map(|(a, target, credited)|
            json!({"type": "social.share", "targetId": a, "targetType": target, "platform": "x", "artistId": credited})),
        2 => (artist(), prop::option::of(prop::collection::vec("[a-c]", 0..3)), prop::option::of("[a-c]"))
            .prop_map(|(a, genres, city)| json!({"type": "artist.profile_updated", "artistId": a,
                "artistName": format!("{a}!"), "genres": genres, "homeCity": city})),
        2 => (prop::bool::ANY, artist(), prop::collection::vec(artist(), 0..3)).prop_map(|(named, a, list)| {
            json!({"type": if named { "custom.named" } else { "custom.unnamed" }, "artistId": a, "artistIds": list})
        }),
    ]
    .prop_map(without_nulls)
}

fn at() -> impl Strategy<Value = At> {
    let near_an_edge = (prop::sample::select(vec![0, 1440, 10_080, 11_520, 43_200, 44_640]), -6i64..6);
    prop_oneof![
        6 => (near_an_edge, 0..MINUTE_MICROS).prop_map(|((edge, off), micros)| At::Ago(edge + off, micros)),
        3 => (0i64..50_000, 0..MINUTE_MICROS).prop_map(|(minutes, micros)| At::Ago(minutes, micros)),
        1 => (500_000i64..700_000).prop_map(|minutes| At::Ago(minutes, 0)),
        1 => (-300_000_000_000_000_000i64..100_000_000).prop_map(At::Micros),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let forwards = prop::sample::select(vec![0, 1, 2, 7, 60, 1439, 1440, 1441, 10_080, 43_200, 57_600]);
    prop_oneof![
        24 => (payload(), at()).prop_map(|(payload, at)| Step::Apply(payload, at)),
        4 => forwards.clone().prop_map(Step::Tick),
        2 => forwards.prop_map(|minutes| Step::Tick(-minutes)),
        3 => prop::bool::weighted(0.3).prop_map(|early| Step::Flush { early }),
        2 => Just(Step::Check),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn every_answer_is_that_of_a_plain_recomputation(steps in prop::collection::vec(step(), 1..90)) {
        let mut rig = Rig::new();
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
                Step::Check => rig.check(),
                Step::Reopen => rig.reopen(),
            }
        }
        rig.check();
        rig.flush(false);
        rig.reopen();
        rig.check();
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
            rig.flush(false);
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
        rig.flush(round % 2 == 0);
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
        payload: vote("new"),
        text: "{\"type\":\"coliseum.vote_cast\"}".into(),
    };
    assert!(bad.with(|entry| rig.coliseum().apply(entry)).is_err());
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
    rig.flush(false);
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
