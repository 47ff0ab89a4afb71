//! Values by dense numbers, of which most are small or not there: memory is taken for 256 neighbours at once, of the narrow
//! form until one of them does not fit it.

/// Numbers in one chunk: rare values take memory for those that have them, and their neighbours.
pub const CHUNK: usize = 256;

/// A value that has a form of fewer bytes, which is enough for most.
pub(super) trait Narrow: Copy + Default {
    type Narrow: Copy + Default;

    /// `None` where it does not fit.
    fn narrow(&self) -> Option<Self::Narrow>;
    fn widen(narrow: Self::Narrow) -> Self;
}

pub enum Chunk<V: Narrow> {
    Narrow(Box<[V::Narrow; CHUNK]>),
    Wide(Box<[V; CHUNK]>),
}

impl<V: Narrow> Chunk<V> {
    fn get(&self, index: usize) -> V {
        match self {
            Chunk::Narrow(values) => V::widen(values[index]),
            Chunk::Wide(values) => values[index],
        }
    }
    #[cold]
    fn widened(values: &[V::Narrow; CHUNK]) -> Box<[V; CHUNK]> {
        Box::new(values.map(V::widen))
    }
}

/// See the module. What was never set is the default.
pub(super) struct Chunks<V: Narrow> {
    chunks: Vec<Option<Chunk<V>>>,
}

impl<V: Narrow> Chunks<V> {
    pub const fn new() -> Chunks<V> {
        Chunks { chunks: Vec::new() }
    }

    pub fn get(&self, number: u32) -> V {
        let index = number as usize;
        let chunk = self.chunks.get(index / CHUNK).and_then(Option::as_ref);
        chunk.map_or_else(V::default, |chunk| chunk.get(index % CHUNK))
    }

    /// The values of the chunks that are there, by number.
    pub fn all(&self) -> impl Iterator<Item = (u32, V)> {
        let chunks = self.chunks.iter().enumerate().filter_map(|(at, chunk)| Some((at, chunk.as_ref()?)));
        chunks.flat_map(|(at, chunk)| (0..CHUNK).map(move |index| ((at * CHUNK + index) as u32, chunk.get(index))))
    }

    pub fn chunk(&self, at: u32) -> Option<&Chunk<V>> {
        self.chunks.get(at as usize)?.as_ref()
    }

    /// Which chunks are there.
    pub fn chunks(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.chunks).filter_map(|(at, chunk)| chunk.is_some().then_some(at))
    }

    /// Changes one value, and gives what `change` gives.
    #[inline]
    pub fn update<R>(&mut self, number: u32, change: impl FnOnce(&mut V) -> R) -> R {
        let (chunk, index) = (number as usize / CHUNK, number as usize % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let none = || Chunk::Narrow(Box::new([V::Narrow::default(); CHUNK]));
        let chunk = self.chunks[chunk].get_or_insert_with(none);
        let values = match chunk {
            Chunk::Wide(values) => return change(&mut values[index]),
            Chunk::Narrow(values) => values,
        };
        let mut value = V::widen(values[index]);
        let given = change(&mut value);
        match value.narrow() {
            Some(narrow) => values[index] = narrow,
            None => {
                let mut wide = Chunk::<V>::widened(values);
                wide[index] = value;
                *chunk = Chunk::Wide(wide);
            }
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    impl Narrow for u32 {
        type Narrow = u8;
        fn narrow(&self) -> Option<u8> {
            u8::try_from(*self).ok()
        }
        fn widen(narrow: u8) -> u32 {
            narrow.into()
        }
    }

    proptest! {
        #[test]
        fn values_are_kept_narrow_or_wide(
            changes in prop::collection::vec((0..5 * CHUNK as u32, prop_oneof![0u32..256, 250u32..70_000]), 0..80),
        ) {
            let (mut chunks, mut expected) = (Chunks::<u32>::new(), BTreeMap::new());
            for (number, value) in changes {
                let before = chunks.update(number, |stored| std::mem::replace(stored, value));
                prop_assert_eq!(before, expected.insert(number, value).unwrap_or(0));
            }
            for number in 0..6 * CHUNK as u32 {
                prop_assert_eq!(chunks.get(number), expected.get(&number).copied().unwrap_or(0));
            }
            let there: BTreeMap<u32, u32> = chunks.all().filter(|(_, value)| *value > 0).collect();
            expected.retain(|_, value| *value > 0);
            prop_assert_eq!(there, expected);
        }
    }
}
