//! The totals as they are stored, so that a start need not add them up.
//!
//! A flush stores the totals that have changed, as a run of rows. There is no end to those: the sweep makes the old ones
//! superfluous. Whenever some thousand rows have come, a *step* of it writes whole chunks besides, with all totals of 256
//! neighbours, eight totals for each row, and goes on where the last step ended. Once it has come by all chunks, rows
//! of before this *round* are of no use any more. So rows take a part of the room that the totals take, and of a start's time.
//!
//! A start reads the chunks, and puts the rows on them in their order: the newest row of a total is as new as its chunk at
//! least, or is gone. Only rows of between two steps are merged with each other, so that those of an old round are gone as a
//! whole.

use std::sync::Arc;

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

use super::chunks::CHUNK;
use super::series::{Series, SubjectKind};
use super::totals::{ChunkKey, Total, Totals};
use crate::coliseum::tables::{self, Key, META, META_SWEEP, Reader, Writer, failed};
use crate::projection::StoreError;
use crate::projection::rows::{self, Rows};

const ROWS: rows::Definition = TableDefinition::new("metrics.totals");
const CHUNKS: TableDefinition<ChunkKey, &[u8]> = TableDefinition::new("metrics.total_chunks");

/// So many rows are worth a step. Tests have few.
const STEP_ROWS: u64 = if cfg!(test) { 1 << 4 } else { 1 << 15 };
/// Totals that a step writes for each row that has come.
const SWEPT_PER_ROW: u64 = 8;

/// Where the totals of everything are; they are written at each step.
const GLOBAL: ChunkKey = (Series::LAST.of(SubjectKind::Global), 0);

/// How far the sweep has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sweep {
    /// Where the next step begins.
    next: ChunkKey,
    /// The flush before this round of the sweep.
    round: u64,
    /// The flush of the last step.
    step: u64,
}

/// The writing side.
pub(super) struct Stored {
    rows: Rows<3>,
    sweep: Sweep,
    /// Rows since the last step.
    unswept: u64,
}

/// What changed since the last flush, and the chunks of a step.
pub(super) struct Changes {
    rows: rows::Changes<3>,
    sweep: Sweep,
    chunks: Vec<(ChunkKey, Writer)>,
}

impl Stored {
    /// Reads all totals.
    pub fn open(database: &redb::Database, stored: &Arc<ReadTransaction>) -> Result<(Stored, Totals), StoreError> {
        let mut rows = Rows::open(database, ROWS, rows::replace)?;
        let meta = stored.open_table(META).map_err(failed)?;
        let (next, round, step) = tables::optional(&meta, META_SWEEP)?.unwrap_or_default();
        let sweep = Sweep { next, round, step };
        let mut totals = Totals::default();
        read_chunks(stored, &mut totals)?;
        let mut restored = Ok(());
        rows.snapshot(stored)?.scan(&[0; 3], &[u32::MAX; 3], &mut |row| {
            if restored.is_ok() {
                restored = totals.restore(row.key, Total { count: row.count, sum: row.sum });
            }
        })?;
        restored?;
        let unswept = rows.stored_behind(sweep.step);
        Ok((Stored { rows, sweep, unswept }, totals))
    }

    /// Takes what has changed, and a step's chunks if one is due.
    pub fn changes(&mut self, totals: &mut Totals) -> Changes {
        totals.unflushed(&mut |key, total| {
            self.rows.add(key, total.count, total.sum);
            self.unswept += 1;
        });
        let mut rows = self.rows.changes();
        rows.keep_apart(self.sweep.step);
        let is_due = self.unswept >= STEP_ROWS;
        let chunks = if is_due { self.step(totals, &mut rows) } else { Vec::new() };
        Changes { rows, sweep: self.sweep, chunks }
    }

    fn step(&mut self, totals: &Totals, rows: &mut rows::Changes<3>) -> Vec<(ChunkKey, Writer)> {
        let flush = self.rows.flushes();
        let room = (std::mem::take(&mut self.unswept) * SWEPT_PER_ROW).div_ceil(CHUNK as u64) as usize;
        let all = totals.chunks();
        let ahead = &all[all.partition_point(|key| *key < self.sweep.next)..];
        let (swept, left) = ahead.split_at(room.min(ahead.len()));
        let write = |key: ChunkKey, put: &dyn Fn(&mut Writer)| {
            let mut value = Writer::value();
            put(&mut value);
            (key, value)
        };
        let mut chunks: Vec<_> = swept.iter().map(|key| write(*key, &|out| totals.write_chunk(*key, out))).collect();
        chunks.push(write(GLOBAL, &|out| totals.write_global(out)));
        self.sweep.step = flush;
        match left.first() {
            Some(next) => self.sweep.next = *next,
            None => {
                rows.forget(self.sweep.round);
                (self.sweep.next, self.sweep.round) = (ChunkKey::default(), flush);
            }
        }
        chunks
    }

    /// Goes on from changes that are written.
    pub fn written(&mut self, changes: Changes) {
        self.rows.written(changes.rows);
    }
}

impl Changes {
    pub fn write(&mut self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        self.rows.write(transaction)?;
        let mut stored = transaction.open_table(CHUNKS).map_err(failed)?;
        for (key, value) in self.chunks.drain(..) {
            stored.insert(key, value.into_value(checked_key(key)).as_slice()).map_err(failed)?;
        }
        let Sweep { next, round, step } = self.sweep;
        let mut meta = transaction.open_table(META).map_err(failed)?;
        tables::put(&mut meta, META_SWEEP, (next, round, step))
    }
}

fn checked_key((series, chunk): ChunkKey) -> Key<'static> {
    Key::Pair(series.into(), chunk.into())
}

/// Reads all chunks.
fn read_chunks(stored: &ReadTransaction, totals: &mut Totals) -> Result<(), StoreError> {
    let table = match stored.open_table(CHUNKS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        table => table.map_err(failed)?,
    };
    for chunk in table.range::<ChunkKey>(..).map_err(failed)? {
        let (key, value) = chunk.map_err(failed)?;
        let key = key.value();
        let mut value = Reader::value(value.value(), checked_key(key), "chunk of totals")?;
        match key {
            GLOBAL => totals.restore_global(&mut value)?,
            key => totals.restore_chunk(key, &mut value)?,
        }
        value.end()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::Metric;
    use proptest::prelude::*;
    use redb::ReadableDatabase as _;
    use redb::backends::InMemoryBackend;

    /// What may happen between two flushes.
    #[derive(Clone, Debug)]
    enum Op {
        Add {
            kind: SubjectKind,
            subject: u32,
            metric: Metric,
            count: u64,
            sum: i128,
        },
        /// One that was added leaves the next window.
        Leave(prop::sample::Index),
        Flush,
        Start,
    }

    fn op() -> impl Strategy<Value = Op> {
        let kind = prop::sample::select(SubjectKind::ALL.to_vec());
        let metric = prop::sample::select(vec![Metric::TracksPlayed, Metric::VotesCast]);
        let sum = prop_oneof![4 => -3i128..1000, 1 => Just(i128::from(i32::MAX)), 1 => Just(1i128 << 70)];
        let count = prop_oneof![4 => 1u64..3, 1 => Just(40_000)];
        let add = (kind, 0..4 * CHUNK as u32, metric, count, sum).prop_map(|(kind, subject, metric, count, sum)| {
            let (subject, sum) = (
                if kind == SubjectKind::Global { 0 } else { subject },
                if metric == Metric::VotesCast { sum } else { i128::from(count) },
            );
            Op::Add { kind, subject, metric, count, sum }
        });
        prop_oneof![
            12 => add,
            4 => any::<prop::sample::Index>().prop_map(Op::Leave),
            3 => Just(Op::Flush),
            1 => Just(Op::Start),
        ]
    }

    /// Whose, of which series, count, sum, and how many windows it has left.
    type Counted = (SubjectKind, u32, Series, u64, i128, usize);
    type Model = BTreeMap<(u32, u32), [Total; 3]>;

    /// Every total that is not zero.
    fn told(totals: &Totals) -> Model {
        let mut told = totals.all();
        told.retain(|_, totals| *totals != [Total::default(); 3]);
        told
    }

    fn flush(database: &redb::Database, stored: &mut Stored, totals: &mut Totals) {
        let mut changes = stored.changes(totals);
        let transaction = database.begin_write().expect("in memory");
        changes.write(&transaction).expect("writes");
        transaction.commit().expect("in memory");
        stored.written(changes);
    }

    #[test]
    fn rows_take_a_part_of_the_room_of_the_totals_however_many_come() {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        tables::create(&database).expect("in memory");
        let open = || Stored::open(&database, &Arc::new(database.begin_read().expect("in memory"))).expect("whole");
        let (mut stored, mut totals) = open();
        let (all, series) = (4 * CHUNK as u32, Series::metric(Metric::TracksPlayed, None));
        // Whose row goes long before the end.
        totals.add(SubjectKind::Global, 0, series, [1; 3], (7, 7));
        for number in 0..20 * all {
            totals.add(SubjectKind::User, number * 7 % all, series, [1; 3], (1, 1));
            if number % 8 == 0 {
                flush(&database, &mut stored, &mut totals);
            }
            if number % 5_000 == 0 {
                (stored, totals) = open();
            }
        }
        flush(&database, &mut stored, &mut totals);
        let found = told(&open().1);
        assert_eq!(found[&(series.of(SubjectKind::Global), 0)], [Total { count: 7, sum: 7 }; 3]);
        assert_eq!(found, told(&totals));
        let rows = stored.rows.stored_behind(0);
        assert!(rows <= 2 * u64::from(all) / SWEPT_PER_ROW + 2 * STEP_ROWS, "{rows} rows");
    }

    #[test]
    fn a_damaged_chunk_is_an_error() {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        tables::create(&database).expect("in memory");
        let open = || Stored::open(&database, &Arc::new(database.begin_read().expect("in memory")));
        let (mut stored, mut totals) = open().expect("empty");
        for subject in 0..STEP_ROWS as u32 {
            totals.add(SubjectKind::User, subject, Series::metric(Metric::VotesCast, None), [1; 3], (1, 5));
        }
        totals.add(SubjectKind::Global, 0, Series::metric(Metric::VotesCast, None), [1; 3], (1, 5));
        flush(&database, &mut stored, &mut totals);
        let of_user = (Series::metric(Metric::VotesCast, None).of(SubjectKind::User), 0);
        let put = |key: ChunkKey, value: &[u8]| {
            let transaction = database.begin_write().expect("in memory");
            transaction.open_table(CHUNKS).expect("made by the flush").insert(key, value).expect("in memory");
            transaction.commit().expect("in memory");
        };
        for key in [of_user, GLOBAL] {
            let chunks = database.begin_read().expect("in memory").open_table(CHUNKS).expect("made by the flush");
            let whole = chunks.get(key).expect("readable").expect("it was due").value().to_vec();
            for at in 0..whole.len() {
                let mut bad = whole.clone();
                bad[at] ^= 4;
                put(key, &bad);
                assert!(open().is_err(), "{at}");
            }
            // What is wrong behind a right checksum is one too.
            let mut wrong = Writer::value();
            wrong.put(3u8);
            put(key, &wrong.into_value(checked_key(key)));
            assert!(open().is_err());
            put(key, &whole);
        }
        let beyond = (of_user.0, u32::MAX);
        put(beyond, &Writer::value().into_value(checked_key(beyond)));
        assert!(open().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn a_start_finds_the_totals_of_the_last_flush_and_old_rows_go(
            ops in prop::collection::vec(op(), 1..150),
        ) {
            let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
            tables::create(&database).expect("in memory");
            let open = || Stored::open(&database, &Arc::new(database.begin_read().expect("in memory"))).expect("whole");
            let (mut stored, mut totals) = open();
            let (mut flushed, mut counted): (Model, Vec<Counted>) = Default::default();
            for op in ops {
                match op {
                    Op::Add { kind, subject, metric, count, sum } => {
                        let series = Series::metric(metric, None);
                        totals.add(kind, subject, series, [1; 3], (count, sum));
                        counted.push((kind, subject, series, count, sum, 0));
                    }
                    Op::Leave(index) if !counted.is_empty() => {
                        let index = index.index(counted.len());
                        let (kind, subject, series, count, sum, window) = &mut counted[index];
                        let mut effect = [0; 3];
                        effect[*window] = -1;
                        totals.add(*kind, *subject, *series, effect, (*count, *sum));
                        *window += 1;
                        if *window == 2 {
                            counted.swap_remove(index);
                        }
                    }
                    Op::Leave(_) => {}
                    Op::Flush => {
                        flush(&database, &mut stored, &mut totals);
                        flushed = told(&totals);
                    }
                    Op::Start => {
                        (stored, totals) = open();
                                    counted.clear();
                    }
                }
            }
            prop_assert_eq!(told(&open().1), flushed);
        }
    }
}
