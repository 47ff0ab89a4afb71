//! `coliseum report`: the report of an artist as a file.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::attach::{Attached, Purpose};
use super::client::{ClientError, Request, encode};
use super::filter::target;
use super::output::note;
use super::{Failure, Outcome, Place, Status};
use crate::coliseum::Coliseum;
use crate::projection::Projection;
use crate::read::report::Format;

/// How long to wait until the report holds what the log holds.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum report ar:abba --out abba.html
  coliseum report ar:abba --days 365 --out abba.csv
  coliseum report ar:abba --days alltime --format json --out -

The page holds all that it shows: open it in a browser, print it, send it.")]
pub struct ReportArgs {
    /// The artist's id
    #[arg(value_name = "ARTIST")]
    artist: String,
    /// Where to write it; `-` for stdout
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Days to look back: 1 to 365, or alltime
    #[arg(long, value_name = "N", default_value = "30")]
    days: String,
    /// html, json or csv; what the file's name ends in unless given, else html
    #[arg(long, value_name = "FORMAT", value_parser = ["html", "json", "csv"])]
    format: Option<String>,
    #[command(flatten)]
    place: Place,
}

pub fn run(args: &ReportArgs) -> Outcome {
    let config = args.place.load()?;
    let mut attached = Attached::open(&config, Purpose::Read)?;
    let fetched = fetch(args, &mut attached);
    attached.close()?;
    let report = fetched?;
    if args.out == Path::new("-") {
        std::io::stdout().write_all(&report)?;
        return Ok(Status::Good);
    }
    write_whole(&args.out, &report)?;
    note(&format!("wrote {} ({} bytes)", args.out.display(), report.len()));
    Ok(Status::Good)
}

fn fetch(args: &ReportArgs, attached: &mut Attached) -> Result<Vec<u8>, Failure> {
    if !attached.wait_applied(Some(Coliseum::NAME), PATIENCE)? {
        note("the projections are still at work; the report holds the log up to its appliedSeq");
    }
    let named = args.out.extension().and_then(|extension| extension.to_str()).and_then(Format::from_name);
    let format = args.format.as_deref().or(named.map(Format::name)).unwrap_or(Format::Html.name());
    let path = format!("/api/coliseum/reports/artists/{}", encode(&args.artist));
    let target = target(&path, [("days", args.days.as_str()), ("format", format)].into_iter());
    match attached.client.send_ok(Request::get(&target)) {
        Ok(response) => Ok(response.bytes()?),
        Err(ClientError::Problem(problem)) if problem.slug() == "invalid-query" => {
            Err(Failure::Usage(format!("--days {}: {}", args.days, problem.detail)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whole or not there: a file that was there stays until the new one is complete.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = || format!("{} cannot be written", path.display());
    // For whoever may read new files here: it is made to be passed on.
    let permissions = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(dir).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}
