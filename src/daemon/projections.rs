//! Which projections there are, and how each is started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::coliseum::{Coliseum, Rules};
use crate::config::Config;
use crate::event::{Currency, EVENT_TYPES};
use crate::mediaid::{self, MediaId};
use crate::passport::Passport;
use crate::projection::{self, Consumers, Convoy, Followed, Handle, Options, Projection, StartError};
use crate::treasury::{self, Treasury};
use crate::world::World;

/// The projections of a daemon: each by its type for those who read its views, and all of them alike.
pub struct Projections {
    pub coliseum: Handle<Coliseum>,
    pub treasury: Handle<Treasury>,
    pub mediaid: Handle<MediaId>,
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
        let dir = data_dir.join("projections");
        let starter = Starter { dir, passport, world, options: options(config), convoy: Arc::default() };
        // Side by side: each reads what it keeps in memory, which takes a second for some million users.
        let (coliseum, treasury, mediaid) = std::thread::scope(|scope| {
            let treasury = scope.spawn(|| starter.start::<Treasury>(treasury_setup(&config.scoring)));
            let mediaid = scope.spawn(|| starter.start::<MediaId>(mediaid_setup(&config.scoring)));
            let coliseum = starter.start::<Coliseum>(config.scoring.clone());
            (coliseum, joined(treasury), joined(mediaid))
        });
        let (coliseum, treasury, mediaid) = (coliseum?, treasury?, mediaid?);
        let all =
            Consumers::new(vec![Arc::new(coliseum.clone()), Arc::new(treasury.clone()), Arc::new(mediaid.clone())]);
        Ok(Projections { coliseum, treasury, mediaid, all })
    }
}

/// What a thread gives; a panic in it goes on here.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What all of them are started with.
struct Starter<'a> {
    dir: PathBuf,
    passport: &'a Passport,
    world: &'a World,
    options: Options,
    convoy: Arc<Convoy>,
}

impl Starter<'_> {
    fn start<P: Projection>(&self, setup: P::Setup) -> Result<Handle<P>, StartError> {
        let Starter { dir, passport, world, options, convoy } = self;
        let followed = Followed {
            log: passport.log(),
            watermark: passport.watermark(),
            log_id: passport.log_id(),
            convoy: Arc::clone(convoy),
        };
        projection::start::<P>(dir, setup, followed, world, options.clone())
    }
}

/// What the treasury needs of the rules.
fn treasury_setup(rules: &Rules) -> treasury::Setup {
    let base_currency = Currency::of(rules.base_currency()).expect("the rules take no other base currency");
    let types = rules.iter().map(|rule| rule.event_type()).filter(|named| !EVENT_TYPES.contains(&&***named));
    treasury::Setup::new(base_currency, types.map(|named| named.to_string()).collect())
}

/// What the mediaid needs of the rules.
fn mediaid_setup(rules: &Rules) -> mediaid::Setup {
    mediaid::Setup { min_play_seconds: rules.min_play_seconds() }
}

fn options(config: &Config) -> Options {
    Options {
        cache_bytes: config.projections.cache_bytes,
        attempts_max: config.projections.retry_attempts,
        entry_retry_first: Duration::from_millis(config.projections.retry_first_delay_ms),
        ..Options::default()
    }
}
