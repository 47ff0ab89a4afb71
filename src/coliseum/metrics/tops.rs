//! Top lists: the subjects of a metric by sum, and by id where sums are equal. A list holds the first thousands in order
//! and knows its last place, below which nobody is listed: readers ask for at most a thousand. One that changes enters or
//! leaves by that place; a list that has grown too short is made anew from all totals, one too long is cut.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::totals::Column;
use crate::coliseum::board::{Board, Changes, Ids, Place};
use crate::limits::LIST_LIMIT_MAX;
use crate::units::Window;

/// How many a list holds when it is made anew or cut, and how many it may hold before it is cut.
const LISTED: usize = 4 * LIST_LIMIT_MAX;
const LISTED_MAX: usize = 2 * LISTED;

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
    listed: HashMap<u32, i128>,
    counts: imbl::HashMap<u32, u64>,
    /// The last place that is listed; `None` while everybody is.
    last: Option<Place>,
}

impl Top {
    /// Brings the list up to date with `changed` subjects, which may be more than have changed.
    pub fn update(&mut self, column: &Column, window: Window, changed: &[u32], ids: &impl Ids) -> Shown {
        let mut changes = Changes::default();
        for &number in changed {
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
        if self.board.len() < LIST_LIMIT_MAX && (self.board.len() as u64) < total {
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
