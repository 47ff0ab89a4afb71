//! What readers ask of the metrics of one prefix of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
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
#[derive(Clone)]
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
        self.of(kind, subject).days(&[series], (after, None), &mut |row| total.add(1, row.count, row.sum))?;
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
        range: Span,
        by_day: bool,
        start_of: impl Fn(i64) -> i64,
    ) -> Result<BTreeMap<i64, Bucket>, StoreError> {
        let of = self.of(kind, subject);
        let metrics = Metric::ALL.into_iter().filter(|metric| !metric.is_money());
        let metrics = metrics.map(|metric| Series::metric(metric, None));
        let domains = Domain::ALL.into_iter().filter(|_| kind == SubjectKind::Artist).map(Series::domain);
        let series: Vec<Series> = metrics.chain(domains).chain(of.money()?).collect();
        let mut sums: BTreeMap<(i64, Series), Total> = BTreeMap::new();
        let mut add = |minute: i64, series: u32, count: u64, sum: i128| {
            if let Some((_, series)) = Series::split(series) {
                sums.entry((start_of(minute), series)).or_default().add(1, count, sum);
            }
        };
        match by_day {
            true => {
                of.days(&series, range, &mut |row| add(minute_of(row.key[2], 0), row.key[1], row.count, row.sum))?
            }
            false => of.scan(&series, &[range], &mut |row| {
                add(minute_of(row.key[2], row.key[4]), row.key[1], row.count, row.sum);
            })?,
        }
        let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
        let currencies = self.words.currencies.hold();
        for ((start, series), total) in sums {
            let bucket = buckets.entry(start).or_default();
            match (series.as_metric(), series.as_domain()) {
                (Some((metric, currency)), _) => {
                    let currency = currency.map(|number| Arc::from(&*currencies.name(number)));
                    bucket.metrics.insert((metric, currency), total);
                }
                (None, Some(domain)) => bucket.domains[domain.index()] = total.sum,
                (None, None) => {}
            }
        }
        Ok(buckets)
    }

    /// An artist's micro-points in the order A, T, G, C with `after < minute <= last`.
    pub fn points(&self, artist: u32, after: i64, last: i64) -> Result<[i128; 4], StoreError> {
        let mut sums = [0; 4];
        let of = self.of(SubjectKind::Artist, artist);
        of.days(&Domain::ALL.map(Series::domain), (Some(after), Some(last)), &mut |row| {
            if let Some(domain) = Series::split(row.key[1]).and_then(|(_, series)| series.as_domain()) {
                sums[domain.index()] += row.sum;
            }
        })?;
        Ok(sums)
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

/// `after < minute <= last`, without an end where there is none.
type Span = (Option<i64>, Option<i64>);

/// The rows of one subject.
pub(super) struct Of<'v> {
    kind: SubjectKind,
    subject: u32,
    stored: &'v Result<(Snapshot<5>, Snapshot<4>), String>,
    /// Sorted.
    unstored: Vec<Row<5>>,
}

impl Of<'_> {
    /// The rows of some series with `after < minute <= last` for one of some spans of time, of which no two have a day in
    /// common. Series and spans are in order.
    pub fn scan(&self, series: &[Series], spans: &[Span], each: &mut impl FnMut(&Row<5>)) -> Result<(), StoreError> {
        let range = |series: &Series, (after, last): &Span| {
            let first_day = after.map_or(0, |after| key_of(after + 1)[0]);
            let last_day = last.map_or(u32::MAX, |last| key_of(last)[0]);
            self.range(*series, first_day, last_day)
        };
        let ranges = series.iter().flat_map(|series| spans.iter().map(move |span| range(series, span)));
        // A day's rows are sorted by whom they are of before the minute.
        let mut within = |row: &Row<5>| {
            let minute = minute_of(row.key[2], row.key[4]);
            let is_in = |(after, last): &Span| {
                after.is_none_or(|after| minute > after) && last.is_none_or(|last| minute <= last)
            };
            if spans.iter().any(is_in) {
                each(row);
            }
        };
        self.rows(&ranges.filter(|range| !range.is_empty()).collect::<Vec<_>>(), &mut within)
    }

    /// The rows of some series, in order, with `after < minute <= last`, without their minutes: those of whole days are read
    /// by the day. A day and member may come more than once.
    pub fn days(
        &self,
        series: &[Series],
        (after, last): Span,
        each: &mut impl FnMut(&Row<4>),
    ) -> Result<(), StoreError> {
        let mut of_minutes =
            |row: &Row<5>| each(&Row { key: without_minute(&row.key), count: row.count, sum: row.sum });
        let day_start = |minute: i64| minute.div_euclid(MINUTES_PER_DAY) * MINUTES_PER_DAY;
        let first_whole = after.map(|after| day_start(after + MINUTES_PER_DAY));
        let end_whole = last.map(|last| day_start(last + 1));
        let none_is_whole = first_whole.zip(end_whole).is_some_and(|(first, end)| first >= end);
        if self.kind == SubjectKind::User || none_is_whole {
            return self.scan(series, &[(after, last)], &mut of_minutes);
        }
        let before = first_whole.map(|first| (after, Some(first - 1)));
        let behind = end_whole.map(|end| (Some(end - 1), last));
        let ends: Vec<Span> = before.into_iter().chain(behind).collect();
        self.scan(series, &ends, &mut of_minutes)?;
        let first_day = first_whole.map_or(0, |first| key_of(first)[0]);
        let last_day = end_whole.map_or(u32::MAX, |end| key_of(end - 1)[0]);
        let whole: Vec<_> = series.iter().map(|series| self.range(*series, first_day, last_day)).collect();
        self.by_day(&whole, each)
    }

    /// The series of money that there are: few, of the many that there could be.
    fn money(&self) -> Result<BTreeSet<Series>, StoreError> {
        let mut found = BTreeSet::new();
        let mut note = |number: u32| {
            if let Some((_, series)) = Series::split(number) {
                found.insert(series);
            }
        };
        let all = [*self.range(Series::MONEY, 0, 0).start()..=*self.range(Series::LAST, 0, u32::MAX).end()];
        match self.kind {
            SubjectKind::User => self.rows(&all, &mut |row| note(row.key[1]))?,
            _ => self.by_day(&all, &mut |row| note(row.key[1]))?,
        }
        Ok(found)
    }

    /// The keys of a series from a day to a day.
    fn range(&self, series: Series, first_day: u32, last_day: u32) -> RangeInclusive<[u32; 5]> {
        let series = series.of(self.kind);
        [self.subject, series, first_day, 0, 0]..=[self.subject, series, last_day, u32::MAX, u32::MAX]
    }

    fn stored(&self) -> Result<&(Snapshot<5>, Snapshot<4>), StoreError> {
        self.stored.as_ref().map_err(|problem| StoreError(problem.clone()))
    }

    /// What is not stored, of a range of keys.
    fn unstored(&self, range: &RangeInclusive<[u32; 5]>) -> &[Row<5>] {
        let start = self.unstored.partition_point(|row| row.key < *range.start());
        let end = self.unstored.partition_point(|row| row.key <= *range.end());
        &self.unstored[start..end.max(start)]
    }

    fn rows(&self, ranges: &[RangeInclusive<[u32; 5]>], each: &mut impl FnMut(&Row<5>)) -> Result<(), StoreError> {
        self.stored()?.0.scan_ranges(ranges, each)?;
        ranges.iter().for_each(|range| self.unstored(range).iter().for_each(&mut *each));
        Ok(())
    }

    /// The rows of whole days, by the day. Users have none.
    fn by_day(&self, ranges: &[RangeInclusive<[u32; 5]>], each: &mut impl FnMut(&Row<4>)) -> Result<(), StoreError> {
        let days = ranges.iter().map(|range| without_minute(range.start())..=without_minute(range.end()));
        self.stored()?.1.scan_ranges(&days.collect::<Vec<_>>(), each)?;
        let unstored = ranges.iter().flat_map(|range| self.unstored(range));
        unstored.for_each(|row| each(&Row { key: without_minute(&row.key), count: row.count, sum: row.sum }));
        Ok(())
    }
}

fn without_minute(key: &[u32; 5]) -> [u32; 4] {
    let [subject, series, day, member, _] = *key;
    [subject, series, day, member]
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
