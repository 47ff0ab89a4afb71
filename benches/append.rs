//! The log by itself: groups of events through the real writer onto the real disk, with a sync before each answer.
//!
//! `cargo bench --bench append [-- DIRECTORY]` prints, for requests of 1 and of 1,000 events by 1 and by several threads,
//! events and syncs a second, beside one 4 KiB write and `fdatasync` at a time into a file that is already written, which
//! is what the disk gives. The directory must lie on the disk that is meant; a temporary one unless named.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coliseum::passport::keys::RECENT_KEYS;
use coliseum::passport::{Durability, Envelope, Group, Outcome, Passport, PassportOptions};
use coliseum::world::World;

const RUN: Duration = Duration::from_secs(3);

fn main() {
    let named = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let scratch = match named {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .expect("a directory to write in");
    println!("{:>44} {:>12} {:>10} {:>14}", "", "events/s", "syncs/s", "MiB/s of log");
    bare_sync(scratch.path());
    for (threads, events) in [(1, 1), (64, 1), (1, 1000), (8, 1000)] {
        append(&scratch.path().join(format!("{threads}-{events}")), threads, events);
    }
}

fn row(name: &str, events: f64, syncs: f64, bytes: f64) {
    println!("{name:>44} {events:>12.0} {syncs:>10.0} {:>14.1}", bytes / (1024.0 * 1024.0));
}

/// What the disk gives: one write and one sync at a time.
fn bare_sync(dir: &Path) {
    const BLOCK: usize = 4096;
    let file = File::create(dir.join("bare")).expect("a file");
    file.write_all_at(&vec![0; 64 * 1024 * 1024], 0).expect("room on the disk");
    file.sync_all().expect("a sync");
    let block = [7; BLOCK];
    let (start, mut syncs) = (Instant::now(), 0u64);
    while start.elapsed() < RUN {
        file.write_all_at(&block, syncs % 16_000 * BLOCK as u64).expect("a write");
        file.sync_data().expect("a sync");
        syncs += 1;
    }
    let rate = syncs as f64 / start.elapsed().as_secs_f64();
    row("one 4 KiB write + fdatasync at a time", rate, rate, rate * BLOCK as f64);
}

fn append(dir: &Path, threads: u64, events: u64) {
    let options = PassportOptions {
        dir: dir.join("passport"),
        segment_bytes: coliseum::limits::SEGMENT_BYTES_DEFAULT,
        min_free_bytes: 0,
        durability: Durability::Sync,
        table_keys: RECENT_KEYS,
    };
    let passport = Passport::open(&options, &World::real()).expect("a new log");
    let stored = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (appender, stored) = (passport.appender(), &stored);
            scope.spawn(move || {
                let mut next = 0;
                while start.elapsed() < RUN {
                    let group = group(thread, next, events);
                    next += events;
                    let outcomes = appender.append_blocking(group).expect("the log takes writes");
                    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored(_))));
                    stored.fetch_add(events, Ordering::Relaxed);
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let counts = passport.status().counts();
    assert_eq!(counts.events, stored.load(Ordering::Relaxed), "what is stored is what was acknowledged");
    let name = format!("{threads} senders, {events} events a request");
    row(&name, counts.events as f64 / seconds, counts.syncs as f64 / seconds, counts.bytes as f64 / seconds);
}

fn group(thread: u64, first: u64, events: u64) -> Group {
    let mut group = Group::new(false);
    for number in first..first + events {
        let key = format!("{thread:08x}-{number:016x}-bench-append");
        let payload = format!(
            "{{\"messageId\":\"{key}\",\"type\":\"player.track_played\",\"userId\":\"u-{:06}\",\
             \"at\":\"2026-05-01T20:15:00.250Z\",\"trackId\":\"track-{:05}\",\"artistId\":\"artist-{:05}\",\
             \"durationSeconds\":213.5,\"genre\":\"afrobeats\",\"city\":\"Lagos\",\"deviceId\":\"device-{:08x}\"}}",
            number % 100_000,
            number % 40_000,
            number % 10_000,
            number
        );
        let envelope = Envelope {
            received_at_micros: 1_777_666_500_000_000,
            at_micros: 1_777_666_500_250_000,
            at_corrected: false,
            event_type: "player.track_played",
            message_id: &key,
            user_id: "u-000001",
            session_id: None,
            device_id: None,
            source: "api",
            payload: &payload,
        };
        group.push(&envelope, None, false);
    }
    group
}
