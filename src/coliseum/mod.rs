//! The coliseum projection: scores, windows and boards, folded from the log.
//!
//! An entry's way: [`Coliseum::apply`] reads its facts, [`rules`] and [`scoring`] say how many points it is worth in each
//! domain, its own fields and the event's [`lineup`] say to whom; the points go into the artist's totals and into the row
//! of (minute, artist). `tick` takes rows over the [`minutes`]' edges as time passes: that is where an event leaves a
//! window. What is counted of everyone goes to [`metrics`], which has windows and rows of its own. `changes` takes what a
//! [`flush`] writes as [`pages`] while the fold goes on, `view` publishes [`board`]s and scores as an immutable [`View`];
//! a start [`load`]s what the file holds.
//!
//! Owns the tables of [`tables`], in the redb file that the runner gives it. Memory holds every artist and line-up and
//! what came since the last flush; rows and attendances live in the file. What a crash leaves is the last commit that
//! was synced; the runner folds again from its checkpoint, and the same entries give the same numbers.
//!
//! A commit of changes that fails is final: the projection has handed over what it cannot take back, and is opened again.

pub mod artists;
pub mod board;
pub mod entitlements;
mod events;
mod flush;
mod ledger;
pub mod lineup;
mod load;
pub mod metrics;
pub mod minutes;
mod pages;
pub mod past;
pub mod plans;
pub mod rules;
pub mod scoring;
mod tables;
#[cfg(test)]
mod tests;
pub mod view;

pub use artists::{ArtistCard, ArtistNo};
#[doc(hidden)]
pub use pages::is_page;
pub use past::PastBoard;
pub use rules::{Rules, RulesError};
pub use scoring::Mutation;
pub use view::{Credit, Leaderboard, Standing, View};

use std::sync::Arc;

use redb::ReadableDatabase;

use crate::event::{Facts, Flow, Metric};
use crate::passport::{Entry, Parsed};
use crate::projection::{ApplyError, Projection, StoreError};
use crate::units::{Minute, Seq, Timestamp};

use artists::Artists;
use board::Moved;
use entitlements::Entitlements;
use events::{Attendance, EventNo, Events};
use flush::Changes;
use ledger::Unflushed;
use lineup::Lineup;
use load::Loaded;
use metrics::{Counted, Fan, Metrics};
use minutes::{EDGES, HalfOfTotals, SLOTS, Sums, Totals, slots_of};
use rules::attendance_rule;
use scoring::{Score, Verdict, judge};
use tables::{ALLTIME_CHUNK, failed};
use view::{Boards, Scores};

/// The fold.
pub struct Coliseum {
    database: Arc<redb::Database>,
    rules: Arc<Rules>,
    /// The minute that the totals are valid at.
    minute: i64,
    artists: Artists,
    /// By artist.
    totals: Vec<Totals>,
    events: Events,
    metrics: Metrics,
    base_currency: Arc<str>,
    entitlements: Entitlements,
    unconverted: u64,
    unflushed: Unflushed,
    dirty: Dirty,
    /// Kept for its memory: whom one event credits.
    credited: Vec<ArtistNo>,
    /// As of the last view.
    shown_scores: Scores,
    shown_boards: Boards,
}

/// What differs from the last view and from the last flush.
#[derive(Default)]
struct Dirty {
    /// Artists whose totals changed since the last view.
    shown: Marks,
    /// Artists whose all-time totals changed since the last flush.
    alltime: Marks,
    cards: Marks,
    /// With a line-up that changed since the last flush.
    events: Marks,
}

/// A set of small numbers.
#[derive(Default)]
struct Marks {
    marked: Vec<bool>,
    list: Vec<u32>,
}

impl Marks {
    fn add(&mut self, number: u32) {
        let index = number as usize;
        if self.marked.len() <= index {
            self.marked.resize(index + 1, false);
        }
        if !std::mem::replace(&mut self.marked[index], true) {
            self.list.push(number);
        }
    }
    /// Empties the set; its numbers ascending.
    fn take(&mut self) -> Vec<u32> {
        let mut list = std::mem::take(&mut self.list);
        list.iter().for_each(|number| self.marked[*number as usize] = false);
        list.sort_unstable();
        list
    }
}

/// An attendance that a late line-up credits to an artist.
struct LateCredit {
    artist: ArtistNo,
    at: Timestamp,
    deltas: Sums,
    user: u32,
    city: Option<u32>,
}

impl Projection for Coliseum {
    type View = View;
    type Setup = Rules;
    type Changes = Changes;
    const NAME: &'static str = "coliseum";

    fn version(setup: &Rules) -> String {
        format!("{}-{}", tables::LAYOUT_VERSION, setup.version())
    }
    fn encode_setup(setup: &Rules) -> Vec<u8> {
        setup.to_toml().into_bytes()
    }
    fn decode_setup(bytes: &[u8]) -> Result<Rules, StoreError> {
        let damaged = |what: &dyn std::fmt::Display| StoreError(format!("the stored rules do not read: {what}"));
        let text = std::str::from_utf8(bytes).map_err(|error| damaged(&error))?;
        Rules::parse_toml(text).map_err(|error| damaged(&error))
    }

    fn open(database: Arc<redb::Database>, setup: &Rules, now: Timestamp) -> Result<Coliseum, StoreError> {
        Coliseum::load(database, setup, now, false)
    }
    fn open_on_threads(database: Arc<redb::Database>, setup: &Rules, now: Timestamp) -> Result<Coliseum, StoreError> {
        Coliseum::load(database, setup, now, true)
    }

    fn look_ahead(&mut self, entries: &[Parsed<'_>]) {
        self.metrics.look_ahead(entries);
    }

    fn apply(&mut self, parsed: &Parsed<'_>) -> Result<(), ApplyError> {
        let entry = &parsed.entry;
        let facts = parsed.facts.as_ref().map_err(|problem| ApplyError(format!("seq {}: {problem}", entry.seq)))?;
        self.fold(entry, facts).map_err(|StoreError(problem)| ApplyError(format!("seq {}: {problem}", entry.seq)))
    }

    fn tick(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.metrics.tick(&self.database, now.minute())?;
        let (from, to) = (self.minute, now.minute().get());
        if from == to {
            return Ok(());
        }
        let ledger = self.unflushed.ledger(self.database.begin_read().map(Arc::new).map_err(failed));
        let (low, high) = (from.min(to), from.max(to));
        for edge in &EDGES {
            let (first, last) = (low - edge.age_minutes + 1, high - edge.age_minutes);
            let mut unknown = false;
            ledger.rows(first, last, &mut |artist, sums| match self.totals.get_mut(artist.index()) {
                Some(totals) => {
                    totals.cross(edge, from < to, sums);
                    self.dirty.shown.add(artist.get());
                }
                None => unknown = true,
            })?;
            if unknown {
                return Err(load::unknown_artist());
            }
        }
        self.minute = to;
        Ok(())
    }

    fn changes(&mut self) -> Changes {
        let slabs = self.unflushed.take_for_flush();
        let card = |number: u32| (number, flush::encode_card(number, &self.artists.cards()[number as usize]));
        let cards = self.dirty.cards.take().into_iter().map(card).collect();
        let mut chunks: Vec<usize> =
            self.dirty.alltime.take().into_iter().map(|artist| artist as usize / ALLTIME_CHUNK).collect();
        chunks.dedup();
        let sums = |chunk: usize| {
            let totals = self.totals[chunk * ALLTIME_CHUNK..].iter().take(ALLTIME_CHUNK);
            (chunk as u32, totals.map(|totals| *totals.alltime()).collect())
        };
        let event = |number: u32| {
            let id = self.events.id(EventNo::new(number));
            let listed = &self.events.listed()[id.as_str()];
            (number, flush::encode_event(number, listed.name.as_deref(), &listed.lineup))
        };
        Changes {
            flush: self.unflushed.flushes(),
            slabs,
            cards,
            alltime: chunks.into_iter().map(sums).collect(),
            event_ids: self.events.names().changes(),
            events: self.dirty.events.take().into_iter().map(event).collect(),
            unconverted: self.unconverted,
            entitlements: self.entitlements.changes(),
            metrics: self.metrics.changes(),
        }
    }

    fn written(&mut self, changes: Changes) {
        self.metrics.written(changes.metrics);
    }

    fn wants_view(&self) -> bool {
        self.shown_boards.iter().flatten().any(|board| board.is_behind())
    }

    fn view(&mut self, applied: Seq) -> Arc<View> {
        self.publish();
        // One transaction for all: a flush may be committed at any moment.
        let stored = self.database.begin_read().map(Arc::new).map_err(failed);
        let ledger = self.unflushed.ledger(stored.clone());
        let points = ledger.slabs().to_vec();
        let metrics = self.metrics.view(&stored, self.artists.ids(), self.events.names(), &self.base_currency, points);
        Arc::new(View {
            applied,
            minute: Minute::new(self.minute),
            rules: self.rules.clone(),
            numbers: self.artists.shared_numbers().clone(),
            cards: self.artists.cards().clone(),
            scores: self.shown_scores.clone(),
            boards: self.shown_boards.clone(),
            listed: self.events.listed().clone(),
            events_of: self.events.of_artist().clone(),
            entitlements: self.entitlements.by_user().clone(),
            unconverted: self.unconverted,
            metrics,
            ledger,
        })
    }
}

impl Coliseum {
    /// Reads everything that lives in memory, with `has_threads` a part of it beside the others.
    fn load(
        database: Arc<redb::Database>,
        setup: &Rules,
        now: Timestamp,
        has_threads: bool,
    ) -> Result<Coliseum, StoreError> {
        tables::create(&database)?;
        let counted = || {
            let mut metrics = Metrics::open(&database, now.minute(), has_threads)?;
            metrics.tick(&database, now.minute())?;
            Ok::<_, StoreError>(metrics)
        };
        let (metrics, loaded) = load::side_by_side(has_threads, counted, || Loaded::read(&database, now.minute()));
        let (metrics, Loaded { artists, totals, events, entitlements, unconverted, unflushed }) = (metrics?, loaded?);
        let mut dirty = Dirty::default();
        (0..totals.len() as u32).for_each(|artist| dirty.shown.add(artist));
        Ok(Coliseum {
            database,
            rules: Arc::new(setup.clone()),
            minute: now.minute().get(),
            artists,
            totals,
            events,
            metrics,
            base_currency: setup.base_currency().into(),
            entitlements,
            unconverted,
            unflushed,
            dirty,
            credited: Vec::new(),
            shown_scores: Scores::default(),
            shown_boards: Default::default(),
        })
    }

    /// On an error nothing has changed.
    fn fold(&mut self, entry: &Entry<'_>, facts: &Facts<'_>) -> Result<(), StoreError> {
        match facts {
            Facts::Attended { event_id, .. } => self.fold_attendance(entry, facts, event_id),
            Facts::Scheduled { event_id, artist_ids, name, .. } => {
                self.fold_lineup(entry, event_id, name.as_deref(), artist_ids)?;
                self.fold_own_credits(entry, facts);
            }
            Facts::Profile { artist_id, artist_name, genres, home_city } => {
                let artist = self.number(artist_id);
                let genres = genres.as_ref().map(|genres| genres.iter().map(|genre| genre.as_ref().into()).collect());
                self.artists.profile(artist, artist_name, genres, home_city.as_deref());
                self.dirty.cards.add(artist.get());
                self.fold_own_credits(entry, facts);
            }
            _ => {
                self.entitlements.note(entry, facts);
                self.fold_own_credits(entry, facts);
            }
        }
        Ok(())
    }

    /// Scores the artists that the event's own fields credit.
    fn fold_own_credits(&mut self, entry: &Entry<'_>, facts: &Facts<'_>) {
        let rules = self.rules.clone();
        let event_type = entry.envelope.event_type;
        let deltas = match judge(&rules, event_type, facts) {
            Verdict::Scores(score) => Some(score.deltas()),
            Verdict::Nothing => None,
            Verdict::Unconverted => {
                self.unconverted += 1;
                None
            }
        };
        let artists = &mut std::mem::take(&mut self.credited);
        artists.extend(facts.credited(rules.rule(event_type).is_some()).map(|id| self.number(id)));
        if let Some(deltas) = &deltas {
            artists.iter().for_each(|artist| self.add(*artist, entry.at().minute(), deltas));
        }
        self.count(entry, facts, deltas.is_some(), artists);
        artists.clear();
        self.credited = std::mem::take(artists);
    }

    /// Counts the event for whom it is of and whom it credits. `scores`: the rule of its type took it. Gives the numbers of
    /// the user and of the city.
    fn count(
        &mut self,
        entry: &Entry<'_>,
        facts: &Facts<'_>,
        scores: bool,
        artists: &[ArtistNo],
    ) -> (u32, Option<u32>) {
        let user = self.metrics.user(entry);
        let event = facts.event_id().map(|id| self.events.number(id).get());
        let city = facts.city().and_then(|city| self.metrics.city(city));
        let Some(measure) = facts.measure() else { return (user, city) };
        let fan = match facts {
            Facts::Played { genre, .. } if scores => Fan::Plays { genre: genre.as_deref() },
            Facts::Money { flow: Flow::Spent, currency, .. } if **currency == *self.base_currency => Fan::Paying,
            _ if facts.is_fan_event() => Fan::Yes,
            _ => Fan::No,
        };
        let counted = Counted {
            minute: entry.at().minute(),
            user,
            event,
            metric: measure.metric,
            currency: measure.currency,
            sum: measure.sum,
            city,
            fan,
        };
        self.metrics.count(&counted, artists);
        (user, city)
    }

    /// Scores the artists of the attendance's own fields, then those of the line-up, and keeps it for late line-ups.
    fn fold_attendance(&mut self, entry: &Entry<'_>, facts: &Facts<'_>, event_id: &str) {
        let rules = self.rules.clone();
        let score = match judge(&rules, entry.envelope.event_type, facts) {
            Verdict::Scores(score) => score,
            Verdict::Nothing | Verdict::Unconverted => unreachable!("attendances have a rule with no condition"),
        };
        let event = self.events.number(event_id);
        let own: Box<[ArtistNo]> = facts.credited(true).map(|id| self.number(id)).collect();
        let mut artists = own.to_vec();
        if let Some(lineup) = self.events.lineup(event_id) {
            artists.extend(lineup.current().filter(|artist| !own.contains(artist)));
        }
        let deltas = score.deltas();
        artists.iter().for_each(|artist| self.add(*artist, entry.at().minute(), &deltas));
        let (user, city) = self.count(entry, facts, true, &artists);
        self.unflushed.attendances.push(Attendance {
            event,
            seq: entry.seq,
            at: entry.at(),
            multiplier: score.event_multiplier(),
            artists: own,
            user,
            city,
        });
    }

    /// Sets a line-up and credits the attendances that were there before it. What can fail comes first.
    fn fold_lineup<S: AsRef<str>>(
        &mut self,
        entry: &Entry<'_>,
        event_id: &str,
        name: Option<&str>,
        artist_ids: &[S],
    ) -> Result<(), StoreError> {
        let mut new_ids: Vec<&str> = Vec::new();
        let mut listed = Vec::with_capacity(artist_ids.len());
        for id in artist_ids.iter().map(AsRef::as_ref) {
            let new = |place: usize| ArtistNo::new((self.artists.len() + place) as u32);
            listed.push(match (self.artists.find(id), new_ids.iter().position(|new_id| *new_id == id)) {
                (Some(artist), _) => artist,
                (None, Some(place)) => new(place),
                (None, None) => {
                    new_ids.push(id);
                    new(new_ids.len() - 1)
                }
            });
        }
        let mut lineup = self.events.lineup(event_id).map(|lineup| Lineup::clone(lineup)).unwrap_or_default();
        let joined = lineup.reschedule(entry.seq, entry.received_at(), &listed).to_vec();
        let late = match self.events.find(event_id) {
            Some(event) if !joined.is_empty() => self.late_credits(event, &joined)?,
            _ => Vec::new(),
        };
        for id in new_ids {
            self.number(id);
        }
        self.events.set_lineup(event_id, name, lineup, &joined);
        self.dirty.events.add(self.events.number(event_id).get());
        for credit in late {
            self.add(credit.artist, credit.at.minute(), &credit.deltas);
            let counted = Counted {
                minute: credit.at.minute(),
                user: credit.user,
                event: None,
                metric: Metric::EventsAttended,
                currency: None,
                sum: 1,
                city: credit.city,
                fan: Fan::Yes,
            };
            self.metrics.count_late(&counted, credit.artist);
        }
        Ok(())
    }

    fn late_credits(&mut self, event: EventNo, joined: &[lineup::Stay]) -> Result<Vec<LateCredit>, StoreError> {
        let first = joined.iter().map(|stay| stay.since).min().unwrap_or(Seq::ZERO);
        let before = joined[0].joined;
        let rule = attendance_rule(&self.rules);
        let mut late = Vec::new();
        let stored = self.database.begin_read().map(Arc::new).map_err(failed)?;
        for attendance in self.unflushed.attendances(stored, event, first, before)? {
            let deltas = Score::new(rule, attendance.multiplier).deltas();
            for stay in joined {
                if stay.since < attendance.seq && !attendance.artists.contains(&stay.artist) {
                    let (user, city) = (attendance.user, attendance.city);
                    late.push(LateCredit { artist: stay.artist, at: attendance.at, deltas, user, city });
                }
            }
        }
        Ok(late)
    }

    /// The artist's number; the next one if the log names it for the first time.
    fn number(&mut self, id: &str) -> ArtistNo {
        if let Some(artist) = self.artists.find(id) {
            return artist;
        }
        let card = ArtistCard { id: id.into(), name: None, genres: Vec::new(), home_city: None };
        let artist = self.artists.push(card);
        self.totals.push(Totals::default());
        self.dirty.cards.add(artist.get());
        self.dirty.shown.add(artist.get());
        artist
    }

    /// Adds points to an artist, at the minute in which they were earned.
    fn add(&mut self, artist: ArtistNo, minute: Minute, deltas: &Sums) {
        if *deltas == Sums::default() {
            return;
        }
        self.totals[artist.index()].add(slots_of(minute.get(), self.minute), deltas);
        self.unflushed.rows.add(minute, artist, deltas);
        self.dirty.shown.add(artist.get());
        self.dirty.alltime.add(artist.get());
    }

    /// Brings the shown scores and boards up to date; boards that nothing moved on are shared.
    fn publish(&mut self) {
        let mut moved: [[Vec<Moved>; 4]; SLOTS] = Default::default();
        let dirty = self.dirty.shown.take();
        for &number in &dirty {
            let artist = number as usize;
            let halves = self.shown_scores.halves.iter_mut().zip(self.totals[artist].halves());
            for ((shown, new), moved) in halves.zip(moved.chunks_mut(SLOTS / 2)) {
                while shown.len() <= artist {
                    shown.push_back(HalfOfTotals::default());
                }
                let old = &shown[artist];
                if old == new {
                    continue;
                }
                let scores = old.as_flattened().iter().zip(new.as_flattened());
                for (moved, (&old, &new)) in moved.as_flattened_mut().iter_mut().zip(scores) {
                    if old == new {
                        continue;
                    }
                    if moved.is_empty() {
                        moved.reserve(dirty.len());
                    }
                    moved.push(Moved { number, old, new });
                }
                shown[artist] = *new;
            }
        }
        let boards = self.shown_boards.iter_mut().flatten();
        board::after(boards.zip(moved.into_iter().flatten()), self.artists.ids());
    }
}
