//! Entries of the Passport as clients see them, with what came of each.

use std::ops::ControlFlow;

use super::json::Json;
use super::mutations::write_mutation;
use super::{ReadFailure, Reader};
use crate::coliseum::View;
use crate::event::{self, Facts};
use crate::passport::{Entry, EntryFilter, EntrySource, Order};
use crate::projection::AppliedSeqs;
use crate::units::Seq;

/// Bytes of a page after which it ends early; `nextAfterSeq` goes on from there. A page is made whole in memory, and many
/// clients may ask at once.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The consumers that `processedBy` names, those that are not there too.
const PROCESSED_BY: [&str; 3] = ["mediaid", "treasury", "coliseum"];

impl Reader {
    /// Completes a filter: an artist's attendances are those of the events in whose line-up it is, too.
    pub fn complete(&self, mut filter: EntryFilter, view: &View) -> EntryFilter {
        if let Some(artist) = &filter.artist_id {
            let number = view.artist(artist);
            let events = number.into_iter().flat_map(|number| view.events_with(number));
            filter.or_attended_event_ids = events.map(|(event_id, _)| event_id.to_string()).collect();
        }
        filter
    }

    /// Whether an entry that passed the filter really credits the artist it asks for: a line-up may have changed since.
    fn credits(filter: &EntryFilter, view: &View, entry: &Entry<'_>) -> bool {
        let Some(artist) = &filter.artist_id else { return true };
        if entry.seq > view.applied() {
            // Not folded yet: only its own fields say whom it credits, and those have passed the filter.
            return true;
        }
        let number = view.artist(artist);
        view.credits(entry).iter().any(|credit| Some(credit.artist) == number)
    }

    /// The entries of one page, in order, with `nextAfterSeq`: what to ask for as `afterSeq` to go on, null at the end.
    pub fn entries_page(
        &self,
        filter: EntryFilter,
        after: Option<Seq>,
        order: Order,
        limit: usize,
        view: &View,
        applied: &AppliedSeqs,
    ) -> Result<Vec<u8>, ReadFailure> {
        let filter = self.complete(filter, view);
        let head = self.log.durable();
        let (low, high) = match (order, after) {
            (Order::Ascending, after) => (after.unwrap_or(Seq::ZERO).next(), head),
            (Order::Descending, None) => (Seq::new(1), head),
            (Order::Descending, Some(after)) => (Seq::new(1), Seq::new(after.get().saturating_sub(1)).min(head)),
        };
        let (mut given, mut last, mut more) = (0, None, false);
        let mut json = Json::with_capacity(limit * 512);
        let mut failed = None;
        let mut looked = Ok(());
        json.object(|json| {
            json.array_field("entries", |json| {
                looked = self.log.query(&filter, low, high, order, &mut |entry| {
                    if !Self::credits(&filter, view, &entry) {
                        return ControlFlow::Continue(());
                    }
                    if given == limit || json.len() > PAGE_BYTES_MAX {
                        more = true;
                        return ControlFlow::Break(());
                    }
                    given += 1;
                    last = Some(entry.seq);
                    match write_entry(json, &entry, view, applied) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(error) => {
                            failed = Some(error);
                            ControlFlow::Break(())
                        }
                    }
                });
            });
            json.optional_number("nextAfterSeq", last.filter(|_| more).map(Seq::get));
        });
        looked?;
        failed.map_or(Ok(json.into_bytes()), Err)
    }

    /// One entry, if it is there.
    pub fn entry(&self, seq: Seq, view: &View, applied: &AppliedSeqs) -> Result<Option<Vec<u8>>, ReadFailure> {
        let mut json = Json::with_capacity(1024);
        let mut written = Ok(());
        let there = self.log.get(seq, &mut |entry| written = write_entry(&mut json, &entry, view, applied))?;
        written?;
        Ok(there.then(|| json.into_bytes()))
    }

    /// Entries after `after` that pass the filter, one line of JSON and its seq at a time, until `each` breaks. Returns
    /// how far the log was looked at, so that a follower asks from there next.
    pub fn follow(
        &self,
        filter: &EntryFilter,
        after: Seq,
        view: &View,
        applied: &AppliedSeqs,
        each: &mut dyn FnMut(Seq, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<Seq, ReadFailure> {
        self.follow_to(filter, after, self.log.durable(), view, applied, each)
    }

    /// The same, up to what the view has applied.
    pub fn follow_applied(
        &self,
        filter: &EntryFilter,
        after: Seq,
        view: &View,
        applied: &AppliedSeqs,
        each: &mut dyn FnMut(Seq, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<Seq, ReadFailure> {
        self.follow_to(filter, after, view.applied(), view, applied, each)
    }

    fn follow_to(
        &self,
        filter: &EntryFilter,
        after: Seq,
        head: Seq,
        view: &View,
        applied: &AppliedSeqs,
        each: &mut dyn FnMut(Seq, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<Seq, ReadFailure> {
        let filter = self.complete(filter.clone(), view);
        let mut reached = head.max(after);
        let mut failed = None;
        self.log.query(&filter, after.next(), head, Order::Ascending, &mut |entry| {
            if !Self::credits(&filter, view, &entry) {
                return ControlFlow::Continue(());
            }
            let mut json = Json::with_capacity(1024);
            if let Err(error) = write_entry(&mut json, &entry, view, applied) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            let given = each(entry.seq, one_line(json.into_bytes()));
            if given.is_break() {
                reached = entry.seq;
            }
            given
        })?;
        failed.map_or(Ok(reached), Err)
    }
}

/// Line breaks stand only between the tokens of a payload, never in a string: as spaces they say the same on one line.
fn one_line(mut json: Vec<u8>) -> Vec<u8> {
    json.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    json
}

/// Writes one entry as an object.
fn write_entry(json: &mut Json, entry: &Entry<'_>, view: &View, applied: &AppliedSeqs) -> Result<(), ReadFailure> {
    let envelope = &entry.envelope;
    let facts = Facts::of_stored(envelope.event_type, envelope.payload)
        .map_err(|problem| ReadFailure::Unreadable(entry.seq, problem.to_string()))?;
    let entity = facts.entity(envelope.user_id);
    let mutations = view.mutations_of(entry);
    json.object(|json| {
        json.number("seq", entry.seq.get());
        json.string("messageId", envelope.message_id);
        json.string("userId", envelope.user_id);
        json.string("eventType", envelope.event_type);
        json.string("eventCategory", event::category(envelope.event_type));
        json.optional_string("entityType", entity.map(|(kind, _)| kind.name()));
        json.optional_string("entityId", entity.map(|(_, id)| id));
        json.optional_string("sessionId", envelope.session_id);
        json.optional_string("deviceId", envelope.device_id);
        json.string("source", envelope.source);
        json.time("at", entry.at());
        json.time("receivedAt", entry.received_at());
        json.bool("atCorrected", envelope.at_corrected);
        json.raw("metadata", envelope.payload.as_bytes());
        json.object_field("processedBy", |json| {
            PROCESSED_BY.iter().for_each(|name| json.bool(name, applied.holds(name, entry.seq)));
        });
        json.array_field("dnaInfluence", |json| {
            for mutation in &mutations {
                write_mutation(json, mutation, envelope.user_id);
            }
        });
    });
    Ok(())
}
