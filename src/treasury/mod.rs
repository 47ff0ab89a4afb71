//! The treasury projection: what money did for each artist, folded from the log.
//!
//! Three things are kept, all of all time:
//!
//! - per artist and currency the [`Revenue`], in memory and in order (`totals`);
//! - per artist, event and currency the same, as rows of (artist, event, currency, part);
//! - per artist its fans, as rows of (artist, user) that say whether the user ever paid in the base currency.
//!
//! Who attends an event becomes a fan of those on its [`lineup`], and of those who join it later: for that there are rows
//! of (event, user).
//!
//! Owns the tables `totals`, `by_event`, `fans`, `attendees` (the last three are sorted runs of rows), `artists`, `events`,
//! `users` (their numbers), `artist_names`, `event_names` and `lineups`, in the redb file that the runner gives it. Memory
//! holds every artist with its money, names and line-ups, and what came since the last flush.

mod lineup;
mod revenue;
#[cfg(test)]
mod tests;
mod totals;
mod view;

pub use revenue::Revenue;
pub use totals::Currencies;
pub use view::{Artist, EventRevenue, Fans, View};

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase as _, TableDefinition};
use roaring::RoaringBitmap;

use crate::event::{Currency, Facts, Flow};
use crate::passport::{Entry, Parsed};
use crate::projection::kept::{self, Kept};
use crate::projection::names::{self, Ahead, Names};
use crate::projection::rows::{self, Row, Rows};
use crate::projection::{self, ApplyError, Projection, StoreError};
use crate::units::{Seq, Timestamp};

use lineup::Lineup;
use revenue::{damaged, parts_of};
use totals::Totals;
use view::Stored;

/// Names the layout of tables and values; another one means a rebuild.
const LAYOUT_VERSION: u8 = 3;

const ARTISTS: names::Definition = TableDefinition::new("artists");
const EVENTS: names::Definition = TableDefinition::new("events");
const USERS: names::Definition = TableDefinition::new("users");
const ARTIST_NAMES: kept::Definition = TableDefinition::new("artist_names");
const EVENT_NAMES: kept::Definition = TableDefinition::new("event_names");
const LINEUPS: kept::Definition = TableDefinition::new("lineups");
const BY_EVENT: rows::Definition = TableDefinition::new("by_event");
const ATTENDEES: rows::Definition = TableDefinition::new("attendees");
const FANS: rows::Definition = TableDefinition::new("fans");

/// What the fold is made under: no more of the scoring rules than it needs, so that a change of any other keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    base_currency: Currency,
    credited_types: BTreeSet<String>,
}

impl Setup {
    /// `credited_types` are the types outside the catalogue that a rule names: they make their artists known.
    pub fn new(base_currency: Currency, credited_types: BTreeSet<String>) -> Setup {
        Setup { base_currency, credited_types }
    }

    pub fn base_currency(&self) -> Currency {
        self.base_currency
    }
    /// Whether the artists of a type outside the catalogue count as named.
    pub fn credits_type(&self, event_type: &str) -> bool {
        self.credited_types.contains(event_type)
    }

    /// `usd`, and a line for each type.
    fn text(&self) -> String {
        let mut text = self.base_currency.code().to_owned();
        for credited_type in &self.credited_types {
            text.push('\n');
            text.push_str(credited_type);
        }
        text
    }
}

/// The fold.
pub struct Treasury {
    database: Arc<redb::Database>,
    setup: Arc<Setup>,
    artists: Arc<Names>,
    events: Arc<Names>,
    /// Whoever is a fan or attended an event.
    users: Arc<Names>,
    ahead: Ahead,
    artist_names: Kept<String>,
    event_names: Kept<String>,
    lineups: Kept<Lineup>,
    totals: Totals,
    by_event: Rows<4>,
    /// Who attended an event.
    attendees: Rows<2>,
    /// The sum is 1 where the user paid in the base currency.
    fans: Rows<2>,
}

/// What came since the last flush.
pub struct Changes {
    names: [names::Changes; 3],
    kept: [kept::Changes; 3],
    totals: totals::Changes,
    by_event: rows::Changes<4>,
    attendees: rows::Changes<2>,
    fans: rows::Changes<2>,
}

impl projection::Changes for Changes {
    fn write(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
        self.names.iter().try_for_each(|names| names.write(transaction))?;
        self.kept.iter().try_for_each(|kept| kept.write(transaction))?;
        self.totals.write(transaction)?;
        self.by_event.write(transaction)?;
        self.attendees.write(transaction)?;
        self.fans.write(transaction)
    }
}

/// The greater sum counts.
fn greatest(older: &mut Row<2>, newer: &Row<2>) {
    older.sum = older.sum.max(newer.sum);
}

impl Projection for Treasury {
    type View = View;
    type Setup = Setup;
    type Changes = Changes;
    const NAME: &'static str = "treasury";

    fn version(setup: &Setup) -> String {
        format!("{LAYOUT_VERSION}-{}", setup.text().replace('\n', "+"))
    }
    fn encode_setup(setup: &Setup) -> Vec<u8> {
        setup.text().into_bytes()
    }
    fn decode_setup(bytes: &[u8]) -> Result<Setup, StoreError> {
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("the stored setup is no text"))?;
        let mut lines = text.split('\n');
        let base_currency = lines.next().and_then(Currency::of).ok_or_else(|| damaged("the stored setup is none"))?;
        Ok(Setup { base_currency, credited_types: lines.map(str::to_owned).collect() })
    }

    fn open(database: Arc<redb::Database>, setup: &Setup, _: Timestamp) -> Result<Treasury, StoreError> {
        let stored = database.begin_read().map_err(StoreError::of)?;
        let artists = Arc::new(Names::open(&database, ARTISTS)?);
        Ok(Treasury {
            setup: Arc::new(setup.clone()),
            events: Arc::new(Names::open(&database, EVENTS)?),
            users: Arc::new(Names::open(&database, USERS)?),
            ahead: Ahead::default(),
            artist_names: Kept::open(&database, ARTIST_NAMES)?,
            event_names: Kept::open(&database, EVENT_NAMES)?,
            lineups: Kept::open(&database, LINEUPS)?,
            totals: Totals::open(&stored, artists.len())?,
            artists,
            by_event: Rows::open(&database, BY_EVENT, revenue::merge)?,
            attendees: Rows::open(&database, ATTENDEES, greatest)?,
            fans: Rows::open(&database, FANS, greatest)?,
            database,
        })
    }

    fn look_ahead(&mut self, entries: &[Parsed<'_>]) {
        self.ahead.look(&self.users, entries);
    }

    fn apply(&mut self, parsed: &Parsed<'_>) -> Result<(), ApplyError> {
        let entry = &parsed.entry;
        let facts = parsed.facts.as_ref().map_err(|problem| ApplyError(format!("seq {}: {problem}", entry.seq)))?;
        // What can fail comes first.
        let attendees = match facts {
            Facts::Scheduled { event_id, artist_ids, .. } => self.attendees_to_credit(event_id, artist_ids),
            _ => Ok(RoaringBitmap::new()),
        };
        let attendees = attendees.map_err(|StoreError(problem)| ApplyError(format!("seq {}: {problem}", entry.seq)))?;
        self.fold(entry, facts, &attendees);
        Ok(())
    }

    /// All is of all time: nothing changes as minutes pass.
    fn tick(&mut self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    fn changes(&mut self) -> Changes {
        Changes {
            names: [self.artists.changes(), self.events.changes(), self.users.changes()],
            kept: [self.artist_names.changes(), self.event_names.changes(), self.lineups.changes()],
            totals: self.totals.changes(),
            by_event: self.by_event.changes(),
            attendees: self.attendees.changes(),
            fans: self.fans.changes(),
        }
    }

    fn written(&mut self, changes: Changes) {
        self.by_event.written(changes.by_event);
        self.attendees.written(changes.attendees);
        self.fans.written(changes.fans);
    }

    fn view(&mut self, applied: Seq) -> Arc<View> {
        let stored = self.read().and_then(|stored| {
            Ok(Stored { by_event: self.by_event.snapshot(&stored)?, fans: self.fans.snapshot(&stored)? })
        });
        let totals = self.totals.shown(&self.artists.hold());
        Arc::new(View {
            applied,
            setup: self.setup.clone(),
            known_artists: self.artists.len(),
            artists: self.artists.clone(),
            events: self.events.clone(),
            artist_names: self.artist_names.shared().clone(),
            event_names: self.event_names.shared().clone(),
            totals,
            stored: stored.map_err(|StoreError(problem)| problem),
        })
    }
}

impl Treasury {
    fn read(&self) -> Result<Arc<ReadTransaction>, StoreError> {
        self.database.begin_read().map(Arc::new).map_err(StoreError::of)
    }

    /// Who attended the event so far; nobody where a line-up brings no new artist that had to be credited with it.
    fn attendees_to_credit(
        &mut self,
        event_id: &str,
        artist_ids: &[Cow<'_, str>],
    ) -> Result<RoaringBitmap, StoreError> {
        let mut attendees = RoaringBitmap::new();
        let Some(event) = self.events.find(event_id) else { return Ok(attendees) };
        let lineup = self.lineups.get(event);
        let is_on = |id: &Cow<'_, str>| self.artists.find(id).zip(lineup).is_some_and(|(id, lineup)| lineup.holds(id));
        if artist_ids.iter().all(is_on) {
            return Ok(attendees);
        }
        let stored = self.read()?;
        let snapshot = self.attendees.snapshot(&stored)?;
        snapshot.scan(&[event, 0], &[event, u32::MAX], &mut |row| _ = attendees.insert(row.key[1]))?;
        Ok(attendees)
    }

    fn fold(&mut self, entry: &Entry<'_>, facts: &Facts<'_>, attendees: &RoaringBitmap) {
        let named = self.setup.credits_type(entry.envelope.event_type);
        let mut artists: Vec<u32> = facts.credited(named).map(|id| self.artists.number(id)).collect();
        let mut pays = false;
        match facts {
            Facts::Money { flow, amount_cents, currency, role, event_id, .. } => {
                let currency = Currency::of(currency).expect("the catalogue takes no other currency");
                let parts = parts_of(*flow, role.as_deref(), *amount_cents, entry.at());
                pays = *flow == Flow::Spent && currency == self.setup.base_currency;
                for artist in &artists {
                    self.totals.add(*artist, currency, &parts);
                    let Some(event_id) = event_id else { continue };
                    let event = self.events.number(event_id);
                    for (part, count, sum) in parts {
                        self.by_event.add([*artist, event, currency.number(), part], count, sum);
                    }
                }
            }
            Facts::Attended { event_id, .. } => {
                let event = self.events.number(event_id);
                let user = self.ahead.user(&self.users, entry);
                self.attendees.add([event, user], 1, 0);
                artists.extend(self.lineups.get(event).into_iter().flat_map(Lineup::artists));
            }
            Facts::Scheduled { event_id, name, .. } => {
                let event = self.events.number(event_id);
                if let Some(name) = name {
                    self.event_names.set(event, name.clone().into_owned());
                }
                self.schedule(event, &artists, attendees);
            }
            Facts::Profile { artist_name, .. } => {
                for artist in &artists {
                    self.artist_names.set(*artist, artist_name.clone().into_owned());
                }
            }
            _ => {}
        }
        if facts.is_fan_event() && !artists.is_empty() {
            let user = self.ahead.user(&self.users, entry);
            artists.iter().for_each(|artist| self.fans.add([*artist, user], 1, i128::from(pays)));
        }
    }

    /// Sets a line-up: whoever attended before becomes a fan of those who join it.
    fn schedule(&mut self, event: u32, artists: &[u32], attendees: &RoaringBitmap) {
        let mut lineup = self.lineups.get(event).cloned().unwrap_or_default();
        for artist in lineup.reschedule(artists) {
            attendees.iter().for_each(|user| self.fans.add([artist, user], 1, 0));
        }
        self.lineups.set(event, lineup);
    }
}
