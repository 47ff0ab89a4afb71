//! Line-ups by log order: who was on an event's line-up when, and which attendances that credits. Pure.
//!
//! A line-up is a list of [`Stay`]s, in the order in which artists joined; a stay that has ended stays in the list,
//! because attendances before its end keep their credit. An attendance credits an artist through the one stay with
//! `since < seq < removed`: at its own time if the artist had joined by then, else when the artist joined.

use crate::units::{Seq, Timestamp};

use super::artists::ArtistNo;

/// An artist's time on a line-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    pub artist: ArtistNo,
    /// When the artist was last taken off before this stay; `Seq::ZERO` if never.
    /// Attendances after it and before `joined` are credited late.
    pub since: Seq,
    /// The line-up's entry that put the artist on.
    pub joined: Seq,
    /// `receivedAt` of that entry.
    pub joined_received_at: Timestamp,
    /// The entry that took the artist off.
    pub removed: Option<Seq>,
}

impl Stay {
    /// Whether an attendance with this seq credits the artist through this stay, at once or late.
    pub fn covers(&self, attendance: Seq) -> bool {
        self.since < attendance && self.removed.is_none_or(|removed| attendance < removed)
    }
    /// Whether it did so when it was folded.
    pub fn covers_at_once(&self, attendance: Seq) -> bool {
        self.joined < attendance && self.covers(attendance)
    }
}

/// One event's line-up, with all that it ever was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineup {
    stays: Vec<Stay>,
}

impl Lineup {
    pub(super) fn from_stays(stays: Vec<Stay>) -> Lineup {
        Lineup { stays }
    }
    /// Every stay, ended ones too, in the order of joining.
    pub fn stays(&self) -> &[Stay] {
        &self.stays
    }
    /// Who is on it now, in the order of joining.
    pub fn current(&self) -> impl Iterator<Item = ArtistNo> {
        self.stays.iter().filter(|stay| stay.removed.is_none()).map(|stay| stay.artist)
    }
    /// The stays through which an attendance credits artists, as things stand now, in the order of joining.
    pub fn covering(&self, attendance: Seq) -> impl Iterator<Item = &Stay> {
        self.stays.iter().filter(move |stay| stay.covers(attendance))
    }

    /// Sets the full line-up: artists that are not listed are taken off, new ones join at the end in the order given
    /// (each once). Returns the new stays.
    pub(super) fn reschedule(&mut self, seq: Seq, received_at: Timestamp, listed: &[ArtistNo]) -> &[Stay] {
        for stay in &mut self.stays {
            if stay.removed.is_none() && !listed.contains(&stay.artist) {
                stay.removed = Some(seq);
            }
        }
        let first_new = self.stays.len();
        for &artist in listed {
            let last = self.stays.iter().rev().find(|stay| stay.artist == artist);
            let since = match last {
                None => Seq::ZERO,
                Some(Stay { removed: Some(removed), .. }) => *removed,
                Some(_) => continue,
            };
            self.stays.push(Stay { artist, since, joined: seq, joined_received_at: received_at, removed: None });
        }
        &self.stays[first_new..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artists(numbers: &[u32]) -> Vec<ArtistNo> {
        numbers.iter().copied().map(ArtistNo::new).collect()
    }

    fn set(lineup: &mut Lineup, seq: u64, numbers: &[u32]) -> Vec<u32> {
        let joined = lineup.reschedule(Seq::new(seq), Timestamp::default(), &artists(numbers));
        joined.iter().map(|stay| stay.artist.get()).collect()
    }

    fn credited(lineup: &Lineup, seq: u64) -> Vec<(u32, bool)> {
        let seq = Seq::new(seq);
        lineup.covering(seq).map(|stay| (stay.artist.get(), stay.covers_at_once(seq))).collect()
    }

    #[test]
    fn new_artists_join_at_the_end_and_each_once() {
        let mut lineup = Lineup::default();
        assert_eq!(set(&mut lineup, 1, &[7, 3, 7]), [7, 3]);
        assert_eq!(set(&mut lineup, 2, &[5, 3, 7]), [5]);
        assert_eq!(lineup.current().collect::<Vec<_>>(), artists(&[7, 3, 5]));
    }

    #[test]
    fn one_who_joins_again_goes_to_the_end() {
        let mut lineup = Lineup::default();
        set(&mut lineup, 1, &[1, 2]);
        set(&mut lineup, 2, &[2]);
        assert_eq!(set(&mut lineup, 3, &[1, 2]), [1]);
        assert_eq!(lineup.current().collect::<Vec<_>>(), artists(&[2, 1]));
    }

    #[test]
    fn an_attendance_credits_whoever_joins_later_but_nobody_taken_off_before() {
        let mut lineup = Lineup::default();
        set(&mut lineup, 10, &[1]);
        set(&mut lineup, 20, &[2]);
        assert_eq!(credited(&lineup, 5), [(1, false), (2, false)]);
        assert_eq!(credited(&lineup, 15), [(1, true), (2, false)]);
        assert_eq!(credited(&lineup, 25), [(2, true)]);
        set(&mut lineup, 30, &[2, 1]);
        assert_eq!(credited(&lineup, 15), [(1, true), (2, false)], "credited once, through the first stay");
        assert_eq!(credited(&lineup, 25), [(2, true), (1, false)]);
        assert_eq!(credited(&lineup, 35), [(2, true), (1, true)]);
    }
}
