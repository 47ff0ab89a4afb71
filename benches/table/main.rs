//! The whole table: what the daemon does with everything on, beside a limit of the same machine in the same run.
//!
//! `cargo bench --bench table [-- --peers FILE] [--rows 1,2,…] [--events N] [--seconds S] [--dir DIRECTORY]` prints for
//! each row the result, the bar that it has to pass, the aim, and whether it is reached, or why it was not run. What is
//! a ratio is measured in turn (A B A B), and is the median of the ratios of the turns. It starts the real binary on
//! throw-away directories. Ports 7930 (the daemon) and 7931 (the limit) have to be free.
//!
//! - `--peers`: the program of load and limits, built from `../shared/peers` (its `target/release/peers`).
//! - `--rows`: these only; 7 to 11 share one store.
//! - `--events`: how many events that store gets (50,000,000).
//! - `--seconds`: how long rows 4 and 5 last, and a turn of row 2 (60). A turn of another row is a sixth of it.
//! - `--dir`: where the directories are made: on the disk that is meant, with 30 GB free for 50 million events.
//!
//! Paths are seen from the top of the repository. All of it takes about half an hour. Run it on a machine that does
//! nothing else. Ctrl-C leaves the directory behind.

mod live;
mod process;
mod store;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use process::Peers;
use store::Store;
use table::{Measured, TABLE};

const PEERS: &str = "../shared/peers/target/release/peers";
/// Events of the file that rows 1 to 6 send.
const STANDARD_EVENTS: u64 = 1_000_000;
/// Events of the file that fills the store: enough to meet nearly all users.
const WIDE_EVENTS: u64 = 6_000_000;

/// What every row needs.
pub struct Bench {
    peers: Peers,
    scratch: PathBuf,
    /// Where the generator wrote the workload of rows 1 to 6, and that of the store.
    standard: PathBuf,
    wide: PathBuf,
    /// Events of the store.
    events: u64,
    /// How long a row lasts that is measured once.
    seconds: f64,
    /// How long a turn lasts.
    turn: f64,
}

impl Bench {
    /// An empty directory of one row; it goes when it is dropped.
    fn directory(&self) -> Result<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(&self.scratch)?)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the whole table; an error says why there is none.
fn run() -> Result<()> {
    let arguments = Arguments::read()?;
    let scratch = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("a directory to write in")?;
    print_machine(scratch.path())?;
    table::print_head();
    let bench = prepare(&arguments, scratch.path());
    let mut store = None;
    let mut numbers: Vec<u8> = TABLE.iter().map(|row| row.number).collect();
    numbers.dedup();
    for number in numbers.into_iter().filter(|number| arguments.rows.contains(number)) {
        table::print_rows(number, measure(number, &bench, &mut store));
    }
    drop(store);
    table::print_peers();
    Ok(())
}

/// The figures of one row, in the order of its lines.
fn measure<'a>(number: u8, bench: &'a Result<Bench>, store: &mut Option<Result<Store<'a>>>) -> Result<Vec<Measured>> {
    let bench = bench.as_ref().map_err(table::again)?;
    eprintln!("row {number} …");
    match number {
        1 => live::singles(bench),
        2 => live::batches(bench),
        3 => live::boards(bench),
        4 => live::reads_beside_writes(bench),
        5 => live::receipt_to_board(bench),
        6 => live::lone_receipt(bench),
        _ => {
            let store =
                store.get_or_insert_with(|| Store::fill(bench)).as_mut().map_err(|error| table::again(error))?;
            match number {
                7 => store.throughput(),
                8 => store.bytes(),
                9 => store.memory(),
                10 => store.restarts(),
                _ => store.rebuild(),
            }
        }
    }
}

/// Finds the peers, and has them write the events that the rows need.
fn prepare(arguments: &Arguments, scratch: &Path) -> Result<Bench> {
    let bench = Bench {
        peers: Peers::find(&arguments.peers)?,
        scratch: scratch.to_path_buf(),
        standard: scratch.join("standard"),
        wide: scratch.join("wide"),
        events: arguments.events,
        seconds: arguments.seconds,
        turn: (arguments.seconds / 6.0).max(arguments.seconds.min(2.0)),
    };
    if arguments.rows.iter().any(|row| *row <= 6) {
        bench.peers.generate(&bench.standard, "std", STANDARD_EVENTS)?;
    }
    if arguments.rows.iter().any(|row| *row >= 7) {
        bench.peers.generate(&bench.wide, "wide", WIDE_EVENTS.min(bench.events))?;
    }
    Ok(bench)
}

struct Arguments {
    peers: PathBuf,
    rows: Vec<u8>,
    events: u64,
    seconds: f64,
    dir: Option<PathBuf>,
}

impl Arguments {
    fn read() -> Result<Arguments> {
        let mut read = Arguments {
            peers: PathBuf::from(PEERS),
            rows: TABLE.iter().map(|row| row.number).collect(),
            events: 50_000_000,
            seconds: 60.0,
            dir: None,
        };
        // `cargo bench` adds a word of its own.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(name) = words.next() {
            let value = words.next().with_context(|| format!("{name} wants a value"))?;
            let of = || format!("{name} {value}");
            match name.as_str() {
                "--peers" => read.peers = PathBuf::from(&value),
                "--rows" => read.rows = value.split(',').map(str::parse).collect::<Result<_, _>>().with_context(of)?,
                "--events" => read.events = value.replace(['_', ','], "").parse().with_context(of)?,
                "--seconds" => read.seconds = value.parse().with_context(of)?,
                "--dir" => read.dir = Some(PathBuf::from(&value)),
                _ => anyhow::bail!("{name} is not known; there are --peers, --rows, --events, --seconds and --dir"),
            }
        }
        ensure!(read.seconds >= 1.0, "--seconds: at least 1");
        ensure!(read.events >= 100_000, "--events: at least 100,000");
        let unknown = read.rows.iter().find(|number| TABLE.iter().all(|row| row.number != **number));
        ensure!(unknown.is_none(), "--rows: there is no row {}", unknown.unwrap_or(&0));
        Ok(read)
    }
}

/// What the figures were taken on.
fn print_machine(scratch: &Path) -> Result<()> {
    let line = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        value.trim_start_matches([':', ' ', '\t']).trim().to_owned()
    };
    let cores = std::thread::available_parallelism()?;
    let memory: f64 = line("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let load = line("/proc/loadavg", "");
    println!("machine    {cores} cores ({}), {:.1} GiB", line("/proc/cpuinfo", "model name"), memory / 1024.0 / 1024.0);
    println!("kernel     Linux {}", line("/proc/sys/kernel/osrelease", ""));
    println!("disk       {}", file_system(scratch)?);
    println!("load       {} in the minute before", load.split(' ').next().unwrap_or_default());
    println!("           The load generator, and peers and limits in their turns, run on the same cores.\n");
    Ok(())
}

/// The kind of file system that the directory is on.
fn file_system(dir: &Path) -> Result<String> {
    let (dir, mounts) = (dir.canonicalize()?, fs::read_to_string("/proc/self/mounts")?);
    let under = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, at, kind) = (words.next()?, words.next()?, words.next()?);
        dir.starts_with(at).then_some((at.len(), device, kind))
    });
    // Of two mounts on one place the later one is seen.
    let (_, device, kind) = under.max_by_key(|(depth, ..)| *depth).context("a mount")?;
    let warning = if kind == "tmpfs" { ": memory, no disk; name one with --dir" } else { "" };
    Ok(format!("{kind} on {device}{warning}"))
}
