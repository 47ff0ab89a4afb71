//! What answers about one busy artist cost: a million fans' days in a year, with a thousand other artists beside it.
//! `cargo bench --bench analytics`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use coliseum::coliseum::metrics::{Days, Granularity, SubjectKind};
use coliseum::coliseum::{Coliseum, Rules, View};
use coliseum::event::Metric;
use coliseum::passport::{Entry, Envelope, Parsed};
use coliseum::projection::Projection;
use coliseum::read::report::{Format, Report};
use coliseum::units::{Seq, Timestamp, Window};

/// As the daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAN_DAYS: u64 = 1_000_000;
const FANS: u64 = 200_000;
const DAYS: u64 = 365;
const OTHERS: u64 = 1_000;
const START_MICROS: i64 = 1_746_057_600_000_000;
const DAY_MICROS: i64 = 86_400_000_000;
/// As the runner does.
const FLUSH_ENTRIES: u64 = 100_000;
const ROUNDS: usize = 15;

/// The n-th event, in the order of time: a play, a vote or a payment of a fan on a day, of the busy artist or of another.
fn payload(n: u64) -> (String, String, i64, &'static str) {
    let day = n * DAYS / (2 * FAN_DAYS);
    let fan = n.wrapping_mul(7_919) % FANS;
    let artist = if n.is_multiple_of(2) { "busy".to_owned() } else { format!("other-{}", n % OTHERS) };
    let user = format!("fan-{fan:06}");
    let at = START_MICROS + day as i64 * DAY_MICROS + (n % 1_440) as i64 * 60_000_000;
    let city = ["Oslo", "Turin", "Lima", "Accra", "Paris", "Rome", "Bergen"][(n / 2 % 7) as usize];
    let (kind, fields) = match n / 2 % 10 {
        0..7 => (
            "player.track_played",
            format!(
                r#""trackId":"t","artistId":"{artist}","durationSeconds":180,"genre":"g{}","city":"{city}""#,
                n % 13
            ),
        ),
        7..9 => ("coliseum.vote_cast", format!(r#""artistId":"{artist}","eventId":"e{}""#, n % 97)),
        _ => ("treasury.money_spent", format!(r#""amountCents":{},"artistId":"{artist}""#, 100 + n % 5_000)),
    };
    (format!(r#"{{"type":"{kind}","userId":"{user}","at":"2025-05-01T00:00:00Z",{fields}}}"#), user, at, kind)
}

/// The time that this thread has run for, by the kernel's scheduler: others that work on the machine do not count.
fn cpu_time() -> Duration {
    // The kernel counts up to the last switch: giving the core away once brings the count up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

/// The median of some runs.
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let before = cpu_time();
            run();
            cpu_time() - before
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn folded(database: &Arc<redb::Database>) -> Arc<View> {
    let rules = Rules::default();
    let mut coliseum =
        Coliseum::open(database.clone(), &rules, Timestamp::from_micros(START_MICROS)).expect("a new file opens");
    for seq in 1..=2 * FAN_DAYS {
        let (payload, user_id, at_micros, event_type) = payload(seq - 1);
        let envelope = Envelope {
            received_at_micros: at_micros,
            at_micros,
            at_corrected: false,
            event_type,
            message_id: "m",
            user_id: &user_id,
            session_id: None,
            device_id: None,
            source: "api",
            payload: &payload,
        };
        coliseum.apply(&Parsed::of(Entry { seq: Seq::new(seq), envelope })).expect("a good event");
        if seq.is_multiple_of(FLUSH_ENTRIES) {
            let mut transaction = database.begin_write().expect("begins");
            transaction.set_durability(redb::Durability::None).expect("no savepoint");
            coliseum.flush(&transaction).expect("writes");
            transaction.commit().expect("commits");
        }
    }
    let end = START_MICROS + DAYS as i64 * DAY_MICROS;
    coliseum.tick(Timestamp::from_micros(end)).expect("reads");
    coliseum.view(Seq::new(2 * FAN_DAYS))
}

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = redb::Database::builder()
        .set_cache_size(64 * 1024 * 1024)
        .create(directory.path().join("coliseum.redb"))
        .expect("a new file");
    let database = Arc::new(database);
    let view = folded(&database);
    let metrics = view.metrics();
    let artist = view.artist("busy").expect("it is in every second event");
    let found = metrics.analytics(artist.get(), view.card(artist), Days::Last(365)).expect("reads");
    println!("{} fans, {} of them on two or more days; {} events", found.fans, found.repeat_fans, FAN_DAYS);
    let show = |what: &str, time: Duration| println!("{what:<40} {:>8.2} ms", time.as_secs_f64() * 1e3);
    for days in [Days::Last(1), Days::Last(30), Days::Last(365), Days::AllTime] {
        let time = median(|| {
            black_box(metrics.analytics(artist.get(), view.card(artist), days).expect("reads"));
        });
        show(&format!("analytics, {days:?}"), time);
    }
    for window in Window::ALL {
        let time = median(|| {
            let kind = SubjectKind::Artist;
            black_box(metrics.total(kind, artist.get(), Metric::TracksPlayed, "usd", window).expect("reads"));
        });
        show(&format!("tracks_played, {}", window.name()), time);
    }
    for granularity in Granularity::ALL {
        let time = median(|| {
            let kind = SubjectKind::Artist;
            black_box(metrics.rollups(kind, artist.get(), granularity, (None, None)).expect("reads"));
        });
        show(&format!("rollups by {}, all of them", granularity.name()), time);
    }
    for kind in SubjectKind::LISTED {
        // The first reader of a view puts the list in order; there is one view here, so that this is what the others take.
        let time = median(|| {
            black_box(metrics.top(kind, Metric::TracksPlayed, "usd", Window::AllTime, 100, view.cards()));
        });
        show(&format!("top 100 of {}s", kind.name()), time);
    }
    let time = median(|| {
        let report = Report::of(&view, "busy", Days::Last(365)).expect("reads").expect("is known");
        black_box(report.render(Format::Html));
    });
    show("report over a year, HTML", time);
}
