//! A page: the rows of one bucket of time (an hour, or a day) that one flush brought, packed.
//!
//! ```text
//! page  := groups u8 | groups x (part u8, bytes u32) | the groups' rows
//! row   := artist u32, less the one before | mask u8 of the domains that are not zero | their sums i128
//! ```
//! A group holds the rows of one minute of an hour; a day's page has one group. Rows are sorted by part and artist, and
//! the table in front lets a tick read the one minute that it needs. Numbers are bincode's varints.

use std::ops::RangeInclusive;

use super::artists::ArtistNo;
use super::minutes::{Sums, add};
use super::tables::{Key, Reader, Writer};
use crate::projection::StoreError;

/// A row of a page: which part of the bucket, whose, how much.
pub type PageRow = (u8, ArtistNo, Sums);

/// Packs rows that are sorted by part and artist, each pair once. Rows of zeros are left out. `key` is `(bucket, flush)`.
pub fn encode(key: (i64, u64), rows: &[PageRow]) -> Vec<u8> {
    let mut groups: Vec<(u8, Vec<u8>)> = Vec::new();
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        let mut out = Writer::part();
        let mut before = 0;
        for (_, artist, sums) in group {
            let mask = (0..4).filter(|domain| sums[*domain] != 0).fold(0u8, |mask, domain| mask | 1 << domain);
            if mask == 0 {
                continue;
            }
            out.put(artist.get() - before);
            out.put(mask);
            sums.iter().filter(|sum| **sum != 0).for_each(|sum| out.put(*sum));
            before = artist.get();
        }
        groups.push((group[0].0, out.into_part()));
    }
    let mut page = Writer::value();
    page.put(groups.len() as u8);
    for (part, bytes) in &groups {
        page.put(*part);
        page.put(bytes.len() as u32);
    }
    groups.iter().for_each(|(_, bytes)| page.put_bytes(bytes));
    page.into_value(Key::Pair(key.0, key.1))
}

/// Calls `each` for the rows whose part is in the range, in order.
pub fn read(
    key: (i64, u64),
    page: &[u8],
    parts: RangeInclusive<u8>,
    each: &mut impl FnMut(PageRow),
) -> Result<(), StoreError> {
    let mut page = Reader::value(page, Key::Pair(key.0, key.1), "page of rows")?;
    let groups: u8 = page.take()?;
    let mut table = [(0u8, 0u32); u8::MAX as usize];
    for entry in &mut table[..usize::from(groups)] {
        *entry = (page.take()?, page.take()?);
    }
    for (part, bytes) in &table[..usize::from(groups)] {
        let mut group = page.split(*bytes as usize)?;
        if parts.contains(part) {
            read_group(*part, &mut group, each)?;
        }
    }
    page.end()
}

fn read_group(part: u8, group: &mut Reader<'_>, each: &mut impl FnMut(PageRow)) -> Result<(), StoreError> {
    let mut artist = 0u32;
    while !group.is_empty() {
        let step: u32 = group.take()?;
        artist = artist.checked_add(step).ok_or_else(|| group.damaged("an artist's number over 2^32"))?;
        let mask: u8 = group.take()?;
        let mut sums = Sums::default();
        for (domain, sum) in sums.iter_mut().enumerate() {
            if mask & 1 << domain != 0 {
                *sum = group.take()?;
            }
        }
        each((part, ArtistNo::new(artist), sums));
    }
    Ok(())
}

/// Whether bytes are a page under the key (0, 0), for [`crate::fuzz`].
#[doc(hidden)]
pub fn is_page(bytes: &[u8]) -> bool {
    read((0, 0), bytes, 0..=u8::MAX, &mut |_| {}).is_ok()
}

/// Sorts rows by part and artist and sums those of one pair.
pub fn normalize(rows: &mut Vec<PageRow>) {
    rows.sort_by_key(|(part, artist, _)| (*part, *artist));
    rows.dedup_by(|later, kept| {
        let same = (later.0, later.1) == (kept.0, kept.1);
        if same {
            add(&mut kept.2, &later.2);
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back_part_by_part(
            rows in prop::collection::vec((0u8..60, 0u32..50, prop::array::uniform4(-3i128..i128::from(i64::MAX))), 0..80),
            low in 0u8..60,
            high in 0u8..60,
        ) {
            let mut rows: Vec<PageRow> = rows.into_iter().map(|(p, a, s)| (p, ArtistNo::new(a), s)).collect();
            normalize(&mut rows);
            rows.retain(|(_, _, sums)| *sums != Sums::default());
            let page = encode((7, 1), &rows);
            let mut found = Vec::new();
            read((7, 1), &page, low..=high, &mut |row| found.push(row)).expect("what was written");
            rows.retain(|(part, _, _)| (low..=high).contains(part));
            prop_assert_eq!(found, rows);
        }

        #[test]
        fn damaged_bytes_are_an_error_and_never_other_rows(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let rows: Vec<PageRow> = (0..40).map(|n| (n as u8 / 10, ArtistNo::new(n * 7), [1 << n, 0, -5, 0])).collect();
            let mut page = encode((7, 1), &rows);
            let at = at.index(page.len());
            page[at] ^= 1 << bit;
            let mut given = 0;
            let flipped = read((7, 1), &page, 0..=59, &mut |_| given += 1);
            let cut = read((7, 1), &page[..at], 0..=59, &mut |_| given += 1);
            page[at] ^= 1 << bit;
            let moved = read((8, 1), &page, 0..=59, &mut |_| given += 1);
            prop_assert!(flipped.is_err() && cut.is_err() && moved.is_err() && given == 0);
        }
    }
}
