//! Those who build from the start of the log, in step: what one of them has read and parsed, the others still find.
//!
//! Who is far ahead of another waits for it, as long as that one moves. It owns nothing but where each of them is, so a crash
//! leaves nothing of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::units::Seq;

/// Entries that one may be ahead: what the log keeps of what it has parsed has room for some times as many.
const AHEAD_MAX: u64 = 8_192;
/// Nobody waits for one who has stood still for so long: it is held up, and says so. A flush mostly takes less.
const STANDSTILL: Duration = Duration::from_secs(5);

/// Shared by the projections of one log.
#[derive(Default)]
pub struct Convoy {
    joined: AtomicU64,
    /// Where each is, and since when.
    places: Mutex<HashMap<u64, (Seq, Instant)>>,
}

/// Leaves when it is dropped.
pub(super) struct Member {
    convoy: Arc<Convoy>,
    number: u64,
}

impl Convoy {
    /// Takes part from its first [`Member::is_far_ahead`] on.
    pub(super) fn join(self: &Arc<Convoy>) -> Member {
        Member { convoy: Arc::clone(self), number: self.joined.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Member {
    /// Says how far it is, and tells whether another one that moves is far behind.
    pub fn is_far_ahead(&self, applied: Seq, now: Instant) -> bool {
        let mut places = self.convoy.places.lock();
        let place = places.entry(self.number).or_insert((applied, now));
        if place.0 != applied {
            *place = (applied, now);
        }
        let moves = |since: Instant| now.saturating_duration_since(since) < STANDSTILL;
        let mut others = places.iter().filter(|(number, _)| **number != self.number);
        others.any(|(_, (at, since))| at.plus(AHEAD_MAX) < applied && moves(*since))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.convoy.places.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_far_ahead_waits_for_those_who_move_and_are_there() {
        let (convoy, start) = (Arc::new(Convoy::default()), Instant::now());
        let (fast, slow) = (convoy.join(), convoy.join());
        let at = |seconds| start + Duration::from_secs(seconds);
        let far = Seq::new(AHEAD_MAX + 11);
        assert!(!fast.is_far_ahead(far, at(0)), "it is alone");
        assert!(!slow.is_far_ahead(Seq::new(11), at(0)));
        assert!(!fast.is_far_ahead(far, at(0)), "not farther than one may be");
        assert!(fast.is_far_ahead(far.next(), at(0)));
        assert!(!slow.is_far_ahead(Seq::new(11), at(4)), "the last one never waits");
        assert!(fast.is_far_ahead(far.next(), at(4)));
        assert!(!fast.is_far_ahead(far.next(), at(5)), "the other one stands still");
        assert!(!slow.is_far_ahead(Seq::new(12), at(6)));
        assert!(!fast.is_far_ahead(far.next(), at(6)));
        assert!(fast.is_far_ahead(far.plus(2), at(6)), "it moves again");
        drop(slow);
        assert!(!fast.is_far_ahead(far.plus(2), at(6)), "the other one is gone");
    }
}
