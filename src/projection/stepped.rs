//! A projection without its thread: whoever holds it takes each step. [`super::start`] puts the same parts on a thread.

use std::path::Path;
use std::sync::Arc;

use super::follower::{Follower, Step};
use super::handle::StartError;
use super::versions::choose;
use super::{Followed, Identity, Options, Projection, Wiring};
use crate::units::Seq;
use crate::world::World;

/// How far a step came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To the end of the log.
    CaughtUp,
    /// There is more to fold.
    More,
    /// Something failed, and is tried again once the clock has moved on.
    Waits,
    /// The file is of no use any more, and says why: open it again.
    Lost(String),
}

/// One projection and its file.
pub struct Stepped<P: Projection> {
    pub(super) serving: Follower<P>,
    pub(super) wanted: Arc<Identity<P>>,
    pub(super) wiring: Arc<Wiring>,
}

impl<P: Projection> Stepped<P> {
    /// Opens or makes the projection's file under `dir`, the directory `projections/`.
    ///
    /// # Errors
    /// As [`super::start`].
    pub fn open(
        dir: &Path,
        setup: P::Setup,
        followed: Followed,
        world: &World,
        options: Options,
    ) -> Result<Stepped<P>, StartError> {
        Stepped::open_with(dir, setup, followed, world, options, false)
    }

    pub(super) fn open_with(
        dir: &Path,
        setup: P::Setup,
        followed: Followed,
        world: &World,
        options: Options,
        has_threads: bool,
    ) -> Result<Stepped<P>, StartError> {
        let wiring = Arc::new(Wiring::new(dir.join(P::NAME), followed, world, options, has_threads));
        let wanted = Arc::new(Identity::<P>::of(setup));
        let (fold, identity) = choose(&wanted, &wiring)?;
        let serving = Follower::of(fold, identity, Arc::clone(&wiring));
        Ok(Stepped { serving, wanted, wiring })
    }

    /// Flushes if it is due, ticks if the minute has changed, folds a batch.
    pub fn step(&mut self) -> Progress {
        match self.serving.step() {
            Step::CaughtUp => Progress::CaughtUp,
            Step::More => Progress::More,
            Step::Wait(_) => Progress::Waits,
            Step::Lost(why) => Progress::Lost(why),
        }
    }

    /// The view of everything folded; `None` while there is none to be had.
    pub fn view(&mut self) -> Option<Arc<P::View>> {
        self.serving.view()
    }

    /// The last entry that is folded.
    pub fn applied(&self) -> Option<Seq> {
        self.serving.fold().map(|fold| fold.applied())
    }

    /// Entries that could not be folded.
    pub fn dead_letters(&self) -> usize {
        self.serving.fold().map_or(0, |fold| fold.dead_letters().all().len())
    }

    /// Puts everything folded so far onto the disk.
    ///
    /// # Errors
    /// Says why it failed.
    pub fn checkpoint(&mut self) -> Result<(), String> {
        self.serving.checkpoint()
    }
}
