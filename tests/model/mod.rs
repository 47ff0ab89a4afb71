//! The naive model of SPEC 1, 2 and 3: a list of accepted events, and every answer by plain recomputation.
//!
//! It shares no code with the daemon and knows nothing of it: its own JSON, its own decimals, its own calendar.
//! Where SPEC leaves room, the reading taken stands beside the function that takes it.
#![allow(dead_code, reason = "each test file asks for its own part of the model")]

pub mod analytics;
pub mod boards;
pub mod catalogue;
pub mod credits;
pub mod decimal;
pub mod dna;
pub mod entitlements;
pub mod fans;
pub mod fraction;
pub mod json;
pub mod metrics;
pub mod moment;
pub mod places;
pub mod rollups;
pub mod scoring;
pub mod time;
pub mod treasury;

use std::collections::HashMap;

use decimal::Decimal;
use json::{Json, object, text};

/// How far ahead of the daemon an `at` may lie.
const AT_AHEAD_MAX: i64 = 5 * time::MINUTE;

/// One accepted event.
#[derive(Clone, Debug)]
pub struct Entry {
    pub seq: u64,
    pub message_id: String,
    pub kind: String,
    /// Microseconds.
    pub at: i64,
    /// Microseconds.
    pub received_at: i64,
    pub source: String,
    /// What came, to the letter.
    pub payload: Json,
    /// The same with the older client's names read as today's; equal to `payload` for all other events.
    pub fields: Json,
    /// Whether the sender's clock corrected `at`.
    pub has_sent_at: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Stored { seq: u64 },
    Duplicate { seq: u64 },
    Conflict { seq: u64 },
    Rejected { status: u16, slug: &'static str, pointer: String },
}

impl Outcome {
    /// The HTTP status that the event gets alone.
    pub fn status(&self) -> u16 {
        match self {
            Outcome::Stored { .. } => 201,
            Outcome::Duplicate { .. } => 200,
            Outcome::Conflict { .. } => 422,
            Outcome::Rejected { status, .. } => *status,
        }
    }
    /// The seq that the answer names; none for a rejected event.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Outcome::Stored { seq } | Outcome::Duplicate { seq } | Outcome::Conflict { seq } => Some(*seq),
            Outcome::Rejected { .. } => None,
        }
    }
    pub fn is_bad(&self) -> bool {
        self.status() == 422
    }
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub entries: Vec<Entry>,
    /// Idempotency key to index in `entries`; an index only, since a list of 10^5 keys is too slow to walk.
    keys: HashMap<String, usize>,
    /// `[scoring.fx]`: base-currency units for one unit.
    pub rates: Vec<(String, Decimal)>,
}

impl Model {
    pub fn new(rates: &[(&str, &str)]) -> Model {
        let rate = |(currency, digits): &(&str, &str)| {
            ((*currency).to_owned(), Decimal::parse(digits).expect("a rate is a decimal"))
        };
        Model { rates: rates.iter().map(rate).collect(), ..Model::default() }
    }

    /// The newest seq, 0 before the first.
    pub fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn entry(&self, seq: u64) -> &Entry {
        &self.entries[seq as usize - 1]
    }

    /// What the daemon answers to this event at `now`, and stores.
    /// `made_key` is what the daemon named an event that came without a key (its receipt says so).
    pub fn accept(&mut self, payload: &Json, header_key: Option<&str>, made_key: Option<&str>, now: i64) -> Outcome {
        let fields = translated(payload);
        if let Some(pointer) = catalogue::first_fault(&fields) {
            return Outcome::Rejected { status: 422, slug: "invalid-event", pointer };
        }
        let kind = fields.at("type").as_text().to_owned();
        let key = key_of(&fields, &kind, header_key).or(made_key.map(str::to_owned));
        let held = key.as_ref().and_then(|key| self.keys.get(key)).map(|index| &self.entries[*index]);
        if let Some(held) = held {
            return match held.payload.without("sentAt") == payload.without("sentAt") {
                true => Outcome::Duplicate { seq: held.seq },
                false => Outcome::Conflict { seq: held.seq },
            };
        }
        let at = corrected_at(&fields, now);
        if at > now + AT_AHEAD_MAX {
            return Outcome::Rejected { status: 422, slug: "at-in-future", pointer: "/at".to_owned() };
        }
        let seq = self.head() + 1;
        let message_id =
            key.unwrap_or_else(|| panic!("the test has to say which key was made for {}", payload.render()));
        let is_earning = matches!(kind.as_str(), "treasury.money_earned" | "treasury.earning_reversed");
        let source = fields.text_of("source").filter(|_| !is_earning).unwrap_or("api").to_owned();
        self.keys.insert(message_id.clone(), self.entries.len());
        let has_sent_at = fields.present("sentAt").is_some();
        let payload = payload.clone();
        self.entries.push(Entry { seq, message_id, kind, at, received_at: now, source, payload, fields, has_sent_at });
        Outcome::Stored { seq }
    }

    /// The model of a log as `export` gave it, so that what a daemon holds can be computed anew from outside.
    pub fn from_export(lines: &[Json], rates: &[(&str, &str)]) -> Model {
        let mut model = Model::new(rates);
        for line in lines {
            let payload = line.at("metadata").clone();
            let message_id = line.at("messageId").as_text().to_owned();
            model.keys.insert(message_id.clone(), model.entries.len());
            model.entries.push(Entry {
                seq: line.at("seq").as_integer() as u64,
                message_id,
                kind: line.at("eventType").as_text().to_owned(),
                at: time::parse(line.at("at").as_text()).expect("an exported time is RFC 3339"),
                received_at: time::parse(line.at("receivedAt").as_text()).expect("an exported time is RFC 3339"),
                source: line.at("source").as_text().to_owned(),
                fields: translated(&payload),
                has_sent_at: payload.present("sentAt").is_some(),
                payload,
            });
        }
        model
    }

    /// The model of the events 1 to `until` alone.
    pub fn prefix(&self, until: u64) -> Model {
        let mut prefix = self.clone();
        prefix.entries.retain(|entry| entry.seq <= until);
        prefix.keys.retain(|_, index| *index < prefix.entries.len());
        prefix
    }

    /// The profile of an artist after the events 1 to `until`: name, genres, home city.
    pub fn profile(&self, artist: &str, until: u64) -> Profile {
        let mut profile = Profile::default();
        for entry in self.entries.iter().filter(|entry| entry.seq <= until) {
            let fields = &entry.fields;
            if entry.kind != "artist.profile_updated" || fields.text_of("artistId") != Some(artist) {
                continue;
            }
            profile.is_known = true;
            if let Some(name) = fields.text_of("artistName") {
                profile.name = Some(name.to_owned());
            }
            if fields.present("genres").is_some() {
                profile.genres = fields.texts_of("genres");
            }
            if let Some(city) = fields.text_of("homeCity") {
                profile.home_city = Some(city.to_owned());
            }
        }
        profile
    }
}

#[derive(Clone, Debug, Default)]
pub struct Profile {
    pub is_known: bool,
    pub name: Option<String>,
    pub genres: Vec<String>,
    pub home_city: Option<String>,
}

impl Entry {
    pub fn user_id(&self) -> &str {
        self.fields.at("userId").as_text()
    }
    pub fn category(&self) -> &str {
        self.kind.split('.').next().expect("split gives at least one part")
    }
    pub fn event_id(&self) -> Option<&str> {
        self.fields.text_of("eventId")
    }
    /// Entity type and id. None for an unknown type: SPEC names none.
    pub fn entity(&self) -> Option<(&str, &str)> {
        let of = |key: &str| self.fields.text_of(key);
        match self.kind.as_str() {
            "concierto.event_attended" | "concierto.event_scheduled" => Some(("event", of("eventId")?)),
            "treasury.money_spent"
            | "treasury.money_refunded"
            | "treasury.money_earned"
            | "treasury.earning_reversed" => {
                let artist = of("artistId").map(|id| ("artist", id));
                let event = of("eventId").map(|id| ("event", id));
                artist.or(event).or(Some(("user", self.user_id())))
            }
            "coliseum.vote_cast" | "artist.profile_updated" => Some(("artist", of("artistId")?)),
            "player.track_played" | "player.track_favorited" => Some(("track", of("trackId")?)),
            "social.follow" | "social.share" => Some((of("targetType")?, of("targetId")?)),
            "coliseum.entitlement_changed" => Some(("user", self.user_id())),
            _ => None,
        }
    }
    /// The artists that the payload itself credits, each once; a line-up's come on top for an attended event.
    pub fn named_artists(&self) -> Vec<String> {
        let has = |name: &str| catalogue::row(&self.kind).iter().any(|field| field.name == name);
        let mut named = Vec::new();
        if has("artistId") {
            named.extend(self.fields.text_of("artistId").map(str::to_owned));
        }
        if has("artistIds") {
            named.extend(self.fields.texts_of("artistIds"));
        }
        if has("targetId") && self.fields.text_of("targetType") == Some("artist") {
            named.extend(self.fields.text_of("targetId").map(str::to_owned));
        }
        each_once(named)
    }
}

/// The same list without the later copies.
pub fn each_once(list: Vec<String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for item in list {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}

/// `at`, corrected by the sender's clock where `sentAt` says what that showed.
fn corrected_at(fields: &Json, now: i64) -> i64 {
    let time_of = |key: &str| fields.text_of(key).and_then(time::parse);
    let at = time_of("at").expect("checked before");
    time_of("sentAt").map_or(at, |sent_at| now - (sent_at - at))
}

fn key_of(fields: &Json, kind: &str, header_key: Option<&str>) -> Option<String> {
    let own = fields.text_of("messageId").or(header_key).map(str::to_owned);
    let stripe = || {
        let id = ["stripePaymentIntentId", "stripeTransferId"].into_iter().find_map(|name| fields.text_of(name))?;
        Some(format!("stripe:{id}:{kind}"))
    };
    own.or_else(stripe)
}

/// `audio_play` under today's names.
fn translated(payload: &Json) -> Json {
    let kind = payload.text_of("eventType").or(payload.text_of("type"));
    if kind != Some("audio_play") {
        return payload.clone();
    }
    let nothing = object([]);
    let data = payload.get("eventData").unwrap_or(&nothing);
    let mut fields = payload.with("type", text("player.track_played"));
    let names = [
        ("content_id", "trackId"),
        ("artist_id", "artistId"),
        ("artist_name", "artistName"),
        ("duration_seconds", "durationSeconds"),
    ];
    for (old, new) in names {
        if let Some(value) = data.present(old) {
            fields = fields.with(new, value.clone());
        }
    }
    fields
}
