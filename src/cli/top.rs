//! `coliseum top`: a leaderboard as a table.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::Deserialize;

use super::attach::{Attached, Purpose};
use super::client::{Client, ClientError, encode};
use super::filter::target;
use super::output::{self, CLEAR_SCREEN, grouped, note, printable};
use super::{Outcome, Place, Status};
use crate::coliseum::Coliseum;
use crate::limits;
use crate::projection::Projection;

/// How long to wait until the board holds what the log holds.
const PATIENCE: Duration = Duration::from_secs(30);
const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  coliseum top a 7d
  coliseum top g alltime --limit 5 --json
  coliseum top a 7d --watch
  coliseum top t 30d --around ar:abba --limit 7
  coliseum top a alltime --at 2019-05-19T00:00:00Z

Domains: a cultural, t behavioral, g economic, c spatial. Windows: 7d, 30d, alltime.
Change is against the same board one day earlier.")]
pub struct TopArgs {
    /// a, t, g or c
    #[arg(value_parser = ["a", "t", "g", "c"])]
    domain: String,
    /// 7d, 30d or alltime
    #[arg(value_parser = ["7d", "30d", "alltime"])]
    window: String,
    #[command(flatten)]
    place: Place,
    /// Rows, at most 1000
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=limits::LIST_LIMIT_MAX as i64))]
    limit: u16,
    /// Show it again each second
    #[arg(long, conflicts_with = "at")]
    watch: bool,
    /// The board as it stood at this time (RFC 3339), to the hour
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Show this artist and its neighbours
    #[arg(long, value_name = "ARTIST")]
    around: Option<String>,
    /// Print the board as JSON
    #[arg(long)]
    json: bool,
}

/// A leaderboard, as the daemon gives it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Board {
    pub domain: String,
    pub window: String,
    pub as_of: String,
    pub applied_seq: u64,
    pub total: u64,
    pub entries: Vec<Row>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub position: u64,
    pub rank: u64,
    pub artist_id: String,
    pub artist_name: Option<String>,
    /// Kept as a JSON number's text would be, for scores that no float holds.
    pub score: Box<serde_json::value::RawValue>,
    pub change: Option<i64>,
}

pub fn run(args: &TopArgs) -> Outcome {
    let config = args.place.load()?;
    let mut attached = Attached::open(&config, Purpose::Read)?;
    let shown = show(args, &mut attached);
    attached.close()?;
    shown?;
    Ok(Status::Good)
}

fn show(args: &TopArgs, attached: &mut Attached) -> anyhow::Result<()> {
    if !attached.wait_applied(Some(Coliseum::NAME), PATIENCE)? {
        note("the projections are still at work; the board holds the log up to appliedSeq");
    }
    let limit = args.limit.to_string();
    let query = [("limit", Some(&limit)), ("at", args.at.as_ref()), ("around", args.around.as_ref())];
    let given = query.into_iter().filter_map(|(name, value)| value.map(|value| (name, value.as_str())));
    let path = format!("/api/coliseum/leaderboards/{}/{}", encode(&args.domain), encode(&args.window));
    let target = target(&path, given);
    let mut last = String::new();
    loop {
        let text =
            if args.json { json(&mut attached.client, &target)? } else { table(&get(&mut attached.client, &target)?) };
        if !args.watch {
            return Ok(output::print(&text)?);
        }
        if io::stdout().is_terminal() && !args.json {
            output::print(&format!("{CLEAR_SCREEN}{text}"))?;
        } else if text != last {
            output::print(&text)?;
        }
        last = text;
        std::thread::sleep(WATCH_EVERY);
    }
}

/// One board of the daemon.
pub fn get(client: &mut Client, target: &str) -> Result<Board, ClientError> {
    client.get_json(target)
}

fn json(client: &mut Client, target: &str) -> Result<String, ClientError> {
    let bytes = client.send_ok(super::client::Request::get(target))?.bytes()?;
    let mut text = String::from_utf8_lossy(&bytes).trim_end().to_string();
    text.push('\n');
    Ok(text)
}

/// The board as text, with what it stands for above and below.
pub fn table(board: &Board) -> String {
    let name = match board.domain.as_str() {
        "a" => "cultural",
        "t" => "behavioral",
        "g" => "economic",
        "c" => "spatial",
        _ => "",
    };
    let mut out = format!("{} {name}, {}\n", board.domain.to_uppercase(), board.window);
    if board.entries.is_empty() {
        let none = if board.total == 0 { "Nobody has a score on this board yet." } else { "No artist stands here." };
        writeln!(out, "{none}").expect("a String takes every write");
    } else {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["#", "rank", "artist", "score", "change"]);
        for row in &board.entries {
            table.add_row([
                row.position.to_string(),
                row.rank.to_string(),
                printable(row.artist_name.as_deref().unwrap_or(&row.artist_id)),
                row.score.get().to_string(),
                change(row.change),
            ]);
        }
        for column in [0, 1, 3] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(out, "{table}").expect("a String takes every write");
    }
    let (of, seq) = (grouped(board.total), grouped(board.applied_seq));
    let shown = board.entries.len();
    writeln!(out, "{shown} of {of} artists, as of {}, log up to seq {seq}", printable(&board.as_of))
        .expect("a String takes every write");
    out
}

/// Places won or lost since a day earlier; one that was not on the board is new.
fn change(change: Option<i64>) -> String {
    match change {
        None => "new".into(),
        Some(0) => "=".into(),
        Some(up @ 1..) => format!("▲ {up}"),
        Some(down) => format!("▼ {}", down.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(entries: &str, total: u64) -> Board {
        let json = format!(
            r#"{{"domain":"a","window":"7d","asOf":"2026-05-01T20:15:00Z","appliedSeq":1234,"total":{total},"entries":{entries}}}"#
        );
        serde_json::from_str(&json).expect("a board")
    }

    #[test]
    fn a_board_shows_its_rows_its_minute_and_its_place_in_the_log() {
        let text = table(&board(
            r#"[{"position":1,"rank":1,"artistId":"ar:x","artistName":"X\u001b[2J","score":10000000000000000.000001,"previousPosition":3,"change":2},
                {"position":2,"rank":1,"artistId":"ar:y","artistName":null,"score":0.5,"previousPosition":null,"change":null}]"#,
            7,
        ));
        for part in [
            "A cultural, 7d",
            "X\\u{1b}[2J",
            "10000000000000000.000001",
            "▲ 2",
            "ar:y",
            "new",
            "2 of 7 artists, as of 2026-05-01T20:15:00Z, log up to seq 1,234",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn an_empty_board_says_so() {
        let text = table(&board("[]", 0));
        assert!(text.contains("Nobody has a score") && text.contains("0 of 0 artists"), "{text}");
        assert!(table(&board("[]", 5)).contains("No artist stands here"));
    }

    #[test]
    fn a_change_is_an_arrow() {
        assert_eq!([Some(3), Some(-12), Some(0), None].map(change), ["▲ 3", "▼ 12", "=", "new"]);
    }
}
