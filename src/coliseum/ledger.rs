//! Every row and attendance up to one moment, for whoever has to look back: a passing minute, a late line-up, a board as
//! of a past time. What the last flush stored comes from one redb read transaction, what came since from slabs in
//! memory. Both are immutable, so that a [`Ledger`] inside a view goes on telling of exactly the entries of that view.
//!
//! A ledger pins the redb pages of its transaction; views are short-lived, and with them what they pin.

use std::sync::Arc;

use redb::ReadTransaction;

use super::artists::ArtistNo;
use super::events::{Attendance, EventNo};
use super::minutes::{OpenRows, Row, Sums, between, merge_rows};
use super::pages;
use super::tables::{ATTENDANCES, DAYS, HOURS, Key, META, META_FLUSHES, Reader, Writer, counter, failed};
use crate::projection::StoreError;
use crate::units::{Decimal, MINUTES_PER_DAY, Seq, Timestamp};

const MINUTES_PER_HOUR: i64 = 60;

/// Rows and attendances that are not in the tables yet; nothing is ever added to a slab.
#[derive(Default)]
pub(super) struct Slab {
    /// By minute and artist.
    pub rows: Vec<Row>,
    /// By event and seq.
    pub attendances: Vec<Attendance>,
}

impl Slab {
    fn len(&self) -> usize {
        self.rows.len() + self.attendances.len()
    }
    /// One slab that holds what several hold.
    pub fn merged(slabs: &[Arc<Slab>]) -> Slab {
        let runs: Vec<&[Row]> = slabs.iter().map(|slab| slab.rows.as_slice()).collect();
        let mut attendances: Vec<Attendance> = slabs.iter().flat_map(|slab| slab.attendances.iter().cloned()).collect();
        attendances.sort_by_key(|attendance| (attendance.event, attendance.seq));
        Slab { rows: merge_rows(&runs), attendances }
    }
}

/// What was folded and is not known to be stored.
#[derive(Default)]
pub(super) struct Unflushed {
    pub rows: OpenRows,
    /// In the order of the log.
    pub attendances: Vec<Attendance>,
    sealed: Vec<Arc<Slab>>,
    /// Taken by a flush that may not be committed yet.
    in_flight: Vec<Arc<Slab>>,
    /// How many flushes were made, the one in flight included.
    flushes: u64,
}

impl Unflushed {
    pub fn after(flushes: u64) -> Unflushed {
        Unflushed { flushes, ..Unflushed::default() }
    }
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Closes what is open, so that it can be shared. Slabs double in size, so that there are few of them.
    fn seal(&mut self) {
        if self.rows.is_empty() && self.attendances.is_empty() {
            return;
        }
        let mut attendances = std::mem::take(&mut self.attendances);
        attendances.sort_by_key(|attendance| (attendance.event, attendance.seq));
        self.sealed.push(Arc::new(Slab { rows: self.rows.take_sorted(), attendances }));
        while let [.., before, last] = self.sealed.as_slice()
            && before.len() <= 2 * last.len()
        {
            let merged = Slab::merged(&self.sealed[self.sealed.len() - 2..]);
            self.sealed.truncate(self.sealed.len() - 2);
            self.sealed.push(Arc::new(merged));
        }
    }

    /// Takes everything for a flush, and keeps it at hand until that is seen to be committed.
    pub fn take_for_flush(&mut self) -> Vec<Arc<Slab>> {
        self.seal();
        let slabs = std::mem::take(&mut self.sealed);
        self.in_flight.clone_from(&slabs);
        self.flushes += 1;
        slabs
    }

    /// Everything up to now. `stored` is a transaction of this moment.
    pub fn ledger(&mut self, stored: Result<Arc<ReadTransaction>, StoreError>) -> Ledger {
        self.seal();
        let stored = stored.and_then(|stored| self.see(&stored).map(|()| stored));
        let stored = stored.map_err(|StoreError(problem)| problem);
        Ledger { stored, slabs: self.in_flight.iter().chain(&self.sealed).cloned().collect() }
    }

    /// The attendances of an event with `after < seq < before`, in order. Leaves open what is open: a line-up is no reason
    /// to sort the rows.
    pub fn attendances(
        &mut self,
        stored: Arc<ReadTransaction>,
        event: EventNo,
        after: Seq,
        before: Seq,
    ) -> Result<Vec<Attendance>, StoreError> {
        self.see(&stored)?;
        let ledger = Ledger { stored: Ok(stored), slabs: self.in_flight.iter().chain(&self.sealed).cloned().collect() };
        let mut found = ledger.attendances(event, after, before)?;
        let open = self.attendances.iter().filter(|attendance| attendance.event == event);
        found.extend(open.filter(|attendance| after < attendance.seq && attendance.seq < before).cloned());
        Ok(found)
    }

    /// Drops what a transaction of this moment holds.
    fn see(&mut self, stored: &ReadTransaction) -> Result<(), StoreError> {
        if !self.in_flight.is_empty() {
            let meta = stored.open_table(META).map_err(failed)?;
            if counter(&meta, META_FLUSHES)? == self.flushes {
                self.in_flight.clear();
            }
        }
        Ok(())
    }
}

/// Rows and attendances of one prefix of the log.
pub(super) struct Ledger {
    /// An error is kept until somebody needs the tables.
    stored: Result<Arc<ReadTransaction>, String>,
    slabs: Vec<Arc<Slab>>,
}

impl Ledger {
    /// What the tables do not hold.
    pub fn slabs(&self) -> &[Arc<Slab>] {
        &self.slabs
    }

    fn stored(&self) -> Result<&ReadTransaction, StoreError> {
        self.stored.as_deref().map_err(|problem| StoreError(problem.clone()))
    }

    /// Calls `each` for what every artist got between two minutes, both inclusive; an artist comes more than once.
    /// Whole days are read from the days' pages, the rest from the hours'.
    pub fn rows(&self, first: i64, last: i64, each: &mut impl FnMut(ArtistNo, &Sums)) -> Result<(), StoreError> {
        if first > last {
            return Ok(());
        }
        for slab in &self.slabs {
            between(&slab.rows, first, last).iter().for_each(|row| each(row.artist, &row.sums));
        }
        let first_day = -(-first).div_euclid(MINUTES_PER_DAY);
        let end_day = (last + 1).div_euclid(MINUTES_PER_DAY);
        if first_day >= end_day {
            return self.hours(first, last, each);
        }
        self.hours(first, first_day * MINUTES_PER_DAY - 1, each)?;
        let days = self.stored()?.open_table(DAYS).map_err(failed)?;
        for page in days.range((first_day, 0)..(end_day, 0)).map_err(failed)? {
            let (key, page) = page.map_err(failed)?;
            pages::read(key.value(), page.value(), 0..=0, &mut |(_, artist, sums)| each(artist, &sums))?;
        }
        self.hours(end_day * MINUTES_PER_DAY, last, each)
    }

    fn hours(&self, first: i64, last: i64, each: &mut impl FnMut(ArtistNo, &Sums)) -> Result<(), StoreError> {
        if first > last {
            return Ok(());
        }
        let hours = self.stored()?.open_table(HOURS).map_err(failed)?;
        let (first_hour, last_hour) = (first.div_euclid(MINUTES_PER_HOUR), last.div_euclid(MINUTES_PER_HOUR));
        for page in hours.range((first_hour, 0)..(last_hour + 1, 0)).map_err(failed)? {
            let (key, page) = page.map_err(failed)?;
            let start = key.value().0 * MINUTES_PER_HOUR;
            let parts = (first - start).max(0) as u8..=(last - start).min(MINUTES_PER_HOUR - 1) as u8;
            pages::read(key.value(), page.value(), parts, &mut |(_, artist, sums)| each(artist, &sums))?;
        }
        Ok(())
    }

    /// The attendances of an event with `after < seq < before`, in order.
    pub fn attendances(&self, event: EventNo, after: Seq, before: Seq) -> Result<Vec<Attendance>, StoreError> {
        let wanted = |attendance: &Attendance| after < attendance.seq && attendance.seq < before;
        let mut found = Vec::new();
        let table = self.stored()?.open_table(ATTENDANCES).map_err(failed)?;
        // A page is named by its first seq: the one that `after` falls into starts before it.
        let start = match table.range((event.get(), 0)..=(event.get(), after.get())).map_err(failed)?.next_back() {
            Some(page) => page.map_err(failed)?.0.value().1,
            None => 0,
        };
        for page in table.range((event.get(), start)..(event.get(), before.get())).map_err(failed)? {
            let (key, page) = page.map_err(failed)?;
            found.extend(decode_attendances(key.value(), page.value())?.into_iter().filter(wanted));
        }
        for slab in &self.slabs {
            let start = slab.attendances.partition_point(|attendance| attendance.event < event);
            let of_event = slab.attendances[start..].iter().take_while(|attendance| attendance.event == event);
            found.extend(of_event.filter(|attendance| wanted(attendance)).cloned());
        }
        found.sort_by_key(|attendance| attendance.seq);
        Ok(found)
    }
}

/// Packs the attendances of one event; `key` is `(event, first seq)`.
pub(super) fn encode_attendances(key: (u32, u64), attendances: &[Attendance]) -> Vec<u8> {
    let mut page = Writer::value();
    for attendance in attendances {
        let multiplier = attendance.multiplier.normalized();
        page.put((attendance.seq.get(), attendance.at.micros(), multiplier.mantissa(), multiplier.scale()));
        page.put(attendance.artists.iter().map(|artist| artist.get()).collect::<Vec<u32>>());
        page.put((attendance.user, attendance.city));
    }
    page.into_value(Key::Pair(i64::from(key.0), key.1))
}

fn decode_attendances(key: (u32, u64), page: &[u8]) -> Result<Vec<Attendance>, StoreError> {
    let mut page = Reader::value(page, Key::Pair(i64::from(key.0), key.1), "page of attendances")?;
    let mut attendances = Vec::new();
    while !page.is_empty() {
        let (seq, at, mantissa, scale): (u64, i64, i128, u32) = page.take()?;
        let artists: Vec<u32> = page.take()?;
        let (user, city): (u32, Option<u32>) = page.take()?;
        attendances.push(Attendance {
            event: EventNo::new(key.0),
            seq: Seq::new(seq),
            at: Timestamp::from_micros(at),
            multiplier: Decimal::new(mantissa, scale),
            artists: artists.into_iter().map(ArtistNo::new).collect(),
            user,
            city,
        });
    }
    Ok(attendances)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coliseum::{flush, tables};
    use crate::units::Minute;
    use proptest::prelude::*;
    use redb::ReadableDatabase;
    use redb::backends::InMemoryBackend;

    /// Minutes close to the edges of hours and days, on both sides of 1970.
    fn minute() -> impl Strategy<Value = i64> {
        (-3i64..3, prop::sample::select(vec![0, 60, 720, 1380]), -2i64..2)
            .prop_map(|(day, hour, off)| day * 1440 + hour + off)
    }

    proptest! {
        #[test]
        fn any_range_of_minutes_is_read_exactly(
            rows in prop::collection::vec((minute(), 0u32..4, -5i128..5), 1..120),
            flush_every in 1usize..40,
            ranges in prop::collection::vec((minute(), minute()), 1..30),
        ) {
            let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
            tables::create(&database).expect("in memory");
            let mut unflushed = Unflushed::default();
            for (index, (minute, artist, sum)) in rows.iter().enumerate() {
                unflushed.rows.add(Minute::new(*minute), ArtistNo::new(*artist), &[*sum, 0, 1, 0]);
                if index % flush_every == flush_every - 1 {
                    let transaction = database.begin_write().expect("in memory");
                    let slab = Slab::merged(&unflushed.take_for_flush());
                    flush::write_rows(&transaction, unflushed.flushes(), &slab.rows).expect("writes");
                    let mut meta = transaction.open_table(META).expect("made above");
                    tables::put(&mut meta, META_FLUSHES, unflushed.flushes()).expect("writes");
                    drop(meta);
                    transaction.commit().expect("in memory");
                }
            }
            let ledger = unflushed.ledger(database.begin_read().map(Arc::new).map_err(failed));
            for (first, last) in ranges {
                let mut found = [[0i128; 2]; 4];
                ledger.rows(first, last, &mut |artist, sums| {
                    found[artist.index()][0] += sums[0];
                    found[artist.index()][1] += sums[2];
                }).expect("readable");
                let mut expected = [[0i128; 2]; 4];
                for (_, artist, sum) in rows.iter().filter(|row| first <= row.0 && row.0 <= last) {
                    expected[*artist as usize][0] += sum;
                    expected[*artist as usize][1] += 1;
                }
                prop_assert_eq!(found, expected, "{}..={}", first, last);
            }
        }
    }
}
