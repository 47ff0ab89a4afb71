//! The profiles of all fans from a list of entries, as plainly as it can be said: whatever each user did, in a list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compact::Numbered;
use super::parts::{FEW_ROWS, Part, by_few};
use super::{Differences, Recomputed};
use crate::event::{Currency, Facts, Metric, fold_city};
use crate::mediaid::{Artist, City, Fan, Genre, Setup, TOP, Total, View};
use crate::passport::Entry;
use crate::units::Timestamp;

const DAY_MICROS: i64 = 86_400_000_000;

/// What one user did, once.
struct Deed {
    /// By the place in the part.
    user: u32,
    at: Timestamp,
    measure: Option<(Metric, Option<Currency>)>,
    sum: i128,
    /// A scored play: of which artist, with which genre of its own.
    play: Option<(u32, Option<u32>)>,
    city: Option<u32>,
}

/// Name and genres of an artist.
type Profile = (String, Vec<String>);

pub struct Recomputation {
    setup: Setup,
    part: Part,
    /// How many users the entries have.
    known_users: u32,
    artists: Numbered,
    genres: Numbered,
    /// Of the users of the part, in the order of the log.
    deeds: Vec<Deed>,
    /// By artist.
    profiles: BTreeMap<u32, Profile>,
    /// By folded name, and as spelled first.
    cities: Numbered,
    spellings: Vec<String>,
}

impl Recomputation {
    pub fn new(setup: Setup, part: Part) -> Recomputation {
        Recomputation {
            setup,
            part,
            known_users: 0,
            artists: Numbered::default(),
            genres: Numbered::default(),
            deeds: Vec::new(),
            profiles: BTreeMap::new(),
            cities: Numbered::default(),
            spellings: Vec::new(),
        }
    }

    /// What a user did gives the profile.
    fn fan(&self, deeds: &[Deed]) -> Fan {
        let days: BTreeSet<i64> = deeds.iter().map(|deed| deed.at.micros().div_euclid(DAY_MICROS)).collect();
        let mut streak_days = 0;
        while days.last().is_some_and(|last| days.contains(&(last - streak_days))) {
            streak_days += 1;
        }
        let mut metrics: BTreeMap<(Metric, Option<Currency>), (u64, i128)> = BTreeMap::new();
        let mut cities: BTreeMap<u32, u64> = BTreeMap::new();
        for deed in deeds {
            if let Some(measure) = deed.measure {
                let (count, sum) = metrics.entry(measure).or_default();
                (*count, *sum) = (*count + 1, *sum + deed.sum);
            }
            if let Some(city) = deed.city {
                *cities.entry(city).or_default() += 1;
            }
        }
        let metrics =
            metrics.into_iter().map(|((metric, currency), (count, sum))| Total { metric, currency, count, sum });
        let mut cities: Vec<(u32, u64)> = cities.into_iter().collect();
        cities.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| self.cities.name(a.0).cmp(self.cities.name(b.0))));
        let city = |(city, count): (u32, u64)| City { name: self.spellings[city as usize].clone(), count };
        let times = || deeds.iter().map(|deed| deed.at);
        Fan {
            first_seen_at: times().min().unwrap_or_default(),
            last_seen_at: times().max().unwrap_or_default(),
            active_days: days.len() as u64,
            streak_days: streak_days as u64,
            metrics: metrics.collect(),
            top_artists: self.top_artists(deeds),
            top_genres: self.top_genres(deeds),
            cities: cities.into_iter().map(city).collect(),
        }
    }

    fn top_artists(&self, deeds: &[Deed]) -> Vec<Artist> {
        let mut plays: BTreeMap<u32, u64> = BTreeMap::new();
        deeds.iter().filter_map(|deed| deed.play).for_each(|(artist, _)| *plays.entry(artist).or_default() += 1);
        let mut plays: Vec<(u32, u64)> = plays.into_iter().collect();
        plays.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| self.artists.name(a.0).cmp(self.artists.name(b.0))));
        let name = |artist| self.profiles.get(&artist).map(|(name, _)| name.clone());
        let told = |(artist, plays)| Artist { id: self.artists.name(artist).to_owned(), name: name(artist), plays };
        plays.into_iter().take(TOP).map(told).collect()
    }

    fn top_genres(&self, deeds: &[Deed]) -> Vec<Genre> {
        let mut counts: BTreeMap<(u32, Option<u32>), u64> = BTreeMap::new();
        deeds.iter().filter_map(|deed| deed.play).for_each(|play| *counts.entry(play).or_default() += 1);
        let mut plays: BTreeMap<&str, f64> = BTreeMap::new();
        for ((artist, own), count) in counts {
            let genres = match (own, self.profiles.get(&artist)) {
                (Some(genre), _) => vec![self.genres.name(genre)],
                (None, Some((_, genres))) => genres.iter().map(String::as_str).collect(),
                (None, None) => Vec::new(),
            };
            for genre in &genres {
                *plays.entry(genre).or_default() += count as f64 / genres.len() as f64;
            }
        }
        let mut plays: Vec<(&str, f64)> = plays.into_iter().collect();
        // Equal sums of fractions may differ in their last bits.
        plays.sort_by(|a, b| whole(b.1).total_cmp(&whole(a.1)).then(a.0.cmp(b.0)));
        plays.into_iter().take(TOP).map(|(name, plays)| Genre { name: name.to_owned(), plays }).collect()
    }

    fn compare_fan(&self, view: &View, id: &str, deeds: &[Deed], found: &mut Differences) {
        let mut fan = view.fan(id);
        let mut expected = Some(self.fan(deeds));
        // Sums of fractions are compared to a billionth of a play.
        for fan in [fan.as_mut().ok().and_then(Option::as_mut), expected.as_mut()].into_iter().flatten() {
            fan.top_genres.iter_mut().for_each(|genre| genre.plays = whole(genre.plays));
        }
        found.compare_read(&format!("the fan {id:?}"), fan, &expected);
    }
}

/// In billionths of a play.
fn whole(plays: f64) -> f64 {
    (plays * 1e9).round()
}

impl Recomputed for Recomputation {
    type View = View;

    fn add(&mut self, entry: &Entry<'_>, facts: &Facts<'_>, user: u32) -> Result<(), String> {
        self.known_users = self.known_users.max(user + 1);
        let city = facts.city().and_then(fold_city).map(|(spelled, folded)| {
            let city = self.cities.number(&folded);
            if self.spellings.len() <= city as usize {
                self.spellings.push(spelled.to_owned());
            }
            city
        });
        if let Some(user) = self.part.place(user) {
            let measure = facts.measure();
            let play = match facts {
                Facts::Played { artist_id, genre, .. } if facts.is_scored_play(self.setup.min_play_seconds) => {
                    let genre = genre.as_ref().map(|genre| self.genres.number(genre));
                    Some((self.artists.number(artist_id), genre))
                }
                _ => None,
            };
            self.deeds.push(Deed {
                user: user as u32,
                at: entry.at(),
                sum: measure.as_ref().map_or(0, |measure| measure.sum),
                measure: measure.map(|measure| (measure.metric, measure.currency.and_then(Currency::of))),
                play,
                city,
            });
        }
        if let Facts::Profile { artist_id, artist_name, genres, .. } = facts {
            let profile = self.profiles.entry(self.artists.number(artist_id)).or_default();
            profile.0 = artist_name.to_string();
            if let Some(genres) = genres {
                profile.1 = genres.iter().map(|genre| genre.to_string()).collect();
            }
        }
        Ok(())
    }

    fn compare(
        mut self,
        view: &View,
        users: &Arc<Numbered>,
        found: &mut Differences,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Recomputation> {
        if self.part.is_first() {
            found.compare("how many users there are", &view.known_users(), &self.known_users);
        }
        let mut deeds = std::mem::take(&mut self.deeds);
        deeds.sort_by_key(|deed| deed.user);
        let of_users: Vec<&[Deed]> = deeds.chunk_by(|a, b| a.user == b.user).collect();
        let id = |deeds: &&[Deed]| users.name(self.part.number(deeds[0].user as usize));
        let narrowed = |few: &[&[Deed]]| view.of_users(few.iter().map(id), FEW_ROWS).ok().flatten();
        by_few(view, &of_users, &narrowed, goes_on, &mut |view, deeds| {
            self.compare_fan(view, id(deeds), deeds, found);
        });
        self.part.next().map(|part| Recomputation::new(self.setup, part))
    }
}
