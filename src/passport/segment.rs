//! One raw segment file: a header block, then batches, then zeros.
//!
//! ```text
//! offset  bytes  field of the header, little-endian
//!      0      8  magic "CLMSEG\r\n"
//!      8      4  version (1)
//!     12      4  zero
//!     16     16  id of the log
//!     32      8  id of this segment, random
//!     40      8  seq of its first record; the file is named after it
//!     48      8  length of the file, fixed when it was made
//!     56      8  id of the segment before it, 0 for the first
//!     64      4  checksum of the last batch of the segment before it (0 for the first)
//!     68      4  CRC-32 of bytes 0..68
//!     72      …  zeros up to 4096, where the first batch starts
//! ```
//! The file is written full of zeros, synced and only then given its header and its name: writing into it never
//! changes its length, and what lies behind the last batch is zero unless a crash tore a write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::ReadError;
use super::batch::{BatchHeader, HEADER_BYTES, field};
use crate::disk::DiskFile;
use crate::units::Seq;

/// Where the first batch starts.
pub const FIRST_BATCH_OFFSET: u64 = 4096;
pub(super) const MAGIC: [u8; 8] = *b"CLMSEG\r\n";
const VERSION: u32 = 1;
const HEADER_FIELDS_BYTES: usize = 72;

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub log_id: [u8; 16],
    pub segment_id: u64,
    pub first_seq: Seq,
    pub file_bytes: u64,
    pub previous_segment_id: u64,
    pub previous_checksum: u32,
}

impl SegmentHeader {
    /// The header block, [`FIRST_BATCH_OFFSET`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; FIRST_BATCH_OFFSET as usize];
        block[0..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..32].copy_from_slice(&self.log_id);
        block[32..40].copy_from_slice(&self.segment_id.to_le_bytes());
        block[40..48].copy_from_slice(&self.first_seq.get().to_le_bytes());
        block[48..56].copy_from_slice(&self.file_bytes.to_le_bytes());
        block[56..64].copy_from_slice(&self.previous_segment_id.to_le_bytes());
        block[64..68].copy_from_slice(&self.previous_checksum.to_le_bytes());
        let checksum = crc32fast::hash(&block[..68]);
        block[68..72].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    /// Reads a header block; says what is wrong with it otherwise.
    pub fn decode(block: &[u8]) -> Result<SegmentHeader, String> {
        if block.len() < FIRST_BATCH_OFFSET as usize {
            return Err(format!("the file is {} bytes long, too short for a segment header", block.len()));
        }
        if block[0..8] != MAGIC {
            return Err("this is no segment file (wrong magic)".into());
        }
        if crc32fast::hash(&block[..68]) != u32::from_le_bytes(field(block, 68)) {
            return Err("the segment header's checksum does not match".into());
        }
        if block[HEADER_FIELDS_BYTES..].iter().any(|byte| *byte != 0) || field::<4>(block, 12) != [0; 4] {
            return Err("the segment header has bytes where zeros belong".into());
        }
        let version = u32::from_le_bytes(field(block, 8));
        if version != VERSION {
            return Err(format!("segment version {version}, this build reads {VERSION}"));
        }
        let first_seq = Seq::new(u64::from_le_bytes(field(block, 40)));
        if first_seq == Seq::ZERO {
            return Err("the segment header says seq 0, which no event has".into());
        }
        Ok(SegmentHeader {
            log_id: field(block, 16),
            segment_id: u64::from_le_bytes(field(block, 32)),
            first_seq,
            file_bytes: u64::from_le_bytes(field(block, 48)),
            previous_segment_id: u64::from_le_bytes(field(block, 56)),
            previous_checksum: u32::from_le_bytes(field(block, 64)),
        })
    }

    /// What the first batch names as the checksum before it: the header's own, so that a swapped header shows.
    pub fn chain_start(&self) -> u32 {
        crc32fast::hash(&self.encode()[..68])
    }
}

/// Where one batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    pub first_seq: Seq,
    pub offset: u64,
}

/// The places of a segment's synced batches, and where they end.
#[derive(Clone, Debug)]
pub struct Places {
    pub batches: Vec<BatchPlace>,
    /// Offset behind the last synced batch.
    pub end_offset: u64,
    /// The last synced seq; one before the segment's first while it is empty.
    pub last_seq: Seq,
    /// Checksum of the last batch, or the chain's start.
    pub last_checksum: u32,
}

/// A raw segment that readers may read. The writer alone appends; `places` moves after each sync.
pub struct RawSegment {
    pub path: PathBuf,
    pub header: SegmentHeader,
    pub file: Arc<dyn DiskFile>,
    pub places: RwLock<Places>,
}

/// `00000000000000000001.seg`
pub fn raw_name(first_seq: Seq) -> String {
    format!("{:020}.seg", first_seq.get())
}

/// The seq in a file's name, if the name is one of ours with this extension.
pub fn seq_in_name(name: &str, extension: &str) -> Option<Seq> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok().map(Seq::new))
        .flatten()
}

/// The file's own name, for messages.
pub fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

impl RawSegment {
    pub fn first_seq(&self) -> Seq {
        self.header.first_seq
    }
    pub fn last_seq(&self) -> Seq {
        self.places.read().last_seq
    }

    /// Reads whole, checked batches from the one that holds `seq` on, at least one and up to about `bytes_max`.
    /// `None` where the segment holds no synced batch with `seq`.
    pub fn read_batches(&self, seq: Seq, bytes_max: u64) -> Result<Option<Batches>, ReadError> {
        let (start, end) = {
            let places = self.places.read();
            if seq < self.first_seq() || seq > places.last_seq {
                return Ok(None);
            }
            let at = places.batches.partition_point(|place| place.first_seq <= seq) - 1;
            let start = places.batches[at].offset;
            // The ends of this batch and of those behind it; the first is taken whatever its size.
            let ends = places.batches[at + 1..].iter().map(|place| place.offset).chain([places.end_offset]);
            let end = ends
                .clone()
                .take_while(|end| end - start <= bytes_max)
                .last()
                .or_else(|| ends.clone().next())
                .unwrap_or(places.end_offset);
            (start, end)
        };
        let mut bytes = vec![0; (end - start) as usize];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(|error| ReadError::Io { file: file_name(&self.path), what: error.to_string() })?;
        let batches = Batches { bytes };
        self.check(&batches, start, seq)?;
        Ok(Some(batches))
    }

    /// Every batch read back must be the one that was written there.
    fn check(&self, batches: &Batches, start: u64, seq: Seq) -> Result<(), ReadError> {
        let damaged =
            |offset: u64, seq: Seq, what: String| ReadError::Damaged { file: file_name(&self.path), offset, seq, what };
        let (mut at, mut seq) = (0usize, seq);
        while at < batches.bytes.len() {
            let offset = start + at as u64;
            let rest = &batches.bytes[at..];
            if rest.len() < HEADER_BYTES {
                return Err(damaged(offset, seq, "a batch header is cut short".into()));
            }
            let header = BatchHeader::read(&field(rest, 0)).map_err(|error| damaged(offset, seq, error.to_string()))?;
            if header.segment_id != self.header.segment_id || header.offset != offset {
                return Err(damaged(offset, seq, "a batch from another place lies here".into()));
            }
            let total = header.total_bytes() as usize;
            if total > rest.len() {
                return Err(damaged(offset, seq, "a batch is cut short".into()));
            }
            header.check_body(&rest[..total]).map_err(|error| damaged(offset, seq, error.to_string()))?;
            seq = header.last_seq().next();
            at += total;
        }
        Ok(())
    }
}

/// Whole batches as they lie in a file, already checked.
pub struct Batches {
    bytes: Vec<u8>,
}

impl Batches {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
    /// Every record with its number, in order.
    pub fn records(&self) -> impl Iterator<Item = (Seq, &[u8])> {
        self.spans().map(|(seq, start, end)| (seq, &self.bytes[start..end]))
    }
    /// Where every record with its number starts and ends, in order.
    pub fn spans(&self) -> impl Iterator<Item = (Seq, usize, usize)> {
        let mut rest = self.bytes.as_slice();
        let mut body: &[u8] = &[];
        let mut seq = Seq::ZERO;
        std::iter::from_fn(move || {
            if body.is_empty() {
                if rest.is_empty() {
                    return None;
                }
                let header = BatchHeader::read(&field(rest, 0)).expect("batches were checked when they were read");
                let (whole, next) = rest.split_at(header.total_bytes() as usize);
                (body, rest, seq) = (&whole[HEADER_BYTES..], next, header.first_seq);
            }
            let (record, next) = batch_record(body);
            let this = seq;
            (body, seq) = (next, seq.next());
            let end = self.bytes.len() - rest.len() - next.len();
            Some((this, end - record.len(), end))
        })
    }
}

fn batch_record(body: &[u8]) -> (&[u8], &[u8]) {
    super::batch::split_record(body).expect("batches were checked when they were read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_shows() {
        let header = SegmentHeader {
            log_id: [3; 16],
            segment_id: 5,
            first_seq: Seq::new(77),
            file_bytes: 65536,
            previous_segment_id: 4,
            previous_checksum: 9,
        };
        let good = header.encode();
        assert_eq!(SegmentHeader::decode(&good), Ok(header));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_our_own_names_are_segments() {
        assert_eq!(seq_in_name(&raw_name(Seq::new(42)), "seg"), Some(Seq::new(42)));
        for name in ["1.seg", "0000000000000000000x.seg", "00000000000000000001.segz", "spare.seg"] {
            assert_eq!(seq_in_name(name, "seg"), None, "{name}");
        }
    }
}
