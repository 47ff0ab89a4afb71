//! SPEC 2.6: the profile of a fan.

use std::collections::{BTreeMap, BTreeSet};

use super::Entry;
use super::fraction::Fraction;
use super::metrics::{Total, totals};
use super::moment::Moment;
use super::time::DAY;

#[derive(Clone, Debug, PartialEq)]
pub struct Fan {
    /// Microseconds.
    pub first_seen_at: i64,
    pub last_seen_at: i64,
    pub active_days: i64,
    /// Consecutive active days up to the last one.
    pub streak_days: i64,
    pub metrics: BTreeMap<String, Total>,
    /// Id, name, scored plays.
    pub top_artists: Vec<(String, Option<String>, i64)>,
    pub top_genres: Vec<(String, Fraction)>,
    pub cities: Vec<(String, i64)>,
}

impl Moment<'_> {
    /// Of all time, over every stored entry of the user; none for a user that has none.
    pub fn fan(&self, user: &str) -> Option<Fan> {
        let entries = self.of_subject("user", user);
        let days: BTreeSet<i64> = entries.iter().map(|entry| entry.at.div_euclid(DAY)).collect();
        let last_day = *days.last()?;
        let streak_days = (0..).take_while(|back| days.contains(&(last_day - back))).count() as i64;
        Some(Fan {
            first_seen_at: entries.iter().map(|entry| entry.at).min()?,
            last_seen_at: entries.iter().map(|entry| entry.at).max()?,
            active_days: days.len() as i64,
            streak_days,
            metrics: totals(&entries),
            top_artists: self.top_artists(&entries),
            top_genres: self.genres(&entries).into_iter().take(10).collect(),
            cities: self.cities(&entries),
        })
    }

    fn top_artists(&self, entries: &[&Entry]) -> Vec<(String, Option<String>, i64)> {
        let mut plays: BTreeMap<String, i64> = BTreeMap::new();
        for play in entries.iter().filter(|entry| entry.is_scored_play()) {
            *plays.entry(play.fields.at("artistId").as_text().to_owned()).or_default() += 1;
        }
        let mut artists: Vec<(String, i64)> = plays.into_iter().collect();
        artists.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.as_bytes().cmp(b.0.as_bytes())));
        let named = |(artist, plays): (String, i64)| (artist.clone(), self.name("artist", &artist), plays);
        artists.into_iter().take(10).map(named).collect()
    }
}
