//! The catalogue: one row for each type of event, its fields in the order in which they are checked.
//!
//! `required` and `optional` name the key and the rule of [`rules`] that its value must fit. What a row does not name
//! is kept in the text and not looked at.

use std::borrow::Cow;

use super::fields::{Fields, Key};
use super::{Event, Facts, Flow, rules};
use crate::limits::EVENT_BYTES_MAX;
use crate::problem::{Problem, Slug};

/// The types of the catalogue.
pub const EVENT_TYPES: [&str; 13] = [
    ATTENDED,
    SPENT,
    REFUNDED,
    EARNED,
    REVERSED,
    VOTE,
    PLAYED,
    FAVORITED,
    FOLLOW,
    SHARE,
    PROFILE,
    SCHEDULED,
    ENTITLEMENT,
];

const ATTENDED: &str = "concierto.event_attended";
const SPENT: &str = "treasury.money_spent";
const REFUNDED: &str = "treasury.money_refunded";
const EARNED: &str = "treasury.money_earned";
const REVERSED: &str = "treasury.earning_reversed";
const VOTE: &str = "coliseum.vote_cast";
const PLAYED: &str = "player.track_played";
const FAVORITED: &str = "player.track_favorited";
const FOLLOW: &str = "social.follow";
const SHARE: &str = "social.share";
const PROFILE: &str = "artist.profile_updated";
const SCHEDULED: &str = "concierto.event_scheduled";
const ENTITLEMENT: &str = "coliseum.entitlement_changed";

/// Checks one event: the document, the common fields, the fields of its row; the first problem in that order.
pub(super) fn parse(text: &str) -> Result<Event<'_>, Problem> {
    if text.len() > EVENT_BYTES_MAX {
        let detail = format!("the event has {} bytes, at most {EVENT_BYTES_MAX} are taken", text.len());
        return Err(Problem::new(Slug::TooLarge, detail));
    }
    let mut fields = Fields::new();
    fields.gather(text)?;
    let event_type = match fields.is_audio_play() {
        true => Cow::Borrowed(PLAYED),
        false => fields.required(Key::Type, rules::event_type)?,
    };
    let user_id = fields.required(Key::UserId, rules::id)?;
    let (at, at_text) = fields.required(Key::At, rules::timestamp_and_text)?;
    let message_id = fields.optional(Key::MessageId, rules::id)?;
    let session_id = fields.optional(Key::SessionId, rules::label)?;
    let device_id = fields.optional(Key::DeviceId, rules::label)?;
    let source = fields.optional(Key::Source, rules::source)?;
    let sent_at = fields.optional(Key::SentAt, rules::timestamp)?;
    let source = source.filter(|_| !matches!(&*event_type, EARNED | REVERSED));
    let facts = facts(&event_type, &fields)?;
    Ok(Event { event_type, user_id, at, at_text, sent_at, message_id, session_id, device_id, source, facts })
}

/// The typed fields of a payload whose type is known.
pub(super) fn stored_facts<'a>(event_type: &str, payload: &'a str) -> Result<Facts<'a>, Problem> {
    let mut fields = Fields::new();
    fields.gather(payload)?;
    facts(event_type, &fields)
}

fn facts<'a>(event_type: &str, fields: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    match event_type {
        ATTENDED => attended(fields),
        SPENT => payment(Flow::Spent, fields),
        REFUNDED => payment(Flow::Refunded, fields),
        EARNED => earning(Flow::Earned, fields),
        REVERSED => earning(Flow::Reversed, fields),
        VOTE => vote(fields),
        PLAYED if fields.is_audio_play() => played(&fields.with_event_data()?),
        PLAYED => played(fields),
        FAVORITED => favorited(fields),
        FOLLOW => follow(fields),
        SHARE => share(fields),
        PROFILE => profile(fields),
        SCHEDULED => scheduled(fields),
        ENTITLEMENT => entitlement(fields),
        _ => Ok(other(fields)),
    }
}

fn attended<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Attended {
        event_id: row.required(Key::EventId, rules::id)?,
        city: row.required(Key::City, rules::full_text)?,
        ticket_tier: row.optional(Key::TicketTier, rules::text)?,
        artist_id: row.optional(Key::ArtistId, rules::id)?,
        artist_ids: row.optional(Key::ArtistIds, rules::ids)?.unwrap_or_default(),
    })
}

fn payment<'a>(flow: Flow, row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Money {
        flow,
        amount_cents: row.required(Key::AmountCents, rules::cents)?,
        currency: row.optional(Key::Currency, rules::currency)?.unwrap_or("usd".into()),
        reason: row.optional(Key::Reason, rules::word)?.unwrap_or("other".into()),
        role: None,
        event_id: row.optional(Key::EventId, rules::id)?,
        artist_id: row.optional(Key::ArtistId, rules::id)?,
        stripe_id: row.optional(Key::StripePaymentIntentId, rules::id)?,
    })
}

fn earning<'a>(flow: Flow, row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Money {
        flow,
        amount_cents: row.required(Key::AmountCents, rules::cents)?,
        currency: row.optional(Key::Currency, rules::currency)?.unwrap_or("usd".into()),
        role: Some(row.optional(Key::Role, rules::word)?.unwrap_or("platform".into())),
        reason: match row.optional(Key::EarnSource, rules::word)? {
            Some(earn_source) => earn_source,
            None => row.optional(Key::Source, rules::word)?.unwrap_or("other".into()),
        },
        event_id: row.optional(Key::EventId, rules::id)?,
        artist_id: row.optional(Key::ArtistId, rules::id)?,
        stripe_id: row.optional(Key::StripeTransferId, rules::id)?,
    })
}

fn vote<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Vote {
        artist_id: row.required(Key::ArtistId, rules::id)?,
        event_id: row.required(Key::EventId, rules::id)?,
        weight: row.optional(Key::Weight, rules::weight)?.unwrap_or(crate::units::Decimal::ONE),
        channel: row.optional(Key::Channel, rules::word)?.unwrap_or("app".into()),
    })
}

fn played<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Played {
        track_id: row.required(Key::TrackId, rules::id)?,
        artist_id: row.required(Key::ArtistId, rules::id)?,
        duration_seconds: row.optional(Key::DurationSeconds, rules::seconds)?,
        genre: row.optional(Key::Genre, rules::text)?,
        city: row.optional(Key::City, rules::text)?,
    })
}

fn favorited<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Favorited {
        track_id: row.required(Key::TrackId, rules::id)?,
        artist_id: row.required(Key::ArtistId, rules::id)?,
    })
}

fn follow<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Follow {
        target_id: row.required(Key::TargetId, rules::id)?,
        target_type: row.required(Key::TargetType, rules::target_type)?,
    })
}

fn share<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Share {
        target_id: row.required(Key::TargetId, rules::id)?,
        target_type: row.required(Key::TargetType, rules::target_type)?,
        platform: row.required(Key::Platform, rules::full_text)?,
        artist_id: row.optional(Key::ArtistId, rules::id)?,
    })
}

fn profile<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Profile {
        artist_id: row.required(Key::ArtistId, rules::id)?,
        artist_name: row.required(Key::ArtistName, rules::full_text)?,
        genres: row.optional(Key::Genres, rules::genres)?,
        home_city: row.optional(Key::HomeCity, rules::text)?,
    })
}

fn scheduled<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Scheduled {
        event_id: row.required(Key::EventId, rules::id)?,
        artist_ids: row.required(Key::ArtistIds, rules::some_ids)?,
        city: row.optional(Key::City, rules::text)?,
        name: row.optional(Key::Name, rules::text)?,
        starts_at: row.optional(Key::StartsAt, rules::starts_at)?,
    })
}

fn entitlement<'a>(row: &Fields<'a>) -> Result<Facts<'a>, Problem> {
    Ok(Facts::Entitlement {
        plan: row.required(Key::Plan, rules::plan)?,
        domains: row.optional(Key::Domains, rules::domains)?,
        leaderboard_depth: row.optional(Key::LeaderboardDepth, rules::depth)?,
        expires_at: row.optional(Key::ExpiresAt, rules::timestamp)?,
        stripe_subscription_id: row.optional(Key::StripeSubscriptionId, rules::id)?,
    })
}

/// A type outside the catalogue has no fields that could be wrong: what is no id, or no list of ids, credits nobody.
fn other<'a>(row: &Fields<'a>) -> Facts<'a> {
    Facts::Other {
        artist_id: row.optional(Key::ArtistId, rules::id).unwrap_or_default(),
        artist_ids: row.optional(Key::ArtistIds, rules::ids).unwrap_or_default().unwrap_or_default(),
    }
}
