//! Which file serves, and how another one takes its place.
//!
//! At the start, in this order:
//! 1. The file of the wanted version opens: it serves, and every other file is removed.
//! 2. A file of other rules opens under its own setup: it serves and follows the log, while the wanted one is built
//!    beside it, in `<version>.redb.building`, where a crash left it.
//! 3. Neither: the wanted file is made, or a half-built one gone on with, and serves while it catches up.
//! 4. The disk is full, or fails when the file is made: as 3, in memory, and the file is built beside as soon as it can be.
//!
//! The swap: the built file is synced, then renamed over the wanted name, then the others are removed. A crash before
//! the rename leaves the old file, and a building one to go on with; one after it leaves both, and the new one serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::checkpoint::Checkpoint;
use super::contain::contain;
use super::convoy::Member;
use super::fold::{Fold, LoadError};
use super::follower::{Follower, Step};
use super::handle::{Handle, Shared, StartError};
use super::runner::Runner;
use super::stepped::Stepped;
use super::store::{self, BUILDING_SUFFIX, FILE_SUFFIX, OpenError, Place};
use super::{Followed, Identity, Options, Projection, Wiring};
use crate::disk::is_full;
use crate::units::Seq;
use crate::world::World;

/// How long a built file that could not be synced waits for the next go.
const HAND_OVER_RETRY: Duration = Duration::from_millis(100);
/// How long a build that is far ahead of others lets them come nearer before it looks again.
const CONVOY_PAUSE: Duration = Duration::from_millis(5);

/// Starts a projection under `dir` (the directory `projections/`): opens or makes its file, gives it a first view, and
/// sets its thread going. Blocks for as long as the file takes to open, which does not depend on the log's length.
///
/// # Errors
/// [`StartError::AheadOfLog`] if the file holds entries that the log has not; [`StartError::Unreachable`] if the
/// directory or the file cannot be used (rights, locked by another process). Damage is no error: it is rebuilt.
pub fn start<P: Projection>(
    dir: &Path,
    setup: P::Setup,
    followed: Followed,
    world: &World,
    options: Options,
) -> Result<Handle<P>, StartError> {
    let target = followed.log.durable();
    let Stepped { mut serving, wanted, wiring } = Stepped::<P>::open_with(dir, setup, followed, world, options, true)?;
    let view = serving.view().ok_or_else(|| StartError::Unreachable {
        path: wiring.dir.clone(),
        what: format!("the projection {} gave no first view: {}", P::NAME, serving.trouble().unwrap_or("no reason")),
    })?;
    let fold = serving.fold().expect("what has just given a view is there");
    let shared = Arc::new(Shared::<P>::new(view, fold.applied(), fold.minute()));
    let (commands, orders) = unbounded();
    let runner = Runner::new(Arc::clone(&wiring), wanted, Arc::clone(&shared), orders, serving, target);
    let thread = thread::Builder::new()
        .name(format!("fold-{}", P::NAME))
        .spawn(move || runner.run())
        .map_err(|error| StartError::Thread { name: P::NAME, what: error.to_string() })?;
    Ok(Handle::new(shared, commands, &wiring, thread))
}

pub(super) type Chosen<P> = (Fold<P>, Arc<Identity<P>>);

/// The file that serves from the start on.
pub(super) fn choose<P: Projection>(wanted: &Arc<Identity<P>>, wiring: &Wiring) -> Result<Chosen<P>, StartError> {
    let unreachable = |error: std::io::Error| StartError::Unreachable {
        path: wiring.dir.clone(),
        what: format!("{error}; check the directory's owner and rights"),
    };
    match wiring.disk.create_dir_all(&wiring.dir) {
        Err(error) if is_full(&error) => return make_in_memory(wanted, wiring),
        made => made.map_err(unreachable)?,
    }
    let path = wanted_path(wanted, wiring);
    match Fold::open(&path, wanted, wiring) {
        Ok(fold) => {
            remove_others::<P>(&path, wiring);
            return Ok((fold, Arc::clone(wanted)));
        }
        Err(LoadError::Open(OpenError::Full(why))) => {
            tracing::warn!(consumer = P::NAME, problem = why, "the file does not open on a full disk");
            return make_in_memory(wanted, wiring);
        }
        Err(LoadError::Open(OpenError::Missing)) => {}
        Err(error) => discard::<P>(&path, error, wiring)?,
    }
    if let Some(chosen) = open_other_rules(&path, wiring)? {
        return Ok(chosen);
    }
    make(&path, wanted, wiring)
}

/// The file of the newest checkpoint among those of other versions, under its own setup.
fn open_other_rules<P: Projection>(wanted: &Path, wiring: &Wiring) -> Result<Option<Chosen<P>>, StartError> {
    let mut best: Option<Chosen<P>> = None;
    for path in files(wiring) {
        let is_whole = path.to_str().is_some_and(|path| path.ends_with(FILE_SUFFIX));
        if path == wanted || !is_whole {
            continue;
        }
        match open_under_own_setup(&path, wiring) {
            Ok(chosen) if best.as_ref().is_none_or(|(fold, _)| fold.applied() < chosen.0.applied()) => {
                best = Some(chosen);
            }
            Ok(_) => {}
            Err(LoadError::Open(OpenError::Full(why))) => {
                tracing::warn!(consumer = P::NAME, problem = why, "an older version does not open on a full disk");
            }
            Err(error) => discard::<P>(&path, error, wiring)?,
        }
    }
    Ok(best)
}

fn open_under_own_setup<P: Projection>(path: &Path, wiring: &Wiring) -> Result<Chosen<P>, LoadError> {
    let disposable = |why: String| LoadError::Open(OpenError::Disposable(why));
    let database = store::open(wiring.disk.as_ref(), path, &wiring.options)?;
    let held = contain(|| {
        let checkpoint = Checkpoint::read(&database)?;
        let setup = P::decode_setup(&checkpoint.setup)?;
        Ok((checkpoint.version, Identity::<P>::of(setup)))
    });
    let held = held.map_err(disposable)?.map_err(|error: super::StoreError| disposable(error.0))?;
    let (version, identity) = held;
    if version != identity.version {
        return Err(disposable(format!("it is of version {version}, whose layout this build does not read")));
    }
    let identity = Arc::new(identity);
    let fold = Fold::load(database, Place::File(path.to_owned()), &identity, wiring)?;
    Ok((fold, identity))
}

/// Makes the wanted file, or goes on with a half-built one, and gives it its name at once: it serves from now on.
fn make<P: Projection>(path: &Path, wanted: &Arc<Identity<P>>, wiring: &Wiring) -> Result<Chosen<P>, StartError> {
    let building = building_path(path);
    let opened = match Fold::open(&building, wanted, wiring) {
        Err(LoadError::Open(OpenError::Missing)) => Fold::create(&building, wanted, wiring),
        Err(LoadError::Open(OpenError::Disposable(why))) => {
            tracing::info!(consumer = P::NAME, file = %building.display(), problem = why, "starting the file anew");
            Fold::create(&building, wanted, wiring)
        }
        opened => opened,
    };
    let mut fold = match opened {
        Ok(fold) => fold,
        // Disposable is, of a file that was just made, one that the disk failed at.
        Err(LoadError::Open(OpenError::Full(_) | OpenError::Disposable(_))) => return make_in_memory(wanted, wiring),
        Err(error) => return Err(refusal(&building, error)),
    };
    match store::rename(wiring.disk.as_ref(), &building, path) {
        Ok(()) => fold.move_to(Place::File(path.to_owned())),
        Err(error) => tracing::warn!(consumer = P::NAME, %error, "the new file keeps its building name for now"),
    }
    remove_others::<P>(path, wiring);
    Ok((fold, Arc::clone(wanted)))
}

fn make_in_memory<P: Projection>(wanted: &Arc<Identity<P>>, wiring: &Wiring) -> Result<Chosen<P>, StartError> {
    tracing::warn!(consumer = P::NAME, "the disk takes no file: the tables are built in memory until it does");
    let fold = Fold::create_in_memory(wanted, wiring).map_err(|error| refusal(&wiring.dir, error))?;
    Ok((fold, Arc::clone(wanted)))
}

/// Removes a file that is of no use; refuses the start over one that means more than that.
fn discard<P: Projection>(path: &Path, error: LoadError, wiring: &Wiring) -> Result<(), StartError> {
    match error {
        LoadError::Open(OpenError::Disposable(why)) => {
            tracing::warn!(consumer = P::NAME, file = %path.display(), problem = why, "removed; built again from the log");
            store::remove(wiring.disk.as_ref(), path)
                .map_err(|error| StartError::Unreachable { path: wiring.dir.clone(), what: error.to_string() })
        }
        error => Err(refusal(path, error)),
    }
}

fn refusal(path: &Path, error: LoadError) -> StartError {
    match error {
        LoadError::AheadOfLog { applied, durable } => {
            StartError::AheadOfLog { file: path.to_owned(), applied, durable }
        }
        LoadError::Open(error) => StartError::Unreachable { path: path.to_owned(), what: error.why().to_owned() },
    }
}

fn wanted_path<P: Projection>(wanted: &Identity<P>, wiring: &Wiring) -> PathBuf {
    wiring.dir.join(format!("{}{FILE_SUFFIX}", store::file_stem(&wanted.version)))
}

fn building_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BUILDING_SUFFIX);
    PathBuf::from(name)
}

/// The projection's files, whole ones and those being built.
fn files(wiring: &Wiring) -> Vec<PathBuf> {
    let listed = wiring.disk.list(&wiring.dir).unwrap_or_default();
    let names = listed.into_iter().map(|entry| entry.name);
    let ours = names.filter(|name| name.strip_suffix(BUILDING_SUFFIX).unwrap_or(name).ends_with(FILE_SUFFIX));
    ours.map(|name| wiring.dir.join(name)).collect()
}

/// Removes every file but `kept`. One that stays is removed at the next start.
fn remove_others<P: Projection>(kept: &Path, wiring: &Wiring) {
    let others: Vec<PathBuf> = files(wiring).into_iter().filter(|path| path != kept).collect();
    let removed = others.iter().try_for_each(|path| store::remove(wiring.disk.as_ref(), path));
    let synced = if others.is_empty() { Ok(()) } else { wiring.disk.sync_dir(&wiring.dir) };
    if let Err(error) = removed.and(synced) {
        tracing::warn!(consumer = P::NAME, %error, "a file that is no longer needed stays");
    }
}

/// Gives a built file the wanted name and removes the others.
pub(super) fn settle<P: Projection>(serving: &mut Follower<P>, wiring: &Wiring) {
    let path = wanted_path(serving.identity(), wiring);
    match serving.settle(path.clone()) {
        Ok(()) => remove_others::<P>(&path, wiring),
        Err(error) => tracing::warn!(consumer = P::NAME, %error, "the rebuilt file keeps its building name for now"),
    }
}

/// A file that is being built beside the one that serves, on a thread of its own.
pub(super) struct Building<P: Projection> {
    shared: Arc<BuildingShared>,
    wake: Sender<()>,
    built: Receiver<Box<Follower<P>>>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct BuildingShared {
    is_stopping: AtomicBool,
    applied: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl<P: Projection> Building<P> {
    /// `afresh`: from the start of the log, whatever an earlier build has left.
    pub fn start(wiring: &Arc<Wiring>, wanted: &Arc<Identity<P>>, afresh: bool) -> std::io::Result<Building<P>> {
        let path = building_path(&wanted_path(wanted, wiring));
        if afresh {
            store::remove(wiring.disk.as_ref(), &path)?;
        }
        let of_building = Arc::new(wiring.with_options(wiring.options.of_building()));
        let follower = Follower::building(path, Arc::clone(wanted), of_building);
        let shared = Arc::new(BuildingShared::default());
        let (wake, woken) = bounded(1);
        let (done, built) = bounded(1);
        let member = wiring.convoy.join();
        let builder =
            Builder { follower, wiring: Arc::clone(wiring), member, shared: Arc::clone(&shared), woken, done };
        let thread = thread::Builder::new().name(format!("build-{}", P::NAME)).spawn(move || builder.run())?;
        Ok(Building { shared, wake, built, thread })
    }

    /// What was built, once it has caught up with the log.
    pub fn built(&self) -> Option<Box<Follower<P>>> {
        self.built.try_recv().ok()
    }

    /// `1234/5000`, and what holds it up.
    pub fn describe(&self, head: Seq) -> String {
        let applied = self.shared.applied.load(Ordering::Relaxed);
        match &*self.shared.trouble.lock() {
            Some(why) => format!("{applied}/{head}; held up: {why}"),
            None => format!("{applied}/{head}"),
        }
    }

    /// Stops it where it is, flushed, for the next start to go on with.
    pub fn stop(self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        // A full channel has woken it already.
        let _ = self.wake.try_send(());
        if self.thread.join().is_err() {
            tracing::error!(consumer = P::NAME, "the rebuild's thread ended in a panic");
        }
    }
}

struct Builder<P: Projection> {
    follower: Follower<P>,
    wiring: Arc<Wiring>,
    member: Member,
    shared: Arc<BuildingShared>,
    woken: Receiver<()>,
    done: Sender<Box<Follower<P>>>,
}

impl<P: Projection> Builder<P> {
    fn run(mut self) {
        loop {
            if self.shared.is_stopping.load(Ordering::Acquire) {
                if let Err(why) = contain(|| self.follower.checkpoint()).flatten() {
                    tracing::warn!(consumer = P::NAME, problem = why, "a rebuild stopped without its last flush");
                }
                return;
            }
            if self.member.is_far_ahead(self.applied(), self.wiring.clock.instant()) {
                self.pause(CONVOY_PAUSE);
                continue;
            }
            let step = contain(|| self.follower.step()).unwrap_or_else(|panic| {
                self.follower.distrust(panic);
                Step::More
            });
            self.report();
            match step {
                Step::CaughtUp => {
                    if contain(|| self.follower.checkpoint()).flatten().is_ok() {
                        return self.hand_over();
                    }
                    self.pause(HAND_OVER_RETRY);
                }
                Step::More | Step::Lost(_) => {}
                Step::Wait(until) => self.pause(until.saturating_duration_since(self.wiring.clock.instant())),
            }
        }
    }

    /// Waits, or until it is to stop.
    fn pause(&self, wait: Duration) {
        let _ = self.woken.recv_timeout(wait);
    }

    fn applied(&self) -> Seq {
        self.follower.fold().map_or(Seq::ZERO, Fold::applied)
    }

    fn report(&self) {
        self.shared.applied.store(self.applied().get(), Ordering::Relaxed);
        *self.shared.trouble.lock() = self.follower.trouble().map(str::to_owned);
    }

    fn hand_over(self) {
        let Builder { mut follower, wiring, done, .. } = self;
        follower.go_on_with(&wiring);
        // The one who waited for it may be stopping; then the file is gone on with at the next start.
        let _ = done.send(Box::new(follower));
        wiring.watermark.nudge();
    }
}
