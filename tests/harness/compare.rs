//! Holds what the daemon answers against what the model computes: every digit, every row.
//!
//! Boards, artists, mutations and entries stand here; what is counted and derived beside them in `compare/`.

mod analytics;
mod ask;
mod fans;
mod metrics;
mod refusals;
mod rollups;
mod treasury;

use super::http::{Client, Response};
use super::until;
use crate::model::boards::{DOMAINS, Row, WINDOWS};
use crate::model::json::Json;
use crate::model::moment::Moment;
use crate::model::scoring::Mutation;
use crate::model::time::{self, MINUTE, minute_of};
use crate::model::{Entry, Model};
use ask::Ask;

/// Everything that is counted and derived beside the boards: metrics, top lists, rollups, analytics, DNA, the treasury
/// views, fans and entitlements, every field of them.
pub fn answers(client: &Client, model: &Model, now: i64) {
    let ask = Ask { client, moment: Moment::of(model, minute_of(now)), now };
    metrics::metrics(&ask);
    metrics::top_lists(&ask);
    rollups::rollups(&ask);
    analytics::artists(&ask);
    treasury::revenue(&ask);
    treasury::artists(&ask);
    fans::profiles(&ask);
    fans::entitlements(&ask);
    refusals::refusals(&ask);
}

/// An answer over everything that is stored, as of the minute that holds `now` (any minute where that is none).
///
/// The clock of a test jumps, and the daemon may take a moment to see it; until then it has to say the older `asOf`.
pub fn settled(client: &Client, path: &str, head: u64, now: Option<i64>) -> Json {
    let joint = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{joint}minSeq={head}");
    until(&format!("{path} as of {now:?}"), || {
        let answer = client.get(&path);
        let body = answer.expect(200);
        assert_eq!(body.at("appliedSeq").as_integer() as u64, head, "{path}: nothing else is written meanwhile");
        assert_eq!(answer.header("coliseum-applied-seq"), Some(head.to_string().as_str()), "{path}");
        let is_settled = now.is_none_or(|now| as_of(&body) == minute_of(now));
        is_settled.then_some(body)
    })
}

/// The minute of `asOf`, which has to be the start of one.
pub fn as_of(body: &Json) -> i64 {
    let micros = micros_of(body.at("asOf"));
    assert_eq!(micros % MINUTE, 0, "asOf is not the start of a minute: {}", body.at("asOf").render());
    minute_of(micros)
}

/// A time as it is shown: RFC 3339 in UTC, ending in `Z`.
pub fn micros_of(value: &Json) -> i64 {
    let text = value.as_text();
    assert!(text.ends_with('Z'), "{text} does not end in Z");
    time::parse(text).unwrap_or_else(|| panic!("{text} is no RFC 3339"))
}

pub fn rows_of(body: &Json) -> Vec<Row> {
    let row = |entry: &Json| Row {
        position: entry.at("position").as_integer(),
        rank: entry.at("rank").as_integer(),
        artist: entry.at("artistId").as_text().to_owned(),
        name: entry.at("artistName").as_optional_text().map(str::to_owned),
        score: entry.at("score").as_decimal().exact_micro(),
        previous_position: entry.at("previousPosition").as_optional_integer(),
        change: entry.at("change").as_optional_integer(),
    };
    body.at("entries").as_list().iter().map(row).collect()
}

/// All twelve boards in full; `now` none takes the minute that each answer says it is of.
pub fn boards(client: &Client, model: &Model, now: Option<i64>) {
    let mutations = model.mutations();
    for domain in DOMAINS {
        for window in WINDOWS {
            board(client, model, &mutations, domain, window, now);
        }
    }
}

/// One board by its largest page; gives the rows that it has to have.
pub fn board(
    client: &Client,
    model: &Model,
    all: &[Mutation],
    domain: char,
    window: &str,
    now: Option<i64>,
) -> Vec<Row> {
    let path = format!("{}?limit=1000", board_path(domain, window));
    let body = settled(client, &path, model.head(), now);
    let wanted = model.board(all, domain, window, as_of(&body), model.head());
    assert_eq!(rows_of(&body), wanted, "{path} as of {}", body.at("asOf").render());
    assert_eq!(body.at("total").as_integer(), wanted.len() as i64, "{path}");
    assert_eq!(body.at("domain").as_text(), domain.to_ascii_lowercase().to_string());
    assert_eq!(body.at("window").as_text(), window);
    wanted
}

pub fn board_path(domain: char, window: &str) -> String {
    format!("/api/coliseum/leaderboards/{}/{window}", domain.to_ascii_lowercase())
}

/// The board by pages of two, by neighbours of each artist, and as it stood at `past`.
pub fn board_pages(client: &Client, model: &Model, domain: char, window: &str, now: i64, past: &[i64]) {
    let (all, head) = (model.mutations(), model.head());
    let wanted = board(client, model, &all, domain, window, Some(now));
    let path = board_path(domain, window);
    for offset in (0..wanted.len() + 2).step_by(2) {
        let body = settled(client, &format!("{path}?limit=2&offset={offset}"), head, Some(now));
        let page: Vec<Row> = wanted.iter().skip(offset).take(2).cloned().collect();
        assert_eq!(rows_of(&body), page, "{path} from {offset}");
        assert_eq!(body.at("total").as_integer(), wanted.len() as i64);
    }
    for row in &wanted {
        let body = settled(client, &format!("{path}?around={}&limit=3", row.artist), head, Some(now));
        let near = rows_of(&body);
        assert!(near.contains(row), "{path} around {} without it: {near:?}", row.artist);
        assert_eq!(near.len(), wanted.len().min(3), "{path} around {}", row.artist);
        let first = near[0].position as usize - 1;
        assert_eq!(near, wanted[first..first + near.len()], "{path} around {}: no neighbours", row.artist);
    }
    for &micros in past {
        let at = time::format(micros);
        let body = settled(client, &format!("{path}?limit=1000&at={at}"), head, None);
        assert_eq!(rows_of(&body), model.board_at(&all, domain, window, micros), "{path} at {at}");
        assert_eq!(micros_of(body.at("asOf")), micros.div_euclid(time::HOUR) * time::HOUR, "{path} at {at}");
    }
}

/// `artists/{id}`, its mutations, and the mutations behind each of its scores.
pub fn artist(client: &Client, model: &Model, artist: &str, now: i64) {
    let (all, head) = (model.mutations(), model.head());
    let profile = model.profile(artist, head);
    let is_known = profile.is_known || all.iter().any(|m| m.artist == artist);
    if !is_known {
        return;
    }
    let body = settled(client, &format!("/api/coliseum/artists/{artist}"), head, Some(now));
    assert_eq!(body.at("artistId").as_text(), artist);
    assert_eq!(body.at("artistName").as_optional_text(), profile.name.as_deref());
    assert_eq!(body.at("homeCity").as_optional_text(), profile.home_city.as_deref());
    let genres = if body.present("genres").is_some() { body.texts_of("genres") } else { Vec::new() };
    assert_eq!(genres, profile.genres, "genres of {artist}");
    for domain in DOMAINS {
        for window in WINDOWS {
            let rows = model.board(&all, domain, window, minute_of(now), head);
            let row = rows.iter().find(|row| row.artist == artist);
            let cell = body.at(&format!("domains.{domain}.{window}"));
            let found = (
                cell.at("score").as_decimal().exact_micro(),
                cell.at("position").as_optional_integer(),
                cell.at("rank").as_optional_integer(),
                cell.at("total").as_integer(),
            );
            let wanted = (
                row.map_or(0, |row| row.score),
                row.map(|row| row.position),
                row.map(|row| row.rank),
                rows.len() as i64,
            );
            assert_eq!(found, wanted, "{artist} in {domain} {window}");
            if row.is_some() {
                why(client, model, artist, domain, window, now);
            }
        }
    }
    mutations(client, model, artist);
}

/// The listed mutations are the largest first, all of them the artist's own, and with the rest exactly the score.
fn why(client: &Client, model: &Model, artist: &str, domain: char, window: &str, now: i64) {
    let all = model.mutations();
    let behind = model.behind(&all, artist, domain, window, minute_of(now));
    for limit in [1, 100] {
        let path = format!("{}/{artist}/why?limit={limit}", board_path(domain, window));
        let body = settled(client, &path, model.head(), Some(now));
        let listed = body.at("mutations").as_list();
        assert!(listed.len() <= limit, "{path}");
        let mut left: Vec<String> = behind.iter().map(|m| wanted_mutation(m)).collect();
        let mut sum = body.at("rest").as_decimal().exact_micro();
        let mut deltas = Vec::new();
        for mutation in listed {
            let shown = found_mutation(mutation);
            let place = left.iter().position(|wanted| *wanted == shown);
            left.remove(place.unwrap_or_else(|| panic!("{path}: {shown} is not among {left:?}")));
            deltas.push(mutation.at("effectiveDelta").as_decimal().exact_micro());
        }
        sum += deltas.iter().sum::<i128>();
        let score: i128 = behind.iter().map(|m| m.effective).sum();
        assert_eq!((sum, body.at("score").as_decimal().exact_micro()), (score, score), "{path}");
        let is_descending = deltas.is_sorted_by(|a, b| a >= b) || deltas.is_sorted_by(|a, b| a.abs() >= b.abs());
        assert!(is_descending, "{path} is not largest first: {deltas:?}");
        assert!(
            limit == 1 || listed.len() == behind.len().min(limit),
            "{path} lists {} of {}",
            listed.len(),
            behind.len()
        );
    }
}

/// Every page of an artist's mutations: newest first, all of one seq on one page, nothing twice, nothing left out.
fn mutations(client: &Client, model: &Model, artist: &str) {
    let all = model.mutations();
    let mut wanted: Vec<&Mutation> = all.iter().filter(|m| m.artist == artist).collect();
    wanted.sort_by_key(|m| (std::cmp::Reverse(m.seq), m.of_seq));
    for limit in [2, 1000] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let cursor = before.map_or(String::new(), |seq: i64| format!("&before={seq}"));
            let path = format!("/api/coliseum/artists/{artist}/mutations?limit={limit}{cursor}");
            let body = settled(client, &path, model.head(), None);
            assert_eq!(body.at("artistId").as_text(), artist);
            let page = body.at("mutations").as_list();
            for mutation in page {
                let seq = mutation.at("seq").as_integer();
                assert!(before.is_none_or(|before| seq < before), "{path} gives seq {seq}");
                found.push((seq, found_mutation(mutation)));
            }
            match body.at("nextBefore").as_optional_integer() {
                Some(next) => {
                    assert!(!page.is_empty(), "{path}: an empty page with more to come");
                    assert!(before.is_none_or(|before| next < before), "{path} goes round in circles");
                    before = Some(next);
                }
                None => break,
            }
        }
        assert!(found.is_sorted_by(|a, b| a.0 >= b.0), "the mutations of {artist} are not newest first");
        let mut found: Vec<String> = found.into_iter().map(|(_, shown)| shown).collect();
        let mut wanted: Vec<String> = wanted.iter().map(|m| wanted_mutation(m)).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "mutations of {artist} by pages of {limit}");
    }
}

/// A mutation as one comparable text. The name of the rule is the configuration's own and only has to be there.
fn found_mutation(mutation: &Json) -> String {
    assert!(!mutation.at("rule").as_text().is_empty());
    format!(
        "seq {} of {} {} {:?} x {:?} = {} at {} made {} by {}",
        mutation.at("seq").as_integer(),
        mutation.at("ofSeq").as_integer(),
        mutation.at("domain").as_text(),
        mutation.at("baseDelta").as_decimal(),
        mutation.at("multiplier").as_decimal(),
        mutation.at("effectiveDelta").as_decimal().exact_micro(),
        micros_of(mutation.at("occurredAt")),
        micros_of(mutation.at("createdAt")),
        mutation.at("userId").as_text(),
    )
}

fn wanted_mutation(m: &Mutation) -> String {
    format!(
        "seq {} of {} {} {:?} x {:?} = {} at {} made {} by {}",
        m.seq, m.of_seq, m.domain, m.base, m.multiplier, m.effective, m.occurred_at, m.created_at, m.user
    )
}

/// One entry as it is read back, its mutations left aside.
pub fn entry(found: &Json, wanted: &Entry) {
    let seq = wanted.seq;
    assert_eq!(found.at("seq").as_integer() as u64, seq);
    assert_eq!(found.at("messageId").as_text(), wanted.message_id, "seq {seq}");
    assert_eq!(found.at("userId").as_text(), wanted.user_id(), "seq {seq}");
    assert_eq!(found.at("eventType").as_text(), wanted.kind, "seq {seq}");
    assert_eq!(found.at("eventCategory").as_text(), wanted.category(), "seq {seq}");
    if let Some((kind, id)) = wanted.entity() {
        assert_eq!((found.at("entityType").as_text(), found.at("entityId").as_text()), (kind, id), "seq {seq}");
    }
    for key in ["sessionId", "deviceId"] {
        assert_eq!(found.at(key).as_optional_text(), wanted.fields.text_of(key), "{key} of seq {seq}");
    }
    assert_eq!(found.at("source").as_text(), wanted.source, "seq {seq}");
    assert_eq!(micros_of(found.at("at")), wanted.at, "at of seq {seq}");
    assert_eq!(micros_of(found.at("receivedAt")), wanted.received_at, "receivedAt of seq {seq}");
    assert!(!found.at("atCorrected").as_bool() || wanted.has_sent_at, "nothing corrected seq {seq}");
    assert_eq!(found.at("metadata").render(), wanted.payload.render(), "metadata of seq {seq}, in order and spelling");
}

/// What an entry did, by the entry that is scored: late line-ups stand at the attendance.
pub fn influence(found: &Json, all: &[Mutation], seq: u64) {
    let shown = |artist: &str, rest: String| format!("{artist}: {rest}");
    let found: Vec<String> = found
        .at("dnaInfluence")
        .as_list()
        .iter()
        .map(|m| shown(m.at("artistId").as_text(), found_mutation(m)))
        .collect();
    let wanted = all.iter().filter(|m| m.of_seq == seq).map(|m| shown(&m.artist, wanted_mutation(m)));
    assert_eq!(found, wanted.collect::<Vec<_>>(), "dnaInfluence of seq {seq}");
}

/// Pages of entries under a filter, walked by `nextAfterSeq`; gives the seqs.
pub fn walk_entries(client: &Client, filter: &str, limit: usize, head: u64) -> Vec<u64> {
    let (mut seqs, mut after): (Vec<u64>, i64) = (Vec::new(), 0);
    loop {
        let path = format!("/api/passport/entries?{filter}&limit={limit}&afterSeq={after}&minSeq={head}");
        let body = client.get(&path).expect(200);
        let page = body.at("entries").as_list();
        assert!(page.len() <= limit, "{path}");
        seqs.extend(page.iter().map(|entry| entry.at("seq").as_integer() as u64));
        let next = body.at("nextAfterSeq").as_optional_integer();
        match next {
            Some(next) if next > after && !page.is_empty() => after = next,
            _ => return seqs,
        }
    }
}

/// The entries themselves in full, `entries/{seq}`, and every filter against a plain filter of the list.
pub fn entries(client: &Client, model: &Model) {
    let head = model.head();
    let all = model.mutations();
    let body = client.get(&format!("/api/passport/entries?limit=1000&order=asc&minSeq={head}")).expect(200);
    let found = body.at("entries").as_list();
    assert_eq!(found.len(), model.entries.len().min(1000));
    for (found, wanted) in found.iter().zip(&model.entries) {
        entry(found, wanted);
        influence(found, &all, wanted.seq);
        assert!(found.at("processedBy.coliseum").as_bool(), "seq {} was waited for", wanted.seq);
    }
    let Some(last) = model.entries.last() else { return };
    entry(&client.get(&format!("/api/passport/entries/{head}")).expect(200), last);
    client.get(&format!("/api/passport/entries/{}", head + 1)).problem(404, &["not-found"]);
    filters(client, model, last);
}

type Keeps<'a> = Box<dyn Fn(&Entry) -> bool + 'a>;

fn filters(client: &Client, model: &Model, last: &Entry) {
    let middle = model.entries[model.entries.len() / 2].at;
    let mut cases: Vec<(String, Keeps)> = vec![
        ("order=asc".into(), Box::new(|_| true)),
        (format!("userId={}", last.user_id()), Box::new(|e| e.user_id() == last.user_id())),
        (format!("type={}", last.kind), Box::new(|e| e.kind == last.kind)),
        (format!("category={}", last.category()), Box::new(|e| e.category() == last.category())),
        (format!("source={}", last.source), Box::new(|e| e.source == last.source)),
        (format!("from={}", time::format(middle)), Box::new(move |e| e.at >= middle)),
        (format!("to={}", time::format(middle)), Box::new(move |e| e.at < middle)),
        (
            format!("userId={}&type={}&from={}", last.user_id(), last.kind, time::format(middle)),
            Box::new(move |e| e.user_id() == last.user_id() && e.kind == last.kind && e.at >= middle),
        ),
        (
            "type=coliseum.vote_cast&artistId=a1".into(),
            Box::new(|e| e.kind == "coliseum.vote_cast" && e.named_artists() == ["a1"]),
        ),
        (
            "category=social&artistId=a1".into(),
            Box::new(|e| e.category() == "social" && e.named_artists().iter().any(|artist| artist == "a1")),
        ),
    ];
    if let Some((kind, id)) = last.entity() {
        let filter = format!("entityType={kind}&entityId={id}");
        cases.push((filter, Box::new(move |e| e.entity() == Some((kind, id)))));
    }
    for (filter, keeps) in &cases {
        let wanted: Vec<u64> = model.entries.iter().filter(|e| keeps(e)).map(|e| e.seq).collect();
        let found = walk_entries(client, filter, 7, model.head());
        assert_eq!(found, wanted, "entries with {filter}");
        let filter = filter.replace("order=asc", "limit=5");
        let newest = client.get(&format!("/api/passport/entries?{filter}&order=desc&minSeq={}", model.head()));
        let newest = newest.expect(200);
        let found = newest.at("entries").as_list().iter().map(|entry| entry.at("seq").as_integer() as u64);
        let limit = if filter == "limit=5" { 5 } else { 100 };
        let wanted: Vec<u64> = wanted.iter().rev().take(limit).copied().collect();
        assert_eq!(found.collect::<Vec<_>>(), wanted, "newest entries with {filter}");
    }
}

/// The consumers stand at the head, and nothing was given up.
pub fn consumers(client: &Client, model: &Model) {
    let body = until("every consumer is at the head", || {
        let body = client.get("/api/passport/consumers").expect(200);
        let is_behind = |c: &Json| c.at("lag").as_integer() != 0;
        (!body.at("consumers").as_list().iter().any(is_behind)).then_some(body)
    });
    assert_eq!(body.at("headSeq").as_integer() as u64, model.head());
    let consumers = body.at("consumers").as_list();
    assert!(consumers.iter().any(|c| c.at("name").as_text() == "coliseum"), "{}", body.render());
    for consumer in consumers {
        assert_eq!(consumer.at("deadLetters").as_integer(), 0, "{}", consumer.render());
    }
}

/// A board answer that was read while others wrote: exact for the `asOf` and `appliedSeq` that it names itself.
pub fn is_one_prefix(answer: &Response, model: &Model, all: &[Mutation], domain: char, window: &str) {
    let body = answer.expect(200);
    let applied = body.at("appliedSeq").as_integer() as u64;
    let wanted = model.board(all, domain, window, as_of(&body), applied);
    assert_eq!(rows_of(&body), wanted, "{domain} {window} over the events 1 to {applied}");
}
