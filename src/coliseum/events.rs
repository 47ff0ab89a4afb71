//! Which events there are, by number, and their line-ups.

use std::collections::HashMap;
use std::sync::Arc;

use super::artists::ArtistNo;
use super::lineup::{Lineup, Stay};
use crate::units::{Decimal, Seq, Timestamp};

/// An event's number, in the order in which the log first names it in an attendance or a line-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventNo(u32);

impl EventNo {
    pub const fn new(number: u32) -> EventNo {
        EventNo(number)
    }
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What late line-ups need to know of an attendance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attendance {
    pub event: EventNo,
    pub seq: Seq,
    pub at: Timestamp,
    /// By its ticket tier.
    pub multiplier: Decimal,
    /// Whom its own fields credit.
    pub artists: Box<[ArtistNo]>,
}

/// An event that has or had a line-up.
#[derive(Clone, Debug)]
pub struct Listed {
    pub number: EventNo,
    pub lineup: Arc<Lineup>,
}

/// The writing side: numbers events and keeps their line-ups, with persistent twins for the views.
#[derive(Default)]
pub struct Events {
    numbers: HashMap<Arc<str>, EventNo>,
    ids: Vec<Arc<str>>,
    listed: imbl::HashMap<Arc<str>, Listed>,
    of_artist: imbl::HashMap<ArtistNo, imbl::Vector<Arc<str>>>,
}

impl Events {
    pub fn find(&self, id: &str) -> Option<EventNo> {
        self.numbers.get(id).copied()
    }
    pub fn id(&self, event: EventNo) -> &Arc<str> {
        &self.ids[event.get() as usize]
    }
    pub fn lineup(&self, id: &str) -> Option<&Arc<Lineup>> {
        self.listed.get(id).map(|listed| &listed.lineup)
    }
    pub fn listed(&self) -> &imbl::HashMap<Arc<str>, Listed> {
        &self.listed
    }
    /// The events in whose line-up an artist ever was, in the order of joining.
    pub fn of_artist(&self) -> &imbl::HashMap<ArtistNo, imbl::Vector<Arc<str>>> {
        &self.of_artist
    }
    /// The event's number; the next one if it has none yet, with `true`.
    pub fn number(&mut self, id: &str) -> (EventNo, bool) {
        if let Some(number) = self.find(id) {
            return (number, false);
        }
        let number = EventNo(u32::try_from(self.ids.len()).expect("the tables' keys end at 2^32 events"));
        let id: Arc<str> = id.into();
        self.ids.push(id.clone());
        self.numbers.insert(id, number);
        (number, true)
    }
    /// Replaces an event's line-up; `joined` are its new stays.
    pub fn set_lineup(&mut self, event: EventNo, lineup: Lineup, joined: &[Stay]) {
        let id = self.id(event).clone();
        for stay in joined {
            let events = self.of_artist.entry(stay.artist).or_default();
            if stay.since == Seq::ZERO {
                events.push_back(id.clone());
            }
        }
        self.listed.insert(id, Listed { number: event, lineup: Arc::new(lineup) });
    }
}
