//! Files that are cut, flipped, forged or of another time.

use std::io;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::encode::{
    AT_CRC_AT, AT_RANGE_BYTES, COUNT_AT, FIELD_BYTES, FIELDS_AT, HEADER_BYTES, HEADER_CRC_AT, ROW_BYTES,
};
use super::super::*;
use super::{Bytes, DIGEST, FIRST, any_filter, open, sample};
use crate::disk::DiskFile;

proptest! {
    #[test]
    fn hostile_bytes_with_good_checksums_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        filter in any_filter(),
    ) {
        let (rows, whole) = sample();
        let mut bytes = whole.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            if !COUNT_AT.contains(&place) {
                bytes[place] = byte;
            }
        }
        reseal(&mut bytes);
        if let Ok(index) = open(bytes, rows.len() as u32) {
            let _ = index.verify();
            let _ = candidates(&index, &filter, 0, u32::MAX);
            let users = rows.iter().step_by(50).map(|row| Term::User(&row.user));
            let types = rows[..10].iter().map(|row| Term::Type(row.event_type));
            for found in users.chain(types).filter_map(|term| index.lookup(term).ok()) {
                prop_assert!(found.max().is_none_or(|id| id < index.count()));
            }
        }
    }
}

/// Makes the checksums right again, as far as the lengths allow.
fn reseal(bytes: &mut [u8]) {
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let seal = |bytes: &mut [u8], at: usize, crc: u32| bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    let at_len = number(bytes, COUNT_AT.start).div_ceil(AT_BLOCK_ENTRIES) as usize * AT_RANGE_BYTES;
    let fields: Vec<usize> = FIELDS_AT.step_by(FIELD_BYTES).collect();
    let directories: Vec<usize> = fields.iter().map(|at| number(bytes, at + 4) as usize * ROW_BYTES).collect();
    let first_directory = HEADER_BYTES + at_len;
    let first_block = first_directory + directories.iter().sum::<usize>();
    if first_block <= bytes.len() {
        let mut block = first_block;
        for row in (first_directory..first_block).step_by(ROW_BYTES) {
            let end = block + number(bytes, row + 4) as usize;
            if let Some(content) = bytes.get(block..end) {
                let crc = crc32fast::hash(content);
                seal(bytes, row + 12, crc);
            }
            block = end;
        }
        let mut start = first_directory;
        for (field, len) in fields.into_iter().zip(directories) {
            let crc = crc32fast::hash(&bytes[start..start + len]);
            seal(bytes, field + 8, crc);
            start += len;
        }
        let crc = crc32fast::hash(&bytes[HEADER_BYTES..first_directory]);
        seal(bytes, AT_CRC_AT.start, crc);
    }
    let crc = crc32fast::hash(&bytes[..HEADER_CRC_AT.start]);
    seal(bytes, HEADER_CRC_AT.start, crc);
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (rows, whole) = sample();
    let count = rows.len() as u32;
    let head = HEADER_BYTES + 64;
    for place in (0..whole.len()).filter(|place| *place < head || place % 5 == 0) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        let answer = open(bytes, count).and_then(|index| index.verify());
        assert!(answer.is_err(), "a flip at {place} of {} passed", whole.len());
    }
}

#[test]
fn a_look_up_of_a_flipped_file_is_right_or_an_error() {
    let (rows, whole) = sample();
    let count = rows.len() as u32;
    let mut refused = 0;
    for place in (0..whole.len()).step_by(41) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        let Ok(index) = open(bytes, count) else { continue };
        for id in (0..rows.len()).step_by(300) {
            match index.lookup(Term::User(&rows[id].user)) {
                Ok(found) => assert_eq!(found.iter().collect::<Vec<_>>(), [id as u32]),
                Err(error) => {
                    assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0, "no flip fell into a block that was read");
}

#[test]
fn a_file_that_is_cut_or_grown_does_not_open() {
    let (rows, whole) = sample();
    let count = rows.len() as u32;
    for len in (0..whole.len()).filter(|len| *len < 300 || len % 97 == 0).chain([whole.len() - 1]) {
        let error = open(whole[..len].to_vec(), count).err().expect("cut");
        assert!(matches!(error, IndexError::Damaged { .. }), "{len}: {error}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(matches!(open(longer, count), Err(IndexError::Damaged { .. })));
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_damage() {
    struct Shrunk(Bytes);
    impl DiskFile for Shrunk {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_exact_at(buffer, offset)
        }
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            self.0.write_all_at(bytes, offset)
        }
        fn len_bytes(&self) -> io::Result<u64> {
            Ok(self.0.len_bytes()? + 1000)
        }
        fn truncate(&self, len_bytes: u64) -> io::Result<()> {
            self.0.truncate(len_bytes)
        }
        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
        fn try_lock(&self) -> io::Result<bool> {
            self.0.try_lock()
        }
        fn unlock(&self) -> io::Result<()> {
            self.0.unlock()
        }
    }
    let (rows, whole) = sample();
    let file = Arc::new(Shrunk(Bytes(whole[..whole.len() - 1000].to_vec())));
    let segment = SegmentId { first_seq: FIRST, count: rows.len() as u32, digest: DIGEST };
    let index = SegmentIndex::open_file(file, "test.idx".to_owned(), &segment).expect("its head is whole");
    assert!(matches!(index.verify(), Err(IndexError::Damaged { .. })));
}

#[test]
fn an_index_of_another_state_or_version_is_stale() {
    let (rows, whole) = sample();
    let count = rows.len() as u32;
    let of = |segment: SegmentId| {
        SegmentIndex::open_file(Arc::new(Bytes(whole.clone())), "test.idx".to_owned(), &segment).err()
    };
    let segment = SegmentId { first_seq: FIRST, count, digest: DIGEST };
    assert!(of(segment).is_none());
    for other in [
        SegmentId { first_seq: FIRST.next(), ..segment },
        SegmentId { count: count - 1, ..segment },
        SegmentId { digest: [8; 16], ..segment },
    ] {
        assert!(matches!(of(other), Some(IndexError::Stale { .. })));
    }
    let mut newer = whole.clone();
    newer[8] = 2;
    reseal(&mut newer);
    let error = open(newer, count).err().expect("another version").to_string();
    assert_eq!(error, "test.idx: index version 2, this build reads 1");
}

#[test]
fn the_layout_of_version_1_is_as_it_was() {
    let (_, whole) = sample();
    // A change here takes a new version, so that older files are written again and not misread.
    assert_eq!((whole.len(), crc32fast::hash(whole)), (10_891, 0x2a8f745c));
}
