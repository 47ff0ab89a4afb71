//! What the treasury answers, by hand. Random streams, flushes and crashes are held against a plain recomputation in
//! `verify`.

use redb::backends::InMemoryBackend;
use serde_json::{Value, json};

use super::*;
use crate::passport::Envelope;

/// The fold of some entries, each half a minute after the one before.
struct Rig {
    database: Arc<redb::Database>,
    treasury: Treasury,
    seq: u64,
}

fn setup() -> Setup {
    let base_currency = Currency::of("usd").expect("a code");
    Setup::new(base_currency, ["club.night_out".to_owned()].into())
}

fn at(seq: u64) -> Timestamp {
    Timestamp::from_micros(seq as i64 * 30_000_000)
}

impl Rig {
    fn new() -> Rig {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let database = Arc::new(database);
        let treasury = Treasury::open(database.clone(), &setup(), Timestamp::default()).expect("empty");
        Rig { database, treasury, seq: 0 }
    }

    fn apply(&mut self, user_id: &str, event_type: &str, fields: Value) -> Result<(), ApplyError> {
        let seq = self.seq + 1;
        let mut payload = json!({"type": event_type, "userId": user_id, "at": "2026-05-01T20:15:00Z"});
        payload.as_object_mut().expect("is one").extend(fields.as_object().expect("is one").clone());
        let text = payload.to_string();
        let envelope = Envelope {
            received_at_micros: at(seq).micros(),
            at_micros: at(seq).micros(),
            at_corrected: false,
            event_type,
            message_id: "m",
            user_id,
            session_id: None,
            device_id: None,
            source: "api",
            payload: &text,
        };
        self.treasury.apply(&Parsed::of(Entry { seq: Seq::new(seq), envelope }))?;
        self.seq = seq;
        Ok(())
    }
    fn log(&mut self, user_id: &str, event_type: &str, fields: Value) {
        self.apply(user_id, event_type, fields).expect("a good entry");
    }
    fn attend(&mut self, user_id: &str, event_id: &str) {
        self.log(user_id, "concierto.event_attended", json!({"eventId": event_id, "city": "Turin"}));
    }
    fn schedule(&mut self, event_id: &str, artist_ids: &[&str]) {
        self.log("crew", "concierto.event_scheduled", json!({"eventId": event_id, "artistIds": artist_ids}));
    }
    fn flush(&mut self) {
        let transaction = self.database.begin_write().expect("in memory");
        self.treasury.flush(&transaction).expect("writes");
        transaction.commit().expect("in memory");
    }
    fn view(&mut self) -> Arc<View> {
        self.treasury.view(Seq::new(self.seq))
    }
    fn fans(&mut self, artist_id: &str) -> (u64, u64) {
        let view = self.view();
        let fans = view.fans(view.artist(artist_id).expect("known")).expect("readable");
        (fans.fans, fans.paying_fans)
    }
}

#[test]
fn an_artists_money_is_told_by_currency_and_by_event() {
    let mut rig = Rig::new();
    let money = |artist: &str, event: Option<&str>, currency: Option<&str>, cents: i64| json!({"artistId": artist, "eventId": event, "currency": currency, "amountCents": cents});
    rig.log("u", "treasury.money_spent", money("a", Some("e2"), None, 500));
    rig.log("u", "treasury.money_spent", money("a", Some("e10"), Some("eur"), 70));
    rig.log("v", "treasury.money_spent", money("a", None, None, 30));
    rig.flush();
    rig.log("u", "treasury.money_refunded", money("a", Some("e2"), None, 40));
    rig.log("crew", "concierto.event_scheduled", json!({"eventId": "e2", "artistIds": ["b"], "name": "Final"}));
    rig.log("crew", "concierto.event_scheduled", json!({"eventId": "e2", "artistIds": ["b"]}));
    rig.log("crew", "artist.profile_updated", json!({"artistId": "a", "artistName": "ABBA"}));
    rig.log("w", "treasury.money_spent", json!({"eventId": "e2", "amountCents": 9}));
    let view = rig.view();
    let artist = view.artist("a").expect("known");
    assert_eq!(view.artist_name(artist), Some("ABBA"));
    let revenue = |gross_cents, refunded_cents, transactions, first, last| Revenue {
        gross_cents,
        refunded_cents,
        transactions,
        first_at: at(first),
        last_at: at(last),
        ..Revenue::default()
    };
    let code = |code| Currency::of(code).expect("a code");
    let (eur, usd) = ((code("eur"), revenue(70, 0, 1, 2, 2)), (code("usd"), revenue(530, 40, 3, 1, 4)));
    assert_eq!(view.currencies("a"), [eur, usd]);
    let event = |id: &str, name: Option<&str>, currency, revenue| EventRevenue {
        event_id: id.to_owned(),
        event_name: name.map(|name| Arc::new(name.to_owned())),
        currency: code(currency),
        revenue,
    };
    let expected = [
        event("e10", None, "eur", revenue(70, 0, 1, 2, 2)),
        event("e2", Some("Final"), "usd", revenue(500, 40, 2, 1, 4)),
    ];
    assert_eq!(view.events(artist).expect("readable"), expected);
    assert_eq!(view.fans(artist).expect("readable"), Fans { fans: 2, paying_fans: 2 });
    assert!(view.currencies("b").is_empty(), "an event's money without an artist is nobody's");
}

#[test]
fn all_artists_with_money_are_listed_by_id_behind_any_id() {
    let mut rig = Rig::new();
    for artist in ["a-9", "B", "a", "a-10"] {
        rig.log("u", "treasury.money_spent", json!({"artistId": artist, "amountCents": 1}));
    }
    rig.log("u", "social.follow", json!({"targetType": "artist", "targetId": "poor"}));
    let view = rig.view();
    let behind = |after| view.revenue(after).map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(behind(None), ["B", "a", "a-10", "a-9"]);
    assert_eq!(behind(Some("a")), ["a-10", "a-9"]);
    assert_eq!(behind(Some("a-2")), ["a-9"], "an id that is nobody's has a place too");
    assert!(behind(Some("b")).is_empty());
}

#[test]
fn who_attended_before_an_artist_joined_is_its_fan_from_then_on_and_who_attends_while_it_is_off_is_not() {
    for flushes in [false, true] {
        let mut rig = Rig::new();
        rig.attend("early", "e1");
        rig.attend("elsewhere", "e2");
        rig.schedule("e1", &["a"]);
        assert_eq!(rig.fans("a"), (1, 0));
        rig.attend("on", "e1");
        rig.schedule("e1", &["b"]);
        assert_eq!((rig.fans("a"), rig.fans("b")), ((2, 0), (2, 0)));
        rig.attend("off", "e1");
        rig.attend("early", "e1");
        if flushes {
            rig.flush();
        }
        assert_eq!((rig.fans("a"), rig.fans("b")), ((2, 0), (3, 0)));
        rig.schedule("e1", &["a", "c"]);
        assert_eq!((rig.fans("a"), rig.fans("b"), rig.fans("c")), ((3, 0), (3, 0), (3, 0)));
        rig.schedule("e1", &["c", "a"]);
        assert_eq!((rig.fans("a"), rig.fans("c")), ((3, 0), (3, 0)), "nothing changes for who stays");
    }
}

#[test]
fn a_fan_pays_with_money_spent_in_the_base_currency_only() {
    let mut rig = Rig::new();
    rig.log("follows", "social.follow", json!({"targetType": "artist", "targetId": "a"}));
    rig.log("elsewhere", "social.follow", json!({"targetType": "venue", "targetId": "a"}));
    rig.log("pays", "treasury.money_spent", json!({"artistId": "a", "amountCents": 1}));
    rig.log("pays", "social.share", json!({"targetType": "track", "targetId": "t", "platform": "x", "artistId": "a"}));
    rig.log("euros", "treasury.money_spent", json!({"artistId": "a", "amountCents": 1, "currency": "eur"}));
    rig.log("gets back", "treasury.money_refunded", json!({"artistId": "a", "amountCents": 1}));
    rig.log("earns", "treasury.money_earned", json!({"artistId": "a", "amountCents": 1, "role": "artist"}));
    assert_eq!(rig.fans("a"), (3, 1));
}

#[test]
fn artists_are_known_from_credits_profiles_and_line_ups_of_this_prefix() {
    let mut rig = Rig::new();
    rig.schedule("e", &["listed"]);
    rig.log("u", "artist.profile_updated", json!({"artistId": "told", "artistName": "Told"}));
    rig.log("u", "club.night_out", json!({"artistId": "named"}));
    rig.log("u", "club.night_in", json!({"artistId": "unnamed"}));
    let view = rig.view();
    rig.log("u", "player.track_favorited", json!({"trackId": "t", "artistId": "later"}));
    let known = |view: &View, id: &str| view.artist(id).is_some();
    for (id, is_known) in [("listed", true), ("told", true), ("named", true), ("unnamed", false), ("later", false)] {
        assert_eq!(known(&view, id), is_known, "{id}");
    }
    assert!(known(&rig.view(), "later"));
    let fans = view.fans(view.artist("named").expect("known")).expect("readable");
    assert_eq!(fans, Fans::default(), "a type outside the catalogue makes no fan");
}

#[test]
fn a_bad_payload_changes_nothing() {
    let mut rig = Rig::new();
    assert!(rig.apply("u", "treasury.money_spent", json!({"artistId": "a", "amountCents": 0})).is_err());
    let view = rig.view();
    assert_eq!((view.artist("a"), view.known_artists(), view.revenue(None).count()), (None, 0, 0));
}

#[test]
fn a_setup_reads_back_and_names_its_version() {
    let other = Setup::new(Currency::of("eur").expect("a code"), BTreeSet::new());
    for setup in [setup(), other.clone()] {
        assert_eq!(Treasury::decode_setup(&Treasury::encode_setup(&setup)).expect("what was written"), setup);
    }
    assert_ne!(Treasury::version(&setup()), Treasury::version(&other));
    for bytes in [&b"\xff"[..], b"", b"USD"] {
        assert!(Treasury::decode_setup(bytes).is_err(), "{bytes:?}");
    }
}

/// Any value of any table with a flipped bit.
#[test]
fn damaged_tables_are_an_error_and_never_other_numbers() {
    let mut rig = Rig::new();
    rig.attend("u", "e1");
    rig.schedule("e1", &["a"]);
    rig.log("u", "artist.profile_updated", json!({"artistId": "a", "artistName": "ABBA"}));
    rig.log("u", "treasury.money_spent", json!({"artistId": "a", "eventId": "e1", "amountCents": 5}));
    rig.flush();
    let flipped = |value: &[u8]| {
        let mut value = value.to_vec();
        *value.last_mut().expect("not empty") ^= 4;
        value
    };
    let flip_rows = |transaction: &redb::WriteTransaction, table: rows::Definition| {
        let mut table = transaction.open_table(table).expect("made by the flush");
        let (key, value) = {
            let (key, value) = redb::ReadableTable::last(&table).expect("readable").expect("a block");
            (key.value().to_vec(), flipped(value.value()))
        };
        table.insert(key.as_slice(), value.as_slice()).expect("in memory");
    };
    let flip_totals = |transaction: &redb::WriteTransaction| {
        let totals = TableDefinition::<u32, &[u8]>::new("totals");
        let mut table = transaction.open_table(totals).expect("made by the flush");
        let value = flipped(redb::ReadableTable::get(&table, 0).expect("readable").expect("a value").value());
        table.insert(0, value.as_slice()).expect("in memory");
    };
    for table in [Some(BY_EVENT), Some(FANS), None] {
        let flip = |database: &redb::Database| {
            let transaction = database.begin_write().expect("in memory");
            match table {
                Some(table) => flip_rows(&transaction, table),
                None => flip_totals(&transaction),
            }
            transaction.commit().expect("in memory");
        };
        let answers = |database: &Arc<redb::Database>| -> Result<(), StoreError> {
            let mut treasury = Treasury::open(database.clone(), &setup(), Timestamp::default())?;
            let view = treasury.view(Seq::new(4));
            let artist = view.artist("a").expect("known");
            view.events(artist)?;
            view.fans(artist).map(drop)
        };
        answers(&rig.database).expect("whole");
        flip(&rig.database);
        assert!(answers(&rig.database).is_err(), "{}", table.map_or("totals".to_owned(), |table| table.to_string()));
        flip(&rig.database);
    }
}
