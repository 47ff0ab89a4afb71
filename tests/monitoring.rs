//! The alert rules and the dashboard that the binary prints: of this daemon's metrics, and good in their tools.

mod harness;
mod model;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Daemon, binary, good_event};
use model::json::Json;

fn print(what: &str) -> String {
    let printed = binary::run(&["print", what], Path::new("/"));
    assert!(printed.status.success() && printed.stderr.is_empty());
    String::from_utf8(printed.stdout).expect("UTF-8")
}

/// Every word of a text that has the form of a metric of the daemon.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("coliseum_"));
    words.map(str::to_owned).collect()
}

/// The names of all samples of a daemon that has stored something.
fn exported() -> BTreeSet<String> {
    let daemon = Daemon::start();
    daemon.client.post_json("/api/passport/log", &good_event()).expect(201);
    let metrics = daemon.client.get("/metrics").text();
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_use_metrics_that_the_daemon_exports() {
    let exported = exported();
    let (alerts, dashboard) = (metrics_in(&print("alerts")), metrics_in(&print("grafana")));
    for name in alerts.iter().chain(&dashboard) {
        assert!(exported.contains(name), "`{name}` is used, and no daemon exports it");
    }
}

#[test]
fn the_alert_for_damage_names_the_command_that_mends_it() {
    let alerts = print("alerts");
    let (_, damage) = alerts.split_once("alert: ColiseumDamageFound").expect("there");
    let (damage, _) = damage.split_once("- alert:").expect("another one follows");
    assert!(damage.contains("coliseum verify") && damage.contains("coliseum repair --from SNAPSHOT"), "{damage}");
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let dashboard = Json::parse(&print("grafana")).expect("JSON");
    assert!(dashboard.at("schemaVersion").as_integer() >= 36);
    assert_eq!((dashboard.at("title").as_text(), dashboard.at("uid").as_text()), ("Coliseum", "coliseum"));
    let variables = dashboard.at("templating").at("list").as_list();
    assert!(variables.iter().any(|one| one.at("type").as_text() == "datasource"), "no variable for the data source");
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard.at("panels").as_list() {
        let title = panel.at("title").as_text();
        assert!(ids.insert(panel.at("id").as_integer()), "{title}: an id twice");
        let place = panel.at("gridPos");
        let [x, y, width] = ["x", "y", "w"].map(|key| place.at(key).as_integer());
        assert!(x + width <= 24 && places.insert((x, y)), "{title}: out of the grid or over another panel");
        if panel.at("type").as_text() == "row" {
            continue;
        }
        assert_eq!(panel.at("datasource").at("uid").as_text(), "${datasource}", "{title}");
        assert!(!panel.at("fieldConfig").at("defaults").at("unit").as_text().is_empty(), "{title}: no unit");
        let targets = panel.at("targets").as_list();
        assert!(!targets.is_empty(), "{title}: nothing to show");
        for target in targets {
            assert!(target.at("expr").as_text().contains("instance=~\"$instance\""), "{title}: of every instance");
        }
    }
}

#[test]
fn the_alert_rules_are_good_and_fire_when_they_should() {
    let found = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: the check of the alert rules: promtool is not installed");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("alerts.yml"), print("alerts")).expect("written");
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/src/packaging/alerts_test.yml");
    std::fs::copy(cases, directory.path().join("alerts_test.yml")).expect("copied");
    for words in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool").args(words).current_dir(directory.path()).output().expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
    }
}
