//! From a filter to the entries that may match it, and the exact test of one entry.

use roaring::RoaringBitmap;

use super::builder::facts;
use super::{AT_BLOCK_ENTRIES, AtRange, Term};
use crate::event::{EntityType, category};
use crate::passport::{Entry, EntryFilter, Envelope};
use crate::units::Timestamp;

/// The type whose entries credit the artists of a line-up too.
const ATTENDED: &str = "concierto.event_attended";

/// Which entries of one segment carry a term: the live form and the file.
pub trait Postings {
    type Error;

    /// Entries that are indexed; local ids are below it.
    fn count(&self) -> u32;

    /// The range of `at` of each block of [`AT_BLOCK_ENTRIES`] entries.
    fn at_blocks(&self) -> &[AtRange];

    /// The entries that carry the term, and seldom some that carry another.
    fn lookup(&self, term: Term<'_>) -> Result<RoaringBitmap, Self::Error>;
}

/// The local ids in `low..=high` that may match the filter: all that do, and some that do not (a block of time is only
/// partly in the range, two terms share a hash). With no filter at all, every id there is in `low..=high`.
pub fn candidates<P: Postings>(
    postings: &P,
    filter: &EntryFilter,
    low: u32,
    high: u32,
) -> Result<RoaringBitmap, P::Error> {
    let mut found = in_time(postings, filter.from, filter.to, low, high);
    // Rare terms first, so that an empty answer ends it before a frequent one is read.
    for lookup in [user, artist, entity_id, event_type, source, category_name, entity_type] {
        if found.is_empty() {
            break;
        }
        if let Some(ids) = lookup(postings, filter)? {
            found &= ids;
        }
    }
    Ok(found)
}

/// The ids in `low..=high` whose block of time meets `from..to`.
fn in_time<P: Postings>(
    postings: &P,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    low: u32,
    high: u32,
) -> RoaringBitmap {
    let mut found = RoaringBitmap::new();
    let end = postings.count().min(high.saturating_add(1));
    for (block, range) in (0u32..).zip(postings.at_blocks()) {
        let start = block * AT_BLOCK_ENTRIES;
        if range.meets(from, to) {
            found.insert_range(start.max(low)..(start + AT_BLOCK_ENTRIES).min(end));
        }
    }
    found
}

/// The ids of one condition; `None` where the filter does not make it.
type Lookup<P> = Result<Option<RoaringBitmap>, <P as Postings>::Error>;

fn user<P: Postings>(postings: &P, filter: &EntryFilter) -> Lookup<P> {
    filter.user_id.as_deref().map(|id| postings.lookup(Term::User(id))).transpose()
}

fn event_type<P: Postings>(postings: &P, filter: &EntryFilter) -> Lookup<P> {
    filter.event_type.as_deref().map(|name| postings.lookup(Term::Type(name))).transpose()
}

fn category_name<P: Postings>(postings: &P, filter: &EntryFilter) -> Lookup<P> {
    filter.category.as_deref().map(|name| postings.lookup(Term::Category(name))).transpose()
}

fn source<P: Postings>(postings: &P, filter: &EntryFilter) -> Lookup<P> {
    filter.source.as_deref().map(|name| postings.lookup(Term::Source(name))).transpose()
}

/// The entity type alone; with an id, it is part of the entity's own term.
fn entity_type<P: Postings>(postings: &P, filter: &EntryFilter) -> Lookup<P> {
    match (&filter.entity_type, &filter.entity_id) {
        (Some(name), None) => postings.lookup(Term::EntityType(name)).map(Some),
        _ => Ok(None),
    }
}

/// The entity by its id: of the type asked for, else of every type.
fn entity_id<P: Postings>(postings: &P, filter: &EntryFilter) -> Lookup<P> {
    let Some(id) = &filter.entity_id else { return Ok(None) };
    if let Some(name) = &filter.entity_type {
        return postings.lookup(Term::Entity(name, id)).map(Some);
    }
    let mut found = RoaringBitmap::new();
    for entity_type in EntityType::ALL {
        found |= postings.lookup(Term::Entity(entity_type.name(), id))?;
    }
    Ok(Some(found))
}

/// The entries that credit the artist, and the attendances of the events that do.
fn artist<P: Postings>(postings: &P, filter: &EntryFilter) -> Lookup<P> {
    let Some(id) = &filter.artist_id else { return Ok(None) };
    let mut attended = RoaringBitmap::new();
    for event_id in &filter.or_attended_event_ids {
        attended |= postings.lookup(Term::Entity(EntityType::Event.name(), event_id))?;
    }
    if !attended.is_empty() {
        attended &= postings.lookup(Term::Type(ATTENDED))?;
    }
    Ok(Some(attended | postings.lookup(Term::Artist(id))?))
}

/// Whether a stored entry passes the filter: the last word on a candidate. Reads the payload only where the filter
/// names an entity or an artist, and all else holds.
pub fn matches(entry: &Entry<'_>, filter: &EntryFilter) -> bool {
    if !envelope_matches(&entry.envelope, filter) {
        return false;
    }
    if filter.entity_type.is_none() && filter.entity_id.is_none() && filter.artist_id.is_none() {
        return true;
    }
    facts(entry).is_some_and(|facts| {
        let entity = facts.entity(entry.envelope.user_id).map(|(entity_type, id)| (entity_type.name(), id));
        subject_matches(entry.envelope.event_type, entity, facts.credited(true), filter)
    })
}

/// The part of the test that needs no payload.
pub(super) fn envelope_matches(envelope: &Envelope<'_>, filter: &EntryFilter) -> bool {
    let is = |wanted: &Option<String>, actual: &str| wanted.as_ref().is_none_or(|wanted| wanted == actual);
    let at = Timestamp::from_micros(envelope.at_micros);
    is(&filter.user_id, envelope.user_id)
        && is(&filter.event_type, envelope.event_type)
        && is(&filter.category, category(envelope.event_type))
        && is(&filter.source, envelope.source)
        && AtRange::of(at).meets(filter.from, filter.to)
}

/// The part of the test that is about the entity and the artists.
pub(super) fn subject_matches<'t>(
    event_type: &str,
    entity: Option<(&str, &str)>,
    mut artists: impl Iterator<Item = &'t str>,
    filter: &EntryFilter,
) -> bool {
    let (entity_type, entity_id) = entity.unzip();
    if filter.entity_type.is_some() && filter.entity_type.as_deref() != entity_type {
        return false;
    }
    if filter.entity_id.is_some() && filter.entity_id.as_deref() != entity_id {
        return false;
    }
    let Some(artist) = &filter.artist_id else { return true };
    let attends = |event_id: &str| filter.or_attended_event_ids.iter().any(|wanted| wanted == event_id);
    artists.any(|credited| credited == artist) || event_type == ATTENDED && entity_id.is_some_and(attends)
}
