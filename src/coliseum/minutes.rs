//! The windows' arithmetic: what a minute's row counts for at the minute that it is now, and which rows a passing
//! minute moves. Pure.
//!
//! At the minute `m` a window of D days holds rows with `minute > m - 1440 D`, with no upper bound; the same window
//! one day earlier holds `m - 1440 - 1440 D < minute <= m - 1440`. So there are five [`EDGES`], ages in minutes at
//! which a row changes what it counts for, and moving from one minute to another, either way and any distance, moves
//! exactly the rows between the old and the new place of each edge.

use super::artists::ArtistNo;
use crate::units::{MINUTES_PER_DAY, Minute, Window};

/// Micro-points in the order A, T, G, C.
pub type Sums = [i128; 4];

/// Totals that a row counts in: the three windows, and the same one day earlier.
pub const SLOTS: usize = 6;
/// The slot of a window as it is now.
pub const fn current_slot(window: Window) -> usize {
    window.index()
}
/// The slot of a window as it was one day earlier.
pub const fn previous_slot(window: Window) -> usize {
    window.index() + 3
}

/// An age at which rows change slots, and what happens then: 1 they enter, -1 they leave.
pub struct Edge {
    pub age_minutes: i64,
    pub effect: [i8; SLOTS],
}

const DAY: i64 = MINUTES_PER_DAY;
/// The slots are 7d, 30d, alltime, and the three of one day earlier.
pub const EDGES: [Edge; 5] = [
    Edge { age_minutes: DAY, effect: [0, 0, 0, 1, 1, 1] },
    Edge { age_minutes: 7 * DAY, effect: [-1, 0, 0, 0, 0, 0] },
    Edge { age_minutes: 8 * DAY, effect: [0, 0, 0, -1, 0, 0] },
    Edge { age_minutes: 30 * DAY, effect: [0, -1, 0, 0, 0, 0] },
    Edge { age_minutes: 31 * DAY, effect: [0, 0, 0, 0, -1, 0] },
];

/// Before and after every minute that a timestamp can hold, far enough from the ends of 64 bits to be added to.
pub const MINUTE_FIRST: i64 = -(1 << 40);
pub const MINUTE_LAST: i64 = 1 << 40;

/// The slots of rows that are older than every window.
const SLOTS_OF_OLD: [bool; SLOTS] = [false, false, true, false, false, true];

/// The slots that a row of `minute` counts in when it is `now`.
pub fn slots_of(minute: i64, now: i64) -> [bool; SLOTS] {
    let mut counts = [1i8, 1, 1, 0, 0, 0];
    for edge in &EDGES {
        if minute <= now - edge.age_minutes {
            for (count, effect) in counts.iter_mut().zip(edge.effect) {
                *count += effect;
            }
        }
    }
    counts.map(|count| count == 1)
}

/// An artist's scores in every slot and domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    sums: [Sums; SLOTS],
}

/// The scores in the slots of now, or in those of one day earlier.
pub type HalfOfTotals = [Sums; SLOTS / 2];

impl Totals {
    /// Of rows that are older than every window.
    pub fn of_old(alltime: Sums) -> Totals {
        let mut totals = Totals::default();
        totals.sums[current_slot(Window::AllTime)] = alltime;
        totals.sums[previous_slot(Window::AllTime)] = alltime;
        totals
    }
    /// Makes of a row that was taken for an old one what it is: in these slots.
    pub fn correct(&mut self, slots: [bool; SLOTS], deltas: &Sums) {
        for ((sums, counts), counted) in self.sums.iter_mut().zip(slots).zip(SLOTS_OF_OLD) {
            match (counted, counts) {
                (false, true) => add(sums, deltas),
                (true, false) => add(sums, &deltas.map(|delta| -delta)),
                _ => {}
            }
        }
    }
    /// Now, and one day earlier.
    pub fn halves(&self) -> [&HalfOfTotals; 2] {
        let (halves, _) = self.sums.as_chunks::<{ SLOTS / 2 }>();
        [&halves[0], &halves[1]]
    }
    pub fn alltime(&self) -> &Sums {
        &self.sums[current_slot(Window::AllTime)]
    }
    pub fn add(&mut self, slots: [bool; SLOTS], deltas: &Sums) {
        for (sums, counts) in self.sums.iter_mut().zip(slots) {
            if counts {
                add(sums, deltas);
            }
        }
    }
    /// Takes a row over an edge; `forwards` is the way time goes.
    pub fn cross(&mut self, edge: &Edge, forwards: bool, deltas: &Sums) {
        for (sums, effect) in self.sums.iter_mut().zip(edge.effect) {
            match if forwards { effect } else { -effect } {
                1 => add(sums, deltas),
                -1 => add(sums, &deltas.map(|delta| -delta)),
                _ => {}
            }
        }
    }
}

pub fn add(sums: &mut Sums, deltas: &Sums) {
    for (sum, delta) in sums.iter_mut().zip(deltas) {
        *sum += delta;
    }
}

/// What one artist got in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub minute: i64,
    pub artist: ArtistNo,
    pub sums: Sums,
}

/// Rows that are still being added to. An artist's events mostly come in the order of time, so that the artist's latest
/// row is the one to add to; where it is not, another row is begun, and sorting sums those of one minute.
#[derive(Default)]
pub struct OpenRows {
    rows: Vec<Row>,
    /// By artist: where its latest row may be. Checked before use, so that it may be out of date.
    latest: Vec<usize>,
}

impl OpenRows {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    pub fn add(&mut self, minute: Minute, artist: ArtistNo, deltas: &Sums) {
        if self.latest.len() <= artist.index() {
            self.latest.resize(artist.index() + 1, 0);
        }
        let latest = &mut self.latest[artist.index()];
        match self.rows.get_mut(*latest) {
            Some(row) if (row.minute, row.artist) == (minute.get(), artist) => add(&mut row.sums, deltas),
            _ => {
                *latest = self.rows.len();
                self.rows.push(Row { minute: minute.get(), artist, sums: *deltas });
            }
        }
    }
    /// Takes all rows, sorted by minute and artist, each pair once.
    pub fn take_sorted(&mut self) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by_key(|row| (row.minute, row.artist));
        sum_equals(&mut rows);
        rows
    }
}

/// Merges sorted runs of rows into one.
pub fn merge_rows(runs: &[&[Row]]) -> Vec<Row> {
    let mut all: Vec<Row> = runs.concat();
    all.sort_by_key(|row| (row.minute, row.artist));
    sum_equals(&mut all);
    all
}

/// Sums neighbours of one minute and artist.
fn sum_equals(rows: &mut Vec<Row>) {
    rows.dedup_by(|later, kept| {
        let same = (later.minute, later.artist) == (kept.minute, kept.artist);
        if same {
            add(&mut kept.sums, &later.sums);
        }
        same
    });
}

/// The rows of a sorted run between two minutes, both inclusive.
pub fn between(rows: &[Row], first: i64, last: i64) -> &[Row] {
    let start = rows.partition_point(|row| row.minute < first);
    let end = rows.partition_point(|row| row.minute <= last);
    &rows[start..end.max(start)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SPEC 2.1 and 2.2, word for word.
    fn by_the_contract(minute: i64, m: i64) -> [bool; SLOTS] {
        let window = |days: i64| minute > m - 1440 * days;
        let previous = |days: i64| m - 1440 - 1440 * days < minute && minute <= m - 1440;
        [window(7), window(30), true, previous(7), previous(30), minute <= m - 1440]
    }

    proptest! {
        #[test]
        fn slots_are_those_of_the_contract(m in -100_000i64..100_000, age in -10i64..50_000) {
            prop_assert_eq!(slots_of(m - age, m), by_the_contract(m - age, m));
        }

        #[test]
        fn a_row_that_was_taken_for_an_old_one_is_corrected(m in -100_000i64..100_000, age in -10i64..50_000) {
            let (slots, deltas) = (slots_of(m - age, m), [1, -2, 3, 0]);
            let mut totals = Totals::of_old(deltas);
            totals.correct(slots, &deltas);
            let mut expected = Totals::default();
            expected.add(slots, &deltas);
            prop_assert_eq!(totals, expected);
        }

        #[test]
        fn crossing_edges_leads_to_the_slots_of_the_new_minute(
            minute in -100i64..100,
            from in -50_000i64..50_000,
            to in -50_000i64..50_000,
        ) {
            let deltas = [1, -2, 3, 0];
            let mut totals = Totals::default();
            totals.add(slots_of(minute, from), &deltas);
            let (low, high) = (from.min(to), from.max(to));
            for edge in &EDGES {
                if low - edge.age_minutes < minute && minute <= high - edge.age_minutes {
                    totals.cross(edge, from < to, &deltas);
                }
            }
            let mut expected = Totals::default();
            expected.add(slots_of(minute, to), &deltas);
            prop_assert_eq!(totals, expected);
        }
    }

    #[test]
    fn open_rows_are_summed_whatever_their_order() {
        let mut open = OpenRows::default();
        let row = |minute, artist, a| Row { minute, artist: ArtistNo::new(artist), sums: [a, 0, 0, 0] };
        for round in 0..2 {
            for (minute, artist) in [(5, 0), (5, 0), (4, 0), (5, 0), (5, 1), (4, 0)] {
                open.add(Minute::new(minute), ArtistNo::new(artist), &[1 + round, 0, 0, 0]);
            }
            let each = 1 + round;
            assert_eq!(open.take_sorted(), [row(4, 0, 2 * each), row(5, 0, 3 * each), row(5, 1, each)]);
            assert!(open.is_empty());
        }
    }

    #[test]
    fn runs_merge_into_one_sorted_run() {
        let row = |minute, artist, a| Row { minute, artist: ArtistNo::new(artist), sums: [a, 0, 0, 0] };
        let (one, two) = ([row(1, 2, 5), row(3, 0, 1)], [row(1, 1, 1), row(1, 2, -5)]);
        let merged = merge_rows(&[&one, &two]);
        assert_eq!(merged, [row(1, 1, 1), row(1, 2, 0), row(3, 0, 1)]);
        assert_eq!(between(&merged, 1, 2).len(), 2);
        assert_eq!(between(&merged, 2, 1).len(), 0);
    }
}
