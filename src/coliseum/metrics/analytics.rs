//! The analytics functions of one artist: SPEC 2.4. Exact, from the artist's own rows.

use std::collections::BTreeMap;

use super::series::{Series, SubjectKind};
use super::view::{MetricsView, Of};
use crate::coliseum::ArtistCard;
use crate::event::Metric;
use crate::projection::StoreError;
use crate::units::MINUTES_PER_DAY;

/// How far back to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    /// 1 to 365.
    Last(u16),
    AllTime,
}

/// What the four functions give. A quotient over nothing is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Analytics {
    /// Users with a fan event that credits the artist.
    pub fans: u64,
    /// Fans active on two or more UTC days.
    pub repeat_fans: u64,
    /// Users with a payment in the base currency.
    pub paying_fans: u64,
    /// Spent less refunded, in the base currency.
    pub revenue_cents: i128,
    /// By share, then by genre.
    pub genres: Vec<Share>,
    pub reach: Reach,
}

/// A genre's part of the scored plays.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub genre: String,
    pub share: f64,
}

/// Where an artist's attendances and plays were.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    pub cities: u64,
    pub effective_cities: Option<f64>,
    /// The first ten, by count, then by name.
    pub top: Vec<(String, u64)>,
}

/// Cities that an answer lists.
const CITIES_LISTED: usize = 10;

impl Analytics {
    /// `1 - sum(p^2)` over the genres' shares.
    pub fn genre_diversity(&self) -> Option<f64> {
        let squares: f64 = self.genres.iter().map(|genre| genre.share * genre.share).sum();
        (!self.genres.is_empty()).then_some(1.0 - squares)
    }
    /// How many genres of equal shares would be as diverse.
    pub fn effective_genres(&self) -> Option<f64> {
        effective(self.genres.iter().map(|genre| genre.share))
    }
    pub fn repeat_rate(&self) -> Option<f64> {
        quotient(self.repeat_fans as i128, self.fans)
    }
    pub fn revenue_per_fan(&self) -> Option<f64> {
        quotient(self.revenue_cents, self.fans)
    }
    pub fn revenue_per_paying_fan(&self) -> Option<f64> {
        quotient(self.revenue_cents, self.paying_fans)
    }
}

/// `None` over nothing.
pub fn quotient(dividend: i128, divisor: u64) -> Option<f64> {
    (divisor > 0).then(|| dividend as f64 / divisor as f64)
}

/// `exp(-sum(p ln p))`.
fn effective(shares: impl Iterator<Item = f64>) -> Option<f64> {
    let mut any = false;
    let entropy: f64 = shares.inspect(|_| any = true).map(|share| -share * share.ln()).sum();
    any.then(|| entropy.exp())
}

impl MetricsView {
    /// The four functions over the last days, or all time. `card` is the artist's: its genres are those of plays without.
    pub fn analytics(&self, artist: u32, card: &ArtistCard, days: Days) -> Result<Analytics, StoreError> {
        let after = match days {
            Days::Last(days) => Some(self.minute.get() - MINUTES_PER_DAY * i64::from(days)),
            Days::AllTime => None,
        };
        let of = &self.of(SubjectKind::Artist, artist);
        let fans = self.days_seen(of, Series::FANS, after)?;
        let payers = self.days_seen(of, Series::PAYERS, after)?;
        let mut revenue_cents = 0;
        if let Some(series) = self.series_of(Metric::MoneySpent, &self.base_currency) {
            of.days(series, (after, None), &mut |row| revenue_cents += row.sum)?;
        }
        Ok(Analytics {
            fans: fans.users,
            repeat_fans: fans.repeat_users,
            paying_fans: payers.users,
            revenue_cents,
            genres: self.genres(of, card, after)?,
            reach: self.reach(of, after)?,
        })
    }

    fn days_seen(&self, of: &Of<'_>, set: Series, after: Option<i64>) -> Result<DaysSeen, StoreError> {
        let mut seen = DaysSeen::of(self.users_known);
        of.members(set, after, &mut |day, user, _| seen.note(day, user))?;
        Ok(seen)
    }

    fn genres(&self, of: &Of<'_>, card: &ArtistCard, after: Option<i64>) -> Result<Vec<Share>, StoreError> {
        let mut plays: BTreeMap<u32, u64> = BTreeMap::new();
        of.members(Series::GENRES, after, &mut |_, genre, count| *plays.entry(genre).or_default() += count)?;
        let ungiven = plays.remove(&0).unwrap_or(0);
        // In whole parts of a play, of which each has as many as the profile has genres: fractions would not add up.
        let parts = card.genres.len().max(1) as u64;
        let mut weights: BTreeMap<String, u64> = BTreeMap::new();
        let names = self.words.genres.hold();
        for (genre, count) in plays {
            *weights.entry(names.name(genre - 1).into_owned()).or_default() += count * parts;
        }
        drop(names);
        if ungiven > 0 {
            for genre in &card.genres {
                *weights.entry(genre.to_string()).or_default() += ungiven;
            }
        }
        let all: u64 = weights.values().sum();
        let mut weights: Vec<(String, u64)> = weights.into_iter().collect();
        weights.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let share = |(genre, weight)| Share { genre, share: weight as f64 / all as f64 };
        Ok(weights.into_iter().map(share).collect())
    }

    fn reach(&self, of: &Of<'_>, after: Option<i64>) -> Result<Reach, StoreError> {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        of.members(Series::PLACES, after, &mut |_, city, count| *counts.entry(city).or_default() += count)?;
        let all: u64 = counts.values().sum();
        let effective_cities = effective(counts.values().map(|count| *count as f64 / all as f64));
        let mut cities: Vec<(u32, u64)> = counts.into_iter().collect();
        let listed = cities.len() as u64;
        {
            let folded = self.words.cities.hold();
            cities.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| folded.order(a.0, b.0)));
        }
        cities.truncate(CITIES_LISTED);
        let spelled = self.words.city_spellings.hold();
        let top = cities.into_iter().map(|(city, count)| (spelled.name(city).into_owned(), count)).collect();
        Ok(Reach { cities: listed, effective_cities, top })
    }
}

/// Users of a set, and those of two or more days, counted as rows come: in whatever order, some more than once.
struct DaysSeen {
    /// By a user's number: the one day of it, [`NEVER`] or [`SEVERAL`].
    days: Vec<u32>,
    users: u64,
    repeat_users: u64,
}

/// No timestamp is of these days.
const NEVER: u32 = 0;
const SEVERAL: u32 = 1;

impl DaysSeen {
    fn of(users_known: u32) -> DaysSeen {
        DaysSeen { days: vec![NEVER; users_known as usize], users: 0, repeat_users: 0 }
    }

    fn note(&mut self, day: u32, user: u32) {
        let seen = &mut self.days[user as usize];
        if *seen == NEVER {
            *seen = day;
            self.users += 1;
        } else if *seen != day && *seen != SEVERAL {
            *seen = SEVERAL;
            self.repeat_users += 1;
        }
    }
}

impl Of<'_> {
    /// Calls `each` with day, member and count of the rows of one of an artist's sets.
    fn members(
        &self,
        series: Series,
        after: Option<i64>,
        each: &mut impl FnMut(u32, u32, u64),
    ) -> Result<(), StoreError> {
        self.days(series, (after, None), &mut |row| each(row.key[2], row.key[3], row.count))
    }
}
