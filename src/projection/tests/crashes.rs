//! Everything at once, in any order, power cuts included.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Append(u8),
    Restart,
    /// Of the writes since the last sync those survive whose bit is set.
    PowerCut(u64),
    Rebuild,
    ChangeRules,
    Fail(u8, bool),
    FailFlush,
    MoveClock(i16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..40u8).prop_map(Act::Append),
        2 => Just(Act::Restart),
        3 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Act::PowerCut),
        1 => Just(Act::Rebuild),
        1 => Just(Act::ChangeRules),
        2 => (1..30u8, any::<bool>()).prop_map(|(ahead, panics)| Act::Fail(ahead, panics)),
        1 => Just(Act::FailFlush),
        1 => any::<i16>().prop_map(Act::MoveClock),
    ]
}

/// Does one act; `dead` are the entries told to fail for ever.
fn perform(act: &Act, bench: &mut Bench, handle: &mut Handle<Sums>, dead: &mut Vec<u64>) {
    let faults = bench.faults.clone().expect("this bench has a disk that fails");
    match act {
        Act::Append(count) => bench.append(i64::from(*count)),
        Act::Restart => {
            handle.shutdown();
            *handle = bench.start();
        }
        Act::PowerCut(kept) => {
            faults.cut.store(true, SeqCst);
            handle.shutdown();
            faults.restore(&bench.dir.path().join("sums"), *kept);
            *handle = bench.start();
        }
        Act::Rebuild => handle.rebuild(),
        Act::ChangeRules => {
            handle.shutdown();
            bench.rules = bench.rules.with_factor(bench.rules.factor % 3 + 1);
            *handle = bench.start();
        }
        Act::Fail(ahead, panics) => {
            let seq = bench.log.watermark.get().get() + u64::from(*ahead);
            let plan = if *panics { &bench.rules.plan.panic } else { &bench.rules.plan.fail };
            plan.lock().insert(seq, u32::MAX);
            dead.push(seq);
        }
        Act::FailFlush => bench.rules.plan.fail_flush.store(1, SeqCst),
        Act::MoveClock(minutes) => bench.clock.set(Minute::new(1000 + i64::from(*minutes)).start()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_view_is_the_recomputation(
        acts in proptest::collection::vec(act(), 1..14),
        flush_entries in 1..40u64,
    ) {
        let mut bench = Bench::new();
        bench.faults = Some(Arc::new(Faults::default()));
        bench.options.flush_entries = flush_entries;
        bench.options.sync_entries = flush_entries * 3;
        bench.options.attempts_max = 2;
        let mut handle = bench.start();
        let mut dead = Vec::new();
        for act in &acts {
            perform(act, &mut bench, &mut handle, &mut dead);
        }
        until("the wanted rules serve", &handle, |handle| {
            state(handle) == "running" && handle.view().factor == bench.rules.factor
        });
        let head = bench.log.watermark.get().get();
        dead.retain(|seq| *seq <= head);
        bench.expect(&handle, &dead);
        handle.shutdown();
        bench.expect_after_start(&dead);
    }
}
