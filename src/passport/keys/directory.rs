//! A run's keys in memory: quotients and remainders, under 2 bytes a key (Elias-Fano, cut into groups).
//!
//! The quotients are bits: for each one a 1 per key, then a 0. In front of quotient `q` stand exactly `q` zeros, so the
//! bit at which a group of 64 quotients starts is 64 x group + keys before the group: one u32 a group is all that must
//! be kept beside the bits, and a look-up skips at most 63 zeros from there. The distance gives the place of the key
//! among the entries, the 12-bit remainder says whether to read it.

use std::ops::Range;

use super::layout::{GROUP_QUOTIENTS, Header, Layout};
use super::run::RunFile;
use super::{Fingerprint, KeyError};

/// Bytes of one read while a directory is loaded.
const LOAD_BYTES: usize = 1 << 18;

pub(super) struct Directory {
    /// One word of zeros stands behind the last, so that 64 bits can be taken from any place.
    bits: Box<[u64]>,
    /// Keys before each group.
    starts: Box<[u32]>,
    remainders: Box<[u8]>,
}

impl Directory {
    /// Reads and checks both parts; the file's length must have been checked against the layout.
    pub(super) fn read(file: &RunFile, header: &Header) -> Result<Directory, KeyError> {
        let layout = &header.layout;
        let mut bits = Vec::with_capacity(layout.bits_words() as usize + 1);
        let crc = read_part(file, layout.bits_offset(), layout.bits_words() * 8, |bytes| {
            bits.extend(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        })?;
        expect_crc(file, layout.bits_offset(), "quotients", header.bits_crc, crc)?;
        let mut remainders = Vec::with_capacity(layout.remainder_bytes() as usize);
        let crc = read_part(file, layout.remainders_offset(), layout.remainder_bytes(), |bytes| {
            remainders.extend_from_slice(bytes);
        })?;
        expect_crc(file, layout.remainders_offset(), "remainders", header.remainders_crc, crc)?;

        let starts = group_starts(layout, &bits).ok_or_else(|| {
            file.damaged(layout.bits_offset(), format!("quotients do not add up to {} keys", layout.keys))
        })?;
        bits.push(0);
        Ok(Directory { bits: bits.into(), starts, remainders: remainders.into() })
    }

    pub(super) fn bytes(&self) -> u64 {
        (size_of_val(&*self.bits) + size_of_val(&*self.starts) + self.remainders.len()) as u64
    }

    /// The bit at which a fingerprint's group starts. The first of three steps, each one cache miss: a batch takes all its
    /// keys through a step before the next, and the misses overlap.
    pub(super) fn group_bit(&self, layout: &Layout, fingerprint: Fingerprint) -> u64 {
        let group = layout.quotient(fingerprint) / GROUP_QUOTIENTS;
        group * GROUP_QUOTIENTS + u64::from(self.starts[group as usize])
    }

    /// The second step: the places of the keys that share the fingerprint's quotient.
    pub(super) fn places(&self, layout: &Layout, fingerprint: Fingerprint, group_bit: u64) -> Range<u64> {
        let quotient = layout.quotient(fingerprint);
        let (mut bit, mut zeros) = (group_bit, (quotient % GROUP_QUOTIENTS) as u32);
        while zeros > 0 {
            let word = !self.word_at(bit);
            let ahead = word.count_ones();
            if ahead >= zeros {
                bit += u64::from(nth_one(word, zeros - 1)) + 1;
                break;
            }
            zeros -= ahead;
            bit += 64;
        }
        let first = bit - quotient;
        first..first + self.ones_at(bit)
    }

    /// The third step: those of the places whose remainder is the fingerprint's too.
    pub(super) fn matches(
        &self,
        layout: &Layout,
        fingerprint: Fingerprint,
        places: Range<u64>,
    ) -> impl Iterator<Item = u64> {
        let remainder = layout.remainder(fingerprint);
        places.filter(move |place| self.remainder(*place) == remainder)
    }

    pub(super) fn remainder(&self, place: u64) -> u16 {
        let at = (place * 3 / 2) as usize;
        let pair = u16::from_le_bytes([self.remainders[at], self.remainders[at + 1]]);
        if place.is_multiple_of(2) { pair & 0x0fff } else { pair >> 4 }
    }

    /// The first 1 at or after `bit`: for a walk over all keys. There must be one.
    pub(super) fn next_one(&self, mut bit: u64) -> u64 {
        loop {
            let zeros = self.word_at(bit).trailing_zeros();
            bit += u64::from(zeros);
            if zeros < 64 {
                return bit;
            }
        }
    }

    fn ones_at(&self, bit: u64) -> u64 {
        let mut end = bit;
        loop {
            let ones = self.word_at(end).trailing_ones();
            end += u64::from(ones);
            if ones < 64 {
                return end - bit;
            }
        }
    }

    /// The 64 bits from `bit` on.
    fn word_at(&self, bit: u64) -> u64 {
        let (at, shift) = ((bit / 64) as usize, bit % 64);
        // Shifted in two steps, since a shift by 64 is none.
        (self.bits[at] >> shift) | (self.bits[at + 1] << 1 << (63 - shift))
    }
}

/// Gives the part to `take` in pieces of whole words, and returns its checksum.
fn read_part(file: &RunFile, offset: u64, bytes: u64, mut take: impl FnMut(&[u8])) -> Result<u32, KeyError> {
    let mut buffer = vec![0; LOAD_BYTES.min(bytes as usize)];
    let mut hasher = crc32fast::Hasher::new();
    let mut done = 0;
    while done < bytes {
        let piece = &mut buffer[..LOAD_BYTES.min((bytes - done) as usize)];
        file.read(piece, offset + done)?;
        hasher.update(piece);
        take(piece);
        done += piece.len() as u64;
    }
    Ok(hasher.finalize())
}

fn expect_crc(file: &RunFile, offset: u64, part: &str, expected: u32, actual: u32) -> Result<(), KeyError> {
    if expected == actual {
        return Ok(());
    }
    Err(file.damaged(offset, format!("checksum of the {part} is {actual:08x}, expected {expected:08x}")))
}

/// The keys before each group; `None` unless there are exactly the layout's keys and quotients, the last bit of them a 0
/// and nothing behind it. With that checked, no walk from a group's start leaves the bits.
fn group_starts(layout: &Layout, bits: &[u64]) -> Option<Box<[u32]>> {
    let end = layout.keys + layout.quotients();
    let mut starts = Vec::with_capacity((layout.quotients() / GROUP_QUOTIENTS) as usize);
    let (mut keys, mut zeros) = (0, 0);
    starts.push(0);
    for word in bits {
        let zeros_here = u64::from(word.count_zeros());
        let group_end = starts.len() as u64 * GROUP_QUOTIENTS;
        if zeros + zeros_here >= group_end {
            // At most one group ends in a word: it takes 64 zeros.
            let bit = nth_one(!word, (group_end - zeros - 1) as u32);
            let ones_before = u64::from((word & ((1 << bit) - 1)).count_ones());
            starts.push(u32::try_from(keys + ones_before).ok()?);
        }
        zeros += zeros_here;
        keys += 64 - zeros_here;
    }
    let padding = bits.len() as u64 * 64 - end;
    let last_bit = end - 1;
    let ends_in_zero = bits.last()? >> (last_bit % 64) == 0;
    starts.truncate((layout.quotients() / GROUP_QUOTIENTS) as usize);
    let whole = keys == layout.keys && zeros == layout.quotients() + padding && ends_in_zero;
    whole.then(|| starts.into())
}

/// The place of the n-th 1 (from 0) of a word that has more than n.
fn nth_one(mut word: u64, mut n: u32) -> u32 {
    let mut base = 0;
    for half in [32, 16, 8] {
        let low = (word & ((1 << half) - 1)).count_ones();
        if n >= low {
            n -= low;
            word >>= half;
            base += half;
        }
    }
    for _ in 0..n {
        word &= word - 1;
    }
    base + word.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_nth_one_is_found_in_any_word(word: u64) {
            let ones: Vec<u32> = (0..64).filter(|bit| word >> bit & 1 == 1).collect();
            for (n, bit) in ones.iter().enumerate() {
                prop_assert_eq!(nth_one(word, n as u32), *bit);
            }
        }
    }
}
