//! Top lists: the subjects of a metric by sum, and by id where sums are equal. Readers ask for at most a thousand, so that a
//! list holds the first one or two thousand and knows its last place, below which nobody is listed. One that changes enters
//! or leaves by that place; a list that has grown too short is made anew from all totals, one too long is cut.
//!
//! A view gets the list as it is, without an order: the first reader of a view that asks for it puts it in order, the others
//! find it so. Under load most lists of most views are asked for by nobody.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use super::by_number::ByNumber;
use super::totals::{Column, Total};
use crate::coliseum::board::{Ids, Place};
use crate::limits::LIST_LIMIT_MAX;
use crate::units::Window;

/// How many a list holds when it is made anew or cut, and how many it may hold before it is cut.
const LISTED: usize = LIST_LIMIT_MAX + LIST_LIMIT_MAX / 2;
const LISTED_MAX: usize = 2 * LIST_LIMIT_MAX;
/// From so many changes on a list is made anew from all totals: after a start, and where a large batch was folded.
const MADE_ANEW_FROM: usize = 16 * LIST_LIMIT_MAX;

/// A subject and its total.
type Listed = (u32, Total);

/// What readers get.
pub struct Shown {
    /// Subjects with a count over 0.
    pub(super) total: u64,
    listed: Arc<Vec<Listed>>,
    in_order: OnceLock<Vec<Listed>>,
}

impl Shown {
    /// The first subjects, at least [`LIST_LIMIT_MAX`] of them if there are so many.
    pub(super) fn in_order(&self, ids: &impl Ids) -> &[Listed] {
        self.in_order.get_or_init(|| {
            let mut rows = Vec::clone(&self.listed);
            rows.sort_unstable_by(|a, b| place(a).cmp(&place(b), ids));
            rows.truncate(LIST_LIMIT_MAX);
            rows
        })
    }
}

fn place(listed: &Listed) -> Place {
    Place { score: listed.1.sum, number: listed.0 }
}

/// One list.
#[derive(Default)]
pub(super) struct Top {
    /// In no order.
    listed: Vec<Listed>,
    /// Where each stands there.
    slots: ByNumber<u32, u32>,
    /// The last place that is listed; `None` while everybody is.
    last: Option<Place>,
}

impl Top {
    /// Brings the list up to date with `changed` subjects, which may be more than have changed.
    pub fn update(&mut self, column: &Column, window: Window, changed: &[u32], ids: &impl Ids) -> Shown {
        let known = column.known(window);
        if changed.len() > MADE_ANEW_FROM {
            self.make_anew(column, window, ids);
        } else {
            for &number in changed {
                let listed = (number, column.total(number, window));
                let is_beyond = |last: Place| place(&listed).cmp(&last, ids) == Ordering::Greater;
                self.put(listed, listed.1.count > 0 && !self.last.is_some_and(is_beyond));
            }
            if self.listed.len() < LIST_LIMIT_MAX && (self.listed.len() as u64) < known {
                self.make_anew(column, window, ids);
            } else if self.listed.len() > LISTED_MAX {
                let all = std::mem::take(&mut self.listed);
                self.list(all, ids);
            }
        }
        Shown { total: known, listed: Arc::new(self.listed.clone()), in_order: OnceLock::new() }
    }

    fn put(&mut self, listed: Listed, belongs: bool) {
        let number = listed.0;
        match self.slots.get(&number) {
            Some(slot) if belongs => self.listed[*slot as usize] = listed,
            Some(slot) => {
                let slot = *slot;
                self.slots.remove(&number);
                self.listed.swap_remove(slot as usize);
                if let Some((moved, _)) = self.listed.get(slot as usize) {
                    self.slots.insert(*moved, slot);
                }
            }
            None if belongs => {
                self.slots.insert(number, self.listed.len() as u32);
                self.listed.push(listed);
            }
            None => {}
        }
    }

    fn make_anew(&mut self, column: &Column, window: Window, ids: &impl Ids) {
        let all = column.subjects().map(|number| (number, column.total(number, window)));
        self.list(all.filter(|(_, total)| total.count > 0).collect(), ids);
    }

    /// Lists the first [`LISTED`] of some that hold at least these.
    fn list(&mut self, mut all: Vec<Listed>, ids: &impl Ids) {
        self.last = None;
        if all.len() > LISTED {
            let (_, last, _) = all.select_nth_unstable_by(LISTED - 1, |a, b| place(a).cmp(&place(b), ids));
            self.last = Some(place(last));
            all.truncate(LISTED);
            all.shrink_to_fit();
        }
        self.slots = (0..).zip(&all).map(|(slot, (number, _))| (*number, slot)).collect();
        self.listed = all;
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
            let found = shown.in_order(&ids).iter();
            let found: Vec<(i128, u64, u32)> = found.map(|(number, total)| (total.sum, total.count, *number)).collect();
            assert_eq!(found, expected[..expected.len().min(LIST_LIMIT_MAX)], "round {round}");
        }
    }

    #[test]
    fn a_list_of_many_is_cut_and_made_anew_and_its_first_thousand_are_always_right() {
        check(Metric::MoneySpent, 4 * LISTED_MAX as u32, 11, 6, 1_000_000);
        check(Metric::VotesCast, 4 * LISTED_MAX as u32, 5, 6, 3);
        check(Metric::Shares, 3 * LISTED_MAX as u32, 7, 6, 1);
        check(Metric::MoneyEarned, 3 * MADE_ANEW_FROM as u32, 7, 4, 1_000);
    }

    proptest! {
        #[test]
        fn a_list_of_few_is_always_right(subjects in 1u32..60, seed in any::<u64>(), largest in 1u64..9) {
            check(Metric::MoneySpent, subjects, seed, 8, largest);
        }
    }
}
