//! Derived state is disposable, held to by the real binary: whatever becomes of the projections' files, of indexes and of
//! key runs, the boards and the answers are those of the log, and the daemon lives.
//!
//! `COLISEUM_FLIP_ROUNDS` sets how many damaged files are tried, `COLISEUM_FLIP_SEED` which.

mod harness;
mod model;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use harness::binary::{Binary, run};
use harness::http::Client;
use harness::{compare, export, until};
use model::Model;
use model::json::{Json, number, object, text};

/// A directory with a configuration of small segments.
fn directory(more_config: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    configure(directory.path(), more_config);
    directory
}

fn configure(directory: &Path, more_config: &str) {
    let config = format!("[passport]\nsegment_bytes = 65536\n{more_config}");
    fs::write(directory.join("config.toml"), config).expect("writable");
}

fn event(n: u64) -> Json {
    object([
        ("type", text("coliseum.vote_cast")),
        ("messageId", text(format!("k-{n}"))),
        ("userId", text(format!("u{}", n % 40))),
        ("at", text(format!("2026-01-{:02}T00:00:30Z", n % 28 + 1))),
        ("artistId", text(format!("a{}", n % 23))),
        ("eventId", text("e")),
        ("weight", number(n % 9 + 1)),
        ("pad", text("x".repeat((n * 31 % 200) as usize))),
    ])
}

fn send(client: &Client, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let events: Vec<Json> = numbers.map(event).collect();
    let body = Json::List(events).render();
    let answer = client.post("/api/passport/batch?results=all", body.as_bytes()).expect(200);
    assert_eq!(answer.at("rejected").as_integer(), 0, "{}", answer.render());
    answer.at("results").as_list().iter().map(|result| result.at("seq").as_integer() as u64).collect()
}

/// A stopped directory with so many events.
fn stopped(directory: &Path, events: u64) -> PathBuf {
    let data_dir = directory.join("data");
    let binary = Binary::start(&data_dir);
    for from in (0..events).step_by(500) {
        send(&binary.client, from..(from + 500).min(events));
    }
    compare::settled(&binary.client, "/api/coliseum/leaderboards/a/alltime", events, None);
    assert!(binary.terminate().success());
    data_dir
}

fn assert_exact(client: &Client, events: u64) {
    let lines = export(client);
    assert_eq!(lines.len() as u64, events);
    compare::boards(client, &Model::from_export(&lines, &[]), None);
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

fn redb_file(data_dir: &Path) -> PathBuf {
    files(&data_dir.join("projections/coliseum"), "redb").pop().expect("a projection's file")
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn boards_are_exact_after_random_bits_of_a_projections_file_were_flipped() {
    const EVENTS: u64 = 400;
    let rounds = number_from_env("COLISEUM_FLIP_ROUNDS", 25);
    let seed = number_from_env("COLISEUM_FLIP_SEED", std::process::id().into());
    eprintln!("COLISEUM_FLIP_SEED={seed}");
    let directory = directory("");
    let data_dir = stopped(directory.path(), EVENTS);
    let file = redb_file(&data_dir);
    let good = fs::read(&file).expect("readable");
    let mut state = seed;
    for round in 0..rounds {
        let mut bytes = good.clone();
        for _ in 0..1 + random(&mut state) % 8 {
            let at = random(&mut state) as usize % bytes.len();
            bytes[at] ^= 1 << (random(&mut state) % 8);
        }
        fs::write(&file, bytes).expect("writable");
        let binary = Binary::start(&data_dir);
        assert_exact(&binary.client, EVENTS);
        assert!(binary.terminate().success(), "round {round}");
    }
}

#[test]
fn a_projections_file_that_is_missing_cut_empty_foreign_or_of_another_version_is_built_again() {
    const EVENTS: u64 = 400;
    let directory = directory("");
    let data_dir = stopped(directory.path(), EVENTS);
    let file = redb_file(&data_dir);
    let good = fs::read(&file).expect("readable");
    let cases: [(&str, &dyn Fn()); 7] = [
        ("missing", &|| fs::remove_file(&file).expect("removable")),
        ("the whole directory missing", &|| {
            fs::remove_dir_all(data_dir.join("projections")).expect("removable");
        }),
        ("cut", &|| fs::write(&file, &good[..good.len() / 3]).expect("writable")),
        ("empty", &|| fs::write(&file, b"").expect("writable")),
        ("garbage", &|| fs::write(&file, vec![0xa5; 70_000]).expect("writable")),
        ("its second half zero", &|| {
            let mut bytes = good.clone();
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
            fs::write(&file, bytes).expect("writable");
        }),
        ("of another version", &|| {
            fs::write(&file, &good).expect("writable");
            fs::rename(&file, file.with_file_name("0-0000.redb")).expect("renamable");
        }),
    ];
    for (name, spoil) in cases {
        spoil();
        let binary = Binary::start(&data_dir);
        assert_exact(&binary.client, EVENTS);
        assert!(binary.terminate().success(), "{name}");
    }
}

/// What one event of many adds to the treasury and to the fans: money, plays, attendances, and line-ups that come late.
fn deed(n: u64) -> Json {
    let common = [
        ("messageId", text(format!("d-{n}"))),
        ("userId", text(format!("u{}", n % 17))),
        ("at", text(format!("2026-01-{:02}T00:00:30Z", n % 28 + 1))),
        ("eventId", text(format!("e{}", n % 5))),
    ];
    let artist = text(format!("a{}", n % 7));
    let (kind, fields) = match n % 4 {
        0 => ("treasury.money_spent", vec![("artistId", artist), ("amountCents", number(n + 1))]),
        1 => ("player.track_played", vec![("artistId", artist), ("trackId", text("t")), ("genre", text("pop"))]),
        2 => ("concierto.event_attended", vec![("city", text(format!("city {}", n % 3)))]),
        _ => ("concierto.event_scheduled", vec![("artistIds", Json::List(vec![artist]))]),
    };
    common
        .into_iter()
        .chain(fields)
        .fold(object([("type", text(kind))]), |event, (name, value)| event.with(name, value))
}

/// Everything that is told of artists' money and of fans, once both hold `events`.
fn told(client: &Client, events: u64) -> Vec<String> {
    let paths = ["/api/treasury/revenue".to_owned()]
        .into_iter()
        .chain((0..7).flat_map(|n| ["", "/events"].map(|of| format!("/api/treasury/artists/a{n}{of}"))))
        .chain((0..17).map(|n| format!("/api/mediaid/users/u{n}")));
    paths.map(|path| compare::settled(client, &path, events, None).render()).collect()
}

#[test]
fn money_and_fans_are_the_same_after_their_files_were_damaged_or_lost() {
    const EVENTS: u64 = 600;
    let seed = number_from_env("COLISEUM_FLIP_SEED", std::process::id().into());
    eprintln!("COLISEUM_FLIP_SEED={seed}");
    let directory = directory("");
    let data_dir = directory.path().join("data");
    let binary = Binary::start(&data_dir);
    let body = Json::List((0..EVENTS).map(deed).collect()).render();
    binary.client.post("/api/passport/batch", body.as_bytes()).expect(200);
    let expected = told(&binary.client, EVENTS);
    assert!(binary.terminate().success());
    let file = |name: &str| files(&data_dir.join("projections").join(name), "redb").pop().expect("a projection's file");
    let good = ["treasury", "mediaid"].map(|name| (file(name), fs::read(file(name)).expect("readable")));
    let mut state = seed;
    for round in 0..10 {
        for (path, good) in &good {
            let mut bytes = good.clone();
            match round {
                0 => bytes.clear(),
                1 => bytes.truncate(good.len() / 3),
                _ => {
                    for _ in 0..1 + random(&mut state) % 8 {
                        let at = random(&mut state) as usize % bytes.len();
                        bytes[at] ^= 1 << (random(&mut state) % 8);
                    }
                }
            }
            fs::write(path, bytes).expect("writable");
        }
        let binary = Binary::start(&data_dir);
        assert_eq!(told(&binary.client, EVENTS), expected, "round {round}");
        assert!(binary.terminate().success(), "round {round}");
    }
    fs::remove_dir_all(data_dir.join("projections")).expect("removable");
    let binary = Binary::start(&data_dir);
    assert_eq!(told(&binary.client, EVENTS), expected, "rebuilt");
    assert!(binary.terminate().success());
    let verified = run(&["verify", "--data-dir", data_dir.to_str().expect("UTF-8")], directory.path());
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn under_changed_rules_the_old_boards_serve_until_the_new_ones_are_built_and_progress_is_shown() {
    const EVENTS: u64 = 30_000;
    let directory = directory("");
    let data_dir = stopped(directory.path(), EVENTS);
    configure(directory.path(), "\n[scoring.rules.\"coliseum.vote_cast\"]\na = 6\n");
    let binary = Binary::start(&data_dir);
    let leader = || {
        let body = binary.client.get("/api/coliseum/leaderboards/a/alltime?limit=1").expect(200);
        assert_eq!(body.at("appliedSeq").as_integer() as u64, EVENTS, "never a board of a part of the log");
        body.at("entries").as_list()[0].at("score").as_decimal().exact_micro()
    };
    let consumer = || {
        let body = binary.client.get("/api/passport/consumers").expect(200);
        let consumer = body.at("consumers").as_list()[0].clone();
        let detail = consumer.get("detail").and_then(Json::as_optional_text).unwrap_or_default().to_owned();
        (consumer.at("state").as_text().to_owned(), detail)
    };
    let old = leader();
    let (mut progress, mut seen) = (Vec::new(), Vec::new());
    until("the new boards serve", || {
        let (state, detail) = consumer();
        if state == "rebuilding" {
            progress.push(detail);
        }
        seen.push(leader());
        (*seen.last()? == 3 * old).then_some(())
    });
    assert!(seen.iter().all(|score| *score == old || *score == 3 * old), "a board of neither rules");
    let is_progress = |detail: &String| detail.split_once('/').is_some_and(|(_, of)| of.starts_with("30000"));
    assert!(progress.iter().any(is_progress), "{progress:?}");
    until("it runs", || (consumer().0 == "running").then_some(()));
    assert!(binary.terminate().success());
}

#[test]
fn a_rule_that_the_treasury_and_the_fans_do_not_use_leaves_their_files_as_they_are() {
    let directory = directory("");
    let data_dir = stopped(directory.path(), 100);
    let versions =
        || ["coliseum", "treasury", "mediaid"].map(|name| files(&data_dir.join("projections").join(name), "redb"));
    let before = versions();
    configure(directory.path(), "\n[scoring.rules.\"coliseum.vote_cast\"]\na = 6\n");
    let binary = Binary::start(&data_dir);
    until("the boards are rebuilt", || (versions()[0] != before[0] && versions()[0].len() == 1).then_some(()));
    assert!(binary.terminate().success());
    assert_eq!(versions()[1..], before[1..]);
    configure(directory.path(), "\n[scoring]\nmin_play_seconds = 5\n[scoring.rules.\"club.night_out\"]\na = 6\n");
    let binary = Binary::start(&data_dir);
    until("both are rebuilt", || {
        let now = versions();
        (1..3).all(|index| now[index] != before[index] && now[index].len() == 1).then_some(())
    });
    assert!(binary.terminate().success());
}

#[test]
fn a_directory_with_any_projection_and_no_log_gets_no_new_log() {
    let directory = directory("");
    let data_dir = stopped(directory.path(), 10);
    fs::remove_dir_all(data_dir.join("passport")).expect("removable");
    fs::rename(data_dir.join("projections/coliseum"), data_dir.join("projections/another")).expect("renamable");
    let refused = run(&["import", "-", "--data-dir", data_dir.to_str().expect("UTF-8")], directory.path());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("there are projections and no log"), "{said}");
    assert!(!data_dir.join("passport").exists(), "a log was made");
}

#[test]
fn one_projection_is_rebuilt_by_its_name_and_a_name_that_none_has_is_refused() {
    const EVENTS: u64 = 400;
    let directory = directory("");
    let data_dir = stopped(directory.path(), EVENTS);
    let binary = Binary::start(&data_dir);
    let path = data_dir.to_str().expect("UTF-8");
    let rebuilt = run(&["rebuild", "coliseum", "--json", "--data-dir", path], directory.path());
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    let said = Json::parse(&String::from_utf8_lossy(&rebuilt.stdout)).expect("JSON");
    let names: Vec<&str> = said.at("consumers").as_list().iter().map(|one| one.at("name").as_text()).collect();
    assert_eq!((said.at("entries").as_integer() as u64, names), (EVENTS, vec!["coliseum"]));
    let refused = run(&["rebuild", "nobody", "--data-dir", path], directory.path());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("coliseum"), "{said}");
    let problem = binary.client.post("/api/admin/rebuild?consumer=nobody", b"").problem(400, &["invalid-query"]);
    let detail = problem.at("detail").as_text();
    assert!(detail.contains("`consumer`") && detail.contains("coliseum"), "{detail}");
    binary.client.post("/api/passport/dead-letters/nobody/1/retry", b"").problem(404, &["not-found"]);
    assert_exact(&binary.client, EVENTS);
    assert!(binary.terminate().success());
}

#[test]
fn damaged_indexes_and_key_runs_cost_no_answer_and_no_repeat() {
    const EVENTS: u64 = 3_000;
    let directory = directory("");
    let data_dir = stopped(directory.path(), EVENTS);
    let passport = data_dir.join("passport");
    let indexes = files(&passport, "idx");
    assert!(indexes.len() > 2, "{indexes:?}");
    let mut state = number_from_env("COLISEUM_FLIP_SEED", 7);
    for path in
        indexes.iter().chain(&files(&passport.join("keys"), "keys")).chain(&files(&passport.join("keys"), "key"))
    {
        let mut bytes = fs::read(path).expect("readable");
        let at = random(&mut state) as usize % bytes.len();
        bytes[at] ^= 1 << (random(&mut state) % 8);
        fs::write(path, bytes).expect("writable");
    }
    let binary = Binary::start(&data_dir);
    let body = binary.client.get("/api/passport/entries?artistId=a3&limit=1000").expect(200);
    let found: Vec<i64> = body.at("entries").as_list().iter().map(|entry| entry.at("seq").as_integer()).collect();
    let expected: Vec<i64> = (0..EVENTS as i64).filter(|n| n % 23 == 3).map(|n| n + 1).collect();
    assert_eq!(found, expected);
    assert_eq!(send(&binary.client, 0..EVENTS), (1..=EVENTS).collect::<Vec<_>>(), "all are repeats");
    assert_exact(&binary.client, EVENTS);
    assert!(binary.terminate().success());
}

#[test]
fn a_projections_file_that_is_damaged_under_load_costs_no_event_and_comes_back_exact() {
    let directory = directory("");
    let data_dir = directory.path().join("data");
    let binary = Binary::start(&data_dir);
    send(&binary.client, 0..2_000);
    compare::settled(&binary.client, "/api/coliseum/leaderboards/a/alltime", 2_000, None);
    let is_done = AtomicBool::new(false);
    let client = binary.client.clone();
    let sent = std::thread::scope(|threads| {
        let sender = threads.spawn(|| {
            let mut next = 2_000;
            while !is_done.load(Ordering::Relaxed) || next < 4_000 {
                assert_eq!(send(&client, next..next + 100), (next + 1..next + 101).collect::<Vec<_>>());
                next += 100;
            }
            next
        });
        let mut state = 11;
        for _ in 0..40 {
            let path = redb_file(&data_dir);
            let Ok(file) = File::options().write(true).open(&path) else { continue };
            let len_bytes = file.metadata().expect("there").len();
            let garbage: Vec<u8> = (0..64).map(|_| random(&mut state) as u8).collect();
            file.write_all_at(&garbage, random(&mut state) % len_bytes).expect("writable");
            // The daemon answers, whatever its projection does.
            assert_eq!(binary.client.get("/healthz").status, 200);
        }
        is_done.store(true, Ordering::Relaxed);
        sender.join().expect("every event was acknowledged")
    });
    assert_eq!(harness::head(&binary.client), sent);
    binary.client.post("/api/admin/rebuild", b"").expect(202);
    until("it is rebuilt", || {
        let body = binary.client.get("/api/passport/consumers").expect(200);
        let consumer = &body.at("consumers").as_list()[0];
        let is_whole = consumer.at("state").as_text() == "running" && consumer.at("lag").as_integer() == 0;
        is_whole.then_some(())
    });
    assert_exact(&binary.client, sent);
    assert!(binary.terminate().success());
    let binary = Binary::start(&data_dir);
    assert_exact(&binary.client, sent);
    assert!(binary.terminate().success());
    let verified = run(&["verify", "--data-dir", data_dir.to_str().expect("UTF-8")], directory.path());
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
