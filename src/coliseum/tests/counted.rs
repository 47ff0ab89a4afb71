//! What is counted of everyone, said as plainly as it can be: one list of deeds, gone through for every question.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::MINUTE_MICROS;
use super::model::{Model, Stored};
use crate::coliseum::View;
use crate::coliseum::metrics::{Analytics, Bucket, Days, Granularity, SubjectKind, Total};
use crate::event::Metric;
use crate::units::{Domain, Window};

/// The last one is never used.
pub const CURRENCIES: [&str; 4] = ["usd", "eur", "gbp", "jpy"];

/// An event that counts, as far as it does.
#[derive(Clone, Debug)]
pub struct Deed {
    minute: i64,
    metric: Metric,
    currency: Option<String>,
    sum: i128,
    user: String,
    event: Option<String>,
    artists: Vec<String>,
    city: Option<String>,
    is_of_a_fan: bool,
    is_paid_in_usd: bool,
    /// Of a play that scores.
    genre: Option<Option<String>>,
}

impl Deed {
    fn of(entry: &Stored, artists: &[String]) -> Option<Deed> {
        let p = &entry.payload;
        let kind = entry.kind();
        let cents = || i128::from(p["amountCents"].as_i64().expect("money has an amount"));
        let (metric, sum) = match kind {
            "concierto.event_attended" => (Metric::EventsAttended, 1),
            "treasury.money_spent" => (Metric::MoneySpent, cents()),
            "treasury.money_refunded" => (Metric::MoneySpent, -cents()),
            "treasury.money_earned" => (Metric::MoneyEarned, cents()),
            "treasury.earning_reversed" => (Metric::MoneyEarned, -cents()),
            "coliseum.vote_cast" => (Metric::VotesCast, (p["weight"].as_f64().unwrap_or(1.0) * 1e6).round() as i128),
            "player.track_played" => (Metric::TracksPlayed, 1),
            "player.track_favorited" => (Metric::Favorites, 1),
            "social.follow" => (Metric::Follows, 1),
            "social.share" => (Metric::Shares, 1),
            _ => return None,
        };
        let is_money = kind.starts_with("treasury.");
        let is_play = kind == "player.track_played";
        let names_event = is_money || kind == "concierto.event_attended" || kind == "coliseum.vote_cast";
        let is_short = p["durationSeconds"].as_f64().is_some_and(|seconds| seconds < 30.0);
        let currency = is_money.then(|| entry.text_of("currency").unwrap_or("usd").to_owned());
        Some(Deed {
            minute: entry.at_micros.div_euclid(MINUTE_MICROS),
            metric,
            is_paid_in_usd: kind == "treasury.money_spent" && currency.as_deref() == Some("usd"),
            currency,
            sum,
            user: entry.user_id().to_owned(),
            event: names_event.then(|| entry.text_of("eventId").map(str::to_owned)).flatten(),
            artists: artists.to_vec(),
            city: city(entry).map(|city| city.to_lowercase()),
            is_of_a_fan: !is_money || kind == "treasury.money_spent",
            genre: (is_play && !is_short).then(|| entry.text_of("genre").map(str::to_owned)),
        })
    }

    fn is_of(&self, kind: SubjectKind, id: &str) -> bool {
        match kind {
            SubjectKind::User => self.user == id,
            SubjectKind::Artist => self.artists.iter().any(|artist| artist == id),
            SubjectKind::Event => self.event.as_deref() == Some(id),
            SubjectKind::Global => true,
        }
    }
    fn day(&self) -> i64 {
        self.minute.div_euclid(1440)
    }
}

/// Where an attendance or a play was, trimmed.
fn city(entry: &Stored) -> Option<&str> {
    let has_one = ["concierto.event_attended", "player.track_played"].contains(&entry.kind());
    let city = entry.text_of("city").filter(|_| has_one)?.trim();
    (!city.is_empty()).then_some(city)
}

fn add(total: &mut Total, deed: &Deed) {
    total.count += 1;
    total.sum += deed.sum;
}

/// All deeds of a log, and who is in it.
pub struct Counted<'m> {
    model: &'m Model,
    deeds: Vec<Deed>,
    users: BTreeSet<String>,
    events: BTreeSet<String>,
    /// By lower case, as spelled first.
    cities: BTreeMap<String, String>,
}

impl Counted<'_> {
    pub fn of<'m>(entries: &[Stored], model: &'m Model) -> Counted<'m> {
        let names_event = |entry: &&Stored| {
            entry.kind() == "concierto.event_scheduled" || Deed::of(entry, &[]).is_some_and(|deed| deed.event.is_some())
        };
        let mut cities = BTreeMap::new();
        for city in entries.iter().filter_map(city) {
            cities.entry(city.to_lowercase()).or_insert_with(|| city.to_owned());
        }
        Counted {
            model,
            deeds: entries.iter().filter_map(|entry| Deed::of(entry, &model.credits[&entry.seq])).collect(),
            users: entries.iter().map(|entry| entry.user_id().to_owned()).collect(),
            events: entries
                .iter()
                .filter(names_event)
                .filter_map(|e| e.text_of("eventId").map(str::to_owned))
                .collect(),
            cities,
        }
    }

    /// Everyone of a kind, with the number that the view has for them.
    fn subjects(&self, view: &View, kind: SubjectKind) -> Vec<(String, u32)> {
        let numbered = |ids: &BTreeSet<String>, find: &dyn Fn(&str) -> Option<u32>| {
            ids.iter().map(|id| (id.clone(), find(id).expect("known"))).collect()
        };
        match kind {
            SubjectKind::User => numbered(&self.users, &|id| view.metrics().user(id)),
            SubjectKind::Event => numbered(&self.events, &|id| view.metrics().event(id)),
            SubjectKind::Artist => {
                let artists = self.model.artists.iter().cloned().collect();
                numbered(&artists, &|id| view.artist(id).map(|artist| artist.get()))
            }
            SubjectKind::Global => vec![("global".into(), 0)],
        }
    }

    /// The totals of one subject after a minute; only those that something counts in.
    fn totals(&self, kind: SubjectKind, id: &str, after: i64) -> BTreeMap<(Metric, Option<&str>), Total> {
        let mut totals = BTreeMap::new();
        for deed in self.deeds.iter().filter(|deed| deed.minute > after && deed.is_of(kind, id)) {
            add(totals.entry((deed.metric, deed.currency.as_deref())).or_default(), deed);
        }
        totals
    }

    fn buckets(&self, kind: SubjectKind, id: &str, start_of: &dyn Fn(i64) -> i64) -> BTreeMap<i64, Bucket> {
        let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
        for deed in self.deeds.iter().filter(|deed| deed.is_of(kind, id)) {
            let bucket = buckets.entry(start_of(deed.minute)).or_default();
            add(bucket.metrics.entry((deed.metric, deed.currency.as_deref().map(Into::into))).or_default(), deed);
        }
        for change in self.model.changes.iter().filter(|change| kind == SubjectKind::Artist && change.artist == id) {
            let bucket = buckets.entry(start_of(change.at_micros.div_euclid(MINUTE_MICROS))).or_default();
            bucket.domains[change.domain] += change.effective;
        }
        buckets.retain(|_, bucket| !bucket.metrics.is_empty() || bucket.domains != [0; 4]);
        buckets
    }
}

/// Holds all that a view says of what was counted against the deeds.
pub fn check(view: &View, entries: &[Stored], model: &Model, now: i64) {
    let counted = Counted::of(entries, model);
    assert_eq!(view.metrics().users() as usize, counted.users.len());
    let unnamed = ["u", "v", "U", "ü", "later"].into_iter().filter(|user| !counted.users.contains(*user));
    unnamed.for_each(|user| assert_eq!(view.metrics().user(user), None, "{user}"));
    let unnamed = ["e1", "e2", "e3", "later"].into_iter().filter(|event| !counted.events.contains(*event));
    unnamed.for_each(|event| assert_eq!(view.metrics().event(event), None, "{event}"));
    for kind in SubjectKind::ALL {
        let subjects = counted.subjects(view, kind);
        for (id, number) in &subjects {
            check_totals(view, &counted, kind, (id, *number), now);
            check_rollups(view, &counted, kind, (id, *number), now);
        }
        if SubjectKind::LISTED.contains(&kind) {
            check_tops(view, &counted, kind, &subjects, now);
        }
    }
    for (id, number) in counted.subjects(view, SubjectKind::Artist) {
        check_points(view, &counted, (&id, number), now);
        for days in [Days::Last(1), Days::Last(7), Days::Last(30), Days::Last(365), Days::AllTime] {
            check_analytics(view, &counted, (&id, number), days, now);
        }
    }
    check_entitlements(view, entries);
}

/// The last minute before a window.
fn before(window: Window, now: i64) -> i64 {
    window.minutes().map_or(i64::MIN, |minutes| now - minutes)
}

/// Every metric, and of money in every currency.
fn metrics() -> impl Iterator<Item = (Metric, Option<&'static str>)> {
    let currencies = |metric: Metric| if metric.is_money() { CURRENCIES.map(Some).to_vec() } else { vec![None] };
    Metric::ALL.into_iter().flat_map(move |metric| currencies(metric).into_iter().map(move |used| (metric, used)))
}

fn check_totals(view: &View, counted: &Counted<'_>, kind: SubjectKind, (id, number): (&str, u32), now: i64) {
    for window in Window::ALL {
        let expected = counted.totals(kind, id, before(window, now));
        for key in metrics() {
            // A currency that is of no matter changes nothing.
            let currency = key.1.unwrap_or("xxx");
            let found = view.metrics().total(kind, number, key.0, currency, window).expect("readable");
            assert_eq!(found, expected.get(&key).copied().unwrap_or_default(), "{kind:?} {id} {key:?} {window:?}");
        }
    }
}

fn check_tops(view: &View, counted: &Counted<'_>, kind: SubjectKind, subjects: &[(String, u32)], now: i64) {
    for window in Window::ALL {
        let totals: Vec<_> =
            subjects.iter().map(|(id, number)| (id, *number, counted.totals(kind, id, before(window, now)))).collect();
        for key in metrics() {
            let mut expected: Vec<(Total, &str, u32)> = totals
                .iter()
                .filter_map(|(id, number, totals)| Some((*totals.get(&key)?, id.as_str(), *number)))
                .collect();
            expected.sort_by(|a, b| b.0.sum.cmp(&a.0.sum).then(a.1.as_bytes().cmp(b.1.as_bytes())));
            for limit in [1000, 2] {
                let top = view.metrics().top(kind, key.0, key.1.unwrap_or("xxx"), window, limit, view.cards());
                assert_eq!(top.total, expected.len() as u64, "{kind:?} {key:?} {window:?}");
                assert_eq!(top.rows.len(), expected.len().min(limit), "{kind:?} {key:?} {window:?}");
                for (row, (index, (total, id, number))) in top.rows.iter().zip(expected.iter().enumerate()) {
                    let rank = expected.iter().filter(|(other, _, _)| other.sum > total.sum).count() as u64 + 1;
                    assert_eq!((row.id.as_str(), row.number, row.total), (*id, *number, *total), "{kind:?} {key:?}");
                    assert_eq!((row.position, row.rank), (index as u64 + 1, rank), "{kind:?} {key:?} {window:?}");
                }
            }
        }
    }
}

fn check_rollups(view: &View, counted: &Counted<'_>, kind: SubjectKind, (id, number): (&str, u32), now: i64) {
    let hour = |minute: i64| minute.div_euclid(60) * 60;
    let day = |minute: i64| minute.div_euclid(1440) * 1440;
    // 1970-01-05 was a Monday.
    let week = |minute: i64| ((minute.div_euclid(1440) - 4).div_euclid(7) * 7 + 4) * 1440;
    let ranges = [
        (Some(day(now) - 7 * 1440), None),
        (Some(now - 10_080), Some(now)),
        (None, Some(now - 1441)),
        (Some(hour(now) - 60), Some(hour(now) + 60)),
        (Some(week(now - 43_200)), Some(week(now))),
        (Some(now), Some(now)),
    ];
    let granularities: [(Granularity, &dyn Fn(i64) -> i64); 3] =
        [(Granularity::Hour, &hour), (Granularity::Day, &day), (Granularity::Week, &week)];
    for (index, (granularity, start_of)) in granularities.into_iter().enumerate() {
        let all = counted.buckets(kind, id, start_of);
        // Another range each time: all of them would take most of the time of this test.
        let range = ranges[(index + number as usize + counted.deeds.len()) % ranges.len()];
        for (from, to) in [(None, None), range] {
            let found = view.metrics().rollups(kind, number, granularity, (from, to)).expect("readable");
            let mut expected = all.clone();
            expected.retain(|start, _| from.is_none_or(|from| from <= *start) && to.is_none_or(|to| *start < to));
            assert_eq!(found, expected, "{kind:?} {id} {granularity:?} from {from:?} to {to:?}, now {now}");
        }
    }
    for after in [Some(now - 43_200), Some(now)] {
        let mut inside = counted.buckets(kind, id, &|minute| i64::from(after.is_none_or(|after| minute > after)));
        let found = view.metrics().since(kind, number, after).expect("readable");
        assert_eq!(found, inside.remove(&1).unwrap_or_default(), "{kind:?} {id} after {after:?}");
    }
}

fn check_points(view: &View, counted: &Counted<'_>, (id, number): (&str, u32), now: i64) {
    for domain in Domain::ALL {
        for (after, last) in
            [(now - 20_160, now - 10_080), (now - 86_400, now - 43_200), (now - 1, now), (now, now - 9)]
        {
            let is_inside = |micros: i64| (after + 1..=last).contains(&micros.div_euclid(MINUTE_MICROS));
            let of_artist = counted.model.changes.iter().filter(|change| change.artist == id);
            let of_domain = of_artist.filter(|change| change.domain == domain.index() && is_inside(change.at_micros));
            let found = view.metrics().points(number, after, last).expect("readable")[domain.index()];
            assert_eq!(found, of_domain.map(|change| change.effective).sum::<i128>(), "{id} {domain:?} after {after}");
        }
    }
}

fn check_analytics(view: &View, counted: &Counted<'_>, (id, number): (&str, u32), days: Days, now: i64) {
    let after = match days {
        Days::Last(days) => now - 1440 * i64::from(days),
        Days::AllTime => i64::MIN,
    };
    let mut deeds = counted.deeds.clone();
    deeds.retain(|deed| deed.minute > after && deed.is_of(SubjectKind::Artist, id));
    let mut days_of: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for deed in deeds.iter().filter(|deed| deed.is_of_a_fan) {
        days_of.entry(&deed.user).or_default().insert(deed.day());
    }
    let paying: BTreeSet<&str> =
        deeds.iter().filter(|deed| deed.is_paid_in_usd).map(|deed| deed.user.as_str()).collect();
    let card = view.card(view.artist(id).expect("known"));
    let found = view.metrics().analytics(number, card, days).expect("readable");
    assert_eq!(found.fans, days_of.len() as u64, "{id} {days:?}");
    assert_eq!(found.repeat_fans, days_of.values().filter(|days| days.len() > 1).count() as u64, "{id} {days:?}");
    assert_eq!(found.paying_fans, paying.len() as u64, "{id} {days:?}");
    let in_usd =
        deeds.iter().filter(|deed| deed.metric == Metric::MoneySpent && deed.currency.as_deref() == Some("usd"));
    assert_eq!(found.revenue_cents, in_usd.map(|deed| deed.sum).sum::<i128>(), "{id} {days:?}");
    check_genres(&found, &deeds, counted.model.cards.get(id).map_or(&[], |(_, genres, _)| genres.as_slice()));
    check_reach(&found, &deeds, &counted.cities);
}

fn near(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
        (found, expected) => found == expected,
    }
}

fn check_genres(found: &Analytics, deeds: &[Deed], profile: &[String]) {
    // In whole parts of a play, of which each has as many as the profile has genres.
    let parts = profile.len().max(1) as u64;
    let mut weights: BTreeMap<&str, u64> = BTreeMap::new();
    for genre in deeds.iter().filter_map(|deed| deed.genre.as_ref()) {
        match genre {
            Some(genre) => *weights.entry(genre).or_default() += parts,
            None => profile.iter().for_each(|genre| *weights.entry(genre).or_default() += 1),
        }
    }
    let all: u64 = weights.values().sum();
    let mut expected: Vec<(&str, u64)> = weights.into_iter().collect();
    expected.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.as_bytes().cmp(b.0.as_bytes())));
    let shares: Vec<f64> = expected.iter().map(|(_, weight)| *weight as f64 / all as f64).collect();
    let names: Vec<&str> = expected.iter().map(|(genre, _)| *genre).collect();
    assert_eq!(found.genres.iter().map(|share| share.genre.as_str()).collect::<Vec<_>>(), names, "{found:?}");
    assert!(found.genres.iter().zip(&shares).all(|(a, b)| near(Some(a.share), Some(*b))), "{found:?} {shares:?}");
    let score = (all > 0).then(|| 1.0 - shares.iter().map(|share| share * share).sum::<f64>());
    assert!(near(found.genre_diversity(), score), "{found:?} {score:?}");
    assert!(near(found.effective_genres(), effective(&shares)), "{found:?}");
}

/// `exp(-sum(p ln p))`.
fn effective(shares: &[f64]) -> Option<f64> {
    let entropy: f64 = shares.iter().map(|share| -share * share.ln()).sum();
    (!shares.is_empty()).then(|| entropy.exp())
}

fn check_reach(found: &Analytics, deeds: &[Deed], spelled: &BTreeMap<String, String>) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    deeds.iter().filter_map(|deed| deed.city.as_deref()).for_each(|city| *counts.entry(city).or_default() += 1);
    let all: u64 = counts.values().sum();
    let mut expected: Vec<(&str, u64)> = counts.into_iter().collect();
    expected.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.as_bytes().cmp(b.0.as_bytes())));
    let shares: Vec<f64> = expected.iter().map(|(_, count)| *count as f64 / all as f64).collect();
    assert_eq!(found.reach.cities, expected.len() as u64);
    assert!(near(found.reach.effective_cities, effective(&shares)), "{found:?}");
    let top: Vec<(String, u64)> =
        expected.into_iter().take(10).map(|(city, count)| (spelled[city].clone(), count)).collect();
    assert_eq!(found.reach.top, top);
}

fn check_entitlements(view: &View, entries: &[Stored]) {
    let changes = entries.iter().filter(|entry| entry.kind() == "coliseum.entitlement_changed");
    let last: BTreeMap<&str, &Stored> = changes.map(|entry| (entry.user_id(), entry)).collect();
    for user in ["u", "v", "U", "ü", "later"] {
        let found = view.entitlement(user).map(|found| {
            let letters = found.domains.map(|domains| {
                Domain::ALL.into_iter().filter(|d| domains.contains(*d)).map(Domain::upper).collect::<String>()
            });
            (found.seq.get(), format!("{:?}", found.plan).to_lowercase(), letters, found.leaderboard_depth)
        });
        let expected = last.get(user).map(|entry| {
            let letters = entry.payload.get("domains").and_then(Value::as_array).map(|domains| {
                let named = |domain: &&str| domains.iter().any(|one| one == domain);
                ["A", "T", "G", "C"].into_iter().filter(named).collect::<String>()
            });
            let plan = entry.text_of("plan").expect("required").to_owned();
            (entry.seq, plan, letters, entry.payload["leaderboardDepth"].as_u64())
        });
        assert_eq!(found, expected, "{user}");
    }
}
