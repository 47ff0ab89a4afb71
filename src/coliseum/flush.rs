//! From memory into the tables: sorted, batched writes into the runner's transaction.
//!
//! A flush brings one page for each hour and day that it has rows in. Small pages are merged into the new one as long as
//! that costs little, so that a bucket holds few pages, each over twice as large as the next, and a row is written again
//! a number of times that grows with the logarithm of its bucket.

use std::sync::Arc;

use redb::{ReadableTable, Table, WriteTransaction};

use super::artists::{ArtistCard, ArtistNo};
use super::events::Attendance;
use super::ledger::{Slab, encode_attendances};
use super::lineup::{Lineup, Stay};
use super::minutes::{Row, Sums};
use super::pages::{self, PageRow};
use super::tables::{
    ALLTIME, ALLTIME_CHUNK, ARTISTS, ATTENDANCES, DAYS, EVENTS, HOURS, Key, META, META_FLUSHES, META_UNCONVERTED,
    Reader, Writer, failed,
};
use super::{entitlements, metrics, tables};
use crate::projection::{self, StoreError, names};
use crate::units::{Seq, Timestamp};

/// What came since the last flush.
pub struct Changes {
    /// The number of this flush.
    pub(super) flush: u64,
    /// Rows and attendances, also those of one key in several slabs.
    pub(super) slabs: Vec<Arc<Slab>>,
    /// By artist, encoded.
    pub(super) cards: Vec<(u32, Vec<u8>)>,
    /// By chunk of artists.
    pub(super) alltime: Vec<(u32, Vec<Sums>)>,
    pub(super) event_ids: names::Changes,
    /// By event, encoded.
    pub(super) events: Vec<(u32, Vec<u8>)>,
    pub(super) unconverted: u64,
    pub(super) entitlements: entitlements::Changes,
    pub(super) metrics: metrics::Changes,
}

impl projection::Changes for Changes {
    fn write(&mut self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let mut meta = transaction.open_table(META).map_err(failed)?;
        if tables::counter(&meta, META_FLUSHES)? + 1 != self.flush {
            return Err(StoreError("the coliseum tables: an earlier flush was not committed; open it again".into()));
        }
        tables::put(&mut meta, META_FLUSHES, self.flush)?;
        tables::put(&mut meta, META_UNCONVERTED, self.unconverted)?;
        drop(meta);
        let slab = Slab::merged(&self.slabs);
        write_rows(transaction, self.flush, &slab.rows)?;
        write_attendances(transaction, &slab.attendances)?;
        let mut artists = transaction.open_table(ARTISTS).map_err(failed)?;
        for (artist, card) in &self.cards {
            artists.insert(artist, card.as_slice()).map_err(failed)?;
        }
        let mut alltime = transaction.open_table(ALLTIME).map_err(failed)?;
        for (chunk, sums) in &self.alltime {
            alltime.insert(chunk, encode_alltime(*chunk, sums.iter()).as_slice()).map_err(failed)?;
        }
        self.event_ids.write(transaction)?;
        let mut events = transaction.open_table(EVENTS).map_err(failed)?;
        for (event, value) in &self.events {
            events.insert(event, value.as_slice()).map_err(failed)?;
        }
        self.entitlements.write(transaction)?;
        self.metrics.write(transaction, &slab.rows)
    }
}

/// What a packed row takes, about.
const PAGE_ROW_BYTES: usize = 12;
const MINUTES_PER_HOUR: i64 = 60;
const MINUTES_PER_DAY: i64 = crate::units::MINUTES_PER_DAY;

type Pages<'t> = Table<'t, (i64, u64), &'static [u8]>;

/// Stores rows, sorted by minute and artist, as pages of hours and of days.
pub fn write_rows(transaction: &WriteTransaction, flush: u64, rows: &[Row]) -> Result<(), StoreError> {
    let mut hours = transaction.open_table(HOURS).map_err(failed)?;
    for hour in rows.chunk_by(|a, b| hour_of(a) == hour_of(b)) {
        let part = |row: &Row| row.minute.rem_euclid(MINUTES_PER_HOUR) as u8;
        let page = hour.iter().map(|row| (part(row), row.artist, row.sums)).collect();
        write_page(&mut hours, hour_of(&hour[0]), flush, page)?;
    }
    let mut days = transaction.open_table(DAYS).map_err(failed)?;
    for day in rows.chunk_by(|a, b| day_of(a) == day_of(b)) {
        let mut page = day.iter().map(|row| (0, row.artist, row.sums)).collect();
        pages::normalize(&mut page);
        write_page(&mut days, day_of(&day[0]), flush, page)?;
    }
    Ok(())
}

fn hour_of(row: &Row) -> i64 {
    row.minute.div_euclid(MINUTES_PER_HOUR)
}
fn day_of(row: &Row) -> i64 {
    row.minute.div_euclid(MINUTES_PER_DAY)
}

fn write_page(table: &mut Pages<'_>, bucket: i64, flush: u64, mut rows: Vec<PageRow>) -> Result<(), StoreError> {
    let mut merged = Vec::new();
    for page in table.range((bucket, 0)..(bucket + 1, 0)).map_err(failed)?.rev() {
        let (key, page) = page.map_err(failed)?;
        if page.value().len() > 2 * rows.len() * PAGE_ROW_BYTES {
            break;
        }
        pages::read(key.value(), page.value(), 0..=u8::MAX, &mut |row| rows.push(row))?;
        merged.push(key.value());
    }
    if !merged.is_empty() {
        pages::normalize(&mut rows);
    }
    for key in merged {
        table.remove(key).map_err(failed)?;
    }
    let key = (bucket, flush);
    table.insert(key, pages::encode(key, &rows).as_slice()).map_err(failed)?;
    Ok(())
}

/// Stores attendances, sorted by event and seq, one page an event.
pub fn write_attendances(transaction: &WriteTransaction, attendances: &[Attendance]) -> Result<(), StoreError> {
    let mut table = transaction.open_table(ATTENDANCES).map_err(failed)?;
    for page in attendances.chunk_by(|a, b| a.event == b.event) {
        let key = (page[0].event.get(), page[0].seq.get());
        table.insert(key, encode_attendances(key, page).as_slice()).map_err(failed)?;
    }
    Ok(())
}

/// All-time sums of the artists of one chunk.
pub fn encode_alltime<'s>(chunk: u32, sums: impl Iterator<Item = &'s Sums>) -> Vec<u8> {
    let mut value = Writer::value();
    sums.for_each(|sums| value.put(*sums));
    value.into_value(Key::Number(chunk))
}

pub fn decode_alltime(chunk: u32, value: &[u8]) -> Result<Vec<Sums>, StoreError> {
    let mut value = Reader::value(value, Key::Number(chunk), "chunk of all-time sums")?;
    let mut sums = Vec::with_capacity(ALLTIME_CHUNK);
    while !value.is_empty() {
        sums.push(value.take()?);
    }
    Ok(sums)
}

pub fn encode_card(artist: u32, card: &ArtistCard) -> Vec<u8> {
    let genres: Vec<&str> = card.genres.iter().map(|genre| &**genre).collect();
    let mut value = Writer::value();
    value.put((&*card.id, card.name.as_deref(), genres, card.home_city.as_deref()));
    value.into_value(Key::Number(artist))
}

pub fn decode_card(artist: u32, value: &[u8]) -> Result<ArtistCard, StoreError> {
    let mut value = Reader::value(value, Key::Number(artist), "artist")?;
    let (id, name, genres, home_city): (String, Option<String>, Vec<String>, Option<String>) = value.take()?;
    value.end()?;
    Ok(ArtistCard {
        id: id.into(),
        name: name.map(Into::into),
        genres: genres.into_iter().map(Into::into).collect(),
        home_city: home_city.map(Into::into),
    })
}

pub fn encode_event(event: u32, name: Option<&str>, lineup: &Lineup) -> Vec<u8> {
    let mut value = Writer::value();
    value.put(name);
    for stay in lineup.stays() {
        let removed = stay.removed.map(Seq::get);
        value.put((stay.artist.get(), stay.since.get(), stay.joined.get(), removed));
        value.put(stay.joined_received_at.micros());
    }
    value.into_value(Key::Number(event))
}

pub fn decode_event(event: u32, value: &[u8]) -> Result<(Option<String>, Vec<Stay>), StoreError> {
    let mut value = Reader::value(value, Key::Number(event), "event")?;
    let name: Option<String> = value.take()?;
    let mut stays = Vec::new();
    while !value.is_empty() {
        let (artist, since, joined, removed): (u32, u64, u64, Option<u64>) = value.take()?;
        stays.push(Stay {
            artist: ArtistNo::new(artist),
            since: Seq::new(since),
            joined: Seq::new(joined),
            joined_received_at: Timestamp::from_micros(value.take()?),
            removed: removed.map(Seq::new),
        });
    }
    Ok((name, stays))
}
