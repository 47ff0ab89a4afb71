use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use redb::ReadableDatabase as _;
use redb::backends::InMemoryBackend;

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

fn flush<const K: usize>(rows: &mut Rows<K>, transaction: &WriteTransaction) {
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
    let mut found: BTreeMap<[u32; 3], Row<3>> = BTreeMap::new();
    let mut take = |row: &Row<3>| {
        found.entry(row.key).and_modify(|older| merge(older, row)).or_insert(*row);
    };
    snapshot.scan(first, last, &mut take).expect("readable");
    found.into_iter().map(|(key, row)| (key, (row.count, row.sum))).collect()
}

proptest! {
    #[test]
    fn every_snapshot_is_what_was_added_until_then(
        steps in prop::collection::vec(step(), 1..400),
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
    fn a_long_run_has_many_blocks_and_every_range_of_it_is_found(
        step in 1u32..40, spread in 1u32..50, low in 0u32..200_000, width in 0u32..5_000,
    ) {
        let database = database();
        let mut rows = Rows::<3>::open(&database, TABLE, add).expect("empty");
        let keys: Vec<[u32; 3]> = (0..20_000u32).map(|n| [n / spread, n % 7, n * step]).collect();
        keys.iter().for_each(|key| rows.add(*key, 1, i128::from(key[2])));
        let transaction = database.begin_write().expect("in memory");
        flush(&mut rows, &transaction);
        transaction.commit().expect("in memory");
        let stored = Arc::new(database.begin_read().expect("in memory"));
        let snapshot = rows.snapshot(&stored).expect("readable");
        let (first, last) = ([low / spread, 3, 0], [(low + width) / spread, 5, u32::MAX]);
        let mut expected: Vec<[u32; 3]> = keys.iter().copied().filter(|key| (first..=last).contains(key)).collect();
        expected.sort_unstable();
        let mut found = Vec::new();
        snapshot.scan(&first, &last, &mut |row| found.push(row.key)).expect("readable");
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_other_rows(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut block = BlockWriter::<3>::new();
        for n in 0..200u32 {
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

#[test]
fn small_runs_are_merged_and_there_are_few() {
    let database = database();
    let mut rows = Rows::<2>::open(&database, TABLE, add).expect("empty");
    for round in 0..500u32 {
        (0..10).for_each(|n| rows.add([n, round], 1, 1));
        let transaction = database.begin_write().expect("in memory");
        flush(&mut rows, &transaction);
        transaction.commit().expect("in memory");
    }
    assert!(rows.written.runs.len() < 2 * FAN_IN as usize, "{} runs", rows.written.runs.len());
    let stored = Arc::new(database.begin_read().expect("in memory"));
    let mut count = 0;
    let snapshot = rows.snapshot(&stored).expect("readable");
    snapshot.scan(&[3, 0], &[3, u32::MAX], &mut |row| count += row.count).expect("readable");
    assert_eq!(count, 500);
}
