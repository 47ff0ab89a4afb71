//! Which projections there are, and how each is started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::coliseum::Coliseum;
use crate::config::Config;
use crate::passport::Passport;
use crate::projection::{self, Consumers, Followed, Handle, Options, Projection, StartError};
use crate::world::World;

/// The projections of a daemon: each by its type for those who read its views, and all of them alike.
pub struct Projections {
    pub coliseum: Handle<Coliseum>,
    pub all: Consumers,
}

impl Projections {
    /// Starts every projection under `<data>/projections`. Another one is a line here and its place in `all`.
    ///
    /// # Errors
    /// One of them holds more than the log, or its directory is out of reach. What fails later fails alone.
    pub fn start(
        data_dir: &Path,
        config: &Config,
        passport: &Passport,
        world: &World,
    ) -> Result<Projections, StartError> {
        let starter = Starter { dir: data_dir.join("projections"), passport, world, options: options(config) };
        let coliseum = starter.start::<Coliseum>(config.scoring.clone())?;
        let all = Consumers::new(vec![Arc::new(coliseum.clone())]);
        Ok(Projections { coliseum, all })
    }
}

/// What all of them are started with.
struct Starter<'a> {
    dir: PathBuf,
    passport: &'a Passport,
    world: &'a World,
    options: Options,
}

impl Starter<'_> {
    fn start<P: Projection>(&self, setup: P::Setup) -> Result<Handle<P>, StartError> {
        let Starter { dir, passport, world, options } = self;
        let followed = Followed { log: passport.log(), watermark: passport.watermark(), log_id: passport.log_id() };
        projection::start::<P>(dir, setup, followed, world, options.clone())
    }
}

fn options(config: &Config) -> Options {
    Options {
        cache_bytes: config.projections.cache_bytes,
        attempts_max: config.projections.retry_attempts,
        entry_retry_first: Duration::from_millis(config.projections.retry_first_delay_ms),
        ..Options::default()
    }
}
