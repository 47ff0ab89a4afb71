//! One run of a seed: which step comes next, and what goes wrong meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use coliseum::projection::Progress;

use crate::damage;
use crate::disk::{KINDS, Kind, Lie};
use crate::machine::{Machine, Process, Refusal, Violation};
use crate::random::Draws;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub turns: u64,
    /// Power cuts, kills, failing calls, full disks, jumping clocks, flipped bits, by the seed.
    pub chaos: bool,
    /// The power goes at this disk call of the run.
    pub cut_at: Option<u64>,
    /// And at this one of each recovery, in turn.
    pub cut_recoveries_at: Vec<u64>,
    pub lies: Vec<Lie>,
}

impl Plan {
    pub fn random(seed: u64) -> Plan {
        let turns = Draws::stream(seed, 3).between(20, 260);
        Plan { seed, turns, chaos: true, cut_at: None, cut_recoveries_at: Vec::new(), lies: Vec::new() }
    }
    /// Nothing goes wrong but what is asked for.
    pub fn calm(seed: u64, turns: u64) -> Plan {
        Plan { chaos: false, turns, ..Plan::random(seed) }
    }
}

/// What runs have met.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub events: u64,
    pub calls: u64,
    /// Those of them that belong to the start and the turns, not to the end that is held to the truth.
    pub calls_in_turns: u64,
    pub power_cuts: u64,
    pub cuts_in_recovery: u64,
    pub kills: u64,
    pub failed_calls: u64,
    pub log_failures: u64,
    pub full_disks: u64,
    pub clock_jumps: u64,
    pub torn_tails: u64,
    pub segments_sealed: u64,
    pub key_runs: u64,
    pub damages: u64,
    pub damages_refused: u64,
    /// Snapshots and restored logs that were there at the end, and whole.
    pub copies: u64,
    pub trace: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        let Tally { trace, .. } = *other;
        self.trace ^= trace;
        let sums = [
            (&mut self.events, other.events),
            (&mut self.calls, other.calls),
            (&mut self.calls_in_turns, other.calls_in_turns),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.cuts_in_recovery, other.cuts_in_recovery),
            (&mut self.kills, other.kills),
            (&mut self.failed_calls, other.failed_calls),
            (&mut self.log_failures, other.log_failures),
            (&mut self.full_disks, other.full_disks),
            (&mut self.clock_jumps, other.clock_jumps),
            (&mut self.torn_tails, other.torn_tails),
            (&mut self.segments_sealed, other.segments_sealed),
            (&mut self.key_runs, other.key_runs),
            (&mut self.damages, other.damages),
            (&mut self.damages_refused, other.damages_refused),
            (&mut self.copies, other.copies),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
    }

    pub fn counts(&self) -> [(&'static str, u64); 12] {
        [
            ("a power cut", self.power_cuts),
            ("a power cut in recovery", self.cuts_in_recovery),
            ("a kill", self.kills),
            ("a failing call", self.failed_calls),
            ("a log that failed", self.log_failures),
            ("a full disk", self.full_disks),
            ("a clock that jumped", self.clock_jumps),
            ("a torn tail", self.torn_tails),
            ("a sealed segment", self.segments_sealed),
            ("a run of keys", self.key_runs),
            ("damage that stopped a start", self.damages_refused),
            ("a snapshot", self.copies),
        ]
    }
}

/// A run; a panic of the engine is a violation too.
pub fn guarded(plan: &Plan) -> Result<Tally, Violation> {
    catch_unwind(AssertUnwindSafe(|| Run::new(plan).run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

pub struct Run<'p> {
    plan: &'p Plan,
    pub machine: Machine,
    /// Which steps are taken.
    steps: Draws,
    /// What goes wrong.
    pub chaos: Draws,
    pub tally: Tally,
    recoveries: usize,
    tells: bool,
}

impl<'p> Run<'p> {
    pub fn new(plan: &'p Plan) -> Run<'p> {
        let machine = Machine::new(plan.seed);
        plan.lies.iter().for_each(|lie| machine.disk.lie(lie.clone()));
        let (steps, chaos) = (Draws::stream(plan.seed, 1), Draws::stream(plan.seed ^ plan.cut_at.unwrap_or(0), 2));
        Run {
            plan,
            machine,
            steps,
            chaos,
            tally: Tally::default(),
            recoveries: 0,
            tells: std::env::var_os("COLISEUM_SIM_TELL").is_some(),
        }
    }

    pub fn run(mut self) -> Result<Tally, Violation> {
        match self.plan.cut_at {
            Some(call) => self.machine.disk.cut_in(call),
            None => self.arm(),
        }
        let mut process = self.start()?;
        for _ in 0..self.plan.turns {
            process = self.turn(process)?;
        }
        self.tally.calls_in_turns = self.machine.disk.calls();
        self.machine.disk.dont_cut();
        self.machine.disk.dont_fail();
        self.machine.disk.set_capacity(u64::MAX);
        if self.machine.disk.is_cut() {
            process = self.power_cut(process)?;
            self.machine.disk.dont_cut();
        }
        process = self.mend(process)?;
        self.machine.finish(&mut process)?;
        self.tally.segments_sealed += sealed(&self.machine);
        self.tally.key_runs += process.log.key_runs();
        // Once more, in order: what a stop leaves is what the next start finds.
        process.fold.checkpoint()?;
        drop(process);
        self.machine.disk.kill();
        let mut process = self.start()?;
        self.machine.finish(&mut process)?;
        self.tally.copies += self.machine.copies_judged;
        self.tally.events += self.machine.truth.log.len() as u64;
        self.tally.calls += self.machine.disk.calls();
        self.tally.failed_calls += self.machine.disk.failed();
        self.tally.trace = self.machine.disk.trace();
        Ok(self.tally)
    }

    /// What happens, for whoever replays a seed with `COLISEUM_SIM_TELL=1`.
    fn tell(&self, what: std::fmt::Arguments<'_>) {
        if self.tells {
            eprintln!("call {}, {} entries: {what}", self.machine.disk.calls(), self.machine.truth.log.len());
        }
    }

    /// A projection that gave its file up under faults is opened again.
    fn mend(&mut self, process: Process) -> Result<Process, Violation> {
        drop(process);
        self.machine.disk.kill();
        self.start()
    }

    /// One step of one part, and perhaps something goes wrong.
    fn turn(&mut self, mut process: Process) -> Result<Process, Violation> {
        let step = self.steps.below(100);
        match step {
            0..30 => self.machine.send(&mut process, &mut self.steps),
            30..56 => {
                let failed = self.machine.disk.failed();
                if let Err(why) = self.machine.write(&mut process)? {
                    return self.log_failed(process, &why, failed);
                }
            }
            56..72 => drop(process.log.keep()),
            72..77 => drop(process.log.make_spare()),
            77..90 => match process.fold.step() {
                Progress::Lost(_) => return self.killed(process),
                Progress::Waits => self.machine.clock.pass(Duration::from_millis(500)),
                Progress::CaughtUp | Progress::More => {}
            },
            90..94 => {
                let passed = *self.steps.pick(&[1_000, 50_000, 3_000_000, 70_000_000]);
                self.machine.clock.pass(Duration::from_micros(passed));
            }
            94..96 => self.machine.send_known(&mut process, &mut self.steps),
            96 if self.steps.once_in(2) => self.machine.take_snapshot(&process),
            96 => self.machine.restore_snapshot(&mut self.steps),
            _ => {
                self.machine.look(&process, &mut self.steps)?;
            }
        }
        if self.machine.disk.is_cut() {
            return self.power_cut(process);
        }
        if self.plan.chaos { self.trouble(process) } else { Ok(process) }
    }

    /// What may go wrong between two steps.
    fn trouble(&mut self, process: Process) -> Result<Process, Violation> {
        match self.chaos.below(400) {
            0..4 => {
                let failing = *self.chaos.pick(&KINDS);
                self.machine.disk.fail(failing, self.chaos.between(1, 6));
                self.tell(format_args!("a {failing:?} will fail"));
            }
            4..7 => {
                let room = self.chaos.below(30_000);
                self.machine.disk.set_capacity(self.machine.disk.used_bytes() + room);
                self.tally.full_disks += 1;
                self.tell(format_args!("{room} bytes are free"));
            }
            7..16 => self.machine.disk.set_capacity(u64::MAX),
            16..20 => {
                let days = self.chaos.between(1, 40) as i64;
                let micros = *self.chaos.pick(&[1_000_000, 3_600_000_000, 86_400_000_000 * days]);
                self.machine.clock.jump(if self.chaos.once_in(2) { micros } else { -micros });
                self.tally.clock_jumps += 1;
            }
            20..24 => return self.killed(process),
            24..27 => return self.power_cut(process),
            27..30 => {
                drop(process);
                self.machine.disk.kill();
                self.machine.disk.set_capacity(u64::MAX);
                let found = damage::strike(self)?;
                self.tally.damages += 1;
                self.tally.damages_refused += u64::from(found);
                return self.start();
            }
            _ => {}
        }
        Ok(process)
    }

    /// A log that has failed acknowledges nothing more, and the process ends; the disk keeps what it has, or not even that.
    fn log_failed(&mut self, process: Process, why: &str, failed_before: u64) -> Result<Process, Violation> {
        if !self.machine.disk.is_cut() && self.machine.disk.failed() == failed_before {
            return Err(format!("the log failed by itself: {why}"));
        }
        self.tally.log_failures += 1;
        self.tell(format_args!("the log failed: {why}"));
        if self.machine.disk.is_cut() || self.chaos.once_in(3) {
            return self.power_cut(process);
        }
        self.killed(process)
    }

    fn killed(&mut self, process: Process) -> Result<Process, Violation> {
        drop(process);
        self.machine.disk.kill();
        self.tell(format_args!("killed"));
        self.tally.kills += 1;
        self.arm();
        self.start()
    }

    fn power_cut(&mut self, process: Process) -> Result<Process, Violation> {
        drop(process);
        self.machine.disk.cut_power(&mut self.chaos);
        self.tell(format_args!("the power went"));
        self.tally.power_cuts += 1;
        self.arm();
        self.start()
    }

    /// Draws when the power goes next.
    fn arm(&mut self) {
        if self.plan.chaos && self.chaos.once_in(2) {
            let calls = if self.chaos.once_in(3) { 40 } else { 900 };
            self.machine.disk.cut_in(self.chaos.between(1, calls));
        }
        if let Some(call) = self.plan.cut_recoveries_at.get(self.recoveries) {
            self.machine.disk.cut_in(*call);
        }
        self.recoveries += 1;
    }

    /// Starts the process, through as many cuts and failures as it takes, and judges what it found.
    pub fn start(&mut self) -> Result<Process, Violation> {
        for _ in 0..1000 {
            let failed = self.machine.disk.failed();
            match self.machine.start() {
                _ if self.machine.disk.is_cut() => {
                    self.machine.disk.cut_power(&mut self.chaos);
                    self.tally.cuts_in_recovery += 1;
                    self.tell(format_args!("the power went in a start"));
                    self.arm();
                }
                Ok(process) => {
                    self.tally.torn_tails += u64::from(process.log.torn_tail().is_some());
                    let judged = self.machine.judge(&process);
                    if self.machine.disk.is_cut() || self.machine.disk.failed() > failed {
                        // The reading failed, not what was read.
                        drop(process);
                        self.again();
                        continue;
                    }
                    judged?;
                    return Ok(process);
                }
                Err(refusal) if self.machine.disk.failed() > failed => {
                    if let Refusal::Projection(coliseum::projection::StartError::AheadOfLog { .. }) = refusal {
                        return Err(format!("does not start: {refusal}"));
                    }
                    self.again();
                }
                Err(refusal) => return Err(format!("does not start: {refusal}")),
            }
        }
        Err("it never starts".to_owned())
    }

    /// After a start that failed for a fault: the next one, with room.
    fn again(&mut self) {
        if self.machine.disk.is_cut() {
            self.machine.disk.cut_power(&mut self.chaos);
            self.arm();
        } else {
            self.machine.disk.kill();
            self.machine.disk.set_capacity(u64::MAX);
        }
    }
}

fn sealed(machine: &Machine) -> u64 {
    let files = machine.disk.files_below(&crate::machine::passport_dir());
    files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "segz")).count() as u64
}

/// The calls that a fault is drawn from must be those that the disk counts.
const _: () = assert!(KINDS.len() == Kind::SyncDir as usize + 1);
