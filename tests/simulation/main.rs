//! The real writer, recovery, idempotency and projection on a disk, a clock and a chance that follow from a seed: the plug
//! is pulled at every call, calls fail, the disk fills up, bits flip, the clock jumps. After each:
//!
//! - what was acknowledged is there, under its number, with its content;
//! - nothing is there twice, nothing that was never sent, and seq has no gap;
//! - what was ever shown to a reader is still there;
//! - a repeat is answered with the seq of the first; the boards are those of the naive model;
//! - a snapshot, or a log made of one, is there as a whole or not at all, and a prefix of the log;
//! - damage stops the start, or the read, and names its file; it never changes what is read.
//!
//! A failure prints the seed and the command that replays it. `COLISEUM_SIM_SEEDS` says how many seeds, `COLISEUM_SIM_SEED`
//! which one is the first:
//!
//! ```sh
//! COLISEUM_SIM_SEEDS=1000000 cargo test --release --test simulation random_runs -- --nocapture
//! COLISEUM_SIM_TELL=1 COLISEUM_SIM_SEED=95 COLISEUM_SIM_SEEDS=1 cargo test --test simulation random_runs
//! COLISEUM_SIM_RUNS=100 cargo test --release --test simulation at_every_call_of_a_run
//! ```

mod clock;
mod controls;
mod cuts;
mod damage;
mod disk;
mod events;
mod machine;
#[path = "../model/mod.rs"]
mod model;
mod random;
mod run;
mod snapshots;
mod truth;

use std::sync::atomic::{AtomicU64, Ordering};

use run::{Plan, Tally};

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs seeds on every core; panics with the first seed that finds something wrong.
pub fn over_seeds(what: &str, first: u64, count: u64, run: impl Fn(u64) -> Result<Tally, String> + Sync) -> Tally {
    let next = AtomicU64::new(first);
    let total = parking_lot::Mutex::new(Tally::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                threads.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + count {
                            return Ok(());
                        }
                        match run(seed) {
                            Ok(tally) => total.lock().add(&tally),
                            Err(violation) => {
                                next.store(u64::MAX / 2, Ordering::Relaxed);
                                return Err(format!(
                                    "seed {seed}: {violation}\nreplay: COLISEUM_SIM_SEED={seed} COLISEUM_SIM_SEEDS=1 \
                                     cargo test --test simulation {what}"
                                ));
                            }
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            if let Err(failure) = worker.join().expect("a run's panic is caught") {
                panic!("{failure}");
            }
        }
    });
    let total = total.into_inner();
    println!("{what}: {count} seeds from {first}: {total:?}");
    total
}

#[test]
fn random_runs() {
    let (first, seeds) = (from_env("COLISEUM_SIM_SEED", 1), from_env("COLISEUM_SIM_SEEDS", 1000));
    let total = over_seeds("random_runs", first, seeds, |seed| run::guarded(&Plan::random(seed)));
    // A simulation that meets none of these proves nothing.
    if seeds >= 500 {
        for (what, count) in total.counts() {
            assert!(count > 0, "no run met {what}");
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    for seed in 1..12 {
        let traces = [(); 2].map(|()| run::guarded(&Plan::random(seed)).expect("nothing wrong").trace);
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}
