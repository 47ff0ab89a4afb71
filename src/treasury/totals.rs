//! The money of every artist in every currency, of all time: few rows, all in memory, in order for the list of all.
//!
//! Stored some artists to a value; a flush writes the values of those that changed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

use super::revenue::{Part, Revenue, damaged};
use crate::event::Currency;
use crate::projection::StoreError;
use crate::projection::names::Held;
use crate::projection::rows::{framed, unframed};

/// By the number of the first artist of a value, divided by [`ARTISTS_PER_VALUE`].
const TABLE: TableDefinition<u32, &[u8]> = TableDefinition::new("totals");
/// Few keys a flush, and little to write again for one artist.
const ARTISTS_PER_VALUE: u32 = 16;

/// One artist's currencies, by code.
pub type Currencies = [(Currency, Revenue)];

/// By artist id; a clone is one pointer.
pub(super) type Shown = imbl::OrdMap<Arc<str>, Arc<Currencies>>;

pub(super) struct Totals {
    /// By artist.
    artists: Vec<Vec<(Currency, Revenue)>>,
    /// Values that changed since the last flush.
    unflushed: BTreeSet<u32>,
    /// Artists that changed since the last view.
    unshown: HashSet<u32>,
    /// As of the last view.
    shown: Shown,
}

/// Values that changed, on their way into the table.
pub(super) struct Changes {
    values: Vec<(u32, Vec<u8>)>,
}

impl Changes {
    pub fn write(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let mut table = transaction.open_table(TABLE).map_err(StoreError::of)?;
        for (number, body) in &self.values {
            table.insert(number, framed(&number.to_be_bytes(), body).as_slice()).map_err(StoreError::of)?;
        }
        Ok(())
    }
}

impl Totals {
    /// Reads what is stored of the artists 0 to `artists`.
    pub fn open(stored: &ReadTransaction, artists: u32) -> Result<Totals, StoreError> {
        let mut totals = Totals {
            artists: Vec::new(),
            unflushed: BTreeSet::new(),
            unshown: HashSet::new(),
            shown: imbl::OrdMap::new(),
        };
        let table = match stored.open_table(TABLE) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(totals),
            table => table.map_err(StoreError::of)?,
        };
        for value in table.range::<u32>(..).map_err(StoreError::of)? {
            let (number, value) = value.map_err(StoreError::of)?;
            let number = number.value();
            let mut rest = unframed(&number.to_be_bytes(), value.value())?;
            while !rest.is_empty() {
                let (artist, currency, revenue) =
                    Revenue::read(&mut rest).ok_or_else(|| damaged("an artist's money does not read"))?;
                if artist >= artists || artist / ARTISTS_PER_VALUE != number {
                    return Err(damaged("money of an artist that is not there"));
                }
                *totals.of(artist, currency) = revenue;
                totals.unshown.insert(artist);
            }
        }
        Ok(totals)
    }

    fn of(&mut self, artist: u32, currency: Currency) -> &mut Revenue {
        let index = artist as usize;
        if self.artists.len() <= index {
            self.artists.resize_with(index + 1, Vec::new);
        }
        let currencies = &mut self.artists[index];
        let place = currencies.binary_search_by_key(&currency, |(currency, _)| *currency).unwrap_or_else(|place| {
            currencies.insert(place, (currency, Revenue::default()));
            place
        });
        &mut currencies[place].1
    }

    pub fn add(&mut self, artist: u32, currency: Currency, parts: &[Part]) {
        let revenue = self.of(artist, currency);
        parts.iter().for_each(|part| revenue.take(*part).expect("an event has parts that are known"));
        self.unflushed.insert(artist / ARTISTS_PER_VALUE);
        self.unshown.insert(artist);
    }

    /// Takes what changed since the last changes.
    pub fn changes(&mut self) -> Changes {
        let value = |number: u32| {
            let (first, mut body) = (number * ARTISTS_PER_VALUE, Vec::new());
            let artists = self.artists.iter().skip(first as usize).take(ARTISTS_PER_VALUE as usize);
            for (artist, currencies) in (first..).zip(artists) {
                currencies.iter().for_each(|(currency, revenue)| revenue.write(artist, *currency, &mut body));
            }
            (number, body)
        };
        Changes { values: std::mem::take(&mut self.unflushed).into_iter().map(value).collect() }
    }

    /// Everything as it is now.
    pub fn shown(&mut self, artists: &Held<'_>) -> Shown {
        for artist in std::mem::take(&mut self.unshown) {
            let (id, currencies) = (artists.name(artist), self.artists[artist as usize].as_slice().into());
            match self.shown.get_mut(&*id) {
                Some(shown) => *shown = currencies,
                None => _ = self.shown.insert(id.into(), currencies),
            }
        }
        self.shown.clone()
    }
}
