//! Whom an event credits and what it is about, as far as its own fields say; line-ups are not known here.

use std::borrow::Cow;

use super::{EntityType, Event, Facts, TargetType, catalogue};
use crate::problem::Problem;

impl<'a> Facts<'a> {
    /// Reads the typed fields of a stored payload again.
    ///
    /// # Errors
    /// A payload that [`Event::parse`] would not take with this type.
    pub fn of_stored(event_type: &str, payload: &'a str) -> Result<Facts<'a>, Problem> {
        catalogue::stored_facts(event_type, payload)
    }

    /// The artists that the event's own fields credit, each once: `artistId`, then `artistIds`, then the artist that a
    /// follow or a share points at. `other_credits`: whether a configured rule names the event's type, without which a
    /// type outside the catalogue credits nobody.
    pub fn credited(&self, other_credits: bool) -> impl Iterator<Item = &str> {
        let nobody: &[Cow<'a, str>] = &[];
        let (artist_id, artist_ids, target_id) = match self {
            Facts::Attended { artist_id, artist_ids, .. } => (artist_id.as_ref(), artist_ids.as_slice(), None),
            Facts::Money { artist_id, .. } => (artist_id.as_ref(), nobody, None),
            Facts::Vote { artist_id, .. }
            | Facts::Played { artist_id, .. }
            | Facts::Favorited { artist_id, .. }
            | Facts::Profile { artist_id, .. } => (Some(artist_id), nobody, None),
            Facts::Follow { target_id, target_type: TargetType::Artist } => (None, nobody, Some(target_id)),
            Facts::Share { target_id, target_type: TargetType::Artist, artist_id, .. } => {
                (artist_id.as_ref(), nobody, Some(target_id))
            }
            Facts::Share { artist_id, .. } => (artist_id.as_ref(), nobody, None),
            Facts::Scheduled { artist_ids, .. } => (None, artist_ids.as_slice(), None),
            Facts::Other { artist_id, artist_ids } if other_credits => {
                (artist_id.as_ref(), artist_ids.as_slice(), None)
            }
            Facts::Follow { .. } | Facts::Entitlement { .. } | Facts::Other { .. } => (None, nobody, None),
        };
        let all = artist_id.into_iter().chain(artist_ids).chain(target_id);
        let is_first = {
            let all = all.clone();
            move |(place, id): &(usize, &Cow<'a, str>)| !all.clone().take(*place).any(|earlier| earlier == *id)
        };
        all.enumerate().filter(is_first).map(|(_, id)| id.as_ref())
    }

    /// What the event is about; `None` for a type outside the catalogue. `user_id` is the event's.
    pub fn entity<'f>(&'f self, user_id: &'f str) -> Option<(EntityType, &'f str)> {
        match self {
            Facts::Attended { event_id, .. } | Facts::Scheduled { event_id, .. } => Some((EntityType::Event, event_id)),
            Facts::Money { artist_id: Some(artist_id), .. } => Some((EntityType::Artist, artist_id)),
            Facts::Money { event_id: Some(event_id), .. } => Some((EntityType::Event, event_id)),
            Facts::Money { .. } | Facts::Entitlement { .. } => Some((EntityType::User, user_id)),
            Facts::Vote { artist_id, .. } | Facts::Profile { artist_id, .. } => Some((EntityType::Artist, artist_id)),
            Facts::Played { track_id, .. } | Facts::Favorited { track_id, .. } => Some((EntityType::Track, track_id)),
            Facts::Follow { target_id, target_type } | Facts::Share { target_id, target_type, .. } => {
                Some((target_type.entity_type(), target_id))
            }
            Facts::Other { .. } => None,
        }
    }
}

impl TargetType {
    /// The type of the entity that a follow or a share of this target is about.
    const fn entity_type(self) -> EntityType {
        match self {
            TargetType::Artist => EntityType::Artist,
            TargetType::User => EntityType::User,
            TargetType::Event => EntityType::Event,
            TargetType::Venue => EntityType::Venue,
            TargetType::Track => EntityType::Track,
        }
    }
}

impl Event<'_> {
    /// What the event is about; `None` for a type outside the catalogue.
    pub fn entity(&self) -> Option<(EntityType, &str)> {
        self.facts.entity(&self.user_id)
    }
}
