//! The index as the daemon runs it: budgets, restart cost, two threads.

use super::*;

#[test]
fn a_key_costs_at_most_24_bytes_on_disk_and_4_in_memory_even_during_merges() {
    let mut bed = Bed::new();
    for (n, key) in (1..).zip(scattered(300_000)) {
        bed.insert(key);
        if n % 19_000 == 0 {
            bed.seal();
            bed.write_waiting().unwrap();
            while bed.upkeep.step().unwrap() {}
        }
    }
    bed.settle().unwrap();
    let stats = bed.index.stats_source().stats();
    assert_eq!((stats.run_keys, stats.covered_to), (300_000, Seq::new(300_000)));
    assert!(stats.disk_bytes_peak <= 24 * stats.run_keys, "{stats:?}");
    assert!(stats.memory_bytes_peak <= 4 * stats.run_keys, "{stats:?}");
    assert!(stats.memory_bytes <= 2 * stats.run_keys, "{stats:?}");
    let on_disk: u64 = bed.run_files().iter().map(|path| bed.disk.contents(path).len() as u64).sum();
    assert_eq!(stats.disk_bytes, on_disk);
}

#[test]
fn opening_reads_the_directories_and_not_the_entries() {
    let bed = one_run(100_000);
    let before = bed.disk.bytes_read();
    let (bed, report) = Bed::open(bed.disk, bed.log).unwrap();
    assert_eq!(report, OpenReport { gaps: vec![], tail_after: Seq::new(100_000), dropped: vec![] });
    let read = bed.disk.bytes_read() - before;
    assert!(read <= 2 * 100_000, "{read} bytes read");
}

#[test]
fn a_look_up_of_an_absent_key_hardly_ever_reads_the_disk() {
    let bed = one_run(100_000);
    let before = bed.disk.bytes_read();
    let mut found = Vec::new();
    for key in scattered(140_000).skip(100_000) {
        bed.index.candidates(key, &mut found).unwrap();
        assert_eq!(found, []);
    }
    // One in 4096 at as many quotients as keys: about 10 blocks, of about 1 KiB; 30 would be six sigma.
    let read = bed.disk.bytes_read() - before;
    assert!(read <= 30 * 1100, "{read} bytes read");
}

#[test]
fn a_key_is_found_at_every_instant_while_another_thread_writes_and_merges() {
    let Bed { mut index, mut upkeep, .. } = Bed::new();
    let keys: Vec<_> = scattered(60_000).collect();
    let (to_upkeep, sealed) = crossbeam_channel::unbounded::<Arc<Sealed>>();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let mut more = false;
            loop {
                let next = if more {
                    sealed.try_recv().map_err(|e| e.is_disconnected())
                } else {
                    sealed.recv().map_err(|_| true)
                };
                match next {
                    Ok(sealed) => {
                        upkeep.write(&sealed).unwrap();
                        more = true;
                    }
                    Err(true) => break,
                    Err(false) => more = upkeep.step().unwrap(),
                }
            }
        });
        let mut found = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            index.insert(*key, Seq::new(n as u64 + 1));
            if n % 500 == 499 {
                to_upkeep.send(index.seal(Seq::new(n as u64 + 1))).unwrap();
            }
            for back in [0, 100, 600, 1100, 5000, n / 2] {
                let seq = (n + 1).saturating_sub(back).max(1);
                index.candidates(keys[seq - 1], &mut found).unwrap();
                assert_eq!(found, [Seq::new(seq as u64)]);
            }
        }
        drop(to_upkeep);
    });
    index.forget_installed();
    assert_eq!(index.recent_keys(), 0);
}

#[test]
fn keys_of_one_batch_are_seen_through_the_recent_table() {
    let mut bed = one_run(10);
    let key = Fingerprint::new(77);
    let (mut hits, mut found) = (Vec::new(), Vec::new());
    bed.index.candidates_batch(&[key, key, bed.log[4]], &mut hits).unwrap();
    assert_eq!(hits, [Hit { index: 2, seq: Seq::new(5) }]);
    bed.insert(key);
    bed.index.recent_candidates(key, &mut found);
    assert_eq!(found, [Seq::new(11)]);
    bed.index.recent_candidates(bed.log[4], &mut found);
    assert_eq!(found, []);
}

#[test]
fn a_range_without_keys_is_covered_all_the_same() {
    let mut bed = Bed::new();
    let sealed = bed.index.seal(Seq::new(9));
    bed.upkeep.write(&sealed).unwrap();
    assert_eq!(bed.index.stats_source().stats().covered_to, Seq::new(9));
    let opened = KeyIndex::open(Arc::new(bed.disk), &SystemRandom, DIR.into(), LOG, Seq::new(9), RECENT_KEYS).unwrap();
    assert_eq!(opened.report.tail_after, Seq::new(9));
    let mut found = Vec::new();
    opened.index.candidates(Fingerprint::new(5), &mut found).unwrap();
    assert_eq!(found, []);
}

#[test]
#[should_panic(expected = "inserted after")]
fn keys_out_of_the_order_of_the_log_are_refused() {
    let mut bed = Bed::new();
    bed.index.insert(Fingerprint::new(1), Seq::new(2));
    bed.index.insert(Fingerprint::new(2), Seq::new(2));
}
