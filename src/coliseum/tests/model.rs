//! The simplest code that computes every answer of SPEC 2 from a list of entries.

use std::collections::BTreeMap;

use serde_json::Value;

use super::MINUTE_MICROS;
use crate::coliseum::{Rules, Standing};
use crate::passport::{Entry, Envelope};
use crate::units::{Seq, Window};

/// An entry as the tests keep it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub seq: u64,
    pub at_micros: i64,
    pub received_micros: i64,
    pub payload: Value,
    pub text: String,
}

impl Stored {
    pub fn with<R>(&self, each: impl FnOnce(&Entry<'_>) -> R) -> R {
        let envelope = Envelope {
            received_at_micros: self.received_micros,
            at_micros: self.at_micros,
            at_corrected: false,
            event_type: self.kind(),
            message_id: "m",
            user_id: self.user_id(),
            session_id: None,
            device_id: None,
            source: "api",
            payload: &self.text,
        };
        each(&Entry { seq: Seq::new(self.seq), envelope })
    }
    pub fn kind(&self) -> &str {
        self.payload["type"].as_str().expect("every payload has a type")
    }
    pub fn user_id(&self) -> &str {
        self.text_of("userId").expect("every payload has a user")
    }
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.payload.get(key).and_then(Value::as_str)
    }
    /// `artistId`, `artistIds`, then the target that is an artist.
    pub fn own_credits(&self) -> Vec<String> {
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

pub fn test_rules() -> Rules {
    let text = "[fx]\neur = 1.085\n[rules.\"custom.named\"]\na = 0.333333\ng = -1\n\
                [rules.\"concierto.event_scheduled\"]\nt = 0.25\n\
                [rules.\"concierto.event_attended\"]\nt = 0.000001\nticket_tier = { half = 0.5, none = 0 }";
    Rules::from_toml(&text.parse().expect("TOML")).expect("valid rules")
}

/// `base x numerator / denominator`, half to even, by the schoolbook.
pub fn rounded(base: i128, numerator: i128, denominator: i128) -> i128 {
    let exact = base * numerator;
    let low = exact.div_euclid(denominator);
    match (2 * exact.rem_euclid(denominator)).cmp(&denominator) {
        std::cmp::Ordering::Less => low,
        std::cmp::Ordering::Equal => low + (low & 1),
        std::cmp::Ordering::Greater => low + 1,
    }
}

/// A, T, G, C of an entry, whomever it credits; `None` for money without a rate.
pub fn points(entry: &Stored) -> Option<[i128; 4]> {
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
pub struct Change {
    pub seq: u64,
    pub of_seq: u64,
    pub artist: String,
    pub domain: usize,
    pub effective: i128,
    pub at_micros: i64,
    pub created_micros: i64,
}

/// Everything that entries 1…n give, from scratch.
#[derive(Default)]
pub struct Model {
    pub changes: Vec<Change>,
    pub unconverted: u64,
    /// In the order in which they were first named.
    pub artists: Vec<String>,
    /// Whom each entry credits, by seq: late line-ups too.
    pub credits: BTreeMap<u64, Vec<String>>,
    pub cards: BTreeMap<String, (String, Vec<String>, Option<String>)>,
    pub lineups: BTreeMap<String, Vec<String>>,
}

impl Model {
    pub fn of(entries: &[Stored]) -> Model {
        let mut model = Model::default();
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
                            let known = model.credits.get_mut(&earlier.seq).expect("every entry is noted");
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
            model.credits.insert(entry.seq, artists);
            let condition = entry.kind().starts_with("treasury.money_spent")
                || entry.kind() == "treasury.money_refunded"
                || entry.payload["role"] == "artist";
            model.unconverted += u64::from(condition && points(entry).is_none());
        }
        model
    }
    pub fn name(&mut self, artist: &str) {
        if !self.artists.iter().any(|known| known == artist) {
            self.artists.push(artist.into());
        }
    }
    pub fn score(&mut self, of: &Stored, artist: &str, cause: &Stored) {
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
    pub fn order(&self, domain: usize, first: i64, last: i64) -> Vec<(String, i128)> {
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
    pub fn board(&self, domain: usize, window: Window, m: i64, is_past: bool) -> Vec<Line> {
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
pub struct Line {
    pub position: u64,
    pub rank: u64,
    pub artist: String,
    pub score: i128,
    pub previous: Option<u64>,
}

impl Line {
    pub fn of(standing: Standing<'_>) -> Line {
        Line {
            position: standing.position,
            rank: standing.rank,
            artist: standing.card.id.to_string(),
            score: standing.score.get(),
            previous: standing.previous_position,
        }
    }
}
