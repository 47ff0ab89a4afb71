//! What reading a board costs once its view is loaded: a page, an artist's line, its neighbours, on 100,000 artists.
//!
//! `cargo bench --bench board`

use std::hint::black_box;
use std::sync::Arc;

use coliseum::coliseum::{Coliseum, Rules, View};
use coliseum::passport::{Entry, Envelope, Parsed};
use coliseum::projection::Projection;
use coliseum::units::{Domain, Seq, Timestamp, Window};
use criterion::{Criterion, criterion_group, criterion_main};

const ARTISTS: u64 = 100_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// Every artist has a score of one in a few thousand, a third of them one day earlier too.
fn view() -> Arc<View> {
    let backend = redb::backends::InMemoryBackend::new();
    let database = redb::Database::builder().create_with_backend(backend).expect("in memory");
    let now = Timestamp::from_micros(40 * DAY_MICROS);
    let mut coliseum = Coliseum::open(Arc::new(database), &Rules::default(), now).expect("opens");
    for seq in 1..=ARTISTS + ARTISTS / 3 {
        let artist = seq % ARTISTS;
        let payload = format!(
            r#"{{"type":"coliseum.vote_cast","userId":"u","at":"2026-05-01T20:15:00Z","artistId":"artist-{artist:06}","eventId":"e","weight":{}}}"#,
            1 + artist * 7919 % 1000
        );
        let at_micros = now.micros() - if seq > ARTISTS { 2 * DAY_MICROS } else { 0 };
        let envelope = Envelope {
            received_at_micros: at_micros,
            at_micros,
            at_corrected: false,
            event_type: "coliseum.vote_cast",
            message_id: "m",
            user_id: "u",
            session_id: None,
            device_id: None,
            source: "api",
            payload: &payload,
        };
        coliseum.apply(&Parsed::of(Entry { seq: Seq::new(seq), envelope })).expect("a good event");
    }
    coliseum.view(Seq::new(ARTISTS + ARTISTS / 3))
}

fn read(criterion: &mut Criterion) {
    let view = view();
    let board = view.board(Domain::Cultural, Window::Days7);
    let middle = view.artist("artist-050000").expect("known");
    criterion.bench_function("board/top_100_rows", |bench| bench.iter(|| board.rows(0, 100).map(black_box).count()));
    criterion.bench_function("board/100_rows_from_50000", |bench| {
        bench.iter(|| board.rows(black_box(50_000), 100).map(black_box).count());
    });
    criterion.bench_function("board/line_of_an_artist", |bench| bench.iter(|| board.standing_of(black_box(middle))));
    criterion.bench_function("board/11_rows_around_an_artist", |bench| {
        bench.iter(|| board.around(black_box(middle), 11));
    });
    criterion.bench_function("board/artist_by_id", |bench| bench.iter(|| view.artist(black_box("artist-050000"))));
}

criterion_group!(benches, read);
criterion_main!(benches);
