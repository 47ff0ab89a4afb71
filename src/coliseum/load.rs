//! What a start reads into memory: artists, scores, line-ups and entitlements as the last commit of the file has them.
//! What is counted beside them [`super::metrics`] reads itself. Nothing is written here; tables that do not fit each other
//! are an error, and the projection is built again from the log.

use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable};

use super::artists::Artists;
use super::entitlements::Entitlements;
use super::events::{EventNo, Events};
use super::flush;
use super::ledger::Unflushed;
use super::lineup::Lineup;
use super::minutes::{EDGES, MINUTE_LAST, Sums, Totals, add, slots_of};
use super::tables::{
    self, ALLTIME, ALLTIME_CHUNK, ARTISTS, EVENT_IDS, EVENTS, META, META_FLUSHES, META_UNCONVERTED, failed,
};
use crate::projection::StoreError;
use crate::projection::names::Names;
use crate::units::Minute;

/// As [`super::Coliseum`] holds it.
pub(super) struct Loaded {
    pub artists: Artists,
    /// By artist.
    pub totals: Vec<Totals>,
    pub events: Events,
    pub entitlements: Entitlements,
    pub unconverted: u64,
    pub unflushed: Unflushed,
}

impl Loaded {
    /// Reads it; the windows are those of the minute.
    pub fn read(database: &redb::Database, now: Minute) -> Result<Loaded, StoreError> {
        let transaction = database.begin_read().map_err(failed)?;
        let meta = transaction.open_table(META).map_err(failed)?;
        let mut loaded = Loaded {
            artists: Artists::default(),
            totals: Vec::new(),
            events: Events::new(Names::open(database, EVENT_IDS)?),
            entitlements: Entitlements::load(&transaction)?,
            unconverted: tables::counter(&meta, META_UNCONVERTED)?,
            unflushed: Unflushed::after(tables::counter(&meta, META_FLUSHES)?),
        };
        loaded.read_artists(&transaction)?;
        loaded.read_lineups(&transaction)?;
        loaded.enter_windows(database, now)?;
        Ok(loaded)
    }

    /// Artists and their scores, of all time and as if all of it were older than every window.
    fn read_artists(&mut self, transaction: &redb::ReadTransaction) -> Result<(), StoreError> {
        for row in transaction.open_table(ARTISTS).map_err(failed)?.iter().map_err(failed)? {
            let (number, card) = row.map_err(failed)?;
            let card = flush::decode_card(number.value(), card.value())?;
            if number.value() as usize != self.artists.len() || self.artists.find(&card.id).is_some() {
                return Err(gap());
            }
            self.artists.push(card);
        }
        for row in transaction.open_table(ALLTIME).map_err(failed)?.iter().map_err(failed)? {
            let (chunk, sums) = row.map_err(failed)?;
            let start = chunk.value() as usize * ALLTIME_CHUNK;
            if start >= self.artists.len() {
                return Err(gap());
            }
            self.totals.resize(start, Totals::default());
            self.totals.extend(flush::decode_alltime(chunk.value(), sums.value())?.into_iter().map(Totals::of_old));
        }
        if self.totals.len() > self.artists.len() {
            return Err(gap());
        }
        self.totals.resize(self.artists.len(), Totals::default());
        Ok(())
    }

    fn read_lineups(&mut self, transaction: &redb::ReadTransaction) -> Result<(), StoreError> {
        for row in transaction.open_table(EVENTS).map_err(failed)?.iter().map_err(failed)? {
            let (number, event) = row.map_err(failed)?;
            let (name, stays) = flush::decode_event(number.value(), event.value())?;
            let is_known = number.value() < self.events.names().len();
            if !is_known || stays.iter().any(|stay| stay.artist.index() >= self.totals.len()) {
                return Err(gap());
            }
            let id = self.events.id(EventNo::new(number.value()));
            self.events.set_lineup(&id, name.as_deref(), Lineup::from_stays(stays.clone()), &stays);
        }
        Ok(())
    }

    /// Takes what is not older into the windows: each row once, between two edges, where all are in the same slots.
    fn enter_windows(&mut self, database: &redb::Database, now: Minute) -> Result<(), StoreError> {
        let ledger = self.unflushed.ledger(database.begin_read().map(Arc::new).map_err(failed));
        let mut last = MINUTE_LAST;
        // Rows are many times as many as artists, whose totals take six times as much memory as the sums of one range.
        let mut of_range = vec![Sums::default(); self.totals.len()];
        for edge in &EDGES {
            let first = now.get() - edge.age_minutes + 1;
            let mut unknown = false;
            ledger.rows(first, last, &mut |artist, sums| match of_range.get_mut(artist.index()) {
                Some(of_artist) => add(of_artist, sums),
                None => unknown = true,
            })?;
            if unknown {
                return Err(unknown_artist());
            }
            let slots = slots_of(first, now.get());
            for (totals, sums) in self.totals.iter_mut().zip(&mut of_range) {
                totals.correct(slots, &std::mem::take(sums));
            }
            last = first - 1;
        }
        Ok(())
    }
}

fn gap() -> StoreError {
    StoreError("the coliseum tables: a number is missing; the projection is rebuilt".into())
}

pub(super) fn unknown_artist() -> StoreError {
    StoreError("the coliseum tables: a row names an artist that does not exist".into())
}

/// Does both: the first on a thread of its own if there are to be threads, and one is to be had.
pub(super) fn side_by_side<A: Send, B>(
    has_threads: bool,
    first: impl Fn() -> A + Sync,
    second: impl FnOnce() -> B,
) -> (A, B) {
    if !has_threads {
        return (first(), second());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("load".into()).spawn_scoped(scope, &first);
        let second = second();
        let first = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => first(),
        };
        (first, second)
    })
}
