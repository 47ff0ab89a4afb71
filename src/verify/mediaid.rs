//! The profiles of all fans from a list of entries, as plainly as it can be said: whatever each user did, in maps.

use std::collections::{BTreeMap, BTreeSet};

use super::{Differences, Recomputed};
use crate::event::{Currency, Facts, Metric, fold_city};
use crate::mediaid::{Artist, City, Fan, Genre, Setup, TOP, Total, View};
use crate::passport::Entry;
use crate::units::Timestamp;

const DAY_MICROS: i64 = 86_400_000_000;

/// What one user did.
#[derive(Default)]
struct Deeds {
    times: Vec<Timestamp>,
    metrics: BTreeMap<(Metric, Option<Currency>), (u64, i128)>,
    /// Scored plays by artist and the genre that they carry.
    plays: BTreeMap<(String, Option<String>), u64>,
    /// By folded name.
    cities: BTreeMap<String, u64>,
}

/// Name and genres of an artist.
type Profile = (String, Vec<String>);

pub struct Recomputation {
    setup: Setup,
    users: BTreeMap<String, Deeds>,
    profiles: BTreeMap<String, Profile>,
    /// By folded name, as spelled first.
    cities: BTreeMap<String, String>,
}

impl Recomputation {
    pub fn new(setup: Setup) -> Recomputation {
        Recomputation { setup, users: BTreeMap::new(), profiles: BTreeMap::new(), cities: BTreeMap::new() }
    }

    fn fan(&self, deeds: &Deeds) -> Fan {
        let days: BTreeSet<i64> = deeds.times.iter().map(|at| at.micros().div_euclid(DAY_MICROS)).collect();
        let mut streak_days = 0;
        while days.last().is_some_and(|last| days.contains(&(last - streak_days))) {
            streak_days += 1;
        }
        let metrics = deeds.metrics.iter().map(|((metric, currency), (count, sum))| Total {
            metric: *metric,
            currency: *currency,
            count: *count,
            sum: *sum,
        });
        let mut cities: Vec<(&String, &u64)> = deeds.cities.iter().collect();
        cities.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let city = |(folded, count): (&String, &u64)| City { name: self.cities[folded].clone(), count: *count };
        Fan {
            first_seen_at: deeds.times.iter().min().copied().unwrap_or_default(),
            last_seen_at: deeds.times.iter().max().copied().unwrap_or_default(),
            active_days: days.len() as u64,
            streak_days: streak_days as u64,
            metrics: metrics.collect(),
            top_artists: self.top_artists(deeds),
            top_genres: self.top_genres(deeds),
            cities: cities.into_iter().map(city).collect(),
        }
    }

    fn top_artists(&self, deeds: &Deeds) -> Vec<Artist> {
        let mut plays: BTreeMap<&String, u64> = BTreeMap::new();
        deeds.plays.iter().for_each(|((artist, _), count)| *plays.entry(artist).or_default() += count);
        let mut plays: Vec<(&String, u64)> = plays.into_iter().collect();
        plays.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let name = |id: &String| self.profiles.get(id).map(|(name, _)| name.clone());
        let artist = |(id, plays): (&String, u64)| Artist { id: id.clone(), name: name(id), plays };
        plays.into_iter().take(TOP).map(artist).collect()
    }

    fn top_genres(&self, deeds: &Deeds) -> Vec<Genre> {
        let mut plays: BTreeMap<&String, f64> = BTreeMap::new();
        for ((artist, own), count) in &deeds.plays {
            let genres = match (own, self.profiles.get(artist)) {
                (Some(genre), _) => std::slice::from_ref(genre),
                (None, Some((_, genres))) => genres.as_slice(),
                (None, None) => &[],
            };
            for genre in genres {
                *plays.entry(genre).or_default() += *count as f64 / genres.len() as f64;
            }
        }
        let mut plays: Vec<(&String, f64)> = plays.into_iter().collect();
        // Equal sums of fractions may differ in their last bits.
        let whole = |plays: f64| (plays * 1e9).round();
        plays.sort_by(|a, b| whole(b.1).total_cmp(&whole(a.1)).then(a.0.cmp(b.0)));
        plays.into_iter().take(TOP).map(|(name, plays)| Genre { name: name.clone(), plays }).collect()
    }
}

impl Recomputed for Recomputation {
    type View = View;

    fn add(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let envelope = &entry.envelope;
        let facts = Facts::of_stored(envelope.event_type, envelope.payload).map_err(|problem| problem.to_string())?;
        let deeds = self.users.entry(envelope.user_id.to_owned()).or_default();
        deeds.times.push(entry.at());
        if let Some(measure) = facts.measure() {
            let key = (measure.metric, measure.currency.and_then(Currency::of));
            let (count, sum) = deeds.metrics.entry(key).or_default();
            *count += 1;
            *sum += measure.sum;
        }
        if let Some((spelled, folded)) = facts.city().and_then(fold_city) {
            self.cities.entry(folded.clone()).or_insert_with(|| spelled.to_owned());
            *deeds.cities.entry(folded).or_default() += 1;
        }
        match &facts {
            Facts::Played { artist_id, genre, .. } if facts.is_scored_play(self.setup.min_play_seconds) => {
                let key = (artist_id.to_string(), genre.as_ref().map(|genre| genre.to_string()));
                *deeds.plays.entry(key).or_default() += 1;
            }
            Facts::Profile { artist_id, artist_name, genres, .. } => {
                let profile = self.profiles.entry(artist_id.to_string()).or_default();
                profile.0 = artist_name.to_string();
                if let Some(genres) = genres {
                    profile.1 = genres.iter().map(|genre| genre.to_string()).collect();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn compare(self, view: &View, found: &mut Differences) {
        found.compare("how many users there are", &(view.known_users() as usize), &self.users.len());
        for (id, deeds) in &self.users {
            let mut fan = view.fan(id);
            let mut expected = Some(self.fan(deeds));
            // Sums of fractions are compared to a billionth of a play.
            for genre in [fan.as_mut().ok().and_then(Option::as_mut), expected.as_mut()].into_iter().flatten() {
                genre.top_genres.iter_mut().for_each(|genre| genre.plays = (genre.plays * 1e9).round() / 1e9);
            }
            found.compare_read(&format!("the fan {id:?}"), fan, &expected);
        }
    }
}
