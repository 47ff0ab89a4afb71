//! The entry index: for one segment and each field, which entries carry a term.
//!
//! It is derived from the log, may be deleted at any time, and is never evidence about the log: it names *candidates*,
//! and the reader holds each against the real entry with [`matches()`]. So terms are kept as 28-bit keyed hashes
//! (two terms that share one cost a wasted read, never a wrong answer), and times as the range of each block of
//! [`AT_BLOCK_ENTRIES`] entries.
//!
//! # The path of an entry
//!
//! ```text
//! entry -> SegmentIndexBuilder::add_entry        the active segment's live index: grows, and answers meanwhile
//!       -> write(disk, dir, builder, digest)     at seal: `<first seq, 20 digits>.idx` beside the segment
//!       -> SegmentIndex::open(disk, dir, id)     on demand, to be kept in the reader's LRU (about 0.1 bytes an entry)
//!       -> candidates(&live or &sealed, filter, low, high) -> RoaringBitmap of local ids
//!       -> read each entry, matches(&entry, filter)
//! ```
//! A *local id* is an entry's seq less its segment's first seq. Both forms implement [`Postings`], so there is one
//! query for both.
//!
//! # Who owns what
//!
//! The caller owns the live builder (behind a lock: one thread appends in batches, readers take [`candidates`]), the
//! LRU of open files, and the choice of a [`TermKey`], one secret a log, so that nobody outside can make terms collide
//! on purpose. `write` owns the two names of its file.
//!
//! # Layout of the file
//!
//! ```text
//! header      148 bytes, little-endian, the last four a crc32 of those before:
//!             magic 8 | version u32 | count u32 | first seq u64 | segment digest 16 | term key 16 | at crc32 u32
//!             | 7 x (terms u32, blocks u32, directory crc32 u32) | crc32 u32
//! at          ceil(count / 1024) x (min i64, max i64), microseconds
//! directories 7 x, blocks x (first hash u32, length u32, terms u32, crc32 u32)
//! blocks      7 x, bit streams of about 2 KiB (a frequent term stands in one of its own):
//!             per term: Rice(hash - hash before - 1), not for the first | gamma(count) | count x Rice(id - id before - 1)
//! ```
//! Fields stand in the order of [`Field`]. The Rice parameters follow from the counts, so they are not stored. Opening
//! reads header, ranges and directories; a look-up reads the one block that can hold its term. Every byte lies under a
//! checksum that is checked when it is read, and the file's length must be exactly what the directories say.
//!
//! # Limits
//!
//! At most [`INDEX_ENTRIES_MAX`] entries. About 9 bytes an entry on disk for 100,000 users and 10,000 artists, and under
//! 100 in memory while it is live. Hostile bytes give an [`IndexError`]; memory is taken only for bytes that are there.
//!
//! # What a crash leaves
//!
//! A whole index, none, or a `.idx.tmp` that the next `write` of that segment replaces. An index of another version, of
//! another state of its segment (the digest differs: cut, erased, restored) or with a wrong checksum is an error at
//! open or look-up; the caller rebuilds it from the log.

mod bits;
mod builder;
mod encode;
mod file;
mod postings;
mod query;
#[cfg(test)]
mod tests;

pub use builder::{SegmentIndexBuilder, Terms};
pub use file::{SegmentIndex, file_name, write};
pub use query::{Postings, candidates, matches};

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::limits::SEGMENT_BYTES_MAX;
use crate::units::{Seq, Timestamp};

/// Entries that one range of `at` covers.
pub const AT_BLOCK_ENTRIES: u32 = 1024;
/// Entries of one segment, so that ids and lengths fit 32 bits.
pub const INDEX_ENTRIES_MAX: u32 = 1 << 25;
/// Bits of a term's hash. With 100,000 terms in a segment, one look-up in 2,700 meets a stranger's entries.
const HASH_BITS: u32 = 28;

// No record takes fewer than 32 bytes.
const _: () = assert!(SEGMENT_BYTES_MAX / 32 <= INDEX_ENTRIES_MAX as u64);

/// The fields that are indexed, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    User,
    Type,
    Category,
    Entity,
    EntityType,
    Artist,
    Source,
}

impl Field {
    const COUNT: usize = 7;

    const fn index(self) -> usize {
        self as usize
    }
}

/// What an entry carries in one field, and what a look-up asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term<'a> {
    User(&'a str),
    Type(&'a str),
    Category(&'a str),
    /// Its type (`artist`, `event`, …) and its id.
    Entity(&'a str, &'a str),
    EntityType(&'a str),
    Artist(&'a str),
    Source(&'a str),
}

impl Term<'_> {
    pub const fn field(self) -> Field {
        match self {
            Term::User(_) => Field::User,
            Term::Type(_) => Field::Type,
            Term::Category(_) => Field::Category,
            Term::Entity(..) => Field::Entity,
            Term::EntityType(_) => Field::EntityType,
            Term::Artist(_) => Field::Artist,
            Term::Source(_) => Field::Source,
        }
    }
}

/// The secret under which terms are hashed. Kept in each index file, so that opening one needs no key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TermKey([u8; 16]);

impl TermKey {
    pub const fn new(bytes: [u8; 16]) -> TermKey {
        TermKey(bytes)
    }

    /// `HASH_BITS` bits of the term's SipHash-1-3.
    fn hash(&self, term: Term<'_>) -> u32 {
        let sip = SipHasher13::new_with_key(&self.0);
        let long = match term {
            Term::Entity(kind, id) => {
                let mut sip = sip;
                // A type has no U+0000 in it, so that no two pairs are written alike.
                sip.write(kind.as_bytes());
                sip.write(&[0]);
                sip.write(id.as_bytes());
                sip.finish()
            }
            Term::User(text)
            | Term::Type(text)
            | Term::Category(text)
            | Term::EntityType(text)
            | Term::Artist(text)
            | Term::Source(text) => sip.hash(text.as_bytes()),
        };
        (long >> (64 - HASH_BITS)) as u32
    }
}

/// The earliest and the latest `at` of a run of entries, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtRange {
    pub min: Timestamp,
    pub max: Timestamp,
}

impl AtRange {
    const fn of(at: Timestamp) -> AtRange {
        AtRange { min: at, max: at }
    }

    fn joined(self, other: AtRange) -> AtRange {
        AtRange { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Whether an instant of `from..to` may be in here; `None` is no bound.
    pub fn meets(self, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
        from.is_none_or(|from| self.max >= from) && to.is_none_or(|to| self.min < to)
    }
}

/// The segment that an index speaks for, in the state that it was read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    pub first_seq: Seq,
    pub count: u32,
    /// Anything that changes when the segment's entries do, such as the checksum of its last batch (they are chained).
    pub digest: [u8; 16],
}

/// Why an index file gave no answer. The log is untouched by all of them: write the index again from the segment.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{file}: there is no such index")]
    Missing { file: String },
    #[error("{file}: {what}")]
    Stale { file: String, what: String },
    #[error("{file}: index damaged at offset {offset}: {what}")]
    Damaged { file: String, offset: u64, what: String },
    #[error("{file}: {what}")]
    Io { file: String, what: String },
}
