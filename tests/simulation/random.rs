//! Numbers that follow from a seed: what the simulation draws, and what the engine takes for chance.

use std::io;

use coliseum::world::Random;
use parking_lot::Mutex;

/// SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014).
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Draws {
        Draws(seed)
    }
    /// Another stream of the same seed.
    pub fn stream(seed: u64, number: u64) -> Draws {
        let mut draws = Draws(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        draws.next();
        draws
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    /// 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
    /// Both ends included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }
    /// Once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// The engine's chance.
pub struct SimRandom(Mutex<Draws>);

impl SimRandom {
    pub fn new(seed: u64) -> SimRandom {
        SimRandom(Mutex::new(Draws::stream(seed, 7)))
    }
}

impl Random for SimRandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut draws = self.0.lock();
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&draws.next().to_le_bytes()[..chunk.len()]));
        Ok(())
    }
}
