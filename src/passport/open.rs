//! Opening and closing the Passport: recovery, the threads, and what they share.
//!
//! ```text
//! passport/log.id                       id of the log; its presence says that there must be segments
//! passport/<first seq>.seg              raw segment; the last one is active       made by the writer thread
//! passport/<first seq>.segz             sealed segment                            made by the keeper thread
//! passport/<first seq>.idx              its entry index, derived                  made by the keeper thread
//! passport/keys/                        idempotency keys, derived                 made by the keeper thread
//! passport/torn/                        tails cut off by recovery                 never removed
//! passport/*.tmp                        being made; removed at the next start
//! passport/*.moved                      left by a repair that was interrupted     removed by the next one
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::watch;

use super::group::{self, Appender, Message, Queue};
use super::keeper::{Keeper, Task};
use super::keys::StatsSource;
use super::log::{Log, Segment};
use super::recovery::{self, OpenError, TornTail};
use super::round::{LastRounds, Round};
use super::scrub::{Scrub, ScrubOptions};
use super::segment::{SegmentHeader, file_name};
use super::spare::{self, Recipe, SpareMaker};
use super::status::WriterStatus;
use super::watermark::Watermark;
use super::writer::{Durability, Writer, WriterOptions, place_in, random_id};
use crate::clock::Clock;
use crate::disk::{Disk, OpenMode, make_dir_durable};
use crate::limits::APPEND_QUEUE_GROUPS_MAX;
use crate::units::Seq;
use crate::world::World;

pub(super) const ID_NAME: &str = "log.id";
const ID_MAGIC: [u8; 8] = *b"CLMLOGID";

/// How the Passport works; see `[passport]` in `config.toml`.
#[derive(Clone, Debug)]
pub struct PassportOptions {
    /// The `passport/` directory.
    pub dir: PathBuf,
    pub segment_bytes: u64,
    pub min_free_bytes: u64,
    pub durability: Durability,
    /// Idempotency keys in memory before they are written as a run: [`super::keys::RECENT_KEYS`].
    pub table_keys: usize,
}

/// The log opened and recovered, its parts not set going yet. [`Passport`] runs each of them on a thread; a simulation
/// takes their steps itself, in an order of its own, one at a time.
pub struct Stepped {
    parts: Parts,
    writer: Writer,
    queue: Queue,
    keeper: Keeper,
    tasks: Receiver<Task>,
}

/// What both forms have in common.
struct Parts {
    log: Arc<Log>,
    appender: Appender,
    status: Arc<WriterStatus>,
    key_stats: StatsSource,
    log_id: [u8; 16],
    created: bool,
    torn: Option<TornTail>,
}

/// The open log. Closing it (or dropping it) syncs what was accepted.
pub struct Passport {
    parts: Parts,
    failed: watch::Receiver<Option<String>>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<(Sender<Task>, JoinHandle<()>)>,
}

impl Stepped {
    /// Recovers the log of a directory, made if it is not there.
    ///
    /// # Errors
    /// As [`Passport::open`].
    pub fn open(options: &PassportOptions, world: &World) -> Result<Stepped, OpenError> {
        Stepped::open_telling(options, world, &|_, _| {})
    }

    /// The same, and tells how far it is; see [`Passport::open_telling`].
    fn open_telling(options: &PassportOptions, world: &World, tell: &dyn Fn(Seq, Seq)) -> Result<Stepped, OpenError> {
        let (disk, clock) = (world.disk.clone(), world.clock.as_ref());
        let dir = options.dir.clone();
        let failed = |error| OpenError::io(&options.dir, error);
        make_dir_durable(disk.as_ref(), &dir).map_err(failed)?;
        let mut recovered = recovery::recover(disk.as_ref(), clock, &dir)?;
        let stored_id = read_id(disk.as_ref(), &dir)?;
        let created = recovered.segments.is_empty();
        if created {
            if stored_id.is_some() {
                return Err(OpenError::lost_segments(&dir));
            }
            recovered.segments.push(Arc::new(first_segment(world, options).map_err(failed)?));
        }
        let active = recovered.segments.last().expect("there is a segment now").clone();
        let log_id = match active.as_ref() {
            Segment::Raw(raw) => raw.header.log_id,
            Segment::Sealed(_) => unreachable!("recovery ends with a raw segment"),
        };
        match stored_id {
            None => write_id(disk.as_ref(), &dir, log_id).map_err(failed)?,
            Some(id) if id != log_id => return Err(OpenError::other_log(&dir)),
            Some(_) => {}
        }

        let watermark = Arc::new(Watermark::new(active.last_seq()));
        let unsealed: Vec<_> = recovered.segments[..recovered.segments.len() - 1].to_vec();
        let log = Arc::new(Log::new(disk.clone(), dir.clone(), watermark, recovered.segments, log_id));
        let (keys, upkeep) = super::keeper::open_keys(&log, log_id, world.random.as_ref(), options.table_keys, tell)?;
        let key_stats = keys.stats_source();
        let status = Arc::new(WriterStatus::default());
        let (to_keeper, tasks) = unbounded();
        for segment in unsealed {
            if let Segment::Raw(_) = segment.as_ref() {
                to_keeper.send(Task::Seal(segment)).expect("the keeper's queue is open");
            }
        }
        let (segment_bytes, min_free_bytes) = (options.segment_bytes, options.min_free_bytes);
        let writer = Writer {
            log: log.clone(),
            world: world.clone(),
            keys,
            options: WriterOptions { segment_bytes, min_free_bytes, durability: options.durability, log_id },
            status: status.clone(),
            spares: SpareMaker::new(Recipe { disk, dir, bytes: segment_bytes, min_free_bytes }),
            keeper: to_keeper,
            active,
            round: Round::default(),
            last_rounds: LastRounds::default(),
            held: None,
            looked_at: None,
            uncut: recovered.uncut,
            wanted_bytes: 0,
        };
        let keeper = Keeper::new(log.clone(), upkeep);
        let (appender, queue) = group::queue(APPEND_QUEUE_GROUPS_MAX);
        let parts = Parts { log, appender, status, key_stats, log_id, created, torn: recovered.torn };
        Ok(Stepped { parts, writer, queue, keeper, tasks })
    }

    pub fn log(&self) -> Arc<Log> {
        self.parts.log.clone()
    }
    pub fn appender(&self) -> Appender {
        self.parts.appender.clone()
    }
    pub fn watermark(&self) -> Arc<Watermark> {
        self.parts.log.watermark.clone()
    }
    pub fn status(&self) -> Arc<WriterStatus> {
        self.parts.status.clone()
    }
    pub fn log_id(&self) -> [u8; 16] {
        self.parts.log_id
    }
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.parts.torn.as_ref()
    }
    /// Files of sorted idempotency keys.
    pub fn key_runs(&self) -> u64 {
        self.parts.key_stats.stats().runs
    }

    /// The writer's turn: one batch of what waits; `false` where nothing did.
    ///
    /// # Errors
    /// A write or sync that failed: it is final, and this log must be dropped.
    pub fn write(&mut self) -> io::Result<bool> {
        self.writer.step(&self.queue)
    }

    /// The turn of the thread that makes segments ahead of need; `false` where none was wanted.
    pub fn make_spare(&mut self) -> bool {
        self.writer.spares.step()
    }

    /// The keeper's turn: one piece of background work; `false` where there was none.
    ///
    /// # Errors
    /// In words, what did not work; it is tried again at the next turn.
    pub fn keep(&mut self) -> Result<bool, String> {
        while let Ok(task) = self.tasks.try_recv() {
            self.keeper.take(task);
        }
        self.keeper.step().map_err(|error| error.to_string())
    }

    /// Sets every part going on a thread of its own.
    fn start_threads(self, dir: &Path) -> Result<Passport, OpenError> {
        let failed = |error| OpenError::io(dir, error);
        let Stepped { parts, mut writer, queue, keeper, tasks } = self;
        let to_keeper = writer.keeper.clone();
        let keeper = keeper.start_thread(tasks).map_err(failed)?;
        writer.spares.start_thread().map_err(failed)?;
        let (failure, failed_to) = watch::channel(None);
        let writer = start_writer(writer, queue, failure).map_err(failed)?;
        Ok(Passport { parts, failed: failed_to, writer: Some(writer), keeper: Some((to_keeper, keeper)) })
    }
}

impl Passport {
    /// Recovers the log of a directory, made if it is not there, and starts its threads.
    ///
    /// # Errors
    /// Damage, with file, offset, seq and what to do; or an error of the disk. Nothing was changed then, but for a torn
    /// tail that was kept aside.
    pub fn open(options: &PassportOptions, world: &World) -> Result<Passport, OpenError> {
        Passport::open_telling(options, world, &|_, _| {})
    }

    /// The same, and tells of the one piece of work that grows with the log: reading it again for an index of
    /// idempotency keys that has gone. `tell` gets the seq that was come to and the log's last one, now and then.
    ///
    /// # Errors
    /// As [`Passport::open`].
    pub fn open_telling(
        options: &PassportOptions,
        world: &World,
        tell: &dyn Fn(Seq, Seq),
    ) -> Result<Passport, OpenError> {
        Stepped::open_telling(options, world, tell)?.start_threads(&options.dir)
    }

    pub fn log(&self) -> Arc<Log> {
        self.parts.log.clone()
    }
    pub fn appender(&self) -> Appender {
        self.parts.appender.clone()
    }
    pub fn watermark(&self) -> Arc<Watermark> {
        self.parts.log.watermark.clone()
    }
    pub fn status(&self) -> Arc<WriterStatus> {
        self.parts.status.clone()
    }
    /// The idempotency index's figures.
    pub fn key_stats(&self) -> StatsSource {
        self.parts.key_stats.clone()
    }
    /// Random, made with the log; a projection of another log is rebuilt.
    pub fn log_id(&self) -> [u8; 16] {
        self.parts.log_id
    }
    /// Whether this start made the log.
    pub fn created(&self) -> bool {
        self.parts.created
    }
    /// The tail that recovery cut off, if it did.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.parts.torn.as_ref()
    }
    /// Starts the background check of what is sealed.
    pub fn start_scrub(&self, options: ScrubOptions, clock: Arc<dyn Clock>) -> io::Result<Scrub> {
        let keeper = self.keeper.as_ref().map(|(tasks, _)| tasks.clone());
        Scrub::start(self.log(), self.key_stats(), keeper, options, clock)
    }
    /// Becomes `Some(why)` when the writer has failed for good: the daemon must stop with a non-zero status.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// Syncs and answers what was accepted, and ends the threads.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // A writer that has failed has closed its queue.
            let _ = self.parts.appender.queue.send(Message::Stop);
            join(writer);
        }
        if let Some((tasks, keeper)) = self.keeper.take() {
            let _ = tasks.send(Task::Stop);
            join(keeper);
        }
    }
}

impl Drop for Passport {
    fn drop(&mut self) {
        self.stop();
    }
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or("?").to_owned();
    if thread.join().is_err() {
        tracing::error!(thread = name, "a thread of the log panicked");
    }
}

/// Runs the writer on its thread; a failure or a panic of it is told to the daemon before the queue closes.
fn start_writer(writer: Writer, queue: Queue, failure: watch::Sender<Option<String>>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("writer".into()).spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| writer.run(&queue));
        let ended = std::panic::catch_unwind(run).unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        if let Err(error) = ended {
            tracing::error!(%error, "the log has failed; nothing more is acknowledged and the daemon stops");
            failure.send_replace(Some(error.to_string()));
        }
    })
}

/// The first segment of a new log.
fn first_segment(world: &World, options: &PassportOptions) -> io::Result<Segment> {
    let disk = world.disk.as_ref();
    let mut log_id = [0; 16];
    world.random.fill(&mut log_id)?;
    let header = SegmentHeader {
        log_id,
        segment_id: random_id(world.random.as_ref())?,
        first_seq: Seq::new(1),
        file_bytes: options.segment_bytes,
        previous_segment_id: 0,
        previous_checksum: 0,
    };
    let spare = spare::make(disk, &options.dir, spare::AT_ONCE_NAME, options.segment_bytes, 0)?;
    Ok(Segment::Raw(place_in(disk, &options.dir, spare, header)?))
}

/// The id kept beside the segments, if it was written.
pub(super) fn read_id(disk: &dyn Disk, dir: &Path) -> Result<Option<[u8; 16]>, OpenError> {
    let path = dir.join(ID_NAME);
    let failed = |error| OpenError::io(&path, error);
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = [0; 28];
    let whole = file.len_bytes().map_err(failed)? == bytes.len() as u64;
    if whole {
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    }
    let checksum = crc32fast::hash(&bytes[..24]).to_le_bytes();
    if !whole || bytes[..8] != ID_MAGIC || bytes[24..] != checksum {
        return Err(OpenError::damaged_file(file_name(&path), "it does not hold a log's id"));
    }
    Ok(Some(super::batch::field(&bytes, 8)))
}

/// Written after the first segment and before anything else, whole or not at all.
pub(super) fn write_id(disk: &dyn Disk, dir: &Path, id: [u8; 16]) -> io::Result<()> {
    let mut bytes = ID_MAGIC.to_vec();
    bytes.extend_from_slice(&id);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let temporary = dir.join(format!("{ID_NAME}.tmp"));
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    file.write_all_at(&bytes, 0)?;
    file.sync()?;
    disk.rename(&temporary, &dir.join(ID_NAME))?;
    disk.sync_dir(dir)
}
