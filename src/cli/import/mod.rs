//! `coliseum import`: a file of events into the log, in the file's order.
//!
//! A reader thread ([`chunk`]) decompresses, cuts the file into items and gathers them into requests; this thread sends
//! one request after the other, so that the log gets the events in the order of the file, while the next request is
//! made ready. An item without an idempotency key of its own is given one that follows from its text ([`key`]), so that
//! the same file twice changes nothing. What was acknowledged is noted in `<data>/imports/` ([`state`]); a crash between
//! an answer and its note sends some items again, which are duplicates then.

mod chunk;
mod csv;
pub mod fuzz;
mod item;
mod key;
mod send;
mod source;
mod state;

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use self::chunk::{Chunk, Reader};
use self::item::Reject;
use self::send::{Answer, Sender};
use self::source::{Format, Source};
use self::state::{Progress, StateFile};
use super::attach::{Attached, Consumers, Purpose};
use super::output::{self, Unit, grouped, note};
use super::{Failure, Outcome, Place, Status, signal};

/// Rejected items that are shown on stderr; `--rejects` gets all.
const REJECTS_SHOWN: u64 = 20;
/// Requests that are made ready ahead of the one that is sent.
const CHUNKS_AHEAD: usize = 2;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum import votes.ndjson.gz
  zcat votes.ndjson.gz | coliseum import -
  coliseum import purchases.csv --rejects rejected.ndjson --data-dir /var/lib/coliseum

NDJSON: one event a line, or one entry a line as `coliseum export` writes it.
CSV: a header row with the catalogue's field names (type,userId,at,messageId,artistId,amountCents,…); lists separated
by |; an empty cell is an absent field.
Both may be compressed with gzip or zstd. The same file twice changes nothing; an import that was interrupted goes on
where it was. Exit codes: 0 good; 1 failed, or some lines rejected; 2 usage.")]
pub struct ImportArgs {
    /// File to read; - for stdin
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    place: Place,
    /// What the file is, where neither its name nor its first byte says so
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write every rejected line here as NDJSON: {line, status, slug, pointer, detail}
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Print {lines, accepted, duplicates, rejected, seconds, events_per_s, resumed_after_line}
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ImportArgs) -> Outcome {
    let config = args.place.load()?;
    let stop = signal::stop_flag()?;
    let wrong_file = |error: anyhow::Error| Failure::Usage(format!("{}: {error:#}", args.file));
    let mut source = Source::open(&args.file, args.format).map_err(wrong_file)?;
    let (identity, bytes_total) = (source.identity.take(), source.bytes_total);
    let reader = Reader::new(source).map_err(wrong_file)?;
    let mut attached = Attached::open(&config, Purpose::Write)?;
    let state = identity.as_deref().map(|identity| StateFile::new(&config.data_dir, identity));
    let mut import = Import {
        started: Instant::now(),
        resumed: Progress::default(),
        progress: Progress::default(),
        state,
        rejects: None,
    };
    import.resume(&mut attached)?;
    import.open_rejects(args)?;
    let done = import.feed(reader, bytes_total, &mut attached, &stop);
    import.flush_rejects()?;
    let closed = attached.close();
    done.map_err(|error| match import.state {
        Some(_) => error.context(format!(
            "stopped after line {}; the same command goes on from there once the reason is mended",
            import.progress.line
        )),
        None => error.context("stopped; the same input again changes nothing that is in the log"),
    })?;
    closed?;
    if stop.load(Ordering::SeqCst) && !import.progress.complete {
        let next = if import.state.is_some() { "goes on from there" } else { "sends it again, and it counts once" };
        note(&format!("interrupted after line {}; the same command {next}", import.progress.line));
        return Ok(Status::Interrupted);
    }
    if let Some(state) = &import.state {
        state.remove()?;
    }
    import.summary(args)?;
    Ok(if import.progress.rejected == 0 { Status::Good } else { Status::Failed })
}

/// One run over one file.
struct Import {
    started: Instant,
    /// Where an earlier run stopped; zeros without one.
    resumed: Progress,
    progress: Progress,
    /// `None` for stdin, which cannot be told from another one.
    state: Option<StateFile>,
    rejects: Option<BufWriter<std::fs::File>>,
}

impl Import {
    /// Takes up an interrupted import of the same file, if the log still holds what it put there.
    fn resume(&mut self, attached: &mut Attached) -> anyhow::Result<()> {
        let Some(earlier) = self.state.as_ref().and_then(StateFile::read) else { return Ok(()) };
        let head = Consumers::get(&mut attached.client)?.head_seq;
        if earlier.last_seq > head {
            note("an earlier import of this file went into a log that is not here any more; starting over");
            return Ok(());
        }
        note(&format!("going on after line {}, where an earlier import of this file stopped", grouped(earlier.line)));
        self.resumed = earlier.clone();
        self.progress = earlier;
        Ok(())
    }

    fn open_rejects(&mut self, args: &ImportArgs) -> anyhow::Result<()> {
        let Some(path) = &args.rejects else { return Ok(()) };
        let resumes = self.resumed.line > 0;
        let file = OpenOptions::new().create(true).write(true).append(resumes).truncate(!resumes).open(path);
        self.rejects = Some(BufWriter::new(file.with_context(|| path.display().to_string())?));
        Ok(())
    }

    fn flush_rejects(&mut self) -> anyhow::Result<()> {
        self.rejects.as_mut().map_or(Ok(()), |file| file.flush()).context("writing the rejected lines")
    }

    /// Sends the file, chunk by chunk, until its end or a stop.
    fn feed(
        &mut self,
        reader: Reader,
        bytes_total: u64,
        attached: &mut Attached,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let bar = output::progress("importing", Unit::Bytes, bytes_total);
        let (sender, chunks) = crossbeam_channel::bounded(CHUNKS_AHEAD);
        let skip_to_line = self.resumed.line;
        let thread = std::thread::Builder::new().name("import-reader".into());
        let thread =
            thread.spawn(move || chunk::read_all(reader, skip_to_line, &mut |chunk| sender.send(chunk).is_ok()))?;
        let mut requests = Sender::new(&mut attached.client);
        let mut stopped = false;
        for chunk in &chunks {
            let answer = requests.send(&chunk)?;
            bar.set_position(chunk.source_bytes);
            self.note_answer(&chunk, answer, &bar)?;
            if stop.load(Ordering::SeqCst) {
                stopped = true;
                break;
            }
        }
        drop(chunks);
        bar.finish_and_clear();
        let read = thread.join().map_err(|_| anyhow::anyhow!("the thread that reads the file panicked"))?;
        self.progress.complete = !stopped;
        read
    }

    /// Counts an answer, reports what was rejected, and notes how far the file is in.
    fn note_answer(&mut self, chunk: &Chunk, answer: Answer, bar: &indicatif::ProgressBar) -> anyhow::Result<()> {
        let mut rejects = answer.rejects;
        rejects.extend(chunk.rejects.iter().cloned());
        rejects.sort_by_key(|reject| reject.line);
        for reject in &rejects {
            if self.progress.rejected < REJECTS_SHOWN {
                bar.suspend(|| note(&reject.to_string()));
            } else if self.progress.rejected == REJECTS_SHOWN {
                bar.suspend(|| note("more lines are rejected; --rejects FILE gets all of them"));
            }
            self.progress.rejected += 1;
            if let Some(file) = &mut self.rejects {
                serde_json::to_writer(&mut *file, reject)?;
                file.write_all(b"\n")?;
            }
        }
        self.progress.accepted += answer.accepted;
        self.progress.duplicates += answer.duplicates;
        self.progress.last_seq = self.progress.last_seq.max(answer.last_seq);
        self.progress.line = chunk.last_line;
        self.flush_rejects()?;
        self.state.as_ref().map_or(Ok(()), |state| state.write(&self.progress))
    }

    fn summary(&self, args: &ImportArgs) -> anyhow::Result<()> {
        let Progress { accepted, duplicates, rejected, .. } = self.progress;
        let lines = accepted + duplicates + rejected;
        let seconds = self.started.elapsed().as_secs_f64();
        let fresh = lines - self.resumed.accepted - self.resumed.duplicates - self.resumed.rejected;
        let rate = if seconds > 0.0 { fresh as f64 / seconds } else { 0.0 };
        if args.json {
            output::print_json(&json!({
                "lines": lines, "accepted": accepted, "duplicates": duplicates, "rejected": rejected,
                "seconds": (seconds * 1000.0).round() / 1000.0, "events_per_s": rate.round(),
                "resumed_after_line": self.resumed.line,
            }))?;
            return Ok(());
        }
        let [lines, accepted, duplicates, rejected] = [lines, accepted, duplicates, rejected].map(grouped);
        let rate = grouped(rate as u64);
        output::print(&format!(
            "{lines} events: {accepted} accepted, {duplicates} duplicates, {rejected} rejected, in {seconds:.1} s \
             ({rate} events/s)\n"
        ))?;
        Ok(())
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.slug)?;
        if let Some(pointer) = &self.pointer {
            write!(f, " at {}", output::printable(pointer))?;
        }
        write!(f, ": {}", output::printable(&self.detail))
    }
}
