//! Metrics, top lists and rollups.

use super::model::json::{Json, number, object, text, texts};
use super::model::metrics::{TopRow, Total};
use super::model::moment::Moment;
use super::model::rollups::{Bucket, start_of};
use super::model::time::{self, DAY, MINUTE, minute_of};
use super::{at_now, model_of, now};

const VOTE: &str = "coliseum.vote_cast";
const ATTENDED: &str = "concierto.event_attended";
const SCHEDULED: &str = "concierto.event_scheduled";
const SPENT: &str = "treasury.money_spent";
const REFUNDED: &str = "treasury.money_refunded";

fn vote(artist: &str, event: &str, weight: &str) -> Json {
    object([("artistId", text(artist)), ("eventId", text(event)), ("weight", number(weight))])
}

fn money(cents: i64, currency: &str) -> Json {
    object([("amountCents", number(cents)), ("currency", text(currency)), ("artistId", text("a"))])
}

fn total(count: i64, sum: i128) -> Total {
    Total { count, sum }
}

#[test]
fn a_vote_counts_for_its_user_its_artist_its_event_and_globally_by_weight() {
    let model = model_of(&[
        ("u1", VOTE, now(), vote("a", "e", "2.5")),
        ("u2", VOTE, now(), vote("b", "e", "0.000001")),
        ("u1", VOTE, now() - 8 * DAY, vote("a", "f", "4")),
    ]);
    let moment = at_now(&model);
    let votes = |kind, id, window| moment.metric(kind, id, "votes_cast", window, "usd");
    assert_eq!(votes("user", "u1", "7d"), total(1, 2_500_000));
    assert_eq!(votes("user", "u1", "30d"), total(2, 6_500_000));
    assert_eq!(votes("artist", "b", "alltime"), total(1, 1));
    assert_eq!(votes("event", "e", "7d"), total(2, 2_500_001));
    assert_eq!(votes("event", "f", "7d"), total(0, 0));
    assert_eq!(votes("global", "global", "alltime"), total(3, 6_500_001));
}

#[test]
fn refunds_count_one_and_subtract_in_their_own_currency() {
    let model = model_of(&[
        ("u1", SPENT, now(), money(1000, "usd")),
        ("u1", REFUNDED, now(), money(1500, "usd")),
        ("u1", SPENT, now(), money(70, "eur")),
        ("u1", "treasury.money_earned", now(), money(5, "usd")),
        ("u1", "treasury.earning_reversed", now(), money(7, "usd").with("role", text("venue"))),
    ]);
    let moment = at_now(&model);
    let of = |metric, currency| moment.metric("artist", "a", metric, "30d", currency);
    assert_eq!(of("money_spent", "usd"), total(2, -500));
    assert_eq!(of("money_spent", "eur"), total(1, 70));
    assert_eq!(of("money_spent", "sek"), total(0, 0));
    assert_eq!(of("money_earned", "usd"), total(2, -2));
}

#[test]
fn windows_end_with_their_minute_and_have_no_upper_edge() {
    // NOW is half a minute into 12:00, so that the minute of 7 days before still holds 30 seconds of the future.
    let inside = now() - 7 * DAY + MINUTE - 30_000_000;
    let model = model_of(&[
        ("u1", VOTE, inside, vote("a", "e", "1")),
        ("u1", VOTE, inside - 1, vote("a", "e", "1")),
        ("u1", VOTE, now() + 5 * MINUTE, vote("a", "e", "1")),
    ]);
    let votes =
        |minute, window| Moment::of(&model, minute).metric("global", "global", "votes_cast", window, "usd").count;
    let minute = minute_of(now());
    assert_eq!([votes(minute - 1, "7d"), votes(minute, "7d"), votes(minute + 1, "7d")], [3, 2, 1]);
    assert_eq!([votes(minute + 23 * 1440, "30d"), votes(minute + 23 * 1440 + 1, "30d")], [2, 1]);
    assert_eq!(votes(minute + 5000 * 1440, "alltime"), 3);
}

#[test]
fn follows_and_shares_count_for_artists_only_where_they_credit_them() {
    let target = |id: &str, kind: &str| object([("targetId", text(id)), ("targetType", text(kind))]);
    let share = |of: Json| of.with("platform", text("web"));
    let model = model_of(&[
        ("u1", "social.follow", now(), target("x", "artist")),
        ("u1", "social.follow", now(), target("x", "event")),
        ("u1", "social.share", now(), share(target("x", "artist")).with("artistId", text("y"))),
        ("u1", "social.share", now(), share(target("x", "event")).with("artistId", text("x"))),
        ("u1", "social.share", now(), share(target("x", "track"))),
    ]);
    let moment = at_now(&model);
    let of = |kind, id, metric| moment.metric(kind, id, metric, "alltime", "usd").count;
    assert_eq!([of("user", "u1", "follows"), of("user", "u1", "shares")], [2, 3]);
    assert_eq!([of("artist", "x", "follows"), of("artist", "x", "shares")], [1, 2]);
    assert_eq!(of("artist", "y", "shares"), 1);
    // A target is no event that anything happened at.
    assert!(!moment.is_known("event", "x"));
}

#[test]
fn a_late_line_up_counts_an_attendance_at_its_own_time_once() {
    let scheduled = |artists: &[&str]| object([("eventId", text("e")), ("artistIds", texts(artists))]);
    let here = object([("eventId", text("e")), ("city", text("Oslo"))]);
    let model = model_of(&[
        ("u1", ATTENDED, now() - 8 * DAY, here.clone()),
        ("u2", ATTENDED, now(), here.with("artistId", text("a"))),
        ("u3", SCHEDULED, now(), scheduled(&["a", "b"])),
    ]);
    let moment = at_now(&model);
    let of = |id, window| moment.metric("artist", id, "events_attended", window, "usd").count;
    assert_eq!([of("a", "7d"), of("a", "30d"), of("b", "7d"), of("b", "30d")], [1, 2, 1, 2]);
    assert_eq!(moment.metric("event", "e", "events_attended", "30d", "usd").count, 2);
    let before = model.prefix(2);
    assert_eq!(Moment::of(&before, moment.minute).metric("artist", "a", "events_attended", "30d", "usd").count, 1);
    assert!(!Moment::of(&before, moment.minute).is_known("artist", "b"));
}

#[test]
fn a_top_list_shares_ranks_goes_by_id_and_keeps_zeros_and_debts() {
    let scheduled = |name: Option<&str>| {
        let plain = object([("eventId", text("f")), ("artistIds", texts(&["a"]))]);
        name.map_or(plain.clone(), |name| plain.with("name", text(name)))
    };
    let at = |event: &str, cents: i64| object([("eventId", text(event)), ("amountCents", number(cents))]);
    let model = model_of(&[
        ("u1", SPENT, now(), at("g", 100)),
        ("u1", SPENT, now(), at("f", 100)),
        ("u1", REFUNDED, now(), at("h", 5)),
        ("u1", SPENT, now(), at("d", 5)),
        ("u1", REFUNDED, now(), at("d", 5)),
        ("u1", SCHEDULED, now(), scheduled(Some("Fest"))),
        ("u1", SCHEDULED, now(), scheduled(None)),
    ]);
    let row = |position, rank, id: &str, name: Option<&str>, count, sum| TopRow {
        position,
        rank,
        id: id.to_owned(),
        name: name.map(str::to_owned),
        total: total(count, sum),
    };
    let wanted = [
        row(1, 1, "f", Some("Fest"), 1, 100),
        row(2, 1, "g", None, 1, 100),
        row(3, 3, "d", None, 2, 0),
        row(4, 4, "h", None, 1, -5),
    ];
    assert_eq!(at_now(&model).top("event", "money_spent", "7d", "usd"), wanted);
    assert_eq!(at_now(&model).top("event", "money_spent", "7d", "eur"), []);
}

#[test]
fn a_week_starts_on_monday_across_a_year_s_end_and_before_1970() {
    for (at, start) in [
        // Monday of ISO week 2026-W01, which holds Thursday the 1st of January.
        ("2026-01-01T00:00:00Z", "2025-12-29T00:00:00Z"),
        ("2025-12-28T23:59:59.999999Z", "2025-12-22T00:00:00Z"),
        ("2026-01-04T23:59:59Z", "2025-12-29T00:00:00Z"),
        ("2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z"),
        // 2020 had 53 weeks: the 1st of January 2021 was a Friday of the last.
        ("2021-01-01T12:00:00Z", "2020-12-28T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z"),
        ("1957-03-03T20:00:00Z", "1957-02-25T00:00:00Z"),
    ] {
        let found = start_of("week", time::parse(at).unwrap());
        assert_eq!(time::format(found), time::format(time::parse(start).unwrap()), "{at}");
    }
    let at = time::parse("1969-12-31T23:30:00Z").unwrap();
    assert_eq!(time::format(start_of("hour", at)), "1969-12-31T23:00:00.000000Z");
    assert_eq!(time::format(start_of("day", at)), "1969-12-31T00:00:00.000000Z");
}

#[test]
fn rollups_hold_metrics_and_points_by_bucket_from_inclusive_to_exclusive() {
    let at = |text: &str| time::parse(text).unwrap();
    let model = model_of(&[
        ("u1", VOTE, at("2026-02-28T23:59:59Z"), vote("a", "e", "3")),
        ("u1", SPENT, at("2026-02-28T01:00:00Z"), money(250, "usd")),
        ("u1", SPENT, at("2026-02-28T02:00:00Z"), money(99, "sek")),
        ("u2", VOTE, at("2026-03-01T00:00:00Z"), vote("a", "e", "1")),
    ]);
    let moment = at_now(&model);
    let bucket = |start: &str, metrics: &[(&str, Total)], domains: [i128; 4]| Bucket {
        start: at(start),
        metrics: metrics.iter().map(|(key, total)| ((*key).to_owned(), *total)).collect(),
        domains,
    };
    let saturday =
        [("money_spent:sek", total(1, 99)), ("money_spent:usd", total(1, 250)), ("votes_cast", total(1, 3_000_000))];
    let sunday = [("votes_cast", total(1, 1_000_000))];
    let days = [
        // A vote of 3: 6 points of culture, 1 of behavior. 2.50 dollars: 2.5 points. The kronor have no rate.
        bucket("2026-02-28T00:00:00Z", &saturday, [6_000_000, 1_000_000, 2_500_000, 0]),
        bucket("2026-03-01T00:00:00Z", &sunday, [2_000_000, 1_000_000, 0, 0]),
    ];
    assert_eq!(moment.rollups("artist", "a", "day", None, None), days);
    let second = Some(days[1].start);
    assert_eq!(moment.rollups("artist", "a", "day", second, None), days[1..]);
    assert_eq!(moment.rollups("artist", "a", "day", None, second), days[..1]);
    // Both days are of the week that starts on the 23rd of February, which starts before the day of `from`.
    assert_eq!(moment.rollups("artist", "a", "week", second, None), []);
    let week = moment.rollups("global", "global", "week", None, None);
    assert_eq!(week.len(), 1);
    assert_eq!((week[0].start, week[0].domains), (at("2026-02-23T00:00:00Z"), [0; 4]));
    assert_eq!(week[0].metrics["votes_cast"], total(2, 4_000_000));
    assert_eq!(moment.rollups("user", "u2", "day", None, None).len(), 1);
    assert_eq!(moment.rollups("artist", "a", "hour", None, None).len(), 4);
}
