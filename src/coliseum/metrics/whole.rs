//! Everything that a view has counted, in one pass, for who checks all of it.

use std::sync::Arc;

use super::fact::points_rows;
use super::series::{Series, SubjectKind, minute_of};
use super::totals::Total;
use super::view::MetricsView;
use crate::event::Metric;
use crate::projection::StoreError;
use crate::projection::rows::Row;
use crate::units::Domain;

/// A part of what was counted of one subject; the others may come in any order.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub kind: SubjectKind,
    pub subject: u32,
    pub what: What,
    pub when: When,
    pub total: Total,
}

/// Everything is kept twice: by the minute, and but for users by the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Minute(i64),
    /// Its first minute.
    Day(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Of money with the number of the currency.
    Metric(Metric, Option<u32>),
    /// Micro-points of an artist; the count says nothing.
    Points(Domain),
}

impl MetricsView {
    /// Calls `each` with everything that totals and rollups are added up from, in no order.
    pub fn for_each_part(&self, each: &mut impl FnMut(Part)) -> Result<(), StoreError> {
        let mut take = |subject: u32, series: u32, when: When, total: Total| {
            let Some((kind, series)) = Series::split(series) else { return };
            let what = match (series.as_metric(), series.as_domain()) {
                (Some((metric, currency)), _) => What::Metric(metric, currency),
                (None, Some(domain)) => What::Points(domain),
                // A set.
                (None, None) => return,
            };
            each(Part { kind, subject, what, when, total });
        };
        let total = |count: u64, sum: i128| Total { count, sum };
        let (minutes, days) = self.rows.as_ref().map_err(|problem| StoreError(problem.clone()))?;
        minutes.scan(&[0; 5], &[u32::MAX; 5], &mut |row| {
            let [subject, series, day, _, minute] = row.key;
            take(subject, series, When::Minute(minute_of(day, minute)), total(row.count, row.sum));
        })?;
        days.scan(&[0; 4], &[u32::MAX; 4], &mut |row| {
            let [subject, series, day, _] = row.key;
            take(subject, series, When::Day(minute_of(day, 0)), total(row.count, row.sum));
        })?;
        let mut unstored = |kind: SubjectKind, row: &Row<5>| {
            let [subject, series, day, _, minute] = row.key;
            take(subject, series, When::Minute(minute_of(day, minute)), total(row.count, row.sum));
            if kind != SubjectKind::User {
                take(subject, series, When::Day(minute_of(day, 0)), total(row.count, row.sum));
            }
        };
        for fact in self.facts.iter().flat_map(|facts| facts.iter()) {
            fact.subject_rows(&mut |kind, row| unstored(kind, &row));
        }
        for points in self.points.iter().flat_map(|slab| &slab.rows) {
            points_rows(points, &mut |row| unstored(SubjectKind::Artist, &row));
        }
        Ok(())
    }

    /// A view of some artists with what is kept of them in memory, for who asks for all of them; they are sorted. `None`: that
    /// is more than `most` rows.
    pub fn of_artists(&self, artists: &[u32], most: usize) -> Result<Option<MetricsView>, StoreError> {
        let (minutes, days) = self.rows.as_ref().map_err(|problem| StoreError(problem.clone()))?;
        let (first, last) = (Series::FIRST.of(SubjectKind::Artist), Series::LAST.of(SubjectKind::Artist));
        let of = |artist: &u32| [*artist, first, 0, 0, 0]..=[*artist, last, u32::MAX, u32::MAX, u32::MAX];
        let by_day = |artist: &u32| [*artist, first, 0, 0]..=[*artist, last, u32::MAX, u32::MAX];
        let minutes = minutes.within(&artists.iter().map(of).collect::<Vec<_>>(), most)?;
        let days = days.within(&artists.iter().map(by_day).collect::<Vec<_>>(), most)?;
        let is_one = |artist: u32| artists.binary_search(&artist).is_ok();
        let facts = self.facts.iter().flat_map(|facts| facts.iter());
        let facts = facts.filter(|fact| fact.artist.checked_sub(1).is_some_and(is_one)).copied().collect();
        Ok(minutes.zip(days).map(|rows| MetricsView { rows: Ok(rows), facts: vec![Arc::new(facts)], ..self.clone() }))
    }

    /// Events that the log has named.
    pub fn events(&self) -> u32 {
        self.events_known
    }
    /// The currencies that money came in, by number.
    pub fn currencies(&self) -> Vec<String> {
        let names = self.words.currencies.hold();
        (0..self.currencies_known).map(|number| names.name(number).into_owned()).collect()
    }
}
