//! Metrics, rollups, top lists and the sets behind the analytics: what was counted of users, artists, events and everything.
//!
//! One event adds to three sets of sorted rows ([`crate::projection::rows`]):
//!
//! | rows | key | what for |
//! | --- | --- | --- |
//! | `subjects` | subject, kind and series, day, fan or genre or city, minute | every answer about one subject |
//! | `minutes` | day, minute, series, user, event, artist (each + 1, 0 for none) | what a passing minute takes out of the windows |
//! | `totals` | kind and series, subject, window | the totals of the top lists, so that a start need not add them up |
//!
//! Answers about one subject are added up from its own rows, to the minute, so that any number of days is exact and
//! nothing per subject is kept for readers. Top lists are kept in order as the windows move: the fold holds every total
//! ([`totals`]), a list its first thousands ([`tops`]).

mod analytics;
mod by_number;
mod series;
mod tops;
mod totals;
mod view;

pub use analytics::{Analytics, Days, Reach, Share};
pub use series::SubjectKind;
pub use totals::Total;
pub use view::{Bucket, Granularity, MetricsView, TopList, TopRow};

use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, TableDefinition};

use super::artists::ArtistNo;
use super::board::Ids;
use super::tables::{self, META, META_TOTALS_MINUTE, failed};
use crate::event::{Metric, fold_city};
use crate::projection::StoreError;
use crate::projection::names::{self, Held, Names};
use crate::projection::rows::{self, Rows};
use crate::units::{Domain, Minute, Window};
use by_number::ByNumber;
use series::{Series, key_of};
use tops::{Shown, Top};
use totals::{Effect, Totals};

const SUBJECTS: rows::Definition = TableDefinition::new("metrics.subjects");
const MINUTES: rows::Definition = TableDefinition::new("metrics.minutes");
const TOTALS: rows::Definition = TableDefinition::new("metrics.totals");
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
    subjects: Rows<5>,
    minutes: Rows<6>,
    stored_totals: Rows<3>,
    totals: Totals,
    /// The minute that the totals are valid at.
    minute: i64,
    tops: imbl::HashMap<(u32, u32), Arc<Shown>>,
    lists: ByNumber<(u32, u32), Top>,
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
    pub fn open(database: &redb::Database, now: Minute) -> Result<Metrics, StoreError> {
        let words = Words {
            users: Arc::new(Names::open(database, USERS)?),
            currencies: Arc::new(Names::open(database, CURRENCIES)?),
            genres: Arc::new(Names::open(database, GENRES)?),
            cities: Arc::new(Names::open(database, CITIES)?),
            city_spellings: Arc::new(Names::open(database, CITY_SPELLINGS)?),
        };
        let mut stored_totals = Rows::open(database, TOTALS, rows::replace)?;
        let transaction = Arc::new(database.begin_read().map_err(failed)?);
        let mut totals = Totals::default();
        let mut restored = Ok(());
        stored_totals.snapshot(&transaction)?.scan(&[0; 3], &[u32::MAX; 3], &mut |row| {
            if restored.is_ok() {
                restored = totals.restore(row.key, Total { count: row.count, sum: row.sum });
            }
        })?;
        restored?;
        let meta = transaction.open_table(META).map_err(failed)?;
        Ok(Metrics {
            words,
            subjects: Rows::open(database, SUBJECTS, rows::add)?,
            minutes: Rows::open(database, MINUTES, rows::add)?,
            stored_totals,
            totals,
            minute: tables::optional(&meta, META_TOTALS_MINUTE)?.unwrap_or(now.get()),
            tops: imbl::HashMap::new(),
            lists: Default::default(),
        })
    }

    pub fn user(&self, id: &str) -> u32 {
        self.words.users.number(id)
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
        let series = self.series(counted.metric, counted.currency);
        let at = key_of(counted.minute.get());
        let amount = (1, counted.sum);
        let effect = self.effect(counted.minute);
        for (kind, subject) in [
            (SubjectKind::User, Some(counted.user)),
            (SubjectKind::Event, counted.event),
            (SubjectKind::Global, Some(0)),
        ] {
            if let Some(subject) = subject {
                self.subjects.add([subject, series.of(kind), at[0], 0, at[1]], 1, counted.sum);
                self.totals.add(kind, subject, series, effect, amount);
            }
        }
        let plus_one = |number: Option<u32>| number.map_or(0, |number| number + 1);
        let row =
            |user, event, artist| [at[0], at[1], series.number(), plus_one(user), plus_one(event), plus_one(artist)];
        self.minutes.add(
            row(Some(counted.user), counted.event, artists.first().map(|artist| artist.get())),
            1,
            counted.sum,
        );
        for artist in artists.iter().skip(1) {
            self.minutes.add(row(None, None, Some(artist.get())), 1, counted.sum);
        }
        for artist in artists {
            self.credit(artist.get(), series, at, effect, counted);
        }
    }

    /// Counts an attendance for an artist that joined the line-up after it.
    pub fn count_late(&mut self, counted: &Counted<'_>, artist: ArtistNo) {
        let artist = artist.get();
        let series = self.series(counted.metric, counted.currency);
        let at = key_of(counted.minute.get());
        self.minutes.add([at[0], at[1], series.number(), 0, 0, artist + 1], 1, counted.sum);
        self.credit(artist, series, at, self.effect(counted.minute), counted);
    }

    fn credit(&mut self, artist: u32, series: Series, at: [u32; 2], effect: Effect, counted: &Counted<'_>) {
        self.totals.add(SubjectKind::Artist, artist, series, effect, (1, counted.sum));
        let genre = |genre: Option<&str>| genre.map_or(0, |genre| self.words.genres.number(genre) + 1);
        let set = |series: Series, member: u32| Some((series, member, i128::default()));
        let rows = [
            Some((series, 0, counted.sum)),
            (!matches!(counted.fan, Fan::No)).then_some((Series::FANS, counted.user, 0)),
            match counted.fan {
                Fan::Paying => set(Series::PAYERS, counted.user),
                Fan::Plays { genre: given } => set(Series::GENRES, genre(given)),
                Fan::No | Fan::Yes => None,
            },
            counted.city.and_then(|city| set(Series::PLACES, city)),
        ];
        for (series, member, sum) in rows.into_iter().flatten() {
            self.subjects.add([artist, series.of(SubjectKind::Artist), at[0], member, at[1]], 1, sum);
        }
    }

    /// Keeps the points that an artist got, for rollups.
    pub fn score(&mut self, artist: u32, minute: Minute, deltas: &[i128; 4]) {
        let at = key_of(minute.get());
        for domain in Domain::ALL {
            let sum = deltas[domain.index()];
            if sum != 0 {
                let series = Series::domain(domain).of(SubjectKind::Artist);
                self.subjects.add([artist, series, at[0], 0, at[1]], 1, sum);
            }
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
        let totals = &mut self.totals;
        for (age, leaves) in EDGES {
            let effect = if from < to { leaves } else { leaves.map(|effect| -effect) };
            let bounds = [key_of(from.min(to) - age + 1), key_of(from.max(to) - age)];
            let [first, last] = bounds;
            let first = [first[0], first[1], 0, 0, 0, 0];
            let last = [last[0], last[1], u32::MAX, u32::MAX, u32::MAX, u32::MAX];
            let mut unknown = false;
            minutes.scan(&first, &last, &mut |row| {
                let [_, _, series, user, event, artist] = row.key;
                let Some((_, series)) = Series::split(series) else {
                    unknown = true;
                    return;
                };
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
            })?;
            if unknown {
                return Err(StoreError("the coliseum tables: a row has no series; the projection is rebuilt".into()));
            }
        }
        self.minute = to;
        Ok(())
    }

    /// Stores what came since the last flush.
    pub fn flush(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
        let Words { users, currencies, genres, cities, city_spellings } = &self.words;
        for words in [users, currencies, genres, cities, city_spellings] {
            words.flush(transaction)?;
        }
        self.subjects.flush(transaction)?;
        self.minutes.flush(transaction)?;
        let Metrics { totals, stored_totals, .. } = self;
        totals.unflushed(&mut |key, total| stored_totals.add(key, total.count, total.sum));
        self.stored_totals.flush(transaction)?;
        let mut meta = transaction.open_table(META).map_err(failed)?;
        tables::put(&mut meta, META_TOTALS_MINUTE, self.minute)
    }

    /// What readers get, at one moment. `artists` and `events` say the ids of their numbers.
    pub fn view(
        &mut self,
        stored: &Result<Arc<ReadTransaction>, StoreError>,
        artists: &impl Ids,
        events: &Arc<Names>,
        base_currency: &Arc<str>,
    ) -> MetricsView {
        self.list(artists, events);
        let rows = match stored {
            Ok(stored) => self.subjects.snapshot(stored).map_err(|StoreError(problem)| problem),
            Err(StoreError(problem)) => Err(problem.clone()),
        };
        MetricsView {
            minute: Minute::new(self.minute),
            users_known: self.words.users.len(),
            currencies_known: self.words.currencies.len(),
            events_known: events.len(),
            words: self.words.clone(),
            events: events.clone(),
            base_currency: base_currency.clone(),
            rows,
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
                let changed = column.unshown.take();
                if changed.is_empty() {
                    continue;
                }
                for window in Window::ALL {
                    let key = (series.of(kind), window.index() as u32);
                    let top = self.lists.entry(key).or_default();
                    let shown = match kind {
                        SubjectKind::User => top.update(column, window, &changed, &users),
                        SubjectKind::Artist => top.update(column, window, &changed, artists),
                        SubjectKind::Event | SubjectKind::Global => top.update(column, window, &changed, &events),
                    };
                    self.tops.insert(key, Arc::new(shown));
                }
            }
        }
    }
}

impl Ids for Held<'_> {
    fn id(&self, number: u32) -> &str {
        self.name(number)
    }
}
