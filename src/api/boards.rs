//! Leaderboards, and why a score is what it is.
//!
//! A page of a board is rendered once for each view and then given as it is: the handler loads one pointer to the view
//! and one to the page, compares them, and hands hyper bytes that are there already.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Api, OF_COLISEUM, unknown_artist};
use crate::coliseum::View;
use crate::http::query::{LIMIT, invalid};
use crate::http::reply::{self, Rendered};
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

/// A page that was rendered from a view.
struct Page {
    /// Kept, so that its address stays its own as long as it is compared.
    view: Arc<View>,
    offset: usize,
    limit: usize,
    rendered: Rendered,
}

/// The pages rendered last, for each board. Readers load one pointer; a page that two readers render at once is
/// rendered twice, and either is right.
#[derive(Default)]
pub struct BoardPages {
    boards: [[ArcSwap<Vec<Arc<Page>>>; 3]; 4],
}

impl BoardPages {
    fn get(&self, view: &Arc<View>, domain: Domain, window: Window, offset: usize, limit: usize) -> Arc<Page> {
        let slot = &self.boards[domain.index()][window.index()];
        let is_it = |page: &&Arc<Page>| page.offset == offset && page.limit == limit && Arc::ptr_eq(&page.view, view);
        if let Some(page) = slot.load().iter().find(is_it) {
            return page.clone();
        }
        let body = boards::board(view, domain, window, &Lines::Page { offset, limit })
            .expect("a page names no artist that could be unknown");
        let page = Arc::new(Page { view: view.clone(), offset, limit, rendered: rendered(body, view) });
        let mut pages: Vec<_> = slot.load().iter().filter(|page| Arc::ptr_eq(&page.view, view)).cloned().collect();
        pages.truncate(BOARD_PAGES_MAX - 1);
        pages.insert(0, page.clone());
        slot.store(Arc::new(pages));
        page
    }
}

/// The tag is of the bytes: equal answers share it over restarts, other ones do not.
fn rendered(body: Vec<u8>, view: &View) -> Rendered {
    let tag = format!("{}-{}-{:08x}", view.applied(), view.minute().get(), crc32fast::hash(&body));
    Rendered::new(JSON, body, &tag).applied(view.applied())
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
            Ok(api.pages.get(&view, domain, window, offset, limit).rendered.reply(ask.headers))
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
