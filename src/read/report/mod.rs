//! The report of an artist: strengths over time, ranks, revenue by week, cities, genres, repeat engagement. All figures are
//! of one view; the three forms ([`json`], [`csv`], [`html`]) show the same [`Report`].

mod csv;
mod format;
mod html;
mod json;
mod svg;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ReadFailure;
use super::analytics::{Strength, dominant_domain, previous, strength};
use crate::coliseum::metrics::{Analytics, Bucket, Days, Granularity, SubjectKind};
use crate::coliseum::{ArtistCard, ArtistNo, View};
use crate::event::Metric;
use crate::units::{Domain, MINUTES_PER_DAY, Minute, Seq, Timestamp, Window};

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Html,
    Csv,
}

impl Format {
    pub const ALL: [Format; 3] = [Format::Json, Format::Html, Format::Csv];

    pub const fn name(self) -> &'static str {
        ["json", "html", "csv"][self as usize]
    }
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
    pub const fn media_type(self) -> &'static str {
        ["application/json", "text/html; charset=utf-8", "text/csv; charset=utf-8"][self as usize]
    }
}

/// Strengths are shown by day up to this many days, by week beyond.
const DAYS_BY_DAY_MAX: u16 = 92;

/// Everything that a report says.
pub struct Report {
    pub card: Arc<ArtistCard>,
    pub as_of: Timestamp,
    pub applied: Seq,
    pub days: Days,
    pub base_currency: String,
    /// By domain, A, T, G, C, and window.
    pub standings: [[Standing; 3]; 4],
    pub dominant: Option<Domain>,
    pub analytics: Analytics,
    /// Of the period, to the minute.
    pub period: Bucket,
    /// How long the buckets of `strengths` are.
    pub granularity: Granularity,
    /// Micro-points by bucket, every bucket of the period.
    pub strengths: Vec<(Timestamp, [i128; 4])>,
    /// Spent less refunded in the base currency, by ISO week, every week of the period.
    pub revenue: Vec<(Timestamp, i128)>,
}

/// Where the artist stands on a board.
pub struct Standing {
    pub strength: Strength,
    pub position: Option<u64>,
    pub rank: Option<u64>,
    pub total: usize,
}

impl Report {
    /// The report over the last days; `None` where the log has never named the artist.
    pub fn of(view: &View, artist_id: &str, days: Days) -> Result<Option<Report>, ReadFailure> {
        let Some(artist) = view.artist(artist_id) else { return Ok(None) };
        let metrics = view.metrics();
        let now = view.minute().get();
        let after = match days {
            Days::Last(days) => Some(now - MINUTES_PER_DAY * i64::from(days)),
            Days::AllTime => None,
        };
        let granularity = match days {
            Days::Last(..=DAYS_BY_DAY_MAX) => Granularity::Day,
            Days::Last(_) | Days::AllTime => Granularity::Week,
        };
        // Whole buckets, from the first one that has begun in the period.
        let range = |granularity: Granularity| (after.map(|after| granularity.start_of(after + MINUTES_PER_DAY)), None);
        let buckets = |granularity: Granularity| {
            metrics.rollups(SubjectKind::Artist, artist.get(), granularity, range(granularity))
        };
        let spent = (Metric::MoneySpent, Some(Arc::from(metrics.base_currency())));
        let revenue = buckets(Granularity::Week)?
            .into_iter()
            .map(|(start, bucket)| (start, bucket.metrics.get(&spent).map_or(0, |total| total.sum)));
        let strengths = buckets(granularity)?.into_iter().map(|(start, bucket)| (start, bucket.domains));
        Ok(Some(Report {
            card: view.cards()[artist.get() as usize].clone(),
            as_of: view.as_of(),
            applied: view.applied(),
            days,
            base_currency: metrics.base_currency().to_owned(),
            standings: standings(view, artist)?,
            dominant: dominant_domain(view, artist),
            analytics: metrics.analytics(artist.get(), view.card(artist), days)?,
            period: metrics.since(SubjectKind::Artist, artist.get(), after)?,
            granularity,
            strengths: filled(strengths.collect(), range(granularity).0, now, granularity),
            revenue: filled(revenue.collect(), range(Granularity::Week).0, now, Granularity::Week),
        }))
    }

    /// The report's bytes.
    pub fn render(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Json => json::render(self),
            Format::Html => html::render(self).into_bytes(),
            Format::Csv => csv::render(self).into_bytes(),
        }
    }
}

fn standings(view: &View, artist: ArtistNo) -> Result<[[Standing; 3]; 4], ReadFailure> {
    let previous = previous(view, artist)?;
    let standing = |domain: Domain, window: Window| {
        let board = view.board(domain, window);
        let found = board.standing_of(artist);
        Standing {
            strength: strength(view, artist, domain, window, &previous),
            position: found.map(|found| found.position),
            rank: found.map(|found| found.rank),
            total: board.total(),
        }
    };
    Ok(Domain::ALL.map(|domain| Window::ALL.map(|window| standing(domain, window))))
}

/// Every bucket from `first` up to now, or from the first that has something to the last, those with nothing too; the last
/// [`BUCKETS_MAX`] of them.
fn filled<T: Default>(
    mut buckets: BTreeMap<i64, T>,
    first: Option<i64>,
    now: i64,
    granularity: Granularity,
) -> Vec<(Timestamp, T)> {
    let mut last = buckets.keys().next_back().copied();
    if first.is_some() {
        last = last.max(Some(granularity.start_of(now)));
    }
    let (Some(first), Some(last)) = (first.or_else(|| buckets.keys().next().copied()), last) else { return Vec::new() };
    let length = granularity.minutes();
    let mut start = first.max(last - (BUCKETS_MAX - 1) * length);
    let mut all = Vec::new();
    while start <= last {
        all.push((Minute::new(start).start(), buckets.remove(&start).unwrap_or_default()));
        start += length;
    }
    all
}

/// Ten years of weeks: a chart with more says nothing any more.
const BUCKETS_MAX: i64 = 520;

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: i64 = 7 * MINUTES_PER_DAY;
    /// A Monday.
    const MONDAY: i64 = 4 * MINUTES_PER_DAY;

    fn starts(buckets: &[i64], first: Option<i64>, now: i64) -> Vec<(i64, i64)> {
        let buckets = buckets.iter().map(|start| (*start, 1)).collect();
        let filled = filled::<i64>(buckets, first, now, Granularity::Week);
        filled.into_iter().map(|(start, value)| (start.minute().get(), value)).collect()
    }

    #[test]
    fn buckets_with_nothing_are_there_and_the_latest_are_kept() {
        let now = MONDAY + 3 * WEEK + 5;
        let expected: Vec<(i64, i64)> = (0..4).map(|week| (MONDAY + week * WEEK, i64::from(week == 1))).collect();
        assert_eq!(starts(&[MONDAY + WEEK], Some(MONDAY), now), expected);
        assert_eq!(
            starts(&[MONDAY + WEEK, MONDAY + 2 * WEEK], None, now),
            [(MONDAY + WEEK, 1), (MONDAY + 2 * WEEK, 1)]
        );
        assert_eq!(starts(&[], None, now), []);
        let long = starts(&[MONDAY, MONDAY + 3_000 * WEEK], None, now);
        assert_eq!((long.len() as i64, long[0].1), (BUCKETS_MAX, 0));
        assert_eq!(long[long.len() - 1].0, MONDAY + 3_000 * WEEK);
        let ahead = starts(&[MONDAY + WEEK], Some(MONDAY), MONDAY + 5);
        assert_eq!(ahead.len(), 2, "an event a little ahead of the clock is shown");
    }
}
