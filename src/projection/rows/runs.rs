//! The sorted runs of a table: which there are, and how there come to be few of them.
//!
//! ```text
//! table := (run u64 BE | the block's last key, K x u32 BE) -> block
//! block := crc32 of the key and what follows, u32 LE | rows | restarts u16 LE ... | how many restarts u16 LE
//! run   := the last flush that it has rows of, 56 bits | how often what it ends with was merged by and by, 8 bits
//! (empty key) -> crc32 | flushes u64 LE | the runs, from the oldest to the newest:
//!                (run u64 LE | rows u64 LE | phase u32 LE | from, K x u32 LE) ...
//! ```
//!
//! Runs of few rows are merged at once with what a flush brings, into one of [`AT_ONCE_ROWS_MAX`] at most. Large ones are
//! merged by and by: each flush moves the next rows of all of them, by key, into a *growing* run that stands before them, so
//! that no flush takes long and the table needs no room for rows twice. A run that is *shrinking* has its rows [from](Run) a
//! key on; those before it are in the growing one. A flush writes all of this in its transaction: what a crash leaves is the
//! table as of one flush, and the next one goes on from there.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable};

use super::block::{self, Block, BlockWriter};
use super::{Definition, FAN_IN_SMALL, Merge, Row, first_to_merge, framed, merge_parts, unframed};
use crate::projection::StoreError;

/// From so many rows on a run is large.
const LARGE_ROWS: u64 = if cfg!(test) { 16 } else { 1 << 15 };
/// Runs that are merged at once make one of at most so many rows.
const AT_ONCE_ROWS_MAX: u64 = FAN_IN_SMALL * LARGE_ROWS;
/// So many large runs of about one size are merged into one. Each time costs every row once more, some per cent of a flush;
/// each run costs every reader a search.
const FAN_IN_LARGE: u64 = if cfg!(test) { 2 } else { 16 };
/// Rows that a flush moves of each merge for one that it brings: above 1, so that of flushes of one size a merge is done
/// before the next one is due.
const MOVED_PER_ROW: u64 = 2;
/// Rows that a flush moves at least: a few milliseconds.
const MOVED_MIN: u64 = if cfg!(test) { 3 } else { 1 << 14 };

pub(super) type Table<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Whole = 0,
    /// The shrinking runs behind it are merged into it.
    Growing = 1,
    Shrinking = 2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run<const K: usize> {
    pub number: u64,
    /// That no other run has.
    pub rows: u64,
    phase: Phase,
    /// The first key that it has rows of; before it there may still be some that count no more.
    from: [u32; K],
}

pub(super) type KeyRange<const K: usize> = RangeInclusive<[u32; K]>;

/// Numbers of flushes that say which runs go together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Runs up to this flush are not merged with later ones.
    pub apart: u64,
    /// Those up to this one are of no use any more. It was a bound of the first kind before.
    pub forgotten: u64,
}

/// The runs of one state of the table.
#[derive(Clone, Debug)]
pub(super) struct Manifest<const K: usize> {
    pub flushes: u64,
    /// From the oldest to the newest.
    pub runs: Arc<Vec<Run<K>>>,
}

impl<const K: usize> Run<K> {
    /// Writes sorted rows as a run.
    fn write(table: &mut Table<'_>, flush: u64, rows: &[Row<K>]) -> Result<Run<K>, StoreError> {
        let number = flush << 8;
        let mut writer = RunWriter::new(number);
        rows.iter().try_for_each(|row| writer.push(table, row))?;
        Ok(Run { number, rows: writer.finish(table)?, phase: Phase::Whole, from: [0; K] })
    }

    /// The last flush that it has rows of.
    pub fn flush(&self) -> u64 {
        self.number >> 8
    }

    /// `None` of a run that is not large.
    fn level(&self) -> Option<u32> {
        (self.rows / LARGE_ROWS).checked_ilog(FAN_IN_LARGE)
    }

    /// Calls `each` for the rows within ranges, in order. The ranges are sorted and have no key in common. Each block is
    /// searched for and checked once, however many of the ranges it has rows of.
    pub fn scan(
        &self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        ranges: &[KeyRange<K>],
        each: &mut impl FnMut(&Row<K>),
    ) -> Result<(), StoreError> {
        let end = block_key(self.number, &[u32::MAX; K]);
        let mut left = &ranges[ranges.partition_point(|range| *range.end() < self.from)..];
        'ranges: while let Some(range) = left.first() {
            let start = block_key(self.number, range.start());
            for block in table.range(start.as_slice()..=end.as_slice()).map_err(StoreError::of)? {
                let (key, block) = block.map_err(StoreError::of)?;
                let (block_end, block) = (last_key_of(key.value())?, Block::<K>::open(key.value(), block.value())?);
                while let Some((range, others)) = left.split_first().filter(|(range, _)| *range.start() <= block_end) {
                    block.scan(range.start().max(&self.from), range.end(), each)?;
                    if *range.end() > block_end {
                        break;
                    }
                    left = others;
                }
                // The next range may begin far behind.
                if left.first().is_none_or(|range| *range.start() > block_end) {
                    continue 'ranges;
                }
            }
            break;
        }
        Ok(())
    }

    fn remove(&self, table: &mut Table<'_>) -> Result<(), StoreError> {
        let (first, last) = (block_key(self.number, &[0; K]), block_key(self.number, &[u32::MAX; K]));
        table.retain_in(first.as_slice()..=last.as_slice(), |_, _| false).map_err(StoreError::of)
    }

    /// Moves its rows out of the table.
    fn take(&self, table: &mut Table<'_>, rows: &mut Vec<Row<K>>) -> Result<(), StoreError> {
        let mut missing = self.rows as i64;
        self.scan(&*table, &[[0; K]..=[u32::MAX; K]], &mut |row| {
            missing -= 1;
            rows.push(*row);
        })?;
        match missing {
            0 => self.remove(table),
            _ => Err(block::damaged("its run has other rows than it should")),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&(self.phase as u32).to_le_bytes());
        self.from.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }

    fn from_bytes(bytes: &[u8]) -> Option<Run<K>> {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let (rows, rest) = rest.split_first_chunk::<8>()?;
        let (words, []) = rest.as_chunks::<4>() else { return None };
        let (phase, from) = words.split_first()?;
        let phase = match u32::from_le_bytes(*phase) {
            0 => Phase::Whole,
            1 => Phase::Growing,
            2 => Phase::Shrinking,
            _ => return None,
        };
        let from: &[[u8; 4]; K] = from.try_into().ok()?;
        let from = from.map(u32::from_le_bytes);
        Some(Run { number: u64::from_le_bytes(*number), rows: u64::from_le_bytes(*rows), phase, from })
    }
}

impl<const K: usize> Manifest<K> {
    pub fn empty() -> Manifest<K> {
        Manifest { flushes: 0, runs: Arc::default() }
    }

    pub fn read(transaction: &ReadTransaction, table: Definition) -> Result<Manifest<K>, StoreError> {
        let table = match transaction.open_table(table) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Manifest::empty()),
            table => table.map_err(StoreError::of)?,
        };
        let Some(value) = table.get([].as_slice()).map_err(StoreError::of)? else { return Ok(Manifest::empty()) };
        let damaged = || block::damaged("the list of runs is none");
        let (flushes, runs) = unframed(&[], value.value())?.split_first_chunk::<8>().ok_or_else(damaged)?;
        let runs = runs.chunks(20 + 4 * K).map(Run::from_bytes).collect::<Option<_>>().ok_or_else(damaged)?;
        Ok(Manifest { flushes: u64::from_le_bytes(*flushes), runs: Arc::new(runs) })
    }

    fn write(&self, table: &mut Table<'_>) -> Result<(), StoreError> {
        let mut body = Vec::with_capacity(8 + (20 + 4 * K) * self.runs.len());
        body.extend_from_slice(&self.flushes.to_le_bytes());
        self.runs.iter().for_each(|run| run.put(&mut body));
        table.insert([].as_slice(), framed(&[], &body).as_slice()).map_err(StoreError::of)?;
        Ok(())
    }

    /// The next flush: removes what is forgotten, writes sorted rows, and merges.
    pub fn flush(
        &mut self,
        table: &mut Table<'_>,
        new: &[Row<K>],
        merge: Merge<K>,
        bounds: &Bounds,
    ) -> Result<(), StoreError> {
        let flush = self.flushes + 1;
        let mut runs = Vec::clone(&self.runs);
        let kept = first_behind(&runs, bounds.forgotten);
        for run in runs.drain(..kept) {
            run.remove(table)?;
        }
        let apart = first_behind(&runs, bounds.apart);
        if !new.is_empty() {
            // Those that are shrinking, or growing, too: what is left of them has rows that no other run has.
            let sizes = runs[apart..].iter().map(|run| run.rows);
            let first = apart + first_to_merge(sizes, new.len() as u64, AT_ONCE_ROWS_MAX);
            let mut rows = Cow::Borrowed(new);
            if first < runs.len() {
                let mut parts = Vec::new();
                runs.drain(first..).try_for_each(|run| run.take(table, &mut parts))?;
                parts.extend_from_slice(new);
                merge_parts(&mut parts, merge);
                rows = Cow::Owned(parts);
            }
            runs.push(Run::write(table, flush, &rows)?);
        }
        begin_merges(&mut runs, apart);
        go_on_merging(table, &mut runs, merge, MOVED_MIN + MOVED_PER_ROW * new.len() as u64)?;
        *self = Manifest { flushes: flush, runs: Arc::new(runs) };
        self.write(table)
    }
}

/// The first run behind a bound: a growing run and what is merged into it lie all on one side of it.
fn first_behind<const K: usize>(runs: &[Run<K>], bound: u64) -> usize {
    let first = runs.iter().take_while(|run| run.flush() <= bound).count();
    assert!(runs.get(first).is_none_or(|run| run.phase != Phase::Shrinking), "a bound within a merge");
    first
}

/// Puts a growing run before runs that are so many that they are merged.
fn begin_merges<const K: usize>(runs: &mut Vec<Run<K>>, apart: usize) {
    while let Some((first, last)) = due(runs, apart) {
        runs[first..=last].iter_mut().for_each(|run| run.phase = Phase::Shrinking);
        // Another number than that of any run: all others are of other flushes, but the last of these.
        let number = runs[last].number + 1;
        assert_eq!(number >> 8, runs[last].flush(), "few merges end with rows of one flush");
        runs.insert(first, Run { number, rows: 0, phase: Phase::Growing, from: [0; K] });
    }
}

/// The first and the last of enough runs side by side, of which none is of a larger size; smaller ones before the last are
/// taken along.
fn due<const K: usize>(runs: &[Run<K>], apart: usize) -> Option<(usize, usize)> {
    let highest = runs.iter().filter_map(Run::level).max()?;
    (0..=highest).find_map(|level| {
        let (mut first, mut found) = (apart, 0);
        for (at, run) in runs.iter().enumerate().skip(apart) {
            if run.phase != Phase::Whole || run.level() > Some(level) {
                (first, found) = (at + 1, 0);
            } else if run.level() == Some(level) {
                found += 1;
                if found == FAN_IN_LARGE {
                    return Some((first, at));
                }
            }
        }
        None
    })
}

/// Moves at most about so many rows in each merge.
fn go_on_merging<const K: usize>(
    table: &mut Table<'_>,
    runs: &mut Vec<Run<K>>,
    merge: Merge<K>,
    rows_max: u64,
) -> Result<(), StoreError> {
    let mut at = 0;
    while at < runs.len() {
        if runs[at].phase == Phase::Growing {
            let behind = &runs[at + 1..];
            let inputs = behind.iter().take_while(|run| run.phase == Phase::Shrinking).count();
            let (growing, inputs) = runs[at..=at + inputs].split_first_mut().expect("the run itself");
            if move_rows(table, growing, inputs, merge, rows_max)? {
                growing.phase = Phase::Whole;
                let end = at + 1 + inputs.len();
                runs.drain(at + 1..end);
            }
        }
        at += 1;
    }
    Ok(())
}

/// The first block of a shrinking run, and the rows of it that are not moved yet.
struct Head<const K: usize> {
    key: Vec<u8>,
    last_key: [u32; K],
    rows: Vec<Row<K>>,
    moved: usize,
}

impl<const K: usize> Head<K> {
    /// `None` where the run has no rows left, and should have none.
    fn read(table: &Table<'_>, run: &Run<K>) -> Result<Option<Head<K>>, StoreError> {
        let (first, last) = (block_key(run.number, &[0; K]), block_key(run.number, &[u32::MAX; K]));
        let mut blocks = table.range(first.as_slice()..=last.as_slice()).map_err(StoreError::of)?;
        let block = match blocks.next() {
            None if run.rows > 0 => return Err(block::damaged("its run has fewer rows than it should")),
            None => return Ok(None),
            Some(block) => block,
        };
        let (key, block) = block.map_err(StoreError::of)?;
        let mut rows = Vec::new();
        Block::open(key.value(), block.value())?.scan(&run.from, &[u32::MAX; K], &mut |row| rows.push(*row))?;
        Ok(Some(Head { key: key.value().to_vec(), last_key: last_key_of(key.value())?, rows, moved: 0 }))
    }
}

/// Moves the first rows of shrinking runs into the growing one; whether they have no more.
fn move_rows<const K: usize>(
    table: &mut Table<'_>,
    growing: &mut Run<K>,
    shrinking: &mut [Run<K>],
    merge: Merge<K>,
    rows_max: u64,
) -> Result<bool, StoreError> {
    let mut heads = Vec::with_capacity(shrinking.len());
    for run in &*shrinking {
        heads.push(Head::read(table, run)?);
    }
    let mut writer = RunWriter::new(growing.number);
    let (mut rows, mut moved) = (Vec::new(), 0);
    // One block of all is used up by each turn.
    while let Some(last_key) = heads.iter().flatten().map(|head| head.last_key).min() {
        let next_key = |head: &Head<K>| head.rows.get(head.moved).map(|row| row.key);
        if moved >= rows_max {
            let from = heads.iter().flatten().filter_map(next_key).min().unwrap_or(last_key);
            shrinking.iter_mut().for_each(|run| run.from = from);
            break;
        }
        for (run, slot) in shrinking.iter_mut().zip(&mut heads) {
            let Some(head) = slot else { continue };
            let left = &head.rows[head.moved..];
            let taken = left.partition_point(|row| row.key <= last_key);
            rows.extend_from_slice(&left[..taken]);
            head.moved += taken;
            moved += taken as u64;
            let left = run.rows.checked_sub(taken as u64);
            run.rows = left.ok_or_else(|| block::damaged("its run has more rows than it should"))?;
            if head.last_key == last_key {
                table.remove(head.key.as_slice()).map_err(StoreError::of)?;
                *slot = Head::read(table, run)?;
            }
        }
        merge_parts(&mut rows, merge);
        rows.drain(..).try_for_each(|row| writer.push(table, &row))?;
    }
    growing.rows += writer.finish(table)?;
    Ok(heads.iter().all(Option::is_none))
}

/// The key of the block that ends with a row's key.
fn block_key<const K: usize>(run: u64, key: &[u32; K]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + 4 * K);
    bytes.extend_from_slice(&run.to_be_bytes());
    key.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    bytes
}

/// The last key of a block.
fn last_key_of<const K: usize>(block_key: &[u8]) -> Result<[u32; K], StoreError> {
    let numbers = block_key.get(8..).unwrap_or_default().as_chunks::<4>().0;
    let numbers: &[[u8; 4]; K] = numbers.try_into().map_err(|_| block::damaged("its key is none"))?;
    Ok(numbers.map(u32::from_be_bytes))
}

/// Writes rows that come sorted.
struct RunWriter<const K: usize> {
    run: u64,
    rows: u64,
    last_key: [u32; K],
    block: BlockWriter<K>,
}

impl<const K: usize> RunWriter<K> {
    fn new(run: u64) -> RunWriter<K> {
        RunWriter { run, rows: 0, last_key: [0; K], block: BlockWriter::new() }
    }

    fn push(&mut self, table: &mut Table<'_>, row: &Row<K>) -> Result<(), StoreError> {
        if !self.block.push(row) {
            self.insert(table)?;
            assert!(self.block.push(row), "an empty block takes any row");
        }
        self.rows += 1;
        self.last_key = row.key;
        Ok(())
    }

    fn insert(&mut self, table: &mut Table<'_>) -> Result<(), StoreError> {
        let block = std::mem::replace(&mut self.block, BlockWriter::new());
        let key = block_key(self.run, &self.last_key);
        table.insert(key.as_slice(), block.finish(&key).as_slice()).map_err(StoreError::of)?;
        Ok(())
    }

    /// How many rows there were.
    fn finish(mut self, table: &mut Table<'_>) -> Result<u64, StoreError> {
        if self.rows > 0 {
            self.insert(table)?;
        }
        Ok(self.rows)
    }
}
