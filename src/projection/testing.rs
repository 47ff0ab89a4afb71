//! What the runner's tests stand on: a log in memory, a small projection that fails on demand, and a disk beneath redb
//! that fills up and loses what was not synced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{ApplyError, Projection, StoreError};
use crate::disk::{DirEntry, Disk, DiskFile, OpenMode, RealDisk};
use crate::passport::{Entry, EntryFilter, EntrySource, Envelope, Order, Parsed, Piece, ReadError, Watermark};
use crate::units::{Minute, Seq, Timestamp};

/// One entry of the [`MemoryLog`].
#[derive(Clone, Debug)]
pub struct Stored {
    pub user_id: String,
    pub payload: String,
    pub received_at: Timestamp,
}

/// The log as a vector.
pub struct MemoryLog {
    entries: RwLock<Vec<Stored>>,
    pub watermark: Arc<Watermark>,
    /// Reading this entry is an error; 0 for none.
    pub damaged: AtomicU64,
    /// A scan leaves this entry out; 0 for none.
    pub left_out: AtomicU64,
}

impl MemoryLog {
    pub fn new() -> Arc<MemoryLog> {
        Arc::new(MemoryLog {
            entries: RwLock::default(),
            watermark: Arc::new(Watermark::new(Seq::ZERO)),
            damaged: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        })
    }

    /// A log that holds the first `count` entries of this one, as after a loss.
    pub fn cut_to(&self, count: usize) -> Arc<MemoryLog> {
        Arc::new(MemoryLog {
            entries: RwLock::new(self.entries.read()[..count].to_vec()),
            watermark: Arc::new(Watermark::new(Seq::new(count as u64))),
            damaged: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        })
    }

    pub fn append(&self, user_id: &str, amount: i64) -> Seq {
        let mut entries = self.entries.write();
        let received_at = Timestamp::from_micros(1_000_000 * (entries.len() as i64 + 1));
        entries.push(Stored { user_id: user_id.to_owned(), payload: amount.to_string(), received_at });
        let seq = Seq::new(entries.len() as u64);
        drop(entries);
        self.watermark.advance(seq);
        self.watermark.notify();
        seq
    }

    pub fn entries(&self) -> Vec<Stored> {
        self.entries.read().clone()
    }

    fn read(&self, seq: Seq, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool, ReadError> {
        if seq.get() == self.damaged.load(Ordering::SeqCst) && seq != Seq::ZERO {
            let what = "checksum".to_owned();
            return Err(ReadError::Damaged { file: "memory".to_owned(), offset: 0, seq, what });
        }
        // Not read under the lock: a projection that is held keeps nobody from appending.
        let index = seq.get().checked_sub(1);
        let Some(stored) = index.and_then(|index| self.entries.read().get(index as usize).cloned()) else {
            return Ok(false);
        };
        let envelope = Envelope {
            received_at_micros: stored.received_at.micros(),
            at_micros: stored.received_at.micros(),
            at_corrected: false,
            event_type: "test.sum",
            message_id: "",
            user_id: &stored.user_id,
            session_id: None,
            device_id: None,
            source: "api",
            payload: &stored.payload,
        };
        each(Entry { seq, envelope });
        Ok(true)
    }
}

impl EntrySource for MemoryLog {
    fn durable(&self) -> Seq {
        self.watermark.get()
    }

    fn scan(&self, after: Seq, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<Seq, ReadError> {
        let mut last = after;
        while last < self.durable() {
            let mut flow = ControlFlow::Continue(());
            if last.next().get() != self.left_out.load(Ordering::SeqCst) {
                self.read(last.next(), &mut |entry| flow = each(entry))?;
            }
            last = last.next();
            if flow.is_break() {
                break;
            }
        }
        Ok(last)
    }

    /// One entry each.
    fn piece(&self, after: Seq) -> Result<Option<Arc<Piece>>, ReadError> {
        let is_left_out = after.next().get() == self.left_out.load(Ordering::SeqCst);
        let seq = if is_left_out { after.next().next() } else { after.next() };
        let mut piece = None;
        if seq <= self.durable() {
            self.read(seq, &mut |entry| piece = Some(Arc::new(Piece::of_entry(&entry))))?;
        }
        Ok(piece)
    }

    fn get(&self, seq: Seq, each: &mut dyn FnMut(Entry<'_>)) -> Result<bool, ReadError> {
        if seq > self.durable() { Ok(false) } else { self.read(seq, each) }
    }

    fn query(
        &self,
        _filter: &EntryFilter,
        _low: Seq,
        _high: Seq,
        _order: Order,
        _each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        unreachable!("a runner does not query")
    }
}

/// What [`Sums`] is to do wrong, shared by all its instances of one test.
#[derive(Default)]
pub struct Plan {
    /// How often applying an entry still fails, or panics.
    pub fail: Mutex<HashMap<u64, u32>>,
    pub panic: Mutex<HashMap<u64, u32>>,
    /// How often a call still fails.
    pub fail_flush: AtomicU64,
    pub panic_flush: AtomicU64,
    pub fail_tick: AtomicU64,
    pub panic_view: AtomicU64,
    pub fail_open: AtomicU64,
    /// How many views are still asked for.
    pub views_wanted: AtomicU64,
    /// Views keep the database open, as a projection's may that reads its tables.
    pub views_hold_database: AtomicBool,
    /// An instance of this factor folds nothing after this seq until it is let go.
    held: Mutex<Option<(i64, u64)>>,
    /// A flush is counted and then writes nothing until it is let go.
    flush_held: Mutex<bool>,
    released: Condvar,
    pub flushes: AtomicU64,
}

impl Plan {
    pub fn hold(&self, factor: i64, after: u64) {
        *self.held.lock() = Some((factor, after));
    }
    pub fn release(&self) {
        *self.held.lock() = None;
        self.released.notify_all();
    }
    pub fn hold_flush(&self) {
        *self.flush_held.lock() = true;
    }
    pub fn release_flush(&self) {
        *self.flush_held.lock() = false;
        self.released.notify_all();
    }
    fn wait_at(&self, factor: i64, seq: Seq) {
        let mut held = self.held.lock();
        while held.is_some_and(|(of, after)| of == factor && seq.get() > after) {
            self.released.wait(&mut held);
        }
    }
}

/// Takes one off a counter; whether there was one.
fn spend(counter: &AtomicU64) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn spend_at(counters: &Mutex<HashMap<u64, u32>>, seq: Seq) -> bool {
    let mut counters = counters.lock();
    let Some(left) = counters.get_mut(&seq.get()).filter(|left| **left > 0) else { return false };
    *left -= 1;
    true
}

/// The rules of [`Sums`]: every amount counts times `factor`.
#[derive(Clone)]
pub struct Rules {
    pub factor: i64,
    pub plan: Arc<Plan>,
    pub plan_id: u64,
}

/// The plans by number, since an encoded setup can hold a number only.
static PLANS: Mutex<BTreeMap<u64, Arc<Plan>>> = Mutex::new(BTreeMap::new());

impl Rules {
    pub fn new(factor: i64) -> Rules {
        let plan = Arc::new(Plan::default());
        let mut plans = PLANS.lock();
        let plan_id = plans.len() as u64;
        plans.insert(plan_id, Arc::clone(&plan));
        Rules { factor, plan, plan_id }
    }
    pub fn with_factor(&self, factor: i64) -> Rules {
        Rules { factor, ..self.clone() }
    }
}

/// Count and sum per user.
pub type Totals = BTreeMap<String, (u64, i64)>;

pub struct SumsView {
    pub applied: Seq,
    pub minute: Minute,
    pub factor: i64,
    pub totals: Totals,
    _database: Option<Arc<Database>>,
}

/// The smallest projection that can go wrong in every way.
pub struct Sums {
    rules: Rules,
    database: Arc<Database>,
    minute: Minute,
    totals: Totals,
    changed: BTreeSet<String>,
}

const TABLE: TableDefinition<'_, &str, (u64, i64)> = TableDefinition::new("sums");

/// Totals that changed, with their users.
pub struct Changes {
    plan: Arc<Plan>,
    rows: Vec<((u64, i64), String)>,
}

impl super::Changes for Changes {
    fn write(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
        self.plan.flushes.fetch_add(1, Ordering::SeqCst);
        let mut held = self.plan.flush_held.lock();
        while *held {
            self.plan.released.wait(&mut held);
        }
        drop(held);
        let mut table = transaction.open_table(TABLE).map_err(StoreError::of)?;
        for (total, user) in &self.rows {
            table.insert(user.as_str(), total).map_err(StoreError::of)?;
        }
        // The list of changes is gone by now, as it is in a projection whose commit fails.
        assert!(!spend(&self.plan.panic_flush), "told to panic in a flush");
        if spend(&self.plan.fail_flush) {
            return Err(StoreError("told not to flush".to_owned()));
        }
        Ok(())
    }
}

impl Projection for Sums {
    type View = SumsView;
    type Setup = Rules;
    type Changes = Changes;
    const NAME: &'static str = "sums";

    fn version(setup: &Rules) -> String {
        format!("1-x{}", setup.factor)
    }

    fn encode_setup(setup: &Rules) -> Vec<u8> {
        format!("{} {}", setup.factor, setup.plan_id).into_bytes()
    }

    fn decode_setup(bytes: &[u8]) -> Result<Rules, StoreError> {
        let text = str::from_utf8(bytes).map_err(StoreError::of)?;
        let (factor, plan_id) = text.split_once(' ').ok_or_else(|| StoreError("no plan".to_owned()))?;
        let plan_id = plan_id.parse().map_err(StoreError::of)?;
        let plan = Arc::clone(PLANS.lock().get(&plan_id).expect("a plan of this process"));
        Ok(Rules { factor: factor.parse().map_err(StoreError::of)?, plan, plan_id })
    }

    fn open(database: Arc<Database>, setup: &Rules, now: Timestamp) -> Result<Sums, StoreError> {
        if spend(&setup.plan.fail_open) {
            return Err(StoreError("told not to open".to_owned()));
        }
        // What is there is not written again: a handle that takes no writes any more opens all the same.
        if database.begin_read().map_err(StoreError::of)?.open_table(TABLE).is_err() {
            let transaction = database.begin_write().map_err(StoreError::of)?;
            transaction.open_table(TABLE).map_err(StoreError::of)?;
            transaction.commit().map_err(StoreError::of)?;
        }
        let transaction = database.begin_read().map_err(StoreError::of)?;
        let table = transaction.open_table(TABLE).map_err(StoreError::of)?;
        let mut totals = Totals::new();
        for row in table.iter().map_err(StoreError::of)? {
            let (user, total) = row.map_err(StoreError::of)?;
            totals.insert(user.value().to_owned(), total.value());
        }
        Ok(Sums { rules: setup.clone(), database, minute: now.minute(), totals, changed: BTreeSet::new() })
    }

    fn apply(&mut self, parsed: &Parsed<'_>) -> Result<(), ApplyError> {
        let entry = &parsed.entry;
        self.rules.plan.wait_at(self.rules.factor, entry.seq);
        if spend_at(&self.rules.plan.fail, entry.seq) {
            return Err(ApplyError(format!("told to fail on {}", entry.seq)));
        }
        let user = entry.envelope.user_id.to_owned();
        let amount: i64 = entry.envelope.payload.parse().map_err(|error| ApplyError(format!("{error}")))?;
        let total = self.totals.entry(user.clone()).or_default();
        total.0 += 1;
        // Half of the change is done: what is left behind must not be used.
        assert!(!spend_at(&self.rules.plan.panic, entry.seq), "told to panic on {}", entry.seq);
        total.1 += amount * self.rules.factor;
        self.changed.insert(user);
        Ok(())
    }

    fn tick(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if spend(&self.rules.plan.fail_tick) {
            return Err(StoreError("told not to tick".to_owned()));
        }
        self.minute = now.minute();
        Ok(())
    }

    fn changes(&mut self) -> Changes {
        let changed = std::mem::take(&mut self.changed);
        let rows = changed.into_iter().map(|user| (self.totals[&user], user)).collect();
        Changes { plan: self.rules.plan.clone(), rows }
    }

    fn written(&mut self, _: Changes) {}

    fn wants_view(&self) -> bool {
        self.rules.plan.views_wanted.load(Ordering::SeqCst) > 0
    }

    fn view(&mut self, applied: Seq) -> Arc<SumsView> {
        spend(&self.rules.plan.views_wanted);
        assert!(!spend(&self.rules.plan.panic_view), "told to panic in a view");
        let is_held = self.rules.plan.views_hold_database.load(Ordering::SeqCst);
        Arc::new(SumsView {
            applied,
            minute: self.minute,
            factor: self.rules.factor,
            totals: self.totals.clone(),
            _database: is_held.then(|| Arc::clone(&self.database)),
        })
    }
}

/// What [`Sums`] must be: the entries of the prefix, but for the dead ones, added up.
pub fn recompute(log: &MemoryLog, applied: Seq, factor: i64, dead: &BTreeSet<u64>) -> Totals {
    let mut totals = Totals::new();
    for (index, stored) in log.entries().iter().enumerate().take(applied.get() as usize) {
        if dead.contains(&(index as u64 + 1)) {
            continue;
        }
        let total = totals.entry(stored.user_id.clone()).or_default();
        total.0 += 1;
        total.1 += stored.payload.parse::<i64>().expect("a test's amount") * factor;
    }
    totals
}

/// Writes of one file that no sync has covered yet.
#[derive(Debug)]
enum Write {
    At(u64, Vec<u8>),
    Len(u64),
}

#[derive(Debug, Default)]
struct Image {
    synced: Vec<u8>,
    unsynced: Vec<Write>,
}

/// The real disk, but that it fills up, and can be cut off from power.
#[derive(Debug, Default)]
pub struct Faults {
    pub full: AtomicBool,
    /// No directory is made: the owner's quota is used up.
    pub over_quota: AtomicBool,
    pub cut: AtomicBool,
    /// What is written arrives, and no sync works.
    pub no_sync: AtomicBool,
    /// By inode, since files are renamed.
    images: Mutex<HashMap<u64, Arc<Mutex<Image>>>>,
}

impl Faults {
    /// Puts the files of `dir` to what a power cut leaves: all that was synced, and of the writes since those whose bit
    /// of `kept` is set.
    pub fn restore(&self, dir: &Path, kept: u64) {
        for entry in std::fs::read_dir(dir).expect("the projection's directory") {
            let path = entry.expect("an entry").path();
            let inode = path.metadata().expect("its metadata").ino();
            let Some(image) = self.images.lock().remove(&inode) else { continue };
            let image = image.lock();
            let mut bytes = image.synced.clone();
            for (number, write) in image.unsynced.iter().enumerate() {
                match write {
                    _ if kept >> (number % 64) & 1 == 0 => {}
                    Write::Len(len) => bytes.resize(*len as usize, 0),
                    Write::At(offset, data) => {
                        let end = *offset as usize + data.len();
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[*offset as usize..end].copy_from_slice(data);
                    }
                }
            }
            std::fs::write(&path, bytes).expect("writes the image");
        }
        self.cut.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(io::Error::other("the power is gone"));
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// [`Faults`] as a disk.
pub struct FaultyDisk(pub Arc<Faults>);

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, mode)?;
        let mut synced = vec![0; file.len_bytes()? as usize];
        file.read_exact_at(&mut synced, 0)?;
        let image = Arc::new(Mutex::new(Image { synced, unsynced: Vec::new() }));
        self.0.images.lock().insert(path.metadata()?.ino(), Arc::clone(&image));
        Ok(Arc::new(FaultyFile { inner: file, faults: Arc::clone(&self.0), image }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list_dirs(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if self.0.over_quota.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        RealDisk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.hard_link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
}

struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
    image: Arc<Mutex<Image>>,
}

impl DiskFile for FaultyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.check()?;
        self.image.lock().unsynced.push(Write::At(offset, bytes.to_vec()));
        self.inner.write_all_at(bytes, offset)
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }
    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.faults.check()?;
        self.image.lock().unsynced.push(Write::Len(len_bytes));
        self.inner.truncate(len_bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.faults.check()?;
        if self.faults.no_sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk does not sync"));
        }
        let mut image = self.image.lock();
        let mut synced = vec![0; self.inner.len_bytes()? as usize];
        self.inner.read_exact_at(&mut synced, 0)?;
        *image = Image { synced, unsynced: Vec::new() };
        Ok(())
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.inner.try_lock()
    }
    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }
}
