//! Makes the checksums of hostile bytes right, as far as their own lengths lead.
//!
//! Written against the layouts in the module heads of each format, and not against the code that reads them.

const BATCH_HEADER_BYTES: usize = 64;
const FIRST_BATCH_OFFSET: usize = 4096;
const TRAILER_BYTES: usize = 104;
const ROW_BYTES: usize = 32;
const INDEX_HEADER_BYTES: usize = 148;
const RUN_HEADER_BYTES: usize = 60;

/// One batch: header and body.
pub fn batch(bytes: &mut [u8]) {
    if bytes.len() < BATCH_HEADER_BYTES {
        return;
    }
    let body = BATCH_HEADER_BYTES.saturating_add(u32_at(bytes, 36) as usize).min(bytes.len());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..52]);
    hasher.update(&bytes[BATCH_HEADER_BYTES..body]);
    put(bytes, 52, hasher.finalize());
    put(bytes, 56, crc32fast::hash(&bytes[..56]));
}

/// A raw segment: its header, and each batch that still lies behind the one before it, chained to it.
pub fn segment(bytes: &mut [u8]) {
    if bytes.len() < FIRST_BATCH_OFFSET {
        return;
    }
    let length = (bytes.len() as u64).to_le_bytes();
    bytes[48..56].copy_from_slice(&length);
    let mut chain = crc32fast::hash(&bytes[..68]);
    put(bytes, 68, chain);
    let mut at = FIRST_BATCH_OFFSET;
    while bytes[at..].len() >= BATCH_HEADER_BYTES && bytes[at..at + 4] == *b"CLMB" {
        put(bytes, at + 40, chain);
        batch(&mut bytes[at..]);
        chain = u32_at(bytes, at + 52);
        at = (at + BATCH_HEADER_BYTES).saturating_add(u32_at(bytes, at + 36) as usize).min(bytes.len());
    }
}

/// A sealed segment: blocks by its table, the table, the trailer, which gets the file's own length.
pub fn sealed_segment(bytes: &mut [u8]) {
    let Some(trailer) = bytes.len().checked_sub(TRAILER_BYTES) else { return };
    let length = (bytes.len() as u64).to_le_bytes();
    bytes[trailer + 88..trailer + 96].copy_from_slice(&length);
    let table = (u64_at(bytes, trailer + 72) as usize).min(trailer);
    let rows = (trailer - table) / ROW_BYTES;
    for row in (0..rows).map(|row| table + row * ROW_BYTES) {
        let from = (u64_at(bytes, row) as usize).min(table);
        let to = from.saturating_add(u32_at(bytes, row + 16) as usize).min(table);
        put(bytes, row + 28, crc32fast::hash(&bytes[from..to]));
    }
    put(bytes, trailer + 84, crc32fast::hash(&bytes[table..trailer]));
    put(bytes, trailer + 100, crc32fast::hash(&bytes[trailer..trailer + 100]));
}

/// An entry index: ranges, directories, blocks, header.
pub fn entry_index(bytes: &mut [u8]) {
    if bytes.len() < INDEX_HEADER_BYTES {
        return;
    }
    let end = |at: usize, length: usize, bytes: &[u8]| at.saturating_add(length).min(bytes.len());
    let ranges = end(INDEX_HEADER_BYTES, u32_at(bytes, 12).div_ceil(1024) as usize * 16, bytes);
    put(bytes, 56, crc32fast::hash(&bytes[INDEX_HEADER_BYTES..ranges]));
    let directories: usize = (0..7).map(|field| (u32_at(bytes, 64 + field * 12) as usize).saturating_mul(16)).sum();
    let mut block = end(ranges, directories, bytes);
    let mut at = ranges;
    for place in (0..7).map(|field| 60 + field * 12) {
        let to = end(at, (u32_at(bytes, place + 4) as usize).saturating_mul(16), bytes);
        for row in (at..to).step_by(16).filter(|row| row + 16 <= to) {
            let block_end = end(block, u32_at(bytes, row + 4) as usize, bytes);
            put(bytes, row + 12, crc32fast::hash(&bytes[block..block_end]));
            block = block_end;
        }
        put(bytes, place + 8, crc32fast::hash(&bytes[at..to]));
        at = to;
    }
    put(bytes, 144, crc32fast::hash(&bytes[..144]));
}

/// A run of keys: quotients, remainders and header. The blocks of entries keep theirs: a checksum that holds there says
/// nothing that the directories do not.
pub fn key_run(bytes: &mut [u8]) {
    if bytes.len() < RUN_HEADER_BYTES {
        return;
    }
    let keys = u64_at(bytes, 32).min(1 << 32);
    let floor = keys.max(1).ilog2();
    let nearest = if u128::from(keys.max(1)).pow(2) > 1 << (2 * floor + 1) { floor + 1 } else { floor };
    let words = (keys + (1u64 << nearest.max(6))).div_ceil(64) as usize;
    let quotients = (RUN_HEADER_BYTES + words * 8).min(bytes.len());
    let remainders = (quotients + (keys as usize * 12).div_ceil(8)).min(bytes.len());
    put(bytes, 12, crc32fast::hash(&bytes[RUN_HEADER_BYTES..quotients]));
    put(bytes, 48, crc32fast::hash(&bytes[quotients..remainders]));
    put(bytes, 56, crc32fast::hash(&bytes[..56]));
}

/// Anything that ends in a checksum of all before it: a checkpoint, `log.id`, `fingerprint.key`.
pub fn ends_in_checksum(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(4) {
        put(bytes, at, crc32fast::hash(&bytes[..at]));
    }
}

/// A page of rows: the value of a table under the key (0, 0).
pub fn page(bytes: &mut [u8]) {
    if bytes.len() < 5 {
        return;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[0; 16]);
    hasher.update(&bytes[5..]);
    put(bytes, 1, hasher.finalize());
}

/// A block of sorted rows: the value of a table under an empty key.
pub fn rows(bytes: &mut [u8]) {
    starts_with_checksum(bytes, &[]);
}

/// Names by their numbers: the value of a table under the number 0.
pub fn names(bytes: &mut [u8]) {
    starts_with_checksum(bytes, &[0; 4]);
}

fn starts_with_checksum(bytes: &mut [u8], key: &[u8]) {
    if bytes.len() >= 4 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(key);
        hasher.update(&bytes[4..]);
        put(bytes, 0, hasher.finalize());
    }
}

fn put(bytes: &mut [u8], at: usize, checksum: u32) {
    bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
