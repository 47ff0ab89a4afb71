//! What is kept of one artist beside its totals: what happened on each day, and who its fans are.

use std::collections::BTreeMap;

use super::{Deed, Lines, Sum, windows_of};
use crate::units::{MINUTES_PER_DAY, Window};
use crate::verify::compact::Set;

/// What happened on one UTC day.
#[derive(Clone, Debug, Default)]
pub(super) struct Day {
    pub lines: Lines<Sum>,
    pub points: [i128; 4],
}

/// The sets behind the analytics, of one span of time.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// Users with the day of a fan event.
    fans: Set<(u32, i32)>,
    payers: Set<u32>,
    /// Scored plays by the number of the genre that they carry.
    pub plays: BTreeMap<Option<u32>, u64>,
    /// Attendances and plays by the number of the city.
    pub places: BTreeMap<u32, u64>,
}

impl Sets {
    fn add(&mut self, deed: &Deed) {
        if deed.is_of_a_fan {
            // No timestamp is beyond the days of 28 bits.
            self.fans.insert((deed.user, deed.minute.div_euclid(MINUTES_PER_DAY) as i32));
        }
        if deed.is_paid_in_base {
            self.payers.insert(deed.user);
        }
        if let Some(genre) = deed.genre {
            *self.plays.entry(genre).or_default() += 1;
        }
        if let Some(city) = deed.city {
            *self.places.entry(city).or_default() += 1;
        }
    }

    /// How many fans there are, and how many of them came on two days or more.
    pub fn fans(&mut self) -> (u64, u64) {
        let fans = self.fans.members();
        let of_users = || fans.chunk_by(|a, b| a.0 == b.0);
        (of_users().count() as u64, of_users().filter(|days| days.len() > 1).count() as u64)
    }
    pub fn payers(&mut self) -> u64 {
        self.payers.members().len() as u64
    }
}

#[derive(Debug, Default)]
pub(super) struct Artist {
    /// By day since 1970.
    pub days: BTreeMap<i64, Day>,
    /// By window and domain.
    pub points: [[i128; 4]; 3],
    /// Of the last 30 days, and of all time.
    pub recent: Sets,
    pub ever: Sets,
}

impl Artist {
    pub fn add(&mut self, deed: &Deed, now: i64) {
        self.day(deed.minute).lines.at(deed.line).add(1, deed.of_one());
        self.ever.add(deed);
        if Window::Days30.minutes().is_some_and(|minutes| deed.minute > now - minutes) {
            self.recent.add(deed);
        }
    }

    pub fn add_points(&mut self, minute: i64, now: i64, points: [i128; 4]) {
        self.day(minute).points.iter_mut().zip(points).for_each(|(sum, points)| *sum += points);
        for window in windows_of(now, minute) {
            self.points[window.index()].iter_mut().zip(points).for_each(|(sum, points)| *sum += points);
        }
    }

    pub fn day(&mut self, minute: i64) -> &mut Day {
        self.days.entry(minute.div_euclid(MINUTES_PER_DAY)).or_default()
    }
}
