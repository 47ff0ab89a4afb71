use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use redb::{ReadableDatabase as _, ReadableTable as _};

use super::block::{Block, BlockWriter};
use super::*;

const TABLE: Definition = TableDefinition::new("rows");

fn database() -> redb::Database {
    redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory")
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..4, 1 => 120u32..140, 1 => any::<u32>()]
}

fn sum() -> impl Strategy<Value = i128> {
    prop_oneof![3 => Just(0i128), 3 => -3i128..3, 1 => any::<i64>().prop_map(i128::from), 1 => any::<i64>().prop_map(|n| i128::from(n) << 50)]
}

#[derive(Clone, Debug)]
enum Step {
    Add([u32; 3], u64, i128),
    Seal,
    /// Takes changes, if none are on their way.
    Take,
    /// Writes and commits them; with a snapshot before the rows know of it.
    Commit {
        early: bool,
    },
    /// Everything that was not committed is lost, as after a crash.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (prop::array::uniform3(number()), 0u64..300, sum()).prop_map(|(key, count, sum)| Step::Add(key, count, sum)),
        3 => Just(Step::Seal),
        3 => Just(Step::Take),
        3 => any::<bool>().prop_map(|early| Step::Commit { early }),
        1 => Just(Step::Reopen),
    ]
}

fn flush_into<const K: usize>(rows: &mut Rows<K>, transaction: &WriteTransaction) {
    let mut changes = rows.changes();
    changes.write(transaction).expect("writes");
    rows.written(changes);
}

fn everything(
    snapshot: &Snapshot<3>,
    first: &[u32; 3],
    last: &[u32; 3],
    merge: Merge<3>,
) -> BTreeMap<[u32; 3], (u64, i128)> {
    let range = *first..=*last;
    if range.is_empty() {
        snapshot.scan(first, last, &mut |row| panic!("{row:?} is in no range")).expect("readable");
        return BTreeMap::new();
    }
    everything_in(snapshot, &[range], merge)
}

fn everything_in(snapshot: &Snapshot<3>, ranges: &[KeyRange<3>], merge: Merge<3>) -> BTreeMap<[u32; 3], (u64, i128)> {
    let mut found: BTreeMap<[u32; 3], Row<3>> = BTreeMap::new();
    let mut take = |row: &Row<3>| {
        found.entry(row.key).and_modify(|older| merge(older, row)).or_insert(*row);
    };
    snapshot.scan_ranges(ranges, &mut take).expect("readable");
    found.into_iter().map(|(key, row)| (key, (row.count, row.sum))).collect()
}

/// Some of these ranges, sorted, without a key in common.
fn apart(ranges: &[([u32; 3], [u32; 3])]) -> Vec<KeyRange<3>> {
    let mut sorted: Vec<KeyRange<3>> = ranges.iter().map(|(first, last)| *first..=*last).collect();
    sorted.retain(|range| !range.is_empty());
    sorted.sort_by_key(|range| *range.start());
    sorted.dedup_by(|later, kept| later.start() <= kept.end());
    sorted
}

proptest! {
    #[test]
    fn every_snapshot_is_what_was_added_until_then(
        steps in prop::collection::vec(step(), 1..800),
        ranges in prop::collection::vec((prop::array::uniform3(number()), prop::array::uniform3(number())), 1..6),
        replaces in any::<bool>(),
    ) {
        let merge: Merge<3> = if replaces { replace } else { add };
        let database = database();
        let mut rows = Rows::<3>::open(&database, TABLE, merge).expect("empty");
        let mut model: BTreeMap<[u32; 3], (u64, i128)> = BTreeMap::new();
        let mut committed = model.clone();
        let mut taken = None;
        let mut held = Vec::new();
        let snapshot = |rows: &mut Rows<3>| {
            let stored = Arc::new(database.begin_read().expect("in memory"));
            rows.snapshot(&stored).expect("readable")
        };
        for step in steps {
            match step {
                Step::Add(key, count, sum) => {
                    rows.add(key, count, sum);
                    let cell = model.entry(key).or_default();
                    *cell = if replaces { (count, sum) } else { (cell.0 + count, cell.1 + sum) };
                }
                Step::Seal => held.push((snapshot(&mut rows), model.clone())),
                Step::Take if taken.is_none() => taken = Some((rows.changes(), model.clone())),
                Step::Take => {}
                Step::Commit { early } => {
                    let Some((mut changes, holds)) = taken.take() else { continue };
                    let transaction = database.begin_write().expect("in memory");
                    changes.write(&transaction).expect("writes");
                    transaction.commit().expect("in memory");
                    committed = holds;
                    if early {
                        held.push((snapshot(&mut rows), model.clone()));
                    }
                    rows.written(changes);
                }
                Step::Reopen => {
                    taken = None;
                    rows = Rows::open(&database, TABLE, merge).expect("what was written");
                    model = committed.clone();
                }
            }
        }
        held.push((snapshot(&mut rows), model));
        for (snapshot, model) in &held {
            prop_assert_eq!(&everything(snapshot, &[0; 3], &[u32::MAX; 3], merge), model);
            for (first, last) in &ranges {
                let expected = if first <= last { model.range(*first..=*last).map(|(k, v)| (*k, *v)).collect() } else { BTreeMap::new() };
                prop_assert_eq!(everything(snapshot, first, last, merge), expected);
            }
            let several = apart(&ranges);
            let is_in = |key: &[u32; 3]| several.iter().any(|range| range.contains(key));
            let expected = model.iter().filter(|(key, _)| is_in(key)).map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(everything_in(snapshot, &several, merge), expected);
            let mut rows = 0;
            snapshot.scan_ranges(&several, &mut |_| rows += 1).expect("readable");
            let narrowed = snapshot.within(&several, rows).expect("readable").expect("as many rows as there may be");
            let expected = model.iter().filter(|(key, _)| is_in(key)).map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(everything(&narrowed, &[0; 3], &[u32::MAX; 3], merge), expected);
            if let Some(fewer) = rows.checked_sub(1) {
                prop_assert!(snapshot.within(&several, fewer).expect("readable").is_none());
            }
        }
    }

    #[test]
    fn rows_are_sorted_by_their_keys_and_those_of_one_key_stay_in_order(
        keys in prop::collection::vec((0u32..6, prop_oneof![0u32..5, 1_000_000u32..1_000_400, any::<u32>()], 0u32..700), 0..1500),
        same in any::<[bool; 3]>(),
    ) {
        let fixed = |number: u32, is_same: bool| if is_same { 7 } else { number };
        let row = |(at, (a, b, c)): (usize, &(u32, u32, u32))| {
            Row { key: [fixed(*a, same[0]), fixed(*b, same[1]), fixed(*c, same[2])], count: at as u64, sum: 0 }
        };
        let mut rows: Vec<Row<3>> = keys.iter().enumerate().map(row).collect();
        let mut expected = rows.clone();
        expected.sort_by_key(|row| row.key);
        super::sort(&mut rows);
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn keys_of_five_numbers_are_sorted_by_all_of_them_however_large_these_are(
        keys in prop::collection::vec(prop::array::uniform5(any::<u32>()), 0..300), bits in prop::array::uniform5(0u32..=32),
    ) {
        let cut = |key: &[u32; 5]| std::array::from_fn(|at| key[at].checked_shr(32 - bits[at]).unwrap_or(0));
        let row = |(at, key): (usize, &[u32; 5])| Row { key: cut(key), count: at as u64, sum: 0 };
        let mut rows: Vec<Row<5>> = keys.iter().enumerate().map(row).collect();
        let mut expected = rows.clone();
        expected.sort_by_key(|row| row.key);
        super::sort(&mut rows);
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn a_long_run_has_many_blocks_and_every_range_of_it_is_found(
        step in 1u32..40, spread in 1u32..50, low in 0u32..20_000, width in 0u32..5_000, gaps in prop::collection::vec((0u32..900, 0u32..900), 0..20),
    ) {
        let database = database();
        let mut rows = Rows::<3>::open(&database, TABLE, add).expect("empty");
        let keys: Vec<[u32; 3]> = (0..20_000u32).map(|n| [n / spread, n % 7, n * step]).collect();
        keys.iter().for_each(|key| rows.add(*key, 1, i128::from(key[2])));
        let transaction = database.begin_write().expect("in memory");
        flush_into(&mut rows, &transaction);
        transaction.commit().expect("in memory");
        let stored = Arc::new(database.begin_read().expect("in memory"));
        let snapshot = rows.snapshot(&stored).expect("readable");
        let mut ranges = vec![[low / spread, 3, 0]..=[(low + width) / spread, 5, u32::MAX]];
        for (gap, width) in gaps {
            let first = ranges.last().expect("the first")
                .end()[0] + 1 + gap / spread;
            ranges.push([first, 0, 0]..=[first + width / spread, 4, 0]);
        }
        let is_in = |key: &[u32; 3]| ranges.iter().any(|range| range.contains(key));
        let mut expected: Vec<[u32; 3]> = keys.iter().copied().filter(is_in).collect();
        expected.sort_unstable();
        let mut found = Vec::new();
        snapshot.scan_ranges(&ranges, &mut |row| found.push(row.key)).expect("readable");
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_other_rows(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut block = BlockWriter::<3>::new();
        for n in 0..50u32 {
            let row = Row { key: [n / 9, n, 5], count: u64::from(n % 3), sum: i128::from(n) << 40 };
            prop_assert!(block.push(&row));
        }
        let value = block.finish(b"key");
        let mut flipped = value.clone();
        let at = at.index(value.len());
        flipped[at] ^= 1 << bit;
        prop_assert!(Block::<3>::open(b"key", &flipped).is_err());
        prop_assert!(Block::<3>::open(b"key", &value[..at]).is_err());
        prop_assert!(Block::<3>::open(b"kez", &value).is_err());
    }

    #[test]
    fn any_bytes_under_a_right_checksum_are_rows_or_an_error(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let value = super::block::framed(b"key", &body);
        if let Ok(block) = Block::<3>::open(b"key", &value) {
            let _ = block.scan(&[0; 3], &[u32::MAX; 3], &mut |_| {});
        }
    }
}

/// Every third flush is of an opening that goes on with what the one before it left.
#[test]
fn large_runs_become_few_and_leave_no_block_behind() {
    let database = database();
    let mut rows = Rows::<2>::open(&database, TABLE, add).expect("empty");
    let mut most = 0;
    for flush in 0..200u32 {
        (0..60).for_each(|n| rows.add([n * 7 % 60, flush % 20], 1, i128::from(flush)));
        let transaction = database.begin_write().expect("in memory");
        flush_into(&mut rows, &transaction);
        transaction.commit().expect("in memory");
        if flush % 3 == 0 {
            rows = Rows::open(&database, TABLE, add).expect("what was written");
        }
        most = most.max(rows.written.runs.len());
    }
    assert!(most < 20, "{most} runs");
    let stored = Arc::new(database.begin_read().expect("in memory"));
    let snapshot = rows.snapshot(&stored).expect("readable");
    let mut found = (0, 0);
    snapshot
        .scan(&[0; 2], &[u32::MAX; 2], &mut |row| found = (found.0 + row.count, found.1 + row.sum))
        .expect("readable");
    assert_eq!(found, (200 * 60, 60 * (0..200).sum::<i128>()));
    let table = stored.open_table(TABLE).expect("a table");
    for entry in table.iter().expect("in memory").skip(1) {
        let (key, _) = entry.expect("in memory");
        let run = u64::from_be_bytes(key.value()[..8].try_into().expect("eight bytes"));
        assert!(rows.written.runs.iter().any(|kept| kept.number == run), "a block of run {run:x}, which is none");
    }
}

/// Large ones, that are merged by and by, and small ones.
#[test]
fn runs_that_are_kept_apart_are_forgotten_alone() {
    // The first of the later flushes may find a merge of the earlier ones under way.
    for (size, forgetting) in [1, 60].into_iter().flat_map(|size| (22..=41).map(move |flush| (size, flush))) {
        let database = database();
        let mut rows = Rows::<2>::open(&database, TABLE, add).expect("empty");
        for flush in 1..=41u32 {
            (0..size).for_each(|n| rows.add([n, flush], 1, 0));
            let mut changes = rows.changes();
            changes.keep_apart(if flush > 21 { 21 } else { 0 });
            changes.forget(if flush == forgetting { 21 } else { 0 });
            let transaction = database.begin_write().expect("in memory");
            changes.write(&transaction).expect("writes");
            transaction.commit().expect("in memory");
            rows.written(changes);
        }
        let stored = Arc::new(database.begin_read().expect("in memory"));
        let snapshot = rows.snapshot(&stored).expect("readable");
        let mut found = Vec::new();
        snapshot.scan(&[0; 2], &[u32::MAX; 2], &mut |row| found.push(row.key)).expect("readable");
        found.sort_unstable();
        let expected: Vec<[u32; 2]> = (0..size).flat_map(|n| (22..=41).map(move |flush| [n, flush])).collect();
        assert_eq!(found, expected);
    }
}

/// Small runs are merged at once, large ones by and by.
#[test]
fn blocks_that_are_damaged_or_gone_are_an_error_when_they_are_merged() {
    for (size, is_gone) in [(1, false), (1, true), (60, false), (60, true)] {
        let database = database();
        let mut rows = Rows::<2>::open(&database, TABLE, add).expect("empty");
        let mut failed = false;
        for flush in 0..5u32 {
            (0..size).for_each(|n| rows.add([n, flush], 1, 0));
            let transaction = database.begin_write().expect("in memory");
            let mut changes = rows.changes();
            let written = changes.write(&transaction);
            if written.is_err() {
                failed = true;
                break;
            }
            harm(&transaction, is_gone);
            transaction.commit().expect("in memory");
            rows.written(changes);
        }
        assert!(failed, "{size} rows, gone: {is_gone}");
    }
}

/// Flips a bit of each block, or removes it.
fn harm(transaction: &WriteTransaction, removes: bool) {
    let mut table = transaction.open_table(TABLE).expect("a table");
    let blocks = table.iter().expect("in memory").skip(1).map(|entry| entry.expect("in memory"));
    let blocks: Vec<_> = blocks.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).collect();
    for (key, mut block) in blocks {
        table.remove(key.as_slice()).expect("in memory");
        if !removes {
            block[7] ^= 1;
            table.insert(key.as_slice(), block.as_slice()).expect("in memory");
        }
    }
}

#[test]
fn small_runs_are_merged_and_there_are_few() {
    let database = database();
    let mut rows = Rows::<2>::open(&database, TABLE, add).expect("empty");
    for round in 0..500u32 {
        (0..10).for_each(|n| rows.add([n, round], 1, 1));
        let transaction = database.begin_write().expect("in memory");
        flush_into(&mut rows, &transaction);
        transaction.commit().expect("in memory");
    }
    assert!(rows.written.runs.len() < 16, "{} runs", rows.written.runs.len());
    let stored = Arc::new(database.begin_read().expect("in memory"));
    let mut count = 0;
    let snapshot = rows.snapshot(&stored).expect("readable");
    snapshot.scan(&[3, 0], &[3, u32::MAX], &mut |row| count += row.count).expect("readable");
    assert_eq!(count, 500);
}
