//! In how many parts a projection is recomputed, so that memory holds one of them: the log is read once for each.

/// Entries that a part may have on average: some hundred bytes each, together with what is kept of its subjects.
const PART_ENTRIES: u64 = 4_000_000;

/// One of the parts that subjects fall into by their numbers: in each are old and new ones, so busy and quiet ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: u32,
    count: u32,
}

impl Part {
    /// The first of so many as a log needs.
    pub fn first_for(entries: u64) -> Part {
        Part::first_of(u32::try_from(entries.div_ceil(PART_ENTRIES)).unwrap_or(u32::MAX))
    }
    pub fn first_of(count: u32) -> Part {
        Part { index: 0, count: count.max(1) }
    }

    /// Where the subject of a number stands within the part; `None` if it is in another.
    pub fn place(self, number: u32) -> Option<usize> {
        (number % self.count == self.index).then_some((number / self.count) as usize)
    }
    /// The number of the subject at a place.
    pub fn number(self, place: usize) -> u32 {
        place as u32 * self.count + self.index
    }

    pub fn is_first(self) -> bool {
        self.index == 0
    }
    pub fn next(self) -> Option<Part> {
        (self.index + 1 < self.count).then_some(Part { index: self.index + 1, ..self })
    }
    /// Counted from 1, of how many.
    pub fn position(self) -> (u32, u32) {
        (self.index + 1, self.count)
    }
}

/// Subjects that are looked at together, and how many rows they may have.
const FEW: usize = 1024;
pub const FEW_ROWS: usize = if cfg!(test) { 8 } else { 1 << 20 };

/// Calls `each` for all subjects, as long as it `goes_on`, with a view that has the rows of a few of them in memory: what is
/// asked of neighbours lies in the same blocks. `narrowed` makes it, and has none where the rows are too many or cannot be
/// read.
pub fn by_few<V, S>(
    view: &V,
    subjects: &[S],
    narrowed: &impl Fn(&[S]) -> Option<V>,
    goes_on: &mut dyn FnMut() -> bool,
    each: &mut impl FnMut(&V, &S),
) {
    for few in subjects.chunks(FEW) {
        if !goes_on() {
            return;
        }
        of_few(view, few, narrowed, each);
    }
}

fn of_few<V, S>(view: &V, few: &[S], narrowed: &impl Fn(&[S]) -> Option<V>, each: &mut impl FnMut(&V, &S)) {
    match (narrowed(few), few) {
        (Some(narrowed), _) => few.iter().for_each(|subject| each(&narrowed, subject)),
        // Whatever is wrong is told of the whole view.
        (None, [only]) => each(view, only),
        (None, _) => {
            let (one, other) = few.split_at(few.len() / 2);
            of_few(view, one, narrowed, each);
            of_few(view, other, narrowed, each);
        }
    }
}
