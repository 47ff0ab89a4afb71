//! Metrics, rollups, top lists and the sets behind the analytics: what was counted of users, artists, events and everything.
//!
//! What came since the last flush lies in memory as [`Fact`]s, in the order of the log: nothing is sorted for a view, and
//! readers pass over them. A flush turns them into four sets of sorted rows ([`crate::projection::rows`]):
//!
//! | rows | key | what for |
//! | --- | --- | --- |
//! | `subjects` | subject, kind and series, day, fan or genre or city, minute | every answer about one subject |
//! | `days` | the same without the minute; users have none | whole days of the same, fewer rows by far |
//! | `minutes` | day, minute, series, user, event, artist (each + 1, 0 for none) | what a passing minute takes out of the windows |
//! | `totals` | kind and series, subject, window (3: the counts of all three in one) | the totals of the top lists, since the sweep of [`stored`] last came by |
//!
//! The table `total_chunks` holds all totals, 256 neighbours to a value.
//!
//! Answers about one subject are added up from its own rows, to the minute, so that any number of days is exact and
//! nothing per subject is kept for readers. Top lists are kept in order as the windows move: the fold holds every total
//! ([`totals`]), a list its first thousands ([`tops`]).
//!
//! Rows, names, totals and the minute that these are valid at are flushed in one transaction with the scores: a crash leaves
//! the last commit of all of them, and the runner folds again from its checkpoint.

mod analytics;
mod by_number;
mod chunks;
mod fact;
mod series;
mod stored;
mod tops;
mod totals;
mod view;
mod whole;

pub use analytics::{Analytics, Days, Reach, Share};
pub use series::SubjectKind;
pub use totals::Total;
pub use view::{Bucket, Granularity, MetricsView, TopList, TopRow};
pub use whole::{Part, What, When};

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, TableDefinition};

use super::artists::ArtistNo;
use super::board::Ids;
use super::ledger::Slab;
use super::load::side_by_side;
use super::minutes::Row as PointsRow;
use super::tables::{self, META, META_TOTALS_MINUTE, failed};
use crate::event::{Metric, fold_city};
use crate::passport::{Entry, Parsed};
use crate::projection::StoreError;
use crate::projection::names::{self, Ahead, Held, Names};
use crate::projection::rows::{self, Row, Rows};
use crate::units::Minute;
use fact::{Fact, FanSet, points_rows};
use series::{Series, key_of};
use stored::Stored;
use tops::Shown;
use totals::{Effect, Totals};

const SUBJECTS: rows::Definition = TableDefinition::new("metrics.subjects");
const DAYS: rows::Definition = TableDefinition::new("metrics.days");
const MINUTES: rows::Definition = TableDefinition::new("metrics.minutes");
const USERS: names::Definition = TableDefinition::new("metrics.users");
const CURRENCIES: names::Definition = TableDefinition::new("metrics.currencies");
const GENRES: names::Definition = TableDefinition::new("metrics.genres");
const CITIES: names::Definition = TableDefinition::new("metrics.cities");
const CITY_SPELLINGS: names::Definition = TableDefinition::new("metrics.city_spellings");

/// Every name that a row has the number of.
#[derive(Clone)]
struct Words {
    users: Arc<Names>,
    currencies: Arc<Names>,
    genres: Arc<Names>,
    /// By the form by which cities are equal, and as the log first spelled them: the numbers run in step.
    cities: Arc<Names>,
    city_spellings: Arc<Names>,
}

/// The writing side.
pub(super) struct Metrics {
    words: Words,
    ahead: Ahead,
    facts: Vec<Fact>,
    sealed: Vec<Arc<Vec<Fact>>>,
    /// Taken by changes that may not be committed yet.
    in_flight: Vec<Arc<Vec<Fact>>>,
    subjects: Rows<5>,
    days: Rows<4>,
    minutes: Rows<6>,
    stored_totals: Stored,
    totals: Totals,
    /// The minute that the totals are valid at.
    minute: i64,
    tops: imbl::HashMap<(u32, u32), Arc<Shown>>,
}

/// What came since the last flush.
pub struct Changes {
    names: [names::Changes; 5],
    facts: Vec<Arc<Vec<Fact>>>,
    subjects: rows::Changes<5>,
    days: rows::Changes<4>,
    minutes: rows::Changes<6>,
    totals: stored::Changes,
    /// The totals are valid at it.
    minute: i64,
}

impl Changes {
    /// Writes them; `points` are what artists got in the same time, by minute.
    pub(super) fn write(
        &mut self,
        transaction: &redb::WriteTransaction,
        points: &[PointsRow],
    ) -> Result<(), StoreError> {
        self.names.iter().try_for_each(|names| names.write(transaction))?;
        let facts = std::mem::take(&mut self.facts);
        let facts = || facts.iter().flat_map(|facts| facts.iter());
        let mut rows: Vec<Row<5>> = Vec::with_capacity(facts().count() * 4 + points.len() * 2);
        // Few keys for many facts: merged before they are sorted.
        let mut global: HashMap<[u32; 5], Row<5>> = HashMap::new();
        for fact in facts() {
            fact.subject_rows(&mut |kind, row| match kind {
                SubjectKind::Global => {
                    global.entry(row.key).and_modify(|merged| rows::add(merged, &row)).or_insert(row);
                }
                _ => rows.push(row),
            });
        }
        rows.extend(global.into_values());
        points.iter().for_each(|points| points_rows(points, &mut |row| rows.push(row)));
        self.subjects.sort(&mut rows);
        self.days.write_rows(transaction, by_day(&rows))?;
        self.subjects.write_rows(transaction, rows)?;
        self.minutes.write_rows(transaction, facts().map(Fact::minute_row).collect())?;
        self.totals.write(transaction)?;
        let mut meta = transaction.open_table(META).map_err(failed)?;
        tables::put(&mut meta, META_TOTALS_MINUTE, self.minute)
    }
}

/// One event, as far as it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'e> {
    pub minute: Minute,
    pub user: u32,
    pub event: Option<u32>,
    pub metric: Metric,
    pub currency: Option<&'e str>,
    pub sum: i128,
    pub city: Option<u32>,
    pub fan: Fan<'e>,
}

/// What an event makes of its user, for the artists that it credits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fan<'e> {
    No,
    Yes,
    /// By a payment in the base currency.
    Paying,
    /// By a play that scores.
    Plays {
        genre: Option<&'e str>,
    },
}

/// An age at which rows leave a window.
const EDGES: [(i64, Effect); 2] = [(7 * 1440, [-1, 0, 0]), (30 * 1440, [0, -1, 0])];

impl Metrics {
    /// Reads what is stored; `now` is the minute of a file that holds nothing yet.
    pub fn open(database: &redb::Database, now: Minute, has_threads: bool) -> Result<Metrics, StoreError> {
        let names = |table| Names::open(database, table).map(Arc::new);
        let transaction = Arc::new(database.begin_read().map_err(failed)?);
        let (users, totals) = side_by_side(has_threads, || names(USERS), || Stored::open(database, &transaction));
        let (users, (stored_totals, totals)) = (users?, totals?);
        let words = Words {
            users,
            currencies: names(CURRENCIES)?,
            genres: names(GENRES)?,
            cities: names(CITIES)?,
            city_spellings: names(CITY_SPELLINGS)?,
        };
        let meta = transaction.open_table(META).map_err(failed)?;
        Ok(Metrics {
            words,
            ahead: Ahead::default(),
            facts: Vec::new(),
            sealed: Vec::new(),
            in_flight: Vec::new(),
            subjects: Rows::open(database, SUBJECTS, rows::add)?,
            days: Rows::open(database, DAYS, rows::add)?,
            minutes: Rows::open(database, MINUTES, rows::add)?,
            stored_totals,
            totals,
            minute: tables::optional(&meta, META_TOTALS_MINUTE)?.unwrap_or(now.get()),
            tops: imbl::HashMap::new(),
        })
    }

    pub fn look_ahead(&mut self, entries: &[Parsed<'_>]) {
        self.ahead.look(&self.words.users, entries);
    }
    pub fn user(&self, entry: &Entry<'_>) -> u32 {
        self.ahead.user(&self.words.users, entry)
    }
    /// The number of a city as an event spells it; `None` where that names none.
    pub fn city(&self, spelled: &str) -> Option<u32> {
        let (trimmed, folded) = fold_city(spelled)?;
        Some(self.words.cities.find(&folded).unwrap_or_else(|| {
            // A spelling is one city's, so that it is as new as the city.
            let spelling = self.words.city_spellings.number(trimmed);
            let city = self.words.cities.number(&folded);
            debug_assert_eq!(spelling, city, "both are numbered in step");
            city
        }))
    }

    /// Counts an event for its user, its event, everything, and the artists that it credits.
    pub fn count(&mut self, counted: &Counted<'_>, artists: &[ArtistNo]) {
        let fact = self.fact(counted);
        let effect = self.effect(counted.minute);
        let mut add = |kind, subject| self.totals.add(kind, subject, fact.series, effect, (1, counted.sum));
        add(SubjectKind::User, counted.user);
        add(SubjectKind::Global, 0);
        if let Some(event) = counted.event {
            add(SubjectKind::Event, event);
        }
        artists.iter().for_each(|artist| add(SubjectKind::Artist, artist.get()));
        let first = artists.first().map(|artist| artist.get());
        self.facts.push(Fact { artist: first.map_or(0, plus_one), ..fact });
        for artist in artists.iter().skip(1) {
            self.facts.push(Fact { artist: plus_one(artist.get()), of_artist_only: true, ..fact });
        }
    }

    /// Counts an attendance for an artist that joined the line-up after it.
    pub fn count_late(&mut self, counted: &Counted<'_>, artist: ArtistNo) {
        let fact = self.fact(counted);
        let effect = self.effect(counted.minute);
        self.totals.add(SubjectKind::Artist, artist.get(), fact.series, effect, (1, counted.sum));
        self.facts.push(Fact { artist: plus_one(artist.get()), of_artist_only: true, ..fact });
    }

    fn fact(&self, counted: &Counted<'_>) -> Fact {
        let (set, genre) = match counted.fan {
            Fan::No => (FanSet::None, 0),
            Fan::Yes => (FanSet::Fans, 0),
            Fan::Paying => (FanSet::Payers, 0),
            Fan::Plays { genre } => (FanSet::Plays, genre.map_or(0, |genre| plus_one(self.words.genres.number(genre)))),
        };
        Fact {
            minute: counted.minute.get(),
            series: self.series(counted.metric, counted.currency),
            sum: counted.sum as i64,
            user: counted.user,
            event: counted.event.map_or(0, plus_one),
            artist: 0,
            city: counted.city.map_or(0, plus_one),
            genre,
            set,
            of_artist_only: false,
        }
    }

    fn series(&self, metric: Metric, currency: Option<&str>) -> Series {
        Series::metric(metric, currency.map(|currency| self.words.currencies.number(currency)))
    }

    /// The windows that an event of a minute counts in now.
    fn effect(&self, minute: Minute) -> Effect {
        let mut effect = [1; 3];
        for (age, leaves) in EDGES {
            if minute.get() <= self.minute - age {
                effect.iter_mut().zip(leaves).for_each(|(effect, leaves)| *effect += leaves);
            }
        }
        effect
    }

    /// Moves the windows to a minute, forwards or back.
    pub fn tick(&mut self, database: &redb::Database, to: Minute) -> Result<(), StoreError> {
        let (from, to) = (self.minute, to.get());
        if from == to {
            return Ok(());
        }
        let transaction = Arc::new(database.begin_read().map_err(failed)?);
        let minutes = self.minutes.snapshot(&transaction)?;
        self.forget_stored();
        let Metrics { totals, facts, sealed, in_flight, .. } = self;
        for (age, leaves) in EDGES {
            let effect = if from < to { leaves } else { leaves.map(|effect| -effect) };
            let bounds = [key_of(from.min(to) - age + 1), key_of(from.max(to) - age)];
            let [first, last] = bounds;
            let first = [first[0], first[1], 0, 0, 0, 0];
            let last = [last[0], last[1], u32::MAX, u32::MAX, u32::MAX, u32::MAX];
            let mut move_row = |row: &Row<6>| {
                let [_, _, series, user, event, artist] = row.key;
                let series = Series::from_number(series);
                let mut move_one = |kind, number: u32| {
                    totals.add(kind, number, series, effect, (row.count, row.sum));
                };
                if user > 0 {
                    move_one(SubjectKind::User, user - 1);
                    move_one(SubjectKind::Global, 0);
                }
                if event > 0 {
                    move_one(SubjectKind::Event, event - 1);
                }
                if artist > 0 {
                    move_one(SubjectKind::Artist, artist - 1);
                }
            };
            minutes.scan(&first, &last, &mut move_row)?;
            let unflushed = in_flight.iter().chain(&*sealed).flat_map(|facts| facts.iter()).chain(&*facts);
            for row in unflushed.map(Fact::minute_row).filter(|row| (first..=last).contains(&row.key)) {
                move_row(&row);
            }
        }
        self.minute = to;
        Ok(())
    }

    /// Takes what came since the last changes.
    pub fn changes(&mut self) -> Changes {
        let Words { users, currencies, genres, cities, city_spellings } = &self.words;
        let names = [users, currencies, genres, cities, city_spellings].map(Names::changes);
        self.seal();
        self.in_flight = std::mem::take(&mut self.sealed);
        Changes {
            names,
            facts: self.in_flight.clone(),
            subjects: self.subjects.changes(),
            days: self.days.changes(),
            minutes: self.minutes.changes(),
            totals: self.stored_totals.changes(&mut self.totals),
            minute: self.minute,
        }
    }

    /// Goes on from changes that are written.
    pub fn written(&mut self, changes: Changes) {
        self.subjects.written(changes.subjects);
        self.days.written(changes.days);
        self.minutes.written(changes.minutes);
        self.stored_totals.written(changes.totals);
    }

    /// Closes what is open, so that it can be shared.
    fn seal(&mut self) {
        if !self.facts.is_empty() {
            let next = Vec::with_capacity(self.facts.len());
            self.sealed.push(Arc::new(std::mem::replace(&mut self.facts, next)));
        }
    }

    /// Drops the facts that the last snapshot holds as rows.
    fn forget_stored(&mut self) {
        if self.minutes.is_stored() {
            self.in_flight.clear();
        }
    }

    /// What readers get, at one moment. `artists` and `events` say the ids of their numbers; `points` are those
    /// that `stored` does not hold.
    pub fn view(
        &mut self,
        stored: &Result<Arc<ReadTransaction>, StoreError>,
        artists: &impl Ids,
        events: &Arc<Names>,
        base_currency: &Arc<str>,
        points: Vec<Arc<Slab>>,
    ) -> MetricsView {
        self.list(artists, events);
        self.seal();
        let rows = match stored {
            Ok(stored) => self.subjects.snapshot(stored).and_then(|rows| Ok((rows, self.days.snapshot(stored)?))),
            Err(StoreError(problem)) => Err(StoreError(problem.clone())),
        };
        let rows = rows.map_err(|StoreError(problem)| problem);
        let is_stored = rows.is_ok() && self.subjects.is_stored();
        if is_stored {
            self.in_flight.clear();
        }
        MetricsView {
            minute: Minute::new(self.minute),
            users_known: self.words.users.len(),
            currencies_known: self.words.currencies.len(),
            events_known: events.len(),
            words: self.words.clone(),
            events: events.clone(),
            base_currency: base_currency.clone(),
            rows,
            facts: self.in_flight.iter().chain(&self.sealed).cloned().collect(),
            points,
            global: self.totals.global().clone(),
            tops: self.tops.clone(),
        }
    }

    /// Brings the lists up to date.
    fn list(&mut self, artists: &impl Ids, events: &Arc<Names>) {
        let (users, events) = (self.words.users.clone(), events.clone());
        let (users, events) = (users.hold(), events.hold());
        for kind in SubjectKind::LISTED {
            for (series, column) in self.totals.columns_mut(kind) {
                let shown = match kind {
                    SubjectKind::User => column.update_tops(&users),
                    SubjectKind::Artist => column.update_tops(artists),
                    SubjectKind::Event | SubjectKind::Global => column.update_tops(&events),
                };
                for (window, shown) in (0..).zip(shown.into_iter().flatten()) {
                    self.tops.insert((series.of(kind), window), Arc::new(shown));
                }
            }
        }
    }
}

impl Ids for Held<'_> {
    fn id(&self, number: u32) -> Cow<'_, str> {
        self.name(number)
    }
    fn order(&self, one: u32, other: u32) -> Ordering {
        Held::order(self, one, other)
    }
}

/// Sorted rows without their minutes. Users have few rows a day, and are left out.
fn by_day(rows: &[Row<5>]) -> Vec<Row<4>> {
    let is_kept = |row: &&Row<5>| Series::split(row.key[1]).is_some_and(|(kind, _)| kind != SubjectKind::User);
    let mut days: Vec<Row<4>> = Vec::with_capacity(rows.len());
    for row in rows.iter().filter(is_kept) {
        let [subject, series, day, member, _] = row.key;
        let row = Row { key: [subject, series, day, member], count: row.count, sum: row.sum };
        match days.last_mut() {
            Some(last) if last.key == row.key => rows::add(last, &row),
            _ => days.push(row),
        }
    }
    days
}

/// A number as a part of a key in which 0 is none.
const fn plus_one(number: u32) -> u32 {
    number + 1
}
