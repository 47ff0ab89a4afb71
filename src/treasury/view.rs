//! What readers hold: the money of one prefix of the log, immutable. Totals are in memory and in order; events and fans
//! are read from the tables as they stood at the view, and can fail.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use super::Setup;
use super::revenue::{Revenue, damaged};
use super::totals::{Currencies, Shown};
use crate::event::Currency;
use crate::projection::StoreError;
use crate::projection::kept::Shared;
use crate::projection::names::Names;
use crate::projection::rows::Snapshot;
use crate::units::Seq;

/// One prefix of the log.
pub struct View {
    pub(super) applied: Seq,
    pub(super) setup: Arc<Setup>,
    pub(super) artists: Arc<Names>,
    /// Numbers from here on are of later entries.
    pub(super) known_artists: u32,
    pub(super) events: Arc<Names>,
    pub(super) artist_names: Shared<String>,
    pub(super) event_names: Shared<String>,
    pub(super) totals: Shown,
    /// An error is kept until somebody needs the tables.
    pub(super) stored: Result<Stored, String>,
}

/// Rows that live in the tables.
pub(super) struct Stored {
    pub by_event: Snapshot<4>,
    pub fans: Snapshot<2>,
}

/// An artist that the log has named: in a credit, a profile or a line-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Artist(u32);

/// The money of one event, for one artist in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRevenue {
    pub event_id: String,
    /// `None` where no line-up named the event.
    pub event_name: Option<Arc<String>>,
    pub currency: Currency,
    pub revenue: Revenue,
}

/// How many users did something that credits an artist, and how many of them paid in the base currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fans {
    pub fans: u64,
    pub paying_fans: u64,
}

impl View {
    /// The last entry folded.
    pub fn applied(&self) -> Seq {
        self.applied
    }
    pub fn setup(&self) -> &Setup {
        &self.setup
    }
    pub fn artist(&self, id: &str) -> Option<Artist> {
        self.artists.find(id).filter(|number| *number < self.known_artists).map(Artist)
    }
    /// How many artists the log has named.
    pub fn known_artists(&self) -> u32 {
        self.known_artists
    }
    /// By its profile.
    pub fn artist_name(&self, artist: Artist) -> Option<&str> {
        self.artist_names.get(&artist.0).map(|name| name.as_str())
    }

    /// Every artist with money, by id in bytes, with its currencies by code; those behind `after`, if that is given.
    pub fn revenue(&self, after: Option<&str>) -> impl Iterator<Item = (&str, &Currencies)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.totals.range::<_, str>((start, Bound::Unbounded));
        rows.map(|(id, currencies)| (id.as_ref(), currencies.as_ref()))
    }

    /// One artist's currencies, by code.
    pub fn currencies(&self, artist_id: &str) -> &Currencies {
        self.totals.get(artist_id).map_or(&[], |currencies| currencies.as_ref())
    }

    /// The money of an artist's events, by event id in bytes and currency.
    pub fn events(&self, artist: Artist) -> Result<Vec<EventRevenue>, StoreError> {
        let mut found: BTreeMap<(u32, u32), Revenue> = BTreeMap::new();
        let mut taken = Ok(());
        self.stored()?.by_event.scan_ranges(&[money_of(artist.0)], &mut |row| {
            let [_, event, currency, part] = row.key;
            let revenue = found.entry((event, currency)).or_default();
            if let Err(error) = revenue.take((part, row.count, row.sum)) {
                taken = Err(error);
            }
        })?;
        taken?;
        let known_events = self.events.len();
        let names = self.events.hold();
        let mut events = Vec::with_capacity(found.len());
        for ((event, currency), revenue) in found {
            if event >= known_events {
                return Err(damaged("money of an event that does not exist"));
            }
            events.push(EventRevenue {
                event_id: names.name(event).into_owned(),
                event_name: self.event_names.get(&event).cloned(),
                currency: Currency::from_number(currency).ok_or_else(|| damaged("a currency is none"))?,
                revenue,
            });
        }
        drop(names);
        events.sort_by(|a, b| (&a.event_id, a.currency).cmp(&(&b.event_id, b.currency)));
        Ok(events)
    }

    /// Costs a row for each of them and run, and four bytes of memory.
    pub fn fans(&self, artist: Artist) -> Result<Fans, StoreError> {
        let (mut fans, mut paying) = (Vec::new(), Vec::new());
        self.stored()?.fans.scan_ranges(&[fans_of(artist.0)], &mut |row| {
            fans.push(row.key[1]);
            if row.sum != 0 {
                paying.push(row.key[1]);
            }
        })?;
        Ok(Fans { fans: distinct(fans), paying_fans: distinct(paying) })
    }

    /// A view of some artists with what is stored of them in memory, for who asks for all of them. `None`: that is more than
    /// `most` rows.
    pub fn of_artists<'i>(&self, ids: impl Iterator<Item = &'i str>, most: usize) -> Result<Option<View>, StoreError> {
        let mut artists: Vec<u32> = ids.filter_map(|id| self.artists.find(id)).collect();
        artists.sort_unstable();
        let Stored { by_event, fans } = self.stored()?;
        let by_event = by_event.within(&artists.iter().map(|artist| money_of(*artist)).collect::<Vec<_>>(), most)?;
        let fans = fans.within(&artists.iter().map(|artist| fans_of(*artist)).collect::<Vec<_>>(), most)?;
        let stored = by_event.zip(fans).map(|(by_event, fans)| Stored { by_event, fans });
        Ok(stored.map(|stored| View {
            applied: self.applied,
            setup: self.setup.clone(),
            artists: self.artists.clone(),
            known_artists: self.known_artists,
            events: self.events.clone(),
            artist_names: self.artist_names.clone(),
            event_names: self.event_names.clone(),
            totals: self.totals.clone(),
            stored: Ok(stored),
        }))
    }

    fn stored(&self) -> Result<&Stored, StoreError> {
        self.stored.as_ref().map_err(|problem| StoreError(problem.clone()))
    }
}

/// The keys of the rows of an artist's events.
fn money_of(artist: u32) -> RangeInclusive<[u32; 4]> {
    [artist, 0, 0, 0]..=[artist, u32::MAX, u32::MAX, u32::MAX]
}

/// The keys of the rows of an artist's fans.
fn fans_of(artist: u32) -> RangeInclusive<[u32; 2]> {
    [artist, 0]..=[artist, u32::MAX]
}

/// How many there are, of numbers in few sorted parts: a stable sort merges those.
fn distinct(mut numbers: Vec<u32>) -> u64 {
    numbers.sort();
    numbers.dedup();
    numbers.len() as u64
}
