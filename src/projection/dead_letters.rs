//! Dead letters: entries that a projection could not fold after all its goes, and [`Trials`] of those still being tried.
//!
//! Table `runner.dead_letters` of the projection's own file, written in the transaction that moves the checkpoint past
//! the entry, so that no crash separates the two:
//!
//! ```text
//! seq u64 -> attempts u32 | at i64 | problem (UTF-8) | crc32 of all before, u32             (little-endian)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::backoff;
use super::checkpoint::{seal, take, unseal};
use super::{StoreError, Wiring};
use crate::units::{Seq, Timestamp};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("runner.dead_letters");
/// A problem's text is cut to this, in bytes.
const PROBLEM_BYTES_MAX: usize = 2048;

/// An entry that a projection skipped, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub seq: Seq,
    /// What the last go said.
    pub problem: String,
    /// Goes so far.
    pub attempts: u32,
    /// When it was last tried.
    pub at: Timestamp,
}

impl DeadLetter {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.problem.len());
        bytes.extend(self.attempts.to_le_bytes());
        bytes.extend(self.at.micros().to_le_bytes());
        bytes.extend(self.problem.as_bytes());
        seal(&mut bytes);
        bytes
    }

    fn decode(seq: u64, bytes: &[u8]) -> Option<DeadLetter> {
        let mut rest = unseal(bytes)?;
        let attempts = u32::from_le_bytes(take(&mut rest)?);
        let at = Timestamp::from_micros(i64::from_le_bytes(take(&mut rest)?));
        let problem = str::from_utf8(rest).ok()?.to_owned();
        Some(DeadLetter { seq: Seq::new(seq), problem, attempts, at })
    }
}

/// The dead letters of one file, in memory, and which of them the file does not hold yet.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    /// Shared with readers; copied when it changes, which is seldom.
    letters: Arc<BTreeMap<Seq, DeadLetter>>,
    unwritten: BTreeSet<Seq>,
}

/// Dead letters that came, encoded, and that went.
pub(super) struct Changes(Vec<(Seq, Option<Vec<u8>>)>);

impl Changes {
    pub fn write(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut table = transaction.open_table(TABLE).map_err(StoreError::of)?;
        for (seq, letter) in &self.0 {
            match letter {
                Some(letter) => table.insert(seq.get(), letter.as_slice()).map(drop),
                None => table.remove(seq.get()).map(drop),
            }
            .map_err(StoreError::of)?;
        }
        Ok(())
    }
}

impl DeadLetters {
    pub fn read(database: &redb::Database) -> Result<DeadLetters, StoreError> {
        let transaction = database.begin_read().map_err(StoreError::of)?;
        let table = match transaction.open_table(TABLE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(DeadLetters::default()),
            Err(error) => return Err(StoreError::of(error)),
        };
        let mut letters = BTreeMap::new();
        for row in table.iter().map_err(StoreError::of)? {
            let (seq, bytes) = row.map_err(StoreError::of)?;
            let letter = DeadLetter::decode(seq.value(), bytes.value())
                .ok_or_else(|| StoreError(format!("its dead letter {} is damaged", seq.value())))?;
            letters.insert(letter.seq, letter);
        }
        Ok(DeadLetters { letters: Arc::new(letters), unwritten: BTreeSet::new() })
    }

    /// Takes what has changed since the last changes.
    pub fn changes(&mut self) -> Changes {
        let change = |seq: Seq| (seq, self.letters.get(&seq).map(DeadLetter::encode));
        Changes(std::mem::take(&mut self.unwritten).into_iter().map(change).collect())
    }

    pub fn put(&mut self, mut letter: DeadLetter) {
        letter.problem.truncate(letter.problem.floor_char_boundary(PROBLEM_BYTES_MAX));
        self.unwritten.insert(letter.seq);
        Arc::make_mut(&mut self.letters).insert(letter.seq, letter);
    }

    pub fn remove(&mut self, seq: Seq) {
        if Arc::make_mut(&mut self.letters).remove(&seq).is_some() {
            self.unwritten.insert(seq);
        }
    }

    pub fn get(&self, seq: Seq) -> Option<&DeadLetter> {
        self.letters.get(&seq)
    }

    pub fn all(&self) -> &Arc<BTreeMap<Seq, DeadLetter>> {
        &self.letters
    }
}

/// How an entry has fared so far.
#[derive(Debug)]
pub(super) struct Trial {
    pub attempts: u32,
    pub problem: String,
    pub not_before: Instant,
    /// The last go panicked, so that the next one may cost the state in memory: it is worth a flush first.
    pub flush_first: bool,
}

/// The entries that failed and are not behind a flush yet. They outlive a reload of the projection, so that an entry
/// that panics is not tried for ever.
#[derive(Debug, Default)]
pub(super) struct Trials(BTreeMap<Seq, Trial>);

impl Trials {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get_mut(&mut self, seq: Seq) -> Option<&mut Trial> {
        self.0.get_mut(&seq)
    }

    /// The entry that is waiting for its next go, as a text for the status.
    pub fn describe(&self, next: Seq) -> Option<String> {
        let trial = self.0.get(&next)?;
        Some(format!("entry {next} failed {} times: {}", trial.attempts, trial.problem))
    }

    /// Counts a failed go.
    pub fn failed(&mut self, seq: Seq, problem: String, panicked: bool, wiring: &Wiring) -> &Trial {
        let (now, options) = (wiring.clock.instant(), &wiring.options);
        let trial = self.0.entry(seq).or_insert_with(|| Trial {
            attempts: 0,
            problem: String::new(),
            not_before: now,
            flush_first: false,
        });
        trial.attempts += 1;
        trial.problem = problem;
        trial.flush_first = panicked;
        let wait: Duration = backoff::delay(options.entry_retry_first, options.entry_retry_longest, trial.attempts);
        trial.not_before = now + wait;
        trial
    }

    /// Forgets the entries that a flush has left behind.
    pub fn flushed(&mut self, applied: Seq) {
        if !self.0.is_empty() {
            self.0.retain(|seq, _| *seq > applied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_written_and_refused_when_a_bit_of_it_flips() {
        let letter = DeadLetter {
            seq: Seq::new(9),
            problem: "no such artist: é".to_owned(),
            attempts: 5,
            at: Timestamp::from_micros(1_777_000_000_000_000),
        };
        let bytes = letter.encode();
        assert_eq!(DeadLetter::decode(9, &bytes), Some(letter));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(DeadLetter::decode(9, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_long_problem_is_cut_between_characters() {
        let mut letters = DeadLetters::default();
        let problem = "é".repeat(PROBLEM_BYTES_MAX);
        letters.put(DeadLetter { seq: Seq::new(1), problem, attempts: 1, at: Timestamp::from_micros(0) });
        let kept = &letters.get(Seq::new(1)).unwrap().problem;
        assert_eq!(kept.len(), PROBLEM_BYTES_MAX);
        assert!(kept.chars().all(|letter| letter == 'é'));
    }
}
