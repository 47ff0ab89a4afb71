//! One box: the real log and the real projection on a simulated disk, clock and chance, a step at a time.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coliseum::coliseum::{Coliseum, Rules, View};
use coliseum::passport::{
    AppendError, Durability, EntrySource, OpenError, Outcome, PassportOptions, Stepped as Passport,
};
use coliseum::projection::{Followed, Options, Progress, StartError, Stepped as Projection};
use coliseum::units::{Domain, Seq, Timestamp, Window};
use coliseum::world::{Random, World};

use crate::clock::SimClock;
use crate::disk::SimDisk;
use crate::events;
use crate::model::Model;
use crate::model::boards::{DOMAINS, WINDOWS};
use crate::model::json::{Json, number, object, text};
use crate::model::time;
use crate::random::{Draws, SimRandom};
use crate::snapshots::Copies;
use crate::truth::{Sent, Truth};

/// What must never be: in words, for whoever replays the seed.
pub type Violation = String;

/// A few dozen events fill a segment, a few dozen keys a table: rotation, sealing, runs and merges are met in every run.
const SEGMENT_BYTES: u64 = 12 * 1024;
const TABLE_KEYS: usize = 24;
/// 2026-05-01T00:00:30Z
const START_MICROS: i64 = 1_777_593_630_000_000;
const MIN_FREE_BYTES: u64 = 4096;

pub const DATA: &str = "/srv/coliseum/data";

pub fn passport_dir() -> PathBuf {
    Path::new(DATA).join("passport")
}

/// Why a start did not come about.
#[derive(Debug)]
pub enum Refusal {
    Log(OpenError),
    Projection(StartError),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Log(error) => write!(f, "the log: {error}"),
            Refusal::Projection(error) => write!(f, "the projection: {error}"),
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Vec<Outcome>, AppendError>> + Send>>;

/// A request that was sent and is not answered.
struct Waiting {
    group: Vec<Sent>,
    atomic: bool,
    answer: Answer,
}

/// The process.
pub struct Process {
    pub log: Passport,
    pub fold: Projection<Coliseum>,
    waiting: Vec<Waiting>,
}

/// The box, whether or not the process runs on it.
pub struct Machine {
    pub disk: SimDisk,
    pub clock: Arc<SimClock>,
    pub truth: Truth,
    world: World,
    next_key: u64,
    pub copies: Copies,
    pub copies_judged: u64,
    /// Torn tails that were cut off and kept aside.
    pub kept: Vec<PathBuf>,
    /// When each entry came in, as the log said when it was judged last: for the model.
    received_at: Vec<i64>,
}

impl Machine {
    pub fn new(seed: u64) -> Machine {
        let (disk, clock) = (SimDisk::new(), Arc::new(SimClock::new(START_MICROS)));
        let random = Arc::new(SimRandom::new(seed));
        let world = World { disk: Arc::new(disk.clone()), clock: clock.clone(), random };
        Machine {
            disk,
            clock,
            truth: Truth::default(),
            world,
            next_key: 0,
            copies: Copies::default(),
            copies_judged: 0,
            kept: Vec::new(),
            received_at: Vec::new(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }
    pub fn random(&self) -> &dyn Random {
        self.world.random.as_ref()
    }

    fn options(dir: PathBuf) -> PassportOptions {
        PassportOptions {
            dir,
            segment_bytes: SEGMENT_BYTES,
            min_free_bytes: MIN_FREE_BYTES,
            durability: Durability::Sync,
            table_keys: TABLE_KEYS,
        }
    }

    /// Starts the process. What the log holds is not judged yet.
    pub fn start(&self) -> Result<Process, Refusal> {
        let log = Passport::open(&Machine::options(passport_dir()), &self.world).map_err(Refusal::Log)?;
        let (watermark, log_id) = (log.watermark(), log.log_id());
        let followed = Followed { log: log.log(), watermark, log_id, convoy: Arc::default() };
        let options = Options {
            cache_bytes: 1024 * 1024,
            flush_entries: 16,
            sync_entries: 48,
            free_bytes_min: 0,
            ..Options::default()
        };
        let dir = Path::new(DATA).join("projections");
        let fold = Projection::open(&dir, Rules::default(), followed, &self.world, options);
        Ok(Process { log, fold: fold.map_err(Refusal::Projection)?, waiting: Vec::new() })
    }

    /// Everything that has to hold of the log right after a start.
    pub fn judge(&mut self, process: &Process) -> Result<(), Violation> {
        let (found, received_at) = all_entries(&process.log)?;
        self.truth.recovered(&found)?;
        if let Some(tail) = process.log.torn_tail() {
            self.kept.push(tail.kept_in.clone());
        }
        let there = self.disk.files_below(&passport_dir().join("torn"));
        if let Some(gone) = self.kept.iter().find(|kept| !there.contains(kept)) {
            return Err(format!("the torn tail {} is not kept", gone.display()));
        }
        self.received_at = received_at;
        Ok(())
    }

    /// A log that was restored up to an entry: it opens, it is that prefix, what is in it is known and what is not is not.
    pub fn judge_restored(&mut self, to: &Path, until: u64) -> Result<(), Violation> {
        let mut log = Passport::open(&Machine::options(to.join("passport")), &self.world)
            .map_err(|error| format!("does not open: {error}"))?;
        let (found, _) = all_entries(&log)?;
        if found.len() as u64 != until {
            return Err(format!("it holds {} entries", found.len()));
        }
        self.truth.read(1, &found)?;
        let later = Sent { key: "behind-the-prefix".to_owned(), ..self.truth.log[0].clone() };
        let group = [self.truth.log[until as usize - 1].clone(), later];
        let records = events::group(&group, false, self.world.clock.now().micros());
        let appender = log.appender();
        let mut answer: Answer = Box::pin(async move { appender.append(records).await });
        let mut context = Context::from_waker(Waker::noop());
        let _ = answer.as_mut().poll(&mut context);
        log.write().map_err(|error| format!("the writer fails: {error}"))?;
        let wanted = vec![Outcome::Duplicate(Seq::new(until)), Outcome::Stored(Seq::new(until + 1))];
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(Ok(outcomes)) if outcomes == wanted => Ok(()),
            other => Err(format!("answered {other:?}, not {wanted:?}")),
        }
    }

    /// Sends a request; the writer sees it at its next turn.
    pub fn send(&mut self, process: &mut Process, draws: &mut Draws) {
        let now = self.world.clock.now().micros();
        let group = events::draw(draws, &self.truth, now, &mut self.next_key);
        let atomic = draws.once_in(4);
        self.send_group(process, group, atomic);
    }

    fn send_group(&mut self, process: &mut Process, group: Vec<Sent>, atomic: bool) {
        self.truth.send(&group);
        let records = events::group(&group, atomic, self.world.clock.now().micros());
        let appender = process.log.appender();
        let answer: Answer = Box::pin(async move { appender.append(records).await });
        process.waiting.push(Waiting { group, atomic, answer });
        // The first look puts it into the queue.
        let _ =
            process.waiting.last_mut().expect("pushed").answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Sends events that are there again: each must be known, or the answer must be that nobody can say.
    pub fn send_known(&mut self, process: &mut Process, draws: &mut Draws) {
        if self.truth.log.is_empty() {
            return;
        }
        let group = (0..draws.between(1, 6)).map(|_| draws.pick(&self.truth.log).clone()).collect();
        self.send_group(process, group, false);
    }

    /// The writer's turn, and what it answers. `Ok(Err(why))`: the log has failed for good and the process has to end.
    pub fn write(&mut self, process: &mut Process) -> Result<Result<bool, String>, Violation> {
        let (before, was_read_only) = (self.truth.log.len(), process.log.status().read_only().is_some());
        let wrote = process.log.write();
        self.take_answers(process)?;
        if was_read_only && process.log.status().read_only().is_some() && self.truth.log.len() > before {
            return Err("stored while the log is read-only".to_owned());
        }
        if process.log.log().durable().get() < self.truth.log.len() as u64 {
            return Err("acknowledged before it was durable".to_owned());
        }
        Ok(wrote.map_err(|error| error.to_string()))
    }

    fn take_answers(&mut self, process: &mut Process) -> Result<(), Violation> {
        let mut context = Context::from_waker(Waker::noop());
        for mut waiting in std::mem::take(&mut process.waiting) {
            match waiting.answer.as_mut().poll(&mut context) {
                Poll::Pending => process.waiting.push(waiting),
                Poll::Ready(Ok(outcomes)) => self.truth.answer(&waiting.group, waiting.atomic, &outcomes)?,
                // Nothing of it was acknowledged.
                Poll::Ready(Err(_)) => {}
            }
        }
        Ok(())
    }

    /// Whether requests wait for their answer.
    pub fn is_waited_for(process: &Process) -> bool {
        !process.waiting.is_empty()
    }

    /// Reads a piece of the log, and the entries of one user, and holds both to the truth. `Ok(false)`: an error came back.
    pub fn look(&self, process: &Process, draws: &mut Draws) -> Result<bool, Violation> {
        let log = process.log.log();
        let first = draws.below(self.truth.log.len() as u64 + 1);
        let (mut found, mut left) = (Vec::new(), draws.between(1, 60));
        let scanned = log.scan(Seq::new(first), &mut |entry| {
            found.push(Sent { key: entry.envelope.message_id.to_owned(), payload: entry.envelope.payload.to_owned() });
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // What is durable and not answered yet may be shown before it is in the truth.
        found.truncate((self.truth.log.len() as u64).saturating_sub(first) as usize);
        self.truth.read(first + 1, &found)?;
        let user = format!("u{}", draws.below(9));
        let filter = coliseum::passport::EntryFilter { user_id: Some(user.clone()), ..Default::default() };
        let high = Seq::new(self.truth.log.len() as u64);
        let mut of_user = Vec::new();
        let asked = log.query(&filter, Seq::new(1), high, coliseum::passport::Order::Ascending, &mut |entry| {
            of_user.push(entry.seq.get());
            ControlFlow::Continue(())
        });
        if asked.is_ok() {
            let is_of_user = |sent: &Sent| sent.payload.contains(&format!("\"userId\":\"{user}\""));
            let wanted: Vec<u64> =
                (1..).zip(&self.truth.log).filter(|(_, sent)| is_of_user(sent)).map(|(seq, _)| seq).collect();
            if of_user != wanted {
                return Err(format!("entries of {user}: {of_user:?}, not {wanted:?}"));
            }
        }
        Ok(scanned.is_ok() && asked.is_ok())
    }

    /// Does all that is left to do, with a disk that works, and holds the end to the truth and the boards to the model.
    pub fn finish(&mut self, process: &mut Process) -> Result<(), Violation> {
        self.clock.pass(Duration::from_secs(60));
        self.send_known(process, &mut Draws::new(1));
        while self.write(process)?.map_err(|why| format!("the writer fails on a good disk: {why}"))? {}
        if Machine::is_waited_for(process) {
            return Err("a request is never answered".to_owned());
        }
        for turn in 0.. {
            let more = process.log.keep().map_err(|why| format!("the keeper fails on a good disk: {why}"))?;
            if !more {
                break;
            }
            if turn > 10_000 {
                return Err("the keeper is never done".to_owned());
            }
        }
        self.fold_to_the_end(process)?;
        self.judge(process)?;
        self.look(process, &mut Draws::new(2))?;
        self.boards(process)?;
        self.copies_judged += self.judge_copies()?;
        Ok(())
    }

    fn fold_to_the_end(&mut self, process: &mut Process) -> Result<(), Violation> {
        for _ in 0..10_000 {
            match process.fold.step() {
                Progress::CaughtUp if process.fold.applied() == Some(process.log.log().durable()) => {
                    return if process.fold.dead_letters() == 0 { Ok(()) } else { Err("a dead letter".to_owned()) };
                }
                Progress::CaughtUp | Progress::More => {}
                Progress::Waits => self.clock.pass(Duration::from_secs(31)),
                Progress::Lost(why) => return Err(format!("the projection's file is lost on a good disk: {why}")),
            }
        }
        Err("the projection never comes to the end of the log".to_owned())
    }

    fn boards(&mut self, process: &mut Process) -> Result<(), Violation> {
        let view = process.fold.view().ok_or("there is no view of a projection that is at the end")?;
        let model = self.model();
        let mutations = model.mutations();
        for (domain, letter) in Domain::ALL.into_iter().zip(DOMAINS) {
            for (window, name) in Window::ALL.into_iter().zip(WINDOWS) {
                let wanted: Vec<String> = model
                    .board(&mutations, letter, name, view.minute().get(), model.head())
                    .into_iter()
                    .map(|row| format!("{} {} {} {:?}", row.position, row.artist, row.score, row.previous_position))
                    .collect();
                let found = rows(&view, domain, window);
                if found != wanted {
                    return Err(format!("board {letter} {name}: {found:?}, not {wanted:?}"));
                }
            }
        }
        Ok(())
    }

    fn model(&self) -> Model {
        let line = |(place, sent): (usize, &Sent)| {
            let payload = Json::parse(&sent.payload).expect("a simulation sends JSON");
            object([
                ("seq", number(place + 1)),
                ("messageId", text(sent.key.clone())),
                ("eventType", payload.at("type").clone()),
                ("at", payload.at("at").clone()),
                ("receivedAt", text(time::format(self.received_at[place]))),
                ("source", text("api")),
                ("metadata", payload),
            ])
        };
        let lines: Vec<Json> = self.truth.log.iter().enumerate().map(line).collect();
        Model::from_export(&lines, &[])
    }
}

/// Every entry of a log, in order and without a gap, and when each came in.
fn all_entries(log: &Passport) -> Result<(Vec<Sent>, Vec<i64>), Violation> {
    let (mut found, mut received_at) = (Vec::new(), Vec::new());
    let scanned = log.log().scan(Seq::ZERO, &mut |entry| {
        if entry.seq.get() != found.len() as u64 + 1 {
            return ControlFlow::Break(());
        }
        let (key, payload) = (entry.envelope.message_id.to_owned(), entry.envelope.payload.to_owned());
        found.push(Sent { key, payload });
        received_at.push(entry.envelope.received_at_micros);
        ControlFlow::Continue(())
    });
    let last = scanned.map_err(|error| format!("what recovery let pass cannot be read: {error}"))?;
    if last.get() != found.len() as u64 || log.log().durable() != last {
        return Err(format!("seq has a gap behind {}", found.len()));
    }
    Ok((found, received_at))
}

fn rows(view: &View, domain: Domain, window: Window) -> Vec<String> {
    let board = view.board(domain, window);
    let rows = board.rows(0, board.total());
    rows.map(|row| {
        format!("{} {} {} {:?}", row.position, row.card.id, row.score.get(), row.previous_position.map(|p| p as i64))
    })
    .collect()
}

impl Machine {
    /// Sends events that are there again, on a process that is thrown away: each has to be told by its seq, or the whole
    /// request by an error. Nothing that was not there before may be stored.
    pub fn ask_for_known(
        &mut self,
        process: &mut Process,
        draws: &mut Draws,
    ) -> Result<Result<(), AppendError>, Violation> {
        if self.truth.log.is_empty() {
            return Ok(Ok(()));
        }
        let places: Vec<usize> =
            (0..draws.between(1, 8)).map(|_| draws.below(self.truth.log.len() as u64) as usize).collect();
        let group: Vec<Sent> = places.iter().map(|place| self.truth.log[*place].clone()).collect();
        let appender = process.log.appender();
        let records = events::group(&group, false, self.world.clock.now().micros());
        let mut answer: Answer = Box::pin(async move { appender.append(records).await });
        let mut context = Context::from_waker(Waker::noop());
        let _ = answer.as_mut().poll(&mut context);
        process.log.write().map_err(|error| format!("the writer fails: {error}"))?;
        match answer.as_mut().poll(&mut context) {
            Poll::Pending => Err("a repeat is not answered".to_owned()),
            Poll::Ready(Err(error)) => Ok(Err(error)),
            Poll::Ready(Ok(outcomes)) => {
                let wanted: Vec<Outcome> =
                    places.iter().map(|place| Outcome::Duplicate(Seq::new(*place as u64 + 1))).collect();
                if outcomes == wanted { Ok(Ok(())) } else { Err(format!("repeats: {outcomes:?}, not {wanted:?}")) }
            }
        }
    }
}
