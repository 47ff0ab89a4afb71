//! Counts and sums of every subject in the three windows, where the fold adds to them. Readers get lists and rows instead
//! ([`super::tops`], [`super::MetricsView`]), so that nothing here is shared.

use super::by_number::ByNumber;
use super::chunks::{CHUNK, Chunk, Chunks, Narrow};
use super::series::{Series, SubjectKind};
use super::tops::{First, MADE_ANEW_SHARE, Shown, Top};
use crate::coliseum::board::Ids;
use crate::coliseum::tables::{Reader, Writer};
use crate::projection::StoreError;
use crate::units::Window;

/// A count and a sum: cents, millionths of a vote, or the count again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub count: u64,
    pub sum: i128,
}

impl Total {
    pub(super) fn add(&mut self, sign: i8, count: u64, sum: i128) {
        self.count = self.count.wrapping_add_signed(i64::from(sign) * count as i64);
        self.sum += i128::from(sign) * sum;
    }
}

/// What a move of a minute or a new event does to the windows: 1 it enters, -1 it leaves.
pub(super) type Effect = [i8; 3];

/// Sums of the three windows: 64 bits are enough for nearly all, and more is kept for those that outgrow them.
struct Sums {
    narrow: Chunks<[i64; 3]>,
    wide: ByNumber<u32, [i128; 3]>,
}

impl Sums {
    fn new() -> Sums {
        Sums { narrow: Chunks::new(), wide: ByNumber::default() }
    }
    fn get(&self, subject: u32) -> [i128; 3] {
        let wide = if self.wide.is_empty() { None } else { self.wide.get(&subject) };
        wide.copied().unwrap_or_else(|| self.narrow.get(subject).map(i128::from))
    }
    fn set(&mut self, subject: u32, sums: [i128; 3]) {
        let narrow = sums.map(|sum| sum as i64);
        if narrow.map(i128::from) != sums {
            self.wide.insert(subject, sums);
            return;
        }
        self.narrow.update(subject, |stored| *stored = narrow);
        if !self.wide.is_empty() {
            self.wide.remove(&subject);
        }
    }
}

impl Narrow for [i64; 3] {
    type Narrow = [i32; 3];
    fn narrow(&self) -> Option<[i32; 3]> {
        let narrow = self.map(|sum| sum as i32);
        (narrow.map(i64::from) == *self).then_some(narrow)
    }
    fn widen(narrow: [i32; 3]) -> [i64; 3] {
        narrow.map(i64::from)
    }
}

/// What stands beside each other of one subject, so that an event touches one line of the cache.
#[derive(Clone, Copy, Default)]
pub(super) struct Cell {
    counts: [u32; 3],
    /// [`UNFLUSHED`], [`UNSHOWN`], and [`listed`] by window.
    flags: u32,
}

impl Narrow for Cell {
    type Narrow = ([u16; 3], u16);
    fn narrow(&self) -> Option<([u16; 3], u16)> {
        let counts = self.counts.map(|count| count as u16);
        (counts.map(u32::from) == self.counts).then_some((counts, self.flags as u16))
    }
    fn widen((counts, flags): ([u16; 3], u16)) -> Cell {
        Cell { counts: counts.map(u32::from), flags: u32::from(flags) }
    }
}

/// Changed since the last flush; in `unshown`.
const UNFLUSHED: u32 = 1;
const UNSHOWN: u32 = 2;
/// On the top list of a window.
const fn listed(window: Window) -> u32 {
    4 << window.index()
}
/// On any.
const LISTED: u32 = listed(Window::Days7) | listed(Window::Days30) | listed(Window::AllTime);

/// A chunk of a column: the number of the series of a kind, and which.
pub(super) type ChunkKey = (u32, u32);

fn subjects_of(chunk: u32) -> impl Iterator<Item = u32> {
    (chunk * CHUNK as u32..=u32::MAX).take(CHUNK)
}

/// One series of all subjects of a kind.
pub(super) struct Column {
    sum_is_count: bool,
    cells: Chunks<Cell>,
    /// Empty where the sum is the count.
    sums: Sums,
    /// Subjects with a count over 0, by window.
    known: [u64; 3],
    unflushed: Vec<u32>,
    /// Those that a top list may have to take, move or drop.
    unshown: Vec<u32>,
    /// The top lists are not those of what was restored.
    is_restored: bool,
    /// `known` as of the last view.
    shown_known: [u64; 3],
    tops: [Top; 3],
}

impl Column {
    fn new(series: Series) -> Column {
        Column {
            sum_is_count: series.sum_is_count(),
            cells: Chunks::new(),
            sums: Sums::new(),
            known: [0; 3],
            unflushed: Vec::new(),
            unshown: Vec::new(),
            is_restored: false,
            shown_known: [0; 3],
            tops: Default::default(),
        }
    }

    fn totals(&self, subject: u32, cell: Cell) -> [Total; 3] {
        let sums = if self.sum_is_count { cell.counts.map(i128::from) } else { self.sums.get(subject) };
        Window::ALL.map(|window| Total { count: u64::from(cell.counts[window.index()]), sum: sums[window.index()] })
    }

    /// Subjects with a count over 0.
    pub fn known(&self, window: Window) -> u64 {
        self.known[window.index()]
    }

    /// The totals of all subjects with a count over 0.
    fn counted(&self, window: Window) -> impl Iterator<Item = (u32, Total)> {
        let at = window.index();
        self.cells.all().filter(move |(_, cell)| cell.counts[at] > 0).map(move |(subject, cell)| {
            let count = cell.counts[at];
            let sum = if self.sum_is_count { i128::from(count) } else { self.sums.get(subject)[at] };
            (subject, Total { count: u64::from(count), sum })
        })
    }

    /// The first of all windows, in one pass over all subjects.
    fn firsts(&self, ids: &impl Ids) -> [First; 3] {
        let mut firsts: [First; 3] = Default::default();
        for (subject, cell) in self.cells.all().filter(|(_, cell)| cell.counts != [0; 3]) {
            for (first, total) in firsts.iter_mut().zip(self.totals(subject, cell)) {
                if total.count > 0 {
                    first.take((subject, total), ids);
                }
            }
        }
        firsts.iter_mut().for_each(|first| first.cut(ids));
        firsts
    }

    fn add(&mut self, subject: u32, effect: Effect, count: u64, sum: i128) {
        let Column { sum_is_count, cells, sums, known, unflushed, unshown, tops, .. } = self;
        cells.update(subject, |cell| {
            for ((counted, effect), known) in cell.counts.iter_mut().zip(effect).zip(known) {
                let before = *counted;
                *counted = counted.wrapping_add_signed(i32::from(effect) * count as i32);
                *known = known.wrapping_add_signed(i64::from(*counted > 0) - i64::from(before > 0));
            }
            let sums = if *sum_is_count {
                cell.counts.map(i128::from)
            } else {
                let mut changed = sums.get(subject);
                changed.iter_mut().zip(effect).for_each(|(cell, effect)| *cell += i128::from(effect) * sum);
                sums.set(subject, changed);
                changed
            };
            if cell.flags & UNFLUSHED == 0 {
                cell.flags |= UNFLUSHED;
                unflushed.push(subject);
            }
            // Most subjects are far from the lists: what does not reach them is passed over here, and not at every view.
            let is_listed = cell.flags & LISTED != 0;
            if cell.flags & UNSHOWN == 0 && (is_listed || tops.iter().zip(sums).any(|(top, sum)| top.reaches(sum))) {
                cell.flags |= UNSHOWN;
                unshown.push(subject);
            }
        });
    }

    /// Sets the counts that were stored; everything is shown anew.
    fn set_counts(&mut self, subject: u32, counts: [u32; 3]) {
        let before = self.cells.update(subject, |cell| std::mem::replace(&mut cell.counts, counts));
        for ((known, count), before) in self.known.iter_mut().zip(counts).zip(before) {
            *known = known.wrapping_add_signed(i64::from(count > 0) - i64::from(before > 0));
        }
        self.is_restored = true;
    }

    /// The same of one window, where the sum is another.
    fn set(&mut self, subject: u32, window: usize, count: u32, sum: i128) {
        let mut counts = self.cells.get(subject).counts;
        counts[window] = count;
        self.set_counts(subject, counts);
        let mut sums = self.sums.get(subject);
        sums[window] = sum;
        self.sums.set(subject, sums);
    }

    /// Counts and sums of all subjects of a chunk, each behind how many bytes one takes.
    fn write_chunk(&self, chunk: u32, out: &mut Writer) {
        match self.cells.chunk(chunk) {
            Some(Chunk::Narrow(cells)) => {
                out.put_numbers(cells.iter().flat_map(|(counts, _)| *counts), u16::to_le_bytes)
            }
            Some(Chunk::Wide(cells)) => out.put_numbers(cells.iter().flat_map(|cell| cell.counts), u32::to_le_bytes),
            None => unreachable!("who is written has a chunk"),
        }
        if self.sum_is_count {
            return;
        }
        match self.sums.narrow.chunk(chunk) {
            Some(Chunk::Narrow(sums)) if self.sums.wide.is_empty() => {
                out.put_numbers(sums.iter().flatten().copied(), i32::to_le_bytes);
            }
            _ => {
                out.put_numbers(subjects_of(chunk).flat_map(|subject| self.sums.get(subject)), i128::to_le_bytes);
            }
        }
    }

    /// Everything is shown anew.
    fn restore_chunk(&mut self, chunk: u32, stored: &mut Reader<'_>) -> Result<(), StoreError> {
        let counts: Vec<u32> = match stored.take::<u8>()? {
            2 => stored.numbers(3 * CHUNK, |bytes| u16::from_le_bytes(bytes).into())?,
            4 => stored.numbers(3 * CHUNK, u32::from_le_bytes)?,
            _ => return Err(stored.damaged("its counts are none")),
        };
        let sums: Vec<i128> = match self.sum_is_count {
            true => counts.iter().map(|count| i128::from(*count)).collect(),
            false => match stored.take::<u8>()? {
                4 => stored.numbers(3 * CHUNK, |bytes| i32::from_le_bytes(bytes).into())?,
                16 => stored.numbers(3 * CHUNK, i128::from_le_bytes)?,
                _ => return Err(stored.damaged("its sums are none")),
            },
        };
        let (counts, sums) = (counts.as_chunks::<3>().0, sums.as_chunks::<3>().0);
        for ((subject, counts), sums) in subjects_of(chunk).zip(counts).zip(sums) {
            if *counts == [0; 3] && *sums == [0; 3] {
                continue;
            }
            self.set_counts(subject, *counts);
            if !self.sum_is_count {
                self.sums.set(subject, *sums);
            }
        }
        Ok(())
    }

    /// Brings the top lists up to date; `None` where nothing has changed.
    pub fn update_tops(&mut self, ids: &impl Ids) -> Option<[Shown; 3]> {
        let is_restored = std::mem::take(&mut self.is_restored);
        if self.unshown.is_empty() && self.shown_known == self.known && !is_restored {
            return None;
        }
        self.shown_known = self.known;
        let changed = std::mem::take(&mut self.unshown);
        let known = self.known.iter().max().copied().unwrap_or(0);
        let is_made_anew = is_restored || changed.len() as u64 > known / MADE_ANEW_SHARE;
        for &subject in &changed {
            let cell = self.cells.update(subject, |cell| {
                cell.flags &= !UNSHOWN;
                *cell
            });
            if is_made_anew {
                continue;
            }
            let totals = self.totals(subject, cell);
            let mut flags = cell.flags;
            for (window, top) in Window::ALL.into_iter().zip(&mut self.tops) {
                let is_listed = top.put((subject, totals[window.index()]), flags & listed(window) != 0, ids);
                flags = if is_listed { flags | listed(window) } else { flags & !listed(window) };
            }
            if flags != cell.flags {
                self.cells.update(subject, |cell| cell.flags = flags);
            }
        }
        let mut firsts = if is_made_anew { self.firsts(ids).map(Some) } else { [const { None }; 3] };
        for window in Window::ALL {
            let top = &self.tops[window.index()];
            let first = if let Some(first) = firsts[window.index()].take() {
                first
            } else if top.is_too_short(self.known(window)) {
                First::of(self.counted(window), ids)
            } else if top.is_too_long() {
                First::of(top.all().iter().copied(), ids)
            } else {
                continue;
            };
            let before: Vec<u32> = self.tops[window.index()].all().iter().map(|(subject, _)| *subject).collect();
            before.into_iter().for_each(|subject| self.cells.update(subject, |cell| cell.flags &= !listed(window)));
            self.tops[window.index()].list(first);
            let now: Vec<u32> = self.tops[window.index()].all().iter().map(|(subject, _)| *subject).collect();
            now.into_iter().for_each(|subject| self.cells.update(subject, |cell| cell.flags |= listed(window)));
        }
        let known = self.known;
        let mut tops = self.tops.iter_mut().zip(known).map(|(top, known)| top.show(known));
        Some(std::array::from_fn(|_| tops.next().expect("one for each window")))
    }
}

/// Stands for the window where one row holds the counts of all three.
const PACKED: u32 = 3;

/// All time lowest, so that what is old is short.
fn packed([week, month, all]: [u32; 3]) -> Total {
    let [week, month, all] = [week, month, all].map(i128::from);
    Total { count: 1, sum: all | month << 32 | week << 64 }
}

fn unpacked(sum: i128) -> [u32; 3] {
    [(sum >> 64) as u32, (sum >> 32) as u32, sum as u32]
}

/// All columns, and the totals of everything.
#[derive(Default)]
pub(super) struct Totals {
    columns: [ByNumber<Series, Column>; SubjectKind::LISTED.len()],
    global: ByNumber<Series, [Total; 3]>,
    global_unflushed: bool,
}

impl Totals {
    pub fn add(&mut self, kind: SubjectKind, subject: u32, series: Series, effect: Effect, (count, sum): (u64, i128)) {
        if kind == SubjectKind::Global {
            let totals = self.global.entry(series).or_default();
            totals.iter_mut().zip(effect).for_each(|(total, effect)| total.add(effect, count, sum));
            self.global_unflushed = true;
            return;
        }
        let columns = &mut self.columns[kind.index()];
        columns.entry(series).or_insert_with(|| Column::new(series)).add(subject, effect, count, sum);
    }

    /// The columns of a kind.
    pub fn columns_mut(&mut self, kind: SubjectKind) -> impl Iterator<Item = (Series, &mut Column)> {
        self.columns[kind.index()].iter_mut().map(|(series, column)| (*series, column))
    }

    pub fn global(&self) -> &ByNumber<Series, [Total; 3]> {
        &self.global
    }

    /// Calls `each` with what changed since the last flush: key, count and sum of one window; sorted by key.
    pub fn unflushed(&mut self, each: &mut impl FnMut([u32; 3], Total)) {
        for kind in SubjectKind::LISTED {
            let mut columns: Vec<(&Series, &mut Column)> = self.columns[kind.index()].iter_mut().collect();
            columns.sort_unstable_by_key(|(series, _)| **series);
            for (series, column) in columns {
                let mut unflushed = std::mem::take(&mut column.unflushed);
                unflushed.sort_unstable();
                for subject in unflushed {
                    let cell = column.cells.update(subject, |cell| {
                        cell.flags &= !UNFLUSHED;
                        *cell
                    });
                    if column.sum_is_count {
                        each([series.of(kind), subject, PACKED], packed(cell.counts));
                        continue;
                    }
                    for (window, total) in (0..).zip(column.totals(subject, cell)) {
                        each([series.of(kind), subject, window], total);
                    }
                }
            }
        }
        if std::mem::take(&mut self.global_unflushed) {
            for (series, totals) in &self.global {
                for (window, total) in (0..).zip(totals) {
                    each([series.of(SubjectKind::Global), 0, window], *total);
                }
            }
        }
    }

    /// The chunks that are there, in order.
    pub fn chunks(&self) -> Vec<ChunkKey> {
        let columns = SubjectKind::LISTED.into_iter().flat_map(|kind| {
            let columns = self.columns[kind.index()].iter();
            columns.map(move |(series, column)| (series.of(kind), column))
        });
        let mut chunks: Vec<ChunkKey> =
            columns.flat_map(|(series, column)| column.cells.chunks().map(move |chunk| (series, chunk))).collect();
        chunks.sort_unstable();
        chunks
    }

    /// Writes the totals of a chunk as they are now.
    pub fn write_chunk(&self, (series, chunk): ChunkKey, out: &mut Writer) {
        let column = Series::split(series).and_then(|(kind, series)| self.columns[kind.index()].get(&series));
        column.expect("a chunk of a series that there is").write_chunk(chunk, out);
    }

    /// Takes a chunk of which nothing was taken yet.
    pub fn restore_chunk(&mut self, (series, chunk): ChunkKey, stored: &mut Reader<'_>) -> Result<(), StoreError> {
        let split = Series::split(series).filter(|(kind, _)| *kind != SubjectKind::Global);
        let split = split.filter(|_| chunk <= u32::MAX / CHUNK as u32);
        let (kind, series) = split.ok_or_else(|| stored.damaged("it is of no series, or of no subjects"))?;
        self.columns[kind.index()].entry(series).or_insert_with(|| Column::new(series)).restore_chunk(chunk, stored)
    }

    /// Every total, those that are zero included.
    #[cfg(test)]
    pub fn all(&self) -> std::collections::BTreeMap<(u32, u32), [Total; 3]> {
        let global = self.global.iter().map(|(series, totals)| ((series.of(SubjectKind::Global), 0), *totals));
        let listed = SubjectKind::LISTED.into_iter().flat_map(|kind| {
            let columns = self.columns[kind.index()].iter();
            columns.flat_map(move |(series, column)| {
                let cells = column.cells.all();
                cells.map(move |(subject, cell)| ((series.of(kind), subject), column.totals(subject, cell)))
            })
        });
        listed.chain(global).collect()
    }

    /// Writes the totals of everything.
    pub fn write_global(&self, out: &mut Writer) {
        for (series, totals) in &self.global {
            out.put((series.number(), totals.map(|total| (total.count, total.sum))));
        }
    }

    pub fn restore_global(&mut self, stored: &mut Reader<'_>) -> Result<(), StoreError> {
        while !stored.is_empty() {
            let (series, totals): (u32, [(u64, i128); 3]) = stored.take()?;
            self.global.insert(Series::from_number(series), totals.map(|(count, sum)| Total { count, sum }));
        }
        Ok(())
    }

    /// Takes what [`Totals::unflushed`] gave, the newest of one key last.
    pub fn restore(&mut self, key: [u32; 3], total: Total) -> Result<(), StoreError> {
        let damaged = || StoreError("the coliseum tables: a total is none; the projection is rebuilt".into());
        let (kind, series) = Series::split(key[0]).ok_or_else(damaged)?;
        let window = key[2] as usize;
        let is_window = window < Window::ALL.len();
        if kind == SubjectKind::Global {
            *self.global.entry(series).or_default().get_mut(window).ok_or_else(damaged)? = total;
            return Ok(());
        }
        let columns = &mut self.columns[kind.index()];
        let column = columns.entry(series).or_insert_with(|| Column::new(series));
        if key[2] == PACKED && column.sum_is_count {
            column.set_counts(key[1], unpacked(total.sum));
            return Ok(());
        }
        if !is_window || column.sum_is_count {
            return Err(damaged());
        }
        let count = u32::try_from(total.count).map_err(|_| damaged())?;
        column.set(key[1], window, count, total.sum);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_exact_however_large(
            steps in prop::collection::vec(
                (0u32..3, prop::array::uniform3(prop_oneof![any::<i64>().prop_map(i128::from), -3i128..3])),
                0..40,
            ),
        ) {
            let (mut sums, mut expected) = (Sums::new(), [[0i128; 3]; 3]);
            for (subject, added) in steps {
                let exact = &mut expected[subject as usize];
                exact.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
                sums.set(subject, *exact);
                prop_assert_eq!([0, 1, 2].map(|subject| sums.get(subject)), expected);
            }
        }
    }
}
