//! The catalogue: what an event is, which fields it has, whom it credits. Pure: no clock, no disk, no configuration.
//!
//! An event is one JSON object. [`Event::parse`] checks the whole text once and borrows from it; [`Facts`] are the
//! typed fields of its catalogue row; everything else stays in the text, which is kept as it came.

mod catalogue;
mod credit;
mod currency;
mod equal;
mod fields;
mod json;
mod metric;
mod number;
mod rules;
mod scan;
#[cfg(test)]
mod tests;
mod time;

pub use catalogue::EVENT_TYPES;
pub use currency::Currency;
pub use equal::same_content;
pub use json::{array_elements, batch_elements, check_document};
pub use metric::{Measure, Metric, fold_city};
pub use time::parse_rfc3339;

use std::borrow::Cow;

use crate::problem::Problem;
use crate::units::{Decimal, Timestamp};

/// A checked event, borrowed from its text.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// `category.name`; `player.track_played` where the text says `audio_play`.
    pub event_type: Cow<'a, str>,
    pub user_id: Cow<'a, str>,
    /// As sent: neither corrected by `sent_at` nor judged against a clock.
    pub at: Timestamp,
    /// The same as the text spells it; `None` if it has escapes.
    pub at_text: Option<&'a str>,
    pub sent_at: Option<Timestamp>,
    pub message_id: Option<Cow<'a, str>>,
    pub session_id: Option<Cow<'a, str>>,
    pub device_id: Option<Cow<'a, str>>,
    /// The payload's `source`; absent on earnings, where that key is read as `earnSource`.
    pub source: Option<Cow<'a, str>>,
    pub facts: Facts<'a>,
}

/// What the catalogue row of an event's type says, typed.
#[derive(Clone, Debug)]
pub enum Facts<'a> {
    Attended {
        event_id: Cow<'a, str>,
        city: Cow<'a, str>,
        ticket_tier: Option<Cow<'a, str>>,
        artist_id: Option<Cow<'a, str>>,
        artist_ids: Vec<Cow<'a, str>>,
    },
    Money {
        flow: Flow,
        /// 1 to 10^12, always positive.
        amount_cents: i64,
        /// Three lower-case letters.
        currency: Cow<'a, str>,
        /// `reason` of a payment or refund, `earnSource` of an earning or its reversal.
        reason: Cow<'a, str>,
        /// Of an earning or its reversal only.
        role: Option<Cow<'a, str>>,
        event_id: Option<Cow<'a, str>>,
        artist_id: Option<Cow<'a, str>>,
        /// `stripePaymentIntentId` or `stripeTransferId`.
        stripe_id: Option<Cow<'a, str>>,
    },
    Vote {
        artist_id: Cow<'a, str>,
        event_id: Cow<'a, str>,
        /// Over 0 to 1000 with at most 6 decimals.
        weight: Decimal,
        channel: Cow<'a, str>,
    },
    Played {
        track_id: Cow<'a, str>,
        artist_id: Cow<'a, str>,
        duration_seconds: Option<Decimal>,
        genre: Option<Cow<'a, str>>,
        city: Option<Cow<'a, str>>,
    },
    Favorited {
        track_id: Cow<'a, str>,
        artist_id: Cow<'a, str>,
    },
    Follow {
        target_id: Cow<'a, str>,
        target_type: TargetType,
    },
    Share {
        target_id: Cow<'a, str>,
        target_type: TargetType,
        platform: Cow<'a, str>,
        artist_id: Option<Cow<'a, str>>,
    },
    Profile {
        artist_id: Cow<'a, str>,
        artist_name: Cow<'a, str>,
        /// `None`: left out, so the artist keeps what it has.
        genres: Option<Vec<Cow<'a, str>>>,
        home_city: Option<Cow<'a, str>>,
    },
    Scheduled {
        event_id: Cow<'a, str>,
        /// 1 to 100, as sent (may repeat).
        artist_ids: Vec<Cow<'a, str>>,
        city: Option<Cow<'a, str>>,
        name: Option<Cow<'a, str>>,
        starts_at: Option<Cow<'a, str>>,
    },
    Entitlement {
        plan: Plan,
        /// Of `A`, `T`, `G`, `C`.
        domains: Option<Vec<Cow<'a, str>>>,
        leaderboard_depth: Option<u64>,
        expires_at: Option<Timestamp>,
        stripe_subscription_id: Option<Cow<'a, str>>,
    },
    /// A type outside the catalogue; these two credit only if a configured rule names the type,
    /// and are empty where the payload's fields are not ids.
    Other {
        artist_id: Option<Cow<'a, str>>,
        artist_ids: Vec<Cow<'a, str>>,
    },
}

/// Which way money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    Spent,
    Refunded,
    Earned,
    Reversed,
}

/// What a follow or a share points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetType {
    Artist,
    User,
    Event,
    Venue,
    Track,
}

/// A user's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    Free,
    Basic,
    Pro,
    Enterprise,
}

impl Plan {
    pub const fn name(self) -> &'static str {
        ["free", "basic", "pro", "enterprise"][self as usize]
    }
}

/// What an event is about; the `entityType` of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityType {
    Artist,
    User,
    Event,
    Venue,
    Track,
}

impl EntityType {
    pub const ALL: [EntityType; 5] =
        [EntityType::Artist, EntityType::User, EntityType::Event, EntityType::Venue, EntityType::Track];

    pub const fn name(self) -> &'static str {
        ["artist", "user", "event", "venue", "track"][self as usize]
    }
}

impl<'a> Event<'a> {
    /// Checks one event's text against every rule of SPEC 1 that needs no clock.
    ///
    /// ```
    /// use coliseum::event::Event;
    /// let text = r#"{"type":"coliseum.vote_cast","userId":"u1","at":"2026-05-01T20:15:00Z","artistId":"a1","eventId":"e1"}"#;
    /// let vote = Event::parse(text)?;
    /// assert_eq!(vote.facts.credited(false).collect::<Vec<_>>(), ["a1"]);
    ///
    /// let problem = Event::parse(&text.replace("\"e1\"", "7")).expect_err("7 is no id");
    /// assert_eq!((problem.status, problem.pointer.as_deref()), (422, Some("/eventId")));
    /// # Ok::<(), coliseum::problem::Problem>(())
    /// ```
    ///
    /// # Errors
    /// `not-json` 400 for text that is not one JSON document (too deep, a lone surrogate, trailing bytes);
    /// `invalid-event` 400 for a document that is no object, or a top-level key given twice;
    /// `too-large` 413 over [`crate::limits::EVENT_BYTES_MAX`];
    /// `invalid-event` 422 with a pointer for a field that is missing, ill-typed or out of range.
    pub fn parse(text: &'a str) -> Result<Event<'a>, Problem> {
        catalogue::parse(text)
    }

    /// The key that a payload without `messageId` carries all the same: `stripe:<id>:<type>`.
    pub fn stripe_key(&self) -> Option<String> {
        match &self.facts {
            Facts::Money { stripe_id: Some(id), .. } => Some(format!("stripe:{id}:{}", self.event_type)),
            _ => None,
        }
    }

    /// The part of the type before the first dot.
    pub fn category(&self) -> &str {
        category(&self.event_type)
    }
}

/// The category of a type: what stands before the first dot.
pub fn category(event_type: &str) -> &str {
    event_type.split('.').next().unwrap_or(event_type)
}
