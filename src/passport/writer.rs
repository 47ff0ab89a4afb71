//! The writer thread: the one place that gives numbers, and the one that syncs.
//!
//! It owns the active segment. Each round it takes what waits in the queue, looks every key up, numbers what is new,
//! and then, for all of it together:
//!
//! 1. writes one batch behind the last one (a crash here leaves a torn tail that nobody was told of);
//! 2. syncs it (a crash here leaves the batch whole, unacknowledged; its senders send again and get its seqs);
//! 3. moves the durable watermark, so that readers may see it;
//! 4. answers;
//! 5. wakes those who follow the log.
//!
//! While one batch syncs the next one fills in the queue: group commit tunes itself, and an idle log waits for nothing.
//! Nothing is written behind a batch that is not synced. A write or sync that fails is final: it is never tried again,
//! nothing after it is acknowledged, and the daemon stops.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::batch::{self, HEADER_BYTES, RECORD_LENGTH_BYTES};
use super::group::{AppendError, Group, Message, Outcome, Request};
use super::keeper::Task;
use super::keys::{Fingerprint, KeyError, KeyIndex};
use super::log::{Log, Segment};
use super::record;
use super::recovery::UncutTail;
use super::round::{LastRounds, Round};
use super::segment::{BatchPlace, FIRST_BATCH_OFFSET, Places, RawSegment, SegmentHeader, raw_name};
use super::spare::{self, Spare, SpareMaker};
use super::status::WriterStatus;
use crate::event;
use crate::limits::{FREE_SPACE_CHECK_MS, KEY_TABLES_BEHIND_MAX, LOG_BATCH_GATHER_BYTES};
use crate::units::Seq;
use crate::world::{Random, World};

/// When an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the sync.
    Sync,
    /// Before it: what came in the last interval is lost if the process or the machine dies.
    Interval(Duration),
}

/// How the writer works.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriterOptions {
    pub segment_bytes: u64,
    pub min_free_bytes: u64,
    pub durability: Durability,
    pub log_id: [u8; 16],
}

pub(super) struct Writer {
    pub log: Arc<Log>,
    pub world: World,
    pub keys: KeyIndex,
    pub options: WriterOptions,
    pub status: Arc<WriterStatus>,
    pub spares: SpareMaker,
    pub keeper: Sender<Task>,
    pub active: Arc<Segment>,
    pub round: Round,
    pub last_rounds: LastRounds,
    /// What did not fit the last batch and is taken first.
    pub held: Option<Request>,
    /// When free space was looked at last.
    pub looked_at: Option<Instant>,
    /// A torn tail that could not be kept aside; while it is there the log is read-only.
    pub uncut: Option<UncutTail>,
    /// Bytes that the next segment takes while there is no room for it, so that the log stays read-only until there is;
    /// 0 otherwise.
    pub wanted_bytes: u64,
}

/// What the look-up says of a key.
enum Found {
    New(Fingerprint),
    Same(Seq),
    Other(Seq),
}

impl Writer {
    /// Runs until the queue is told to stop or every [`super::Appender`] is gone; then syncs what was accepted.
    ///
    /// # Errors
    /// A write or sync that failed. The daemon must stop with a non-zero status.
    pub fn run(mut self, queue: &Receiver<Message>) -> io::Result<()> {
        loop {
            self.status.beat(self.world.clock.now());
            let first = match self.held.take() {
                Some(request) => request,
                None => match self.receive(queue)? {
                    Some(request) => request,
                    None => return Ok(()),
                },
            };
            if self.write(first, queue)? {
                return Ok(());
            }
        }
    }

    /// Takes one round's worth of what waits, without waiting for more; `false` where nothing waited.
    pub fn step(&mut self, queue: &Receiver<Message>) -> io::Result<bool> {
        self.check_space()?;
        let first = self.held.take().or_else(|| match queue.try_recv() {
            Ok(Message::Append(request)) => Some(request),
            Ok(Message::Stop) | Err(_) => None,
        });
        let Some(first) = first else { return Ok(false) };
        self.write(first, queue)?;
        Ok(true)
    }

    /// One round: a batch of this request and of what else waits; `true` if the queue says stop.
    fn write(&mut self, first: Request, queue: &Receiver<Message>) -> io::Result<bool> {
        self.round.start(self.log.watermark.get().next());
        let mut stop = false;
        // Where there is no room for the first, nothing else is taken either: each is told so in a round of its own.
        if let Some(request) = self.make_room(first)? {
            self.accept(request);
            stop = self.gather(queue);
        }
        self.finish_round()?;
        Ok(stop)
    }

    /// The next request, or `None` at the end. Meanwhile it looks at the disk now and then, so that readiness goes and
    /// comes back by itself, from the start on and with nobody writing.
    fn receive(&mut self, queue: &Receiver<Message>) -> io::Result<Option<Request>> {
        loop {
            self.status.beat(self.world.clock.now());
            self.check_space()?;
            match queue.recv_timeout(Duration::from_millis(FREE_SPACE_CHECK_MS)) {
                Ok(Message::Append(request)) => return Ok(Some(request)),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Takes what else waits, as long as it fits behind what was taken; `true` if the queue says stop.
    fn gather(&mut self, queue: &Receiver<Message>) -> bool {
        let until = match self.options.durability {
            Durability::Sync => None,
            Durability::Interval(interval) => Some(Instant::now() + interval),
        };
        while self.round.bytes.len() < LOG_BATCH_GATHER_BYTES {
            if until.is_some() {
                self.answer();
            }
            let message = match until {
                None => queue.try_recv().ok(),
                Some(deadline) => queue.recv_deadline(deadline).ok(),
            };
            match message {
                None => return false,
                Some(Message::Stop) => return true,
                Some(Message::Append(request)) if self.fits(&request.group) => self.accept(request),
                Some(Message::Append(request)) => {
                    self.held = Some(request);
                    return false;
                }
            }
        }
        false
    }

    /// Bytes that the group may add to a batch.
    fn body_bytes(group: &Group) -> u64 {
        (group.bytes.len() + group.items.len() * RECORD_LENGTH_BYTES) as u64
    }

    fn raw(&self) -> &RawSegment {
        match self.active.as_ref() {
            Segment::Raw(raw) => raw,
            Segment::Sealed(_) => unreachable!("the active segment is raw until the next one is active"),
        }
    }

    fn fits(&self, group: &Group) -> bool {
        let raw = self.raw();
        let end = raw.places.read().end_offset;
        end + self.round.bytes.len() as u64 + Self::body_bytes(group) <= raw.header.file_bytes
    }

    /// Sees to it that the request fits the active segment, by making the next one where it does not. Gives the request
    /// back, or answers it where the log takes no writes.
    fn make_room(&mut self, request: Request) -> io::Result<Option<Request>> {
        self.check_space()?;
        if let Some(why) = self.status.read_only() {
            self.round.answers.push((request.reply, Err(AppendError::ReadOnly(why))));
            return Ok(None);
        }
        if self.fits(&request.group) {
            return Ok(Some(request));
        }
        let needed = FIRST_BATCH_OFFSET + HEADER_BYTES as u64 + Self::body_bytes(&request.group);
        match self.take_spare(needed) {
            Ok(spare) => {
                self.wanted_bytes = 0;
                self.rotate(spare)?;
                Ok(Some(request))
            }
            Err(error) => {
                // A group that is larger than a segment does not hold up those that are not.
                self.wanted_bytes = if needed > self.options.segment_bytes { 0 } else { self.options.segment_bytes };
                let why = format!("no room for the next segment: {error}; make room, and writes go on");
                self.status.set_read_only(Some(why.clone()));
                self.round.answers.push((request.reply, Err(AppendError::ReadOnly(why))));
                Ok(None)
            }
        }
    }

    fn take_spare(&mut self, needed: u64) -> io::Result<Spare> {
        if needed > self.options.segment_bytes {
            let (disk, min_free) = (self.log.disk.as_ref(), self.options.min_free_bytes);
            return spare::make(disk, &self.log.dir, spare::AT_ONCE_NAME, needed, min_free);
        }
        self.spares.take()
    }

    /// Looks at the free space, at most every [`FREE_SPACE_CHECK_MS`], and turns writes off and on by it.
    ///
    /// # Errors
    /// A torn tail that has waited for space was cut, and the disk failed at that.
    fn check_space(&mut self) -> io::Result<()> {
        let every = Duration::from_millis(FREE_SPACE_CHECK_MS);
        let now = self.world.clock.instant();
        if self.looked_at.is_some_and(|at| now.saturating_duration_since(at) < every) {
            return Ok(());
        }
        self.looked_at = Some(now);
        let why = match self.no_space() {
            None => self.no_cut_tail()?,
            why => why,
        };
        self.status.set_read_only(why);
        Ok(())
    }

    /// Why a torn tail still keeps the log from being written; cuts it where that works now.
    fn no_cut_tail(&mut self) -> io::Result<Option<String>> {
        let Some(mut uncut) = self.uncut.take() else { return Ok(None) };
        if uncut.cut(self.log.disk.as_ref(), self.world.clock.as_ref(), self.raw())? {
            return Ok(None);
        }
        let bytes = uncut.bytes();
        self.uncut = Some(uncut);
        Ok(Some(format!("no room to keep {bytes} bytes of a torn tail aside; make room, and writes go on")))
    }

    /// Why there is no space for writes, if there is none.
    fn no_space(&mut self) -> Option<String> {
        let min_free = self.options.min_free_bytes;
        // Nothing else tells of the tables that have become runs while no batch is written.
        self.keys.forget_installed();
        match self.log.disk.free_bytes(&self.log.dir) {
            Ok(free) if free < min_free => Some(format!(
                "{free} bytes are free on the disk, min_free_bytes is {min_free}; make room, and writes go on"
            )),
            Ok(free) if self.wanted_bytes > 0 && free < min_free.saturating_add(self.wanted_bytes) => Some(format!(
                "{free} bytes are free on the disk, the next segment takes {} and min_free_bytes is {min_free}; make \
                 room, and writes go on",
                self.wanted_bytes
            )),
            Ok(_) if self.keys.are_behind(KEY_TABLES_BEHIND_MAX) => {
                Some("the idempotency index cannot be written fast enough; see the log for why".into())
            }
            Ok(_) => self.keys.missing().map(|missing| {
                format!("the idempotency index lacks seq {missing} and is made again from the log; writes go on then")
            }),
            Err(error) => Some(format!("the free space cannot be read: {error}")),
        }
    }

    /// Looks the group's keys up and puts what is new into the round. Nothing is on disk yet.
    fn accept(&mut self, request: Request) {
        let Request { group, reply } = request;
        let (bytes_mark, count_mark) = (self.round.bytes.len(), self.round.spans.len());
        let mut outcomes = Vec::with_capacity(group.items.len());
        let mut failed = self.look_up(&group).err();
        let items = if failed.is_none() { group.items.as_slice() } else { &[] };
        for (place, item) in items.iter().enumerate() {
            let record = &group.bytes[item.start..item.start + item.len];
            match self.find(place, group.key(item), record) {
                Ok(Found::Same(seq)) => outcomes.push(Outcome::Duplicate(seq)),
                Ok(Found::Other(seq)) => outcomes.push(Outcome::Conflict(seq)),
                Ok(Found::New(_)) if item.ahead => outcomes.push(Outcome::Ahead),
                Ok(Found::New(key)) => {
                    let seq = self.round.next_seq();
                    self.round.push(record, key);
                    outcomes.push(Outcome::Stored(seq));
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let bad = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Conflict(_) | Outcome::Ahead));
        if failed.is_some() || (group.atomic && bad) {
            self.round.truncate(bytes_mark, count_mark);
            for outcome in &mut outcomes {
                if let Outcome::Stored(_) = outcome {
                    *outcome = Outcome::Withheld;
                }
            }
        }
        self.round.answers.push((reply, failed.map_or(Ok(outcomes), Err)));
    }

    /// Looks all keys of a group up at once, so that the index's cache misses overlap.
    fn look_up(&mut self, group: &Group) -> Result<(), AppendError> {
        let Round { looked_up, hits, .. } = &mut self.round;
        looked_up.clear();
        looked_up.extend(group.items.iter().map(|item| self.keys.fingerprint(group.key(item))));
        self.keys.candidates_batch(looked_up, hits).map_err(|error| {
            if let KeyError::Damaged { run, .. } = &error {
                // Until it is mended, look-ups fail and nothing is stored. A keeper that is gone mends it at the next start.
                let _ = self.keeper.send(Task::MendKeys(*run));
            }
            AppendError::Unreadable(format!("the index of idempotency keys: {error}"))
        })
    }

    /// Whether the key at a place of the group is known, and with which content. Candidates share a fingerprint; only the
    /// stored key decides.
    fn find(&self, place: usize, key: &str, record: &[u8]) -> Result<Found, AppendError> {
        let fingerprint = self.round.looked_up[place];
        let from = self.round.hits.partition_point(|hit| hit.index < place);
        let hits = self.round.hits[from..].iter().take_while(|hit| hit.index == place).map(|hit| hit.seq);
        for seq in hits.chain(self.round.with_fingerprint(fingerprint)) {
            match self.compare(seq, key, record)? {
                None => continue,
                Some(true) => return Ok(Found::Same(seq)),
                Some(false) => return Ok(Found::Other(seq)),
            }
        }
        Ok(Found::New(fingerprint))
    }

    /// Whether the stored entry has this key (`None` if not), and the same content.
    fn compare(&self, seq: Seq, key: &str, record: &[u8]) -> Result<Option<bool>, AppendError> {
        let unreadable = |what: String| AppendError::Unreadable(what);
        let new = record::decode(record).map_err(|error| unreadable(error.to_string()))?;
        let same = |stored: &record::Envelope<'_>| {
            (stored.message_id == key).then(|| event::same_content(stored.payload, new.payload))
        };
        if let Some(pending) = self.round.record(seq) {
            return Ok(same(&record::decode(pending).map_err(|error| unreadable(error.to_string()))?));
        }
        // What is sent again was mostly sent a moment ago.
        if let Some(written) = self.last_rounds.record(seq) {
            return Ok(same(&record::decode(written).map_err(|error| unreadable(error.to_string()))?));
        }
        let mut verdict = None;
        let there = self
            .log
            .read_sent_before(seq, &mut |entry| verdict = same(&entry.envelope))
            .map_err(|error| unreadable(error.to_string()))?;
        if !there {
            return Err(unreadable(format!("the key index names seq {seq}, which the log does not hold")));
        }
        Ok(verdict)
    }

    /// Writes, syncs, publishes, answers.
    fn finish_round(&mut self) -> io::Result<()> {
        if let Durability::Interval(_) = self.options.durability {
            self.answer();
        }
        let is_written = !self.round.spans.is_empty();
        if is_written && let Err(error) = self.write_batch() {
            let why = format!("a write to the log failed: {error}");
            for (_, answer) in &mut self.round.answers {
                *answer = Err(AppendError::Stopped(why.clone()));
            }
            self.answer();
            self.status.set_read_only(Some(why));
            return Err(error);
        }
        self.answer();
        if is_written {
            self.log.watermark.notify();
        }
        Ok(())
    }

    fn answer(&mut self) {
        for (reply, answer) in self.round.answers.drain(..) {
            // A sender that went away finds its event stored when it sends it again.
            let _ = reply.send(answer);
        }
    }

    fn write_batch(&mut self) -> io::Result<()> {
        assert!(self.uncut.is_none(), "nothing is written before a torn tail is cut");
        let raw = self.raw();
        let (offset, previous) = {
            let places = raw.places.read();
            (places.end_offset, places.last_checksum)
        };
        let count = self.round.spans.len() as u32;
        let (first_seq, last_seq) = (self.round.first_seq, self.round.first_seq.plus(u64::from(count) - 1));
        let segment_id = raw.header.segment_id;
        let checksum = batch::finish(&mut self.round.bytes, segment_id, offset, first_seq, count, previous);
        let raw = self.raw();
        raw.file.write_all_at(&self.round.bytes, offset)?;
        let started = Instant::now();
        raw.file.sync()?;
        self.status.count_sync(started.elapsed(), count, self.round.bytes.len());
        let end_offset = offset + self.round.bytes.len() as u64;
        {
            let mut places = raw.places.write();
            places.batches.push(BatchPlace { first_seq, offset });
            places.end_offset = end_offset;
            places.last_seq = last_seq;
            places.last_checksum = checksum;
        }
        let wants_spare = end_offset > raw.header.file_bytes / 4;
        for (at, key) in self.round.keys.iter().enumerate() {
            self.keys.insert(*key, first_seq.plus(at as u64));
        }
        self.log.watermark.advance(last_seq);
        self.last_rounds.keep(&mut self.round);
        if self.keys.wants_seal() {
            // A keeper that is gone writes them at the next start.
            let _ = self.keeper.send(Task::Keys(self.keys.seal(last_seq)));
        }
        self.keys.forget_installed();
        if wants_spare {
            self.spares.request();
        }
        Ok(())
    }

    /// Goes on in a new segment.
    ///
    /// 1. header into the spare, synced (a crash leaves a `.tmp` file);
    /// 2. its name, and the directory synced (a crash leaves an empty active segment, which is whole);
    /// 3. readers get it, and the keeper seals the old one, which is complete from now on.
    ///
    /// An active segment that is still empty is replaced under its own name: it was too small for one large request.
    fn rotate(&mut self, spare: Spare) -> io::Result<()> {
        let old = self.raw();
        let places = old.places.read().clone();
        let empty = places.batches.is_empty();
        let (previous_segment_id, previous_checksum) = if empty {
            (old.header.previous_segment_id, old.header.previous_checksum)
        } else {
            (old.header.segment_id, places.last_checksum)
        };
        let header = SegmentHeader {
            log_id: self.options.log_id,
            segment_id: random_id(self.world.random.as_ref())?,
            first_seq: places.last_seq.next(),
            file_bytes: spare.bytes,
            previous_segment_id,
            previous_checksum,
        };
        let segment = Arc::new(Segment::Raw(place(&self.log, spare, header)?));
        let full = std::mem::replace(&mut self.active, segment.clone());
        if empty {
            self.log.replace_last(segment);
            return Ok(());
        }
        self.log.push_segment(segment);
        // A keeper that is gone seals at the next start.
        let _ = self.keeper.send(Task::Seal(full));
        Ok(())
    }
}

/// Gives a spare its header and its name.
fn place(log: &Log, spare: Spare, header: SegmentHeader) -> io::Result<RawSegment> {
    place_in(log.disk.as_ref(), &log.dir, spare, header)
}

pub(super) fn place_in(
    disk: &dyn crate::disk::Disk,
    dir: &std::path::Path,
    spare: Spare,
    header: SegmentHeader,
) -> io::Result<RawSegment> {
    spare.file.write_all_at(&header.encode(), 0)?;
    spare.file.sync()?;
    let path: PathBuf = dir.join(raw_name(header.first_seq));
    disk.rename(&spare.path, &path)?;
    disk.sync_dir(dir)?;
    let places = Places {
        batches: Vec::new(),
        end_offset: FIRST_BATCH_OFFSET,
        last_seq: Seq::new(header.first_seq.get() - 1),
        last_checksum: header.chain_start(),
    };
    Ok(RawSegment { path, header, file: spare.file, places: parking_lot::RwLock::new(places) })
}

/// A number that no other segment has.
pub(super) fn random_id(random: &dyn Random) -> io::Result<u64> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes) | 1)
}
