//! Writes a run in one pass over its sorted keys, in memory that does not depend on their number.
//!
//! The count is known beforehand, so the layout is: three parts grow side by side, each through a small buffer.
//! 1. The parts go to `<name>.tmp`, the header last. A crash leaves a `.tmp`, which the next open removes.
//! 2. The file is synced, then renamed, then the directory is synced. A crash in between leaves the `.tmp` or the whole run.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::layout::{BLOCK_ENTRIES, Header, Layout, REMAINDER_BITS};
use super::run::file_name;
use super::{Fingerprint, KeyError};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::units::Seq;

pub(super) const TMP_SUFFIX: &str = ".tmp";

/// Bytes that a part gathers before it is written.
const PART_BUFFER_BYTES: usize = 1 << 17;
/// Bytes of entries after which the file is synced on the way, so that the last sync does not stall the log's.
const SYNC_EVERY_BYTES: u64 = 16 << 20;

pub(super) struct RunWriter {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    dir: PathBuf,
    name: String,
    layout: Layout,
    key_check: u64,
    bits: Part,
    remainders: Part,
    entries: Part,
    /// The bits since the last whole word, from the lowest up.
    word: u64,
    word_bits: u32,
    /// The quotient whose keys are being written.
    quotient: u64,
    /// The remainder that waits for its neighbour: two share three bytes.
    half: Option<u16>,
    block: Vec<u8>,
    keys: u64,
    synced_entries_end: u64,
    renamed: bool,
}

impl RunWriter {
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        layout: Layout,
        key_check: u64,
    ) -> Result<RunWriter, KeyError> {
        let name = file_name(layout.range);
        let tmp = dir.join(format!("{name}{TMP_SUFFIX}"));
        let to_error = |source| KeyError::Io { file: tmp.display().to_string(), source };
        match disk.remove(&tmp) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(to_error(source)),
            _ => {}
        }
        let file = disk.open(&tmp, OpenMode::CreateNew).map_err(to_error)?;
        Ok(RunWriter {
            disk,
            file,
            dir,
            name,
            key_check,
            bits: Part::at(layout.bits_offset()),
            remainders: Part::at(layout.remainders_offset()),
            entries: Part::at(layout.entries_offset()),
            layout,
            word: 0,
            word_bits: 0,
            quotient: 0,
            half: None,
            block: Vec::new(),
            keys: 0,
            synced_entries_end: layout.entries_offset(),
            renamed: false,
        })
    }

    /// Takes the next key; they come in the order of (fingerprint, seq).
    pub(super) fn push(&mut self, fingerprint: Fingerprint, seq: Seq) -> Result<(), KeyError> {
        let quotient = self.layout.quotient(fingerprint);
        assert!(quotient >= self.quotient, "keys of a run come sorted by fingerprint");
        self.put(quotient, fingerprint, seq).map_err(|source| self.error(source))
    }

    /// Makes the run durable under its name.
    pub(super) fn finish(mut self) -> Result<(), KeyError> {
        assert_eq!(self.keys, self.layout.keys, "a run is written with as many keys as it was laid out for");
        self.finish_file().map_err(|source| self.error(source))
    }

    fn put(&mut self, quotient: u64, fingerprint: Fingerprint, seq: Seq) -> io::Result<()> {
        self.push_zeros(quotient - self.quotient)?;
        self.quotient = quotient;
        self.push_bits(1, 1)?;

        const { assert!(REMAINDER_BITS == 12, "two remainders are packed into three bytes") };
        let remainder = self.layout.remainder(fingerprint);
        match self.half.take() {
            None => self.half = Some(remainder),
            Some(low) => {
                let pair = u32::from(low) | u32::from(remainder) << REMAINDER_BITS;
                self.remainders.push(&*self.file, &pair.to_le_bytes()[..3])?;
            }
        }

        self.layout.write_entry(fingerprint, seq, &mut self.block);
        self.keys += 1;
        if self.keys.is_multiple_of(BLOCK_ENTRIES) {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let block = (self.keys - 1) / BLOCK_ENTRIES;
        let crc = self.layout.block_crc(block, &self.block);
        self.block.extend_from_slice(&crc.to_le_bytes());
        self.entries.push(&*self.file, &self.block)?;
        self.block.clear();
        if self.entries.offset - self.synced_entries_end >= SYNC_EVERY_BYTES {
            self.file.sync()?;
            self.synced_entries_end = self.entries.offset;
        }
        Ok(())
    }

    fn push_zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let piece = count.min(u64::from(64 - self.word_bits)) as u32;
            self.push_bits(0, piece)?;
            count -= u64::from(piece);
        }
        Ok(())
    }

    /// Adds the low `count` bits; at most as many as the word has left.
    fn push_bits(&mut self, bits: u64, count: u32) -> io::Result<()> {
        self.word |= bits << self.word_bits;
        self.word_bits += count;
        if self.word_bits == 64 {
            self.bits.push(&*self.file, &self.word.to_le_bytes())?;
            (self.word, self.word_bits) = (0, 0);
        }
        Ok(())
    }

    fn finish_file(&mut self) -> io::Result<()> {
        self.push_zeros(self.layout.quotients() - self.quotient)?;
        if self.word_bits > 0 {
            self.push_zeros(u64::from(64 - self.word_bits))?;
        }
        if let Some(last) = self.half.take() {
            self.remainders.push(&*self.file, &last.to_le_bytes())?;
        }
        if !self.block.is_empty() {
            self.end_block()?;
        }
        for part in [&mut self.bits, &mut self.remainders, &mut self.entries] {
            part.flush(&*self.file)?;
        }
        let header = Header {
            layout: self.layout,
            key_check: self.key_check,
            bits_crc: self.bits.hasher.clone().finalize(),
            remainders_crc: self.remainders.hasher.clone().finalize(),
        };
        self.file.write_all_at(&header.encode(), 0)?;
        self.file.sync()?;
        self.disk.rename(&self.tmp(), &self.dir.join(&self.name))?;
        self.renamed = true;
        self.disk.sync_dir(&self.dir)
    }

    fn tmp(&self) -> PathBuf {
        self.dir.join(format!("{}{TMP_SUFFIX}", self.name))
    }

    fn error(&self, source: io::Error) -> KeyError {
        KeyError::Io { file: self.tmp().display().to_string(), source }
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.renamed {
            // Only to give the space back at once: what stays is removed at the next open.
            let _ = self.disk.remove(&self.tmp());
        }
    }
}

/// One part of the file, written in order from its start.
struct Part {
    /// Where the buffer will go.
    offset: u64,
    buffer: Vec<u8>,
    hasher: crc32fast::Hasher,
}

impl Part {
    fn at(offset: u64) -> Part {
        Part { offset, buffer: Vec::with_capacity(PART_BUFFER_BYTES), hasher: crc32fast::Hasher::new() }
    }

    fn push(&mut self, file: &dyn DiskFile, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > PART_BUFFER_BYTES {
            self.flush(file)?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        file.write_all_at(&self.buffer, self.offset)?;
        self.hasher.update(&self.buffer);
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
