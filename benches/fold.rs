//! How long each projection takes for an event: parse, fold, flush, commit, view and tick, in nanoseconds an event; what
//! its file and its memory take, and what it costs to look into it.
//!
//! 10,000 artists by Zipf's law, every type that scores, 95 of 100 events of now, the others of the past month and years
//! (or, as an import, all of them in the order of two years), in batches as a catch-up (10,000) and as live traffic (100)
//! bring them. Times are those that the thread had a core for, so that a busy machine does not change them.
//! `cargo bench --bench fold`, or `-- treasury` for one of them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use coliseum::coliseum::{Coliseum, Rules};
use coliseum::event::Currency;
use coliseum::mediaid::{self, MediaId};
use coliseum::passport::{Entry, Envelope, Parsed};
use coliseum::projection::Projection;
use coliseum::treasury::{self, Treasury};
use coliseum::units::{Domain, Seq, Timestamp, Window};

/// As the daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ARTISTS: usize = 10_000;
const EVENTS: usize = 2_000;
const USERS: usize = 200_000;
/// As the daemon's, for each projection.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// As the runner does: a flush after so many entries, or a second.
const FLUSH_ENTRIES: u64 = 100_000;
/// As the runner tells of.
const LOOKED_AHEAD: usize = 64;
const START_MICROS: i64 = 1_777_666_500_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// xorshift64*: the same events on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

struct Stored {
    kind: &'static str,
    at_micros: i64,
    received_micros: i64,
    user_id: String,
    payload: String,
}

struct Source {
    random: Random,
    /// Cumulative weights 1/n of the artists.
    weights: Vec<f64>,
    now_micros: i64,
    /// How far the clock moves with each event.
    step_micros: i64,
}

impl Source {
    fn new(step_micros: i64) -> Source {
        let mut total = 0.0;
        let weights = (1..=ARTISTS).map(|n| {
            total += 1.0 / n as f64;
            total
        });
        Source {
            weights: weights.collect(),
            random: Random(0x9E37_79B9_7F4A_7C15),
            now_micros: START_MICROS,
            step_micros,
        }
    }
    fn artist(&mut self) -> String {
        let place = self.random.unit() * self.weights[ARTISTS - 1];
        format!("artist-{:05}", self.weights.partition_point(|weight| *weight < place))
    }
    fn at(&mut self) -> i64 {
        match self.random.below(100) {
            0..95 => self.now_micros,
            95..99 => self.now_micros - (self.random.unit() * 31.0 * DAY_MICROS as f64) as i64,
            _ => self.now_micros - (self.random.unit() * 1000.0 * DAY_MICROS as f64) as i64,
        }
    }
    fn event(&mut self) -> Stored {
        self.now_micros += self.step_micros;
        let (artist, pick, number) = (self.artist(), self.random.below(100), self.random.below(EVENTS));
        let (kind, fields) = match pick {
            0..45 => (
                "player.track_played",
                format!(
                    r#""trackId":"t{number}","artistId":"{artist}","durationSeconds":187.5,"genre":"house","city":"Turin""#
                ),
            ),
            45..65 => (
                "coliseum.vote_cast",
                format!(r#""artistId":"{artist}","eventId":"e{number}","weight":{}"#, 1 + number % 12),
            ),
            65..75 => (
                "treasury.money_spent",
                format!(
                    r#""amountCents":{},"currency":"eur","reason":"ticket","artistId":"{artist}","eventId":"e{number}""#,
                    100 + number
                ),
            ),
            75..83 => {
                ("concierto.event_attended", format!(r#""eventId":"e{number}","city":"Turin","ticketTier":"vip""#))
            }
            83..84 => (
                "concierto.event_scheduled",
                format!(
                    r#""eventId":"e{number}","artistIds":["artist-{number:05}","artist-{:05}"]"#,
                    number + self.random.below(2)
                ),
            ),
            84..90 => ("social.follow", format!(r#""targetId":"{artist}","targetType":"artist""#)),
            90..95 => ("player.track_favorited", format!(r#""trackId":"t{number}","artistId":"{artist}""#)),
            _ => (
                "social.share",
                format!(r#""targetId":"t{number}","targetType":"track","platform":"x","artistId":"{artist}""#),
            ),
        };
        let user_id = user_id(self.random.below(USERS));
        let payload = format!(
            r#"{{"type":"{kind}","userId":"{user_id}","at":"2026-05-01T20:15:00.250Z","messageId":"b1c9-{number}-{pick}",{fields},"sessionId":"s-{number}","note":"kept as it came"}}"#,
        );
        Stored { kind, at_micros: self.at(), received_micros: self.now_micros, user_id, payload }
    }
}

fn user_id(number: usize) -> String {
    format!("user-{number:06}")
}

/// The time that this thread has run for, by the kernel's scheduler.
struct CpuTime(Duration);

impl CpuTime {
    fn now() -> CpuTime {
        // The kernel counts up to the last switch: giving the core away once brings the count up to date.
        std::thread::yield_now();
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        CpuTime(Duration::from_nanos(nanos))
    }
    fn elapsed(&self) -> Duration {
        CpuTime::now().0 - self.0
    }
}

#[derive(Default)]
struct Spent {
    parse: Duration,
    apply: Duration,
    flush: Duration,
    commit: Duration,
    view: Duration,
    tick: Duration,
}

/// A projection that is measured.
trait Measured: Projection {
    fn setup() -> Self::Setup;
    /// What is told of a view, and what looking into it costs.
    fn look(view: &Self::View) -> String;
}

impl Measured for Coliseum {
    fn setup() -> Rules {
        Rules::from_toml(&"fx = { eur = 1.08 }".parse().expect("TOML")).expect("valid rules")
    }
    fn look(view: &Self::View) -> String {
        let past = |window: Window| {
            let at = view.as_of().moved_by_micros(-3 * DAY_MICROS);
            millis(|| view.past_board(Domain::Behavioral, window, at).expect("reads"))
        };
        let (week, month, all) = (past(Window::Days7), past(Window::Days30), past(Window::AllTime));
        let total = view.board(Domain::Cultural, Window::Days7).total();
        format!("{total} on a/7d; board of 3 days ago 7d {week:.1} ms, 30d {month:.1} ms, alltime {all:.1} ms")
    }
}

impl Measured for Treasury {
    fn setup() -> treasury::Setup {
        treasury::Setup::new(Currency::of("eur").expect("a code"), Default::default())
    }
    fn look(view: &Self::View) -> String {
        let first = view.artist("artist-00000").expect("the first is named most");
        let fans = view.fans(first).expect("reads").fans;
        let counted = millis(|| view.fans(first));
        let events = millis(|| view.events(first));
        format!(
            "{} artists with money; {fans} fans of the first {counted:.2} ms, its events {events:.2} ms",
            view.revenue(None).count()
        )
    }
}

impl Measured for MediaId {
    fn setup() -> mediaid::Setup {
        mediaid::Setup { min_play_seconds: 30 }
    }
    fn look(view: &Self::View) -> String {
        let known: Vec<String> =
            (0..USERS).map(user_id).filter(|id| view.fan(id).expect("reads").is_some()).take(100).collect();
        let each = millis(|| known.iter().map(|id| view.fan(id)).collect::<Vec<_>>()) / known.len().max(1) as f64;
        format!("{} fans, each {:.3} ms", view.known_users(), each)
    }
}

/// What a piece of work takes.
fn millis<T>(work: impl FnOnce() -> T) -> f64 {
    let clock = CpuTime::now();
    black_box(work());
    clock.elapsed().as_secs_f64() * 1e3
}

/// What this process has in memory, in MiB.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

fn run<P: Measured>(batch: usize, events: usize, step_micros: i64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("measured.redb");
    // As the daemon opens it: with a cache of this size.
    let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&file).expect("a new file");
    let database = Arc::new(database);
    let resident = resident_mib();
    let mut projection = P::open(database.clone(), &P::setup(), Timestamp::from_micros(START_MICROS)).expect("opens");
    let mut source = Source::new(step_micros);
    let (mut spent, mut seq) = (Spent::default(), 0u64);
    let mut view = projection.view(Seq::ZERO);
    let mut unflushed_since = (0, source.now_micros);
    while (seq as usize) < events {
        let stored: Vec<Stored> = (0..batch).map(|_| source.event()).collect();
        let clock = CpuTime::now();
        let mut parsed = Vec::with_capacity(stored.len());
        for event in &stored {
            seq += 1;
            let envelope = Envelope {
                received_at_micros: event.received_micros,
                at_micros: event.at_micros,
                at_corrected: false,
                event_type: event.kind,
                message_id: "m",
                user_id: &event.user_id,
                session_id: None,
                device_id: None,
                source: "api",
                payload: &event.payload,
            };
            parsed.push(Parsed::of(Entry { seq: Seq::new(seq), envelope }));
        }
        spent.parse += clock.elapsed();
        let clock = CpuTime::now();
        for parsed in parsed.chunks(LOOKED_AHEAD) {
            projection.look_ahead(parsed);
            parsed.iter().for_each(|parsed| projection.apply(parsed).expect("a good event"));
        }
        spent.apply += clock.elapsed();
        if unflushed_since.0 + FLUSH_ENTRIES <= seq || unflushed_since.1 + 1_000_000 <= source.now_micros {
            unflushed_since = (seq, source.now_micros);
            let clock = CpuTime::now();
            let mut transaction = database.begin_write().expect("begins");
            transaction.set_durability(redb::Durability::None).expect("no savepoint");
            projection.flush(&transaction).expect("writes");
            spent.flush += clock.elapsed();
            let clock = CpuTime::now();
            transaction.commit().expect("commits");
            spent.commit += clock.elapsed();
        }
        let clock = CpuTime::now();
        projection.tick(Timestamp::from_micros(source.now_micros)).expect("reads");
        spent.tick += clock.elapsed();
        let clock = CpuTime::now();
        view = projection.view(Seq::new(seq));
        spent.view += clock.elapsed();
    }
    let each = |time: Duration| time.as_nanos() as f64 / seq as f64;
    let total = each(spent.parse)
        + each(spent.apply)
        + each(spent.flush)
        + each(spent.commit)
        + each(spent.view)
        + each(spent.tick);
    println!(
        "  batches of {batch:>6}: parse {:>6.0}  apply {:>6.0}  flush {:>6.0}  commit {:>6.0}  view {:>6.0}  tick {:>6.0}  = {total:>6.0} ns an event ({:.0} events/s)",
        each(spent.parse),
        each(spent.apply),
        each(spent.flush),
        each(spent.commit),
        each(spent.view),
        each(spent.tick),
        1e9 / total,
    );
    // What is freed after one run is there for the next: the first run of a projection tells most.
    let grown = resident_mib() - resident;
    let open = millis(|| {
        let now = Timestamp::from_micros(source.now_micros);
        let mut again = P::open(database.clone(), &P::setup(), now).expect("opens");
        again.view(Seq::new(seq))
    });
    let bytes = std::fs::metadata(&file).map_or(0, |file| file.len());
    println!(
        "    then: open {open:.1} ms; file {:.1} MiB, memory {grown:.1} MiB; {}",
        bytes as f64 / (1024.0 * 1024.0),
        P::look(&view),
    );
}

fn measure<P: Measured>() {
    // An argument that is no flag names one projection.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !wanted.is_empty() && !wanted.iter().any(|name| name == P::NAME) {
        return;
    }
    println!("{}", P::NAME);
    println!(" live, 200,000 events a second:");
    run::<P>(4_000, 1_000_000, 5);
    println!(" live, a thousand events a second:");
    run::<P>(1_000, 300_000, 1_000);
    run::<P>(100, 100_000, 1_000);
    run::<P>(1, 5_000, 1_000);
    println!(" imported, a million events over two years:");
    run::<P>(10_000, 1_000_000, 2 * 365 * DAY_MICROS / 1_000_000);
}

fn main() {
    measure::<Coliseum>();
    measure::<Treasury>();
    measure::<MediaId>();
}
