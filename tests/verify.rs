//! `coliseum verify` by the real binary, over a log in which there is something of everything: live, stopped and rebuilt.

mod harness;
mod model;

use harness::binary::{Binary, run};
use model::json::{Json, number, object, text};

/// Something of every type, over two months: late line-ups, artists who come back, money in three currencies, cities and
/// genres that are spelled in several ways.
fn everything(n: u64) -> Json {
    let (user, artist, show) = (format!("u{}", n % 17), format!("a{}", n * 7 % 11), format!("e{}", n % 5));
    let by_turns = |words: &[&str]| text(words[n as usize / 12 % words.len()]);
    let currency = by_turns(&["usd", "eur", "jpy"]);
    let role = by_turns(&["artist", "platform"]);
    let event = match n % 12 {
        0 => {
            let artists = [format!("a{}", n % 11), format!("a{}", n / 12 % 11)];
            let artists = Json::List(artists.into_iter().map(text).collect());
            object([
                ("type", text("concierto.event_scheduled")),
                ("eventId", text(show)),
                ("artistIds", artists),
                ("name", by_turns(&["Night", "Day"])),
            ])
        }
        1 | 2 => object([
            ("type", text("concierto.event_attended")),
            ("eventId", text(show)),
            ("city", by_turns(&["Turin", " TURIN", "Oslo", " "])),
            ("ticketTier", by_turns(&["vip", "standing"])),
        ]),
        3 => object([
            ("type", text("treasury.money_spent")),
            ("amountCents", number(n * 31 + 1)),
            ("currency", currency),
            ("artistId", text(artist)),
            ("eventId", text(show)),
        ]),
        4 => object([
            ("type", text("treasury.money_refunded")),
            ("amountCents", number(n + 1)),
            ("currency", currency),
            ("artistId", text(artist)),
        ]),
        5 => {
            let kind = by_turns(&["treasury.money_earned", "treasury.earning_reversed"]);
            object([("type", kind), ("amountCents", number(n + 1)), ("role", role), ("artistId", text(artist))])
        }
        6 => object([
            ("type", text("coliseum.vote_cast")),
            ("artistId", text(artist)),
            ("eventId", text(show)),
            ("weight", number(n % 9 + 1)),
        ]),
        7 => object([
            ("type", text("player.track_played")),
            ("trackId", text("t")),
            ("artistId", text(artist)),
            ("durationSeconds", number(n % 60)),
            ("city", by_turns(&["Oslo", "oslo "])),
        ]),
        8 => object([
            ("type", text("player.track_played")),
            ("trackId", text("t")),
            ("artistId", text(artist)),
            ("genre", by_turns(&["pop", "Pop", "jazz"])),
        ]),
        9 => object([("type", text("player.track_favorited")), ("trackId", text("t")), ("artistId", text(artist))]),
        10 => object([
            ("type", by_turns(&["social.follow", "social.share"])),
            ("targetId", text(artist)),
            ("targetType", by_turns(&["artist", "artist", "venue"])),
            ("platform", text("x")),
        ]),
        _ if n % 24 == 11 => object([
            ("type", text("artist.profile_updated")),
            ("artistId", text(artist)),
            ("artistName", text(format!("Artist {n}"))),
            ("genres", Json::List(vec![text("pop"), text("folk"), text("pop")])),
        ]),
        _ => object([
            ("type", text("coliseum.entitlement_changed")),
            ("plan", by_turns(&["pro", "free", "basic"])),
            ("leaderboardDepth", number(n)),
        ]),
    };
    let Json::Object(mut members) = event else { unreachable!("every one is an object") };
    let (month, day) = (n % 2 + 1, n * 5 % 28 + 1);
    members.push(("userId".into(), text(user)));
    members.push(("at".into(), text(format!("2026-{month:02}-{day:02}T{:02}:30:00Z", n % 24))));
    members.push(("messageId".into(), text(format!("x-{n}"))));
    Json::Object(members)
}

#[test]
fn a_log_of_everything_verifies_clean_live_and_stopped_and_after_a_rebuild() {
    const EVENTS: u64 = 2_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data_dir = directory.path().join("data");
    let verify = || harness::load::assert_verified(&data_dir);
    let binary = Binary::start(&data_dir);
    for from in (0..EVENTS).step_by(250) {
        let events: Vec<Json> = (from..from + 250).map(everything).collect();
        let answer = binary.client.post("/api/passport/batch", Json::List(events).render().as_bytes()).expect(200);
        assert_eq!(answer.at("accepted").as_integer(), 250, "{}", answer.render());
        // What came before is stored by now, in part.
        verify();
    }
    assert!(binary.terminate().success());
    verify();
    let path = data_dir.to_str().expect("UTF-8");
    let rebuilt = run(&["rebuild", "--data-dir", path], directory.path());
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    verify();
}
