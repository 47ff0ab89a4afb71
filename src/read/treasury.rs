//! The treasury's views as JSON: the money of all artists, of one, and of its events.

use super::ReadFailure;
use super::json::Json;
use crate::event::Currency;
use crate::treasury::{Fans, Revenue, View};

/// Bytes of one row, about.
const ROW_BYTES: usize = 320;

/// Some rows that belong together and what they are listed by: a page ends between groups and never within one.
struct Page<'r, T> {
    groups: Vec<(&'r str, &'r [T])>,
    /// By what the next page goes on.
    next_after: Option<&'r str>,
}

impl<'r, T> Page<'r, T> {
    /// As many whole groups as fit into `limit` rows, and at least one, so that a walk over all pages comes to its end.
    fn of(groups: impl Iterator<Item = (&'r str, &'r [T])>, limit: usize) -> Page<'r, T> {
        let mut page = Page { groups: Vec::new(), next_after: None };
        let mut rows = 0;
        for group in groups {
            rows += group.1.len();
            if rows > limit && !page.groups.is_empty() {
                page.next_after = page.groups.last().map(|(id, _)| *id);
                break;
            }
            page.groups.push(group);
        }
        page
    }
}

/// The money of all artists, those behind the id `after`.
pub fn revenue(view: &View, after: Option<&str>, limit: usize) -> Vec<u8> {
    let page = Page::of(view.revenue(after), limit);
    let mut json = Json::with_capacity(128 + ROW_BYTES * limit.min(page.groups.len()));
    json.object(|json| {
        json.number("appliedSeq", view.applied().get());
        json.array_field("artists", |json| {
            for (artist_id, currencies) in page.groups {
                for (currency, revenue) in currencies {
                    json.object(|json| write_revenue(json, artist_id, *currency, revenue));
                }
            }
        });
        json.optional_string("nextAfter", page.next_after);
    });
    json.into_bytes()
}

/// The money of one artist and what it means by fan; `None` where the log has never named it.
pub fn artist(view: &View, artist_id: &str) -> Result<Option<Vec<u8>>, ReadFailure> {
    let Some(artist) = view.artist(artist_id) else { return Ok(None) };
    let fans = view.fans(artist)?;
    let currencies = view.currencies(artist_id);
    let mut json = Json::with_capacity(256 + ROW_BYTES * currencies.len());
    json.object(|json| {
        json.string("artistId", artist_id);
        json.optional_string("artistName", view.artist_name(artist));
        json.number("appliedSeq", view.applied().get());
        json.array_field("currencies", |json| {
            for (currency, revenue) in currencies {
                json.object(|json| write_revenue(json, artist_id, *currency, revenue));
            }
        });
        json.object_field("perFan", |json| {
            let base = view.setup().base_currency();
            let of_base = currencies.iter().find(|(currency, _)| *currency == base);
            let cents = of_base.map_or(0, |(_, revenue)| revenue.gross_cents - revenue.refunded_cents);
            write_per_fan(json, base, cents, fans);
        });
    });
    Ok(Some(json.into_bytes()))
}

/// The money of an artist's events, those behind the id `after`; `None` where the log has never named the artist.
pub fn events(view: &View, artist_id: &str, after: Option<&str>, limit: usize) -> Result<Option<Vec<u8>>, ReadFailure> {
    let Some(artist) = view.artist(artist_id) else { return Ok(None) };
    let events = view.events(artist)?;
    let behind = events.partition_point(|row| after.is_some_and(|after| row.event_id.as_str() <= after));
    let groups = events[behind..].chunk_by(|a, b| a.event_id == b.event_id);
    let page = Page::of(groups.map(|rows| (rows[0].event_id.as_str(), rows)), limit);
    let mut json = Json::with_capacity(128 + ROW_BYTES * page.groups.len());
    json.object(|json| {
        json.string("artistId", artist_id);
        json.number("appliedSeq", view.applied().get());
        json.array_field("events", |json| {
            for row in page.groups.iter().flat_map(|(_, rows)| *rows) {
                json.object(|json| {
                    json.string("eventId", &row.event_id);
                    json.optional_string("eventName", row.event_name.as_ref().map(|name| name.as_str()));
                    write_revenue(json, artist_id, row.currency, &row.revenue);
                });
            }
        });
        json.optional_string("nextAfter", page.next_after);
    });
    Ok(Some(json.into_bytes()))
}

/// The fields of the shape R.
fn write_revenue(json: &mut Json, artist_id: &str, currency: Currency, revenue: &Revenue) {
    json.string("artistId", artist_id);
    json.string("currency", currency.code());
    json.number("grossCents", revenue.gross_cents);
    json.number("refundedCents", revenue.refunded_cents);
    json.number("earnedCents", revenue.earned_cents);
    json.number("reversedCents", revenue.reversed_cents);
    json.number("netCents", revenue.net_cents());
    json.number("platformCents", revenue.platform_cents);
    json.number("transactions", revenue.transactions);
    json.time("firstAt", revenue.first_at);
    json.time("lastAt", revenue.last_at);
}

fn write_per_fan(json: &mut Json, base: Currency, cents: i128, fans: Fans) {
    let per = |users: u64| (users > 0).then(|| cents as f64 / users as f64);
    json.string("currency", base.code());
    json.number("fans", fans.fans);
    json.number("payingFans", fans.paying_fans);
    json.number("revenueCents", cents);
    json.float("revenuePerFanCents", per(fans.fans));
    json.float("revenuePerPayingFanCents", per(fans.paying_fans));
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_page_holds_whole_groups_and_at_least_one() {
        let groups: [(&str, &[u8]); 4] = [("a", &[1, 2]), ("b", &[3]), ("c", &[4, 5, 6]), ("d", &[7])];
        for (limit, first, next_after) in
            [(1, "a", Some("a")), (2, "a", Some("a")), (3, "ab", Some("b")), (6, "abc", Some("c")), (7, "abcd", None)]
        {
            let page = Page::of(groups.into_iter(), limit);
            let ids: String = page.groups.iter().map(|(id, _)| *id).collect();
            assert_eq!((ids.as_str(), page.next_after), (first, next_after), "{limit}");
        }
        assert_eq!(Page::of(groups[2..].iter().copied(), 1).next_after, Some("c"));
        assert_eq!(Page::<u8>::of(std::iter::empty(), 1).next_after, None);
    }
}
