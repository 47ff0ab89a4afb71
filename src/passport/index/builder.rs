//! The index of a segment that still grows.

use std::convert::Infallible;

use roaring::RoaringBitmap;

use super::postings::PostingTable;
use super::{AT_BLOCK_ENTRIES, AtRange, Field, INDEX_ENTRIES_MAX, Postings, SegmentId, Term, TermKey};
use crate::event::{Facts, category};
use crate::passport::{Entry, Parsed};
use crate::units::{Seq, Timestamp};

/// What the index keeps of one entry, beside its artists.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub user_id: &'a str,
    /// The category is taken from it.
    pub event_type: &'a str,
    /// Its type's name and its id.
    pub entity: Option<(&'a str, &'a str)>,
    pub source: &'a str,
    pub at: Timestamp,
}

/// The live index of the active segment, and what an index file is written from.
pub struct SegmentIndexBuilder {
    first_seq: Seq,
    key: TermKey,
    count: u32,
    at_blocks: Vec<AtRange>,
    tables: [PostingTable; Field::COUNT],
}

impl SegmentIndexBuilder {
    /// An empty index of the segment whose first entry is `first_seq`.
    pub fn new(first_seq: Seq, key: TermKey) -> SegmentIndexBuilder {
        SegmentIndexBuilder { first_seq, key, count: 0, at_blocks: Vec::new(), tables: Default::default() }
    }

    pub fn first_seq(&self) -> Seq {
        self.first_seq
    }

    /// Adds the next stored entry. Reads its payload once, for the entity and the artists.
    ///
    /// # Panics
    /// If it is not the next: a gap would shift every answer after it.
    pub fn add_entry(&mut self, entry: &Entry<'_>) {
        self.add_parsed(&Parsed::of(*entry));
    }

    /// The same for an entry whose payload was read already.
    pub fn add_parsed(&mut self, parsed: &Parsed<'_>) {
        let Parsed { entry, facts } = parsed;
        // Where the payload does not read as its type, the entry has no entity and credits nobody.
        let facts = facts.as_ref().ok();
        assert_eq!(entry.seq, self.first_seq.plus(u64::from(self.count)), "entries are indexed without a gap");
        let envelope = &entry.envelope;
        let entity = facts.and_then(|facts| facts.entity(envelope.user_id));
        let terms = Terms {
            user_id: envelope.user_id,
            event_type: envelope.event_type,
            entity: entity.map(|(entity_type, id)| (entity_type.name(), id)),
            source: envelope.source,
            at: entry.at(),
        };
        // A configured rule may credit any type's artists, now or later.
        self.add(&terms, facts.into_iter().flat_map(|facts| facts.credited(true)));
    }

    /// Adds the next entry by its terms. An artist may be named twice.
    pub fn add<'t>(&mut self, terms: &Terms<'_>, artists: impl IntoIterator<Item = &'t str>) {
        assert!(self.count < INDEX_ENTRIES_MAX, "a segment holds at most {INDEX_ENTRIES_MAX} entries");
        let range = AtRange::of(terms.at);
        match self.at_blocks.last_mut() {
            Some(last) if !self.count.is_multiple_of(AT_BLOCK_ENTRIES) => *last = last.joined(range),
            _ => self.at_blocks.push(range),
        }
        self.push(Term::User(terms.user_id));
        self.push(Term::Type(terms.event_type));
        self.push(Term::Category(category(terms.event_type)));
        self.push(Term::Source(terms.source));
        if let Some((entity_type, id)) = terms.entity {
            self.push(Term::Entity(entity_type, id));
            self.push(Term::EntityType(entity_type));
        }
        for artist in artists {
            self.push(Term::Artist(artist));
        }
        self.count += 1;
    }

    fn push(&mut self, term: Term<'_>) {
        self.tables[term.field().index()].push(self.key.hash(term), self.count);
    }

    /// The bytes of the index file. `digest` is that of [`SegmentId`].
    pub fn encode(&self, digest: [u8; 16]) -> Vec<u8> {
        let id = SegmentId { first_seq: self.first_seq, count: self.count, digest };
        super::encode::encode(&id, &self.key, &self.at_blocks, &self.tables)
    }

    /// Heap bytes, estimated from capacities.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let tables: usize = self.tables.iter().map(PostingTable::heap_bytes).sum();
        tables + self.at_blocks.capacity() * size_of::<AtRange>()
    }
}

impl Postings for SegmentIndexBuilder {
    type Error = Infallible;

    fn count(&self) -> u32 {
        self.count
    }

    fn at_blocks(&self) -> &[AtRange] {
        &self.at_blocks
    }

    fn lookup(&self, term: Term<'_>) -> Result<RoaringBitmap, Infallible> {
        Ok(self.tables[term.field().index()].lookup(self.key.hash(term)))
    }
}

/// The typed fields of a stored entry. `None` where the payload does not read as its type, which is so of an erased one
/// only: such an entry has no entity and credits nobody.
pub(super) fn facts<'a>(entry: &Entry<'a>) -> Option<Facts<'a>> {
    Facts::of_stored(entry.envelope.event_type, entry.envelope.payload).ok()
}
