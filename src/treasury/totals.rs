//! The money of every artist in every currency, of all time: few rows, all in memory, in order for the list of all.
//!
//! Stored as rows of (artist, currency, part); a flush writes those of the artists that changed, and the newest counts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redb::{ReadTransaction, TableDefinition};

use super::revenue::{Part, Revenue, damaged};
use crate::event::Currency;
use crate::projection::StoreError;
use crate::projection::names::Held;
use crate::projection::rows::{self, Rows};

const TABLE: rows::Definition = TableDefinition::new("totals");

/// One artist's currencies, by code.
pub type Currencies = [(Currency, Revenue)];

/// By artist id; a clone is one pointer.
pub(super) type Shown = imbl::OrdMap<Arc<str>, Arc<Currencies>>;

pub(super) struct Totals {
    /// By artist.
    artists: Vec<Vec<(Currency, Revenue)>>,
    rows: Rows<3>,
    /// Artists that changed since the last flush, and since the last view.
    unflushed: HashSet<u32>,
    unshown: HashSet<u32>,
    /// As of the last view.
    shown: Shown,
}

impl Totals {
    /// Reads what is stored of the artists 0 to `artists`. `stored` is a transaction of now.
    pub fn open(database: &redb::Database, stored: &Arc<ReadTransaction>, artists: u32) -> Result<Totals, StoreError> {
        let mut rows = Rows::open(database, TABLE, rows::replace)?;
        let mut newest: HashMap<[u32; 3], Part> = HashMap::new();
        rows.snapshot(stored)?.scan(&[0; 3], &[u32::MAX; 3], &mut |row| {
            newest.insert(row.key, (row.key[2], row.count, row.sum));
        })?;
        let mut totals = Totals {
            artists: Vec::new(),
            rows,
            unflushed: HashSet::new(),
            unshown: HashSet::new(),
            shown: imbl::OrdMap::new(),
        };
        for ([artist, currency, _], part) in newest {
            if artist >= artists {
                return Err(damaged("money of an artist that does not exist"));
            }
            let currency = Currency::from_number(currency).ok_or_else(|| damaged("a currency is none"))?;
            totals.of(artist, currency).take(part)?;
            totals.unshown.insert(artist);
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
        self.unflushed.insert(artist);
        self.unshown.insert(artist);
    }

    pub fn changes(&mut self) -> rows::Changes<3> {
        for artist in std::mem::take(&mut self.unflushed) {
            for (currency, revenue) in &self.artists[artist as usize] {
                for (part, count, sum) in revenue.parts() {
                    self.rows.add([artist, currency.number(), part], count, sum);
                }
            }
        }
        self.rows.changes()
    }
    pub fn written(&mut self, changes: rows::Changes<3>) {
        self.rows.written(changes);
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
