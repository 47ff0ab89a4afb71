//! Latencies, counted in cells whose width grows with the value: constant memory, and no value off by over 1/128.

use std::time::Duration;

/// Cells per doubling, as a power of two; under `2^BITS` every value has a cell of its own.
const BITS: u32 = 7;
const CELLS: usize = ((64 - BITS as usize) + 1) << BITS;

/// Counts of durations, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    cells: Vec<u64>,
    count: u64,
    max: u64,
    sum: u128,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { cells: vec![0; CELLS], count: 0, max: 0, sum: 0 }
    }
}

/// The cell that counts `value`.
fn cell(value: u64) -> usize {
    let shift = (63 - BITS).saturating_sub((value | 1).leading_zeros());
    ((shift as usize) << BITS) + (value >> shift) as usize
}

/// The largest value that `cell` counts.
fn cell_max(cell: usize) -> u64 {
    let shift = (cell >> BITS).saturating_sub(1) as u32;
    let start = (cell - ((shift as usize) << BITS)) as u64;
    (start << shift) | ((1u64 << shift) - 1)
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.cells[cell(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
        self.sum += u128::from(nanos);
    }

    pub fn count(&self) -> u64 {
        self.count
    }
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
    pub fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The latency that a share of `per_100_000` of the counted ones does not exceed (99.9 % is 99,900);
    /// zero where nothing was counted.
    pub fn percentile(&self, per_100_000: u64) -> Duration {
        let rank = (u128::from(self.count) * u128::from(per_100_000)).div_ceil(100_000).max(1);
        let mut seen = 0u128;
        for (index, count) in self.cells.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return Duration::from_nanos(cell_max(index).min(self.max));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_follow_each_other_without_a_gap() {
        for index in 0..CELLS {
            let max = cell_max(index);
            assert_eq!(cell(max), index);
            match max.checked_add(1) {
                Some(next) => assert_eq!(cell(next), index + 1, "behind {max}"),
                None => assert_eq!(index, CELLS - 1),
            }
        }
    }

    #[test]
    fn small_values_are_exact() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        for (per_100_000, nanos) in [(50_000, 50), (90_000, 90), (99_000, 99), (99_900, 100), (100_000, 100), (0, 1)] {
            assert_eq!(histogram.percentile(per_100_000), Duration::from_nanos(nanos));
        }
        assert_eq!(histogram.mean(), Duration::from_nanos(50));
    }

    #[test]
    fn nothing_counted_is_zero() {
        let empty = Histogram::default();
        assert_eq!((empty.percentile(99_000), empty.mean(), empty.max()), Default::default());
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_a_128th_of_the_exact_one(
            mut values in prop::collection::vec(any::<u64>().prop_map(|v| v >> (v % 60)), 1..300),
            per_100_000 in 1u64..=100_000,
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(Duration::from_nanos(*value)));
            values.sort_unstable();
            let rank = (values.len() as u64 * per_100_000).div_ceil(100_000).max(1) as usize;
            let exact = values[rank - 1];
            let found = histogram.percentile(per_100_000).as_nanos() as u64;
            prop_assert!(found >= exact && found - exact <= exact / 128 + 1, "{found} for {exact}");
            prop_assert_eq!(histogram.count(), values.len() as u64);
        }
    }
}
