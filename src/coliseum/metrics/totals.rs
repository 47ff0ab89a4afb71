//! Counts and sums of every subject in the three windows, where the fold adds to them. Readers get lists and rows instead
//! ([`super::tops`], [`super::MetricsView`]), so that nothing here is shared.

use super::by_number::ByNumber;
use super::series::{Series, SubjectKind};
use crate::coliseum::Marks;
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

/// Subjects in one chunk: rare series take memory for those that have them, and their neighbours.
const CHUNK: usize = 256;

/// A vector that is empty in most places.
struct Sparse<T> {
    chunks: Vec<Option<Box<[T; CHUNK]>>>,
}

impl<T: Copy + Default> Sparse<T> {
    const fn new() -> Sparse<T> {
        Sparse { chunks: Vec::new() }
    }
    fn get(&self, index: u32) -> T {
        let index = index as usize;
        let chunk = self.chunks.get(index / CHUNK).and_then(Option::as_ref);
        chunk.map_or_else(T::default, |chunk| chunk[index % CHUNK])
    }
    fn at(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        if self.chunks.len() <= index / CHUNK {
            self.chunks.resize_with(index / CHUNK + 1, || None);
        }
        let chunk = self.chunks[index / CHUNK].get_or_insert_with(|| Box::new([T::default(); CHUNK]));
        &mut chunk[index % CHUNK]
    }
}

/// One series of all subjects of a kind.
pub(super) struct Column {
    sum_is_count: bool,
    counts: Sparse<[u32; 3]>,
    /// Empty where the sum is the count.
    sums: Sparse<[i128; 3]>,
    /// Subjects with a count over 0, by window.
    known: [u64; 3],
    /// Changed since the last flush, and since the last view.
    pub unflushed: Marks,
    pub unshown: Marks,
}

impl Column {
    fn new(series: Series) -> Column {
        Column {
            sum_is_count: series.sum_is_count(),
            counts: Sparse::new(),
            sums: Sparse::new(),
            known: [0; 3],
            unflushed: Marks::default(),
            unshown: Marks::default(),
        }
    }

    pub fn total(&self, subject: u32, window: Window) -> Total {
        let count = u64::from(self.counts.get(subject)[window.index()]);
        let sum = if self.sum_is_count { i128::from(count) } else { self.sums.get(subject)[window.index()] };
        Total { count, sum }
    }

    /// Subjects with a count over 0.
    pub fn known(&self, window: Window) -> u64 {
        self.known[window.index()]
    }

    /// The numbers of all subjects that may have a count over 0.
    pub fn subjects(&self) -> impl Iterator<Item = u32> {
        let chunks = self.counts.chunks.iter().enumerate().filter(|(_, chunk)| chunk.is_some());
        chunks.flat_map(|(chunk, _)| (chunk * CHUNK) as u32..((chunk + 1) * CHUNK) as u32)
    }

    fn add(&mut self, subject: u32, effect: Effect, count: u64, sum: i128) {
        let counts = self.counts.at(subject);
        for ((cell, effect), known) in counts.iter_mut().zip(effect).zip(&mut self.known) {
            let before = *cell;
            *cell = cell.wrapping_add_signed(i32::from(effect) * count as i32);
            *known = known.wrapping_add_signed(i64::from(*cell > 0) - i64::from(before > 0));
        }
        if !self.sum_is_count {
            for (cell, effect) in self.sums.at(subject).iter_mut().zip(effect) {
                *cell += i128::from(effect) * sum;
            }
        }
        self.unflushed.add(subject);
        self.unshown.add(subject);
    }

    /// Sets what was stored; everything is shown anew.
    fn set(&mut self, subject: u32, window: usize, count: u32, sum: i128) {
        let cell = &mut self.counts.at(subject)[window];
        self.known[window] = self.known[window].wrapping_add_signed(i64::from(count > 0) - i64::from(*cell > 0));
        *cell = count;
        if !self.sum_is_count {
            self.sums.at(subject)[window] = sum;
        }
        self.unshown.add(subject);
    }
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

    pub fn columns_mut(&mut self, kind: SubjectKind) -> impl Iterator<Item = (Series, &mut Column)> {
        self.columns[kind.index()].iter_mut().map(|(series, column)| (*series, column))
    }

    pub fn global(&self) -> &ByNumber<Series, [Total; 3]> {
        &self.global
    }

    /// Calls `each` with what changed since the last flush: key, count and sum of one window.
    pub fn unflushed(&mut self, each: &mut impl FnMut([u32; 3], Total)) {
        for kind in SubjectKind::LISTED {
            for (series, column) in &mut self.columns[kind.index()] {
                for subject in column.unflushed.take() {
                    for window in Window::ALL {
                        each([series.of(kind), subject, window.index() as u32], column.total(subject, window));
                    }
                }
            }
        }
        if std::mem::take(&mut self.global_unflushed) {
            for (series, totals) in &self.global {
                for (window, total) in totals.iter().enumerate() {
                    each([series.of(SubjectKind::Global), 0, window as u32], *total);
                }
            }
        }
    }

    /// Takes what [`Totals::unflushed`] gave, in any order but the newest of one key last.
    pub fn restore(&mut self, key: [u32; 3], total: Total) -> Result<(), StoreError> {
        let damaged = || StoreError("the coliseum tables: a total is none; the projection is rebuilt".into());
        let (kind, series) = Series::split(key[0]).ok_or_else(damaged)?;
        let window = key[2] as usize;
        if window >= Window::ALL.len() {
            return Err(damaged());
        }
        if kind == SubjectKind::Global {
            self.global.entry(series).or_default()[window] = total;
            return Ok(());
        }
        let count = u32::try_from(total.count).map_err(|_| damaged())?;
        let columns = &mut self.columns[kind.index()];
        columns.entry(series).or_insert_with(|| Column::new(series)).set(key[1], window, count, total.sum);
        Ok(())
    }
}
