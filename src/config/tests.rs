use super::*;
use crate::coliseum::plans::Domains;
use crate::units::Domain;

fn problems(text: &str) -> Vec<String> {
    Config::from_toml(text).expect_err(text)
}

fn one_problem(text: &str) -> String {
    let mut all = problems(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn the_file_in_the_repository_is_the_defaults() {
    assert_eq!(Config::from_toml(DEFAULT_FILE).expect("config.toml is good"), Config::default());
}

#[test]
fn the_file_in_the_repository_names_every_key_under_a_comment() {
    let table: toml::Table = DEFAULT_FILE.parse().expect("config.toml is TOML");
    for name in keys::names() {
        let mut sections: Vec<&str> = name.split('.').collect();
        let key = sections.pop().expect("split gives one part at least");
        let section = sections.iter().try_fold(&table, |table, section| table.get(*section)?.as_table());
        assert!(section.is_some_and(|section| section.contains_key(key)), "config.toml does not have {name}");
        let lines: Vec<&str> = DEFAULT_FILE.lines().collect();
        let at = lines.iter().position(|line| line.starts_with(&format!("{key} ="))).expect(name);
        assert!(lines[at - 1].starts_with('#'), "no comment over {name}");
    }
}

#[test]
fn the_file_in_the_repository_spells_out_every_scoring_rule() {
    let file: toml::Table = DEFAULT_FILE.parse().expect("config.toml is TOML");
    let rules: toml::Table = Rules::default().to_toml().parse().expect("rules write TOML");
    assert_eq!(file["scoring"], rules["scoring"]);
}

#[test]
fn scoring_keys_lie_over_the_default_rules_and_are_checked() {
    let config = Config::from_toml("[scoring]\nmin_play_seconds = 5\n[scoring.fx]\neur = 1.08").expect("good");
    assert_eq!(config.scoring.min_play_seconds(), 5);
    assert!(config.scoring.rate("eur").is_some() && config.scoring.rule("social.share").is_some());
    let problem = one_problem("[scoring]\nbase_curency = \"usd\"");
    assert!(problem.starts_with("scoring.base_curency: ") && problem.contains("base_currency"), "{problem}");
}

#[test]
fn a_plan_takes_other_domains_and_another_depth_and_keeps_the_rest() {
    let config = Config::from_toml(
        "[plans.free]\ndomains = [\"C\", \"A\"]\n[plans.pro]\nleaderboard_depth = \"unlimited\"\n[plans.enterprise]\n\
         domains = []\nleaderboard_depth = 0",
    );
    let (plans, defaults) = (config.expect("good").plans, Plans::default());
    assert_eq!(plans.free.domains, Domains::of(&[Domain::Cultural, Domain::Spatial]));
    assert_eq!(plans.free.leaderboard_depth, defaults.free.leaderboard_depth);
    assert_eq!((plans.basic, plans.pro.domains), (defaults.basic, defaults.pro.domains));
    assert_eq!(plans.pro.leaderboard_depth, None);
    assert_eq!((plans.enterprise.domains, plans.enterprise.leaderboard_depth), (Domains::default(), Some(0)));
    assert_eq!(one_problem("[plans.gold]\ndomains = []"), "[plans.gold] is no section; the nearest one is [plans.pro]");
    assert_eq!(
        one_problem("[plans.pro]\ndomain = []"),
        "plans.pro.domain is no key; the nearest one is plans.pro.domains"
    );
}

#[test]
fn a_snapshot_is_scheduled_by_any_unit_of_time_or_never() {
    let every = |text: &str| {
        let config = Config::from_toml(&format!("[snapshots]\nevery = {text}\nkeep = 3")).expect(text);
        assert_eq!(config.snapshots.keep, 3);
        config.snapshots.every.as_secs()
    };
    assert_eq!(["0", "90", "\"30m\"", "\"24h\"", "\"366d\""].map(every), [0, 90, 1800, 86_400, 31_622_400]);
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(Config::from_toml(""), Ok(Config::default()));
}

#[test]
fn a_key_that_is_left_out_keeps_its_default() {
    let config = Config::from_toml("[passport]\nsegment_bytes = 65536\n").expect("good");
    assert_eq!(config.passport.segment_bytes, 65_536);
    assert_eq!(config.passport.min_free_bytes, Config::default().passport.min_free_bytes);
}

#[test]
fn an_unknown_key_is_named_with_its_section_and_the_nearest_known_one() {
    for (text, name, nearest) in [
        ("[passport]\nsegment_byte = 1", "passport.segment_byte", "passport.segment_bytes"),
        ("segment_bytes = 65536", "segment_bytes", "passport.segment_bytes"),
        ("datadir = \"x\"", "datadir", "data_dir"),
        ("[http]\nmax_conections = 5", "http.max_conections", "http.max_connections"),
        ("[passport]\nbatch_bytes_max = 5", "passport.batch_bytes_max", "capture.batch_bytes_max"),
        ("[log]\nlevle = \"info\"", "log.levle", "log.level"),
    ] {
        assert_eq!(one_problem(text), format!("{name} is no key; the nearest one is {nearest}"));
    }
    assert_eq!(one_problem("[pasport]\nx = 1"), "[pasport] is no section; the nearest one is [passport]");
    let far = one_problem("zzzzqqqqxxxx = 1");
    assert!(far.contains("zzzzqqqqxxxx is no key") && far.contains("print config"), "{far}");
}

#[test]
fn a_bad_value_is_named_with_what_the_key_takes() {
    for (text, start, takes) in [
        ("listen = \"localhost\"", "listen = \"localhost\"", "takes an IP address and a port"),
        ("listen = 7878", "listen = 7878", "takes an IP address and a port"),
        ("data_dir = \"\"", "data_dir = \"\"", "takes a directory's path"),
        ("data_dir = 1", "data_dir = 1", "takes a directory's path"),
        ("shutdown_timeout = \"10\"", "shutdown_timeout", "seconds as a number"),
        ("shutdown_timeout = -1", "shutdown_timeout = -1", "seconds as a number"),
        ("shutdown_timeout = nan", "shutdown_timeout = nan", "seconds as a number"),
        ("shutdown_timeout = \"10 parsecs\"", "shutdown_timeout", "\"500ms\""),
        ("shutdown_timeout = 3601", "shutdown_timeout = 3601", "0 to 1 h"),
        ("[passport]\nsegment_bytes = 65535", "passport.segment_bytes = 65535", "bytes from 65536 to 1073741824"),
        ("[passport]\nsegment_bytes = 1073741825", "passport.segment_bytes", "bytes from 65536 to 1073741824"),
        ("[passport]\nsegment_bytes = \"64MiB\"", "passport.segment_bytes = \"64MiB\"", "an integer of bytes"),
        ("[passport]\nsegment_bytes = 65536.5", "passport.segment_bytes = 65536.5", "an integer of bytes"),
        ("[passport]\ndurability = \"fast\"", "passport.durability", "\"sync\" or \"interval\""),
        ("[passport]\nsync_interval_ms = 0", "passport.sync_interval_ms = 0", "milliseconds from 1 to 60000"),
        ("[passport]\nmin_free_bytes = -1", "passport.min_free_bytes = -1", "an integer of bytes from 0"),
        ("[snapshots]\nevery = 0.5", "snapshots.every = 0.5", "1 s to 366 d"),
        ("[snapshots]\nevery = \"367d\"", "snapshots.every", "0 for never"),
        ("[snapshots]\nkeep = 0", "snapshots.keep = 0", "snapshots from 1 to 1000"),
        ("[capture]\nat_ahead_seconds_max = -5", "capture.at_ahead_seconds_max", "seconds from 0 to 86400"),
        ("[capture]\nbatch_events_max = 0", "capture.batch_events_max = 0", "events from 1 to 100000"),
        ("[capture]\nbatch_bytes_max = 1", "capture.batch_bytes_max = 1", "bytes from 65536 to 67108864"),
        ("[http]\nmax_connections = 0", "http.max_connections = 0", "connections from 1 to 65536"),
        ("[http]\nmax_inflight_bytes = 1", "http.max_inflight_bytes = 1", "an integer of bytes from"),
        ("[projections]\ncache_bytes = 1", "projections.cache_bytes = 1", "bytes from 1048576"),
        ("[projections]\nretry_attempts = 0", "projections.retry_attempts = 0", "attempts from 1 to 100"),
        ("[projections]\nretry_first_delay_ms = 0", "projections.retry_first_delay_ms", "milliseconds from 1"),
        ("[log]\nformat = \"xml\"", "log.format = \"xml\"", "\"text\" or \"json\""),
        ("[log]\nlevel = \"loud\"", "log.level = \"loud\"", "\"error\", \"warn\""),
        ("[log]\nlevel = \"\"", "log.level = \"\"", "\"error\", \"warn\""),
        ("[plans.free]\ndomains = [\"A\", \"A\"]", "plans.free.domains", "each at most once"),
        ("[plans.free]\ndomains = \"A\"", "plans.free.domains = \"A\"", "a list of domains"),
        ("[plans.pro]\nleaderboard_depth = -1", "plans.pro.leaderboard_depth = -1", "rows from 0"),
        ("[plans.pro]\nleaderboard_depth = \"all\"", "plans.pro.leaderboard_depth", "or \"unlimited\""),
        ("plans = 1", "plans takes a section", "[plans]"),
        ("[plans]\nfree = 1", "plans.free takes a section", "[plans.free]"),
        ("log = 1", "log takes a section", "[log]"),
        ("scoring = 1", "scoring takes a section", "[scoring]"),
    ] {
        let problem = one_problem(text);
        assert!(problem.starts_with(start) && problem.contains(takes), "{text}: {problem}");
    }
}

#[test]
fn every_problem_of_a_file_is_reported_at_once() {
    assert_eq!(problems("lisen = 1\nshutdown_timeout = \"x\"\n[http]\nmax_connections = 0").len(), 3);
}

#[test]
fn inflight_bytes_hold_two_batches_at_least() {
    let problem = one_problem("[capture]\nbatch_bytes_max = 67108864");
    assert!(problem.contains("at least twice capture.batch_bytes_max, 134217728"), "{problem}");
}

#[test]
fn a_timeout_is_a_number_of_seconds_or_has_a_unit() {
    for (text, ms) in [("10", 10_000), ("0.5", 500), ("\"500ms\"", 500), ("\"1.5s\"", 1500), ("\"1m\"", 60_000)] {
        let config = Config::from_toml(&format!("shutdown_timeout = {text}")).expect(text);
        assert_eq!(config.shutdown_timeout, Duration::from_millis(ms), "{text}");
    }
}

#[test]
fn levels_may_be_given_by_module() {
    let config = Config::from_toml("[log]\nlevel = \"warn,coliseum::passport=debug\"").expect("good");
    assert_eq!(config.log.level, "warn,coliseum::passport=debug");
}

#[test]
fn text_that_is_no_toml_says_where() {
    let problem = one_problem("listen = ");
    assert!(problem.starts_with("is not TOML") && problem.contains("line 1"), "{problem}");
    let twice = one_problem("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"");
    assert!(twice.contains("duplicate key"), "{twice}");
}

#[test]
fn flags_go_before_the_file_and_the_file_before_the_defaults() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "data_dir = \"from-file\"\nlisten = \"127.0.0.1:1111\"").expect("written");
    let mut overrides = Overrides { file: Some(file), ..Overrides::default() };
    let config = Config::load(&overrides).expect("good");
    assert_eq!((config.data_dir, config.listen.port()), (PathBuf::from("from-file"), 1111));
    overrides.data_dir = Some("from-flag".into());
    overrides.listen = Some("127.0.0.1:2222".parse().expect("an address"));
    overrides.log_level = Some("debug".into());
    let config = Config::load(&overrides).expect("good");
    assert_eq!((config.data_dir, config.listen.port()), (PathBuf::from("from-flag"), 2222));
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.passport, Config::default().passport);
}

#[test]
fn an_error_names_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = Overrides { file: Some(dir.path().join("none.toml")), ..Overrides::default() };
    let error = Config::load(&missing).expect_err("no such file").to_string();
    assert!(error.contains("none.toml: cannot be read") && error.contains("print config"), "{error}");
    let file = dir.path().join("bad.toml");
    std::fs::write(&file, "a = 1\nb = 2").expect("written");
    let error = Config::load(&Overrides { file: Some(file), ..Overrides::default() }).expect_err("bad").to_string();
    assert_eq!(error.lines().filter(|line| line.contains("bad.toml: ")).count(), 2, "{error}");
}

#[test]
fn an_address_that_others_can_reach_is_refused_while_nothing_guards_it() {
    for listen in ["0.0.0.0:7878", "192.168.1.2:80", "[::]:7878"] {
        let listen = Some(parse_listen(listen).expect(listen));
        let error = Config::load(&Overrides { listen, ..Overrides::default() }).expect_err("not loopback").to_string();
        assert!(error.starts_with("listen = ") && error.contains("loopback"), "{error}");
    }
    let listen = Some(parse_listen("[::1]:0").expect("an address"));
    assert!(Config::load(&Overrides { listen, ..Overrides::default() }).is_ok());
}
