//! The power goes at every call there is.

use crate::run::{Plan, Tally, guarded};
use crate::{from_env, over_seeds};

/// The calls of a run in which nothing goes wrong.
fn calls(plan: &Plan) -> u64 {
    guarded(plan).unwrap_or_else(|violation| panic!("seed {}: {violation}", plan.seed)).calls_in_turns
}

/// Long enough for segments to be sealed and keys to become runs.
const TURNS: u64 = 90;

#[test]
fn at_every_call_of_a_run() {
    let first = from_env("COLISEUM_SIM_SEED", 1);
    for seed in first..first + from_env("COLISEUM_SIM_RUNS", 1) {
        let plan = Plan::calm(seed, TURNS);
        let calls = calls(&plan);
        let total = over_seeds("at_every_call_of_a_run", 1, calls, |call| {
            guarded(&Plan { cut_at: Some(call), ..plan.clone() })
        });
        assert!(total.power_cuts + total.cuts_in_recovery >= calls, "{calls} calls, {total:?}");
        assert!(total.segments_sealed > 0 && total.key_runs > 0, "{total:?}");
    }
}

/// Twice, and a third time: in the run, in its recovery, and in the recovery of that.
#[test]
fn at_every_call_of_a_recovery_and_in_the_recovery_of_that() {
    // A recovery makes fewer calls than this; those behind its end fall into the run that follows.
    const RECOVERY_CALLS: u64 = 50;
    let plan = Plan::calm(from_env("COLISEUM_SIM_SEED", 5), TURNS);
    let calls = calls(&plan);
    let every = from_env("COLISEUM_SIM_EVERY", calls / 6).max(1);
    let mut total = Tally::default();
    for call in (every..calls).step_by(every as usize) {
        total.add(&over_seeds("at_every_call_of_a_recovery", 1, RECOVERY_CALLS, |in_recovery| {
            let cut_recoveries_at = vec![in_recovery, RECOVERY_CALLS - in_recovery + 1, in_recovery / 2 + 1];
            guarded(&Plan { cut_at: Some(call), cut_recoveries_at, ..plan.clone() })
        }));
    }
    assert!(total.cuts_in_recovery > 200, "{total:?}");
}
