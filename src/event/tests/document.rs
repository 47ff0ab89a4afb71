//! Texts that are no event at all, and the bounds of one that is.

use super::*;

#[test]
fn hostile_text_is_refused_with_its_problem() {
    let good = Json::Object(full("coliseum.vote_cast")).to_string();
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let not_json = [
        String::new(),
        "vote".to_owned(),
        format!("{good}{good}"),
        format!("{good},"),
        format!("\u{feff}{good}"),
        good[..good.len() - 1].to_owned(),
        spelled("coliseum.vote_cast", "weight", "NaN"),
        spelled("coliseum.vote_cast", "weight", "01"),
        spelled("coliseum.vote_cast", "note", "\"\\ud800\""),
        spelled("coliseum.vote_cast", "note", "{\"\\udfff\":1}"),
        spelled("coliseum.vote_cast", "note", "\"\t\""),
        spelled("coliseum.vote_cast", "note", &deep(32)),
    ];
    for text in not_json {
        let problem = Event::parse(&text).expect_err(&text);
        assert_eq!((problem.slug, problem.status, problem.pointer), (Slug::NotJson, 400, None), "{text}");
    }
    for text in ["[]", "null", "\"x\"", "7", &format!("[{good}]")] {
        let problem = Event::parse(text).expect_err(text);
        assert_eq!((problem.slug, problem.status, problem.pointer), (Slug::InvalidEvent, 400, None), "{text}");
    }
    for key in ["type", "artistId", "note", "a/b"] {
        let twice = format!("{{\"{key}\":null,{}", &with(full("coliseum.vote_cast"), key, json!("x"))[1..]);
        let problem = Event::parse(&twice).expect_err(&twice);
        assert_eq!((problem.slug, problem.status), (Slug::InvalidEvent, 400), "{twice}");
        assert_eq!(problem.pointer, Some(format!("/{}", key.replace('/', "~1"))), "{twice}");
    }
    for (key, value, pointer) in [("userId", "\"\\u0000\"", "/userId"), ("note", "[{\"a\":\"x\\u0000\"}]", "/note/0/a")]
    {
        let problem = Event::parse(&spelled("coliseum.vote_cast", key, value)).expect_err(value);
        assert_eq!((problem.slug, problem.status), (Slug::InvalidEvent, 422));
        assert_eq!(problem.pointer.as_deref(), Some(pointer));
    }
    assert!(Event::parse(&spelled("coliseum.vote_cast", "note", &deep(31))).is_ok());
    assert!(Event::parse(&good).is_ok());
}

#[test]
fn an_event_has_32_kib_at_most() {
    let padded = |bytes: usize| {
        let rest = with(full("coliseum.vote_cast"), "note", json!("")).len();
        with(full("coliseum.vote_cast"), "note", json!("x".repeat(bytes - rest)))
    };
    assert!(Event::parse(&padded(EVENT_BYTES_MAX)).is_ok());
    let problem = Event::parse(&padded(EVENT_BYTES_MAX + 1)).expect_err("is too large");
    assert_eq!((problem.slug, problem.status, problem.pointer), (Slug::TooLarge, 413, None));
}

#[test]
fn thousands_of_unknown_keys_are_told_apart() {
    let mut members: Vec<String> = (0..3_000).map(|number| format!("\"{number}\":1")).collect();
    let text =
        |members: &[String]| format!("{{\"type\":\"a.b\",\"userId\":\"u\",\"at\":\"{AT}\",{}}}", members.join(","));
    assert!(Event::parse(&text(&members)).is_ok());
    for (spelled, pointer) in
        [("\"2999\":1", "/2999"), ("\"\\u0033\":1", "/3"), ("\"11\":1", "/11"), ("\"12\":1", "/12")]
    {
        members.push(spelled.to_owned());
        let problem = Event::parse(&text(&members)).expect_err(spelled);
        assert_eq!((problem.status, problem.pointer.as_deref()), (400, Some(pointer)));
        members.pop();
    }
}

proptest! {
    #[test]
    fn no_event_panics(
        event_type in prop::sample::select(EVENT_TYPES.to_vec()),
        place in any::<prop::sample::Index>(), removed in 0usize..6, piece in "[\\]\\[{}\",:\\\\u0-9eE.+a-z-]{0,6}",
    ) {
        let mut characters: Vec<String> = Json::Object(full(event_type)).to_string().chars().map(String::from).collect();
        let start = place.index(characters.len());
        let end = (start + removed).min(characters.len());
        characters.splice(start..end, [piece]);
        let text = characters.concat();
        if let Ok(event) = Event::parse(&text) {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
            prop_assert_eq!(
                format!("{:?}", Facts::of_stored(&event.event_type, &text).expect("was taken")),
                format!("{:?}", event.facts)
            );
            event.entity();
            prop_assert!(same_content(&text, &text));
        }
    }
}
