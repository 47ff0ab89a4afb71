//! A run's keys in memory: quotients and remainders, under 2 bytes a key (Elias-Fano, cut into groups).
//!
//! The quotients are bits: for each one a 1 per key, then a 0. In front of quotient `q` stand exactly `q` zeros, so the
//! bit at which a group of 32 quotients starts is 32 x group + keys before the group: one u32 a group is all that must
//! be kept beside the bits, and a look-up skips at most 31 zeros from there, mostly within one word. The distance gives
//! the place of the key among the entries, the 12-bit remainder says whether to read it.
//!
//! A look-up is three loads, each of which misses the cache in a large run, each depending on the one before. They are
//! three calls, free of branches that hang on what was loaded, so that a batch can make each call for all its keys and
//! the misses overlap: a branch that is mispredicted only when its load arrives would undo that.

use std::ops::Range;

use super::layout::{GROUP_QUOTIENTS, Header, Layout, REMAINDER_BITS};
use super::run::RunFile;
use super::{Fingerprint, KeyError};

/// Bytes of one read while a directory is loaded.
const LOAD_BYTES: usize = 1 << 18;
/// Remainders that [`Directory::window`] takes at once: few quotients have more keys.
const WINDOW_PLACES: u64 = 4;
/// What a window may read behind the last remainder.
const PADDING_BYTES: usize = 8;
const REMAINDER_MASK: u64 = (1 << REMAINDER_BITS) - 1;

// A window may start within a byte.
const _: () = assert!(WINDOW_PLACES as u32 * REMAINDER_BITS + 4 <= u64::BITS);

pub(super) struct Directory {
    /// One word of zeros stands behind the last, so that 64 bits can be taken from any place.
    bits: Box<[u64]>,
    /// Keys before each group.
    starts: Box<[u32]>,
    /// [`PADDING_BYTES`] zeros stand behind the last.
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
        let mut remainders = Vec::with_capacity(layout.remainder_bytes() as usize + PADDING_BYTES);
        let crc = read_part(file, layout.remainders_offset(), layout.remainder_bytes(), |bytes| {
            remainders.extend_from_slice(bytes);
        })?;
        expect_crc(file, layout.remainders_offset(), "remainders", header.remainders_crc, crc)?;

        let starts = group_starts(layout, &bits).ok_or_else(|| {
            file.damaged(layout.bits_offset(), format!("quotients do not add up to {} keys", layout.keys))
        })?;
        bits.push(0);
        remainders.extend_from_slice(&[0; PADDING_BYTES]);
        Ok(Directory { bits: bits.into(), starts, remainders: remainders.into() })
    }

    pub(super) fn bytes(&self) -> u64 {
        (size_of_val(&*self.bits) + size_of_val(&*self.starts) + self.remainders.len()) as u64
    }

    /// The first load: the bit at which the fingerprint's group starts.
    pub(super) fn group_bit(&self, layout: &Layout, fingerprint: Fingerprint) -> u64 {
        let group = layout.quotient(fingerprint) / GROUP_QUOTIENTS;
        group * GROUP_QUOTIENTS + u64::from(self.starts[group as usize])
    }

    /// The second load: the 64 bits from `bit` on.
    pub(super) fn word_at(&self, bit: u64) -> u64 {
        let (at, shift) = ((bit / 64) as usize, bit % 64);
        // Shifted in two steps, since a shift by 64 is none.
        (self.bits[at] >> shift) | (self.bits[at + 1] << 1 << (63 - shift))
    }

    /// The places of the keys that share the fingerprint's quotient, from its group's bit and word.
    pub(super) fn places(
        &self,
        layout: &Layout,
        fingerprint: Fingerprint,
        group_bit: u64,
        group_word: u64,
    ) -> Range<u64> {
        let quotient = layout.quotient(fingerprint);
        let mut zeros = (quotient % GROUP_QUOTIENTS) as u32;
        let (mut bit, mut word) = (group_bit, group_word);
        while zeros > word.count_zeros() {
            zeros -= word.count_zeros();
            bit += 64;
            word = self.word_at(bit);
        }
        let skipped = if zeros == 0 { 0 } else { nth_one(!word, zeros - 1) + 1 };
        let ones = word.checked_shr(skipped).unwrap_or(0).trailing_ones();
        bit += u64::from(skipped);
        // Ones that reach the end of the word may go on behind it.
        let keys = if skipped + ones == 64 { self.ones_at(bit) } else { u64::from(ones) };
        let first = bit - quotient;
        first..first + keys
    }

    /// The third load: the remainders of the place and the [`WINDOW_PLACES`] - 1 behind it.
    pub(super) fn window(&self, place: u64) -> u64 {
        let at = (place * 3 / 2) as usize;
        let bytes = self.remainders[at..].first_chunk().expect("padding stands behind the last remainder");
        u64::from_le_bytes(*bytes) >> (place % 2 * 4)
    }

    /// Whether one of the places may have this remainder, by the window at the first of them.
    pub(super) fn may_match(places: &Range<u64>, window: u64, remainder: u16) -> bool {
        let keys = places.end - places.start;
        let equal = |n: u64| window >> (n * u64::from(REMAINDER_BITS)) & REMAINDER_MASK == u64::from(remainder);
        let in_window = (0..WINDOW_PLACES).fold(false, |any, n| any | ((n < keys) & equal(n)));
        in_window | (keys > WINDOW_PLACES)
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
        loop {
            let group_end = starts.len() as u64 * GROUP_QUOTIENTS;
            if zeros + zeros_here < group_end {
                break;
            }
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

/// The place of the n-th 1 (from 0) of a word that has more than n, without a branch (Vigna, *Broadword implementation of
/// rank/select queries*, 2008).
fn nth_one(word: u64, n: u32) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let pairs = word - (word >> 1 & 0x5555_5555_5555_5555);
    let nibbles = (pairs & 0x3333_3333_3333_3333) + (pairs >> 2 & 0x3333_3333_3333_3333);
    // In each byte the ones of it and of all bytes below.
    let up_to = ((nibbles + (nibbles >> 4)) & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(ONES);
    // A high bit in each byte where that is at most n: the bytes to skip.
    let skip = (((u64::from(n) * ONES) | HIGHS) - up_to) & HIGHS;
    let base = ((skip >> 7).wrapping_mul(ONES) >> 56) as u32 * 8;
    let before = (up_to << 8 >> base) as u8;
    let byte = (word >> base) as u8;
    base + u32::from(NTH_ONE_OF_BYTE[(n as usize - usize::from(before)) & 7][usize::from(byte)])
}

/// The place of the n-th 1 of each byte; 8 where there is none.
static NTH_ONE_OF_BYTE: [[u8; 256]; 8] = {
    let mut table = [[8; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut n, mut bit) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                table[n][byte] = bit;
                n += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};

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
