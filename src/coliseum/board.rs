//! One sorted list of artists, or of fans or events: by score descending, then by id ascending in byte order. Immutable and
//! chunked, so that a new version shares every chunk that did not change, and position, rank and row are found by binary
//! search.
//!
//! A view holds each board as [`Shown`]: an older board and what has moved since. Whoever looks at it first puts the two
//! together, the others find it so. A board that was looked at in one view is made with the next one, before readers get
//! it; under load most boards of most views are looked at by nobody. Of those that many have moved on, as on all after a
//! start, one is made with each view, and views are asked for until none is left.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::sync::{Arc, OnceLock};

/// Rows in one chunk, except that the only chunk of a board may have fewer.
const CHUNK_ROWS_MAX: usize = 128;
const CHUNK_ROWS_MIN: usize = 32;
const _: () = assert!(CHUNK_ROWS_MIN * 2 <= CHUNK_ROWS_MAX);

/// Whoever can say the id of a number: what equal scores are ordered by.
pub trait Ids {
    fn id(&self, number: u32) -> Cow<'_, str>;
    /// The order of the ids of two numbers.
    fn order(&self, one: u32, other: u32) -> Ordering {
        if one == other { Ordering::Equal } else { self.id(one).cmp(&self.id(other)) }
    }
}

/// One with a score. On the boards of artists a score of zero has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Micro-points.
    pub score: i128,
    /// An artist's number, or a fan's, or an event's: who holds the board knows.
    pub number: u32,
}

impl Place {
    pub(super) fn cmp(&self, other: &Place, ids: &impl Ids) -> Ordering {
        other.score.cmp(&self.score).then_with(|| ids.order(self.number, other.number))
    }
}

#[derive(Clone, Debug)]
struct Chunk {
    places: Arc<[Place]>,
    /// Its last place, here so that a search touches only the chunk that it ends in.
    last: Place,
    /// How many places lie before it.
    start: usize,
}

/// The order of one board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    chunks: Vec<Chunk>,
    len: usize,
}

/// A score that went from one value to another; zero is not on the board.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub number: u32,
    pub old: i128,
    pub new: i128,
}

/// A board as of one view.
#[derive(Debug, Default)]
pub struct Shown {
    base: Arc<Board>,
    /// What has moved since, from the oldest to the newest: sorted by number, and each less than half of the one before.
    moved: Vec<Arc<Vec<Moved>>>,
    made: OnceLock<Arc<Board>>,
    is_looked_at: AtomicBool,
}

/// More moves than these are not left to a reader for long: putting them together takes some milliseconds.
const MOVED_MAX: usize = 1 << 15;

/// The next view of boards, with what moved on each, given by number. Ready are those that somebody looked at, and of those
/// that many have moved on the one furthest behind: a view takes no longer because all of them are.
pub(super) fn after<'b>(boards: impl Iterator<Item = (&'b mut Arc<Shown>, Vec<Moved>)>, ids: &impl Ids) {
    let mut furthest: Option<Arc<Shown>> = None;
    for (board, moved) in boards {
        if !moved.is_empty() {
            *board = Arc::new(board.after(moved, ids));
        }
        let is_further = |other: &Arc<Shown>| board.moved_len() > other.moved_len();
        if board.is_behind() && furthest.as_ref().is_none_or(is_further) {
            furthest = Some(Arc::clone(board));
        }
    }
    if let Some(furthest) = furthest {
        furthest.made(ids);
    }
}

impl Shown {
    /// The board, for somebody who reads it.
    pub fn board(&self, ids: &impl Ids) -> &Board {
        self.is_looked_at.store(true, Memory::Relaxed);
        self.made(ids)
    }

    /// The board of the next view, ready where somebody looked at this one.
    fn after(&self, mut moved: Vec<Moved>, ids: &impl Ids) -> Shown {
        let (base, mut before) = match self.made.get() {
            Some(made) => (made, Vec::new()),
            None => (&self.base, self.moved.clone()),
        };
        while let Some(last) = before.pop_if(|last| last.len() < 2 * moved.len()) {
            moved = joined(&last, &moved);
        }
        before.push(Arc::new(moved));
        let next = Shown { base: Arc::clone(base), moved: before, ..Shown::default() };
        if self.is_looked_at.load(Memory::Relaxed) {
            next.made(ids);
        }
        next
    }

    /// Whether so many have moved that it should be made before somebody reads it.
    pub(super) fn is_behind(&self) -> bool {
        self.made.get().is_none() && self.moved_len() > MOVED_MAX
    }

    fn moved_len(&self) -> usize {
        self.moved.iter().map(|moved| moved.len()).sum()
    }

    fn made(&self, ids: &impl Ids) -> &Arc<Board> {
        self.made.get_or_init(|| {
            let moved = self.moved.iter().rev().fold(Vec::new(), |newer, older| joined(older, &newer));
            if moved.is_empty() { Arc::clone(&self.base) } else { Arc::new(self.base.changed(&moved, ids)) }
        })
    }
}

/// What moved in two spans of time, one after the other.
fn joined(older: &[Moved], newer: &[Moved]) -> Vec<Moved> {
    let mut all = Vec::with_capacity(older.len() + newer.len());
    let mut newer = newer.iter().copied().peekable();
    for first in older {
        while let Some(only) = newer.next_if(|newer| newer.number < first.number) {
            all.push(only);
        }
        match newer.next_if(|newer| newer.number == first.number) {
            Some(last) if last.new == first.old => {}
            Some(last) => all.push(Moved { new: last.new, ..*first }),
            None => all.push(*first),
        }
    }
    all.extend(newer);
    all
}

impl Board {
    /// Of places in any order; scores that are zero are left out.
    pub(super) fn of(places: impl Iterator<Item = Place>, ids: &impl Ids) -> Board {
        let mut loose: Vec<Place> = places.filter(|place| place.score != 0).collect();
        loose.sort_unstable_by(|a, b| a.cmp(b, ids));
        Builder { chunks: Vec::new(), loose }.finish()
    }

    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The place at an index from 0.
    pub fn get(&self, index: usize) -> Option<Place> {
        if index >= self.len {
            return None;
        }
        let chunk = &self.chunks[self.chunks.partition_point(|chunk| chunk.start <= index) - 1];
        Some(chunk.places[index - chunk.start])
    }
    /// Places from an index from 0 on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Place> {
        let first = self.chunks.partition_point(|chunk| chunk.start <= index).saturating_sub(1);
        let skip = index - self.chunks.get(first).map_or(0, |chunk| chunk.start);
        self.chunks[first.min(self.chunks.len())..].iter().flat_map(|chunk| chunk.places.iter().copied()).skip(skip)
    }
    /// The index from 0 of exactly this number with this score.
    pub fn index_of(&self, place: Place, ids: &impl Ids) -> Option<usize> {
        let index = self.count_before(|other| other.cmp(&place, ids) == Ordering::Less);
        self.get(index).filter(|found| *found == place).map(|_| index)
    }
    /// How many scores are strictly greater: the rank, less one.
    pub fn count_above(&self, score: i128) -> usize {
        self.count_before(|other| other.score > score)
    }

    /// How many places lie before; true for a first part of the board and false for the rest.
    fn count_before(&self, before: impl Fn(&Place) -> bool) -> usize {
        let whole = self.chunks.partition_point(|chunk| before(&chunk.last));
        match self.chunks.get(whole) {
            Some(chunk) => chunk.start + chunk.places.partition_point(before),
            None => self.len,
        }
    }

    /// The board after some moves, one of each number; chunks that they do not touch are shared.
    fn changed(&self, moved: &[Moved], ids: &impl Ids) -> Board {
        let sorted = |score: fn(&Moved) -> i128| {
            let places = moved.iter().map(|moved| Place { score: score(moved), number: moved.number });
            let mut places: Vec<Place> = places.filter(|place| place.score != 0).collect();
            places.sort_unstable_by(|a, b| a.cmp(b, ids));
            places
        };
        let (removed, inserted) = (sorted(|moved| moved.old), sorted(|moved| moved.new));
        let (mut removed, mut inserted) = (removed.as_slice(), inserted.as_slice());
        let mut next = Builder::default();
        let mut chunks = self.chunks.as_slice();
        let first_of = |places: [&[Place]; 2]| {
            let firsts = places.into_iter().filter_map(|places| places.first().copied());
            firsts.min_by(|a, b| a.cmp(b, ids))
        };
        while let (Some(first), Some(last_chunk)) = (first_of([removed, inserted]), chunks.len().checked_sub(1)) {
            // What lies behind all chunks is the last one's.
            let place = chunks.partition_point(|chunk| chunk.last.cmp(&first, ids) == Ordering::Less).min(last_chunk);
            chunks[..place].iter().for_each(|chunk| next.keep(chunk));
            let chunk = &chunks[place];
            let is_its = |other: &&Place| place == last_chunk || other.cmp(&chunk.last, ids) != Ordering::Greater;
            let (out, into) = (removed.iter().take_while(is_its).count(), inserted.iter().take_while(is_its).count());
            next.merge(&chunk.places, &removed[..out], &inserted[..into], ids);
            (removed, inserted, chunks) = (&removed[out..], &inserted[into..], &chunks[place + 1..]);
        }
        chunks.iter().for_each(|chunk| next.keep(chunk));
        next.merge(&[], removed, inserted, ids);
        next.finish()
    }
}

/// Gathers the chunks of a board from its top down.
#[derive(Default)]
struct Builder {
    chunks: Vec<Chunk>,
    /// Places behind the last chunk that are in no chunk yet.
    loose: Vec<Place>,
}

impl Builder {
    fn keep(&mut self, chunk: &Chunk) {
        if !self.loose.is_empty() && self.loose.len() < CHUNK_ROWS_MIN {
            self.loose.extend_from_slice(&chunk.places);
            return;
        }
        self.close();
        self.chunks.push(chunk.clone());
    }

    /// Appends `places` without `removed` and with `inserted`, all sorted. Each change is searched for: there are few of
    /// them, and what lies between two is copied as it is.
    fn merge(&mut self, places: &[Place], removed: &[Place], inserted: &[Place], ids: &impl Ids) {
        let (mut removed, mut inserted) = (removed.iter().peekable(), inserted.iter().peekable());
        let mut rest = places;
        loop {
            let inserts = match (inserted.peek(), removed.peek()) {
                (None, None) => break,
                (Some(new), Some(old)) => new.cmp(old, ids) != Ordering::Greater,
                (new, _) => new.is_some(),
            };
            let change = if inserts { inserted.next() } else { removed.next() };
            let change = change.expect("it was peeked at");
            let (before, behind) =
                rest.split_at(rest.partition_point(|place| place.cmp(change, ids) == Ordering::Less));
            self.loose.extend_from_slice(before);
            rest = behind;
            if inserts {
                self.loose.push(*change);
            } else {
                let taken = rest.split_off_first();
                assert_eq!(taken, Some(change), "a place that is taken out is on the board");
            }
        }
        self.loose.extend_from_slice(rest);
    }

    /// Cuts the loose places into chunks of equal size.
    fn close(&mut self) {
        if self.loose.is_empty() {
            return;
        }
        let count = self.loose.len().div_ceil(CHUNK_ROWS_MAX);
        let rows = self.loose.len().div_ceil(count);
        for places in self.loose.chunks(rows) {
            let last = *places.last().expect("chunks of a slice are not empty");
            self.chunks.push(Chunk { places: places.into(), last, start: 0 });
        }
        self.loose.clear();
    }

    fn finish(mut self) -> Board {
        if !self.loose.is_empty()
            && self.loose.len() < CHUNK_ROWS_MIN
            && let Some(before) = self.chunks.pop()
        {
            self.loose.splice(0..0, before.places.iter().copied());
        }
        self.close();
        let mut len = 0;
        for chunk in &mut self.chunks {
            chunk.start = len;
            len += chunk.places.len();
        }
        Board { chunks: self.chunks, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Ids for Vec<Arc<str>> {
        fn id(&self, number: u32) -> Cow<'_, str> {
            Cow::Borrowed(&self[number as usize])
        }
    }

    /// Ids whose byte order is not the order of the numbers.
    fn ids(count: u32) -> Vec<Arc<str>> {
        (0..count).map(|number| Arc::from(format!("{}-{number}", number.wrapping_mul(2_654_435_761) % 97))).collect()
    }

    fn check(board: &Board, scores: &BTreeMap<u32, i128>, ids: &Vec<Arc<str>>) {
        let mut expected: Vec<(i128, &str, u32)> = scores
            .iter()
            .filter(|(_, score)| **score != 0)
            .map(|(artist, score)| (-score, &*ids[*artist as usize], *artist))
            .collect();
        expected.sort();
        assert_eq!(board.len(), expected.len());
        let found: Vec<u32> = board.iter_from(0).map(|place| place.number).collect();
        assert_eq!(found, expected.iter().map(|(_, _, artist)| *artist).collect::<Vec<_>>());
        for (index, (negative, _, artist)) in expected.iter().enumerate() {
            let place = Place { score: -negative, number: *artist };
            assert_eq!(board.get(index), Some(place));
            assert_eq!(board.index_of(place, ids), Some(index));
            assert_eq!(board.count_above(place.score), expected.partition_point(|(other, _, _)| other < negative));
            assert_eq!(board.index_of(Place { score: place.score + 1, ..place }, ids), None);
        }
        assert_eq!(board.get(board.len()), None);
        let sizes: Vec<usize> = board.chunks.iter().map(|chunk| chunk.places.len()).collect();
        assert!(sizes.iter().all(|size| *size <= CHUNK_ROWS_MAX), "{sizes:?}");
        assert!(sizes.len() <= 1 || sizes.iter().all(|size| *size >= CHUNK_ROWS_MIN), "{sizes:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_board_is_the_sorted_list_at_every_view_whoever_looks_when(
            rounds in prop::collection::vec(
                (prop::collection::vec((0u32..3000, -3i128..40), 0..1500), prop::bool::ANY, prop::bool::ANY),
                1..8,
            ),
        ) {
            let ids = ids(3000);
            let (mut shown, mut scores) = (Arc::new(Shown::default()), BTreeMap::new());
            let mut unread = Vec::new();
            for (round, clear, looks) in rounds {
                let mut next = if clear { BTreeMap::new() } else { scores.clone() };
                next.extend(round);
                let score = |of: &BTreeMap<u32, i128>, number| of.get(&number).copied().unwrap_or(0);
                let all = (0..3000).map(|number| Moved { number, old: score(&scores, number), new: score(&next, number) });
                after([(&mut shown, all.filter(|moved| moved.old != moved.new).collect())].into_iter(), &ids);
                scores = next;
                if looks {
                    check(shown.board(&ids), &scores, &ids);
                } else {
                    unread.push((shown.clone(), scores.clone()));
                }
            }
            for (shown, scores) in unread {
                check(shown.board(&ids), &scores, &ids);
            }
        }
    }

    #[test]
    fn a_board_that_was_looked_at_is_made_with_the_next_view() {
        let ids = ids(10);
        let first = Shown::default().after(vec![Moved { number: 1, old: 0, new: 5 }], &ids);
        assert!(first.made.get().is_none(), "nobody has looked");
        let second = first.after(vec![Moved { number: 2, old: 0, new: 7 }], &ids);
        assert!(second.made.get().is_none() && second.moved_len() == 2);
        second.board(&ids);
        let third = second.after(vec![Moved { number: 1, old: 5, new: 8 }], &ids);
        assert!(third.made.get().is_some() && third.moved_len() == 1);
        let fourth = third.after(vec![Moved { number: 1, old: 8, new: 9 }], &ids);
        assert!(fourth.made.get().is_none() && fourth.moved_len() == 1, "nobody has looked at the third");
    }

    #[test]
    fn of_boards_that_nobody_reads_one_is_made_in_a_view_before_moves_are_many() {
        const COUNT: u32 = 3 * MOVED_MAX as u32;
        let ids = ids(COUNT);
        let mut boards: [Arc<Shown>; 3] = Default::default();
        for round in 0..30u32 {
            // Each the same score in the end.
            let numbers = || (0..COUNT).filter(move |number| (number + round) % 10 == 0);
            let before = i128::from(round / 10);
            let moved = || numbers().map(|number| Moved { number, old: before, new: before + 1 }).collect();
            let behind = boards.clone();
            after(boards.iter_mut().map(|board| (board, moved())), &ids);
            assert!(behind.iter().all(|board| board.made.get().is_none() || board.moved_len() > MOVED_MAX));
            assert!(boards.iter().filter(|board| board.made.get().is_some()).count() <= 1);
            assert!(boards.iter().all(|board| board.moved_len() <= MOVED_MAX + boards.len() * numbers().count()));
        }
        for board in &boards {
            assert_eq!(board.board(&ids).len(), COUNT as usize);
            assert_eq!(board.board(&ids).count_above(2), COUNT as usize);
            assert_eq!(board.board(&ids).count_above(3), 0);
        }
    }

    #[test]
    fn what_a_start_leaves_is_made_while_nothing_moves() {
        const COUNT: u32 = MOVED_MAX as u32 + 1;
        let ids = ids(COUNT);
        let mut boards: [Arc<Shown>; 3] = Default::default();
        let all = || (0..COUNT).map(|number| Moved { number, old: 0, new: 1 }).collect();
        after(boards.iter_mut().map(|board| (board, all())), &ids);
        let behind = |boards: &[Arc<Shown>]| boards.iter().filter(|board| board.is_behind()).count();
        for left in [2, 1, 0] {
            assert_eq!(behind(&boards), left, "one a view");
            after(boards.iter_mut().map(|board| (board, Vec::new())), &ids);
        }
        assert!(boards.iter().all(|board| board.made.get().is_some_and(|made| made.len() == COUNT as usize)));
    }

    #[test]
    fn chunks_that_nothing_touches_are_shared() {
        let ids = ids(5000);
        let all = (0..5000).map(|number| Place { score: i128::from(number) + 1, number });
        let board = Board::of(all, &ids);
        let next = board.changed(&[Moved { number: 4990, old: 4991, new: 4992 }], &ids);
        let shared = |chunk: &Chunk| board.chunks.iter().any(|old| Arc::ptr_eq(&old.places, &chunk.places));
        assert_eq!(next.chunks.iter().filter(|chunk| !shared(chunk)).count(), 1);
    }

    #[test]
    fn places_are_given_from_any_index() {
        let ids = ids(1000);
        let board = Board::of((0..1000).map(|n| Place { score: 1000 - i128::from(n), number: n }), &ids);
        for index in [0, 1, 499, 500, 999, 1000, 5000] {
            let found: Vec<u32> = board.iter_from(index).map(|place| place.number).collect();
            assert_eq!(found, (index as u32..1000).collect::<Vec<_>>(), "from {index}");
        }
        assert_eq!(Board::default().iter_from(3).count(), 0);
    }
}
