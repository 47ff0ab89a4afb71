//! What readers hold: the fans of one prefix of the log, immutable. A fan is summed up from its rows when it is asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use ethnum::U256;

use super::rows::{CITY, DAY, METRIC, PLAYED, SEEN, damaged, day_from, metric_from, seen_last};
use super::{Numbers, Profile, Setup};
use crate::event::{Currency, Metric};
use crate::limits::GENRES_MAX;
use crate::projection::StoreError;
use crate::projection::kept::Shared;
use crate::projection::names::Names;
use crate::projection::rows::{Row, Snapshot};
use crate::units::{Seq, Timestamp};

/// Artists and genres that a profile names.
pub const TOP: usize = 10;

/// One prefix of the log.
pub struct View {
    pub(super) applied: Seq,
    pub(super) setup: Setup,
    /// Numbers from here on are of later entries.
    pub(super) known_users: u32,
    pub(super) numbers: Arc<Numbers>,
    pub(super) profiles: Shared<Profile>,
    /// An error is kept until somebody needs the tables.
    pub(super) fans: Result<Snapshot<4>, String>,
}

/// Everything that is told of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct Fan {
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// Distinct days of UTC with an entry.
    pub active_days: u64,
    /// Consecutive ones that end at the last.
    pub streak_days: u64,
    /// By metric, then currency; none without an event.
    pub metrics: Vec<Total>,
    /// The first [`TOP`] by plays, then id.
    pub top_artists: Vec<Artist>,
    /// The first [`TOP`] by plays, then name.
    pub top_genres: Vec<Genre>,
    /// By count, then folded name.
    pub cities: Vec<City>,
}

/// What a user did of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    pub metric: Metric,
    /// Of money only.
    pub currency: Option<Currency>,
    pub count: u64,
    /// Cents of money, millionths of votes, else the count.
    pub sum: i128,
}

/// An artist that a user played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artist {
    pub id: String,
    /// `None` until a profile names the artist.
    pub name: Option<String>,
    pub plays: u64,
}

/// A genre that a user played; a play of several is split evenly over them.
#[derive(Clone, Debug, PartialEq)]
pub struct Genre {
    pub name: String,
    pub plays: f64,
}

/// A city that a user was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct City {
    /// As the log spelled it first.
    pub name: String,
    pub count: u64,
}

/// The rows of one user, merged.
#[derive(Default)]
struct Gathered {
    seen: Option<Row<4>>,
    days: BTreeSet<i64>,
    metrics: BTreeMap<[u32; 2], (u64, i128)>,
    /// By artist and genre + 1.
    played: BTreeMap<[u32; 2], u64>,
    cities: BTreeMap<u32, u64>,
}

impl Gathered {
    fn take(&mut self, row: &Row<4>) {
        let [_, kind, x, y] = row.key;
        match kind {
            SEEN => match &mut self.seen {
                Some(seen) => super::rows::merge(seen, row),
                none => *none = Some(*row),
            },
            DAY => _ = self.days.insert(day_from(x)),
            METRIC => {
                let (count, sum) = self.metrics.entry([x, y]).or_default();
                *count += row.count;
                *sum += row.sum;
            }
            PLAYED => *self.played.entry([x, y]).or_default() += row.count,
            CITY => *self.cities.entry(x).or_default() += row.count,
            _ => {}
        }
    }
}

impl View {
    /// The last entry folded.
    pub fn applied(&self) -> Seq {
        self.applied
    }
    pub fn setup(&self) -> Setup {
        self.setup
    }
    /// How many users the log has.
    pub fn known_users(&self) -> u32 {
        self.known_users
    }

    /// The profile of a user; `None` where no entry has it. Costs what that user has rows.
    pub fn fan(&self, user_id: &str) -> Result<Option<Fan>, StoreError> {
        let known = self.numbers.users.find(user_id).filter(|user| *user < self.known_users);
        let Some(user) = known else { return Ok(None) };
        let fans = self.fans.as_ref().map_err(|problem| StoreError(problem.clone()))?;
        let mut rows = Gathered::default();
        fans.scan_ranges(&[rows_of(user)], &mut |row| rows.take(row))?;
        let seen = rows.seen.as_ref().ok_or_else(|| damaged("a user was never seen"))?;
        let time = |micros| i64::try_from(micros).map(Timestamp::from_micros).map_err(|_| damaged("a time is none"));
        let last = rows.days.last().copied().unwrap_or_default();
        let streak_days = rows.days.iter().rev().zip(0..).take_while(|(day, ago)| **day == last - ago).count() as u64;
        let metrics = rows.metrics.iter().map(|(key, (count, sum))| {
            metric_from(*key).map(|(metric, currency)| Total { metric, currency, count: *count, sum: *sum })
        });
        Ok(Some(Fan {
            first_seen_at: time(seen.sum)?,
            last_seen_at: time(seen_last(seen))?,
            active_days: rows.days.len() as u64,
            streak_days,
            metrics: metrics.collect::<Result<_, _>>()?,
            top_artists: self.top_artists(&rows)?,
            top_genres: self.top_genres(&rows)?,
            cities: self.cities(&rows)?,
        }))
    }

    /// A view of some users with their rows in memory, for who asks for all of them. `None`: there are more than `most`.
    pub fn of_users<'i>(&self, ids: impl Iterator<Item = &'i str>, most: usize) -> Result<Option<View>, StoreError> {
        let mut users: Vec<u32> = ids.filter_map(|id| self.numbers.users.find(id)).collect();
        users.sort_unstable();
        let rows: Vec<_> = users.into_iter().map(rows_of).collect();
        let fans = self.fans.as_ref().map_err(|problem| StoreError(problem.clone()))?.within(&rows, most)?;
        let narrowed =
            |fans| View { numbers: self.numbers.clone(), profiles: self.profiles.clone(), fans: Ok(fans), ..*self };
        Ok(fans.map(narrowed))
    }

    fn top_artists(&self, rows: &Gathered) -> Result<Vec<Artist>, StoreError> {
        let mut plays: BTreeMap<u32, u64> = BTreeMap::new();
        rows.played.iter().for_each(|([artist, _], count)| *plays.entry(*artist).or_default() += count);
        let ids = named(&self.numbers.artists, plays.keys().copied())?;
        let mut top: Vec<(u32, Artist)> = plays
            .into_iter()
            .zip(ids)
            .map(|((artist, plays), id)| (artist, Artist { id, name: None, plays }))
            .collect();
        top.sort_by(|(_, a), (_, b)| b.plays.cmp(&a.plays).then_with(|| a.id.cmp(&b.id)));
        top.truncate(TOP);
        let with_name = |(artist, mut told): (u32, Artist)| {
            told.name = self.profiles.get(&artist).map(|profile| profile.name.clone());
            told
        };
        Ok(top.into_iter().map(with_name).collect())
    }

    /// A play counts for its own genre, else for those of its artist's profile, each entry of the list alike.
    fn top_genres(&self, rows: &Gathered) -> Result<Vec<Genre>, StoreError> {
        let own: BTreeSet<u32> = rows.played.keys().filter_map(|[_, genre]| genre.checked_sub(1)).collect();
        let own: HashMap<u32, String> =
            own.iter().copied().zip(named(&self.numbers.genres, own.iter().copied())?).collect();
        let mut shares: HashMap<&str, Shares> = HashMap::new();
        for ([artist, genre], plays) in &rows.played {
            match (genre.checked_sub(1), self.profiles.get(artist)) {
                (Some(genre), _) => shares.entry(&own[&genre]).or_default().add(1, *plays),
                (None, Some(profile)) => {
                    let parts = profile.genres.len();
                    profile.genres.iter().for_each(|genre| shares.entry(genre).or_default().add(parts, *plays));
                }
                (None, None) => {}
            }
        }
        let mut top: Vec<(U256, &str, f64)> =
            shares.into_iter().map(|(genre, shares)| (shares.exact(), genre, shares.plays())).collect();
        top.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        Ok(top.into_iter().take(TOP).map(|(_, name, plays)| Genre { name: name.to_owned(), plays }).collect())
    }

    fn cities(&self, rows: &Gathered) -> Result<Vec<City>, StoreError> {
        let folded = named(&self.numbers.cities, rows.cities.keys().copied())?;
        let spelled = named(&self.numbers.spellings, rows.cities.keys().copied())?;
        let counts = rows.cities.values().copied();
        let mut cities: Vec<(String, City)> =
            folded.into_iter().zip(spelled.into_iter().zip(counts).map(|(name, count)| City { name, count })).collect();
        cities.sort_by(|(a, of_a), (b, of_b)| of_b.count.cmp(&of_a.count).then_with(|| a.cmp(b)));
        Ok(cities.into_iter().map(|(_, city)| city).collect())
    }
}

/// The keys of a user's rows.
fn rows_of(user: u32) -> RangeInclusive<[u32; 4]> {
    [user, 0, 0, 0]..=[user, u32::MAX, u32::MAX, u32::MAX]
}

/// The names of numbers, in their order.
fn named(names: &Names, numbers: impl Iterator<Item = u32>) -> Result<Vec<String>, StoreError> {
    let known = names.len();
    let held = names.hold();
    let name = |number| match number < known {
        true => Ok(held.name(number).into_owned()),
        false => Err(damaged("a row names what has no name")),
    };
    numbers.map(name).collect()
}

/// Plays that count for a genre, by into how many parts each was split: exact, so that equal ones are told to be equal.
#[derive(Default)]
struct Shares(BTreeMap<usize, u64>);

impl Shares {
    fn add(&mut self, parts: usize, plays: u64) {
        *self.0.entry(parts).or_default() += plays;
    }

    fn plays(&self) -> f64 {
        self.0.iter().map(|(parts, plays)| *plays as f64 / *parts as f64).sum()
    }

    /// In parts of a play of which there are [`PARTS`].
    fn exact(&self) -> U256 {
        self.0.iter().map(|(parts, plays)| *PARTS / U256::from(*parts as u128) * U256::from(*plays)).sum()
    }
}

/// So many parts of a play that every split of it is a whole number of them: under 2^137.
static PARTS: LazyLock<U256> = LazyLock::new(|| {
    let splits = (1..=GENRES_MAX as u128).map(U256::from);
    splits.fold(U256::ONE, |parts, split| parts / gcd(parts, split) * split)
});

fn gcd(a: U256, b: U256) -> U256 {
    if b == U256::ZERO { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_are_equal_are_told_to_be_equal_whatever_they_were_split_into() {
        let shares = |parts: &[(usize, u64)]| {
            let mut shares = Shares::default();
            parts.iter().for_each(|(parts, plays)| shares.add(*parts, *plays));
            shares
        };
        let one = shares(&[(1, 1)]);
        for parts in [&[(2, 1), (3, 1), (6, 1)][..], &[(7, 7)], &[(97, 97)], &[(100, 49), (100, 51)]] {
            assert_eq!(shares(parts).exact(), one.exact(), "{parts:?}");
            assert!((shares(parts).plays() - 1.0).abs() < 1e-12, "{parts:?}");
        }
        assert!(shares(&[(97, 96)]).exact() < one.exact());
        assert!(shares(&[(1, u64::MAX)]).exact() > shares(&[(2, u64::MAX)]).exact(), "the most plays do not overflow");
    }
}
