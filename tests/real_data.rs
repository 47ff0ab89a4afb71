//! The real input under `data/sample/`: in by `import` and by HTTP batches, each twice, counted once, and boards, totals,
//! rollups and top lists equal to a plain sum over the files.
//!
//! `COLISEUM_SAMPLES` names a directory with others of the like, which are taken instead.

mod harness;
mod model;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use harness::binary::{Binary, run};
use harness::http::Client;
use harness::{compare, head, micros};
use model::json::Json;
use model::rollups;

/// Lines of one HTTP batch.
const BATCH_LINES: usize = 5000;

fn files() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
    let directory = std::env::var_os("COLISEUM_SAMPLES").map_or(own, PathBuf::from);
    // The binary runs in another directory.
    let directory = directory.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let listed = std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut files: Vec<PathBuf> = listed.map(|file| file.expect("a directory can be listed").path()).collect();
    files.retain(|file| [".ndjson", ".ndjson.gz"].iter().any(|end| file.to_string_lossy().ends_with(end)));
    files.sort();
    assert!(!files.is_empty(), "no sample in {}", directory.display());
    files
}

fn lines(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).expect("a sample can be read");
    let mut text = String::new();
    if file.extension().is_some_and(|end| end == "gz") {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip of UTF-8");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// Micro-points of all time by artist: twice the weight of each vote for A, the dollars of each purchase for G.
fn sums(events: &[Json], domain: char) -> BTreeMap<String, i128> {
    let mut sums = BTreeMap::new();
    for event in events {
        let Some(artist) = event.text_of("artistId") else { continue };
        let micro = match (domain, event.at("type").as_text()) {
            ('A', "coliseum.vote_cast") => event.present("weight").map_or(1_000_000, |w| w.as_decimal().to_micro()) * 2,
            ('G', "treasury.money_spent") => i128::from(event.at("amountCents").as_integer()) * 10_000,
            _ => continue,
        };
        *sums.entry(artist.to_owned()).or_default() += micro;
    }
    sums.retain(|_, score| *score != 0);
    sums
}

/// A whole board of all time, page by page.
fn board(client: &Client, domain: char, head: u64) -> BTreeMap<String, i128> {
    let mut scores = BTreeMap::new();
    loop {
        let path = format!("{}?limit=1000&offset={}", compare::board_path(domain, "alltime"), scores.len());
        let body = compare::settled(client, &path, head, None);
        let rows = compare::rows_of(&body);
        scores.extend(rows.iter().map(|row| (row.artist.clone(), row.score)));
        if rows.len() < 1000 {
            assert_eq!(body.at("total").as_integer(), scores.len() as i64);
            return scores;
        }
    }
}

/// The cents that all purchases come to, in all and by week.
fn revenue(client: &Client, events: &[Json], head: u64) {
    let spent: Vec<&Json> =
        events.iter().filter(|event| event.at("type").as_text() == "treasury.money_spent").collect();
    let cents = |event: &Json| i128::from(event.at("amountCents").as_integer());
    let path = "/api/coliseum/metrics/money_spent?entityType=global&window=alltime";
    let body = compare::settled(client, path, head, None);
    let sum: i128 = spent.iter().map(|event| cents(event)).sum();
    assert_eq!((body.at("count").as_integer(), body.at("sum").as_integer()), (spent.len() as i64, sum as i64));

    let mut weeks: BTreeMap<i64, i128> = BTreeMap::new();
    for event in spent {
        *weeks.entry(rollups::start_of("week", micros(event.at("at").as_text()))).or_default() += cents(event);
    }
    let path = "/api/coliseum/rollups?entityType=global&granularity=week";
    let buckets = compare::settled(client, path, head, None);
    let paid = |bucket: &Json| {
        let money = bucket.at("metrics").get("money_spent:usd")?;
        Some((compare::micros_of(bucket.at("start")), i128::from(money.at("sum").as_integer())))
    };
    let found: Vec<(i64, i128)> = buckets.at("buckets").as_list().iter().filter_map(paid).collect();
    assert_eq!(found, weeks.into_iter().collect::<Vec<_>>());
}

/// The artists with the most votes of all time, by their sums.
fn most_votes(client: &Client, events: &[Json], head: u64) {
    let mut votes: Vec<(String, i128)> =
        sums(events, 'A').into_iter().map(|(artist, points)| (artist, points / 2)).collect();
    votes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let path = "/api/coliseum/metrics/votes_cast/top?entityType=artist&window=alltime&limit=1000";
    let body = compare::settled(client, path, head, None);
    assert_eq!(body.at("total").as_integer() as usize, votes.len());
    votes.truncate(1000);
    let row = |row: &Json| (row.at("entityId").as_text().to_owned(), row.at("sum").as_decimal().exact_micro());
    assert_eq!(body.at("entries").as_list().iter().map(row).collect::<Vec<_>>(), votes);
}

/// The files hold votes, purchases in dollars, and profiles, which score nothing: the sums above are the whole score.
fn assert_plain(events: &[Json]) {
    for event in events {
        let kind = event.at("type").as_text();
        assert!(
            matches!(kind, "coliseum.vote_cast" | "treasury.money_spent" | "artist.profile_updated"),
            "{kind} is not summed here"
        );
        assert!(matches!(event.text_of("currency"), None | Some("usd")), "{} is not in dollars", event.render());
    }
}

#[test]
fn files_that_go_in_twice_by_import_and_by_batches_count_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (imported, posted) = (directory.path().join("imported"), directory.path().join("posted"));
    let shown = imported.to_str().expect("a temporary directory is UTF-8");
    let mut events = Vec::new();
    for file in files() {
        let lines = lines(&file);
        events.extend(lines.iter().map(|line| Json::parse(line).expect("a line is JSON")));
        for _ in 0..2 {
            let name = file.to_str().expect("a path of the repository is UTF-8");
            let output = run(&["import", name, "--data-dir", shown], directory.path());
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert_plain(&events);

    let by_import = Binary::start(&imported);
    let by_batches = Binary::start(&posted);
    for round in 0..2 {
        for file in files() {
            for chunk in lines(&file).chunks(BATCH_LINES) {
                let kind = [("content-type", "application/x-ndjson")];
                let body = chunk.join("\n");
                let answer =
                    by_batches.client.request("POST", "/api/passport/batch", &kind, body.as_bytes()).expect(200);
                let counts = ["accepted", "duplicates", "rejected"].map(|key| answer.at(key).as_integer() as usize);
                let wanted = if round == 0 { [chunk.len(), 0, 0] } else { [0, chunk.len(), 0] };
                assert_eq!(counts, wanted, "{} in round {round}", file.display());
            }
        }
    }
    for binary in [&by_import, &by_batches] {
        let head = head(&binary.client);
        assert_eq!(head as usize, events.len());
        for domain in ['A', 'G'] {
            assert_eq!(board(&binary.client, domain, head), sums(&events, domain), "board {domain}");
        }
        revenue(&binary.client, &events, head);
        most_votes(&binary.client, &events, head);
    }
}
