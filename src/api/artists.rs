//! One artist.

use hyper::StatusCode;

use super::counts::{FROM, GRANULARITY, TO, granularity};
use super::{Api, OF_COLISEUM, unknown_artist};
use crate::coliseum::metrics::{Days, SubjectKind};
use crate::http::Ask;
use crate::http::query::LIMIT;
use crate::http::reply::{self, ReplyBody};
use crate::http::route::{Answer, CSV, HTML, Handler, JSON, Kind, Param, Route};
use crate::limits::{DAYS_DEFAULT, DAYS_MAX, LIST_LIMIT_DEFAULT};
use crate::read::counts::{self, Subject};
use crate::read::report::{Format, Report};
use crate::read::{self, artists};
use crate::units::Seq;

const MUTATIONS: &[Param] = &[
    LIMIT,
    Param::new("before", Kind::Number(1, u64::MAX), "Only what was caused by entries before this seq: `nextBefore`."),
];

const DAYS: Param = Param::new(
    "days",
    Kind::NumberOr(1, DAYS_MAX, "alltime"),
    "How many days back, to the minute, 30 unless given; or all time.",
);
const ANALYTICS: &[Param] = &[DAYS];
const FORMAT: Param = Param::new(
    "format",
    Kind::Word(&["json", "html", "csv"]),
    "`json` unless given; `html` is a page that prints, `csv` has one figure a line.",
);
const REPORT: &[Param] = &[DAYS, FORMAT];

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/coliseum/artists/{artistId}",
            "artist",
            "An artist's profile and its place on the twelve boards.",
            Handler::Read(artist),
        )
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Artist")]),
        Route::get(
            "/api/coliseum/artists/{artistId}/mutations",
            "mutations",
            "An artist's mutations, newest first; all of one seq together.",
            Handler::Blocking(mutations),
        )
        .params(MUTATIONS)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Mutations")]),
        Route::get(
            "/api/coliseum/artists/{artistId}/dna",
            "dna",
            "An artist's strengths compared: share, percentile, the window before, and the analytics functions.",
            Handler::Blocking(dna),
        )
        .params(ANALYTICS)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Dna")]),
        Route::get(
            "/api/coliseum/artists/{artistId}/analytics",
            "analytics",
            "Genre diversity, repeat engagement, revenue per fan and geographic reach over the last days.",
            Handler::Blocking(analytics),
        )
        .params(ANALYTICS)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Analytics")]),
        Route::get(
            "/api/coliseum/artists/{artistId}/rollups",
            "artistRollups",
            "An artist's metrics and points by hour, day or ISO week.",
            Handler::Blocking(rollups),
        )
        .params(&[GRANULARITY, FROM, TO])
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "ArtistRollups")]),
        Route::get(
            "/api/coliseum/reports/artists/{artistId}",
            "artistReport",
            "The report of an artist: strengths over time, ranks, revenue by week, cities, genres, repeat engagement.",
            Handler::Blocking(report),
        )
        .params(REPORT)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Report"), (200, HTML, ""), (200, CSV, "")]),
    ]
}

/// `GET /api/coliseum/reports/artists/{artistId}`
fn report(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let format = ask.query.text(FORMAT.name).and_then(Format::from_name).unwrap_or(Format::Json);
    let view = api.coliseum.view();
    let report = Report::of(&view, &artist_id, days(ask))?.ok_or_else(|| unknown_artist(&artist_id))?;
    let reply = reply::with_body(StatusCode::OK, format.media_type(), ReplyBody::whole(report.render(format)));
    Ok(reply::applied(reply, view.applied()))
}

/// `GET /api/coliseum/artists/{artistId}/dna`
fn dna(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let view = api.coliseum.view();
    let body = artists::dna(&view, &artist_id, days(ask))?.ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

/// `GET /api/coliseum/artists/{artistId}/analytics`
fn analytics(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let view = api.coliseum.view();
    let body = read::analytics::analytics(&view, &artist_id, days(ask))?;
    let body = body.ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

/// `GET /api/coliseum/artists/{artistId}/rollups`
fn rollups(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let range = ask.query.range("from", "to")?;
    let view = api.coliseum.view();
    let subject = Subject::find(&view, SubjectKind::Artist, Some(&artist_id));
    let subject = subject.ok_or_else(|| unknown_artist(&artist_id))?;
    let body = counts::rollups(&view, &subject, granularity(ask), range, false)?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

/// How many days the functions look back over.
fn days(ask: &Ask<'_>) -> Days {
    match (ask.query.number(DAYS.name), ask.query.text(DAYS.name)) {
        (Some(days), _) => Days::Last(days as u16),
        (None, Some(_)) => Days::AllTime,
        (None, None) => Days::Last(DAYS_DEFAULT),
    }
}

/// `GET /api/coliseum/artists/{artistId}`
fn artist(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let view = api.view();
    let body = artists::artist(&view, &artist_id).ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

/// `GET /api/coliseum/artists/{artistId}/mutations`
fn mutations(api: &Api, ask: &Ask<'_>) -> Answer {
    let artist_id = ask.path("artistId");
    let limit = ask.query.number("limit").map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
    let before = ask.query.number("before").map(Seq::new);
    let view = api.coliseum.view();
    let body = api.reader().mutations(&artist_id, before, limit, &view)?;
    let body = body.ok_or_else(|| unknown_artist(&artist_id))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}
