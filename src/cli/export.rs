//! `coliseum export`: the log as NDJSON, one entry a line.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::attach::{Attached, Purpose};
use super::client::Request;
use super::filter::FilterArgs;
use super::output::{self, Unit, grouped, note};
use super::{Outcome, Place, Status};

const BUFFER_BYTES: usize = 256 * 1024;
const ZSTD_LEVEL: i32 = 3;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum export > log.ndjson
  coliseum export --output log.ndjson.zst
  coliseum export --type coliseum.vote_cast --from 2026-01-01T00:00:00Z | jq .metadata.weight

Each line is an entry; `coliseum import` reads it back with its key and its time. A file appears whole or not at all.")]
pub struct ExportArgs {
    #[command(flatten)]
    place: Place,
    /// Write to this file; .gz or .zst at its end compresses
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only entries behind this seq
    #[arg(long, value_name = "SEQ")]
    after_seq: Option<u64>,
    /// At most so many entries
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// How long an export waits for the projections of a log that it opened itself.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(args: &ExportArgs) -> Outcome {
    let config = args.place.load()?;
    let mut attached = Attached::open(&config, Purpose::Read)?;
    // An entry says what came of it, and a log that was just opened may not be applied yet.
    if attached.is_own() && !attached.wait_applied(None, PATIENCE)? {
        note("the projections are still at work; the last entries do not say yet what came of them");
    }
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let more = [("afterSeq", number(args.after_seq)), ("limit", number(args.limit))];
    let target = args.filter.target("/api/passport/export", &more);
    let written = match &args.output {
        Some(path) => to_file(&mut attached, &target, path),
        None => to_stdout(&mut attached, &target),
    };
    attached.close()?;
    written?;
    Ok(Status::Good)
}

fn to_stdout(attached: &mut Attached, target: &str) -> anyhow::Result<()> {
    let mut answer = attached.client.send_ok(Request::get(target).patient())?;
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let bytes = answer.read(&mut buffer).context("reading the log")?;
        if bytes == 0 {
            return Ok(out.flush()?);
        }
        out.write_all(&buffer[..bytes])?;
    }
}

/// Under another name first, so that a file with this name is always a whole export.
fn to_file(attached: &mut Attached, target: &str, path: &Path) -> anyhow::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".tmp");
    let fresh = PathBuf::from(fresh);
    let file = File::create(&fresh).with_context(|| fresh.display().to_string())?;
    let entries = fill(attached, target, Output::new(file, path)?);
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            // What went wrong is worth more than a file that is left behind.
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
    };
    fs::rename(&fresh, path).with_context(|| path.display().to_string())?;
    note(&format!("{} entries in {}", grouped(entries), path.display()));
    Ok(())
}

/// Copies the answer; the number of its lines.
fn fill(attached: &mut Attached, target: &str, mut output: Output) -> anyhow::Result<u64> {
    let mut answer = attached.client.send_ok(Request::get(target).patient())?;
    let bar = output::progress("exporting", Unit::Entries, 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut entries = 0;
    loop {
        let bytes = answer.read(&mut buffer).context("reading the log")?;
        if bytes == 0 {
            break;
        }
        output.write_all(&buffer[..bytes])?;
        entries += memchr::memchr_iter(b'\n', &buffer[..bytes]).count() as u64;
        bar.set_position(entries);
    }
    bar.finish_and_clear();
    output.finish()?;
    Ok(entries)
}

/// A file, compressed as its name says.
enum Output {
    Plain(BufWriter<File>),
    Gzip(Box<flate2::write::GzEncoder<BufWriter<File>>>),
    Zstd(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Output {
    fn new(file: File, path: &Path) -> io::Result<Output> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Output::Gzip(Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()))),
            Some("zst") => {
                let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Output::Zstd(Box::new(encoder))
            }
            _ => Output::Plain(file),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Plain(out) => out.write_all(bytes),
            Output::Gzip(out) => out.write_all(bytes),
            Output::Zstd(out) => out.write_all(bytes),
        }
    }

    /// Ends the compression and puts the bytes on disk, so that the rename cannot overtake them.
    fn finish(self) -> io::Result<()> {
        let file = match self {
            Output::Plain(out) => out,
            Output::Gzip(out) => out.finish()?,
            Output::Zstd(out) => out.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_compressed_as_its_name_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = |name: &str| {
            let path = dir.path().join(name);
            let mut output = Output::new(File::create(&path).expect("made"), &path).expect("made");
            output.write_all(b"{}\n{}\n").expect("written");
            output.finish().expect("finished");
            fs::read(path).expect("there")
        };
        assert_eq!(written("x.ndjson"), b"{}\n{}\n");
        assert_eq!(zstd::decode_all(&*written("x.ndjson.zst")).expect("zstd"), b"{}\n{}\n");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*written("x.gz")).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, "{}\n{}\n");
    }
}
