//! What a process gets from outside: files, time and chance, as traits in one bundle, so that a seed can stand for all of
//! them. Nothing else that the log or a projection does depends on the machine.

use std::io;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, RealDisk};

/// Where identities and keys come from.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes` with numbers that nobody can guess.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}

/// Files, time and chance. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

impl World {
    /// The machine's own, but for the clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> World {
        World { disk: Arc::new(RealDisk), clock, random: Arc::new(SystemRandom) }
    }

    /// The machine's own.
    pub fn real() -> World {
        World::with_clock(Arc::new(SystemClock))
    }
}
