//! The bytes of a run file.
//!
//! | part | size | holds |
//! | --- | --- | --- |
//! | header | [`HEADER_BYTES`] | below |
//! | quotients | `bits_words` x 8 | for each quotient a 1 for each key that has it, then a 0; the rest of the last word is 0 |
//! | remainders | 12 bits a key | the bits of each key's fingerprint right below the quotient, low nibble first |
//! | entries | blocks of [`BLOCK_ENTRIES`] | for each key the rest of the fingerprint and seq - first seq; then the block's crc32 |
//!
//! Keys stand in the order of (fingerprint, seq) in all three. A fingerprint is cut, from the top, into quotient, remainder
//! and low bits; with as many quotients as keys (the nearest power of two) the first two parts cost about 14 bits a key
//! and still give the place of a key among the entries. So the entries need not repeat them, and a fingerprint is whole
//! again when a merge reads all three. All sizes follow from the range and the count: nothing else has to be believed.
//!
//! Header, little-endian: magic 8, version u32, crc32 of the quotients u32, first seq u64, last seq u64, keys u64,
//! check of the fingerprint key u64, crc32 of the remainders u32, zero u32, crc32 of the header u32.

use super::{Fingerprint, RUN_KEYS_MAX, SeqRange};
use crate::units::Seq;

pub(super) const HEADER_BYTES: usize = 60;
/// Bits of a remainder: of the look-ups of an absent key, one in 2^12 a run reads a block for nothing.
pub(super) const REMAINDER_BITS: u32 = 12;
/// Entries under one checksum, and what one look-up reads.
pub(super) const BLOCK_ENTRIES: u64 = 128;
/// Quotients that share one start in memory; nothing on disk hangs on it.
pub(super) const GROUP_QUOTIENTS: u64 = 32;
/// A block of the widest entries.
pub(super) const BLOCK_BYTES_MAX: usize = BLOCK_ENTRIES as usize * 16 + CRC_BYTES as usize;

const MAGIC: [u8; 8] = *b"COLIKEYS";
const VERSION: u32 = 1;
const CRC_BYTES: u64 = 4;
const QUOTIENT_BITS_MIN: u32 = 6;

// Groups are whole, a start is a u32, and the low bits are never negative.
const _: () = assert!(GROUP_QUOTIENTS.is_power_of_two() && GROUP_QUOTIENTS <= 1 << QUOTIENT_BITS_MIN);
const _: () = assert!(RUN_KEYS_MAX <= u32::MAX as u64);
const _: () = assert!(REMAINDER_BITS + 33 <= u64::BITS);

/// Where everything is in a run of this range and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) range: SeqRange,
    pub(super) keys: u64,
    quotient_bits: u32,
    low_bytes: u64,
    seq_bytes: u64,
}

impl Layout {
    /// `None` for more than [`RUN_KEYS_MAX`] keys.
    pub(super) fn new(range: SeqRange, keys: u64) -> Option<Layout> {
        if keys > RUN_KEYS_MAX {
            return None;
        }
        let quotient_bits = nearest_power_of_two(keys).max(QUOTIENT_BITS_MIN);
        let low_bits = u64::BITS - quotient_bits - REMAINDER_BITS;
        let span = range.last().get() - range.first().get();
        Some(Layout {
            range,
            keys,
            quotient_bits,
            low_bytes: u64::from(low_bits.div_ceil(8)),
            seq_bytes: u64::from((u64::BITS - span.leading_zeros()).div_ceil(8)),
        })
    }

    pub(super) fn quotients(&self) -> u64 {
        1 << self.quotient_bits
    }
    pub(super) fn bits_words(&self) -> u64 {
        (self.keys + self.quotients()).div_ceil(64)
    }
    pub(super) fn remainder_bytes(&self) -> u64 {
        (self.keys * u64::from(REMAINDER_BITS)).div_ceil(8)
    }
    pub(super) fn bits_offset(&self) -> u64 {
        HEADER_BYTES as u64
    }
    pub(super) fn remainders_offset(&self) -> u64 {
        self.bits_offset() + self.bits_words() * 8
    }
    pub(super) fn entries_offset(&self) -> u64 {
        self.remainders_offset() + self.remainder_bytes()
    }
    pub(super) fn blocks(&self) -> u64 {
        self.keys.div_ceil(BLOCK_ENTRIES)
    }
    /// Bytes of one entry, at most 16.
    pub(super) fn entry_bytes(&self) -> usize {
        (self.low_bytes + self.seq_bytes) as usize
    }
    pub(super) fn block_offset(&self, block: u64) -> u64 {
        self.entries_offset() + block * (BLOCK_ENTRIES * self.entry_bytes() as u64 + CRC_BYTES)
    }
    /// Bytes of a block, its checksum included.
    pub(super) fn block_bytes(&self, block: u64) -> usize {
        let entries = (self.keys - block * BLOCK_ENTRIES).min(BLOCK_ENTRIES);
        entries as usize * self.entry_bytes() + CRC_BYTES as usize
    }
    pub(super) fn file_bytes(&self) -> u64 {
        self.entries_offset() + self.keys * self.entry_bytes() as u64 + self.blocks() * CRC_BYTES
    }

    pub(super) fn quotient(&self, fingerprint: Fingerprint) -> u64 {
        fingerprint.bits() >> (u64::BITS - self.quotient_bits)
    }
    pub(super) fn remainder(&self, fingerprint: Fingerprint) -> u16 {
        ((fingerprint.bits() >> self.low_bits()) & ((1 << REMAINDER_BITS) - 1)) as u16
    }
    pub(super) fn low(&self, fingerprint: Fingerprint) -> u64 {
        fingerprint.bits() & ((1 << self.low_bits()) - 1)
    }
    /// The fingerprint of these parts; `None` if one of them is too large.
    pub(super) fn join(&self, quotient: u64, remainder: u16, low: u64) -> Option<Fingerprint> {
        let bits = quotient << (u64::BITS - self.quotient_bits) | u64::from(remainder) << self.low_bits() | low;
        (low >> self.low_bits() == 0).then_some(Fingerprint::new(bits))
    }
    fn low_bits(&self) -> u32 {
        u64::BITS - self.quotient_bits - REMAINDER_BITS
    }

    /// Appends the entry of a key to its block.
    pub(super) fn write_entry(&self, fingerprint: Fingerprint, seq: Seq, block: &mut Vec<u8>) {
        block.extend_from_slice(&self.low(fingerprint).to_le_bytes()[..self.low_bytes as usize]);
        let behind_first = seq.get() - self.range.first().get();
        block.extend_from_slice(&behind_first.to_le_bytes()[..self.seq_bytes as usize]);
    }
    /// Low bits and seq of an entry; `None` if the seq is outside the run's range.
    pub(super) fn read_entry(&self, bytes: &[u8]) -> Option<(u64, Seq)> {
        let (low, seq) = bytes.split_at(self.low_bytes as usize);
        let seq = Seq::new(self.range.first().get().checked_add(little_endian(seq))?);
        self.range.contains(seq).then_some((little_endian(low), seq))
    }
    /// The checksum of a block: its place and its run are under it, so that a block from elsewhere never passes.
    pub(super) fn block_crc(&self, block: u64, entries: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.range.first().get().to_le_bytes());
        hasher.update(&self.range.last().get().to_le_bytes());
        hasher.update(&block.to_le_bytes());
        hasher.update(entries);
        hasher.finalize()
    }
}

/// What the header says beside the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) layout: Layout,
    /// Tells runs of another fingerprint key, whose fingerprints mean nothing here.
    pub(super) key_check: u64,
    pub(super) bits_crc: u32,
    pub(super) remainders_crc: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.bits_crc.to_le_bytes());
        bytes.extend_from_slice(&self.layout.range.first().get().to_le_bytes());
        bytes.extend_from_slice(&self.layout.range.last().get().to_le_bytes());
        bytes.extend_from_slice(&self.layout.keys.to_le_bytes());
        bytes.extend_from_slice(&self.key_check.to_le_bytes());
        bytes.extend_from_slice(&self.remainders_crc.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.try_into().expect("the fields above are 60 bytes")
    }

    /// What is wrong, in words, where it is no header of this version.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, String> {
        if bytes[..8] != MAGIC {
            return Err("not a run of keys (wrong magic)".into());
        }
        let (fields, crc) = bytes.split_at(HEADER_BYTES - 4);
        let (crc, actual) = (little_endian(crc) as u32, crc32fast::hash(fields));
        if crc != actual {
            return Err(format!("header checksum is {actual:08x}, expected {crc:08x}"));
        }
        let version = little_endian(&bytes[8..12]) as u32;
        if version != VERSION {
            return Err(format!("version is {version}, expected {VERSION}"));
        }
        let (first, last) = (little_endian(&bytes[16..24]), little_endian(&bytes[24..32]));
        let range = SeqRange::checked(Seq::new(first), Seq::new(last))
            .ok_or_else(|| format!("{first} to {last} is no range of seqs"))?;
        let keys = little_endian(&bytes[32..40]);
        let layout = Layout::new(range, keys).ok_or_else(|| format!("{keys} keys, expected at most {RUN_KEYS_MAX}"))?;
        Ok(Header {
            layout,
            key_check: little_endian(&bytes[40..48]),
            bits_crc: little_endian(&bytes[12..16]) as u32,
            remainders_crc: little_endian(&bytes[48..52]) as u32,
        })
    }
}

/// An integer of up to 8 bytes.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

/// The exponent of the power of two that is nearest to `number` on a logarithmic scale.
fn nearest_power_of_two(number: u64) -> u32 {
    let floor = number.max(1).ilog2();
    // 2^(floor + 1/2) < number
    if u128::from(number).pow(2) > 1 << (2 * floor + 1) { floor + 1 } else { floor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(first: u64, last: u64, keys: u64) -> Layout {
        Layout::new(SeqRange::new(Seq::new(first), Seq::new(last)), keys).unwrap()
    }

    proptest! {
        #[test]
        fn a_fingerprint_comes_back_whole_from_its_parts(bits: u64, keys in 0..=RUN_KEYS_MAX, span in 0u64..1 << 40) {
            let layout = layout(7, 7 + span, keys);
            let fingerprint = Fingerprint::new(bits);
            let mut entry = Vec::new();
            layout.write_entry(fingerprint, Seq::new(7 + span), &mut entry);
            prop_assert_eq!(entry.len(), layout.entry_bytes());
            let (low, seq) = layout.read_entry(&entry).unwrap();
            prop_assert_eq!(seq.get(), 7 + span);
            prop_assert_eq!(
                layout.join(layout.quotient(fingerprint), layout.remainder(fingerprint), low),
                Some(fingerprint)
            );
        }

        #[test]
        fn a_header_with_any_bit_flipped_is_refused(bit in 0..HEADER_BYTES * 8) {
            let header = Header { layout: layout(1, 900, 899), key_check: 5, bits_crc: 6, remainders_crc: 7 };
            let mut bytes = header.encode();
            prop_assert_eq!(Header::decode(&bytes), Ok(header));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_header_that_lies_under_a_right_checksum_is_refused() {
        for (at, value) in [(8, 2), (16, 0), (24, 0), (24, u64::MAX), (32, RUN_KEYS_MAX + 1), (32, u64::MAX)] {
            let header = Header { layout: layout(1, 900, 899), key_check: 5, bits_crc: 6, remainders_crc: 7 };
            let mut bytes = header.encode();
            let width = if at == 8 { 4 } else { 8 };
            bytes[at..at + width].copy_from_slice(&u64::to_le_bytes(value)[..width]);
            let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
            bytes[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
            assert!(Header::decode(&bytes).is_err(), "{value} at {at}");
        }
    }
}
