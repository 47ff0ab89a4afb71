//! Both forms of the index against a plain list of entries.

mod damage;
mod size;

use std::io;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::query::{envelope_matches, subject_matches};
use super::*;
use crate::disk::{Disk, DiskFile, RealDisk};
use crate::passport::{Entry, EntryFilter, Envelope};

const KEY: TermKey = TermKey::new([7; 16]);
const FIRST: Seq = Seq::new(1001);
const DIGEST: [u8; 16] = [9; 16];
const ATTENDED: &str = "concierto.event_attended";

/// An entry as a test writes it down.
#[derive(Clone, Debug)]
struct Row {
    user: String,
    event_type: &'static str,
    entity: Option<(&'static str, String)>,
    artists: Vec<String>,
    source: &'static str,
    at: i64,
}

impl Row {
    fn terms(&self) -> Terms<'_> {
        Terms {
            user_id: &self.user,
            event_type: self.event_type,
            entity: self.entity.as_ref().map(|(kind, id)| (*kind, id.as_str())),
            source: self.source,
            at: Timestamp::from_micros(self.at),
        }
    }

    fn artists(&self) -> impl Iterator<Item = &str> {
        self.artists.iter().map(String::as_str)
    }

    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            received_at_micros: 0,
            at_micros: self.at,
            at_corrected: false,
            event_type: self.event_type,
            message_id: "m",
            user_id: &self.user,
            session_id: None,
            device_id: None,
            source: self.source,
            payload: "{}",
        }
    }

    /// The filter's rules, one after the other, by the contract's words.
    fn passes(&self, filter: &EntryFilter) -> bool {
        let category = self.event_type.split_once('.').map_or(self.event_type, |(category, _)| category);
        let mut passes = true;
        if let Some(user) = &filter.user_id {
            passes &= self.user == *user;
        }
        if let Some(event_type) = &filter.event_type {
            passes &= self.event_type == event_type;
        }
        if let Some(wanted) = &filter.category {
            passes &= category == wanted;
        }
        if let Some(entity_type) = &filter.entity_type {
            passes &= matches!(&self.entity, Some((kind, _)) if kind == entity_type);
        }
        if let Some(entity_id) = &filter.entity_id {
            passes &= matches!(&self.entity, Some((_, id)) if id == entity_id);
        }
        if let Some(artist) = &filter.artist_id {
            let of_line_up = self.event_type == ATTENDED
                && matches!(&self.entity, Some((_, id)) if filter.or_attended_event_ids.contains(id));
            passes &= self.artists.contains(artist) || of_line_up;
        }
        if let Some(source) = &filter.source {
            passes &= self.source == source;
        }
        if let Some(from) = filter.from {
            passes &= self.at >= from.micros();
        }
        if let Some(to) = filter.to {
            passes &= self.at < to.micros();
        }
        passes
    }
}

/// A file in memory.
struct Bytes(Vec<u8>);

impl DiskFile for Bytes {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = offset as usize;
        let bytes = self.0.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }
}

fn build(rows: &[Row]) -> SegmentIndexBuilder {
    let mut builder = SegmentIndexBuilder::new(FIRST, KEY);
    for row in rows {
        builder.add(&row.terms(), row.artists());
    }
    builder
}

fn open(bytes: Vec<u8>, count: u32) -> Result<SegmentIndex, IndexError> {
    let segment = SegmentId { first_seq: FIRST, count, digest: DIGEST };
    SegmentIndex::open_file(Arc::new(Bytes(bytes)), "test.idx".to_owned(), &segment)
}

/// A row from a few random bits, so that a failing case shrinks; `place` moves its time on.
fn row(place: usize, bits: u64) -> Row {
    const TYPES: [&str; 6] = [
        ATTENDED,
        "concierto.event_scheduled",
        "coliseum.vote_cast",
        "player.track_played",
        "social.follow",
        "unknown.thing",
    ];
    let pick = |shift: u32, of: u64| (bits >> shift) % of;
    let event_type = TYPES[pick(0, 6) as usize];
    // Ids are shared between the types of entity on purpose.
    let id = pick(8, 5).to_string();
    let entity = match event_type {
        ATTENDED | "concierto.event_scheduled" => Some(("event", id)),
        "coliseum.vote_cast" => Some(("artist", id)),
        "player.track_played" => Some(("track", id)),
        "social.follow" => Some((["user", "venue"][pick(16, 2) as usize], id)),
        _ => None,
    };
    let artists = (0..pick(20, 4)).map(|n| (pick(24 + 4 * n as u32, 6)).to_string()).collect();
    Row {
        user: pick(40, 20).to_string(),
        event_type,
        entity,
        artists,
        source: ["api", "import", "segment"][pick(48, 3) as usize],
        at: place as i64 * 10 + pick(52, 3000) as i64 - 1500,
    }
}

fn any_rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(any::<u64>(), 0..most)
        .prop_map(|bits| bits.into_iter().enumerate().map(|(place, bits)| row(place, bits)).collect())
}

fn any_filter() -> impl Strategy<Value = EntryFilter> {
    fn word(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
        prop::option::weighted(0.2, prop::sample::select(words).prop_map(str::to_owned))
    }
    let at = || prop::option::weighted(0.2, (-2000i64..40_000).prop_map(Timestamp::from_micros));
    (
        word(&["0", "1", "7", "nobody"]),
        word(&[ATTENDED, "coliseum.vote_cast", "player.track_played", "social.follow", "no.such"]),
        word(&["concierto", "coliseum", "social", "unknown", "no"]),
        word(&["artist", "user", "event", "venue", "track", "planet"]),
        word(&["0", "1", "4", "9"]),
        prop::option::of(prop::sample::select(&["0", "3", "5", "9"][..]).prop_map(str::to_owned)),
        prop::collection::vec(prop::sample::select(&["0", "2", "4", "9"][..]).prop_map(str::to_owned), 0..3),
        word(&["api", "import", "none"]),
        (at(), at()),
    )
        .prop_map(
            |(user_id, event_type, category, entity_type, entity_id, artist_id, events, source, (from, to))| {
                let or_attended_event_ids = events;
                EntryFilter {
                    user_id,
                    event_type,
                    category,
                    entity_type,
                    entity_id,
                    artist_id,
                    or_attended_event_ids,
                    source,
                    from,
                    to,
                }
            },
        )
}

/// Where a query starts; past its end too.
fn low() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0u32..3600]
}

fn high() -> impl Strategy<Value = u32> {
    prop_oneof![Just(u32::MAX), 0u32..3600]
}

/// Holds the candidates against the list: none missing, and none too many but for the blocks of time.
fn check(rows: &[Row], filter: &EntryFilter, low: u32, high: u32, found: &RoaringBitmap) -> Result<(), TestCaseError> {
    let timeless = EntryFilter { from: None, to: None, ..filter.clone() };
    let block_meets = |block: &[Row]| {
        let earliest = block.iter().map(|row| row.at).min();
        let latest = block.iter().map(|row| row.at).max();
        filter.from.is_none_or(|from| Some(from.micros()) <= latest)
            && filter.to.is_none_or(|to| Some(to.micros()) > earliest)
    };
    let blocks: Vec<bool> = rows.chunks(AT_BLOCK_ENTRIES as usize).map(block_meets).collect();
    for (id, row) in (0u32..).zip(rows) {
        let inside = (low..=high).contains(&id);
        let expected = inside && blocks[(id / AT_BLOCK_ENTRIES) as usize] && row.passes(&timeless);
        prop_assert_eq!(found.contains(id), expected, "entry {} {:?}", id, row);
        prop_assert!(expected || !inside || !row.passes(filter), "entry {} is missing", id);
    }
    prop_assert!(found.max().is_none_or(|id| (id as usize) < rows.len()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn live_and_file_name_what_a_plain_search_finds(
        rows in any_rows(3500),
        filters in prop::collection::vec((any_filter(), low(), high()), 8),
    ) {
        let live = build(&rows);
        let sealed = open(live.encode(DIGEST), rows.len() as u32).expect("a whole file opens");
        sealed.verify().expect("a whole file is sound");
        for (filter, low, high) in &filters {
            let Ok(found) = candidates(&live, filter, *low, *high);
            check(&rows, filter, *low, *high, &found)?;
            let from_file = candidates(&sealed, filter, *low, *high).expect("a whole file answers");
            prop_assert_eq!(&from_file, &found);
        }
    }

    #[test]
    fn the_live_index_answers_after_every_entry(rows in any_rows(60), filter in any_filter()) {
        let mut live = SegmentIndexBuilder::new(FIRST, KEY);
        for count in 0..rows.len() {
            live.add(&rows[count].terms(), rows[count].artists());
            let Ok(found) = candidates(&live, &filter, 0, u32::MAX);
            check(&rows[..=count], &filter, 0, u32::MAX, &found)?;
        }
    }

    #[test]
    fn the_exact_test_says_what_a_plain_search_says(rows in any_rows(50), filter in any_filter()) {
        for row in &rows {
            let terms = row.terms();
            let passes = envelope_matches(&row.envelope(), &filter)
                && subject_matches(row.event_type, terms.entity, row.artists(), &filter);
            prop_assert_eq!(passes, row.passes(&filter), "{:?}", row);
        }
    }
}

/// Entries with many users, so that a field has several blocks, and their file.
fn sample() -> &'static (Vec<Row>, Vec<u8>) {
    static SAMPLE: OnceLock<(Vec<Row>, Vec<u8>)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let mut random = Random(1);
        let rows: Vec<Row> =
            (0..1500).map(|place| Row { user: format!("user-{place}"), ..row(place, random.next()) }).collect();
        let bytes = build(&rows).encode(DIGEST);
        (rows, bytes)
    })
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// Evenly from 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Payloads of every way to have an entity and artists.
const PAYLOADS: [(&str, &str); 8] = [
    (ATTENDED, r#"{"eventId":"e1","city":"Oslo","artistIds":["a1","a2"]}"#),
    (ATTENDED, r#"{"eventId":"e2","city":"Oslo"}"#),
    ("treasury.money_spent", r#"{"amountCents":100}"#),
    ("social.follow", r#"{"targetId":"a1","targetType":"artist"}"#),
    ("social.follow", r#"{"targetId":"a1","targetType":"venue"}"#),
    ("game.level_won", r#"{"artistId":"a1","artistIds":["a3"]}"#),
    ("concierto.event_scheduled", r#"{"eventId":"e2","artistIds":["a4"]}"#),
    // What erasure leaves: no field that its type needs.
    ("coliseum.vote_cast", "{}"),
];

#[test]
fn stored_entries_are_found_by_what_their_payloads_say() {
    let mut live = SegmentIndexBuilder::new(FIRST, KEY);
    let any = row(0, 0);
    let entries: Vec<Entry<'_>> = (FIRST.get()..)
        .zip(PAYLOADS)
        .map(|(seq, (event_type, payload))| {
            let envelope = Envelope { event_type, payload, user_id: "u1", ..any.envelope() };
            Entry { seq: Seq::new(seq), envelope }
        })
        .collect();
    entries.iter().for_each(|entry| live.add_entry(entry));
    let some = |text: &str| Some(text.to_owned());
    let all = EntryFilter::default;
    for (filter, expected) in [
        (all(), vec![0, 1, 2, 3, 4, 5, 6, 7]),
        (EntryFilter { category: some("treasury"), ..all() }, vec![2]),
        (EntryFilter { entity_type: some("event"), ..all() }, vec![0, 1, 6]),
        (EntryFilter { entity_type: some("user"), entity_id: some("u1"), ..all() }, vec![2]),
        (EntryFilter { entity_id: some("a1"), ..all() }, vec![3, 4]),
        (EntryFilter { entity_id: some("a1"), entity_type: some("artist"), ..all() }, vec![3]),
        (EntryFilter { artist_id: some("a1"), ..all() }, vec![0, 3, 5]),
        (EntryFilter { artist_id: some("a3"), ..all() }, vec![5]),
        (EntryFilter { artist_id: some("a3"), or_attended_event_ids: vec!["e2".to_owned()], ..all() }, vec![1, 5]),
    ] {
        let Ok(found) = candidates(&live, &filter, 0, u32::MAX);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        let exact: Vec<u32> =
            (0u32..).zip(&entries).filter(|(_, entry)| matches(entry, &filter)).map(|(id, _)| id).collect();
        assert_eq!(exact, expected, "{filter:?}");
    }
}

#[test]
#[should_panic(expected = "without a gap")]
fn an_entry_out_of_turn_is_refused() {
    let row = row(0, 0);
    SegmentIndexBuilder::new(FIRST, KEY).add_entry(&Entry { seq: FIRST.next(), envelope: row.envelope() });
}

#[test]
fn an_empty_segment_has_an_index_without_entries() {
    let live = build(&[]);
    let index = open(live.encode(DIGEST), 0).expect("opens");
    index.verify().expect("sound");
    assert_eq!(index.at_range(), None);
    for filter in [EntryFilter::default(), EntryFilter { user_id: Some("u".to_owned()), ..EntryFilter::default() }] {
        assert!(candidates(&index, &filter, 0, u32::MAX).expect("answers").is_empty());
        let Ok(found) = candidates(&live, &filter, 0, u32::MAX);
        assert!(found.is_empty());
    }
}

#[test]
fn a_written_index_opens_and_replaces_what_was_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let (rows, _) = sample();
    let segment = |count| SegmentId { first_seq: FIRST, count, digest: DIGEST };
    assert!(matches!(SegmentIndex::open(&RealDisk, dir.path(), &segment(0)), Err(IndexError::Missing { .. })));
    std::fs::write(dir.path().join("00000000000000001001.idx.tmp"), "left by a crash").expect("written");
    for count in [10, rows.len()] {
        write(&RealDisk, dir.path(), &build(&rows[..count]), DIGEST).expect("written");
        let index = SegmentIndex::open(&RealDisk, dir.path(), &segment(count as u32)).expect("opens");
        index.verify().expect("sound");
        let names: Vec<_> = RealDisk.list(dir.path()).expect("listed").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["00000000000000001001.idx"]);
    }
}

#[test]
fn a_block_of_time_outside_the_range_is_skipped() {
    let rows: Vec<Row> = (0..5000).map(|place| Row { at: place as i64, ..row(place, 0) }).collect();
    let index = open(build(&rows).encode(DIGEST), 5000).expect("opens");
    let range = AtRange { min: Timestamp::from_micros(0), max: Timestamp::from_micros(4999) };
    assert_eq!(index.at_range(), Some(range));
    let of = |from, to| {
        let (from, to) = (Some(Timestamp::from_micros(from)), Some(Timestamp::from_micros(to)));
        let filter = EntryFilter { from, to, ..EntryFilter::default() };
        let found = candidates(&index, &filter, 0, u32::MAX).expect("answers");
        (found.min(), found.max(), found.len())
    };
    assert_eq!(of(2047, 2048), (Some(1024), Some(2047), 1024));
    assert_eq!(of(2047, 2049), (Some(1024), Some(3071), 2048));
    assert_eq!(of(5000, 9000), (None, None, 0));
    assert_eq!(of(-5, 0), (None, None, 0));
}
