//! Exponential back-off: each failure in a row doubles the wait before the next go, up to a bound.

use std::time::Duration;

/// Counts failures in a row and says how long to wait after each.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits `first` after one failure, twice that after two, and never more than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, failures: 0 }
    }

    /// Counts one more failure and returns the wait before the next go.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        delay(self.first, self.longest, self.failures)
    }

    /// It went well: the next failure is the first again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// The wait after the `failures`-th failure in a row, counted from 1.
pub(super) fn delay(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_starts_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
        let waits: Vec<u128> = (0..4).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 50]);
        backoff.succeeded();
        assert_eq!(backoff.failed().as_millis(), 10);
    }

    #[test]
    fn a_failure_that_never_ends_does_not_overflow() {
        assert_eq!(delay(Duration::from_secs(1), Duration::from_secs(30), u32::MAX), Duration::from_secs(30));
    }
}
