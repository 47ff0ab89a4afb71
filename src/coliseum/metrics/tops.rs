//! Top lists: the subjects of a metric by sum, and by id where sums are equal. A list holds the first two or three thousand in order
//! and knows its last place, below which nobody is listed: readers ask for at most a thousand. One that changes enters or
//! leaves by that place; a list that has grown too short is made anew from all totals, one too long is cut.

use std::cmp::Ordering;
use std::sync::Arc;

use super::by_number::ByNumber;
use super::totals::Column;
use crate::coliseum::board::{Board, Changes, Ids, Place};
use crate::limits::LIST_LIMIT_MAX;
use crate::units::Window;

/// How many a list holds when it is made anew or cut, and how many it may hold before it is cut.
const LISTED: usize = 2 * LIST_LIMIT_MAX;
const LISTED_MAX: usize = 3 * LIST_LIMIT_MAX;
/// From so many changes on a list is made anew from all totals: after a start, and where a large batch was folded.
const MADE_ANEW_FROM: usize = 4 * LISTED_MAX;

/// What readers get.
#[derive(Clone)]
pub struct Shown {
    pub(super) board: Arc<Board>,
    /// Of those listed, unless the sum is the count.
    pub(super) counts: imbl::HashMap<u32, u64>,
    /// Subjects with a count over 0.
    pub(super) total: u64,
}

/// One list.
#[derive(Default)]
pub(super) struct Top {
    board: Arc<Board>,
    /// Who is listed, with which sum.
    listed: ByNumber<u32, i128>,
    counts: imbl::HashMap<u32, u64>,
    /// The last place that is listed; `None` while everybody is.
    last: Option<Place>,
}

impl Top {
    /// Brings the list up to date with `changed` subjects, which may be more than have changed.
    pub fn update(&mut self, column: &Column, window: Window, changed: &[u32], ids: &impl Ids) -> Shown {
        let is_made_anew = changed.len() > MADE_ANEW_FROM;
        let mut changes = Changes::default();
        for &number in if is_made_anew { &[] } else { changed } {
            let total = column.total(number, window);
            let place = Place { score: total.sum, number };
            let belongs = total.count > 0 && self.last.is_none_or(|last| place.cmp(&last, ids) != Ordering::Greater);
            let before = self.listed.get(&number).copied();
            if !column.sum_is_count() {
                if belongs {
                    self.counts.insert(number, total.count);
                } else if before.is_some() {
                    self.counts.remove(&number);
                }
            }
            if before == belongs.then_some(total.sum) {
                continue;
            }
            if let Some(score) = before {
                changes.removed.push(Place { score, number });
                self.listed.remove(&number);
            }
            if belongs {
                changes.inserted.push(place);
                self.listed.insert(number, total.sum);
            }
        }
        if !changes.is_empty() {
            self.board = Arc::new(self.board.changed(changes, ids));
        }
        let total = column.known(window);
        if is_made_anew || (self.board.len() < LIST_LIMIT_MAX && (self.board.len() as u64) < total) {
            let all = column.subjects().filter_map(|number| {
                let total = column.total(number, window);
                (total.count > 0).then_some(Place { score: total.sum, number })
            });
            self.list(all.collect(), column, window, ids);
        } else if self.board.len() > LISTED_MAX {
            self.list(self.board.iter_from(0).take(LISTED + 1).collect(), column, window, ids);
        }
        Shown { board: self.board.clone(), counts: self.counts.clone(), total }
    }

    /// Lists the first [`LISTED`] of some places that hold at least these.
    fn list(&mut self, mut places: Vec<Place>, column: &Column, window: Window, ids: &impl Ids) {
        self.last = None;
        if places.len() > LISTED {
            let (_, last, _) = places.select_nth_unstable_by(LISTED - 1, |a, b| a.cmp(b, ids));
            self.last = Some(*last);
            places.truncate(LISTED);
        }
        self.listed = places.iter().map(|place| (place.number, place.score)).collect();
        if !column.sum_is_count() {
            let counts = places.iter().map(|place| (place.number, column.total(place.number, window).count));
            self.counts = counts.collect();
        }
        let changes = Changes { removed: Vec::new(), inserted: places };
        self.board = Arc::new(Board::default().changed(changes, ids));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coliseum::metrics::SubjectKind;
    use crate::coliseum::metrics::series::Series;
    use crate::coliseum::metrics::totals::Totals;
    use crate::event::Metric;
    use proptest::prelude::*;

    /// Ids whose byte order is not the order of the numbers.
    fn ids(len: u32) -> Vec<Arc<str>> {
        (0..len).map(|number| format!("{}-{number}", number % 97).into()).collect()
    }

    /// What a list is, said plainly.
    fn expected(sums: &[(u64, i128)], ids: &[Arc<str>]) -> Vec<(i128, u64, u32)> {
        let mut all: Vec<(i128, u64, u32)> =
            (0..).zip(sums).filter(|(_, (count, _))| *count > 0).map(|(n, (count, sum))| (*sum, *count, n)).collect();
        all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| ids[a.2 as usize].cmp(&ids[b.2 as usize])));
        all
    }

    /// Lists of `subjects`, changed in rounds; some rounds take from many, so that the list runs short.
    fn check(metric: Metric, subjects: u32, seed: u64, rounds: usize, largest: u64) {
        let ids = ids(subjects);
        let series = Series::metric(metric, metric.is_money().then_some(0));
        let (mut totals, mut top) = (Totals::default(), Top::default());
        let mut sums = vec![(0u64, 0i128); subjects as usize];
        let mut random = seed | 1;
        let mut next = |bound: u64| {
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            (random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 20) % bound
        };
        for round in 0..rounds {
            for number in 0..subjects {
                let cell = &mut sums[number as usize];
                let leaves = round % 3 == 2 && cell.0 > 0 && next(4) > 0;
                let (effect, count, sum) = match leaves {
                    true => (-1i8, cell.0, cell.1),
                    false if next(3) == 0 => (1, 1, if series.sum_is_count() { 1 } else { next(largest) as i128 - 1 }),
                    false => continue,
                };
                *cell = match leaves {
                    true => (0, 0),
                    false => (cell.0 + count, cell.1 + sum),
                };
                totals.add(SubjectKind::User, number, series, [effect, 0, 0], (count, sum));
            }
            let Some((_, column)) = totals.columns_mut(SubjectKind::User).next() else { continue };
            let changed = column.unshown.take();
            let shown = top.update(column, Window::Days7, &changed, &ids);
            let expected = expected(&sums, &ids);
            assert_eq!(shown.total, expected.len() as u64);
            let found: Vec<(i128, u64, u32)> = (shown.board.iter_from(0).take(LIST_LIMIT_MAX))
                .map(|place| (place.score, column.total(place.number, Window::Days7).count, place.number))
                .collect();
            assert_eq!(found, expected[..expected.len().min(LIST_LIMIT_MAX)], "round {round}");
            if !series.sum_is_count() {
                found.iter().for_each(|(_, count, number)| assert_eq!(shown.counts[number], *count));
            }
        }
    }

    #[test]
    fn a_list_of_many_is_cut_and_made_anew_and_its_first_thousand_are_always_right() {
        check(Metric::MoneySpent, 3 * LISTED_MAX as u32, 11, 9, 1_000_000);
        check(Metric::VotesCast, 3 * LISTED_MAX as u32, 5, 7, 3);
        check(Metric::Shares, 2 * LISTED_MAX as u32, 7, 7, 1);
        check(Metric::MoneyEarned, 2 * MADE_ANEW_FROM as u32, 7, 7, 1_000);
    }

    proptest! {
        #[test]
        fn a_list_of_few_is_always_right(subjects in 1u32..60, seed in any::<u64>(), largest in 1u64..9) {
            check(Metric::MoneySpent, subjects, seed, 8, largest);
        }
    }
}
