//! The fields of each type's row, with the words, genres, cities and plans that the streams use.

use crate::model::json::{Json, number, object, text, texts};
use crate::model::time::{self, MINUTE};
use crate::streams::{Draft, Kind};

/// `event` as its draft's type has it.
pub fn fields(draft: &Draft, event: Json, now: i64) -> Json {
    let artist = text(format!("a{}", draft.artist));
    let concert = text(format!("e{}", draft.event));
    let track = text(format!("t{}", draft.user));
    let typed = |kind: &str| event.with("type", text(kind));
    match draft.kind {
        Kind::Attended { tier, names_artist, city } => {
            // It is required, and may be blank, but not empty.
            let city = city_of(city).filter(|city| !city.is_empty()).unwrap_or(" ".to_owned());
            let mut event = typed("concierto.event_attended").with("eventId", concert).with("city", text(city));
            if let Some(tier) = ["vip", "standing"].get(usize::from(tier)) {
                event = event.with("ticketTier", text(*tier));
            }
            if names_artist {
                event = event.with("artistIds", texts(&["a3", "a1", "a3"])).with("artistId", artist);
            }
            event
        }
        Kind::Scheduled { line_up, name } => {
            let ids: Vec<String> =
                (0..5).filter(|bit| line_up >> bit & 1 == 1).map(|bit| format!("a{bit}")).rev().collect();
            let event = typed("concierto.event_scheduled").with("eventId", concert).with("artistIds", texts(&ids));
            match ["Finale", "Fest \u{1f39b}"].get(usize::from(name)) {
                Some(name) => event.with("name", text(*name)),
                None => event,
            }
        }
        Kind::Money { kind, cents, currency, role, artist: has_artist, event: has_event } => {
            let kinds = ["money_spent", "money_refunded", "money_earned", "earning_reversed"];
            let mut event = typed(&format!("treasury.{}", kinds[usize::from(kind)])).with("amountCents", number(cents));
            if let Some(currency) = ["usd", "eur", "gbp", "jpy", "sek"].get(usize::from(currency)) {
                event = event.with("currency", text(*currency));
            }
            let roles = ["artist", "venue", "agent", "platform"];
            if let Some(role) = roles.get(usize::from(role)).filter(|_| kind >= 2) {
                event = event.with("role", text(*role));
            }
            if has_artist {
                event = event.with("artistId", artist);
            }
            if has_event { event.with("eventId", concert) } else { event }
        }
        Kind::Vote { micro_weight } => {
            let event = typed("coliseum.vote_cast").with("artistId", artist).with("eventId", concert);
            match micro_weight {
                Some(weight) => {
                    event.with("weight", number(format!("{}.{:06}", weight / 1_000_000, weight % 1_000_000)))
                }
                None => event.with("artistIds", texts(&["not-credited"])),
            }
        }
        Kind::Played { tenths, is_older_client: true, .. } => played_by_an_older_client(draft, event, tenths),
        Kind::Played { tenths, genre, city, .. } => {
            let mut event = played(draft, event, tenths);
            if let Some(genre) = ["pop", "folk", "Pop", "rock"].get(usize::from(genre)) {
                event = event.with("genre", text(*genre));
            }
            match city_of(city) {
                Some(city) => event.with("city", text(city)),
                None => event,
            }
        }
        Kind::Favorited => typed("player.track_favorited").with("trackId", track).with("artistId", artist),
        Kind::Follow { target } => {
            typed("social.follow").with("targetId", artist).with("targetType", text(TARGETS[usize::from(target)]))
        }
        Kind::Share { target, names_artist } => {
            // What is only followed or shared becomes no subject of its own.
            let target_id = if target == 0 { "a1" } else { "nobody" };
            let event = typed("social.share").with("targetId", text(target_id)).with("platform", text("web"));
            let event = event.with("targetType", text(TARGETS[usize::from(target)]));
            if names_artist { event.with("artistId", artist) } else { event }
        }
        Kind::Profile { genres, city, name } => {
            let names = ["Ann", "Zoë \"Z\" <b>", "Ann", "林"];
            let mut event = typed("artist.profile_updated").with("artistId", artist);
            event = event.with("artistName", text(names[usize::from(name)]));
            if let Some(genres) = PROFILE_GENRES.get(usize::from(genres)) {
                event = event.with("genres", texts(genres));
            }
            if city { event.with("homeCity", text("Bergen")) } else { event }
        }
        Kind::Entitlement { plan, domains, depth, ends_in_minutes } => {
            let plan = ["free", "basic", "pro", "enterprise"][usize::from(plan)];
            let mut event = typed("coliseum.entitlement_changed").with("plan", text(plan));
            if let Some(domains) = PLAN_DOMAINS.get(usize::from(domains)) {
                event = event.with("domains", texts(domains));
            }
            if let Some(depth) = depth {
                event = event.with("leaderboardDepth", number(depth));
            }
            match ends_in_minutes {
                Some(minutes) => event.with("expiresAt", text(time::format(now + i64::from(minutes) * MINUTE))),
                None => event,
            }
        }
        Kind::Unknown => typed("venue.door_opened").with("artistId", artist).with("weight", text("heavy")),
    }
}

const TARGETS: [&str; 5] = ["artist", "user", "event", "venue", "track"];

const PROFILE_GENRES: [&[&str]; 5] = [
    &[],
    &["pop"],
    &["pop", "folk"],
    // A list is taken as it is: what stands twice weighs twice.
    &["folk", "jazz", "folk"],
    &["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "g10"],
];

const PLAN_DOMAINS: [&[&str]; 5] = [&["A"], &["C", "T"], &["G", "A"], &[], &["C", "G", "T", "A"]];

/// One city in several spellings, blanks, and enough others that ten are not all of them; none for the last few.
fn city_of(index: u8) -> Option<String> {
    let spelled =
        ["Oslo", " oslo ", "OSLO", "", "  ", "São Paulo", "SÃO PAULO", "Πύργος", "\u{a0}ΠΎΡΓΟΣ\t", "STRASSE", "straße"];
    match index {
        0..=10 => Some(spelled[usize::from(index)].to_owned()),
        11..=23 => Some(format!("Town {index}")),
        _ => None,
    }
}

fn seconds(tenths: u16) -> Json {
    number(format!("{}.{}", tenths / 10, tenths % 10))
}

fn played_by_an_older_client(draft: &Draft, event: Json, tenths: Option<u16>) -> Json {
    let mut data = object([
        ("content_id", text(format!("t{}", draft.user))),
        ("artist_id", text(format!("a{}", draft.artist))),
        ("artist_name", text("No profile")),
    ]);
    if let Some(tenths) = tenths {
        data = data.with("duration_seconds", seconds(tenths));
    }
    event.without("type").with("eventType", text("audio_play")).with("eventData", data)
}

fn played(draft: &Draft, event: Json, tenths: Option<u16>) -> Json {
    let mut event = event.with("type", text("player.track_played"));
    event = event.with("trackId", text(format!("t{}", draft.user)));
    event = event.with("artistId", text(format!("a{}", draft.artist)));
    if let Some(tenths) = tenths {
        event = event.with("durationSeconds", seconds(tenths));
    }
    event.with("unknownField", Json::parse(r#"{"b":1.50,"a":[1e2,null]}"#).expect("JSON"))
}
