//! Metrics, their top lists, and rollups.

use super::pages::Pages;
use super::{Api, OF_COLISEUM, unknown_artist};
use crate::coliseum::View;
use crate::coliseum::metrics::{Granularity, SubjectKind};
use crate::event::Metric;
use crate::http::Ask;
use crate::http::query::{LIMIT, invalid};
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Kind, Param, Route};
use crate::limits::{ID_BYTES_MAX, LIST_LIMIT_DEFAULT, TOP_PAGES_MAX};
use crate::problem::{Problem, Slug};
use crate::read::counts::{self, Subject};
use crate::units::Window;

const WINDOW: Param =
    Param::new("window", Kind::Word(&["7d", "30d", "alltime"]), "How far back, `alltime` unless given.");
const CURRENCY: Param = Param::new("currency", Kind::Currency, "Of money, `usd` unless given.");
const ENTITY_TYPE: Param = Param::new(
    "entityType",
    Kind::Word(&["user", "artist", "event", "global"]),
    "Whose: a fan's, an artist's, an event's, or everything.",
);
const ENTITY_ID: Param = Param::new("entityId", Kind::Text(ID_BYTES_MAX), "Which one; `global` needs none.");

const METRIC: &[Param] = &[ENTITY_TYPE, ENTITY_ID, WINDOW, CURRENCY];
const TOP: &[Param] = &[
    Param::new("entityType", Kind::Word(&["user", "artist", "event"]), "Top fans, top artists or top events."),
    WINDOW,
    CURRENCY,
    LIMIT,
];
/// The parameters that every rollup takes.
pub(super) const GRANULARITY: Param = Param::new(
    "granularity",
    Kind::Word(&["hour", "day", "week"]),
    "How long a bucket is, `day` unless given; weeks are ISO weeks, from Monday, in UTC.",
);
pub(super) const FROM: Param = Param::new("from", Kind::Time, "Buckets that start at this time or later.");
pub(super) const TO: Param = Param::new("to", Kind::Time, "Buckets that start before this time.");
const ROLLUPS: &[Param] = &[ENTITY_TYPE, ENTITY_ID, GRANULARITY, FROM, TO];

/// The currency of a query that names none.
const CURRENCY_DEFAULT: &str = "usd";

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/coliseum/metrics/{metric}",
            "metric",
            "How much one user, artist or event, or everything, has of a metric in a window.",
            Handler::Blocking(metric),
        )
        .params(METRIC)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "Metric")]),
        Route::get(
            "/api/coliseum/metrics/{metric}/top",
            "metricTop",
            "The users, artists or events with the most of a metric in a window: by sum, then by id.",
            Handler::Read(top),
        )
        .params(TOP)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "MetricTop")]),
        Route::get(
            "/api/coliseum/rollups",
            "rollups",
            "Every metric of a user (by day), artist or event, or of everything, by hour, day or ISO week.",
            Handler::Blocking(rollups),
        )
        .params(ROLLUPS)
        .derived_of(OF_COLISEUM)
        .gives(&[(200, JSON, "EntityRollups")]),
    ]
}

/// `GET /api/coliseum/metrics/{metric}`
fn metric(api: &Api, ask: &Ask<'_>) -> Answer {
    let metric = metric_of(&ask.path("metric"))?;
    let view = api.coliseum.view();
    let subject = subject_of(&view, ask)?;
    let body = counts::metric(&view, &subject, metric, currency(ask), window(ask))?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

/// `GET /api/coliseum/metrics/{metric}/top`
fn top(api: &Api, ask: &Ask<'_>) -> Answer {
    let metric = metric_of(&ask.path("metric"))?;
    let kind = kind_of(ask)?;
    let limit = ask.query.number("limit").map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
    let (window, view) = (window(ask), api.view());
    let currency = if metric.is_money() { currency(ask) } else { CURRENCY_DEFAULT };
    let key = TopKey { kind, metric, currency: currency.into(), window, limit };
    let page = api.tops.get(&view, key, TOP_PAGES_MAX, || counts::top(&view, kind, metric, currency, window, limit));
    Ok(page.rendered.reply(ask.headers))
}

/// The pages of top lists that were rendered last.
pub type TopPages = Pages<TopKey>;

/// Which page of which list.
#[derive(PartialEq)]
pub struct TopKey {
    kind: SubjectKind,
    metric: Metric,
    currency: String,
    window: Window,
    limit: usize,
}

/// `GET /api/coliseum/rollups`
fn rollups(api: &Api, ask: &Ask<'_>) -> Answer {
    let granularity = granularity(ask);
    let range = ask.query.range("from", "to")?;
    if kind_of(ask)? == SubjectKind::User && granularity != Granularity::Day {
        return Err(invalid("The parameter `granularity` takes `day` for a user."));
    }
    let view = api.coliseum.view();
    let subject = subject_of(&view, ask)?;
    let body = counts::rollups(&view, &subject, granularity, range, true)?;
    Ok(reply::applied(reply::json(body), view.applied()))
}

fn metric_of(name: &str) -> Result<Metric, Problem> {
    Metric::from_name(name).ok_or_else(|| {
        let names: Vec<String> = Metric::ALL.iter().map(|metric| format!("`{}`", metric.name())).collect();
        let shown: String = name.chars().take(64).collect();
        let shown = shown.escape_debug();
        invalid(format!("There is no metric `{shown}`; the parameter `metric` takes one of {}.", names.join(", ")))
    })
}

fn kind_of(ask: &Ask<'_>) -> Result<SubjectKind, Problem> {
    let kind = ask.query.text(ENTITY_TYPE.name).and_then(SubjectKind::from_name);
    kind.ok_or_else(|| {
        invalid("The parameter `entityType` is missing; it takes one of `user`, `artist`, `event`, `global`.")
    })
}

fn window(ask: &Ask<'_>) -> Window {
    ask.query.text(WINDOW.name).and_then(Window::from_name).unwrap_or(Window::AllTime)
}

fn currency<'a>(ask: &'a Ask<'_>) -> &'a str {
    ask.query.text(CURRENCY.name).unwrap_or(CURRENCY_DEFAULT)
}

/// The bucket length that a rollup is asked for.
pub(super) fn granularity(ask: &Ask<'_>) -> Granularity {
    ask.query.text(GRANULARITY.name).and_then(Granularity::from_name).unwrap_or(Granularity::Day)
}

fn subject_of<'a>(view: &View, ask: &'a Ask<'_>) -> Result<Subject<'a>, Problem> {
    let kind = kind_of(ask)?;
    let id = ask.query.text(ENTITY_ID.name);
    if kind != SubjectKind::Global && id.is_none() {
        return Err(invalid(format!("The parameter `entityId` is missing: which {}.", kind.name())));
    }
    Subject::find(view, kind, id).ok_or_else(|| unknown(kind, id.unwrap_or_default()))
}

/// 404 for a subject that the log has never named.
fn unknown(kind: SubjectKind, id: &str) -> Problem {
    let shown: String = id.chars().take(200).collect();
    let detail = match kind {
        SubjectKind::Artist => return unknown_artist(id),
        SubjectKind::User => format!("No event is of a user `{shown}`."),
        SubjectKind::Event => format!("No attendance, payment, vote or line-up has named an event `{shown}`."),
        SubjectKind::Global => format!("`{shown}` is not everything: `entityId` of `global` is `global`, or left out."),
    };
    Problem::new(Slug::NotFound, detail)
}
