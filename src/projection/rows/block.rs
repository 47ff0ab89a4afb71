//! One block of a run: sorted rows, each written as what differs from the row before.
//!
//! ```text
//! row  := head u8 | key[p] less that of the row before | key[p + 1] ... | count, unless 1 | sum, unless told by the head
//! head := p, bits 0 to 3: how many numbers the keys have in common | bit 4: the count is 1 | bits 5, 6: the sum is
//!         0: zero, 1: the count, 2: written, as zigzag
//! ```
//! Numbers are LEB128. Every [`RESTART_ROWS`] rows one is written as if it were the first, and its place is noted, so that
//! a search reads few rows of a block.

use super::{Row, order};
use crate::projection::StoreError;

/// A leaf of redb that holds one block of this size takes 16 KiB and little is left over.
const BLOCK_BYTES_MAX: usize = if cfg!(test) { 800 } else { 16_000 };
const RESTART_ROWS: usize = if cfg!(test) { 8 } else { 64 };
/// A head, the key's numbers, count and sum at their longest.
const fn row_bytes_max(key_numbers: usize) -> usize {
    1 + 5 * key_numbers + 10 + 19
}

const COUNT_IS_ONE: u8 = 1 << 4;
const SUM_IS_COUNT: u8 = 1 << 5;
const SUM_IS_WRITTEN: u8 = 2 << 5;

pub(super) fn damaged(how: &str) -> StoreError {
    StoreError(format!("sorted rows: a block is damaged: {how}; the projection is rebuilt"))
}

/// A value of the table: a checksum over its key and itself before it.
pub fn framed(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(4 + body.len());
    value.extend_from_slice(&checksum(key, body));
    value.extend_from_slice(body);
    value
}

pub fn unframed<'v>(key: &[u8], value: &'v [u8]) -> Result<&'v [u8], StoreError> {
    match value.split_first_chunk::<4>() {
        Some((sum, body)) if *sum == checksum(key, body) => Ok(body),
        _ => Err(damaged("its checksum does not match")),
    }
}

fn checksum(key: &[u8], body: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize().to_le_bytes()
}

/// Packs rows that come sorted.
pub(super) struct BlockWriter<const K: usize> {
    bytes: Vec<u8>,
    restarts: Vec<u16>,
    rows: usize,
    before: [u32; K],
}

impl<const K: usize> BlockWriter<K> {
    pub fn new() -> BlockWriter<K> {
        BlockWriter { bytes: Vec::with_capacity(BLOCK_BYTES_MAX), restarts: Vec::new(), rows: 0, before: [0; K] }
    }

    /// `false`, and nothing is written, if the block is full.
    pub fn push(&mut self, row: &Row<K>) -> bool {
        let used = self.bytes.len() + 2 * self.restarts.len() + 2;
        if used + row_bytes_max(K) > BLOCK_BYTES_MAX {
            return false;
        }
        if self.rows.is_multiple_of(RESTART_ROWS) {
            self.restarts.push(self.bytes.len() as u16);
            self.before = [0; K];
        }
        let same = row.key.iter().zip(&self.before).take_while(|(a, b)| a == b).count();
        // Two rows of one key do not meet in a block; a key of zeros after a restart has all in common with nothing.
        let same = same.min(K - 1);
        let mut head = same as u8;
        if row.count == 1 {
            head |= COUNT_IS_ONE;
        }
        if row.sum != 0 {
            head |= if row.sum == i128::from(row.count) { SUM_IS_COUNT } else { SUM_IS_WRITTEN };
        }
        self.bytes.push(head);
        put(&mut self.bytes, u128::from(row.key[same] - self.before[same]));
        row.key[same + 1..].iter().for_each(|number| put(&mut self.bytes, u128::from(*number)));
        if head & COUNT_IS_ONE == 0 {
            put(&mut self.bytes, u128::from(row.count));
        }
        if head & SUM_IS_WRITTEN != 0 {
            put(&mut self.bytes, ((row.sum << 1) ^ (row.sum >> 127)) as u128);
        }
        self.before = row.key;
        self.rows += 1;
        true
    }

    /// The value for the table, under its key.
    pub fn finish(mut self, key: &[u8]) -> Vec<u8> {
        self.restarts.iter().for_each(|place| self.bytes.extend_from_slice(&place.to_le_bytes()));
        self.bytes.extend_from_slice(&(self.restarts.len() as u16).to_le_bytes());
        framed(key, &self.bytes)
    }
}

fn put(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A block that is read.
pub(super) struct Block<'v, const K: usize> {
    rows: &'v [u8],
    restarts: &'v [[u8; 2]],
}

impl<'v, const K: usize> Block<'v, K> {
    pub fn open(key: &[u8], value: &'v [u8]) -> Result<Block<'v, K>, StoreError> {
        let body = unframed(key, value)?;
        let parts = body.split_last_chunk::<2>().and_then(|(body, count)| {
            let bytes = 2 * usize::from(u16::from_le_bytes(*count));
            body.split_at_checked(body.len().checked_sub(bytes)?)
        });
        let (rows, restarts) = parts.ok_or_else(|| damaged("it is too short"))?;
        Ok(Block { rows, restarts: restarts.as_chunks::<2>().0 })
    }

    /// Calls `each` for the rows with `first <= key <= last`, in order.
    pub fn scan(&self, first: &[u32; K], last: &[u32; K], each: &mut impl FnMut(&Row<K>)) -> Result<(), StoreError> {
        let place = |restart: &[u8; 2]| usize::from(u16::from_le_bytes(*restart));
        let mut failed = false;
        let beyond = self.restarts.partition_point(|restart| {
            let row = self.rows.get(place(restart)..).and_then(|rest| Cursor { rest }.row(&[0; K]));
            failed |= row.is_none();
            row.is_some_and(|row| row.key < *first)
        });
        if failed {
            return Err(damaged("a restart is none"));
        }
        // The rows between this restart and the next may hold the first one that is wanted.
        let start = self.restarts.get(beyond.saturating_sub(1)).map_or(0, place);
        let mut index = beyond.saturating_sub(1) * RESTART_ROWS;
        let mut cursor = Cursor { rest: &self.rows[start..] };
        let mut row = Row { key: [0; K], count: 0, sum: 0 };
        let ends = order(first)..=order(last);
        // Between the ends by all numbers but the last one: whatever that is.
        let inside = (order(&with_last(first, u32::MAX)), order(&with_last(last, 0)));
        let mut is_inside = false;
        while !cursor.rest.is_empty() {
            if index.is_multiple_of(RESTART_ROWS) {
                row.key = [0; K];
                is_inside = false;
            }
            if !cursor.next_of_group(&mut row) {
                row = cursor.row(&row.key).ok_or_else(|| damaged("a row is none"))?;
                let place = order(&row.key);
                is_inside = inside.0 < place && place < inside.1;
            }
            index += 1;
            if !is_inside {
                let place = order(&row.key);
                if place > *ends.end() {
                    return Ok(());
                }
                if place < *ends.start() {
                    continue;
                }
            }
            each(&row);
        }
        Ok(())
    }
}

fn with_last<const K: usize>(key: &[u32; K], number: u32) -> [u32; K] {
    let mut key = *key;
    key[K - 1] = number;
    key
}

/// Whether bytes are a block under an empty key, for [`crate::fuzz`].
#[doc(hidden)]
pub fn is_block(bytes: &[u8]) -> bool {
    let block = Block::<5>::open(&[], bytes);
    block.and_then(|block| block.scan(&[0; 5], &[u32::MAX; 5], &mut |_| {})).is_ok()
}

struct Cursor<'v> {
    rest: &'v [u8],
}

impl Cursor<'_> {
    /// The most common row, fast: another last number that is up to 16,383 higher, counted once, with no sum.
    fn next_of_group<const K: usize>(&mut self, row: &mut Row<K>) -> bool {
        let head = (K - 1) as u8 | COUNT_IS_ONE;
        let (step, rest) = match self.rest {
            [found, low, rest @ ..] if *found == head && *low < 0x80 => (u32::from(*low), rest),
            [found, low, high, rest @ ..] if *found == head && *high < 0x80 => {
                (u32::from(*low & 0x7f) | u32::from(*high) << 7, rest)
            }
            _ => return false,
        };
        let Some(number) = row.key[K - 1].checked_add(step) else { return false };
        row.key[K - 1] = number;
        (row.count, row.sum) = (1, 0);
        self.rest = rest;
        true
    }

    /// `None` for bytes that are no row.
    fn row<const K: usize>(&mut self, before: &[u32; K]) -> Option<Row<K>> {
        let (head, rest) = self.rest.split_first()?;
        self.rest = rest;
        let same = usize::from(head & 0x0f);
        if same >= K {
            return None;
        }
        let mut key = *before;
        key[same] = key[same].checked_add(self.number()?)?;
        for number in &mut key[same + 1..] {
            *number = self.number()?;
        }
        let count = if head & COUNT_IS_ONE != 0 { 1 } else { u64::try_from(self.wide()?).ok()? };
        let sum = match head & (SUM_IS_COUNT | SUM_IS_WRITTEN) {
            0 => 0,
            SUM_IS_COUNT => i128::from(count),
            _ => {
                let zigzag = self.wide()?;
                (zigzag >> 1) as i128 ^ -((zigzag & 1) as i128)
            }
        };
        Some(Row { key, count, sum })
    }

    fn number(&mut self) -> Option<u32> {
        let (first, rest) = self.rest.split_first()?;
        if *first < 0x80 {
            self.rest = rest;
            return Some(u32::from(*first));
        }
        u32::try_from(self.wide()?).ok()
    }

    fn wide(&mut self) -> Option<u128> {
        if let [low, high, rest @ ..] = self.rest
            && *high < 0x80
        {
            if *low < 0x80 {
                self.rest = &self.rest[1..];
                return Some(u128::from(*low));
            }
            self.rest = rest;
            return Some(u128::from(*low & 0x7f) | u128::from(*high) << 7);
        }
        self.wide_slowly()
    }

    fn wide_slowly(&mut self) -> Option<u128> {
        // Nearly all take a few bytes: 64 bits are enough for nine.
        let mut few = 0u64;
        for (index, byte) in self.rest.iter().take(9).enumerate() {
            few |= u64::from(byte & 0x7f) << (7 * index as u32);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Some(u128::from(few));
            }
        }
        let mut number = 0u128;
        for (index, byte) in self.rest.iter().take(19).enumerate() {
            number |= u128::from(byte & 0x7f) << (7 * index as u32);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Some(number);
            }
        }
        None
    }
}
