//! What it costs to check one event: a play of 300 bytes, as the native API gets it.

use std::hint::black_box;

use coliseum::event::{Event, Facts, check_document, parse_rfc3339, same_content};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PLAY: &str = r#"{"type":"player.track_played","messageId":"0198f2a4-6a3e-7c1b-9c55-2f1f8f1f0b7d","userId":"user-0004711","sessionId":"session-20260501-8812","at":"2026-05-01T20:15:00.250Z","trackId":"track:thunderstruck","artistId":"ar:acdc","durationSeconds":292.5,"genre":"hard rock","city":"Malmö","client":{"app":"ios","v":"7.4"}}"#;

fn event_parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Bytes(PLAY.len() as u64));
    group.bench_function("parse a play", |bencher| bencher.iter(|| Event::parse(black_box(PLAY)).map(drop)));
    group.bench_function("read a stored play", |bencher| {
        bencher.iter(|| Facts::of_stored("player.track_played", black_box(PLAY)).map(drop));
    });
    group.bench_function("check a play's document", |bencher| bencher.iter(|| check_document(black_box(PLAY))));
    let again = PLAY.replace("292.5", "292.50");
    group.bench_function("compare a play spelled otherwise", |bencher| {
        bencher.iter(|| same_content(black_box(PLAY), black_box(&again)));
    });
    group.finish();
    criterion.bench_function("time/rfc 3339", |bencher| {
        bencher.iter(|| parse_rfc3339(black_box("2026-05-01T20:15:00.250Z")));
    });
}

criterion_group!(benches, event_parse);
criterion_main!(benches);
