//! The analytics functions of one artist: SPEC 2.4. Exact, from the artist's own rows.

use std::collections::BTreeMap;

use super::series::{Series, SubjectKind};
use super::view::MetricsView;
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
        let revenue = self.series_of(Metric::MoneySpent, &self.base_currency);
        let (mut fans, mut payers) = (DaysSeen::of(self.users_known), DaysSeen::of(self.users_known));
        let mut genres: BTreeMap<u32, u64> = BTreeMap::new();
        let mut cities: BTreeMap<u32, u64> = BTreeMap::new();
        let mut revenue_cents = 0;
        let series = [Series::FANS, Series::PAYERS, Series::GENRES, Series::PLACES];
        let series: Vec<Series> = series.into_iter().chain(revenue).collect();
        self.of(SubjectKind::Artist, artist).days(&series, (after, None), &mut |row| {
            let [_, series, day, member] = row.key;
            match Series::split(series) {
                Some((_, Series::FANS)) => fans.note(day, member),
                Some((_, Series::PAYERS)) => payers.note(day, member),
                Some((_, Series::GENRES)) => *genres.entry(member).or_default() += row.count,
                Some((_, Series::PLACES)) => *cities.entry(member).or_default() += row.count,
                Some((_, series)) if Some(series) == revenue => revenue_cents += row.sum,
                _ => {}
            }
        })?;
        let (fans, repeat_fans) = fans.users();
        let (paying_fans, _) = payers.users();
        Ok(Analytics {
            fans,
            repeat_fans,
            paying_fans,
            revenue_cents,
            genres: self.genres(genres, card),
            reach: self.reach(cities),
        })
    }

    /// `plays` are by genre.
    fn genres(&self, mut plays: BTreeMap<u32, u64>, card: &ArtistCard) -> Vec<Share> {
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
        weights.into_iter().map(share).collect()
    }

    /// `counts` are by city.
    fn reach(&self, counts: BTreeMap<u32, u64>) -> Reach {
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
        Reach { cities: listed, effective_cities, top }
    }
}

/// Days on which users were seen, as rows come: in whatever order, some more than once.
enum DaysSeen {
    /// To be sorted: the user in the higher half, the day in the lower. Of so many users as there are, few have one.
    Few { days: Vec<u64>, users_known: u32 },
    /// Of each user that there is, by its number, the one day, [`NEVER`] or [`SEVERAL`].
    Many { seen: Vec<u32>, users: u64, repeat_users: u64 },
}

/// Few are one day for so many users.
const FEW: usize = 16;
/// No timestamp is of these days.
const NEVER: u32 = 0;
const SEVERAL: u32 = 1;

impl DaysSeen {
    fn of(users_known: u32) -> DaysSeen {
        DaysSeen::Few { days: Vec::new(), users_known }
    }

    fn note(&mut self, day: u32, user: u32) {
        match self {
            DaysSeen::Few { days, users_known } => {
                days.push(u64::from(user) << 32 | u64::from(day));
                if days.len() > *users_known as usize / FEW {
                    let seen = vec![NEVER; *users_known as usize];
                    let few = std::mem::replace(self, DaysSeen::Many { seen, users: 0, repeat_users: 0 });
                    if let DaysSeen::Few { days, .. } = few {
                        days.into_iter().for_each(|pair| self.note(pair as u32, (pair >> 32) as u32));
                    }
                }
            }
            DaysSeen::Many { seen, users, repeat_users } => {
                let seen = &mut seen[user as usize];
                if *seen == NEVER {
                    *seen = day;
                    *users += 1;
                } else if *seen != day && *seen != SEVERAL {
                    *seen = SEVERAL;
                    *repeat_users += 1;
                }
            }
        }
    }

    /// How many users there are, and how many of them were seen on two or more days.
    fn users(self) -> (u64, u64) {
        match self {
            DaysSeen::Few { mut days, .. } => {
                days.sort_unstable();
                days.dedup();
                let users = || days.chunk_by(|one, next| one >> 32 == next >> 32);
                (users().count() as u64, users().filter(|days| days.len() > 1).count() as u64)
            }
            DaysSeen::Many { users, repeat_users, .. } => (users, repeat_users),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fans_and_repeat_fans_are_counted_alike_whether_they_are_many_or_few(
            seen in prop::collection::vec((0u32..40, 2u32..6), 0..200),
        ) {
            // Where there are so many users, those seen stay few.
            let mut days = [40, 40 * 200].map(DaysSeen::of);
            let mut model: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (user, day) in seen {
                days.iter_mut().for_each(|days| days.note(day, user));
                model.entry(user).or_default().insert(day);
            }
            let expected = (model.len() as u64, model.values().filter(|days| days.len() > 1).count() as u64);
            prop_assert_eq!(days.map(DaysSeen::users), [expected; 2]);
        }
    }
}
