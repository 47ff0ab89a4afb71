//! The bytes of an index file; [`super::file`] reads them. The layout is in the module's head.

use std::ops::Range;

use super::bits::{BitWriter, rice_parameter};
use super::postings::PostingTable;
use super::{AtRange, Field, HASH_BITS, SegmentId, TermKey};

pub(super) const MAGIC: [u8; 8] = *b"CLMINDEX";
pub(super) const VERSION: u32 = 1;

/// Where the parts of the header stand.
pub(super) const VERSION_AT: Range<usize> = 8..12;
pub(super) const COUNT_AT: Range<usize> = 12..16;
pub(super) const FIRST_SEQ_AT: Range<usize> = 16..24;
pub(super) const DIGEST_AT: Range<usize> = 24..40;
pub(super) const KEY_AT: Range<usize> = 40..56;
pub(super) const AT_CRC_AT: Range<usize> = 56..60;
pub(super) const FIELDS_AT: Range<usize> = 60..60 + Field::COUNT * FIELD_BYTES;
pub(super) const HEADER_CRC_AT: Range<usize> = FIELDS_AT.end..FIELDS_AT.end + 4;
pub(super) const HEADER_BYTES: usize = HEADER_CRC_AT.end;
/// A field's place in the header: terms, blocks, checksum of the directory.
pub(super) const FIELD_BYTES: usize = 12;
/// A block's place in a directory: first hash, length, terms, checksum.
pub(super) const ROW_BYTES: usize = 16;
/// The range of one block of entries.
pub(super) const AT_RANGE_BYTES: usize = 16;

// As the layout in the module's head says.
const _: () = assert!(HEADER_BYTES == 148);

/// A block of terms is closed when it has this many bytes, and a term that takes more has one of its own.
const BLOCK_BYTES: usize = 2048;

pub(super) fn encode(id: &SegmentId, key: &TermKey, at_blocks: &[AtRange], tables: &[PostingTable]) -> Vec<u8> {
    let at: Vec<u8> =
        at_blocks.iter().flat_map(|range| [range.min, range.max]).flat_map(|at| at.micros().to_le_bytes()).collect();
    let fields: Vec<FieldWriter> = tables.iter().map(|table| encode_field(table, id.count)).collect();

    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(id.count.to_le_bytes());
    bytes.extend(id.first_seq.get().to_le_bytes());
    bytes.extend(id.digest);
    bytes.extend(key.0);
    bytes.extend(crc32fast::hash(&at).to_le_bytes());
    for field in &fields {
        bytes.extend(field.terms.to_le_bytes());
        bytes.extend(((field.directory.len() / ROW_BYTES) as u32).to_le_bytes());
        bytes.extend(crc32fast::hash(&field.directory).to_le_bytes());
    }
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    assert_eq!(bytes.len(), HEADER_BYTES, "the header is as long as its layout");

    bytes.extend(at);
    for field in &fields {
        bytes.extend_from_slice(&field.directory);
    }
    for field in &fields {
        bytes.extend_from_slice(&field.blocks);
    }
    bytes
}

fn encode_field(table: &PostingTable, entries: u32) -> FieldWriter {
    let terms = table.sorted();
    let mut field = FieldWriter { terms: terms.len() as u32, ..FieldWriter::default() };
    let hash_parameter = rice_parameter(1 << HASH_BITS, field.terms);
    for (hash, posting) in terms {
        let ids = table.ids(posting);
        let count = ids.len() as u32;
        let id_parameter = rice_parameter(entries, count);
        if ids.len() * (id_parameter as usize + 2) > BLOCK_BYTES * 8 {
            field.close_block();
        }
        match field.block_last_hash {
            None => field.block_first_hash = hash,
            Some(last) => field.bits.rice(hash - last - 1, hash_parameter),
        }
        field.block_last_hash = Some(hash);
        field.block_terms += 1;
        field.bits.gamma(count);
        let mut next_free = 0;
        for id in ids.iter() {
            field.bits.rice(id - next_free, id_parameter);
            next_free = id + 1;
        }
        if field.bits.len_bytes() >= BLOCK_BYTES {
            field.close_block();
        }
    }
    field.close_block();
    field
}

/// A field's directory and blocks, and the block that is being filled.
#[derive(Default)]
struct FieldWriter {
    terms: u32,
    directory: Vec<u8>,
    blocks: Vec<u8>,
    bits: BitWriter,
    block_first_hash: u32,
    block_last_hash: Option<u32>,
    block_terms: u32,
}

impl FieldWriter {
    fn close_block(&mut self) {
        if self.block_terms == 0 {
            return;
        }
        let block = self.bits.take();
        let length = u32::try_from(block.len()).expect("one term's ids take less than 4 GiB");
        for number in [self.block_first_hash, length, self.block_terms, crc32fast::hash(&block)] {
            self.directory.extend(number.to_le_bytes());
        }
        self.blocks.extend(block);
        (self.block_terms, self.block_last_hash) = (0, None);
    }
}
