//! The treasury views: all artists by pages, one artist, its events.

use super::analytics::assert_per_fan;
use super::ask::{Ask, whole};
use super::micros_of;
use crate::model::json::Json;
use crate::model::treasury::Revenue;

/// Every page of all rows: nothing twice, nothing left out, the rows of one artist on one page.
pub fn revenue(ask: &Ask) {
    let wanted = ask.moment.revenue();
    for limit in [None, Some(1), Some(3), Some(1000)] {
        let (mut found, mut after): (Vec<Revenue>, Option<String>) = (Vec::new(), None);
        loop {
            let limit = limit.map(|limit| format!("limit={limit}"));
            let cursor = after.as_ref().map(|after| format!("after={after}"));
            let query: Vec<String> = limit.into_iter().chain(cursor).collect();
            let path = format!("/api/treasury/revenue?{}", query.join("&"));
            let body = ask.of_all_time(path.trim_end_matches('?'));
            let page: Vec<Revenue> = body.at("artists").as_list().iter().map(row).collect();
            let is_behind = |row: &Revenue| after.as_ref().is_none_or(|after| row.artist.as_bytes() > after.as_bytes());
            assert!(page.iter().all(is_behind), "{path}: {page:?}");
            let last = page.last().map(|row| row.artist.clone());
            found.extend(page);
            match body.at("nextAfter").as_optional_text() {
                Some(next) => {
                    assert_eq!(last.as_deref(), Some(next), "{path} goes on behind its last artist");
                    after = Some(next.to_owned());
                }
                None => break,
            }
        }
        assert_eq!(found, wanted, "revenue by pages of {limit:?}");
    }
}

pub fn artists(ask: &Ask) {
    for artist in ask.moment.known("artist") {
        let path = format!("/api/treasury/artists/{artist}");
        let body = ask.of_all_time(&path);
        assert_eq!(body.at("artistId").as_text(), artist, "{path}");
        let name = ask.moment.name("artist", &artist);
        assert_eq!(body.at("artistName").as_optional_text(), name.as_deref(), "{path}");
        let found: Vec<Revenue> = body.at("currencies").as_list().iter().map(row).collect();
        assert_eq!(found, ask.moment.artist_revenue(&artist), "{path}");
        assert_per_fan(body.at("perFan"), &ask.moment.revenue_per_fan(&artist), &path);

        let path = format!("/api/treasury/artists/{artist}/events");
        let body = ask.of_all_time(&path);
        assert_eq!(body.at("artistId").as_text(), artist, "{path}");
        let events = body.at("events").as_list();
        let event = |event: &Json| event.at("eventId").as_text().to_owned();
        let found: Vec<Revenue> =
            events.iter().map(|event_row| Revenue { event: Some(event(event_row)), ..row(event_row) }).collect();
        assert_eq!(found, ask.moment.event_revenue(&artist), "{path}");
        for event_row in events {
            let name = ask.moment.name("event", &event(event_row));
            assert_eq!(event_row.at("eventName").as_optional_text(), name.as_deref(), "{path}");
        }
    }
    ask.is_not_found("/api/treasury/artists/nobody");
    ask.is_not_found("/api/treasury/artists/nobody/events");
}

/// The row R of SPEC 8, without an event.
fn row(found: &Json) -> Revenue {
    let cents = |key: &str| i64::try_from(whole(found.at(key))).expect("cents fit");
    Revenue {
        artist: found.at("artistId").as_text().to_owned(),
        event: None,
        currency: found.at("currency").as_text().to_owned(),
        gross_cents: cents("grossCents"),
        refunded_cents: cents("refundedCents"),
        earned_cents: cents("earnedCents"),
        reversed_cents: cents("reversedCents"),
        net_cents: cents("netCents"),
        platform_cents: cents("platformCents"),
        transactions: found.at("transactions").as_integer(),
        first_at: micros_of(found.at("firstAt")),
        last_at: micros_of(found.at("lastAt")),
    }
}
