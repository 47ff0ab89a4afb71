//! The top-level members of one event, gathered in one pass: a place for each key that the catalogue knows.

use std::borrow::Cow;
use std::collections::HashSet;

use super::json::{self, kind_name, pointer_token};
use super::rules::Misfit;
use super::scan::{Kind, Value};
use crate::problem::Problem;

macro_rules! keys {
    ($($name:ident $spelled:literal,)*) => {
        /// The keys that some row of the catalogue reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Key { $($name),* }

        impl Key {
            const NAMES: &'static [&'static str] = &[$($spelled),*];

            fn of(spelled: &str) -> Option<Key> {
                match spelled {
                    $($spelled => Some(Key::$name),)*
                    _ => None,
                }
            }
        }
    };
}

keys! {
    Type "type",
    UserId "userId",
    At "at",
    MessageId "messageId",
    SessionId "sessionId",
    DeviceId "deviceId",
    Source "source",
    SentAt "sentAt",
    EventType "eventType",
    EventData "eventData",
    AmountCents "amountCents",
    ArtistId "artistId",
    ArtistIds "artistIds",
    ArtistName "artistName",
    Channel "channel",
    City "city",
    Currency "currency",
    Domains "domains",
    DurationSeconds "durationSeconds",
    EarnSource "earnSource",
    EventId "eventId",
    ExpiresAt "expiresAt",
    Genre "genre",
    Genres "genres",
    HomeCity "homeCity",
    LeaderboardDepth "leaderboardDepth",
    Name "name",
    Plan "plan",
    Platform "platform",
    Reason "reason",
    Role "role",
    StartsAt "startsAt",
    StripePaymentIntentId "stripePaymentIntentId",
    StripeSubscriptionId "stripeSubscriptionId",
    StripeTransferId "stripeTransferId",
    TargetId "targetId",
    TargetType "targetType",
    TicketTier "ticketTier",
    TrackId "trackId",
    Weight "weight",
}

/// What the older client calls the type of a play.
const AUDIO_PLAY: &str = "audio_play";
/// The fields of a play that the older client puts into `eventData`, and its names for them.
const AUDIO_PLAY_NAMES: [(Key, &str); 4] = [
    (Key::TrackId, "content_id"),
    (Key::ArtistId, "artist_id"),
    (Key::ArtistName, "artist_name"),
    (Key::DurationSeconds, "duration_seconds"),
];

/// The members of an event, by key.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    values: [Option<Value<'a>>; Key::NAMES.len()],
    /// Whether the fields of [`AUDIO_PLAY_NAMES`] are those of `eventData`.
    from_event_data: bool,
}

impl<'a> Fields<'a> {
    /// No fields yet. [`Fields::gather`] fills them in place: a kilobyte that is not copied for every event.
    pub fn new() -> Fields<'a> {
        Fields { values: [None; Key::NAMES.len()], from_event_data: false }
    }

    /// # Errors
    /// As [`json::read_object`].
    pub fn gather(&mut self, text: &'a str) -> Result<(), Problem> {
        let mut unknown = UnknownKeys::default();
        json::read_object(text, |key, value| match Key::of(&key) {
            Some(known) => self.values[known as usize].replace(value).is_none(),
            None => unknown.insert(key),
        })
    }

    /// Whether the older client sent this: `audio_play` as `type`, or as `eventType` without a `type`.
    pub fn is_audio_play(&self) -> bool {
        let given = self.given(Key::Type).or_else(|| self.given(Key::EventType));
        given.and_then(Value::string).is_some_and(|name| name == AUDIO_PLAY)
    }

    /// The same event with the fields of the older client's `eventData` as those of a play. Of equal keys in there the
    /// last counts.
    ///
    /// # Errors
    /// `invalid-event` 422 at `/eventData` if that is no object.
    pub fn with_event_data(&self) -> Result<Fields<'a>, Problem> {
        let mut play = Fields { from_event_data: true, ..self.clone() };
        for (key, _) in AUDIO_PLAY_NAMES {
            play.values[key as usize] = None;
        }
        let Some(data) = self.given(Key::EventData) else { return Ok(play) };
        if data.kind != Kind::Object {
            return Err(self.problem(Key::EventData, Misfit::from("an object with the fields of the play")));
        }
        for (name, value) in data.members() {
            if let Some((key, _)) = AUDIO_PLAY_NAMES.iter().find(|(_, older)| *older == name) {
                play.values[*key as usize] = Some(value);
            }
        }
        Ok(play)
    }

    /// The field as `read` reads it.
    ///
    /// # Errors
    /// `invalid-event` 422 at the field where it is missing, null, or does not fit.
    pub fn required<T>(&self, key: Key, read: impl FnOnce(Value<'a>) -> Result<T, Misfit>) -> Result<T, Problem> {
        read(self.given(key).unwrap_or(Value::NULL)).map_err(|misfit| self.problem(key, misfit))
    }

    /// The field as `read` reads it; `None` where it is missing or null.
    ///
    /// # Errors
    /// `invalid-event` 422 at the field where it does not fit.
    pub fn optional<T>(
        &self,
        key: Key,
        read: impl FnOnce(Value<'a>) -> Result<T, Misfit>,
    ) -> Result<Option<T>, Problem> {
        self.given(key).map(read).transpose().map_err(|misfit| self.problem(key, misfit))
    }

    /// The value of a key that is there and not null.
    fn given(&self, key: Key) -> Option<Value<'a>> {
        self.values[key as usize].filter(|value| !value.is_null())
    }

    #[cold]
    fn problem(&self, key: Key, misfit: Misfit) -> Problem {
        let mut found = self.given(key);
        let mut pointer = self.pointer(key);
        if let Some(item) = misfit.item {
            found = found.and_then(|list| list.items().nth(item));
            pointer.push_str(&pointer_token(&item.to_string()));
        }
        let name = &pointer[1..];
        Problem::field(&pointer, format!("`{name}`: expected {}, {}", misfit.expected, description(found)))
    }

    /// Where the sender put the field.
    fn pointer(&self, key: Key) -> String {
        match AUDIO_PLAY_NAMES.iter().find(|(older, _)| self.from_event_data && *older == key) {
            Some((_, name)) => format!("/eventData/{name}"),
            None => pointer_token(Key::NAMES[key as usize]),
        }
    }
}

/// What was found, for a person; no content of strings, which may be private, goes into a problem.
fn description(found: Option<Value<'_>>) -> String {
    match found {
        None => "but it is missing".to_owned(),
        Some(number) if number.kind == Kind::Number && number.raw.len() <= 40 => format!("found {}", number.raw),
        Some(array) if array.kind == Kind::Array => format!("found an array of {}", array.items().count()),
        Some(other) => match other.string() {
            Some(text) => format!("found a string of {} bytes", text.len()),
            None => format!("found {}", kind_name(other.kind)),
        },
    }
}

/// How many keys outside the catalogue are kept without allocating; an event seldom has more.
const UNKNOWN_KEYS_INLINE: usize = 12;

/// The keys outside the catalogue that were seen so far. Costs the same for each key, however many a hostile event has.
#[derive(Default)]
struct UnknownKeys<'a> {
    few: [&'a str; UNKNOWN_KEYS_INLINE],
    few_len: usize,
    more: HashSet<Cow<'a, str>>,
}

impl<'a> UnknownKeys<'a> {
    /// Whether the key is new.
    fn insert(&mut self, key: Cow<'a, str>) -> bool {
        if self.few[..self.few_len].contains(&key.as_ref()) || self.more.contains(&key) {
            return false;
        }
        match key {
            Cow::Borrowed(plain) if self.few_len < UNKNOWN_KEYS_INLINE => {
                self.few[self.few_len] = plain;
                self.few_len += 1;
            }
            other => _ = self.more.insert(other),
        }
        true
    }
}
