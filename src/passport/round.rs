//! A round of the writer: the batch that is being filled, and the last ones that were written.
//!
//! All of it is memory of the writer thread. A crash loses what was not written, of which nobody was told; what was is read
//! from the log again when a repeat asks for it.

use std::collections::{HashMap, VecDeque};

use super::batch::{self, HEADER_BYTES};
use super::group::{AppendError, Outcome, Reply};
use super::keys::{Fingerprint, Hit};
use crate::limits::LAST_ROUNDS_BYTES;
use crate::units::Seq;

/// The batch that is being filled, and those who wait for it.
#[derive(Default)]
pub(super) struct Round {
    /// Room for the header, then the body.
    pub bytes: Vec<u8>,
    pub first_seq: Seq,
    /// Where each record of the body starts and ends.
    pub spans: Vec<(usize, usize)>,
    pub keys: Vec<Fingerprint>,
    /// The keys of this round by fingerprint; they enter the index once they are synced.
    seqs: HashMap<Fingerprint, Seq>,
    /// Keys of this round whose fingerprint another key of this round has taken: all but never any.
    shared: Vec<(Fingerprint, Seq)>,
    pub answers: Vec<(Reply, Result<Vec<Outcome>, AppendError>)>,
    /// The keys of the group that is being taken, and what the index knows of them.
    pub looked_up: Vec<Fingerprint>,
    pub hits: Vec<Hit>,
}

impl Round {
    pub fn start(&mut self, first_seq: Seq) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        self.spans.clear();
        self.keys.clear();
        self.seqs.clear();
        self.shared.clear();
        self.first_seq = first_seq;
    }
    pub fn next_seq(&self) -> Seq {
        self.first_seq.plus(self.spans.len() as u64)
    }
    pub fn push(&mut self, record: &[u8], key: Fingerprint) {
        batch::push_record(&mut self.bytes, record);
        self.spans.push((self.bytes.len() - record.len(), self.bytes.len()));
        let seq = self.first_seq.plus(self.keys.len() as u64);
        self.keys.push(key);
        if let Some(first) = self.seqs.insert(key, seq) {
            self.shared.push((key, first));
        }
    }
    /// Takes back everything from the `count`-th record on.
    pub fn truncate(&mut self, bytes: usize, count: usize) {
        let first_seq = self.first_seq;
        self.bytes.truncate(bytes);
        self.spans.truncate(count);
        self.keys.truncate(count);
        self.shared.clear();
        self.seqs.clear();
        for (at, key) in self.keys.iter().enumerate() {
            let seq = first_seq.plus(at as u64);
            if let Some(first) = self.seqs.insert(*key, seq) {
                self.shared.push((*key, first));
            }
        }
    }
    /// The seqs of this round that have the fingerprint.
    pub fn with_fingerprint(&self, key: Fingerprint) -> impl Iterator<Item = Seq> {
        let shared = self.shared.iter().filter(move |(other, _)| *other == key).map(|(_, seq)| *seq);
        self.seqs.get(&key).copied().into_iter().chain(shared)
    }
    pub fn record(&self, seq: Seq) -> Option<&[u8]> {
        let at = seq.get().checked_sub(self.first_seq.get())?;
        self.spans.get(at as usize).map(|(start, end)| &self.bytes[*start..*end])
    }
}

/// The rounds that were written and synced last, as they lie on the disk: an event that is sent again is compared with the
/// stored one without reading the batch that holds it, which has to be checked as a whole.
#[derive(Default)]
pub(super) struct LastRounds {
    /// By their seqs, the oldest first.
    rounds: VecDeque<Written>,
    bytes: usize,
}

#[derive(Default)]
struct Written {
    first_seq: Seq,
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

impl Written {
    fn len_bytes(&self) -> usize {
        size_of::<Written>() + self.bytes.capacity() + self.spans.capacity() * size_of::<(usize, usize)>()
    }
}

impl LastRounds {
    /// Takes the records of a round that is on disk, and gives it room for the next ones.
    pub fn keep(&mut self, round: &mut Round) {
        let mut written = Written { first_seq: round.first_seq, ..Written::default() };
        // The oldest gives its room, where that is wanted.
        while self.bytes > LAST_ROUNDS_BYTES
            && let Some(oldest) = self.rounds.pop_front()
        {
            self.bytes -= oldest.len_bytes();
            // Room for a large round is not held by a small one, which would be kept in the place of many.
            if oldest.bytes.capacity() <= 2 * round.bytes.len() {
                (written.bytes, written.spans) = (oldest.bytes, oldest.spans);
            }
        }
        written.bytes.clear();
        written.spans.clear();
        std::mem::swap(&mut written.bytes, &mut round.bytes);
        std::mem::swap(&mut written.spans, &mut round.spans);
        self.bytes += written.len_bytes();
        self.rounds.push_back(written);
    }

    pub fn record(&self, seq: Seq) -> Option<&[u8]> {
        let behind = self.rounds.partition_point(|written| written.first_seq <= seq);
        let written = &self.rounds[behind.checked_sub(1)?];
        let at = usize::try_from(seq.get() - written.first_seq.get()).ok()?;
        written.spans.get(at).map(|(start, end)| &written.bytes[*start..*end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_small_rounds_are_kept_behind_large_ones() {
        let (mut kept, mut round, mut next) = (LastRounds::default(), Round::default(), Seq::new(1));
        let large = vec![1; LAST_ROUNDS_BYTES / 2];
        let sizes = std::iter::repeat_n(large.as_slice(), 5).chain(std::iter::repeat_n(&large[..300], 2_000));
        for record in sizes {
            round.start(next);
            round.push(record, Fingerprint::new(0));
            next = round.next_seq();
            kept.keep(&mut round);
        }
        assert!((10..next.get()).all(|seq| kept.record(Seq::new(seq)).is_some()));
    }

    proptest! {
        #[test]
        fn the_last_rounds_are_found_by_each_of_their_seqs(
            rounds in prop::collection::vec(prop::collection::vec(1usize..LAST_ROUNDS_BYTES / 8, 1..6), 1..30),
        ) {
            let (mut kept, mut round, mut next) = (LastRounds::default(), Round::default(), Seq::new(1));
            let mut written: Vec<Vec<u8>> = Vec::new();
            for (number, records) in (0..).zip(&rounds) {
                round.start(next);
                for bytes in records {
                    written.push(vec![number; *bytes]);
                    round.push(&written[written.len() - 1], Fingerprint::new(0));
                }
                next = round.next_seq();
                kept.keep(&mut round);
                let found: Vec<Option<&[u8]>> =
                    (1..next.get()).map(|seq| kept.record(Seq::new(seq))).collect();
                let first = found.iter().position(Option::is_some).expect("the last one is kept");
                for (found, written) in found.iter().zip(&written).skip(first) {
                    prop_assert_eq!(*found, Some(written.as_slice()));
                }
                prop_assert!(kept.record(next).is_none());
                let held: usize = written[first..].iter().map(Vec::len).sum();
                prop_assert!(held <= LAST_ROUNDS_BYTES + records.iter().sum::<usize>());
            }
        }
    }
}
