//! What an index takes of disk and memory.

use super::{ATTENDED, DIGEST, Random, Row, build, open};

/// What a segment of 64 MiB holds: 190,000 events of 300 bytes or so, 100,000 users, 10,000 artists by Zipf, 8 types.
fn segment_rows() -> Vec<Row> {
    const TYPES: [(&str, u64); 8] = [
        ("player.track_played", 40),
        ("coliseum.vote_cast", 20),
        ("social.follow", 10),
        ("treasury.money_spent", 10),
        (ATTENDED, 8),
        ("player.track_favorited", 5),
        ("social.share", 5),
        ("treasury.money_earned", 2),
    ];
    let mut random = Random(42);
    (0..190_000)
        .map(|place| {
            let mut left = random.next() % 100;
            let weighed = TYPES.iter().find(|(_, weight)| {
                let here = left < *weight;
                left = left.wrapping_sub(*weight);
                here
            });
            let (event_type, _) = *weighed.expect("the weights make 100");
            // Zipf with exponent 1: the logarithm of the rank is even over 0 to that of 10,000.
            let artist = format!("artist-{}", 10_000f64.powf(random.unit()) as u64);
            let entity = match event_type {
                "player.track_played" | "player.track_favorited" => {
                    ("track", format!("{artist}-{}", random.next() % 20))
                }
                ATTENDED => ("event", format!("event-{}", random.next() % 5000)),
                _ => ("artist", artist.clone()),
            };
            Row {
                user: format!("user-{}", random.next() % 100_000),
                event_type,
                entity: Some(entity),
                artists: vec![artist],
                source: if random.next().is_multiple_of(10) { "segment" } else { "api" },
                at: place * 1000 + (random.next() % 60_000_000) as i64,
            }
        })
        .collect()
}

#[test]
fn a_segment_takes_under_16_bytes_an_entry_on_disk_and_100_in_memory() {
    let rows = segment_rows();
    let start = std::time::Instant::now();
    let live = build(&rows);
    let built = start.elapsed();
    let bytes = live.encode(DIGEST);
    let encoded = start.elapsed() - built;
    let index = open(bytes.clone(), rows.len() as u32).expect("opens");
    let directories: Vec<u64> = index.blocks_bytes().collect();
    for (field, len) in ["user", "type", "category", "entity", "entityType", "artist", "source"].iter().zip(directories)
    {
        println!("{field}: {:.2} bytes an entry", len as f64 / rows.len() as f64);
    }
    println!(
        "file: {:.2}, memory: {:.1}",
        bytes.len() as f64 / rows.len() as f64,
        live.heap_bytes() as f64 / rows.len() as f64
    );
    println!("built in {built:?}, encoded in {encoded:?}");
    assert!(bytes.len() <= 16 * rows.len(), "{} bytes for {} entries", bytes.len(), rows.len());
    assert!(live.heap_bytes() <= 100 * rows.len(), "{} bytes for {} entries", live.heap_bytes(), rows.len());
}
