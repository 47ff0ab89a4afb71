//! Which entries carry a term, in memory, for one field: small for the many terms that stand in one or two entries.
//!
//! A term takes 16 bytes of the map while it has one or two ids, then a list, then a bitmap.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use roaring::RoaringBitmap;

/// A term with more ids than this keeps them in a bitmap.
const LIST_IDS_MAX: usize = 256;

/// Terms of one field by their hash. Ids come in ascending order.
#[derive(Debug, Default)]
pub(super) struct PostingTable {
    terms: HashMap<u32, Posting, BuildHasherDefault<Spread>>,
    spilled: Vec<Ids>,
}

#[derive(Debug)]
pub(super) enum Posting {
    One(u32),
    Two([u32; 2]),
    /// An index into `spilled`.
    Spilled(u32),
}

#[derive(Debug)]
enum Ids {
    List(Vec<u32>),
    Bitmap(RoaringBitmap),
}

impl PostingTable {
    /// Notes that entry `id` carries the term; at least as high as every id before. Saying it twice changes nothing.
    pub(super) fn push(&mut self, hash: u32, id: u32) {
        let posting = self.terms.entry(hash).or_insert(Posting::One(id));
        match posting {
            Posting::One(one) if *one == id => {}
            Posting::One(one) => *posting = Posting::Two([*one, id]),
            Posting::Two([_, two]) if *two == id => {}
            Posting::Two([one, two]) => {
                let list = vec![*one, *two, id];
                *posting = Posting::Spilled(self.spilled.len() as u32);
                self.spilled.push(Ids::List(list));
            }
            Posting::Spilled(place) => self.spilled[*place as usize].push(id),
        }
    }

    /// The entries that carry the term.
    pub(super) fn lookup(&self, hash: u32) -> RoaringBitmap {
        match self.terms.get(&hash) {
            None => RoaringBitmap::new(),
            Some(Posting::One(one)) => RoaringBitmap::from([*one]),
            Some(Posting::Two(two)) => RoaringBitmap::from(*two),
            Some(Posting::Spilled(place)) => match &self.spilled[*place as usize] {
                Ids::List(list) => bitmap_of(list),
                Ids::Bitmap(bitmap) => bitmap.clone(),
            },
        }
    }

    /// Every term, by hash.
    pub(super) fn sorted(&self) -> Vec<(u32, &Posting)> {
        let mut terms: Vec<_> = self.terms.iter().map(|(hash, posting)| (*hash, posting)).collect();
        terms.sort_unstable_by_key(|(hash, _)| *hash);
        terms
    }

    /// The ids of one of this table's terms, ascending; at least one.
    pub(super) fn ids<'a>(&'a self, posting: &'a Posting) -> Cow<'a, [u32]> {
        match posting {
            Posting::One(one) => Cow::Borrowed(std::slice::from_ref(one)),
            Posting::Two(two) => Cow::Borrowed(two),
            Posting::Spilled(place) => match &self.spilled[*place as usize] {
                Ids::List(list) => Cow::Borrowed(list),
                Ids::Bitmap(bitmap) => Cow::Owned(bitmap.iter().collect()),
            },
        }
    }

    /// Heap bytes by the layout of the standard map: 16 bytes and a control byte a bucket, 8 buckets for 7 terms.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let buckets = (self.terms.capacity() * 8).div_ceil(7).next_power_of_two();
        let spilled: usize = self.spilled.iter().map(Ids::heap_bytes).sum();
        buckets * 17 + self.spilled.capacity() * size_of::<Ids>() + spilled
    }
}

impl Ids {
    fn push(&mut self, id: u32) {
        match self {
            Ids::List(list) if list.last() == Some(&id) => {}
            Ids::List(list) if list.len() < LIST_IDS_MAX => list.push(id),
            Ids::List(list) => {
                let mut bitmap = bitmap_of(list);
                bitmap.insert(id);
                *self = Ids::Bitmap(bitmap);
            }
            Ids::Bitmap(bitmap) => {
                bitmap.insert(id);
            }
        }
    }

    /// What lies on the heap, 16 bytes of the allocator's own included.
    #[cfg(test)]
    fn heap_bytes(&self) -> usize {
        match self {
            Ids::List(list) => list.capacity() * 4 + 16,
            Ids::Bitmap(bitmap) => bitmap.serialized_size() * 2 + 128,
        }
    }
}

/// A bitmap of ids that ascend.
pub(super) fn bitmap_of(ids: &[u32]) -> RoaringBitmap {
    RoaringBitmap::from_sorted_iter(ids.iter().copied()).expect("ids ascend")
}

/// Spreads a term's hash over 64 bits. The hash is keyed already, so that one multiplication is enough.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, hash: u32) {
        self.0 = (self.0 ^ u64::from(hash)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_keeps_its_ids_through_every_form() {
        let mut table = PostingTable::default();
        let mut expected = Vec::new();
        for id in (0..2000u32).map(|n| n * 3) {
            table.push(7, id);
            table.push(7, id);
            expected.push(id);
            assert_eq!(table.lookup(7).iter().collect::<Vec<_>>(), expected);
            let (hash, posting) = table.sorted()[0];
            assert_eq!((hash, &*table.ids(posting)), (7, expected.as_slice()));
        }
        assert!(table.lookup(8).is_empty());
    }
}
