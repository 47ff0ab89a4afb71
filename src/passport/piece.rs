//! A piece of the log: some entries in a row, read, checked and parsed once for all who follow the log.
//!
//! The projections and the live index each need every entry, at about the same time. Who comes first to a place makes the
//! piece, those who come soon after find it; how many are kept is bounded by their bytes. A piece never changes.

use self_cell::self_cell;

use super::ReadError;
use super::record::{self, Entry, RecordError};
use super::sealed::Block;
use crate::event::Facts;
use crate::problem::{Problem, Slug};
use crate::units::Seq;

/// An entry, and what its payload says.
#[derive(Debug)]
pub struct Parsed<'a> {
    pub entry: Entry<'a>,
    /// A payload that does not read as its type has none; it would not have been taken.
    pub facts: Result<Facts<'a>, Problem>,
}

impl<'a> Parsed<'a> {
    pub fn of(entry: Entry<'a>) -> Parsed<'a> {
        let (event_type, payload) = (entry.envelope.event_type, entry.envelope.payload);
        // A parser that panics is the trouble of one entry, and not of everybody who follows the log.
        let facts = std::panic::catch_unwind(|| Facts::of_stored(event_type, payload));
        Parsed { entry, facts: facts.unwrap_or_else(|_| Err(Problem::new(Slug::Internal, "The parser panicked."))) }
    }
}

type Items<'a> = Vec<Parsed<'a>>;

self_cell! {
    struct Inner {
        owner: Block,
        #[covariant]
        dependent: Items,
    }
}

/// Some entries in a row, at least one.
pub struct Piece(Inner);

impl Piece {
    /// # Errors
    /// The first record that is none, as `damaged` says it.
    pub(super) fn of(block: Block, damaged: impl Fn(Seq, RecordError) -> ReadError) -> Result<Piece, ReadError> {
        let inner = Inner::try_new(block, |block| {
            let parsed = block.records().map(|(seq, bytes)| match record::decode(bytes) {
                Ok(envelope) => Ok(Parsed::of(Entry { seq, envelope })),
                Err(error) => Err(damaged(seq, error)),
            });
            parsed.collect()
        });
        inner.map(Piece)
    }

    /// One entry alone.
    #[cfg(test)]
    pub fn of_entry(entry: &Entry<'_>) -> Piece {
        let mut bytes = Vec::new();
        record::encode(&entry.envelope, None, &mut bytes);
        let spans = vec![(0, bytes.len() as u32)];
        let damaged = |_, error| panic!("encoded above: {error}");
        Piece::of(Block::new(entry.seq, bytes, spans), damaged).expect("it decodes")
    }

    pub fn first_seq(&self) -> Seq {
        self.0.borrow_owner().first_seq
    }
    pub fn last_seq(&self) -> Seq {
        self.0.borrow_owner().last_seq()
    }
    /// What it takes in memory, without what facts have allocated.
    pub fn len_bytes(&self) -> usize {
        self.0.borrow_owner().len_bytes() + self.0.borrow_dependent().len() * size_of::<Parsed<'_>>()
    }

    pub fn entry(&self, seq: Seq) -> Option<&Parsed<'_>> {
        let at = seq.get().checked_sub(self.first_seq().get())?;
        self.0.borrow_dependent().get(usize::try_from(at).ok()?)
    }

    /// The entries behind `after`, up to `high`, in order.
    pub fn entries(&self, after: Seq, high: Seq) -> &[Parsed<'_>] {
        let items = self.0.borrow_dependent();
        let before = |seq: Seq| items.partition_point(|parsed| parsed.entry.seq <= seq);
        let (start, end) = (before(after), before(high));
        items.get(start..end).unwrap_or_default()
    }
}
