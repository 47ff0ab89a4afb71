//! Rows of numbers in sorted runs: what a projection keeps too much of for memory, and adds to too fast for one key a row.
//!
//! A [`Row`] is a key of `K` numbers, a count and a sum. [`Rows::add`] only appends. A snapshot closes what is open into a
//! sorted slab in memory; [`Changes`] take all slabs and are written, while more rows come, as one sorted *run* of blocks into
//! a redb table, where runs are merged so that there are few of them ([`runs`]). Rows of one key are merged where they meet,
//! by the [`Merge`] of the table, so who reads has to merge too.
//!
//! A [`Snapshot`] holds one read transaction and the slabs that are not in it: one prefix of what was added, for as long as
//! it is held, without a lock.

mod block;
mod runs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};

use super::StoreError;
#[doc(hidden)]
pub use block::is_block;
pub use block::{framed, unframed};
use runs::{Bounds, KeyRange, Manifest, Run};

/// So many small runs, or slabs, of about one size are merged into one of the next size, that many times as large.
const FAN_IN_SMALL: u64 = if cfg!(test) { 3 } else { 8 };
/// Up to about this many rows they are of the first size.
const ROWS_SMALL: u64 = 1 << 9;

/// The table of one set of rows.
pub type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// One row; rows are sorted by their keys, the first number first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<const K: usize> {
    pub key: [u32; K],
    pub count: u64,
    pub sum: i128,
}

/// Merges a newer row into an older one of the same key.
pub type Merge<const K: usize> = fn(&mut Row<K>, &Row<K>);

/// Counts and sums add up.
pub fn add<const K: usize>(older: &mut Row<K>, newer: &Row<K>) {
    older.count += newer.count;
    older.sum += newer.sum;
}

/// The newer row counts.
pub fn replace<const K: usize>(older: &mut Row<K>, newer: &Row<K>) {
    *older = *newer;
}

type Slab<const K: usize> = Arc<Vec<Row<K>>>;

/// The writing side.
pub struct Rows<const K: usize> {
    table: Definition,
    merge: Merge<K>,
    /// In the order in which they were added.
    open: Vec<Row<K>>,
    /// Sorted; few of one size.
    sealed: Vec<Slab<K>>,
    /// Taken by [`Changes`] that may not be committed yet.
    in_flight: Vec<Slab<K>>,
    /// The last changes are not known to be committed.
    was_taken: bool,
    /// How many changes were taken, those in flight included.
    flushes: u64,
    /// As of the last changes that are written.
    written: Manifest<K>,
    /// As of the last read transaction.
    stored: Manifest<K>,
}

/// What was added up to one moment, on its way into the table.
pub struct Changes<const K: usize> {
    table: Definition,
    merge: Merge<K>,
    slabs: Vec<Slab<K>>,
    /// As of the changes before; once they are written, as of these.
    manifest: Manifest<K>,
    bounds: Bounds,
}

/// Every row of one moment.
#[derive(Clone)]
pub struct Snapshot<const K: usize> {
    table: Definition,
    /// `None` where nothing was ever flushed.
    stored: Option<Arc<ReadTransaction>>,
    runs: Arc<Vec<Run<K>>>,
    slabs: Vec<Slab<K>>,
}

impl<const K: usize> Rows<K> {
    /// Goes on with what the table holds; it is made by the first flush.
    pub fn open(database: &redb::Database, table: Definition, merge: Merge<K>) -> Result<Rows<K>, StoreError> {
        let transaction = database.begin_read().map_err(StoreError::of)?;
        let manifest = Manifest::read(&transaction, table)?;
        Ok(Rows {
            table,
            merge,
            open: Vec::new(),
            sealed: Vec::new(),
            in_flight: Vec::new(),
            was_taken: false,
            flushes: manifest.flushes,
            stored: manifest.clone(),
            written: manifest,
        })
    }

    pub fn add(&mut self, key: [u32; K], count: u64, sum: i128) {
        self.open.push(Row { key, count, sum });
    }

    /// Closes what is open, so that it can be shared.
    fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        // As much as last time, and a little more, is likely to come again.
        let next = Vec::with_capacity(self.open.len() + self.open.len() / 4);
        let mut rows = std::mem::replace(&mut self.open, next);
        sort_and_merge(&mut rows, self.merge);
        let first = first_to_merge(self.sealed.iter().map(|slab| slab.len() as u64), rows.len() as u64, u64::MAX);
        let mut parts: Vec<&[Row<K>]> = self.sealed[first..].iter().map(|slab| slab.as_slice()).collect();
        if !parts.is_empty() {
            parts.push(&rows);
            rows = merged(&parts, self.merge);
            self.sealed.truncate(first);
        }
        self.sealed.push(Arc::new(rows));
    }

    /// Every row added up to now. `stored` is a transaction of this moment.
    pub fn snapshot(&mut self, stored: &Arc<ReadTransaction>) -> Result<Snapshot<K>, StoreError> {
        self.seal();
        if self.was_taken {
            self.stored = Manifest::read(stored, self.table)?;
            if self.stored.flushes == self.flushes {
                self.in_flight.clear();
                self.was_taken = false;
            }
        }
        Ok(Snapshot {
            table: self.table,
            stored: (!self.stored.runs.is_empty()).then(|| stored.clone()),
            runs: self.stored.runs.clone(),
            slabs: self.in_flight.iter().chain(&self.sealed).cloned().collect(),
        })
    }

    /// Whether the last snapshot held all changes that were taken.
    pub fn is_stored(&self) -> bool {
        !self.was_taken
    }

    /// Takes every row added since the last changes, which have to be written by now. Snapshots go on to tell of them.
    pub fn changes(&mut self) -> Changes<K> {
        self.seal();
        let slabs = std::mem::take(&mut self.sealed);
        self.in_flight.clone_from(&slabs);
        self.was_taken = true;
        self.flushes += 1;
        let manifest = self.written.clone();
        Changes { table: self.table, merge: self.merge, slabs, manifest, bounds: Bounds::default() }
    }

    /// How many changes were taken, which numbers the flush of the last ones.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Rows that the flushes behind one brought.
    pub fn stored_behind(&self, flush: u64) -> u64 {
        self.written.runs.iter().filter(|run| run.flush() > flush).map(|run| run.rows).sum()
    }

    /// Goes on from changes that are written.
    pub fn written(&mut self, changes: Changes<K>) {
        self.written = changes.manifest;
    }
}

impl<const K: usize> Changes<K> {
    /// Writes them. Where the transaction is not committed, the [`Rows`] are of no use any more.
    pub fn write(&mut self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let slabs = std::mem::take(&mut self.slabs);
        match slabs.as_slice() {
            [only] => self.write_run(transaction, only),
            several => {
                let parts: Vec<&[Row<K>]> = several.iter().map(|slab| slab.as_slice()).collect();
                self.write_run(transaction, &merged(&parts, self.merge))
            }
        }
    }

    /// Rows of the flushes up to one are not merged with later ones: they can be forgotten by themselves. To be said of all
    /// changes.
    pub fn keep_apart(&mut self, flush: u64) {
        self.bounds.apart = flush;
    }

    /// Removes the rows of the flushes up to one, from which all later ones were kept apart.
    pub fn forget(&mut self, flush: u64) {
        self.bounds.forgotten = flush;
    }

    /// Sorts rows and merges those of one key, as a run holds them.
    pub fn sort(&self, rows: &mut Vec<Row<K>>) {
        sort_and_merge(rows, self.merge);
    }

    /// Writes rows that were kept elsewhere until now in the place of its own: no snapshot tells of them before they are
    /// stored.
    pub fn write_rows(&mut self, transaction: &WriteTransaction, mut rows: Vec<Row<K>>) -> Result<(), StoreError> {
        debug_assert!(self.slabs.is_empty(), "rows are kept here or there");
        sort_and_merge(&mut rows, self.merge);
        self.write_run(transaction, &rows)
    }

    /// Writes sorted rows.
    fn write_run(&mut self, transaction: &WriteTransaction, new: &[Row<K>]) -> Result<(), StoreError> {
        let mut table = transaction.open_table(self.table).map_err(StoreError::of)?;
        self.manifest.flush(&mut table, new, self.merge, &self.bounds)
    }
}

impl<const K: usize> Snapshot<K> {
    /// Calls `each` for the rows with `first <= key <= last`, run by run from the oldest to the newest, each sorted: rows of
    /// one key may come more than once, the older first.
    pub fn scan(&self, first: &[u32; K], last: &[u32; K], each: &mut impl FnMut(&Row<K>)) -> Result<(), StoreError> {
        match first <= last {
            true => self.scan_ranges(&[*first..=*last], each),
            false => Ok(()),
        }
    }

    /// The same for several ranges, which are sorted and have no key in common: for much less than a scan each.
    pub fn scan_ranges(&self, ranges: &[KeyRange<K>], each: &mut impl FnMut(&Row<K>)) -> Result<(), StoreError> {
        assert!(ranges.is_sorted_by(|one, next| one.end() < next.start()), "ranges are sorted and apart");
        if let Some(stored) = &self.stored {
            let table = stored.open_table(self.table).map_err(StoreError::of)?;
            for run in self.runs.iter() {
                run.scan(&table, ranges, each)?;
            }
        }
        for slab in &self.slabs {
            for range in ranges {
                let start = slab.partition_point(|row| row.key < *range.start());
                slab[start..].iter().take_while(|row| row.key <= *range.end()).for_each(&mut *each);
            }
        }
        Ok(())
    }

    /// What it has within ranges, in memory: for who asks for much of that. `None`: these are more than `most` rows.
    pub fn within(&self, ranges: &[KeyRange<K>], most: usize) -> Result<Option<Snapshot<K>>, StoreError> {
        let mut rows = Vec::new();
        self.scan_ranges(ranges, &mut |row| {
            if rows.len() <= most {
                rows.push(*row);
            }
        })?;
        // Rows of one key stay in their order.
        rows.sort_by_key(|row| order(&row.key));
        let is_all = rows.len() <= most;
        let slabs = vec![Arc::new(rows)];
        Ok(is_all.then(|| Snapshot { table: self.table, stored: None, runs: Arc::default(), slabs }))
    }
}

/// From which of some sorted parts, given by their lengths, on the last ones are merged with a new one.
fn first_to_merge(
    parts: impl ExactSizeIterator<Item = u64> + DoubleEndedIterator + Clone,
    new: u64,
    most: u64,
) -> usize {
    let size = |rows: u64| (rows / ROWS_SMALL).max(1).ilog(FAN_IN_SMALL);
    let (mut merged, mut rows) = (0, new);
    loop {
        let (mut more, mut all) = (0, rows);
        for part in parts.clone().rev().skip(merged) {
            if size(part) > size(rows) || all + part > most {
                break;
            }
            more += 1;
            all += part;
        }
        if more < FAN_IN_SMALL as usize - 1 {
            return parts.len() - merged;
        }
        (merged, rows) = (merged + more, all);
    }
}

/// The order of keys, as a few wide numbers.
fn order<const K: usize>(key: &[u32; K]) -> (u128, u128) {
    let wide = |numbers: &[u32]| numbers.iter().fold(0u128, |wide, number| wide << 32 | u128::from(*number));
    let (first, rest) = key.split_at(K.min(4));
    (wide(first), wide(rest))
}

/// Merges sorted parts, from the oldest to the newest, into one.
fn merged<const K: usize>(parts: &[&[Row<K>]], merge: Merge<K>) -> Vec<Row<K>> {
    let mut rows = parts.concat();
    merge_parts(&mut rows, merge);
    rows
}

/// The same where the parts lie one behind the other. The sort finds the parts and merges them; it is stable.
fn merge_parts<const K: usize>(rows: &mut Vec<Row<K>>, merge: Merge<K>) {
    rows.sort_by_key(|row| order(&row.key));
    merge_equal(rows, merge);
}

/// Stable: the older row of two with one key stays before the newer one.
fn sort_and_merge<const K: usize>(rows: &mut Vec<Row<K>>, merge: Merge<K>) {
    if !rows.is_sorted_by_key(|row| order(&row.key)) {
        sort(rows);
    }
    merge_equal(rows, merge);
}

/// Merges rows of one key that lie side by side, the older first.
fn merge_equal<const K: usize>(rows: &mut Vec<Row<K>>, merge: Merge<K>) {
    rows.dedup_by(|later, kept| {
        let same = later.key == kept.key;
        if same {
            merge(kept, later);
        }
        same
    });
}

/// Numbers that may be passed over for each row that is dealt out: half a nanosecond each, where sorting takes hundreds.
const DEALT_SPREAD_MAX: usize = 128;

/// Where keys start with a number that is dense, as subjects are, rows are dealt out by it first: that reads and writes each
/// once, and what is left to sort are small groups.
fn sort<const K: usize>(rows: &mut Vec<Row<K>>) {
    let highest = rows.iter().map(|row| row.key[0]).max().unwrap_or(0) as usize;
    if highest > DEALT_SPREAD_MAX * rows.len() {
        return rows.sort_by_key(|row| order(&row.key));
    }
    let mut starts = vec![0u32; highest + 2];
    rows.iter().for_each(|row| starts[row.key[0] as usize + 1] += 1);
    (0..=highest).for_each(|number| starts[number + 1] += starts[number]);
    let mut dealt = vec![Row { key: [0; K], count: 0, sum: 0 }; rows.len()];
    for row in rows.iter() {
        let place = &mut starts[row.key[0] as usize];
        dealt[*place as usize] = *row;
        *place += 1;
    }
    dealt.chunk_by_mut(|a, b| a.key[0] == b.key[0]).for_each(|group| group.sort_by_key(|row| order(&row.key)));
    *rows = dealt;
}
