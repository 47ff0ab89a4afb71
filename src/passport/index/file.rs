//! The index file of a sealed segment: written whole, read a block at a time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::bits::{BitReader, Malformed, rice_parameter};
use super::encode::{
    AT_CRC_AT, AT_RANGE_BYTES, COUNT_AT, DIGEST_AT, FIELD_BYTES, FIELDS_AT, FIRST_SEQ_AT, HEADER_BYTES, HEADER_CRC_AT,
    KEY_AT, MAGIC, ROW_BYTES, VERSION, VERSION_AT,
};
use super::postings::bitmap_of;
use super::{
    AT_BLOCK_ENTRIES, AtRange, Field, HASH_BITS, INDEX_ENTRIES_MAX, IndexError, Postings, SegmentId,
    SegmentIndexBuilder, Term, TermKey,
};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::units::{Seq, Timestamp};

/// The name of the index file of the segment that starts with `first_seq`.
pub fn file_name(first_seq: Seq) -> String {
    format!("{:020}.idx", first_seq.get())
}

/// Writes the index of a sealed segment into `dir`, over an older one. Durable when it returns.
///
/// A crash leaves the older file, or none, until step 3, and a `.idx.tmp` that means nothing until then.
pub fn write(disk: &dyn Disk, dir: &Path, builder: &SegmentIndexBuilder, digest: [u8; 16]) -> Result<(), IndexError> {
    let name = file_name(builder.first_seq());
    let failed = |error: io::Error| IndexError::Io { file: name.clone(), what: error.to_string() };
    let path = dir.join(&name);
    let temporary = dir.join(format!("{name}.tmp"));
    // 1. Make room: the leftover of a crash.
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // 2. The bytes, durable under a name that nobody opens.
    let file = disk.open(&temporary, OpenMode::CreateNew).map_err(failed)?;
    file.write_all_at(&builder.encode(digest), 0).map_err(failed)?;
    file.sync().map_err(failed)?;
    // 3. The name.
    disk.rename(&temporary, &path).map_err(failed)?;
    disk.sync_dir(dir).map_err(failed)
}

/// An open index file. Keeps its header, its ranges of `at` and its directories, about 0.1 bytes an entry.
pub struct SegmentIndex {
    file: Arc<dyn DiskFile>,
    name: String,
    count: u32,
    key: TermKey,
    at_blocks: Vec<AtRange>,
    fields: Vec<Directory>,
}

/// The blocks of one field, by their first hash.
struct Directory {
    hash_parameter: u32,
    rows: Vec<Row>,
}

/// One block: where it lies and what it must be.
#[derive(Clone, Copy)]
struct Row {
    offset: u64,
    first_hash: u32,
    len_bytes: u32,
    terms: u32,
    crc: u32,
}

impl SegmentIndex {
    /// Opens the index of `segment` in `dir`.
    ///
    /// # Errors
    /// `Missing`; `Stale` where it speaks for another segment, another state of it, or in another version; `Damaged`.
    pub fn open(disk: &dyn Disk, dir: &Path, segment: &SegmentId) -> Result<SegmentIndex, IndexError> {
        let name = file_name(segment.first_seq);
        let file = disk.open(&dir.join(&name), OpenMode::Read).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => IndexError::Missing { file: name.clone() },
            _ => IndexError::Io { file: name.clone(), what: error.to_string() },
        })?;
        SegmentIndex::open_file(file, name, segment)
    }

    /// Opens an index from its file. `name` is what errors call it.
    pub fn open_file(file: Arc<dyn DiskFile>, name: String, segment: &SegmentId) -> Result<SegmentIndex, IndexError> {
        let mut source = Source { file: &*file, name: &name, offset: 0, len_bytes: 0 };
        source.len_bytes = file.len_bytes().map_err(|error| source.failed(error))?;
        let header = source.take(HEADER_BYTES as u64)?;
        check_header(&source, &header, segment)?;

        let count = u32_at(&header, COUNT_AT.start);
        let ranges = u64::from(count.div_ceil(AT_BLOCK_ENTRIES));
        let at = source.take_checked(ranges * AT_RANGE_BYTES as u64, u32_at(&header, AT_CRC_AT.start))?;
        let at_blocks = at.chunks_exact(AT_RANGE_BYTES).map(at_range).collect();

        let mut fields = Vec::with_capacity(Field::COUNT);
        for place in header[FIELDS_AT].chunks_exact(FIELD_BYTES) {
            let (terms, blocks, crc) = (u32_at(place, 0), u32_at(place, 4), u32_at(place, 8));
            let rows = source.take_checked(u64::from(blocks) * ROW_BYTES as u64, crc)?;
            fields.push(Directory {
                hash_parameter: rice_parameter(1 << HASH_BITS, terms),
                rows: rows.chunks_exact(ROW_BYTES).map(row).collect(),
            });
        }
        let mut offset = source.offset;
        for row in fields.iter_mut().flat_map(|field| &mut field.rows) {
            row.offset = offset;
            offset += u64::from(row.len_bytes);
        }
        if offset != source.len_bytes {
            return Err(
                source.damaged(offset, format!("{} bytes long, its directories say {offset}", source.len_bytes))
            );
        }
        let key = TermKey::new(array_at(&header, KEY_AT.start));
        Ok(SegmentIndex { file, name, count, key, at_blocks, fields })
    }

    /// The `at` of all entries; `None` of an empty segment.
    pub fn at_range(&self) -> Option<AtRange> {
        self.at_blocks.iter().copied().reduce(AtRange::joined)
    }

    /// Reads every block and checks it.
    pub fn verify(&self) -> Result<(), IndexError> {
        let mut bytes = Vec::new();
        for field in &self.fields {
            let mut least_hash = 0;
            for row in &field.rows {
                self.read_block(row, &mut bytes)?;
                let mut block = Block::new(row, field.hash_parameter, self.count, &bytes);
                let mut check = || -> Result<(), Malformed> {
                    while let Some(term) = block.next_term()? {
                        if term.hash < least_hash {
                            return Err(Malformed("terms are not in order"));
                        }
                        least_hash = term.hash + 1;
                        block.skip_ids(&term)?;
                    }
                    Ok(())
                };
                check().map_err(|error| self.damaged(row, error.0))?;
            }
        }
        Ok(())
    }

    /// The bytes that each field's blocks take.
    #[cfg(test)]
    pub(super) fn blocks_bytes(&self) -> impl Iterator<Item = u64> {
        self.fields.iter().map(|field| field.rows.iter().map(|row| u64::from(row.len_bytes)).sum())
    }

    fn read_block(&self, row: &Row, bytes: &mut Vec<u8>) -> Result<(), IndexError> {
        bytes.resize(row.len_bytes as usize, 0);
        self.file.read_exact_at(bytes, row.offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(row, "the file ends inside a block"),
            _ => IndexError::Io { file: self.name.clone(), what: error.to_string() },
        })?;
        let actual = crc32fast::hash(bytes);
        if actual != row.crc {
            return Err(self.damaged(row, &format!("checksum {actual:08x}, expected {:08x}", row.crc)));
        }
        Ok(())
    }

    fn damaged(&self, row: &Row, what: &str) -> IndexError {
        IndexError::Damaged { file: self.name.clone(), offset: row.offset, what: what.to_owned() }
    }
}

impl Postings for SegmentIndex {
    type Error = IndexError;

    fn count(&self) -> u32 {
        self.count
    }

    fn at_blocks(&self) -> &[AtRange] {
        &self.at_blocks
    }

    fn lookup(&self, term: Term<'_>) -> Result<RoaringBitmap, IndexError> {
        let field = &self.fields[term.field().index()];
        let hash = self.key.hash(term);
        let after = field.rows.partition_point(|row| row.first_hash <= hash);
        let Some(row) = after.checked_sub(1).map(|place| &field.rows[place]) else {
            return Ok(RoaringBitmap::new());
        };
        let mut bytes = Vec::new();
        self.read_block(row, &mut bytes)?;
        let found = Block::new(row, field.hash_parameter, self.count, &bytes)
            .find(hash)
            .map_err(|error| self.damaged(row, error.0))?;
        Ok(bitmap_of(&found))
    }
}

/// The terms of one block, one after the other.
struct Block<'a> {
    bits: BitReader<'a>,
    hash_parameter: u32,
    entries: u32,
    hash: u32,
    terms_read: u32,
    terms: u32,
}

/// A term whose ids come next in the block.
struct BlockTerm {
    hash: u32,
    count: u32,
}

impl<'a> Block<'a> {
    fn new(row: &Row, hash_parameter: u32, entries: u32, bytes: &'a [u8]) -> Block<'a> {
        let bits = BitReader::new(bytes);
        Block { bits, hash_parameter, entries, hash: row.first_hash, terms_read: 0, terms: row.terms }
    }

    fn next_term(&mut self) -> Result<Option<BlockTerm>, Malformed> {
        if self.terms_read == self.terms {
            return Ok(None);
        }
        if self.terms_read > 0 {
            let gap = self.bits.rice(self.hash_parameter)?;
            self.hash = self.hash.checked_add(1).and_then(|next| next.checked_add(gap)).unwrap_or(u32::MAX);
        }
        if self.hash >> HASH_BITS != 0 {
            return Err(Malformed("hash out of range"));
        }
        self.terms_read += 1;
        let count = self.bits.gamma()?;
        Ok(Some(BlockTerm { hash: self.hash, count }))
    }

    /// The ids of the term with this hash; none if it is not here.
    fn find(&mut self, hash: u32) -> Result<Vec<u32>, Malformed> {
        while let Some(term) = self.next_term()?.filter(|term| term.hash <= hash) {
            if term.hash == hash {
                // An id takes at least one bit, so that a count alone takes no memory.
                let mut ids = Vec::with_capacity(self.bits.left_bits().min(term.count as usize));
                self.each_id(&term, |id| ids.push(id))?;
                return Ok(ids);
            }
            self.skip_ids(&term)?;
        }
        Ok(Vec::new())
    }

    fn skip_ids(&mut self, term: &BlockTerm) -> Result<(), Malformed> {
        self.each_id(term, |_| {})
    }

    fn each_id(&mut self, term: &BlockTerm, mut each: impl FnMut(u32)) -> Result<(), Malformed> {
        let parameter = rice_parameter(self.entries, term.count);
        let mut next_free = 0u32;
        for _ in 0..term.count {
            let id = next_free.checked_add(self.bits.rice(parameter)?).filter(|id| *id < self.entries);
            let id = id.ok_or(Malformed("id out of range"))?;
            each(id);
            next_free = id + 1;
        }
        Ok(())
    }
}

/// The file while its head is read from front to back.
struct Source<'a> {
    file: &'a dyn DiskFile,
    name: &'a str,
    offset: u64,
    len_bytes: u64,
}

impl Source<'_> {
    /// The next bytes. Takes memory only for what the file holds.
    fn take(&mut self, len_bytes: u64) -> Result<Vec<u8>, IndexError> {
        if len_bytes > self.len_bytes - self.offset {
            return Err(self.damaged(self.offset, format!("{len_bytes} bytes expected, the file ends before")));
        }
        let mut bytes = vec![0; len_bytes as usize];
        self.file.read_exact_at(&mut bytes, self.offset).map_err(|error| self.failed(error))?;
        self.offset += len_bytes;
        Ok(bytes)
    }

    fn take_checked(&mut self, len_bytes: u64, crc: u32) -> Result<Vec<u8>, IndexError> {
        let start = self.offset;
        let bytes = self.take(len_bytes)?;
        let actual = crc32fast::hash(&bytes);
        if actual != crc {
            return Err(self.damaged(start, format!("checksum {actual:08x}, expected {crc:08x}")));
        }
        Ok(bytes)
    }

    fn damaged(&self, offset: u64, what: String) -> IndexError {
        IndexError::Damaged { file: self.name.to_owned(), offset, what }
    }

    fn failed(&self, error: io::Error) -> IndexError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(self.offset, "the file ends early".to_owned()),
            _ => IndexError::Io { file: self.name.to_owned(), what: error.to_string() },
        }
    }
}

/// Checks what says whether the rest can be read, and whether it is the index that was asked for.
fn check_header(source: &Source<'_>, header: &[u8], segment: &SegmentId) -> Result<(), IndexError> {
    if header[..MAGIC.len()] != MAGIC {
        return Err(source.damaged(0, "does not start as an index does".to_owned()));
    }
    let (actual, crc) = (crc32fast::hash(&header[..HEADER_CRC_AT.start]), u32_at(header, HEADER_CRC_AT.start));
    if actual != crc {
        return Err(source.damaged(0, format!("header checksum {actual:08x}, expected {crc:08x}")));
    }
    let stale = |what: String| Err(IndexError::Stale { file: source.name.to_owned(), what });
    let version = u32_at(header, VERSION_AT.start);
    if version != VERSION {
        return stale(format!("index version {version}, this build reads {VERSION}"));
    }
    let found = SegmentId {
        first_seq: Seq::new(u64::from_le_bytes(array_at(header, FIRST_SEQ_AT.start))),
        count: u32_at(header, COUNT_AT.start),
        digest: array_at(header, DIGEST_AT.start),
    };
    if found != *segment {
        return stale(format!("index of {found:?}, expected that of {segment:?}"));
    }
    if found.count > INDEX_ENTRIES_MAX {
        return Err(source.damaged(COUNT_AT.start as u64, format!("{} entries in one segment", found.count)));
    }
    Ok(())
}

fn row(bytes: &[u8]) -> Row {
    let [first_hash, len_bytes, terms, crc] = [0, 4, 8, 12].map(|at| u32_at(bytes, at));
    Row { offset: 0, first_hash, len_bytes, terms, crc }
}

fn at_range(bytes: &[u8]) -> AtRange {
    let [min, max] = [0, 8].map(|at| Timestamp::from_micros(i64::from_le_bytes(array_at(bytes, at))));
    AtRange { min, max }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// `N` bytes of a part whose length is fixed by the layout.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}
