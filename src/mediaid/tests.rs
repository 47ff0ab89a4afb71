//! What a fan's profile tells, by hand. Random streams, flushes and crashes are held against a plain recomputation in
//! `verify`.

use redb::backends::InMemoryBackend;
use serde_json::{Value, json};

use super::*;
use crate::event::Metric;
use crate::passport::Envelope;

const SETUP: Setup = Setup { min_play_seconds: 30 };
const DAY_MICROS: i64 = 86_400_000_000;

struct Rig {
    database: Arc<redb::Database>,
    mediaid: MediaId,
    seq: u64,
}

impl Rig {
    fn new() -> Rig {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let database = Arc::new(database);
        let mediaid = MediaId::open(database.clone(), &SETUP, Timestamp::default()).expect("empty");
        Rig { database, mediaid, seq: 0 }
    }

    fn apply(&mut self, user_id: &str, at_micros: i64, event_type: &str, fields: Value) -> Result<(), ApplyError> {
        let mut payload = json!({"type": event_type, "userId": user_id, "at": "2026-05-01T20:15:00Z"});
        payload.as_object_mut().expect("is one").extend(fields.as_object().expect("is one").clone());
        let text = payload.to_string();
        let envelope = Envelope {
            received_at_micros: 0,
            at_micros,
            at_corrected: false,
            event_type,
            message_id: "m",
            user_id,
            session_id: None,
            device_id: None,
            source: "api",
            payload: &text,
        };
        self.mediaid.apply(&Parsed::of(Entry { seq: Seq::new(self.seq + 1), envelope }))?;
        self.seq += 1;
        Ok(())
    }
    fn log(&mut self, user_id: &str, event_type: &str, fields: Value) {
        self.apply(user_id, 0, event_type, fields).expect("a good entry");
    }
    fn play(&mut self, user_id: &str, artist_id: &str, genre: Option<&str>) {
        let fields = json!({"trackId": "t", "artistId": artist_id, "genre": genre});
        self.log(user_id, "player.track_played", fields);
    }
    fn flush(&mut self) {
        let transaction = self.database.begin_write().expect("in memory");
        self.mediaid.flush(&transaction).expect("writes");
        transaction.commit().expect("in memory");
    }
    fn view(&mut self) -> Arc<View> {
        self.mediaid.view(Seq::new(self.seq))
    }
    fn fan(&mut self, user_id: &str) -> Fan {
        self.view().fan(user_id).expect("readable").expect("known")
    }
}

#[test]
fn a_fan_was_seen_from_the_first_to_the_last_entry_and_is_active_on_their_days() {
    let mut rig = Rig::new();
    for (micros, first, last, active_days, streak_days) in [
        (5 * DAY_MICROS + 7, 5 * DAY_MICROS + 7, 5 * DAY_MICROS + 7, 1, 1),
        (6 * DAY_MICROS - 1, 5 * DAY_MICROS + 7, 6 * DAY_MICROS - 1, 1, 1),
        (6 * DAY_MICROS, 5 * DAY_MICROS + 7, 6 * DAY_MICROS, 2, 2),
        (-1, -1, 6 * DAY_MICROS, 3, 2),
        (0, -1, 6 * DAY_MICROS, 4, 2),
        (9 * DAY_MICROS, -1, 9 * DAY_MICROS, 5, 1),
        (8 * DAY_MICROS, -1, 9 * DAY_MICROS, 6, 2),
        (7 * DAY_MICROS, -1, 9 * DAY_MICROS, 7, 5),
    ] {
        rig.apply("u", micros, "club.night_out", json!({})).expect("a good entry");
        rig.apply("another", 100 * DAY_MICROS, "club.night_out", json!({})).expect("a good entry");
        let fan = rig.fan("u");
        let found = (fan.first_seen_at.micros(), fan.last_seen_at.micros(), fan.active_days, fan.streak_days);
        assert_eq!(found, (first, last, active_days, streak_days), "after {micros}");
        rig.flush();
    }
}

#[test]
fn every_metric_is_told_with_its_count_and_sum() {
    let mut rig = Rig::new();
    rig.log("u", "treasury.money_spent", json!({"amountCents": 500}));
    rig.log("u", "treasury.money_refunded", json!({"amountCents": 700}));
    rig.flush();
    rig.log("u", "treasury.money_spent", json!({"amountCents": 3, "currency": "eur"}));
    rig.log("u", "treasury.money_earned", json!({"amountCents": 9, "role": "venue"}));
    rig.log("u", "coliseum.vote_cast", json!({"artistId": "a", "eventId": "e", "weight": 2.5}));
    rig.log("u", "player.track_played", json!({"trackId": "t", "artistId": "a", "durationSeconds": 1}));
    rig.log("v", "coliseum.vote_cast", json!({"artistId": "a", "eventId": "e"}));
    let told = |total: &Total| {
        let currency = total.currency.map_or(String::new(), |currency| format!(":{currency:?}"));
        format!("{}{currency} {} {}", total.metric.name(), total.count, total.sum)
    };
    let fan = rig.fan("u");
    let expected = [
        "money_spent:eur 1 3",
        "money_spent:usd 2 -200",
        "money_earned:usd 1 9",
        "votes_cast 1 2500000",
        "tracks_played 1 1",
    ];
    assert_eq!(fan.metrics.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(fan.metrics[3].metric, Metric::VotesCast);
    assert!(fan.top_artists.is_empty(), "a play under 30 seconds counts for no artist");
}

#[test]
fn artists_and_genres_are_told_by_scored_plays_and_a_play_is_split_over_its_genres() {
    let mut rig = Rig::new();
    let profile =
        |id: &str, genres: Value| json!({"artistId": id, "artistName": format!("The {id}"), "genres": genres});
    rig.log("crew", "artist.profile_updated", profile("a", json!(["old"])));
    rig.log("crew", "artist.profile_updated", profile("b", json!([])));
    rig.play("u", "a", None);
    rig.play("u", "a", None);
    rig.play("u", "a", Some("own"));
    rig.play("u", "b", None);
    rig.flush();
    rig.play("u", "B", None);
    rig.play("u", "c", Some("own"));
    rig.play("v", "c", Some("own"));
    rig.log("crew", "artist.profile_updated", profile("a", json!(["pop", "folk", "pop", "jazz"])));
    rig.log("crew", "artist.profile_updated", json!({"artistId": "a", "artistName": "ABBA"}));
    let fan = rig.fan("u");
    let artists: Vec<_> = fan.top_artists.iter().map(|a| (a.id.as_str(), a.name.as_deref(), a.plays)).collect();
    assert_eq!(artists, [("a", Some("ABBA"), 3), ("B", None, 1), ("b", Some("The b"), 1), ("c", None, 1)]);
    let genres: Vec<_> = fan.top_genres.iter().map(|genre| (genre.name.as_str(), genre.plays)).collect();
    assert_eq!(genres, [("own", 2.0), ("pop", 1.0), ("folk", 0.5), ("jazz", 0.5)]);
}

#[test]
fn no_more_than_ten_artists_and_genres_are_told_and_all_cities() {
    let mut rig = Rig::new();
    for number in 0..12 {
        let play = json!({"trackId": "t", "artistId": format!("a{number}"), "genre": format!("g{number}"),
            "city": format!("c{number}")});
        rig.log("u", "player.track_played", play);
    }
    let fan = rig.fan("u");
    let artists: Vec<&str> = fan.top_artists.iter().map(|artist| artist.id.as_str()).collect();
    assert_eq!(artists, ["a0", "a1", "a10", "a11", "a2", "a3", "a4", "a5", "a6", "a7"]);
    assert_eq!((fan.top_genres.len(), fan.top_genres[3].name.as_str(), fan.cities.len()), (10, "g11", 12));
}

#[test]
fn a_city_is_told_as_the_log_spelled_it_first_whoever_was_there() {
    let mut rig = Rig::new();
    let attended = |city: &str| json!({"eventId": "e", "city": city});
    rig.log("other", "concierto.event_attended", attended(" TURIN "));
    rig.log("u", "concierto.event_attended", attended("turin"));
    rig.log(
        "u",
        "player.track_played",
        json!({"trackId": "t", "artistId": "a", "durationSeconds": 1, "city": "Turin"}),
    );
    rig.flush();
    for city in ["Malmö", "\u{2003}\t", "aachen", "Zürich"] {
        rig.log("u", "concierto.event_attended", attended(city));
    }
    rig.log("u", "artist.profile_updated", json!({"artistId": "a", "artistName": "A", "homeCity": "Rome"}));
    let cities: Vec<_> = rig.fan("u").cities.into_iter().map(|city| (city.name, city.count)).collect();
    let expected = [("TURIN", 2), ("aachen", 1), ("Malmö", 1), ("Zürich", 1)];
    assert_eq!(cities, expected.map(|(name, count)| (name.to_owned(), count)));
}

#[test]
fn a_user_is_known_from_its_first_entry_on_and_not_in_a_view_before_it() {
    let mut rig = Rig::new();
    let before = rig.view();
    rig.log("u", "coliseum.entitlement_changed", json!({"plan": "pro"}));
    assert_eq!(before.fan("u").expect("readable"), None);
    assert_eq!((rig.fan("u").active_days, rig.view().known_users()), (1, 1));
    assert!(rig.apply("bad", 0, "coliseum.vote_cast", json!({})).is_err());
    assert_eq!(rig.view().fan("bad").expect("readable"), None);
}

#[test]
fn a_setup_reads_back_and_names_its_version() {
    assert_eq!(MediaId::decode_setup(&MediaId::encode_setup(&SETUP)).expect("what was written"), SETUP);
    assert!(MediaId::decode_setup(b"30").is_err());
    assert_ne!(MediaId::version(&SETUP), MediaId::version(&Setup { min_play_seconds: 29 }));
}

#[test]
fn damaged_tables_are_an_error_and_never_another_fan() {
    let mut rig = Rig::new();
    rig.log("u", "artist.profile_updated", json!({"artistId": "a", "artistName": "A", "genres": ["pop", ""]}));
    rig.play("u", "a", None);
    rig.flush();
    let fan = rig.fan("u");
    let flip = |rig: &Rig| {
        let transaction = rig.database.begin_write().expect("in memory");
        {
            let mut table = transaction.open_table(FANS).expect("made by the flush");
            let (key, mut value) = {
                let (key, value) = redb::ReadableTable::last(&table).expect("readable").expect("a block");
                (key.value().to_vec(), value.value().to_vec())
            };
            *value.last_mut().expect("not empty") ^= 4;
            table.insert(key.as_slice(), value.as_slice()).expect("in memory");
        }
        transaction.commit().expect("in memory");
    };
    flip(&rig);
    let mut again = MediaId::open(rig.database.clone(), &SETUP, Timestamp::default()).expect("blocks are read later");
    assert!(again.view(Seq::new(2)).fan("u").is_err());
    flip(&rig);
    let mut again = MediaId::open(rig.database.clone(), &SETUP, Timestamp::default()).expect("whole");
    assert_eq!(again.view(Seq::new(2)).fan("u").expect("readable"), Some(fan));
}

#[test]
fn any_bytes_are_a_profile_or_none() {
    let profile = Profile { name: "ABBA".into(), genres: vec!["pop".into(), String::new()] };
    let mut bytes = Vec::new();
    kept::Value::write(&profile, &mut bytes);
    assert_eq!(<Profile as kept::Value>::read(&bytes), Some(profile));
    for cut in [&bytes[..0], &bytes[..3], &bytes[..6], &bytes[..9], &[1, 0, 0, 0, 0xff]] {
        assert_eq!(<Profile as kept::Value>::read(cut), None, "{cut:?}");
    }
}
