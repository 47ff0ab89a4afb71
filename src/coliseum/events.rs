//! Which events there are, by number, and their line-ups.

use std::sync::Arc;

use super::artists::ArtistNo;
use super::lineup::{Lineup, Stay};
use crate::projection::names::Names;
use crate::units::{Decimal, Seq, Timestamp};

/// An event's number, in the order in which the log first names it.
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
    /// Who was there, and the number of the city where, by [`super::metrics`].
    pub user: u32,
    pub city: Option<u32>,
}

/// An event that has or had a line-up.
#[derive(Clone, Debug)]
pub struct Listed {
    pub number: EventNo,
    /// As the last line-up that gave one named it.
    pub name: Option<Arc<str>>,
    pub lineup: Arc<Lineup>,
}

/// The writing side: numbers events and keeps their line-ups, with persistent twins for the views.
pub struct Events {
    names: Arc<Names>,
    listed: imbl::HashMap<Arc<str>, Listed>,
    of_artist: imbl::HashMap<ArtistNo, imbl::Vector<Arc<str>>>,
}

impl Events {
    pub fn new(names: Names) -> Events {
        Events { names: Arc::new(names), listed: imbl::HashMap::new(), of_artist: imbl::HashMap::new() }
    }
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }
    pub fn find(&self, id: &str) -> Option<EventNo> {
        self.names.find(id).map(EventNo)
    }
    pub fn id(&self, event: EventNo) -> String {
        self.names.hold().name(event.0).into_owned()
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
    /// The event's number; the next one if it has none yet.
    pub fn number(&mut self, id: &str) -> EventNo {
        EventNo(self.names.number(id))
    }
    /// Replaces an event's line-up, and its name if there is one; `joined` are its new stays.
    pub fn set_lineup(&mut self, id: &str, name: Option<&str>, lineup: Lineup, joined: &[Stay]) {
        let number = self.number(id);
        let before = self.listed.get_key_value(id);
        let name = name.map(Arc::from).or_else(|| before.and_then(|(_, listed)| listed.name.clone()));
        let id: Arc<str> = before.map_or_else(|| id.into(), |(id, _)| id.clone());
        for stay in joined {
            let events = self.of_artist.entry(stay.artist).or_default();
            if stay.since == Seq::ZERO {
                events.push_back(id.clone());
            }
        }
        self.listed.insert(id, Listed { number, name, lineup: Arc::new(lineup) });
    }
}
