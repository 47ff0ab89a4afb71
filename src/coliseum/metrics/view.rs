//! What readers ask of the metrics of one prefix of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Words;
use super::by_number::ByNumber;
use super::fact::{Fact, points_rows};
use super::series::{Series, SubjectKind, key_of, minute_of};
use super::tops::Shown;
use super::totals::Total;
use crate::coliseum::board::Ids;
use crate::coliseum::ledger::Slab;
use crate::event::Metric;
use crate::projection::StoreError;
use crate::projection::names::Names;
use crate::projection::rows::{Row, Snapshot};
use crate::units::{Domain, MINUTES_PER_DAY, Minute, Window};

/// Immutable; of the same entries and minute as the [`super::super::View`] that holds it.
pub struct MetricsView {
    pub(super) minute: Minute,
    /// How many names were numbered by then.
    pub(super) users_known: u32,
    pub(super) currencies_known: u32,
    pub(super) events_known: u32,
    pub(super) words: Words,
    pub(super) events: Arc<Names>,
    pub(super) base_currency: Arc<str>,
    /// An error is kept until somebody needs the rows.
    pub(super) rows: Result<(Snapshot<5>, Snapshot<4>), String>,
    /// What `rows` does not hold: facts in the order of the log, and the points of artists.
    pub(super) facts: Vec<Arc<Vec<Fact>>>,
    pub(super) points: Vec<Arc<Slab>>,
    pub(super) global: ByNumber<Series, [Total; 3]>,
    pub(super) tops: imbl::HashMap<(u32, u32), Arc<Shown>>,
}

/// The first of a top list.
pub struct TopList {
    /// Subjects with a count over 0.
    pub total: u64,
    pub rows: Vec<TopRow>,
}

/// One line of a top list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    pub position: u64,
    /// Shared by equal sums.
    pub rank: u64,
    pub number: u32,
    pub id: String,
    pub total: Total,
}

/// How long a rollup's bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    Hour,
    Day,
    /// ISO weeks, from Monday, in UTC.
    Week,
}

impl Granularity {
    pub const ALL: [Granularity; 3] = [Granularity::Hour, Granularity::Day, Granularity::Week];

    pub const fn name(self) -> &'static str {
        ["hour", "day", "week"][self as usize]
    }
    pub fn from_name(name: &str) -> Option<Granularity> {
        Granularity::ALL.into_iter().find(|granularity| granularity.name() == name)
    }
    pub const fn minutes(self) -> i64 {
        [60, MINUTES_PER_DAY, 7 * MINUTES_PER_DAY][self as usize]
    }
    /// The first minute of the bucket that holds a minute.
    pub fn start_of(self, minute: i64) -> i64 {
        let days_since_monday = |day: i64| (day + EPOCH_WEEKDAY).rem_euclid(7);
        match self {
            Granularity::Hour => minute.div_euclid(60) * 60,
            Granularity::Day => minute.div_euclid(MINUTES_PER_DAY) * MINUTES_PER_DAY,
            Granularity::Week => {
                let day = minute.div_euclid(MINUTES_PER_DAY);
                (day - days_since_monday(day)) * MINUTES_PER_DAY
            }
        }
    }
}

/// 1970-01-01 was a Thursday: three days after Monday.
const EPOCH_WEEKDAY: i64 = 3;

/// What happened in one bucket of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// By metric, and of money by currency; only what was counted.
    pub metrics: BTreeMap<(Metric, Option<Arc<str>>), Total>,
    /// An artist's micro-points in the order A, T, G, C.
    pub domains: [i128; 4],
}

impl MetricsView {
    /// The number of a user that the log has named.
    pub fn user(&self, id: &str) -> Option<u32> {
        self.words.users.find(id).filter(|number| *number < self.users_known)
    }
    /// The number of an event that the log has named.
    pub fn event(&self, id: &str) -> Option<u32> {
        self.events.find(id).filter(|number| *number < self.events_known)
    }
    /// Users that the log has named.
    pub fn users(&self) -> u32 {
        self.users_known
    }
    pub fn base_currency(&self) -> &str {
        &self.base_currency
    }

    pub(super) fn series_of(&self, metric: Metric, currency: &str) -> Option<Series> {
        if !metric.is_money() {
            return Some(Series::metric(metric, None));
        }
        let currency = self.words.currencies.find(currency).filter(|number| *number < self.currencies_known)?;
        Some(Series::metric(metric, Some(currency)))
    }

    /// A metric of one subject in a window; `currency` is only looked at for money.
    pub fn total(
        &self,
        kind: SubjectKind,
        subject: u32,
        metric: Metric,
        currency: &str,
        window: Window,
    ) -> Result<Total, StoreError> {
        let Some(series) = self.series_of(metric, currency) else { return Ok(Total::default()) };
        if kind == SubjectKind::Global {
            return Ok(self.global.get(&series).map_or_else(Total::default, |totals| totals[window.index()]));
        }
        let after = window.minutes().map(|minutes| self.minute.get() - minutes);
        let mut total = Total::default();
        self.of(kind, subject).days(series, (after, None), &mut |row| total.add(1, row.count, row.sum))?;
        Ok(total)
    }

    /// The first `limit` subjects of a metric in a window, at most a thousand. `artists` say the ids of their numbers.
    pub fn top(
        &self,
        kind: SubjectKind,
        metric: Metric,
        currency: &str,
        window: Window,
        limit: usize,
        artists: &impl Ids,
    ) -> TopList {
        let series = self.series_of(metric, currency);
        let shown = series.and_then(|series| self.tops.get(&(series.of(kind), window.index() as u32)));
        let Some(shown) = shown else { return TopList { total: 0, rows: Vec::new() } };
        let rows = match kind {
            SubjectKind::User => top_rows(shown, limit, &self.words.users.hold()),
            SubjectKind::Artist => top_rows(shown, limit, artists),
            SubjectKind::Event | SubjectKind::Global => top_rows(shown, limit, &self.events.hold()),
        };
        TopList { total: shown.total, rows }
    }

    /// What happened to a subject by buckets whose start lies in `from..to` (minutes), empty ones left out.
    pub fn rollups(
        &self,
        kind: SubjectKind,
        subject: u32,
        granularity: Granularity,
        (from, to): (Option<i64>, Option<i64>),
    ) -> Result<BTreeMap<i64, Bucket>, StoreError> {
        // The last minute before the first bucket that starts at a minute or later.
        let before = |minute: i64| match granularity.start_of(minute) {
            start if start == minute => minute - 1,
            start => start + granularity.minutes() - 1,
        };
        let range = (from.map(before), to.map(before));
        let by_day = granularity != Granularity::Hour;
        let mut buckets = self.gather(kind, subject, range, by_day, |minute| granularity.start_of(minute))?;
        buckets.retain(|_, bucket| !bucket.metrics.is_empty() || bucket.domains != [0; 4]);
        Ok(buckets)
    }

    /// What happened to a subject after a minute, or ever.
    pub fn since(&self, kind: SubjectKind, subject: u32, after: Option<i64>) -> Result<Bucket, StoreError> {
        let mut buckets = self.gather(kind, subject, (after, None), true, |_| 0)?;
        Ok(buckets.remove(&0).unwrap_or_default())
    }

    /// What happened to a subject with `after < minute <= last`, by what `start_of` makes of the minute, or of the first
    /// minute of the day where `by_day`.
    fn gather(
        &self,
        kind: SubjectKind,
        subject: u32,
        range: (Option<i64>, Option<i64>),
        by_day: bool,
        start_of: impl Fn(i64) -> i64,
    ) -> Result<BTreeMap<i64, Bucket>, StoreError> {
        let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
        let of = self.of(kind, subject);
        let money = of.money()?.into_iter();
        let metrics = Metric::ALL.into_iter().filter(|metric| !metric.is_money());
        let metrics = metrics.map(|metric| Series::metric(metric, None)).chain(money);
        let domains = Domain::ALL.into_iter().filter(|_| kind == SubjectKind::Artist).map(Series::domain);
        for series in metrics.chain(domains) {
            let metric = series.as_metric();
            let metric = metric.map(|(metric, currency)| {
                (metric, currency.map(|number| Arc::from(&*self.words.currencies.hold().name(number))))
            });
            let mut add = |minute: i64, count: u64, sum: i128| {
                let bucket = buckets.entry(start_of(minute)).or_default();
                match (&metric, series.as_domain()) {
                    (Some(metric), _) => bucket.metrics.entry(metric.clone()).or_default().add(1, count, sum),
                    (None, Some(domain)) => bucket.domains[domain.index()] += sum,
                    (None, None) => {}
                }
            };
            match by_day {
                true => of.days(series, range, &mut |row| add(minute_of(row.key[2], 0), row.count, row.sum))?,
                false => of.scan(series, range.0, range.1, &mut |row| {
                    add(minute_of(row.key[2], row.key[4]), row.count, row.sum);
                })?,
            }
        }
        Ok(buckets)
    }

    /// An artist's micro-points in one domain with `after < minute <= last`.
    pub fn points(&self, artist: u32, domain: Domain, after: i64, last: i64) -> Result<i128, StoreError> {
        let mut sum = 0;
        let of = self.of(SubjectKind::Artist, artist);
        of.days(Series::domain(domain), (Some(after), Some(last)), &mut |row| sum += row.sum)?;
        Ok(sum)
    }

    /// The rows of one subject. What is not stored is gathered here, once for all that is asked of it.
    pub(super) fn of(&self, kind: SubjectKind, subject: u32) -> Of<'_> {
        let mut unstored = Vec::new();
        let facts = self.facts.iter().flat_map(|facts| facts.iter());
        for fact in facts.filter(|fact| fact.is_of(kind, subject)) {
            fact.subject_rows(&mut |of_kind, row| {
                if of_kind == kind {
                    unstored.push(row);
                }
            });
        }
        if kind == SubjectKind::Artist {
            let points = self.points.iter().flat_map(|slab| &slab.rows);
            for points in points.filter(|points| points.artist.get() == subject) {
                points_rows(points, &mut |row| unstored.push(row));
            }
        }
        unstored.sort_unstable_by_key(|row| row.key);
        Of { kind, subject, stored: &self.rows, unstored }
    }
}

/// The rows of one subject.
pub(super) struct Of<'v> {
    kind: SubjectKind,
    subject: u32,
    stored: &'v Result<(Snapshot<5>, Snapshot<4>), String>,
    /// Sorted.
    unstored: Vec<Row<5>>,
}

impl Of<'_> {
    /// The rows of one series with `after < minute <= last`.
    pub fn scan(
        &self,
        series: Series,
        after: Option<i64>,
        last: Option<i64>,
        each: &mut impl FnMut(&Row<5>),
    ) -> Result<(), StoreError> {
        let series = series.of(self.kind);
        let [first_day, first_minute] = after.map_or([0, 0], |after| key_of(after + 1));
        let [last_day, last_minute] = last.map_or([u32::MAX, u32::MAX], key_of);
        let first = [self.subject, series, first_day, 0, 0];
        let last = [self.subject, series, last_day, u32::MAX, u32::MAX];
        // The days at both ends are sorted by whom they are of before the minute.
        self.rows(&first, &last, &mut |row| {
            let (day, minute) = (row.key[2], row.key[4]);
            if (day > first_day || minute >= first_minute) && (day < last_day || minute <= last_minute) {
                each(row);
            }
        })
    }

    fn stored(&self) -> Result<&(Snapshot<5>, Snapshot<4>), StoreError> {
        self.stored.as_ref().map_err(|problem| StoreError(problem.clone()))
    }

    /// The rows of one series with `after < minute <= last`, without their minutes: those of whole days are read by the day.
    /// A day and member may come more than once.
    pub fn days(
        &self,
        series: Series,
        (after, last): (Option<i64>, Option<i64>),
        each: &mut impl FnMut(&Row<4>),
    ) -> Result<(), StoreError> {
        let mut of_minutes = |row: &Row<5>| {
            let [subject, series, day, member, _] = row.key;
            each(&Row { key: [subject, series, day, member], count: row.count, sum: row.sum });
        };
        let day_start = |minute: i64| minute.div_euclid(MINUTES_PER_DAY) * MINUTES_PER_DAY;
        // The minutes before the first whole day and behind the last one.
        let first_whole = after.map(|after| day_start(after + MINUTES_PER_DAY));
        let end_whole = last.map(|last| day_start(last + 1));
        let none_is_whole = first_whole.zip(end_whole).is_some_and(|(first, end)| first >= end);
        if self.kind == SubjectKind::User || none_is_whole {
            return self.scan(series, after, last, &mut of_minutes);
        }
        if let Some(first_whole) = first_whole {
            self.scan(series, after, Some(first_whole - 1), &mut of_minutes)?;
        }
        if let Some(end_whole) = end_whole {
            self.scan(series, Some(end_whole - 1), last, &mut of_minutes)?;
        }
        let number = series.of(self.kind);
        let first_day = first_whole.map_or(0, |first| key_of(first)[0]);
        let last_day = end_whole.map_or(u32::MAX, |end| key_of(end - 1)[0]);
        let (first, last) = ([self.subject, number, first_day], [self.subject, number, last_day]);
        let unstored = |key: [u32; 3], member: u32| [key[0], key[1], key[2], member, member];
        self.unstored(&unstored(first, 0), &unstored(last, u32::MAX)).iter().for_each(of_minutes);
        let day = |key: [u32; 3], member: u32| [key[0], key[1], key[2], member];
        self.stored()?.1.scan(&day(first, 0), &day(last, u32::MAX), each)
    }

    /// The series of money that there are: few, of the many that there could be.
    fn money(&self) -> Result<BTreeSet<Series>, StoreError> {
        let mut found = BTreeSet::new();
        let mut note = |number: u32| {
            if let Some((_, series)) = Series::split(number) {
                found.insert(series);
            }
        };
        let (first, last) = (Series::MONEY.of(self.kind), Series::LAST.of(self.kind));
        let (first, last) = ([self.subject, first, 0, 0, 0], [self.subject, last, u32::MAX, u32::MAX, u32::MAX]);
        match self.kind {
            SubjectKind::User => self.rows(&first, &last, &mut |row| note(row.key[1]))?,
            _ => {
                let of_days = |key: [u32; 5]| [key[0], key[1], key[2], key[3]];
                self.stored()?.1.scan(&of_days(first), &of_days(last), &mut |row| note(row.key[1]))?;
                self.unstored(&first, &last).iter().for_each(|row| note(row.key[1]));
            }
        }
        Ok(found)
    }

    /// What is not stored, of a range of keys.
    fn unstored(&self, first: &[u32; 5], last: &[u32; 5]) -> &[Row<5>] {
        let start = self.unstored.partition_point(|row| row.key < *first);
        let end = self.unstored.partition_point(|row| row.key <= *last);
        &self.unstored[start..end.max(start)]
    }

    fn rows(&self, first: &[u32; 5], last: &[u32; 5], each: &mut impl FnMut(&Row<5>)) -> Result<(), StoreError> {
        self.stored()?.0.scan(first, last, each)?;
        self.unstored(first, last).iter().for_each(each);
        Ok(())
    }
}

fn top_rows(shown: &Shown, limit: usize, ids: &impl Ids) -> Vec<TopRow> {
    let listed = shown.in_order(ids).iter().take(limit);
    let mut rows: Vec<TopRow> = Vec::with_capacity(listed.len());
    for (position, &(number, total)) in (1..).zip(listed) {
        let rank = match rows.last() {
            Some(above) if above.total.sum == total.sum => above.rank,
            _ => position,
        };
        rows.push(TopRow { position, rank, number, id: ids.id(number).into_owned(), total });
    }
    rows
}
