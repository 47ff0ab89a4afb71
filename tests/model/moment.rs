//! One minute and one prefix of the log: what every answer that SPEC gives is computed from.

use super::credits::Credit;
use super::scoring::Mutation;
use super::{Entry, Model};

pub struct Moment<'a> {
    pub model: &'a Model,
    /// The minute that holds the daemon's now.
    pub minute: i64,
    pub credits: Vec<Credit<'a>>,
    pub mutations: Vec<Mutation>,
}

/// What metrics and rollups are kept for.
pub const ENTITY_TYPES: [&str; 4] = ["user", "artist", "event", "global"];

impl<'a> Moment<'a> {
    /// Over all events of the model; an answer over fewer is that of a [`Model::prefix`].
    pub fn of(model: &'a Model, minute: i64) -> Moment<'a> {
        Moment { model, minute, credits: model.credits(), mutations: model.mutations() }
    }

    /// The events that credit an artist, late line-ups included, each once.
    pub fn crediting(&self, artist: &str) -> Vec<&'a Entry> {
        self.credits.iter().filter(|credit| credit.artist == artist).map(|credit| credit.entry).collect()
    }

    /// The events that count for one subject.
    pub fn of_subject(&self, entity_type: &str, id: &str) -> Vec<&'a Entry> {
        let all = self.model.entries.iter();
        match entity_type {
            "user" => all.filter(|entry| entry.user_id() == id).collect(),
            "artist" => self.crediting(id),
            "event" => all.filter(|entry| counts_for_event(entry) && entry.event_id() == Some(id)).collect(),
            "global" => all.collect(),
            other => panic!("nothing is kept for {other}"),
        }
    }

    /// Every subject of a type that anything in the log names, in byte order.
    pub fn known(&self, entity_type: &str) -> Vec<String> {
        let all = self.model.entries.iter();
        let mut ids: Vec<String> = match entity_type {
            "user" => all.map(|entry| entry.user_id().to_owned()).collect(),
            // The fields that credit are those that name: a profile's and a line-up's artists are among them.
            "artist" => self.credits.iter().map(|credit| credit.artist.clone()).collect(),
            "event" => {
                let named = all.filter(|entry| counts_for_event(entry) || entry.kind == "concierto.event_scheduled");
                named.filter_map(|entry| entry.event_id().map(str::to_owned)).collect()
            }
            "global" => vec!["global".to_owned()],
            other => panic!("nothing is kept for {other}"),
        };
        ids.sort();
        ids.dedup();
        ids
    }

    /// Whether anything in the log names the subject; what nothing names is a 404.
    pub fn is_known(&self, entity_type: &str, id: &str) -> bool {
        self.known(entity_type).iter().any(|known| known == id)
    }

    /// The name that a subject is shown with: an artist's or an event's, none for users.
    pub fn name(&self, entity_type: &str, id: &str) -> Option<String> {
        match entity_type {
            "artist" => self.model.profile(id, self.model.head()).name,
            "event" => {
                let scheduled = self.model.entries.iter().filter(|entry| entry.kind == "concierto.event_scheduled");
                let names = scheduled.filter(|entry| entry.event_id() == Some(id));
                names.filter_map(|entry| entry.fields.text_of("name")).next_back().map(str::to_owned)
            }
            _ => None,
        }
    }
}

/// Attendances, money and votes happen at an event; a follow or a share of one does not count for it.
fn counts_for_event(entry: &Entry) -> bool {
    entry.is_money() || matches!(entry.kind.as_str(), "concierto.event_attended" | "coliseum.vote_cast")
}
