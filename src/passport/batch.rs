//! The batch: what one sync covers, and the unit of the log on disk.
//!
//! ```text
//! offset  bytes  field, little-endian
//!      0      4  magic "CLMB"
//!      4      2  version (1)
//!      6      2  zero
//!      8      8  id of the segment that it belongs to
//!     16      8  its own offset in that segment
//!     24      8  seq of its first record
//!     32      4  count of records
//!     36      4  length of the body
//!     40      4  checksum of the batch before it (the segment header's, for the first)
//!     44      8  zero
//!     52      4  checksum: CRC-32 of bytes 0..52 and the body
//!     56      4  CRC-32 of bytes 0..56, so that the length can be trusted before the body is there
//!     60      4  zero
//!     64      …  body: for each record its length (u32) and its bytes
//! ```
//! Place (segment, offset, seq) and predecessor lie under the checksum, so bytes from elsewhere never pass.

use crate::limits::LOG_BATCH_BYTES_MAX;
use crate::units::Seq;

pub const HEADER_BYTES: usize = 64;
pub const MAGIC: [u8; 4] = *b"CLMB";
const VERSION: u16 = 1;
/// Bytes that the body spends on each record beside the record itself.
pub const RECORD_LENGTH_BYTES: usize = 4;

/// A checked batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub segment_id: u64,
    pub offset: u64,
    pub first_seq: Seq,
    pub count: u32,
    pub body_bytes: u32,
    pub previous_checksum: u32,
    pub checksum: u32,
}

/// Why bytes are no batch of this place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("no batch header: expected magic {MAGIC:02x?}, found {0:02x?}")]
    Magic([u8; 4]),
    #[error("batch version {0}, this build reads {VERSION}")]
    Version(u16),
    #[error("the header's checksum does not match")]
    HeaderChecksum,
    #[error("the batch belongs elsewhere: {0}")]
    Place(String),
    #[error("the batch's length {0} is out of bounds")]
    Length(u64),
    #[error("the batch's checksum is {found:08x}, its bytes give {actual:08x}")]
    Checksum { found: u32, actual: u32 },
    #[error("the body does not hold {count} whole records")]
    Records { count: u32 },
}

impl BatchHeader {
    /// Bytes of header and body.
    pub fn total_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }
    pub fn last_seq(&self) -> Seq {
        self.first_seq.plus(u64::from(self.count) - 1)
    }

    /// Reads and checks a header by itself; the body is not looked at.
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Result<BatchHeader, BatchError> {
        let magic = field::<4>(bytes, 0);
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        if crc32fast::hash(&bytes[..56]) != u32::from_le_bytes(field(bytes, 56)) || field::<4>(bytes, 60) != [0; 4] {
            return Err(BatchError::HeaderChecksum);
        }
        let version = u16::from_le_bytes(field(bytes, 4));
        if version != VERSION {
            return Err(BatchError::Version(version));
        }
        let header = BatchHeader {
            segment_id: u64::from_le_bytes(field(bytes, 8)),
            offset: u64::from_le_bytes(field(bytes, 16)),
            first_seq: Seq::new(u64::from_le_bytes(field(bytes, 24))),
            count: u32::from_le_bytes(field(bytes, 32)),
            body_bytes: u32::from_le_bytes(field(bytes, 36)),
            previous_checksum: u32::from_le_bytes(field(bytes, 40)),
            checksum: u32::from_le_bytes(field(bytes, 52)),
        };
        if header.body_bytes as usize > LOG_BATCH_BYTES_MAX
            || header.count == 0
            || header.count as usize > header.body_bytes as usize / RECORD_LENGTH_BYTES
        {
            return Err(BatchError::Length(header.total_bytes()));
        }
        if header.first_seq == Seq::ZERO || header.first_seq.checked_plus(u64::from(header.count)).is_none() {
            return Err(BatchError::Place(format!("{} records from seq {} on", header.count, header.first_seq)));
        }
        Ok(header)
    }

    /// Checks that `whole` (header and body) is this batch, bit for bit.
    pub fn check_body(&self, whole: &[u8]) -> Result<(), BatchError> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&whole[..52]);
        hasher.update(&whole[HEADER_BYTES..]);
        let actual = hasher.finalize();
        if actual != self.checksum {
            return Err(BatchError::Checksum { found: self.checksum, actual });
        }
        let mut rest = &whole[HEADER_BYTES..];
        for _ in 0..self.count {
            rest = split_record(rest).ok_or(BatchError::Records { count: self.count })?.1;
        }
        if !rest.is_empty() {
            return Err(BatchError::Records { count: self.count });
        }
        Ok(())
    }
}

/// The first record of a body, and what follows it; `None` where no whole record is left.
pub fn split_record(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = body.split_first_chunk::<RECORD_LENGTH_BYTES>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// Appends a record to a batch that is being filled.
pub fn push_record(batch: &mut Vec<u8>, record: &[u8]) {
    batch.extend_from_slice(&(record.len() as u32).to_le_bytes());
    batch.extend_from_slice(record);
}

/// Fills in the header of a batch whose first [`HEADER_BYTES`] are reserved and whose body is complete.
/// Returns its checksum.
pub fn finish(
    batch: &mut [u8],
    segment_id: u64,
    offset: u64,
    first_seq: Seq,
    count: u32,
    previous_checksum: u32,
) -> u32 {
    let (header, body) = batch.split_at_mut(HEADER_BYTES);
    header.fill(0);
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[8..16].copy_from_slice(&segment_id.to_le_bytes());
    header[16..24].copy_from_slice(&offset.to_le_bytes());
    header[24..32].copy_from_slice(&first_seq.get().to_le_bytes());
    header[32..36].copy_from_slice(&count.to_le_bytes());
    header[36..40].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[40..44].copy_from_slice(&previous_checksum.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..52]);
    hasher.update(body);
    let checksum = hasher.finalize();
    header[52..56].copy_from_slice(&checksum.to_le_bytes());
    let header_checksum = crc32fast::hash(&header[..56]);
    header[56..60].copy_from_slice(&header_checksum.to_le_bytes());
    checksum
}

/// A fixed field of a fixed header.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut batch = vec![0; HEADER_BYTES];
        push_record(&mut batch, b"one");
        push_record(&mut batch, b"");
        finish(&mut batch, 7, 4096, Seq::new(9), 2, 0xabcd);
        batch
    }

    fn read(batch: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::read(&field(batch, 0))?;
        header.check_body(batch)?;
        Ok(header)
    }

    #[test]
    fn a_batch_comes_back_as_it_was_written() {
        let header = read(&sample()).expect("whole");
        assert_eq!((header.segment_id, header.offset, header.first_seq.get(), header.count), (7, 4096, 9, 2));
        assert_eq!(header.last_seq(), Seq::new(10));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = sample();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let header = BatchHeader::read(&field(&bad, 0));
            let found = header.and_then(|header| {
                if header.body_bytes as usize != bad.len() - HEADER_BYTES {
                    return Err(BatchError::Length(header.total_bytes()));
                }
                header.check_body(&bad)
            });
            assert!(found.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_it_is_used() {
        let mut batch = sample();
        batch[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        let crc = crc32fast::hash(&batch[..56]).to_le_bytes();
        batch[56..60].copy_from_slice(&crc);
        assert!(matches!(BatchHeader::read(&field(&batch, 0)), Err(BatchError::Length(_))));
    }
}
