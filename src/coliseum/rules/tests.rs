//! What `[scoring]` takes and what it refuses.

use super::*;

fn read(text: &str) -> Result<Rules, RulesError> {
    Rules::from_toml(&text.parse().expect("the test's text is TOML"))
}

#[test]
fn the_defaults_are_the_table_of_the_contract() {
    let rules = Rules::default();
    let expected = [
        ("coliseum.vote_cast", ["2", "1", "0", "0"]),
        ("concierto.event_attended", ["0", "3", "0", "10"]),
        ("player.track_favorited", ["2", "1", "0", "0"]),
        ("player.track_played", ["0.5", "1", "0", "0"]),
        ("social.follow", ["2", "1", "0", "0"]),
        ("social.share", ["3", "1", "0", "1"]),
        ("treasury.earning_reversed", ["0", "0", "-0.25", "0"]),
        ("treasury.money_earned", ["0", "0", "0.25", "0"]),
        ("treasury.money_refunded", ["0", "0", "-1", "0"]),
        ("treasury.money_spent", ["0", "0", "1", "0"]),
    ];
    let found: Vec<(String, [String; 4])> = rules
        .iter()
        .map(|rule| (rule.event_type().to_string(), Domain::ALL.map(|d| rule.base_delta(d).to_string())))
        .collect();
    assert_eq!(found, expected.map(|(name, deltas)| (name.to_string(), deltas.map(String::from))));
    assert_eq!((rules.base_currency(), rules.min_play_seconds()), ("usd", 30));
    assert_eq!(attendance_rule(&rules).tier_multiplier(Some("vip")).to_string(), "1.5");
    assert!(rules.rule("coliseum.vote_cast").expect("a default").multiplies(Domain::Cultural));
    assert!(!rules.rule("coliseum.vote_cast").expect("a default").multiplies(Domain::Behavioral));
}

#[test]
fn a_users_keys_lie_over_the_defaults_key_by_key() {
    let rules = read(
        "fx = { eur = 1.08 }\n[rules.\"social.share\"]\na = 4\n[rules.\"merch.sold\"]\ng = 0.000001\n\
         [rules.\"concierto.event_attended\"]\nticket_tier = { gold = 2 }",
    )
    .expect("these keys are fine");
    let share = rules.rule("social.share").expect("a default");
    assert_eq!(Domain::ALL.map(|d| share.base_delta(d).to_string()), ["4", "1", "0", "1"]);
    assert_eq!(rules.rule("merch.sold").expect("added").base_micro_points(Domain::Economic), 1);
    assert_eq!(rules.rate("eur").expect("set").to_string(), "1.08");
    assert_eq!(rules.rate("usd"), Some(Decimal::ONE));
    assert_eq!(rules.rate("gbp"), None);
    let tiers = ["gold", "vip", "free"].map(|tier| attendance_rule(&rules).tier_multiplier(Some(tier)).to_string());
    assert_eq!(tiers, ["2", "1.5", "1"]);
}

#[test]
fn rules_read_back_what_they_write_and_a_change_is_another_version() {
    let rules = read(
        "base_currency = \"eur\"\nfx = { usd = 0.9259259259259259, jpy = 1e-9 }\n\
         [rules.\"treasury.money_earned\"]\nrole = \"any\"\n[rules.\"social.share\"]\ntarget_type = \"venue\"\n\
         [rules.\"concierto.event_attended\"]\nticket_tier = { \"front row\" = 0 }",
    )
    .expect("these keys are fine");
    assert_eq!(Rules::parse_toml(&rules.to_toml()), Ok(rules.clone()));
    assert_eq!(Rules::parse_toml(&Rules::default().to_toml()), Ok(Rules::default()));
    assert_ne!(rules.version(), Rules::default().version());
    assert_eq!(Rules::default().version(), read("fx = { usd = 1 }").expect("the base's own rate").version());
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_what_it_takes() {
    for (text, key, part) in [
        ("base_curency = \"usd\"", "scoring.base_curency", "`base_currency`"),
        ("base_currency = \"USD\"", "scoring.base_currency", "three lower-case letters"),
        ("min_play_seconds = 1.5", "scoring.min_play_seconds", "whole seconds"),
        ("min_play_seconds = -1", "scoring.min_play_seconds", "whole seconds"),
        ("fx = 3", "scoring.fx", "a table"),
        ("fx = { eur = 0 }", "scoring.fx.eur", "1e-9"),
        ("fx = { eur = -1.0 }", "scoring.fx.eur", "1e-9"),
        ("fx = { eur = 1e10 }", "scoring.fx.eur", "1e9"),
        ("fx = { eur = 1e-10 }", "scoring.fx.eur", "1e-9"),
        ("fx = { eur = nan }", "scoring.fx.eur", "1e9"),
        ("fx = { eur = \"1.08\" }", "scoring.fx.eur", "a number"),
        ("fx = { euro = 1 }", "scoring.fx.euro", "three lower-case letters"),
        ("fx = { usd = 2 }", "scoring.fx.usd", "whose rate is 1"),
        ("[rules.\"social.share\"]\na = 1000000.1", "scoring.rules.\"social.share\".a", "1000000"),
        ("[rules.\"social.share\"]\na = 0.0000001", "scoring.rules.\"social.share\".a", "6 decimals"),
        ("[rules.\"social.share\"]\nx = 1", "scoring.rules.\"social.share\".x", "no such key"),
        ("[rules.\"social.share\"]\nmultiplier = \"amount\"", "scoring.rules.\"social.share\".multiplier", "\"one\""),
        ("[rules.share]\na = 1", "scoring.rules.\"share\"", "category.name"),
        ("[rules.\"a.b\"]\nrole = \"artist\"", "scoring.rules.\"a.b\".role", "earnings"),
        ("[rules.\"a.b\"]\nticket_tier = {}", "scoring.rules.\"a.b\".ticket_tier", "event_attended"),
        (
            "[rules.\"coliseum.vote_cast\"]\nmultiplier_domains = [\"a\"]",
            "scoring.rules.\"coliseum.vote_cast\".multiplier_domains",
            "\"A\"",
        ),
    ] {
        let error = read(text).expect_err(text);
        assert_eq!(error.key, key, "{text}");
        assert!(error.problem.contains(part), "{text}: {error}");
    }
}
