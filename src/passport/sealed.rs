//! A sealed segment: the same records, compressed in small blocks with a sparse index, immutable.
//!
//! ```text
//! blocks    each a zstd frame of: for each record its length (u32) and its bytes
//! table     for each block: file offset u64, first seq u64, compressed length u32, plain length u32,
//!           record count u32, CRC-32 of the compressed bytes u32
//! trailer   104 bytes, at the end of the file:
//!           0 magic "CLMSEALD", 8 version u32, 12 zero u32, 16 log id, 32 segment id u64, 40 first seq u64,
//!           48 last seq u64, 56 id of the segment before u64, 64 checksum of the last batch before u32,
//!           68 checksum of this segment's own last batch u32, 72 table offset u64, 80 table length u32,
//!           84 CRC-32 of the table u32, 88 file length u64, 96 zero u32, 100 CRC-32 of bytes 0..100
//! ```
//! It is written beside the raw segment as `<seq>.segz.tmp`, synced, renamed, and the directory synced, before the raw
//! file is removed: after a crash there is the raw one, or both, and both say the same. Opening reads the trailer only.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::ReadError;
use super::batch::{self, field};
use super::record;
use super::segment::{RawSegment, SegmentHeader, file_name};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::limits::{LOG_BATCH_BYTES_MAX, SEALED_BLOCK_BYTES, SEGMENT_BYTES_MAX};
use crate::passport::record::RECORD_BYTES_MAX;
use crate::units::Seq;

pub(super) const MAGIC: [u8; 8] = *b"CLMSEALD";
const VERSION: u32 = 1;
pub(super) const TRAILER_BYTES: usize = 104;
const TABLE_ROW_BYTES: usize = 32;
/// Level 1: 5.8 times smaller on event JSON, and fast enough to seal at ingest speed beside it.
const ZSTD_LEVEL: i32 = 1;
/// A block holds whole records, so it may run over its aim by one.
const BLOCK_BYTES_MAX: usize = SEALED_BLOCK_BYTES + RECORD_BYTES_MAX + batch::RECORD_LENGTH_BYTES;

/// What the trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    pub log_id: [u8; 16],
    pub segment_id: u64,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub previous_segment_id: u64,
    pub previous_checksum: u32,
    pub last_checksum: u32,
    table_offset: u64,
    table_bytes: u32,
    table_checksum: u32,
    pub file_bytes: u64,
}

impl Trailer {
    fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.log_id);
        out[32..40].copy_from_slice(&self.segment_id.to_le_bytes());
        out[40..48].copy_from_slice(&self.first_seq.get().to_le_bytes());
        out[48..56].copy_from_slice(&self.last_seq.get().to_le_bytes());
        out[56..64].copy_from_slice(&self.previous_segment_id.to_le_bytes());
        out[64..68].copy_from_slice(&self.previous_checksum.to_le_bytes());
        out[68..72].copy_from_slice(&self.last_checksum.to_le_bytes());
        out[72..80].copy_from_slice(&self.table_offset.to_le_bytes());
        out[80..84].copy_from_slice(&self.table_bytes.to_le_bytes());
        out[84..88].copy_from_slice(&self.table_checksum.to_le_bytes());
        out[88..96].copy_from_slice(&self.file_bytes.to_le_bytes());
        let checksum = crc32fast::hash(&out[..100]);
        out[100..104].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; TRAILER_BYTES], file_bytes: u64) -> Result<Trailer, String> {
        if bytes[0..8] != MAGIC {
            return Err("this is no sealed segment (wrong magic in the trailer, or the file was cut)".into());
        }
        if crc32fast::hash(&bytes[..100]) != u32::from_le_bytes(field(bytes, 100)) {
            return Err("the trailer's checksum does not match".into());
        }
        let version = u32::from_le_bytes(field(bytes, 8));
        if version != VERSION {
            return Err(format!("sealed segment version {version}, this build reads {VERSION}"));
        }
        let trailer = Trailer::fields(bytes);
        trailer.check_bounds(file_bytes)?;
        Ok(trailer)
    }

    /// The fields as they stand there, unchecked.
    fn fields(bytes: &[u8; TRAILER_BYTES]) -> Trailer {
        Trailer {
            log_id: field(bytes, 16),
            segment_id: u64::from_le_bytes(field(bytes, 32)),
            first_seq: Seq::new(u64::from_le_bytes(field(bytes, 40))),
            last_seq: Seq::new(u64::from_le_bytes(field(bytes, 48))),
            previous_segment_id: u64::from_le_bytes(field(bytes, 56)),
            previous_checksum: u32::from_le_bytes(field(bytes, 64)),
            last_checksum: u32::from_le_bytes(field(bytes, 68)),
            table_offset: u64::from_le_bytes(field(bytes, 72)),
            table_bytes: u32::from_le_bytes(field(bytes, 80)),
            table_checksum: u32::from_le_bytes(field(bytes, 84)),
            file_bytes: u64::from_le_bytes(field(bytes, 88)),
        }
    }

    fn check_bounds(&self, file_bytes: u64) -> Result<(), String> {
        if self.file_bytes != file_bytes {
            return Err(format!("the file is {file_bytes} bytes long and was written with {}", self.file_bytes));
        }
        let table_end = self.table_offset.checked_add(u64::from(self.table_bytes));
        if table_end.and_then(|end| end.checked_add(TRAILER_BYTES as u64)) != Some(file_bytes)
            || file_bytes > SEGMENT_BYTES_MAX.max(LOG_BATCH_BYTES_MAX as u64) * 2
            || self.first_seq == Seq::ZERO
            || self.last_seq < self.first_seq
            || self.last_seq.get() == u64::MAX
        {
            return Err("the trailer's bounds do not fit the file".into());
        }
        Ok(())
    }
}

/// Where one compressed block lies.
#[derive(Clone, Copy, Debug)]
struct BlockPlace {
    offset: u64,
    first_seq: Seq,
    compressed_bytes: u32,
    plain_bytes: u32,
    count: u32,
    checksum: u32,
}

/// One block, decompressed and checked.
pub struct Block {
    pub first_seq: Seq,
    bytes: Vec<u8>,
    /// Where each record's bytes start and end.
    spans: Vec<(u32, u32)>,
}

impl Block {
    pub(super) fn new(first_seq: Seq, bytes: Vec<u8>, spans: Vec<(u32, u32)>) -> Block {
        Block { first_seq, bytes, spans }
    }
    pub fn len_bytes(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<(u32, u32)>()
    }
    /// Every record with its number, in order.
    pub fn records(&self) -> impl Iterator<Item = (Seq, &[u8])> {
        let spans = self.spans.iter().enumerate();
        spans.map(|(at, (start, end))| (self.first_seq.plus(at as u64), &self.bytes[*start as usize..*end as usize]))
    }
    pub fn last_seq(&self) -> Seq {
        self.first_seq.plus(self.spans.len() as u64 - 1)
    }
    /// The record `seq`, if this block holds it.
    pub fn record(&self, seq: Seq) -> Option<&[u8]> {
        let at = seq.get().checked_sub(self.first_seq.get())?;
        let (start, end) = *self.spans.get(usize::try_from(at).ok()?)?;
        Some(&self.bytes[start as usize..end as usize])
    }
}

/// A sealed segment that readers may read.
pub struct SealedSegment {
    pub path: PathBuf,
    pub trailer: Trailer,
    file: Arc<dyn DiskFile>,
    table: OnceLock<Vec<BlockPlace>>,
}

/// `00000000000000000001.segz`
pub fn sealed_name(first_seq: Seq) -> String {
    format!("{:020}.segz", first_seq.get())
}

impl SealedSegment {
    /// Opens the file and checks its trailer; blocks and table are checked when they are read.
    pub fn open(disk: &dyn Disk, path: PathBuf) -> Result<SealedSegment, ReadError> {
        SealedSegment::open_with(disk, path, Trailer::decode)
    }

    /// Opens a file whose trailer may be damaged, to read those of its blocks that are whole: nothing that the trailer
    /// says is to be believed.
    pub(super) fn open_damaged(disk: &dyn Disk, path: PathBuf) -> Result<SealedSegment, ReadError> {
        SealedSegment::open_with(disk, path, |bytes, file_bytes| {
            let trailer = Trailer::fields(bytes);
            trailer.check_bounds(file_bytes).map(|()| trailer)
        })
    }

    fn open_with(
        disk: &dyn Disk,
        path: PathBuf,
        decode: impl FnOnce(&[u8; TRAILER_BYTES], u64) -> Result<Trailer, String>,
    ) -> Result<SealedSegment, ReadError> {
        let failed = |what: String| ReadError::Io { file: file_name(&path), what };
        let file = disk.open(&path, OpenMode::Read).map_err(|error| failed(error.to_string()))?;
        let file_bytes = file.len_bytes().map_err(|error| failed(error.to_string()))?;
        let damaged = |offset: u64, what: String| ReadError::Damaged {
            file: file_name(&path),
            offset,
            seq: super::segment::seq_in_name(&file_name(&path), "segz").unwrap_or(Seq::ZERO),
            what,
        };
        if file_bytes < TRAILER_BYTES as u64 {
            return Err(damaged(0, format!("the file is {file_bytes} bytes long, too short for a sealed segment")));
        }
        let mut bytes = [0; TRAILER_BYTES];
        let at = file_bytes - TRAILER_BYTES as u64;
        file.read_exact_at(&mut bytes, at).map_err(|error| failed(error.to_string()))?;
        let trailer = decode(&bytes, file_bytes).map_err(|what| damaged(at, what))?;
        Ok(SealedSegment { trailer, file, table: OnceLock::new(), path })
    }

    pub fn first_seq(&self) -> Seq {
        self.trailer.first_seq
    }
    pub fn last_seq(&self) -> Seq {
        self.trailer.last_seq
    }

    fn damaged(&self, offset: u64, seq: Seq, what: impl Into<String>) -> ReadError {
        ReadError::Damaged { file: file_name(&self.path), offset, seq, what: what.into() }
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| ReadError::Io { file: file_name(&self.path), what: error.to_string() })
    }

    /// The block table, read and checked at its first use.
    fn table(&self) -> Result<&[BlockPlace], ReadError> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let trailer = &self.trailer;
        let mut bytes = vec![0; trailer.table_bytes as usize];
        self.read_at(&mut bytes, trailer.table_offset)?;
        if crc32fast::hash(&bytes) != trailer.table_checksum || !bytes.len().is_multiple_of(TABLE_ROW_BYTES) {
            return Err(self.damaged(
                trailer.table_offset,
                trailer.first_seq,
                "the block table's checksum does not match",
            ));
        }
        let table: Vec<BlockPlace> = bytes.chunks_exact(TABLE_ROW_BYTES).map(read_row).collect();
        let (mut offset, mut seq) = (0, trailer.first_seq);
        for place in &table {
            if place.offset != offset
                || place.first_seq != seq
                || place.plain_bytes as usize > BLOCK_BYTES_MAX
                || place.count == 0
                // Each record takes its length at least, so that a count alone takes no memory.
                || place.count as usize > place.plain_bytes as usize / batch::RECORD_LENGTH_BYTES
            {
                return Err(self.damaged(offset, seq, "the block table does not follow itself"));
            }
            offset += u64::from(place.compressed_bytes);
            seq = seq
                .checked_plus(u64::from(place.count))
                .ok_or_else(|| self.damaged(offset, seq, "the block table goes beyond all numbers"))?;
        }
        if offset != trailer.table_offset || seq != trailer.last_seq.next() {
            return Err(self.damaged(offset, seq, "the block table does not end where the segment does"));
        }
        Ok(self.table.get_or_init(|| table))
    }

    /// The block that holds `seq`, decompressed and checked; `None` if the segment does not hold it.
    pub fn block_with(&self, seq: Seq) -> Result<Option<Block>, ReadError> {
        if seq < self.first_seq() || seq > self.last_seq() {
            return Ok(None);
        }
        let table = self.table()?;
        self.block(table[table.partition_point(|place| place.first_seq <= seq) - 1]).map(Some)
    }

    /// Reads every block and every record.
    pub fn check_all(&self) -> Result<(), ReadError> {
        let mut seq = self.first_seq();
        while let Some(block) = self.block_with(seq)? {
            self.check_records(&block)?;
            seq = block.last_seq().next();
        }
        Ok(())
    }

    /// That every record of a block of this segment decodes.
    pub(super) fn check_records(&self, block: &Block) -> Result<(), ReadError> {
        block.records().try_for_each(|(seq, record)| {
            let place = self.table()?.iter().rfind(|place| place.first_seq <= seq);
            let offset = place.map_or(0, |place| place.offset);
            record::decode(record).map(drop).map_err(|error| self.damaged(offset, seq, error.to_string()))
        })
    }

    /// Bytes that the block of `seq` takes in the file; 0 where that cannot be said.
    pub(super) fn stored_bytes(&self, seq: Seq) -> u64 {
        let table = self.table().unwrap_or_default();
        table.iter().rfind(|place| place.first_seq <= seq).map_or(0, |place| u64::from(place.compressed_bytes))
    }

    /// Every block that is whole, in order, though others or the table are not. Where the table's own checksum fails, a
    /// row counts if its block has the checksum that the row says and the row before or behind it goes on from it.
    pub(super) fn whole_blocks(&self, each: &mut dyn FnMut(Block)) -> Result<(), ReadError> {
        if let Ok(table) = self.table() {
            table.iter().filter_map(|place| self.block(*place).ok()).for_each(each);
            return Ok(());
        }
        let mut bytes = vec![0; self.trailer.table_bytes as usize];
        self.read_at(&mut bytes, self.trailer.table_offset)?;
        let rows: Vec<BlockPlace> = bytes.chunks_exact(TABLE_ROW_BYTES).map(read_row).collect();
        let follows = |before: &BlockPlace, next: &BlockPlace| {
            before.offset.checked_add(u64::from(before.compressed_bytes)) == Some(next.offset)
                && before.first_seq.get().checked_add(u64::from(before.count)) == Some(next.first_seq.get())
        };
        let start = BlockPlace {
            offset: 0,
            first_seq: self.first_seq(),
            compressed_bytes: 0,
            plain_bytes: 0,
            count: 0,
            checksum: 0,
        };
        let end = BlockPlace { offset: self.trailer.table_offset, first_seq: self.last_seq().next(), ..start };
        for (at, row) in rows.iter().enumerate() {
            let before = if at == 0 { &start } else { &rows[at - 1] };
            let fits = row.plain_bytes as usize <= BLOCK_BYTES_MAX
                && row.count > 0
                && row.first_seq.get().checked_add(u64::from(row.count)).is_some()
                && row
                    .offset
                    .checked_add(u64::from(row.compressed_bytes))
                    .is_some_and(|end| end <= self.trailer.table_offset);
            if fits
                && (follows(before, row) || follows(row, rows.get(at + 1).unwrap_or(&end)))
                && let Ok(block) = self.block(*row)
            {
                each(block);
            }
        }
        Ok(())
    }

    fn block(&self, place: BlockPlace) -> Result<Block, ReadError> {
        let mut compressed = vec![0; place.compressed_bytes as usize];
        self.read_at(&mut compressed, place.offset)?;
        let last = place.first_seq.plus(u64::from(place.count) - 1);
        let damaged = |what: String| {
            self.damaged(place.offset, place.first_seq, format!("{what} (it holds seq {} to {last})", place.first_seq))
        };
        if crc32fast::hash(&compressed) != place.checksum {
            return Err(damaged("a block's checksum does not match".into()));
        }
        let bytes = zstd::bulk::decompress(&compressed, place.plain_bytes as usize)
            .map_err(|error| damaged(format!("a block does not decompress: {error}")))?;
        let mut spans = Vec::with_capacity(place.count as usize);
        let mut rest = bytes.as_slice();
        for _ in 0..place.count {
            let (record, next) =
                batch::split_record(rest).ok_or_else(|| damaged("a block ends inside a record".into()))?;
            let start = bytes.len() - rest.len() + batch::RECORD_LENGTH_BYTES;
            spans.push((start as u32, (start + record.len()) as u32));
            rest = next;
        }
        if !rest.is_empty() {
            return Err(damaged("a block holds more than its records".into()));
        }
        Ok(Block::new(place.first_seq, bytes, spans))
    }
}

fn read_row(row: &[u8]) -> BlockPlace {
    BlockPlace {
        offset: u64::from_le_bytes(field(row, 0)),
        first_seq: Seq::new(u64::from_le_bytes(field(row, 8))),
        compressed_bytes: u32::from_le_bytes(field(row, 16)),
        plain_bytes: u32::from_le_bytes(field(row, 20)),
        count: u32::from_le_bytes(field(row, 24)),
        checksum: u32::from_le_bytes(field(row, 28)),
    }
}

/// Writes the sealed form of a full raw segment beside it. The raw file stays; removing it is the caller's next step.
pub fn seal(disk: &dyn Disk, dir: &Path, raw: &RawSegment) -> Result<SealedSegment, ReadError> {
    let path = dir.join(sealed_name(raw.first_seq()));
    let failed = |error: std::io::Error| ReadError::Io { file: file_name(&path), what: error.to_string() };
    let temporary = path.with_extension("segz.tmp");
    match disk.remove(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = disk.open(&temporary, OpenMode::CreateNew).map_err(failed)?;
    let mut blocks = BlockWriter {
        file,
        offset: 0,
        compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(failed)?,
        plain: Vec::new(),
        count: 0,
        next: raw.first_seq(),
        table: Vec::new(),
    };
    let last_seq = raw.last_seq();
    let mut seq = raw.first_seq();
    while seq <= last_seq {
        let batches = raw
            .read_batches(seq, READ_BYTES)?
            .unwrap_or_else(|| panic!("segment {} ends at {last_seq} and does not hold {seq}", raw.first_seq()));
        for (this, record) in batches.records() {
            blocks.push(record).map_err(failed)?;
            seq = this.next();
        }
    }
    blocks.finish_block().map_err(failed)?;
    let SegmentHeader { log_id, segment_id, first_seq, previous_segment_id, previous_checksum, .. } = raw.header;
    let trailer = Trailer {
        log_id,
        segment_id,
        first_seq,
        last_seq,
        previous_segment_id,
        previous_checksum,
        last_checksum: raw.places.read().last_checksum,
        table_offset: blocks.offset,
        table_bytes: blocks.table.len() as u32,
        table_checksum: crc32fast::hash(&blocks.table),
        file_bytes: blocks.offset + blocks.table.len() as u64 + TRAILER_BYTES as u64,
    };
    let mut end = blocks.table;
    end.extend_from_slice(&trailer.encode());
    blocks.file.write_all_at(&end, blocks.offset).map_err(failed)?;
    blocks.file.sync().map_err(failed)?;
    disk.rename(&temporary, &path).map_err(failed)?;
    disk.sync_dir(dir).map_err(failed)?;
    SealedSegment::open(disk, path)
}

/// How much of the raw segment is read at once.
const READ_BYTES: u64 = 1024 * 1024;

/// Gathers records into blocks and writes those.
struct BlockWriter {
    file: Arc<dyn DiskFile>,
    offset: u64,
    /// One for all blocks, since making one costs as much as a block.
    compressor: zstd::bulk::Compressor<'static>,
    plain: Vec<u8>,
    count: u32,
    next: Seq,
    table: Vec<u8>,
}

impl BlockWriter {
    fn push(&mut self, record: &[u8]) -> std::io::Result<()> {
        batch::push_record(&mut self.plain, record);
        self.count += 1;
        if self.plain.len() >= SEALED_BLOCK_BYTES {
            self.finish_block()?;
        }
        Ok(())
    }

    fn finish_block(&mut self) -> std::io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let compressed = self.compressor.compress(&self.plain)?;
        self.file.write_all_at(&compressed, self.offset)?;
        self.table.extend_from_slice(&self.offset.to_le_bytes());
        self.table.extend_from_slice(&self.next.get().to_le_bytes());
        for number in [compressed.len() as u32, self.plain.len() as u32, self.count, crc32fast::hash(&compressed)] {
            self.table.extend_from_slice(&number.to_le_bytes());
        }
        self.offset += compressed.len() as u64;
        self.next = self.next.plus(u64::from(self.count));
        self.plain.clear();
        self.count = 0;
        Ok(())
    }
}
