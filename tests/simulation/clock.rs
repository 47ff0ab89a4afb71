//! A clock that is moved by hand: the wall's jumps both ways, the other only goes forward.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coliseum::clock::Clock;
use coliseum::units::Timestamp;

pub struct SimClock {
    now_micros: AtomicI64,
    /// What differs between two runs of one seed; only differences of instants are ever used.
    origin: Instant,
    elapsed_micros: AtomicU64,
}

impl SimClock {
    pub fn new(now_micros: i64) -> SimClock {
        SimClock { now_micros: AtomicI64::new(now_micros), origin: Instant::now(), elapsed_micros: AtomicU64::new(0) }
    }
    /// Time passes.
    pub fn pass(&self, elapsed: Duration) {
        self.now_micros.fetch_add(elapsed.as_micros() as i64, Ordering::SeqCst);
        self.elapsed_micros.fetch_add(elapsed.as_micros() as u64, Ordering::SeqCst);
    }
    /// Somebody sets the clock.
    pub fn jump(&self, micros: i64) {
        self.now_micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_micros.load(Ordering::SeqCst))
    }
    fn instant(&self) -> Instant {
        self.origin + Duration::from_micros(self.elapsed_micros.load(Ordering::SeqCst))
    }
}
