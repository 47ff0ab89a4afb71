//! Following the log and the clock, and a log that fails.

use super::*;

#[test]
fn a_view_follows_the_log_and_a_restart_changes_nothing() {
    let bench = Bench::with_entries(10);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    bench.append(5);
    let before = bench.expect(&handle, &[]);
    assert_eq!(handle.status().last_applied_received_at, Some(Timestamp::from_micros(15_000_000)));
    handle.shutdown();
    let handle = bench.start();
    // The file held all of it: the first view is whole before anything is folded.
    assert_eq!(handle.load().totals, before.totals);
    assert!(handle.caught_up_once());
    assert_eq!(handle.status().last_applied_received_at, Some(Timestamp::from_micros(15_000_000)));
    handle.shutdown();
}

#[test]
fn an_empty_log_is_caught_up_with_at_once() {
    let bench = Bench::new();
    let handle = bench.start();
    assert!(handle.caught_up_once());
    assert_eq!((handle.applied(), state(&handle).as_str()), (Seq::ZERO, "running"));
    handle.shutdown();
    handle.shutdown();
}

#[test]
fn a_waiting_reader_gets_a_view_that_holds_the_seq_it_waited_for() {
    let bench = Bench::new();
    let handle = bench.start();
    assert!(!wait(handle.wait_applied(Seq::new(1), Duration::ZERO)));
    let waiting = {
        let handle = handle.clone();
        std::thread::spawn(move || {
            assert!(wait(handle.wait_applied(Seq::new(3), PATIENCE)));
            handle.view().applied
        })
    };
    bench.append(3);
    assert!(waiting.join().unwrap() >= Seq::new(3));
    assert_eq!(*handle.subscribe().borrow(), 3);
    handle.shutdown();
}

#[test]
fn a_moved_clock_ticks_forwards_and_back_with_no_event() {
    let bench = Bench::with_entries(3);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    for minute in [1001, 50_000, 900] {
        let mut published = handle.subscribe();
        published.mark_unchanged();
        bench.clock.set(Minute::new(minute).start());
        assert!(wait(handle.wait_minute(Minute::new(minute), PATIENCE)), "minute {minute}");
        assert_eq!(handle.view().minute, Minute::new(minute));
        assert!(published.has_changed().unwrap(), "who watches hears of it");
    }
    assert!(!wait(handle.wait_minute(Minute::new(901), Duration::ZERO)));
    bench.expect(&handle, &[]);
    handle.shutdown();
}

#[test]
fn a_projection_that_asks_for_views_gets_them_with_no_event() {
    let bench = Bench::with_entries(3);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    bench.rules.plan.views_wanted.store(3, SeqCst);
    until("all are made", &handle, |_| bench.rules.plan.views_wanted.load(SeqCst) == 0);
    bench.expect(&handle, &[]);
    handle.shutdown();
}

#[test]
fn the_last_handle_that_is_dropped_stops_the_thread_with_a_flush() {
    let bench = Bench::with_entries(4);
    let handle = bench.start();
    bench.expect(&handle, &[]);
    drop(handle.clone());
    drop(handle);
    // The file is locked until the thread is done with it.
    let deadline = Instant::now() + PATIENCE;
    let handle = loop {
        match bench.try_start() {
            Ok(handle) => break handle,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    };
    assert_eq!(handle.applied(), Seq::new(4));
    handle.shutdown();
}

#[test]
fn damage_in_the_log_stalls_and_is_never_skipped() {
    let bench = Bench::with_entries(10);
    bench.log.damaged.store(6, SeqCst);
    let handle = bench.start();
    until("it stalls", &handle, |handle| state(handle) == "stalled");
    until("what stands before it is applied", &handle, |handle| handle.applied() == Seq::new(5));
    let detail = handle.status().detail.unwrap();
    assert!(detail.contains("seq 6") && detail.contains("coliseum verify"), "{detail}");
    assert!(!handle.caught_up_once());
    bench.log.damaged.store(0, SeqCst);
    bench.expect(&handle, &[]);
    until("it runs", &handle, |handle| state(handle) == "running");
    handle.shutdown();
}

#[test]
fn an_entry_that_the_log_leaves_out_stalls_and_is_never_skipped() {
    let bench = Bench::with_entries(10);
    for left_out in [4, 10] {
        bench.log.left_out.store(left_out, SeqCst);
        let handle = bench.start();
        until("it stalls", &handle, |handle| state(handle) == "stalled");
        until("what stands before it is applied", &handle, |handle| handle.applied().get() == left_out - 1);
        bench.log.left_out.store(0, SeqCst);
        bench.expect(&handle, &[]);
        handle.shutdown();
        std::fs::remove_file(bench.file()).unwrap();
    }
}

#[test]
fn a_checkpoint_ahead_of_the_log_stops_the_start() {
    let mut bench = Bench::with_entries(10);
    bench.expect_after_start(&[]);
    let whole = Arc::clone(&bench.log);
    bench.log = whole.cut_to(9);
    for rules in [bench.rules.clone(), bench.rules.with_factor(2)] {
        let file = bench.file();
        bench.rules = rules;
        let error = bench.try_start().err().unwrap();
        assert!(
            matches!(&error, StartError::AheadOfLog { file: named, applied, durable }
                if *named == file && *applied == Seq::new(10) && *durable == Seq::new(9)),
            "{error}"
        );
        assert!(error.to_string().contains("coliseum verify"));
        bench.rules = bench.rules.with_factor(1);
    }
    bench.log = whole;
    bench.expect_after_start(&[]);
}

#[test]
fn a_file_of_another_log_is_rebuilt() {
    let bench = Bench::with_entries(3);
    bench.expect_after_start(&[]);
    let other = Bench { dir: bench.dir, ..Bench::with_entries(2) };
    let handle = other.try_start_on([7; 16]).unwrap();
    other.expect(&handle, &[]);
    handle.shutdown();
}
