//! The mutations of an artist, newest first, and those behind one score.
//!
//! Mutations are not stored: each is a pure function of an entry, the rules and the line-ups, so they are computed from
//! the entries that the index names. Cost follows the artist's own entries.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::json::Json;
use super::{ReadFailure, Reader};
use crate::coliseum::{ArtistNo, Mutation, View};
use crate::passport::{Entry, EntryFilter, EntrySource, Order};
use crate::units::{Domain, MicroPoints, Seq, Window};

/// A mutation and the user of the entry scored.
#[derive(Clone, Debug)]
struct Owned {
    mutation: Mutation,
    user_id: String,
}

/// Writes one mutation as an object.
pub fn write_mutation(json: &mut Json, mutation: &Mutation, user_id: &str) {
    json.object(|json| {
        json.number("seq", mutation.seq.get());
        json.number("ofSeq", mutation.of_seq.get());
        json.string("artistId", &mutation.artist);
        json.string("domain", mutation.domain.upper());
        json.string("rule", &mutation.rule);
        json.decimal("baseDelta", mutation.base_delta);
        json.decimal("multiplier", mutation.multiplier);
        json.score("effectiveDelta", mutation.effective);
        json.time("occurredAt", mutation.occurred_at);
        json.time("createdAt", mutation.created_at);
        json.string("userId", user_id);
    });
}

impl Reader {
    /// An artist's mutations below `before`, newest causing entry first, all of one seq together; about `limit`.
    pub fn mutations(
        &self,
        artist_id: &str,
        before: Option<Seq>,
        limit: usize,
        view: &View,
    ) -> Result<Option<Vec<u8>>, ReadFailure> {
        let high = before.map_or(view.applied(), |before| Seq::new(before.get().saturating_sub(1))).min(view.applied());
        let Some(artist) = view.artist(artist_id) else { return Ok(None) };
        let stays =
            view.events_with(artist).flat_map(|(event, stays)| stays.into_iter().map(move |stay| (stay, event)));
        let mut joins: Vec<(Seq, Arc<str>)> =
            stays.map(|(stay, event)| (stay.joined, event.clone())).filter(|(seq, _)| *seq <= high).collect();
        joins.sort_unstable();

        let mut page: Vec<Owned> = Vec::new();
        let mut next_before = None;
        // Takes all mutations of one causing entry; breaks where the page is full and one more entry has some.
        let mut take = |caused: Vec<Owned>| -> ControlFlow<()> {
            if caused.is_empty() {
                return ControlFlow::Continue(());
            }
            if page.len() >= limit {
                next_before = page.last().map(|owned| owned.mutation.seq);
                return ControlFlow::Break(());
            }
            page.extend(caused);
            ControlFlow::Continue(())
        };
        let filter = self.artist_filter(artist_id, view);
        let mut failed = None;
        let mut full = false;
        self.log.query(&filter, Seq::new(1), high, Order::Descending, &mut |entry| {
            let mut given = || -> Result<ControlFlow<()>, ReadFailure> {
                while let Some((seq, event_id)) = joins.pop_if(|(seq, _)| *seq > entry.seq) {
                    if take(self.late_credits(artist, &event_id, seq, view)?).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                let mut caused = of_artist(&entry, artist_id, view, |mutation| mutation.seq == entry.seq);
                if let Some((seq, event_id)) = joins.pop_if(|(seq, _)| *seq == entry.seq) {
                    caused.extend(self.late_credits(artist, &event_id, seq, view)?);
                }
                Ok(take(caused))
            };
            match given() {
                Ok(taken) => {
                    full = taken.is_break();
                    taken
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        while !full && let Some((seq, event_id)) = joins.pop() {
            full = take(self.late_credits(artist, &event_id, seq, view)?).is_break();
        }

        let mut json = Json::with_capacity(page.len() * 300 + 128);
        json.object(|json| {
            json.string("artistId", artist_id);
            json.number("appliedSeq", view.applied().get());
            json.array_field("mutations", |json| {
                for owned in &page {
                    write_mutation(json, &owned.mutation, &owned.user_id);
                }
            });
            json.optional_number("nextBefore", next_before.map(Seq::get));
        });
        Ok(Some(json.into_bytes()))
    }

    fn artist_filter(&self, artist_id: &str, view: &View) -> EntryFilter {
        self.complete(EntryFilter { artist_id: Some(artist_id.into()), ..EntryFilter::default() }, view)
    }

    /// What one artist got when it joined a line-up: the attendances that were in the log already.
    fn late_credits(
        &self,
        artist: ArtistNo,
        event_id: &str,
        joined: Seq,
        view: &View,
    ) -> Result<Vec<Owned>, ReadFailure> {
        let mutations = view.late_credits(event_id, artist, joined)?;
        let mut caused = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            let mut user_id = String::new();
            self.log.get(mutation.of_seq, &mut |entry| user_id.push_str(entry.envelope.user_id))?;
            caused.push(Owned { mutation, user_id });
        }
        Ok(caused)
    }

    /// The mutations behind one score: the `limit` largest, and the sum of the rest; together exactly the score.
    pub fn why(
        &self,
        artist_id: &str,
        domain: Domain,
        window: Window,
        limit: usize,
        view: &View,
    ) -> Result<Option<Vec<u8>>, ReadFailure> {
        let Some(artist) = view.artist(artist_id) else { return Ok(None) };
        let score = view.score(artist, domain, window);
        let mut filter = self.artist_filter(artist_id, view);
        filter.from = window.minutes().map(|minutes| view.minute().plus(1 - minutes).start());
        // The smallest of the largest on top, so that it is the one to go.
        let mut largest: BinaryHeap<Reverse<Ranked>> = BinaryHeap::with_capacity(limit + 1);
        self.log.query(&filter, Seq::new(1), view.applied(), Order::Descending, &mut |entry| {
            for owned in of_artist(&entry, artist_id, view, |mutation| mutation.domain == domain) {
                largest.push(Reverse(Ranked(owned)));
                if largest.len() > limit {
                    largest.pop();
                }
            }
            ControlFlow::Continue(())
        })?;
        let listed: Vec<Owned> = largest.into_sorted_vec().into_iter().map(|Reverse(Ranked(owned))| owned).collect();
        let sum = listed.iter().fold(MicroPoints::ZERO, |sum, owned| sum + owned.mutation.effective);

        let mut json = Json::with_capacity(listed.len() * 300 + 256);
        json.object(|json| {
            json.string("artistId", artist_id);
            json.string("domain", domain.lower());
            json.string("window", window.name());
            json.time("asOf", view.minute().start());
            json.number("appliedSeq", view.applied().get());
            json.score("score", score);
            json.array_field("mutations", |json| {
                for owned in &listed {
                    write_mutation(json, &owned.mutation, &owned.user_id);
                }
            });
            json.score("rest", score - sum);
        });
        Ok(Some(json.into_bytes()))
    }
}

/// The mutations that score `entry` for one artist, those that pass.
fn of_artist(entry: &Entry<'_>, artist_id: &str, view: &View, pass: impl Fn(&Mutation) -> bool) -> Vec<Owned> {
    view.mutations_of(entry)
        .into_iter()
        .filter(|mutation| *mutation.artist == *artist_id && pass(mutation))
        .map(|mutation| Owned { mutation, user_id: entry.envelope.user_id.to_owned() })
        .collect()
}

/// By size, then the newer one, then the later domain is smaller.
struct Ranked(Owned);

impl Ranked {
    fn key(&self) -> (MicroPoints, Seq, Seq) {
        let mutation = &self.0.mutation;
        (mutation.effective, mutation.seq, mutation.of_seq)
    }
}
impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
