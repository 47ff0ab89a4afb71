//! The recent keys: an open-addressing table from fingerprint to seq.
//!
//! Fingerprints are uniform and keyed, so their top bits are the slot and nobody can aim at one. Equal fingerprints take
//! a slot each. A table is filled, sealed and dropped whole: there is no removal, hence no tombstone.

use super::{Fingerprint, LOOKUP_LANES};
use crate::units::Seq;

#[derive(Clone, Copy, Default)]
struct Slot {
    fingerprint: u64,
    /// 0 in an empty slot: no entry has that number.
    seq: u64,
}

pub(super) struct Recent {
    slots: Box<[Slot]>,
    keys: usize,
    /// How far a fingerprint is shifted right to give its slot.
    shift: u32,
}

impl Recent {
    /// A table that takes `keys` keys before it grows.
    pub(super) fn with_room_for(keys: usize) -> Recent {
        let slots = (keys.max(8) * 3 / 2).next_power_of_two();
        Recent { slots: vec![Slot::default(); slots].into(), keys: 0, shift: u64::BITS - slots.trailing_zeros() }
    }

    pub(super) fn len(&self) -> usize {
        self.keys
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    pub(super) fn insert(&mut self, fingerprint: Fingerprint, seq: Seq) {
        // At three quarters, linear probing still finds an empty slot within about eight.
        if (self.keys + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let mut at = self.home(fingerprint);
        while self.slots[at].seq != 0 {
            at = self.after(at);
        }
        self.slots[at] = Slot { fingerprint: fingerprint.bits(), seq: seq.get() };
        self.keys += 1;
    }

    /// Calls `each` for every seq under this fingerprint.
    pub(super) fn find(&self, fingerprint: Fingerprint, mut each: impl FnMut(Seq)) {
        let mut at = self.home(fingerprint);
        while self.slots[at].seq != 0 {
            if self.slots[at].fingerprint == fingerprint.bits() {
                each(Seq::new(self.slots[at].seq));
            }
            at = self.after(at);
        }
    }

    /// Calls `each` with the lane and every seq under that lane's fingerprint, for up to [`LOOKUP_LANES`] fingerprints;
    /// their cache misses overlap.
    pub(super) fn find_lanes(&self, fingerprints: &[Fingerprint], mut each: impl FnMut(usize, Seq)) {
        let mut homes = [Slot::default(); LOOKUP_LANES];
        for (home, fingerprint) in homes.iter_mut().zip(fingerprints) {
            *home = self.slots[self.home(*fingerprint)];
        }
        for (lane, (home, fingerprint)) in homes.iter().zip(fingerprints).enumerate() {
            if home.seq != 0 {
                self.find(*fingerprint, |seq| each(lane, seq));
            }
        }
    }

    /// Everything in it, by fingerprint, then seq.
    pub(super) fn sorted(&self) -> Vec<(Fingerprint, Seq)> {
        let mut entries = Vec::with_capacity(self.keys);
        let full = self.slots.iter().filter(|slot| slot.seq != 0);
        entries.extend(full.map(|slot| (Fingerprint::new(slot.fingerprint), Seq::new(slot.seq))));
        entries.sort_unstable();
        entries
    }

    fn grow(&mut self) {
        let mut larger = Recent::with_room_for(self.slots.len());
        for slot in self.slots.iter().filter(|slot| slot.seq != 0) {
            larger.insert(Fingerprint::new(slot.fingerprint), Seq::new(slot.seq));
        }
        *self = larger;
    }

    fn home(&self, fingerprint: Fingerprint) -> usize {
        (fingerprint.bits() >> self.shift) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_seq_of_equal_fingerprints_through_growth_and_the_wrap_at_the_end() {
        let mut table = Recent::with_room_for(8);
        let (low, high) = (Fingerprint::new(0), Fingerprint::new(u64::MAX));
        for seq in 1..=1000 {
            table.insert(if seq % 2 == 0 { low } else { high }, Seq::new(seq));
        }
        for (fingerprint, parity) in [(low, 0), (high, 1)] {
            let mut found = Vec::new();
            table.find(fingerprint, |seq| found.push(seq.get()));
            found.sort_unstable();
            assert_eq!(found, (1..=1000).filter(|seq| seq % 2 == parity).collect::<Vec<_>>());
        }
        assert_eq!(table.len(), 1000);
        assert!(table.sorted().is_sorted());
    }
}
