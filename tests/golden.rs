//! The log's format on disk, byte by byte, read and written by this file alone: none of the daemon's own layouts is
//! used here. A log of today has to open for ever, so a failure here means a new version byte and not a new golden.
//!
//! Ids and fingerprints in a log are random, so there is no golden file: records are compared whole, what stands around
//! them field by field at its fixed offset, and a log that was laid out here by hand has to open.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use coliseum::capture::{Arrival, Candidate};
use coliseum::clock::ManualClock;
use coliseum::passport::keys::RECENT_KEYS;
use coliseum::passport::record;
use coliseum::passport::{Durability, EntrySource, Envelope, Group, OpenError, Outcome, Passport, PassportOptions};
use coliseum::units::{Seq, Timestamp};
use coliseum::world::World;
use proptest::prelude::*;
use tempfile::TempDir;
use wincode::config::Configuration;

const SEGMENT_BYTES: u64 = 64 * 1024;
/// Offset of the first batch in a segment.
const FIRST_BATCH: usize = 4096;
const BATCH_HEADER: usize = 64;
const SEALED_TRAILER: usize = 104;
/// 2026-05-01T20:15:00.250Z
const RECEIVED_AT: i64 = 1_777_666_500_250_000;

/// An event with every optional field, and times on both sides of 1970.
const FULL: Envelope<'static> = Envelope {
    received_at_micros: RECEIVED_AT,
    at_micros: -1,
    at_corrected: true,
    event_type: "social.share",
    message_id: "m-1",
    user_id: "ana",
    session_id: Some("s"),
    device_id: None,
    source: "api",
    payload: r#"{"a":"ü"}"#,
};

/// The record of [`FULL`] in version 1, as older logs hold it: whole numbers as bincode's varints (signed ones in zigzag),
/// lengths before texts, one byte for "there is one".
fn record_1() -> Vec<u8> {
    [
        b"\x01".as_slice(),                      // version of the record
        b"\xfd\x20\x93\x8d\x78\x8e\xa1\x0c\x00", // receivedAt: 8 bytes follow, little-endian
        b"\x01",                                 // at: one microsecond before 1970
        b"\x01",                                 // atCorrected
        b"\x0csocial.share\x03m-1\x03ana",       // type, messageId, userId
        b"\x01\x01s\x00",                        // sessionId, and no deviceId
        b"\x03api",                              // source
        b"\x0a{\"a\":\"\xc3\xbc\"}",             // payload, as it came
    ]
    .concat()
}

/// The same event in version 2, where nothing of it lies in its payload: one byte more for each text, and for the time.
fn full_record() -> Vec<u8> {
    [
        b"\x02".as_slice(),                            // version of the record
        b"\xfd\x20\x93\x8d\x78\x8e\xa1\x0c\x00",       // receivedAt
        b"\x00\x01",                                   // at: itself, one microsecond before 1970
        b"\x01",                                       // atCorrected
        b"\x00\x0csocial.share\x00\x03m-1\x00\x03ana", // type, messageId, userId: each itself
        b"\x01\x00\x01s\x00",                          // sessionId, and no deviceId
        b"\x00\x03api",                                // source
        b"\x0a{\"a\":\"\xc3\xbc\"}",                   // payload, as it came
    ]
    .concat()
}

/// What `wincode` reads in version 2: the fields in their order. A text is itself or its place in the payload.
type Text<'a> = Result<&'a str, (u32, u32)>;
type At = Result<i64, (u32, u32)>;
type Fields<'a> = (i64, At, bool, Text<'a>, Text<'a>, Text<'a>, Option<Text<'a>>, Option<Text<'a>>, Text<'a>, &'a str);

fn fields<'a>(envelope: &Envelope<'a>) -> Fields<'a> {
    (
        envelope.received_at_micros,
        Ok(envelope.at_micros),
        envelope.at_corrected,
        Ok(envelope.event_type),
        Ok(envelope.message_id),
        Ok(envelope.user_id),
        envelope.session_id.map(Ok),
        envelope.device_id.map(Ok),
        Ok(envelope.source),
        envelope.payload,
    )
}

fn encoded(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::encode(envelope, None, &mut bytes);
    bytes
}

/// The way out of bincode: another library reads the record and writes the same bytes.
fn assert_wincode_agrees(bytes: &[u8], fields: &Fields<'_>) {
    let config = Configuration::default().with_varint_encoding();
    let read: Fields<'_> = wincode::config::deserialize_exact(&bytes[1..], config).expect("wincode reads it whole");
    assert_eq!(read, *fields);
    assert_eq!(wincode::config::serialize(fields, config).expect("wincode writes it"), bytes[1..]);
}

/// An event whose fields are parts of its text, as those that come in are.
fn said_by_its_text() -> (Envelope<'static>, &'static str) {
    const TEXT: &str = r#"{"type":"social.share","userId":"ana","messageId":"m-1","at":"2026-05-01T20:15:00.25Z"}"#;
    let envelope = Envelope {
        received_at_micros: 1,
        at_micros: RECEIVED_AT,
        at_corrected: false,
        event_type: &TEXT[9..21],
        message_id: &TEXT[51..54],
        user_id: &TEXT[33..36],
        session_id: None,
        device_id: None,
        source: "api",
        payload: TEXT,
    };
    (envelope, &TEXT[62..85])
}

fn event<'a>(message_id: &'a str, payload: &'a str) -> Envelope<'a> {
    Envelope { message_id, payload, session_id: None, at_micros: RECEIVED_AT, ..FULL }
}

#[test]
fn a_record_has_these_bytes() {
    assert_eq!(encoded(&FULL), full_record());
    assert_eq!(record::decode(&full_record()), Ok(FULL));
}

#[test]
fn a_record_of_version_1_is_read() {
    assert_eq!(record::decode(&record_1()), Ok(FULL));
}

#[test]
fn what_the_payload_says_is_kept_as_its_place() {
    let (envelope, at_text) = said_by_its_text();
    let mut bytes = Vec::new();
    record::encode(&envelope, Some(at_text), &mut bytes);
    let golden = [
        b"\x02\x02".as_slice(),                          // version of the record, receivedAt
        b"\x01\x3e\x17\x00",                             // at: in the payload, offset and length; not corrected
        b"\x01\x09\x0c\x01\x33\x03\x01\x21\x03\x00\x00", // type, messageId, userId; no sessionId, no deviceId
        b"\x00\x03api\x57",                              // source, and the length of the payload
        envelope.payload.as_bytes(),
    ];
    assert_eq!(bytes, golden.concat());
    assert_eq!(record::decode(&bytes), Ok(envelope));
    let places = (1, Err((62, 23)), false, Err((9, 12)), Err((51, 3)), Err((33, 3)), None, None);
    let (a, b, c, d, e, f, g, h) = places;
    assert_wincode_agrees(&bytes, &(a, b, c, d, e, f, g, h, Ok("api"), envelope.payload));
}

#[test]
fn a_place_that_the_payload_does_not_have_is_an_error() {
    let (envelope, at_text) = said_by_its_text();
    let mut bytes = Vec::new();
    record::encode(&envelope, Some(at_text), &mut bytes);
    let with = |at: usize, byte: u8| {
        let mut bad = bytes.clone();
        bad[at] = byte;
        record::decode(&bad).expect_err("no such record").to_string()
    };
    assert_eq!(with(7, 80), "record names bytes 80 to 92 of its payload, where there is no such text");
    assert_eq!(with(3, 61), "record does not decode: the place of its time holds no time");
    let mut inside_a_character = full_record();
    inside_a_character.splice(13..27, *b"\x01\x06\x01");
    assert_eq!(
        record::decode(&inside_a_character).expect_err("half a letter").to_string(),
        "record names bytes 6 to 7 of its payload, where there is no such text"
    );
}

#[test]
fn a_long_text_has_its_length_in_three_bytes() {
    let payload = "x".repeat(300);
    let bytes = encoded(&event("m", &payload));
    let tail = [b"\x00\x03api\xfb\x2c\x01".as_slice(), payload.as_bytes()].concat();
    assert!(bytes.ends_with(&tail));
}

#[test]
fn wincode_reads_the_golden_record() {
    assert_wincode_agrees(&full_record(), &fields(&FULL));
}

proptest! {
    // A failure prints the fields that it comes from; there is no file of seeds for tests outside of `src/`.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wincode_reads_and_writes_every_record_byte_for_byte(
        received_at_micros: i64,
        at_micros: i64,
        at_corrected: bool,
        texts in prop::array::uniform5(".{0,20}"),
        session_id in prop::option::of(".{0,20}"),
        device_id in prop::option::of(".{0,20}"),
        payload_bytes in 0..3000_usize,
    ) {
        let payload = "p".repeat(payload_bytes);
        let envelope = Envelope {
            received_at_micros,
            at_micros,
            at_corrected,
            event_type: &texts[0],
            message_id: &texts[1],
            user_id: &texts[2],
            session_id: session_id.as_deref(),
            device_id: device_id.as_deref(),
            source: &texts[3],
            payload: &payload,
        };
        assert_wincode_agrees(&encoded(&envelope), &fields(&envelope));
    }
}

#[test]
fn a_raw_segment_has_these_bytes() {
    let dir = TempDir::new().expect("a directory");
    let passport = open(dir.path()).expect("a new log");
    let log_id = passport.log_id();
    append(&passport, &[FULL, event("m-2", "{}")]);
    append(&passport, &[event("m-3", "{}")]);
    passport.close();

    let id_file = fs::read(dir.path().join("log.id")).expect("the log's id");
    assert_eq!(id_file, id_file_bytes(log_id));

    let file = fs::read(dir.path().join("00000000000000000001.seg")).expect("the first segment");
    assert_eq!(file.len() as u64, SEGMENT_BYTES);
    let segment_id = u64_at(&file, 32);
    assert_eq!(file[..FIRST_BATCH], segment_header(log_id, segment_id, 1, 0, 0));

    let first = batch(segment_id, FIRST_BATCH, 1, u32_at(&file, 68), &[full_record(), encoded(&event("m-2", "{}"))]);
    let second_at = FIRST_BATCH + first.len();
    assert_eq!(file[FIRST_BATCH..second_at], first);
    let second = batch(segment_id, second_at, 3, u32_at(&first, 52), &[encoded(&event("m-3", "{}"))]);
    let end = second_at + second.len();
    assert_eq!(file[second_at..end], second);
    assert!(file[end..].iter().all(|byte| *byte == 0), "zeros follow the last batch");
}

#[test]
fn an_event_that_comes_in_says_each_thing_once_in_the_log() {
    let dir = TempDir::new().expect("a directory");
    let passport = open(dir.path()).expect("a new log");
    let text = r#" {"type":"social.follow","userId":"fan-1","at":"2026-05-01T20:15:00Z","messageId":"key-1","targetId":"a1",
        "targetType":"artist","sessionId":"visit-1","deviceId":"phone-1"} "#;
    let received_at = Timestamp::from_micros(RECEIVED_AT);
    let arrival = Arrival { received_at, at_ahead_seconds: 0, source: "api" };
    let mut group = Group::new(false);
    Candidate::new(text, None, None, &arrival).expect("a good event").push(&mut group);
    passport.appender().append_blocking(group).expect("the log takes writes");
    passport.close();
    let file = fs::read(dir.path().join("00000000000000000001.seg")).expect("the first segment");
    for said in ["social.follow", "fan-1", "key-1", "visit-1", "phone-1"] {
        assert_eq!(file.windows(said.len()).filter(|bytes| *bytes == said.as_bytes()).count(), 1, "{said}");
    }
    let at = u32_at(&file, FIRST_BATCH + BATCH_HEADER) as usize;
    let record = &file[FIRST_BATCH + BATCH_HEADER + 4..][..at];
    assert_eq!(record[10], 1, "at is in the payload");
    let envelope = record::decode(record).expect("a record");
    assert_eq!((envelope.at_micros, envelope.message_id), (RECEIVED_AT - 250_000, "key-1"));
    assert_eq!((envelope.session_id, envelope.payload), (Some("visit-1"), text.trim()));
}

#[test]
fn a_log_laid_out_by_hand_opens_and_knows_its_keys() {
    let dir = TempDir::new().expect("a directory");
    let (log_id, segment_id) = (*b"sixteen bytes id", 0x0123_4567_89ab_cdef);
    let mut file = segment_header(log_id, segment_id, 1, 0, 0);
    let first = batch(segment_id, FIRST_BATCH, 1, u32_at(&file, 68), &[record_1()]);
    let two = [encoded(&event("m-2", "{}")), encoded(&event("m-3", "{}"))];
    let second = batch(segment_id, FIRST_BATCH + first.len(), 2, u32_at(&first, 52), &two);
    file.extend([first, second].concat());
    file.resize(SEGMENT_BYTES as usize, 0);
    fs::write(dir.path().join("log.id"), id_file_bytes(log_id)).expect("written");
    fs::write(dir.path().join("00000000000000000001.seg"), file).expect("written");

    let passport = open(dir.path()).expect("a log of version 1 opens");
    assert!(passport.torn_tail().is_none());
    let mut found = Vec::new();
    let last = passport.log().scan(Seq::ZERO, &mut |entry| {
        found.push((entry.seq.get(), entry.envelope.message_id.to_owned()));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(last.expect("readable"), Seq::new(3));
    assert_eq!(found, [(1, "m-1".into()), (2, "m-2".into()), (3, "m-3".into())]);
    assert!(passport.log().get(Seq::new(1), &mut |entry| assert_eq!(entry.envelope, FULL)).expect("readable"));
    assert_eq!(
        append(&passport, &[FULL, event("m-4", "{}")]),
        [Outcome::Duplicate(Seq::new(1)), Outcome::Stored(Seq::new(4))]
    );
}

#[test]
fn a_sealed_segment_has_these_bytes_and_the_next_one_names_it() {
    let dir = TempDir::new().expect("a directory");
    let passport = open(dir.path()).expect("a new log");
    let log_id = passport.log_id();
    let payload = format!("{{\"text\":\"{}\"}}", "y".repeat(8000));
    let mut records = Vec::new();
    while !dir.path().join("00000000000000000001.segz").exists() {
        let message_id = format!("m-{}", records.len());
        append(&passport, &[event(&message_id, &payload)]);
        records.push(encoded(&event(&message_id, &payload)));
        assert!(records.len() < 10_000, "a full segment is sealed");
    }
    passport.close();

    let file = fs::read(dir.path().join("00000000000000000001.segz")).expect("the sealed segment");
    let trailer = &file[file.len() - SEALED_TRAILER..];
    assert_eq!(trailer[..8], *b"CLMSEALD");
    assert_eq!((u32_at(trailer, 8), u32_at(trailer, 12)), (1, 0), "version, zero");
    assert_eq!(trailer[16..32], log_id);
    let (segment_id, last_seq, last_checksum) = (u64_at(trailer, 32), u64_at(trailer, 48), u32_at(trailer, 68));
    assert_eq!((u64_at(trailer, 40), u64_at(trailer, 56), u32_at(trailer, 64)), (1, 0, 0), "nothing came before it");
    assert_eq!((u64_at(trailer, 88), u64_at(trailer, 96) as u32), (file.len() as u64, 0), "length, zero");
    assert_eq!(u32_at(trailer, 100), crc32(&trailer[..100]));
    let (table_at, table_bytes) = (u64_at(trailer, 72) as usize, u32_at(trailer, 80) as usize);
    assert_eq!(table_at + table_bytes + SEALED_TRAILER, file.len());
    let table = &file[table_at..table_at + table_bytes];
    assert_eq!(u32_at(trailer, 84), crc32(table));
    assert_eq!(sealed_records(&file, table, last_seq), records[..last_seq as usize]);

    // The next segment, sealed by now or not, carries the id and the last checksum of this one.
    let next = dir.path().join(format!("{:020}", last_seq + 1));
    match fs::read(next.with_extension("seg")) {
        Ok(raw) => {
            assert_eq!(
                raw[..FIRST_BATCH],
                segment_header(log_id, u64_at(&raw, 32), last_seq + 1, segment_id, last_checksum)
            );
        }
        Err(_) => {
            let sealed = fs::read(next.with_extension("segz")).expect("the next segment");
            let trailer = &sealed[sealed.len() - SEALED_TRAILER..];
            assert_eq!((u64_at(trailer, 56), u32_at(trailer, 64)), (segment_id, last_checksum));
        }
    }
}

#[test]
fn another_version_of_a_segment_is_refused_and_not_guessed_at() {
    let dir = TempDir::new().expect("a directory");
    let (log_id, segment_id) = (*b"sixteen bytes id", 7);
    let mut file = segment_header(log_id, segment_id, 1, 0, 0);
    file[8] = 2;
    let checksum = crc32(&file[..68]);
    file[68..72].copy_from_slice(&checksum.to_le_bytes());
    file.resize(SEGMENT_BYTES as usize, 0);
    let path = dir.path().join("00000000000000000001.seg");
    fs::write(dir.path().join("log.id"), id_file_bytes(log_id)).expect("written");
    fs::write(&path, &file).expect("written");

    let message = open(dir.path()).err().expect("refused").to_string();
    assert!(message.contains("00000000000000000001.seg") && message.contains("version 2"), "{message}");
    assert_eq!(fs::read(&path).expect("still there"), file, "nothing was changed");
}

#[test]
fn a_record_of_another_version_is_an_error_and_no_entry() {
    let dir = TempDir::new().expect("a directory");
    let (log_id, segment_id) = (*b"sixteen bytes id", 7);
    let mut newer = full_record();
    newer[0] = 3;
    let mut file = segment_header(log_id, segment_id, 1, 0, 0);
    file.extend(batch(segment_id, FIRST_BATCH, 1, u32_at(&file, 68), &[newer]));
    file.resize(SEGMENT_BYTES as usize, 0);
    fs::write(dir.path().join("log.id"), id_file_bytes(log_id)).expect("written");
    fs::write(dir.path().join("00000000000000000001.seg"), file).expect("written");

    let message = open(dir.path()).err().expect("refused").to_string();
    assert!(message.contains("seq 1: record version 3, this build reads 1 and 2"), "{message}");
}

fn open(dir: &Path) -> Result<Passport, OpenError> {
    let options = PassportOptions {
        dir: dir.to_owned(),
        segment_bytes: SEGMENT_BYTES,
        min_free_bytes: 0,
        durability: Durability::Sync,
        table_keys: RECENT_KEYS,
    };
    Passport::open(&options, &World::with_clock(Arc::new(ManualClock::new(Timestamp::from_micros(RECEIVED_AT)))))
}

/// One group, so one batch while nobody else appends.
fn append(passport: &Passport, events: &[Envelope<'_>]) -> Vec<Outcome> {
    let mut group = Group::new(false);
    for event in events {
        group.push(event, None, false);
    }
    passport.appender().append_blocking(group).expect("the log takes writes")
}

/// `log.id`: magic, id, checksum.
fn id_file_bytes(log_id: [u8; 16]) -> Vec<u8> {
    let mut bytes = [b"CLMLOGID".as_slice(), &log_id].concat();
    bytes.extend(crc32(&bytes).to_le_bytes());
    bytes
}

/// The first 4096 bytes of a raw segment.
fn segment_header(
    log_id: [u8; 16],
    segment_id: u64,
    first_seq: u64,
    previous_id: u64,
    previous_checksum: u32,
) -> Vec<u8> {
    let mut bytes = b"CLMSEG\r\n".to_vec();
    bytes.extend(1_u32.to_le_bytes()); // version
    bytes.extend([0; 4]);
    bytes.extend(log_id);
    bytes.extend(segment_id.to_le_bytes());
    bytes.extend(first_seq.to_le_bytes());
    bytes.extend(SEGMENT_BYTES.to_le_bytes());
    bytes.extend(previous_id.to_le_bytes());
    bytes.extend(previous_checksum.to_le_bytes());
    bytes.extend(crc32(&bytes).to_le_bytes());
    bytes.resize(FIRST_BATCH, 0);
    bytes
}

/// A batch as it lies at `offset`, header and body.
fn batch(segment_id: u64, offset: usize, first_seq: u64, previous_checksum: u32, records: &[Vec<u8>]) -> Vec<u8> {
    let body: Vec<u8> =
        records.iter().flat_map(|record| [&(record.len() as u32).to_le_bytes(), &record[..]].concat()).collect();
    let mut header = b"CLMB".to_vec();
    header.extend(1_u16.to_le_bytes()); // version
    header.extend([0; 2]);
    header.extend(segment_id.to_le_bytes());
    header.extend((offset as u64).to_le_bytes());
    header.extend(first_seq.to_le_bytes());
    header.extend((records.len() as u32).to_le_bytes());
    header.extend((body.len() as u32).to_le_bytes());
    header.extend(previous_checksum.to_le_bytes());
    header.extend([0; 8]);
    let checksum = crc32(&[&header[..], &body].concat());
    header.extend(checksum.to_le_bytes());
    header.extend(crc32(&header).to_le_bytes());
    header.resize(BATCH_HEADER, 0);
    [header, body].concat()
}

/// Every record of a sealed segment, by its table: rows of 32 bytes, one for each block.
fn sealed_records(file: &[u8], table: &[u8], last_seq: u64) -> Vec<Vec<u8>> {
    let (mut records, mut next_offset) = (Vec::new(), 0);
    assert_eq!(table.len() % 32, 0);
    for row in table.chunks(32) {
        let (offset, first_seq) = (u64_at(row, 0) as usize, u64_at(row, 8));
        let (compressed_bytes, plain_bytes, count) = (u32_at(row, 16) as usize, u32_at(row, 20), u32_at(row, 24));
        assert_eq!((offset, first_seq), (next_offset, records.len() as u64 + 1), "blocks follow each other");
        let compressed = &file[offset..offset + compressed_bytes];
        assert_eq!(u32_at(row, 28), crc32(compressed));
        let plain = zstd::decode_all(compressed).expect("a zstd frame");
        assert_eq!(plain.len(), plain_bytes as usize);
        let mut rest = &plain[..];
        for _ in 0..count {
            let (record, behind) = rest[4..].split_at(u32_at(rest, 0) as usize);
            records.push(record.to_vec());
            rest = behind;
        }
        assert!(rest.is_empty(), "a block holds whole records");
        next_offset = offset + compressed_bytes;
    }
    assert_eq!(records.len() as u64, last_seq);
    records
}

/// CRC-32 as in zip and Ethernet, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
