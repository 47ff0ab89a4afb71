//! Top lists: the subjects of a metric by sum, and by id where sums are equal. Readers ask for at most a thousand, so that a
//! list holds the first one or two thousand and knows its last place, below which nobody is listed. One that changes enters
//! or leaves by that place; a list that has grown too short is made anew from all totals, one too long is cut.
//!
//! A view gets the list as an older one, without an order, and what has changed since: the first reader of a view that asks
//! for it puts it together and in order, the others find it so. Under load most lists of most views are asked for by nobody.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use super::by_number::ByNumber;
use super::totals::Total;
use crate::coliseum::board::{Ids, Place};
use crate::limits::LIST_LIMIT_MAX;

/// How many a list holds when it is made anew or cut, and how many it may hold before it is cut.
const LISTED: usize = LIST_LIMIT_MAX + LIST_LIMIT_MAX / 2;
const LISTED_MAX: usize = 2 * LIST_LIMIT_MAX;
/// Where more than one in so many has changed, a list is made anew from all totals: after a start, mostly. It takes less of
/// a total to look at it than to put it on a list or off.
pub(super) const MADE_ANEW_SHARE: u64 = 4;

/// A subject and its total.
pub(super) type Listed = (u32, Total);

/// What readers get.
pub struct Shown {
    /// Subjects with a count over 0.
    pub(super) total: u64,
    base: Arc<Vec<Listed>>,
    changes: Option<Arc<Changes>>,
    in_order: OnceLock<Vec<Listed>>,
}

/// What one view changed of a list, behind what those before it did.
struct Changes {
    /// `None`: listed no more.
    changed: Vec<(u32, Option<Total>)>,
    before: Option<Arc<Changes>>,
}

impl Shown {
    /// The first subjects, at least [`LIST_LIMIT_MAX`] of them if there are so many.
    pub(super) fn in_order(&self, ids: &impl Ids) -> &[Listed] {
        self.in_order.get_or_init(|| {
            let mut newest: ByNumber<u32, Option<Total>> = ByNumber::default();
            let mut changes = &self.changes;
            while let Some(of_view) = changes {
                of_view.changed.iter().for_each(|(number, total)| {
                    newest.entry(*number).or_insert(*total);
                });
                changes = &of_view.before;
            }
            let unchanged = self.base.iter().filter(|(number, _)| !newest.contains_key(number)).copied();
            let mut rows: Vec<Listed> = unchanged.collect();
            rows.extend(newest.iter().filter_map(|(number, total)| Some((*number, (*total)?))));
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
    /// What views are given: the list as it was once, the changes since then and how many there are.
    base: Arc<Vec<Listed>>,
    changes: Option<Arc<Changes>>,
    changes_len: usize,
    /// What the next view will have changed.
    unshown: Vec<(u32, Option<Total>)>,
}

impl Top {
    /// Takes a subject's new total. `was_listed` as the last call for the subject said; says whether it is listed now.
    pub fn put(&mut self, listed: Listed, was_listed: bool, ids: &impl Ids) -> bool {
        let (number, total) = listed;
        let is_beyond = |last: Place| place(&listed).cmp(&last, ids) == Ordering::Greater;
        let belongs = total.count > 0 && !self.last.is_some_and(is_beyond);
        if belongs || was_listed {
            self.unshown.push((number, belongs.then_some(total)));
        }
        match (was_listed, belongs) {
            (true, true) => self.listed[self.slots[&number] as usize] = listed,
            (true, false) => {
                let slot = self.slots.remove(&number).expect("who is listed has a slot");
                self.listed.swap_remove(slot as usize);
                if let Some((moved, _)) = self.listed.get(slot as usize) {
                    self.slots.insert(*moved, slot);
                }
            }
            (false, true) => {
                self.slots.insert(number, self.listed.len() as u32);
                self.listed.push(listed);
            }
            (false, false) => {}
        }
        belongs
    }

    /// Whether somebody with this sum may be listed.
    pub fn reaches(&self, sum: i128) -> bool {
        self.last.is_none_or(|last| sum >= last.score)
    }

    /// Who is listed, in no order.
    pub fn all(&self) -> &[Listed] {
        &self.listed
    }
    /// Whether it has to be made anew, `known` being all who could be listed.
    pub fn is_too_short(&self, known: u64) -> bool {
        self.listed.len() < LIST_LIMIT_MAX && (self.listed.len() as u64) < known
    }
    pub fn is_too_long(&self) -> bool {
        self.listed.len() > LISTED_MAX
    }

    /// Lists the first [`LISTED`] of some that hold at least these.
    pub fn list(&mut self, first: First) {
        let First { listed, last } = first;
        self.slots = (0..).zip(&listed).map(|(slot, (number, _))| (*number, slot)).collect();
        (self.listed, self.last) = (listed, last);
        self.rebase();
    }

    fn rebase(&mut self) {
        self.base = Arc::new(self.listed.clone());
        self.changes = None;
        self.changes_len = 0;
        self.unshown.clear();
    }

    /// The list for a view.
    pub fn show(&mut self, known: u64) -> Shown {
        if self.changes_len + self.unshown.len() > LISTED {
            self.rebase();
        } else if !self.unshown.is_empty() {
            let changed = std::mem::take(&mut self.unshown);
            self.changes_len += changed.len();
            self.changes = Some(Arc::new(Changes { changed, before: self.changes.take() }));
        }
        Shown { total: known, base: self.base.clone(), changes: self.changes.clone(), in_order: OnceLock::new() }
    }
}

/// The first [`LISTED`] of many, and the last of them where there are more.
#[derive(Default)]
pub(super) struct First {
    listed: Vec<Listed>,
    last: Option<Place>,
}

impl First {
    /// Goes through all of them once and keeps few.
    pub fn of(all: impl Iterator<Item = Listed>, ids: &impl Ids) -> First {
        let mut first = First::default();
        all.for_each(|listed| first.take(listed, ids));
        first.cut(ids);
        first
    }

    /// Takes one of many: twice as many as are listed are kept at most, and the better half of them whenever they are full.
    /// Of those that share the last sum, which may be most, each is compared once with the last one.
    pub fn take(&mut self, listed: Listed, ids: &impl Ids) {
        if self.last.is_some_and(|last| place(&listed).cmp(&last, ids) == Ordering::Greater) {
            return;
        }
        self.listed.push(listed);
        if self.listed.len() == 2 * LISTED {
            self.cut(ids);
        }
    }

    /// To be called when all are taken.
    pub fn cut(&mut self, ids: &impl Ids) {
        if self.listed.len() > LISTED {
            let by_place = |a: &Listed, b: &Listed| place(a).cmp(&place(b), ids);
            let (_, last, _) = self.listed.select_nth_unstable_by(LISTED - 1, by_place);
            self.last = Some(place(last));
            self.listed.truncate(LISTED);
        }
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

    /// Lists of `subjects`, changed in rounds: of many, so that the list is made anew, and in the two of three that follow
    /// of few; some rounds take away, so that it runs short.
    fn check(metric: Metric, subjects: u32, seed: u64, rounds: usize, largest: u64) {
        let ids = ids(subjects);
        let series = Series::metric(metric, metric.is_money().then_some(0));
        let mut totals = Totals::default();
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
                if round % 3 > 0 && next(20) > 0 {
                    continue;
                }
                let cell = &mut sums[number as usize];
                let leaves = round % 4 == 3 && cell.0 > 0 && next(4) > 0;
                let (effect, count, sum) = match leaves {
                    true => (-1i8, cell.0, cell.1),
                    false if next(3) == 0 => (1, 1, if series.sum_is_count() { 1 } else { next(largest) as i128 - 1 }),
                    false => continue,
                };
                *cell = match leaves {
                    true => (0, 0),
                    false => (cell.0 + count, cell.1 + sum),
                };
                totals.add(SubjectKind::User, number, series, [effect; 3], (count, sum));
            }
            let Some((_, column)) = totals.columns_mut(SubjectKind::User).next() else { continue };
            let Some([shown, _, _]) = column.update_tops(&ids) else { continue };
            let expected = expected(&sums, &ids);
            assert_eq!(shown.total, expected.len() as u64);
            let found = shown.in_order(&ids).iter();
            let found: Vec<(i128, u64, u32)> = found.map(|(number, total)| (total.sum, total.count, *number)).collect();
            assert_eq!(found, expected[..expected.len().min(LIST_LIMIT_MAX)], "round {round}");
        }
    }

    #[test]
    fn a_list_of_many_is_cut_and_made_anew_and_its_first_thousand_are_always_right() {
        check(Metric::MoneySpent, 4 * LISTED_MAX as u32, 11, 12, 1_000_000);
        check(Metric::VotesCast, 4 * LISTED_MAX as u32, 5, 12, 3);
        check(Metric::Shares, 3 * LISTED_MAX as u32, 7, 12, 1);
        check(Metric::MoneyEarned, 24 * LISTED_MAX as u32, 7, 9, 1_000);
    }

    #[test]
    fn who_comes_to_the_last_sum_with_an_earlier_id_is_listed() {
        let ids = ids(8000);
        let series = Series::metric(Metric::Shares, None);
        let mut totals = Totals::default();
        let mut sums = vec![0u64; 8000];
        let mut add = |totals: &mut Totals, number: u32, shares: u64, effect: i8| {
            totals.add(SubjectKind::User, number, series, [effect; 3], (shares, i128::from(shares)));
            let sum = &mut sums[number as usize];
            *sum = sum.wrapping_add_signed(i64::from(effect) * shares as i64);
        };
        let late = |number: &u32| *number >= 1400 && number.is_multiple_of(97);
        let update = |totals: &mut Totals| {
            let (_, column) = totals.columns_mut(SubjectKind::User).next().expect("one column");
            column.update_tops(&ids).expect("something has changed")
        };
        // 1,400 with five, and of those with three the first by their ids.
        for number in 0..8000 {
            let shares = if number < 1400 { 5 } else { 3 - u64::from(late(&number)) };
            add(&mut totals, number, shares, 1);
        }
        update(&mut totals);
        (0..8000).filter(late).for_each(|number| add(&mut totals, number, 1, 1));
        update(&mut totals);
        // So few leave that the list is not made anew, and so many that its end comes to be seen.
        (0..450).for_each(|number| add(&mut totals, number, 5, -1));
        let [shown, _, _] = update(&mut totals);
        let sums: Vec<(u64, i128)> = sums.iter().map(|sum| (*sum, i128::from(*sum))).collect();
        let found: Vec<u32> = shown.in_order(&ids).iter().map(|(number, _)| *number).collect();
        let expected: Vec<u32> =
            expected(&sums, &ids).iter().map(|(_, _, number)| *number).take(LIST_LIMIT_MAX).collect();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn a_list_of_few_is_always_right(subjects in 1u32..60, seed in any::<u64>(), largest in 1u64..9) {
            check(Metric::MoneySpent, subjects, seed, 12, largest);
        }
    }
}
