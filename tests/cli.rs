//! The real binary, from outside: what it prints, where, and how it exits.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const COMMANDS: [&str; 15] = [
    "serve", "demo", "import", "export", "top", "tail", "verify", "repair", "snapshot", "restore", "rebuild", "load",
    "config", "print", "report",
];

/// The binary in an empty directory, with nothing of this test's environment that it would read.
fn coliseum(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coliseum"));
    command.current_dir(dir).args(words).stdin(Stdio::null());
    for name in ["COLISEUM_CONFIG", "COLISEUM_DATA_DIR", "COLISEUM_LISTEN", "COLISEUM_LOG"] {
        command.env_remove(name);
    }
    command
}

fn run(dir: &Path, words: &[&str]) -> Output {
    coliseum(dir, words).output().expect("the binary runs")
}

fn empty_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("ended by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn every_command_shows_an_example_in_its_help() {
    let dir = empty_dir();
    for name in COMMANDS {
        let help = run(dir.path(), &[name, "--help"]);
        assert_eq!(code(&help), 0, "{name}");
        assert!(stdout(&help).contains("Example"), "{name}: {}", stdout(&help));
        assert!(stderr(&help).is_empty(), "{name}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_so_on_stderr() {
    let dir = empty_dir();
    for words in [&["nonsense"][..], &["top", "a", "8d"], &["import"], &["--listen", "x"], &["load", "-c", "0"]] {
        let output = run(dir.path(), words);
        assert_eq!(code(&output), 2, "{words:?}");
        assert!(stdout(&output).is_empty() && stderr(&output).starts_with("error:"), "{words:?}: {}", stderr(&output));
    }
}

#[test]
fn the_printed_configuration_is_one_that_passes_the_check() {
    let dir = empty_dir();
    let printed = run(dir.path(), &["print", "config"]);
    assert_eq!(code(&printed), 0);
    assert!(stdout(&printed).contains("segment_bytes = 67108864"));
    std::fs::write(dir.path().join("config.toml"), &printed.stdout).expect("written");
    let checked = run(dir.path(), &["config", "check"]);
    assert_eq!((code(&checked), stdout(&checked).as_str()), (0, "OK: config.toml\n"));
}

#[test]
fn a_configuration_without_a_file_is_good() {
    let dir = empty_dir();
    let checked = run(dir.path(), &["config", "check", "--json"]);
    let value: Value = serde_json::from_str(&stdout(&checked)).expect("JSON");
    assert_eq!((code(&checked), &value["ok"], &value["file"]), (0, &Value::Bool(true), &Value::Null));
}

#[test]
fn a_wrong_configuration_stops_every_command_with_file_key_and_what_it_takes() {
    let dir = empty_dir();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "[passport]\nsegment_byte = 1\ndurability = \"fast\"\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    for words in [&["config", "check"][..], &["serve"], &[], &["top", "a", "7d"], &["import", "-"]] {
        let output = run(dir.path(), &[words, &["--config", file]].concat());
        let message = stderr(&output);
        assert_eq!(code(&output), 2, "{words:?}: {message}");
        for part in [
            "c.toml: passport.segment_byte is no key; the nearest one is passport.segment_bytes",
            "c.toml: passport.durability = \"fast\": takes \"sync\" or \"interval\"",
        ] {
            assert!(message.contains(part), "{words:?}: {message}");
        }
    }
    let json = run(dir.path(), &["config", "check", "--json", "--config", file]);
    let value: Value = serde_json::from_str(&stdout(&json)).expect("JSON");
    assert_eq!((&value["ok"], value["problems"].as_array().map(Vec::len)), (&Value::Bool(false), Some(2)));
}

#[test]
fn the_environment_goes_before_the_file_and_a_flag_before_the_environment() {
    let dir = empty_dir();
    std::fs::write(dir.path().join("config.toml"), "data_dir = \"from-file\"").expect("written");
    let asked = |environment: Option<&str>, flag: Option<&str>| {
        let mut command = coliseum(dir.path(), &["top", "a", "7d"]);
        if let Some(value) = environment {
            command.env("COLISEUM_DATA_DIR", value);
        }
        if let Some(value) = flag {
            command.args(["--data-dir", value]);
        }
        stderr(&command.output().expect("the binary runs"))
    };
    assert!(asked(None, None).contains("from-file holds no log"));
    assert!(asked(Some("from-environment"), None).contains("from-environment holds no log"));
    assert!(asked(Some("from-environment"), Some("from-flag")).contains("from-flag holds no log"));
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let dir = empty_dir();
    let output = run(dir.path(), &["serve", "--listen", "0.0.0.0:7878"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("loopback"), "{}", stderr(&output));
}

#[test]
fn looking_at_a_directory_without_a_log_fails_and_makes_nothing() {
    let dir = empty_dir();
    for words in [&["top", "a", "7d"][..], &["export"], &["verify"], &["repair"], &["rebuild"], &["tail"], &["load"]] {
        let output = run(dir.path(), &[words, &["--data-dir", "typo"]].concat());
        assert_eq!(code(&output), 1, "{words:?}");
        assert!(stderr(&output).contains("typo") && stderr(&output).contains("coliseum serve"), "{}", stderr(&output));
    }
    assert!(!dir.path().join("typo").exists());
}

#[test]
fn a_file_that_cannot_be_imported_is_named_before_anything_is_started() {
    let dir = empty_dir();
    std::fs::write(dir.path().join("artists.csv"), "artistId,artistName\nx,y\n").expect("written");
    std::fs::write(dir.path().join("array.json"), "[{}]").expect("written");
    for (file, part) in
        [("missing.ndjson", "No such file"), ("artists.csv", "no column `type`"), ("array.json", "jq -c")]
    {
        let output = run(dir.path(), &["import", file]);
        assert_eq!(code(&output), 2, "{file}");
        assert!(stderr(&output).contains(file) && stderr(&output).contains(part), "{}", stderr(&output));
    }
    assert!(!dir.path().join("data").exists());
}

#[test]
fn completions_come_for_each_shell() {
    let dir = empty_dir();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(dir.path(), &["completions", shell]);
        assert_eq!(code(&script), 0);
        assert!(stdout(&script).contains("import"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = empty_dir();
    for words in [&["print", "config"][..], &["completions", "bash"], &["config", "check"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = coliseum(dir.path(), words).stdout(writer).output().expect("the binary runs");
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{words:?}");
    }
}

#[test]
fn the_openapi_description_is_json() {
    let dir = empty_dir();
    let printed = run(dir.path(), &["print", "openapi"]);
    let value: Value = serde_json::from_str(&stdout(&printed)).expect("JSON");
    assert!(value["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
}

/// The sample that comes with the repository.
fn sample() -> String {
    format!("{}/data/sample/eurovision_1980.ndjson", env!("CARGO_MANIFEST_DIR"))
}

fn import(dir: &Path, words: &[&str]) -> (i32, Value) {
    let output = run(dir, &[&["import", "--json"], words].concat());
    (code(&output), serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output))))
}

#[test]
fn the_same_file_twice_changes_nothing_and_leads_the_board_by_twice_its_points() {
    let dir = empty_dir();
    let (status, first) = import(dir.path(), &[&sample()]);
    assert_eq!((status, &first["accepted"], &first["rejected"]), (0, &197.into(), &0.into()));
    let (status, second) = import(dir.path(), &[&sample()]);
    assert_eq!((status, &second["accepted"], &second["duplicates"]), (0, &0.into(), &197.into()));
    let top = run(dir.path(), &["top", "a", "alltime", "--json"]);
    let board: Value = serde_json::from_str(&stdout(&top)).expect("a board");
    assert_eq!(
        (&board["entries"][0]["artistName"], &board["entries"][0]["score"]),
        (&"Johnny Logan".into(), &286.into())
    );
    assert_eq!(std::fs::read_dir(dir.path().join("data/imports")).map_or(0, Iterator::count), 0);
}

#[test]
fn lines_without_a_key_count_once_however_often_their_file_is_imported() {
    let dir = empty_dir();
    let line = r#"{"type":"coliseum.vote_cast","userId":"u","artistId":"a","eventId":"e","at":"2020-01-01T00:00:00Z"}"#;
    let file = dir.path().join("votes.ndjson");
    std::fs::write(&file, format!("{line}\n{line}\n")).expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(import(dir.path(), &[file]).1["accepted"], 2);
    assert_eq!(import(dir.path(), &[file]).1["duplicates"], 2);
}

#[test]
fn rejected_lines_are_listed_and_the_others_are_stored() {
    let dir = empty_dir();
    let rows = "type,userId,at,artistId,eventId,weight\n\
                coliseum.vote_cast,u,2020-01-01T00:00:00Z,a,e,2\n\
                coliseum.vote_cast,u,2020-01-01T00:00:00Z,a,e,-2\n";
    let mut child = coliseum(dir.path(), &["import", "-", "--json", "--rejects", "rejects.ndjson"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("piped").write_all(rows.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    let summary: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((code(&output), &summary["accepted"], &summary["rejected"]), (1, &1.into(), &1.into()));
    assert!(stderr(&output).contains("line 3: invalid-event at /weight"), "{}", stderr(&output));
    let rejects = std::fs::read_to_string(dir.path().join("rejects.ndjson")).expect("written");
    let reject: Value = serde_json::from_str(rejects.trim()).expect("one line of JSON");
    assert_eq!((&reject["line"], &reject["pointer"]), (&3.into(), &"/weight".into()));
}

#[test]
fn what_is_exported_is_imported_elsewhere_with_its_keys_and_times() {
    let (dir, other) = (empty_dir(), empty_dir());
    assert_eq!(import(dir.path(), &[&sample()]).0, 0);
    let file = dir.path().join("log.ndjson.zst");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(code(&run(dir.path(), &["export", "--output", file])), 0);
    assert_eq!(import(other.path(), &[file]).1["accepted"], 197);
    let board = |dir: &Path| {
        let top = run(dir, &["top", "a", "alltime", "--json", "--limit", "100"]);
        serde_json::from_str::<Value>(&stdout(&top)).expect("a board")["entries"].clone()
    };
    assert_eq!(board(dir.path()), board(other.path()));
    assert_eq!(import(other.path(), &[&sample()]).1["duplicates"], 197);
}

#[test]
fn a_good_directory_verifies_before_and_after_a_rebuild() {
    let dir = empty_dir();
    assert_eq!(import(dir.path(), &[&sample()]).0, 0);
    for words in [&["verify", "--json"][..], &["rebuild", "--json"], &["verify", "--json"]] {
        let output = run(dir.path(), words);
        assert_eq!(code(&output), 0, "{words:?}: {}", stderr(&output));
        let value: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        assert_eq!(value["entries"], 197, "{words:?}");
    }
}

#[test]
fn the_demo_ends_by_itself_and_prints_no_escape_codes_into_a_pipe() {
    let dir = empty_dir();
    let output = run(dir.path(), &["demo", "--seconds", "1"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for part in ["A cultural, 7d", "G economic, 7d", "Nora Vale", "curl http://127.0.0.1:", "/api/passport/log"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains('\u{1b}') && !stderr(&output).contains('\u{1b}'));
}

#[test]
fn a_check_and_an_export_take_the_whole_log_however_far_the_projection_had_come() {
    const EVENTS: usize = 20_000;
    let dir = empty_dir();
    let event = |n: usize| {
        format!(
            r#"{{"type":"coliseum.vote_cast","userId":"u{n}","at":"2026-01-01T00:00:00Z","artistId":"a{}","eventId":"e","messageId":"m{n}"}}"#,
            n % 9
        )
    };
    std::fs::write(dir.path().join("in.ndjson"), (0..EVENTS).map(|n| event(n) + "\n").collect::<String>())
        .expect("written");
    assert_eq!(code(&run(dir.path(), &["import", "in.ndjson"])), 0);
    let remove_projections = || std::fs::remove_dir_all(dir.path().join("data/projections")).expect("removable");
    remove_projections();
    let exported = stdout(&run(dir.path(), &["export"]));
    assert_eq!(exported.lines().filter(|line| line.contains("\"effectiveDelta\":2")).count(), EVENTS);
    remove_projections();
    let checked = run(dir.path(), &["verify", "--json"]);
    let verdict: Value = serde_json::from_str(&stdout(&checked)).expect("JSON");
    assert_eq!(
        (code(&checked), &verdict["ok"], &verdict["entries"]),
        (0, &Value::Bool(true), &EVENTS.into()),
        "{verdict}"
    );
}

#[test]
fn a_command_on_the_directory_of_another_user_warns_of_files_that_the_owner_cannot_write() {
    let dir = empty_dir();
    std::fs::create_dir_all(dir.path().join("data/passport")).expect("made");
    let commands = [&["repair", "--data-dir", "data"][..], &["verify", "--data-dir", "data"]];
    for words in commands {
        let said = String::from_utf8(run(dir.path(), words).stderr).expect("UTF-8");
        assert!(!said.contains("belongs to user"), "{words:?}: {said}");
    }
    // Only root may give a directory away.
    if std::os::unix::fs::chown(dir.path().join("data"), Some(61_184), Some(61_184)).is_err() {
        return;
    }
    for words in commands {
        let said = String::from_utf8(run(dir.path(), words).stderr).expect("UTF-8");
        let is_told = said.contains("belongs to user 61184") && said.contains("chown -R 61184:61184 data/");
        assert!(is_told, "{words:?}: {said}");
    }
}
