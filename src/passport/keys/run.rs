//! One run: an immutable file of keys, its directory in memory, its entries on disk.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::Directory;
use super::layout::{BLOCK_BYTES_MAX, BLOCK_ENTRIES, HEADER_BYTES, Header, Layout, little_endian};
use super::{Fingerprint, KeyError, LOOKUP_LANES, SeqRange};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::units::Seq;

/// Blocks that a walk over all entries reads at once.
const WALK_BLOCKS: u64 = 64;

pub(super) const SUFFIX: &str = ".keys";
const SEQ_DIGITS: usize = 20;

/// `<first seq>-<last seq>.keys`.
pub(super) fn file_name(range: SeqRange) -> String {
    format!("{:020}-{:020}{SUFFIX}", range.first().get(), range.last().get())
}

/// The range in a name that [`file_name`] made; `None` for any other name.
pub(super) fn range_of_name(name: &str) -> Option<SeqRange> {
    let (first, last) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |digits: &str| {
        let plain = digits.len() == SEQ_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse().ok().map(Seq::new) } else { None }
    };
    SeqRange::checked(number(first)?, number(last)?)
}

/// An open run file, and the words for what is wrong with it.
pub(super) struct RunFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    range: SeqRange,
}

impl RunFile {
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), KeyError> {
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(offset, format!("ends within {} bytes", buffer.len())),
            _ => self.io(source),
        })
    }

    pub(super) fn damaged(&self, offset: u64, what: String) -> KeyError {
        KeyError::Damaged { file: self.path.display().to_string(), run: self.range, offset, what }
    }

    fn io(&self, source: io::Error) -> KeyError {
        KeyError::Io { file: self.path.display().to_string(), source }
    }
}

/// One look-up on its way through a directory.
struct Lane {
    group_bit: u64,
    group_word: u64,
    places: Range<u64>,
    window: u64,
}

pub(super) struct Run {
    file: RunFile,
    layout: Layout,
    directory: Directory,
}

impl Run {
    /// Reads header and directory, not the entries.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, range: SeqRange, key_check: u64) -> Result<Run, KeyError> {
        let path = dir.join(file_name(range));
        let file = disk
            .open(&path, OpenMode::Read)
            .map_err(|source| KeyError::Io { file: path.display().to_string(), source })?;
        let file = RunFile { file, path, range };
        let mut bytes = [0; HEADER_BYTES];
        file.read(&mut bytes, 0)?;
        let header = Header::decode(&bytes).map_err(|what| file.damaged(0, what))?;
        let layout = header.layout;
        if layout.range != range {
            return Err(file.damaged(0, format!("holds seq {}, expected those of its name", layout.range)));
        }
        if header.key_check != key_check {
            return Err(file.damaged(0, "made with another fingerprint key".into()));
        }
        // Before anything of the size that the header asks for is allocated.
        let actual = file.file.len_bytes().map_err(|source| file.io(source))?;
        if actual != layout.file_bytes() {
            let what = format!("file has {actual} bytes, expected {}", layout.file_bytes());
            return Err(file.damaged(actual.min(layout.file_bytes()), what));
        }
        let directory = Directory::read(&file, &header)?;
        Ok(Run { file, layout, directory })
    }

    pub(super) fn range(&self) -> SeqRange {
        self.layout.range
    }
    pub(super) fn keys(&self) -> u64 {
        self.layout.keys
    }
    pub(super) fn disk_bytes(&self) -> u64 {
        self.layout.file_bytes()
    }
    pub(super) fn memory_bytes(&self) -> u64 {
        self.directory.bytes()
    }

    /// Calls `each` for every seq under this fingerprint.
    pub(super) fn candidates(&self, fingerprint: Fingerprint, each: impl FnMut(Seq)) -> Result<(), KeyError> {
        let (layout, directory) = (&self.layout, &self.directory);
        let group_bit = directory.group_bit(layout, fingerprint);
        let places = directory.places(layout, fingerprint, group_bit, directory.word_at(group_bit));
        if !Directory::may_match(&places, directory.window(places.start), layout.remainder(fingerprint)) {
            return Ok(());
        }
        self.resolve(fingerprint, places, each)
    }

    /// Calls `each` with the lane and every seq under that lane's fingerprint, for up to [`LOOKUP_LANES`] fingerprints;
    /// their cache misses overlap.
    pub(super) fn candidates_of_lanes(
        &self,
        fingerprints: &[Fingerprint],
        mut each: impl FnMut(usize, Seq),
    ) -> Result<(), KeyError> {
        let (layout, directory) = (&self.layout, &self.directory);
        let mut lanes = [const { Lane { group_bit: 0, group_word: 0, places: 0..0, window: 0 } }; LOOKUP_LANES];
        let lanes = &mut lanes[..fingerprints.len()];
        for (lane, fingerprint) in lanes.iter_mut().zip(fingerprints) {
            lane.group_bit = directory.group_bit(layout, *fingerprint);
        }
        for lane in lanes.iter_mut() {
            lane.group_word = directory.word_at(lane.group_bit);
        }
        for (lane, fingerprint) in lanes.iter_mut().zip(fingerprints) {
            lane.places = directory.places(layout, *fingerprint, lane.group_bit, lane.group_word);
        }
        for lane in lanes.iter_mut() {
            lane.window = directory.window(lane.places.start);
        }
        for (index, (lane, fingerprint)) in lanes.iter().zip(fingerprints).enumerate() {
            if Directory::may_match(&lane.places, lane.window, layout.remainder(*fingerprint)) {
                self.resolve(*fingerprint, lane.places.clone(), |seq| each(index, seq))?;
            }
        }
        Ok(())
    }

    /// Reads the entries at those of the places whose remainder is the fingerprint's.
    fn resolve(&self, fingerprint: Fingerprint, places: Range<u64>, mut each: impl FnMut(Seq)) -> Result<(), KeyError> {
        let remainder = self.layout.remainder(fingerprint);
        let mut matches = places.filter(|place| self.directory.remainder(*place) == remainder).peekable();
        while let Some(block) = matches.peek().map(|place| place / BLOCK_ENTRIES) {
            let mut buffer = [0; BLOCK_BYTES_MAX];
            let buffer = &mut buffer[..self.layout.block_bytes(block)];
            self.file.read(buffer, self.layout.block_offset(block))?;
            let entries = self.checked_block(block, buffer)?;
            while let Some(place) = matches.next_if(|place| place / BLOCK_ENTRIES == block) {
                let (low, seq) = self.entry(place, entries)?;
                if low == self.layout.low(fingerprint) {
                    each(seq);
                }
            }
        }
        Ok(())
    }

    /// The entries of a block, its checksum checked and taken off.
    fn checked_block<'a>(&self, block: u64, bytes: &'a [u8]) -> Result<&'a [u8], KeyError> {
        let (entries, crc) = bytes.split_at(bytes.len() - 4);
        let (expected, actual) = (little_endian(crc) as u32, self.layout.block_crc(block, entries));
        if expected != actual {
            let what = format!("checksum of block {block} is {actual:08x}, expected {expected:08x}");
            return Err(self.file.damaged(self.layout.block_offset(block), what));
        }
        Ok(entries)
    }

    /// The entry at `place`, out of the entries of its block.
    fn entry(&self, place: u64, entries: &[u8]) -> Result<(u64, Seq), KeyError> {
        let width = self.layout.entry_bytes();
        let at = (place % BLOCK_ENTRIES) as usize * width;
        self.layout.read_entry(&entries[at..at + width]).ok_or_else(|| {
            let what = format!("the seq of key {place} is outside the run");
            self.file.damaged(self.layout.block_offset(place / BLOCK_ENTRIES), what)
        })
    }
}

/// A walk over all keys of a run in the order of (fingerprint, seq), which it checks, as it checks every block.
pub(super) struct RunEntries {
    run: Arc<Run>,
    place: u64,
    bit: u64,
    buffer: Vec<u8>,
    last: Option<(Fingerprint, Seq)>,
}

impl RunEntries {
    pub(super) fn of(run: Arc<Run>) -> RunEntries {
        RunEntries { run, place: 0, bit: 0, buffer: Vec::new(), last: None }
    }

    pub(super) fn next(&mut self) -> Result<Option<(Fingerprint, Seq)>, KeyError> {
        let run = Arc::clone(&self.run);
        if self.place == run.layout.keys {
            return Ok(None);
        }
        let block = self.place / BLOCK_ENTRIES;
        let full_block_bytes = (run.layout.block_offset(1) - run.layout.block_offset(0)) as usize;
        let first_of_buffer = block / WALK_BLOCKS * WALK_BLOCKS;
        let at = (block - first_of_buffer) as usize * full_block_bytes;
        if self.place.is_multiple_of(BLOCK_ENTRIES) {
            if block == first_of_buffer {
                self.fill(block)?;
            }
            run.checked_block(block, &self.buffer[at..at + run.layout.block_bytes(block)])?;
        }
        let (low, seq) = run.entry(self.place, &self.buffer[at..])?;
        self.bit = run.directory.next_one(self.bit);
        let quotient = self.bit - self.place;
        let remainder = run.directory.remainder(self.place);
        let entry = run.layout.join(quotient, remainder, low).map(|fingerprint| (fingerprint, seq));
        if entry.is_none() || entry < self.last {
            let what = format!("key {} is out of order", self.place);
            return Err(run.file.damaged(run.layout.block_offset(block), what));
        }
        self.bit += 1;
        self.place += 1;
        self.last = entry;
        Ok(entry)
    }

    fn fill(&mut self, block: u64) -> Result<(), KeyError> {
        let layout = &self.run.layout;
        let end = (block + WALK_BLOCKS).min(layout.blocks());
        let bytes = layout.block_offset(end - 1) + layout.block_bytes(end - 1) as u64 - layout.block_offset(block);
        self.buffer.resize(bytes as usize, 0);
        self.run.file.read(&mut self.buffer, layout.block_offset(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_it_makes_are_read_as_runs() {
        let range = SeqRange::new(Seq::new(1), Seq::new(262_144));
        assert_eq!(file_name(range), "00000000000000000001-00000000000000262144.keys");
        assert_eq!(range_of_name(&file_name(range)), Some(range));
        for name in [
            "1-2.keys",
            "00000000000000000001-00000000000000262144.keys.tmp",
            "00000000000000000000-00000000000000262144.keys",
            "00000000000000000002-00000000000000000001.keys",
            "+0000000000000000001-00000000000000262144.keys",
            "00000000000000000001-99999999999999999999.keys",
            "fingerprint.key",
        ] {
            assert_eq!(range_of_name(name), None, "{name}");
        }
    }
}
