//! The treasury's views and the profiles of fans.

use serde_json::{Value, json};

use super::{integer, list, number, object, or_null, reference, seq, text, time};

/// The fields of the shape R.
fn revenue_fields() -> [(&'static str, Value); 11] {
    [
        ("artistId", text()),
        ("currency", text()),
        ("grossCents", integer()),
        ("refundedCents", integer()),
        ("earnedCents", integer()),
        ("reversedCents", integer()),
        ("netCents", integer()),
        ("platformCents", integer()),
        ("transactions", integer()),
        ("firstAt", time()),
        ("lastAt", time()),
    ]
}

pub fn treasury() -> Vec<(&'static str, Value)> {
    let event = json!({
        "allOf": [reference("Revenue"), object([("eventId", text()), ("eventName", or_null(text()))])],
    });
    let per_fan = object([
        ("currency", text()),
        ("fans", integer()),
        ("payingFans", integer()),
        ("revenueCents", integer()),
        ("revenuePerFanCents", or_null(number())),
        ("revenuePerPayingFanCents", or_null(number())),
    ]);
    vec![
        ("Revenue", object(revenue_fields())),
        (
            "RevenueList",
            object([("appliedSeq", seq()), ("artists", list(reference("Revenue"))), ("nextAfter", or_null(text()))]),
        ),
        (
            "ArtistRevenue",
            object([
                ("artistId", text()),
                ("artistName", or_null(text())),
                ("appliedSeq", seq()),
                ("currencies", list(reference("Revenue"))),
                ("perFan", per_fan),
            ]),
        ),
        (
            "EventRevenueList",
            object([
                ("artistId", text()),
                ("appliedSeq", seq()),
                ("events", list(event)),
                ("nextAfter", or_null(text())),
            ]),
        ),
    ]
}

pub fn mediaid() -> Vec<(&'static str, Value)> {
    let metrics = json!({
        "type": "object",
        "additionalProperties": object([("count", integer()), ("sum", number())]),
        "description": "By metric, of money by metric and currency: `votes_cast`, `money_spent:usd`.",
    });
    let artist = object([("artistId", text()), ("artistName", or_null(text())), ("plays", integer())]);
    let fan = object([
        ("userId", text()),
        ("appliedSeq", seq()),
        ("firstSeenAt", time()),
        ("lastSeenAt", time()),
        ("activeDays", integer()),
        ("streakDays", integer()),
        ("metrics", metrics),
        ("topArtists", list(artist)),
        ("topGenres", list(object([("genre", text()), ("plays", number())]))),
        ("cities", list(object([("city", text()), ("count", integer())]))),
    ]);
    vec![("Fan", fan)]
}
