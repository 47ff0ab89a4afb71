//! Leaderboards as JSON.

use super::ReadFailure;
use super::json::Json;
use crate::coliseum::{Leaderboard, Standing, View};
use crate::units::{Domain, Seq, Timestamp, Window};

/// Bytes of one row, about.
const ROW_BYTES: usize = 144;

/// Which lines of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lines {
    /// `limit` lines from `offset` on.
    Page { offset: usize, limit: usize },
    /// An artist between its neighbours, at most `limit` lines.
    Around { artist_id: String, limit: usize },
}

/// Which board a body shows.
#[derive(Clone, Copy)]
struct Shown {
    domain: Domain,
    window: Window,
    as_of: Timestamp,
    applied: Seq,
}

/// The board as it is now; `None` where the artist to show is not known.
pub fn board(view: &View, domain: Domain, window: Window, lines: &Lines) -> Option<Vec<u8>> {
    let shown = Shown { domain, window, as_of: view.as_of(), applied: view.applied() };
    write_board(view, view.board(domain, window), shown, lines)
}

/// The board as it stood at the hour that holds `at`, by event time, over the entries of the view.
pub fn past_board(
    view: &View,
    domain: Domain,
    window: Window,
    at: Timestamp,
    lines: &Lines,
) -> Result<Option<Vec<u8>>, ReadFailure> {
    let past = view.past_board(domain, window, at)?;
    let shown = Shown { domain, window, as_of: past.as_of(), applied: view.applied() };
    Ok(write_board(view, past.leaderboard(), shown, lines))
}

fn write_board(view: &View, board: Leaderboard<'_>, shown: Shown, lines: &Lines) -> Option<Vec<u8>> {
    let around = match lines {
        Lines::Page { .. } => Vec::new(),
        Lines::Around { artist_id, limit } => board.around(view.artist(artist_id)?, *limit),
    };
    let mut json = Json::with_capacity(match lines {
        Lines::Page { limit, .. } => 256 + ROW_BYTES * (*limit).min(board.total()),
        Lines::Around { .. } => 256 + ROW_BYTES * around.len(),
    });
    json.object(|json| {
        json.string("domain", shown.domain.lower());
        json.string("window", shown.window.name());
        json.time("asOf", shown.as_of);
        json.number("appliedSeq", shown.applied.get());
        json.number("total", board.total());
        json.array_field("entries", |json| match lines {
            Lines::Page { offset, limit } => {
                board.rows(*offset, *limit).for_each(|standing| write_standing(json, &standing));
            }
            Lines::Around { .. } => around.iter().for_each(|standing| write_standing(json, standing)),
        });
    });
    Some(json.into_bytes())
}

fn write_standing(json: &mut Json, standing: &Standing<'_>) {
    json.object(|json| {
        json.number("position", standing.position);
        json.number("rank", standing.rank);
        json.string("artistId", &standing.card.id);
        json.optional_string("artistName", standing.card.name.as_deref());
        json.score("score", standing.score);
        json.optional_number("previousPosition", standing.previous_position);
        json.optional_number("change", standing.change());
    });
}
