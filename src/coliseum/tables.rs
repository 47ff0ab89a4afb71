//! The projection's tables in redb, and the one place that turns values into bytes and back.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | `flushes`, `unconverted`, `totals_minute`, `sweep` | counters |
//! | `artists` | number | id and profile |
//! | `alltime` | number / 64 | 64 artists' all-time sums |
//! | `event_ids` | number | ids, see `projection::names` |
//! | `events` | number | name and line-up, of those that have one |
//! | `metrics.…` | | see `metrics` |
//! | `entitlements` | user | what the user was last given |
//! | `attendances` | event, first seq | attendances that one flush brought |
//! | `hours` | hour, flush | rows by minute, see `pages` |
//! | `days` | day, flush | the same rows by day |
//!
//! A value is `version u8 | crc32 of the key and what follows, u32 LE | bincode`, so that a flipped bit, or a value at
//! another's place, is a [`StoreError`] and never another number. Windows are not stored: they follow from the rows and
//! the time.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use redb::{ReadableDatabase, TableDefinition};

use crate::projection::StoreError;

/// Names the layout of tables and values; another one means a rebuild.
pub const LAYOUT_VERSION: u8 = 4;
/// One decoded value may not claim more; pages are read number by number.
const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Artists in one value of `alltime`: few keys a flush, and little to write again for one artist.
pub const ALLTIME_CHUNK: usize = 64;

pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub const ARTISTS: TableDefinition<u32, &[u8]> = TableDefinition::new("artists");
pub const ALLTIME: TableDefinition<u32, &[u8]> = TableDefinition::new("alltime");
pub const EVENTS: TableDefinition<u32, &[u8]> = TableDefinition::new("events");
/// Ids of events by number.
pub const EVENT_IDS: crate::projection::names::Definition = TableDefinition::new("event_ids");
pub const ENTITLEMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("entitlements");
pub const ATTENDANCES: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("attendances");
pub const HOURS: TableDefinition<(i64, u64), &[u8]> = TableDefinition::new("hours");
pub const DAYS: TableDefinition<(i64, u64), &[u8]> = TableDefinition::new("days");

/// How many flushes the tables hold; also the second half of a page's key.
pub const META_FLUSHES: &str = "flushes";
/// Events whose currency has no rate.
pub const META_UNCONVERTED: &str = "unconverted";

/// The minute that the stored totals of metrics are valid at.
pub const META_TOTALS_MINUTE: &str = "totals_minute";
/// How far the sweep over the totals of metrics has come.
pub const META_SWEEP: &str = "sweep";

/// Any failure of redb, as the runner takes it.
pub fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError(format!("the coliseum tables: {}", error.into()))
}

type ValueConfig = Configuration<LittleEndian, Varint, Limit<VALUE_BYTES_MAX>>;

const fn config() -> ValueConfig {
    bincode::config::standard().with_limit::<VALUE_BYTES_MAX>()
}

const FRAME_BYTES: usize = 5;

/// A table's key, as the checksum of its value sees it.
#[derive(Clone, Copy, Debug)]
pub enum Key<'k> {
    Name(&'k str),
    Number(u32),
    /// The second half of a key names a flush or a first seq.
    Pair(i64, u64),
}

fn checksum(key: Key<'_>, body: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    match key {
        Key::Name(name) => hasher.update(name.as_bytes()),
        Key::Number(number) => hasher.update(&number.to_le_bytes()),
        Key::Pair(first, second) => {
            hasher.update(&first.to_le_bytes());
            hasher.update(&second.to_le_bytes());
        }
    }
    hasher.update(body);
    hasher.finalize().to_le_bytes()
}

/// Builds one value, or a part of one.
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A value of a table, to be closed with [`Writer::into_value`].
    pub fn value() -> Writer {
        Writer { bytes: vec![LAYOUT_VERSION, 0, 0, 0, 0] }
    }
    /// A part of one.
    pub fn part() -> Writer {
        Writer { bytes: Vec::new() }
    }
    pub fn put(&mut self, value: impl bincode::Encode) {
        bincode::encode_into_std_write(value, &mut self.bytes, config()).expect("a Vec takes every write");
    }
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    /// Numbers that all take `N` bytes, behind that.
    pub fn put_numbers<const N: usize, T>(&mut self, numbers: impl Iterator<Item = T>, bytes_of: fn(T) -> [u8; N]) {
        self.bytes.push(N as u8);
        for number in numbers {
            self.bytes.extend_from_slice(&bytes_of(number));
        }
    }
    pub fn into_part(self) -> Vec<u8> {
        self.bytes
    }
    /// With the checksum over the key that it will stand under.
    pub fn into_value(mut self, key: Key<'_>) -> Vec<u8> {
        let checksum = checksum(key, &self.bytes[FRAME_BYTES..]);
        self.bytes[1..FRAME_BYTES].copy_from_slice(&checksum);
        self.bytes
    }
}

/// Reads one value; whatever the bytes are, the worst is an error.
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Checks version and checksum. `what` names the value in errors.
    pub fn value(bytes: &'a [u8], key: Key<'_>, what: &'static str) -> Result<Reader<'a>, StoreError> {
        let reader = Reader { rest: bytes, what };
        let Some((frame, rest)) = bytes.split_at_checked(FRAME_BYTES) else {
            return Err(reader.damaged("it is too short"));
        };
        if frame[0] != LAYOUT_VERSION {
            return Err(reader.damaged("its version is not this build's"));
        }
        if frame[1..] != checksum(key, rest) {
            return Err(reader.damaged("its checksum does not match"));
        }
        Ok(Reader { rest, what })
    }
    pub fn take<T: bincode::Decode<()>>(&mut self) -> Result<T, StoreError> {
        let (value, used) = bincode::decode_from_slice(self.rest, config())
            .map_err(|error| self.damaged(&format!("it does not decode: {error}")))?;
        self.rest = &self.rest[used..];
        Ok(value)
    }
    /// The next numbers, all of `N` bytes.
    pub fn numbers<const N: usize, T>(
        &mut self,
        count: usize,
        of: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, StoreError> {
        let numbers = self.split(N * count)?;
        Ok(numbers.rest.as_chunks().0.iter().map(|bytes| of(*bytes)).collect())
    }
    /// The next `bytes` bytes as a reader of their own.
    pub fn split(&mut self, bytes: usize) -> Result<Reader<'a>, StoreError> {
        let (part, rest) = self.rest.split_at_checked(bytes).ok_or_else(|| self.damaged("a part is too short"))?;
        self.rest = rest;
        Ok(Reader { rest: part, what: self.what })
    }
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
    /// Nothing may be left over.
    pub fn end(&self) -> Result<(), StoreError> {
        if self.is_empty() { Ok(()) } else { Err(self.damaged("it has bytes left over")) }
    }
    pub fn damaged(&self, how: &str) -> StoreError {
        StoreError(format!("the coliseum tables: a {} is damaged: {how}; the projection is rebuilt", self.what))
    }
}

/// Makes the tables unless they are there; one transaction makes all of them.
pub fn create(database: &redb::Database) -> Result<(), StoreError> {
    if database.begin_read().map_err(failed)?.open_table(META).is_ok() {
        return Ok(());
    }
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(META).map_err(failed)?;
    transaction.open_table(ARTISTS).map_err(failed)?;
    transaction.open_table(ALLTIME).map_err(failed)?;
    transaction.open_table(EVENTS).map_err(failed)?;
    transaction.open_table(ENTITLEMENTS).map_err(failed)?;
    transaction.open_table(ATTENDANCES).map_err(failed)?;
    transaction.open_table(HOURS).map_err(failed)?;
    transaction.open_table(DAYS).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// A counter of `meta`; zero before the first flush.
pub fn counter(table: &impl redb::ReadableTable<&'static str, &'static [u8]>, name: &str) -> Result<u64, StoreError> {
    Ok(optional(table, name)?.unwrap_or(0))
}

/// A number of `meta`; `None` before the first flush.
pub fn optional<T: bincode::Decode<()>>(
    table: &impl redb::ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, StoreError> {
    let Some(value) = table.get(name).map_err(failed)? else { return Ok(None) };
    let mut reader = Reader::value(value.value(), Key::Name(name), "counter")?;
    let number = reader.take()?;
    reader.end()?;
    Ok(Some(number))
}

pub fn put(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    name: &str,
    number: impl bincode::Encode,
) -> Result<(), StoreError> {
    let mut value = Writer::value();
    value.put(number);
    table.insert(name, value.into_value(Key::Name(name)).as_slice()).map_err(failed)?;
    Ok(())
}
