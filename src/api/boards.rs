//! Leaderboards, and why a score is what it is.
//!
//! A page of a board is rendered once for each view and then given as it is: the handler loads one pointer to the view
//! and one to the page, compares them, and hands hyper bytes that are there already.

use super::pages::{Pages, rendered};
use super::{Api, OF_COLISEUM, unknown_artist};
use crate::http::query::{LIMIT, invalid};
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Kind, Param, Route};
use crate::http::{Ask, off_reactor};
use crate::limits::{BOARD_PAGES_MAX, ID_BYTES_MAX, LIST_LIMIT_DEFAULT};
use crate::problem::{Problem, Slug};
use crate::read::boards::{self, Lines};
use crate::units::{Domain, Timestamp, Window};

const BOARD: &[Param] = &[
    LIMIT,
    Param::new("offset", Kind::Number(0, u32::MAX as u64), "How many rows from the top are left out."),
    Param::new("around", Kind::Text(ID_BYTES_MAX), "An artist's id: the artist with its neighbours, `limit` rows."),
    Param::new("at", Kind::Time, "The board as it stood at the hour that holds this time, by event time."),
];
const WHY: &[Param] = &[LIMIT];

/// Work of `off_reactor` that reads the disk, whatever its size.
const READS_DISK: usize = usize::MAX;

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/coliseum/leaderboards/{domain}/{window}",
            "leaderboard",
            "One of the twelve boards: domain a, t, g or c; window 7d, 30d or alltime.",
            Handler::Read(leaderboard),
        )
        .params(BOARD)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Leaderboard")]),
        Route::get(
            "/api/coliseum/leaderboards/{domain}/{window}/{artistId}/why",
            "why",
            "The mutations behind a score, largest first, and the sum of the rest.",
            Handler::Blocking(why),
        )
        .params(WHY)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Why")]),
    ]
}

/// The pages of each board, by offset and limit.
#[derive(Default)]
pub struct BoardPages {
    boards: [[Pages<(usize, usize)>; 3]; 4],
}

/// `GET /api/coliseum/leaderboards/{domain}/{window}`
fn leaderboard(api: &Api, ask: &Ask<'_>) -> Answer {
    let (domain, window) = board_of(&ask.path("domain"), &ask.path("window"))?;
    let limit = ask.query.number("limit").map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
    let offset = ask.query.number("offset");
    let view = api.view();
    let lines = match ask.query.text("around") {
        Some(_) if offset.is_some() => {
            return Err(invalid("`around` and `offset` exclude each other: both say where the rows start."));
        }
        Some(artist_id) => Lines::Around { artist_id: artist_id.into(), limit },
        None => Lines::Page { offset: offset.unwrap_or(0) as usize, limit },
    };
    match (ask.query.time("at"), lines) {
        (None, Lines::Page { offset, limit }) => {
            let pages = &api.pages.boards[domain.index()][window.index()];
            let page = pages.get(&view, (offset, limit), BOARD_PAGES_MAX, || {
                boards::board(&view, domain, window, &Lines::Page { offset, limit })
                    .expect("a page names no artist that could be unknown")
            });
            Ok(page.rendered.reply(ask.headers))
        }
        (None, lines) => {
            let body = boards::board(&view, domain, window, &lines);
            Ok(rendered(body.ok_or_else(|| not_known(&lines))?, &view).reply(ask.headers))
        }
        (Some(at), lines) => {
            let at = not_ahead(api, at)?;
            let body = off_reactor(READS_DISK, || boards::past_board(&view, domain, window, at, &lines))?;
            Ok(rendered(body.ok_or_else(|| not_known(&lines))?, &view).reply(ask.headers))
        }
    }
}

fn not_known(lines: &Lines) -> Problem {
    match lines {
        Lines::Around { artist_id, .. } => unknown_artist(artist_id),
        Lines::Page { .. } => unreachable!("a page names no artist that could be unknown"),
    }
}

/// A board of the future is nobody's.
fn not_ahead(api: &Api, at: Timestamp) -> Result<Timestamp, Problem> {
    let now = api.clock.now();
    if at > now {
        return Err(invalid(format!(
            "The parameter `at` takes a time that has passed; it is {} now.",
            now.to_rfc3339()
        )));
    }
    Ok(at)
}

/// `GET /api/coliseum/leaderboards/{domain}/{window}/{artistId}/why`
fn why(api: &Api, ask: &Ask<'_>) -> Answer {
    let (domain, window) = board_of(&ask.path("domain"), &ask.path("window"))?;
    let artist_id = ask.path("artistId");
    let limit = ask.query.number("limit").map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
    let view = api.coliseum.view();
    let body = api.reader().why(&artist_id, domain, window, limit, &view)?;
    let body = body.ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

fn board_of(domain: &str, window: &str) -> Result<(Domain, Window), Problem> {
    let found = Domain::from_lower(domain).zip(Window::from_name(window));
    found.ok_or_else(|| {
        let detail = "There is no such board; domains are a, t, g and c, windows 7d, 30d and alltime.";
        Problem::new(Slug::NotFound, detail)
    })
}
