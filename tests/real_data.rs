//! The real input under `data/sample/`: in by `import` and by HTTP batches, each twice, counted once, and the boards
//! equal to a plain sum over the file.

mod harness;
mod model;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use harness::binary::{Binary, run};
use harness::{compare, head};
use model::json::Json;

/// Lines of one HTTP batch.
const BATCH_LINES: usize = 5000;

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
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
fn board(client: &harness::http::Client, domain: char, head: u64) -> BTreeMap<String, i128> {
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
    }
}
