//! The checkpoint: which prefix of which log a file holds, under which rules.
//!
//! One row of the table `runner.checkpoint`, written in the transaction that writes the changes it speaks of:
//!
//! ```text
//! layout u8 (1) | applied u64 | received_at i64 | log_id [u8; 16]
//! | version length u32, bytes | setup length u32, bytes | crc32 of all before, u32          (little-endian)
//! ```
//! redb does not verify a page when it reads it, and a wrong `applied` would fold entries twice: hence the checksum.

use redb::{ReadableDatabase, TableDefinition, WriteTransaction};

use super::StoreError;
use crate::units::{Seq, Timestamp};

const TABLE: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("runner.checkpoint");
/// The table has this one row.
const ROW: u8 = 0;
const LAYOUT: u8 = 1;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The last entry whose changes the file holds.
    pub applied: Seq,
    /// When that entry came in; `None` before the first.
    pub received_at: Option<Timestamp>,
    pub log_id: [u8; 16],
    pub version: String,
    /// The projection's setup as it encodes it.
    pub setup: Vec<u8>,
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(49 + self.version.len() + self.setup.len());
        bytes.push(LAYOUT);
        bytes.extend(self.applied.get().to_le_bytes());
        bytes.extend(self.received_at.map_or(i64::MIN, Timestamp::micros).to_le_bytes());
        bytes.extend(self.log_id);
        for part in [self.version.as_bytes(), &self.setup] {
            let len = u32::try_from(part.len()).expect("a version or a setup is far below 4 GiB");
            bytes.extend(len.to_le_bytes());
            bytes.extend(part);
        }
        seal(&mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let mut rest = unseal(bytes)?;
        if take::<1>(&mut rest)? != [LAYOUT] {
            return None;
        }
        let applied = Seq::new(u64::from_le_bytes(take(&mut rest)?));
        let received_at = i64::from_le_bytes(take(&mut rest)?);
        let log_id = take(&mut rest)?;
        let version = String::from_utf8(take_part(&mut rest)?.to_vec()).ok()?;
        let setup = take_part(&mut rest)?.to_vec();
        let received_at = (received_at != i64::MIN).then(|| Timestamp::from_micros(received_at));
        rest.is_empty().then_some(Checkpoint { applied, received_at, log_id, version, setup })
    }

    /// Writes the row; the caller commits it together with the changes.
    pub fn write(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let mut table = transaction.open_table(TABLE).map_err(StoreError::of)?;
        table.insert(ROW, self.encode().as_slice()).map_err(StoreError::of)?;
        Ok(())
    }

    /// # Errors
    /// Anything but a whole row of this layout: the file is of no use.
    pub fn read(database: &redb::Database) -> Result<Checkpoint, StoreError> {
        let transaction = database.begin_read().map_err(StoreError::of)?;
        let table = transaction.open_table(TABLE).map_err(StoreError::of)?;
        let row = table.get(ROW).map_err(StoreError::of)?;
        row.and_then(|row| Checkpoint::decode(row.value()))
            .ok_or_else(|| StoreError("its checkpoint is missing, damaged or of another layout".to_owned()))
    }
}

/// Whether bytes are a checkpoint, for [`crate::fuzz`].
#[doc(hidden)]
pub fn is_checkpoint(bytes: &[u8]) -> bool {
    Checkpoint::decode(bytes).is_some()
}

/// Appends the checksum of all that stands there.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let sum = crc32fast::hash(bytes);
    bytes.extend(sum.to_le_bytes());
}

/// What [`seal`] was given, if it is still that.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    (crc32fast::hash(content) == u32::from_le_bytes(*sum)).then_some(content)
}

/// Takes the first `N` bytes off.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_le_bytes(take(rest)?) as usize;
    let (part, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            applied: Seq::new(7),
            received_at: Some(Timestamp::from_micros(-3)),
            log_id: *b"0123456789abcdef",
            version: "v1".to_owned(),
            setup: vec![0, 255],
        }
    }

    #[test]
    fn the_layout_is_these_bytes() {
        let golden = "010700000000000000fdffffffffffffff30313233343536373839616263646566\
                      0200000076310200000000ff";
        let bytes = checkpoint().encode();
        let hex: String = bytes[..bytes.len() - 4].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn what_is_written_is_read_and_any_flipped_bit_or_missing_byte_is_refused() {
        for checkpoint in [checkpoint(), Checkpoint { received_at: None, ..checkpoint() }] {
            let bytes = checkpoint.encode();
            assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Checkpoint::decode(&flipped), None, "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert_eq!(Checkpoint::decode(&bytes[..len]), None, "{len} bytes");
            }
        }
    }

    #[test]
    fn a_length_beyond_the_row_is_refused_though_the_checksum_holds() {
        let mut bytes = checkpoint().encode();
        bytes.truncate(bytes.len() - 4);
        bytes[33] = 200;
        seal(&mut bytes);
        assert_eq!(Checkpoint::decode(&bytes), None);
    }
}
