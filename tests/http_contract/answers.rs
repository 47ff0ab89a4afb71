//! Figures and reports: what their parameters take, whom they know, how a report comes.

use crate::model::json::{Json, number, object, text, texts};
use crate::{daemon, stored, vote};

const ARTIST: &str = "/api/coliseum/artists/a1";
const REPORT: &str = "/api/coliseum/reports/artists/a1";

#[test]
fn a_parameter_that_makes_no_sense_is_a_400_that_names_it() {
    let daemon = daemon();
    stored(&daemon, &vote());
    let metric = "/api/coliseum/metrics/votes_cast";
    let rollups = "/api/coliseum/rollups";
    let cases = [
        (format!("{ARTIST}/analytics?days=0"), "days"),
        (format!("{ARTIST}/analytics?days=366"), "days"),
        (format!("{ARTIST}/analytics?days=-1"), "days"),
        (format!("{ARTIST}/analytics?days=forever"), "days"),
        (format!("{ARTIST}/analytics?days="), "days"),
        (format!("{ARTIST}/dna?days=0"), "days"),
        (format!("{REPORT}?days=1.5"), "days"),
        (format!("{REPORT}?format=pdf"), "format"),
        ("/api/coliseum/metrics/nonsense?entityType=user&entityId=u1&window=7d".to_owned(), "metric"),
        ("/api/coliseum/metrics/nonsense/top?entityType=user&window=7d".to_owned(), "metric"),
        (format!("{metric}?entityType=planet&entityId=u1"), "entityType"),
        (format!("{metric}?entityId=u1"), "entityType"),
        (format!("{metric}?entityType=user"), "entityId"),
        (format!("{metric}?entityType=user&entityId="), "entityId"),
        (format!("{metric}?entityType=user&entityId=u1&window=8d"), "window"),
        (format!("{metric}?entityType=user&entityId=u1&currency=USD"), "currency"),
        (format!("{metric}?entityType=user&entityId=u1&currency=dollars"), "currency"),
        (format!("{metric}/top?entityType=global"), "entityType"),
        (format!("{metric}/top"), "entityType"),
        (format!("{metric}/top?entityType=user&limit=1001"), "limit"),
        (format!("{metric}/top?entityType=user&limit=0"), "limit"),
        (format!("{metric}/top?entityType=user&colour=red"), "colour"),
        (format!("{ARTIST}/rollups?granularity=month"), "granularity"),
        (format!("{ARTIST}/rollups?from=yesterday"), "from"),
        (format!("{ARTIST}/rollups?from=2026-02-02T00:00:00Z&to=2026-02-01T00:00:00Z"), "from"),
        (format!("{rollups}?entityType=global&granularity=year"), "granularity"),
        (format!("{rollups}?granularity=day"), "entityType"),
        (format!("{rollups}?entityType=user&entityId=u1&granularity=hour"), "granularity"),
        (format!("{rollups}?entityType=user&entityId=nobody&granularity=hour"), "granularity"),
    ];
    for (path, parameter) in cases {
        let problem = daemon.client.get(&path).problem(400, &["invalid-query"]);
        let detail = problem.at("detail").as_text();
        assert!(detail.contains(&format!("`{parameter}`")), "{path}: {detail}");
    }
    daemon.assert_works_after(1, "queries that make no sense");
}

#[test]
fn whom_the_log_has_not_named_is_a_404() {
    let daemon = daemon();
    let seq = stored(&daemon, &vote());
    for path in [
        "/api/coliseum/artists/nobody/analytics",
        "/api/coliseum/artists/nobody/dna",
        "/api/coliseum/artists/nobody/rollups",
        "/api/coliseum/reports/artists/nobody",
        "/api/coliseum/reports/artists/nobody?format=html",
        "/api/coliseum/metrics/votes_cast?entityType=user&entityId=nobody",
        "/api/coliseum/metrics/votes_cast?entityType=artist&entityId=nobody",
        "/api/coliseum/metrics/votes_cast?entityType=event&entityId=nothing",
        "/api/coliseum/metrics/votes_cast?entityType=global&entityId=something",
        "/api/coliseum/rollups?entityType=user&entityId=nobody",
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        daemon.client.get(&format!("{path}{and}minSeq={seq}")).problem(404, &["not-found"]);
    }
    for path in [
        "/api/coliseum/metrics/votes_cast?entityType=global",
        "/api/coliseum/metrics/votes_cast?entityType=global&entityId=global",
        "/api/coliseum/rollups?entityType=global",
        "/api/coliseum/metrics/money_spent/top?entityType=user&currency=zzz",
    ] {
        daemon.client.get(&format!("{path}&minSeq={seq}")).expect(200);
    }
}

#[test]
fn a_top_list_has_an_etag_as_a_board_has() {
    let daemon = daemon();
    let path = |seq: u64| format!("/api/coliseum/metrics/votes_cast/top?entityType=artist&minSeq={seq}");
    let first = daemon.client.get(&path(stored(&daemon, &vote())));
    let tag = first.header("etag").expect("a top list has an ETag").to_owned();
    let again = |path: &str| daemon.client.request("GET", path, &[("if-none-match", &tag)], b"");
    assert_eq!(again(&path(1)).status, 304);
    let seq = stored(&daemon, &vote());
    let changed = again(&path(seq));
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json().at("appliedSeq").as_integer() as u64, seq);
}

#[test]
fn a_report_comes_in_three_forms_and_nothing_in_it_is_markup_from_outside() {
    let daemon = daemon();
    let hostile = "<script>alert(\"1\")</script> & 'so'";
    let profile = object([
        ("type", text("artist.profile_updated")),
        ("userId", text("u")),
        ("at", text("2026-02-28T10:00:00Z")),
        ("artistId", text("a1")),
        ("artistName", text(hostile)),
        ("genres", texts(&["=1+1", hostile])),
        ("homeCity", text(hostile)),
    ]);
    stored(&daemon, &profile);
    let play = object([
        ("type", text("player.track_played")),
        ("userId", text("u")),
        ("at", text("2026-02-28T10:00:00Z")),
        ("artistId", text("a1")),
        ("trackId", text("t")),
        ("city", text(hostile)),
    ]);
    stored(&daemon, &play);
    let paid = object([
        ("type", text("treasury.money_spent")),
        ("userId", text("u")),
        ("at", text("2026-02-28T10:00:00Z")),
        ("artistId", text("a1")),
        ("amountCents", number(123_456)),
    ]);
    let seq = stored(&daemon, &paid);
    let report = |format: &str| daemon.client.get(&format!("{REPORT}?format={format}&minSeq={seq}"));

    let html = report("html");
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let page = html.text();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    assert!(page.contains("USD 1,234.56") && page.contains("As of"), "{page}");
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "the name of SVG");
    assert!(page.contains("<svg") && !elsewhere.contains("http"), "it holds all that it shows: {page}");

    let csv = report("csv");
    assert_eq!((csv.status, csv.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    let lines = csv.text();
    assert!(lines.starts_with("section,item,period,value,unit\r\n"), "{lines}");
    assert!(lines.contains("revenue,revenue,30d,123456,cents usd\r\n"), "{lines}");
    assert!(lines.contains("genreShare,'=1+1,30d,0.5,fraction\r\n"), "no spreadsheet takes it for a formula: {lines}");

    let json = report("json").expect(200);
    assert_eq!(json.at("artistName").as_text(), hostile);
    assert_eq!(json.at("appliedSeq").as_integer() as u64, seq);
    let weeks = json.at("revenueByWeek").at("weeks");
    let Json::List(weeks) = weeks else { panic!("{weeks:?}") };
    let sum: i64 = weeks.iter().map(|week| week.at("cents").as_integer()).sum();
    assert_eq!(sum, 123_456);
    let default = daemon.client.get(&format!("{REPORT}?minSeq={seq}"));
    assert_eq!(default.text(), report("json").text(), "JSON unless another form is asked for");
}
