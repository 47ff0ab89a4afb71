use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

use super::*;

fn members(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut members: Vec<(String, String)> = Vec::new();
    read_object(text, |key, value| {
        let new = members.iter().all(|(earlier, _)| *earlier != key);
        members.push((key.into_owned(), value.raw.to_owned()));
        new
    })?;
    Ok(members)
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn an_object_gives_its_members_with_the_text_of_their_values() {
    let text = "\r\n\t {\"a\" : [ 1 , {\"b\":\"]}\"} ] ,\"\\u0062\\\"\":1e400, \"\":null}\n";
    let found = members(text).expect("is an object");
    let expected = [("a", "[ 1 , {\"b\":\"]}\"} ]"), ("b\"", "1e400"), ("", "null")];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(members("{}").expect("is an object"), []);
}

#[test]
fn what_is_not_one_document_is_not_json_with_the_place_and_what_was_expected() {
    for (text, detail) in [
        ("", "byte 0: expected a value, found nothing: the body is empty"),
        ("  ", "byte 2: expected a value, found the end of the text"),
        ("\u{feff}{}", "byte 0: expected a value, found a byte order mark"),
        ("{}{}", "byte 2: expected the end, since one document ends here, found `{`"),
        ("{} x", "byte 3: expected the end, since one document ends here, found `x`"),
        ("[1,]", "byte 3: expected a value, found `]`"),
        ("[,1]", "byte 1: expected a value, found `,`"),
        ("[1 2]", "byte 3: expected `,` or `]`, found `2`"),
        ("{\"a\":1,}", "byte 7: expected a key in double quotes, found `}`"),
        ("{,}", "byte 1: expected a key in double quotes, found `,`"),
        ("{a:1}", "byte 1: expected a key in double quotes, found `a`"),
        ("{\"a\" 1}", "byte 5: expected `:`, found `1`"),
        ("{\"a\":1", "byte 6: expected `,` or `}`, found the end of the text"),
        ("NaN", "byte 0: expected a value, found `N`"),
        ("nul", "byte 0: expected a value, found `n`"),
        ("-Infinity", "byte 1: expected a digit, found `I`"),
        ("01", "byte 1: expected the end, since one document ends here, found `1`"),
        ("+1", "byte 0: expected a value, found `+`"),
        ("1.", "byte 2: expected a digit, found the end of the text"),
        ("1e+", "byte 3: expected a digit, found the end of the text"),
        (".5", "byte 0: expected a value, found `.`"),
        ("\"abc", "byte 4: expected the closing quote of a string, found the end of the text"),
        ("\"a\nb\"", "byte 2: expected control characters in a string as escapes, found `\\n`"),
        ("\"12345678\u{0}\"", "byte 9: expected control characters in a string as escapes, found `\\u{0}`"),
        ("\"\\x\"", "byte 2: expected an escape: one of `\"\\/bfnrtu` after the backslash, found `x`"),
        ("\"\\u12+4\"", "byte 2: expected four hexadecimal digits after `\\u`, found `u`"),
        ("'a'", "byte 0: expected a value, found `\\'`"),
        ("// no comments\n1", "byte 0: expected a value, found `/`"),
        ("\"\\ud800\"", "byte 1: expected a whole surrogate pair, found half of one, which stands for no character"),
        (
            "{\"a\":\"\\udc00\\ud800\"}",
            "byte 6: expected a whole surrogate pair, found half of one, which stands for no character",
        ),
        (
            "[\"\\ud800\\u0041\"]",
            "byte 2: expected a whole surrogate pair, found half of one, which stands for no character",
        ),
    ] {
        let problem = check_document(text).expect_err(text);
        assert_eq!((problem.slug, problem.status), (Slug::NotJson, 400), "{text}");
        assert_eq!(problem.detail, detail, "{text}");
        let problem = members(text).expect_err(text);
        assert_eq!((problem.slug, problem.status, problem.pointer), (Slug::NotJson, 400, None), "{text}");
    }
}

#[test]
fn a_document_of_another_kind_is_no_event() {
    for (text, found) in [
        ("[]", "an array"),
        ("[{}]", "an array"),
        ("\"a\"", "a string"),
        ("\"\\n\"", "a string"),
        (" 12 ", "a number"),
        ("true", "a boolean"),
        ("null", "null"),
    ] {
        let problem = members(text).expect_err(text);
        assert_eq!((problem.slug, problem.status), (Slug::InvalidEvent, 400), "{text}");
        assert_eq!(problem.detail, format!("expected an object, found {found}"), "{text}");
    }
}

#[test]
fn nesting_goes_32_levels_and_no_further() {
    assert!(check_document(&nested(32)).is_ok());
    assert_eq!(check_document(&nested(33)).expect_err("33 levels").slug, Slug::NotJson);
    assert!(members(&format!("{{\"a\":{}}}", nested(31))).is_ok());
    let problem = members(&format!("{{\"a\":{}}}", nested(32))).expect_err("33 levels");
    assert_eq!((problem.slug, problem.status), (Slug::NotJson, 400));
    assert!(check_document(&format!("[{0},{0},[{1}]]", nested(31), nested(30))).is_ok(), "siblings do not add up");
    assert!(check_document(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn a_key_given_twice_is_named_however_it_is_spelled() {
    for (text, pointer) in [
        (r#"{"a":1,"b":2,"a":1}"#, "/a"),
        (r#"{"a":1,"\u0061":2}"#, "/a"),
        (r#"{"x/y~":1,"x\/y~":2}"#, "/x~1y~0"),
        (r#"{"":1,"":2,"z":1,"z":2}"#, "/"),
    ] {
        let problem = members(text).expect_err(text);
        assert_eq!((problem.slug, problem.status), (Slug::InvalidEvent, 400), "{text}");
        assert_eq!(problem.pointer.as_deref(), Some(pointer), "{text}");
    }
    assert!(members(r#"{"a":{"b":1,"b":2},"b":3}"#).is_ok(), "nested keys may repeat");
    assert_eq!(members(r#"{"a":1,"a":2"#).expect_err("is cut off").slug, Slug::NotJson);
}

#[test]
fn u_0000_in_any_string_is_refused_where_it_stands() {
    for (text, pointer) in [
        (r#"{"a":"x\u0000"}"#, "/a"),
        (r#"{"b":1,"a":{"x/y":["\u00e9",[{"z":"\u0000"}]]}}"#, "/a/x~1y/1/0/z"),
        (r#"{"a":[1,{"k\u0000":1}]}"#, "/a/1/k\u{0}"),
        (r#"{"\u0000":1}"#, "/\u{0}"),
    ] {
        let problem = members(text).expect_err(text);
        assert_eq!((problem.slug, problem.status), (Slug::InvalidEvent, 422), "{text}");
        assert_eq!(problem.pointer.as_deref(), Some(pointer), "{text}");
        assert!(check_document(text).is_ok(), "an event's rule, not a document's: {text}");
    }
    assert!(members(r#"{"a":"\\u0000"}"#).is_ok(), "an escaped backslash and five characters");
}

#[test]
fn a_batch_gives_the_text_of_each_element() {
    let expected = ["{\"a\":[1,2]}", "7", "[]", "\"x\""];
    for text in [
        "[{\"a\":[1,2]}, 7 ,[],\"x\"]",
        " {\"sentAt\":[1],\"events\" : [{\"a\":[1,2]}, 7 ,[],\"x\"],\"more\":{}} ",
        "{\"\\u0065vents\":[{\"a\":[1,2]}, 7 ,[],\"x\"]}",
    ] {
        assert_eq!(batch_elements(text, "events", 4).expect(text), expected, "{text}");
        assert_eq!(batch_elements(text, "events", 3).expect_err(text).status, 413, "{text}");
    }
    assert!(batch_elements(" [ ] ", "events", 0).expect("is empty").is_empty());
    assert!(batch_elements("{\"batch\":[]}", "batch", 0).expect("is empty").is_empty());
    assert_eq!(array_elements("{\"events\":[]}", 9).expect_err("is an object").slug, Slug::InvalidEvent);
}

#[test]
fn a_batch_without_one_array_of_events_says_where_it_was_expected() {
    for text in ["{}", "{\"events\":{}}", "{\"events\":null}", "{\"events\":[],\"events\":[]}", "{\"x\":[]}"] {
        let problem = batch_elements(text, "events", 9).expect_err(text);
        assert_eq!((problem.slug, problem.status), (Slug::InvalidEvent, 400), "{text}");
        assert_eq!(problem.pointer.as_deref(), Some("/events"), "{text}");
    }
    for text in ["7", "\"events\"", "null"] {
        let problem = batch_elements(text, "events", 9).expect_err(text);
        assert_eq!((problem.slug, problem.status, problem.pointer), (Slug::InvalidEvent, 400, None), "{text}");
    }
    for text in
        ["", "[", "[1", "[1]]", "[1,]", "{\"events\":[1}", "{\"events\":[]} x", "{\"events\":[],}", "{\"events\"", "x"]
    {
        assert_eq!(batch_elements(text, "events", 9).expect_err(text).slug, Slug::NotJson, "{text}");
        assert_eq!(array_elements(text, 9).expect_err(text).slug, Slug::NotJson, "{text}");
    }
}

#[test]
fn an_element_with_bad_content_leaves_the_rest_of_the_batch_whole() {
    let deep = nested(ELEMENT_DEPTH_MAX);
    let text = format!("[1,{deep},\"\\ud800\",\"\\u0000\",2]");
    let elements = array_elements(&text, 9).expect("is an array");
    assert_eq!(elements, ["1", &deep, "\"\\ud800\"", "\"\\u0000\"", "2"]);
    assert!(check_document(elements[1]).is_err() && check_document(elements[2]).is_err());
    assert!(batch_elements(&format!("{{\"events\":{text}}}"), "events", 9).is_ok());
    let too_deep = format!("[1,{}]", nested(ELEMENT_DEPTH_MAX + 1));
    assert_eq!(array_elements(&too_deep, 9).expect_err("is too deep to go on").slug, Slug::NotJson);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[a-z\"\\\\/é😀\u{1}\n\u{7f} ]{0,20}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::hash_map("[a-d\"\n]{0,9}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Pieces that JSON is made of or broken by.
fn any_piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "/", "0", "1", "9", "-", "+", ".", "e", "E", "u", "true", "null",
        " ", "\n", "\t", "\u{0}", "\u{1f}", "\u{7f}", "\u{feff}", "é", "😀", "\\u", "\\u0041", "\\ud83d", "\\ude00",
        "\\n", "\\x", "NaN", "12345678",
    ]);
    known.prop_map(str::to_owned)
}

/// A document with a few pieces put in, or put in the place of characters.
fn mutated() -> impl Strategy<Value = String> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0usize..3, any_piece()), 0..4);
    (any_json(), any::<bool>(), changes).prop_map(|(value, pretty, changes)| {
        let text = if pretty { serde_json::to_string_pretty(&value).expect("is written") } else { value.to_string() };
        let mut characters: Vec<String> = text.chars().map(String::from).collect();
        for (place, removed, piece) in changes {
            let start = place.index(characters.len() + 1);
            let end = (start + removed).min(characters.len());
            characters.splice(start..end, [piece]);
        }
        characters.concat()
    })
}

/// Whether serde_json finds the grammar kept, and whether our pass differs on purpose (depth, half surrogate pairs).
fn serde_accepts(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn serde_json_takes_and_refuses_the_same_documents(text in mutated()) {
        let ours = check_document(&text);
        let half_pair = ours.as_ref().is_err_and(|problem| problem.detail.contains("surrogate"));
        prop_assert_eq!(ours.is_ok() || half_pair, serde_accepts(&text), "{:?} {:?}", text, ours);
        match serde_json::from_str::<Json>(&text) {
            Ok(_) => prop_assert!(ours.is_ok(), "{:?} {:?}", text, ours),
            Err(error) => prop_assert!(ours.is_err() || error.to_string().contains("number out of range"), "{}", text),
        }
    }

    #[test]
    fn pieces_of_json_are_taken_and_refused_as_by_serde_json(pieces in prop::collection::vec(any_piece(), 0..12)) {
        let text = pieces.concat();
        let ours = check_document(&text);
        let half_pair = ours.as_ref().is_err_and(|problem| problem.detail.contains("surrogate"));
        prop_assert_eq!(ours.is_ok() || half_pair, serde_accepts(&text), "{:?} {:?}", text, ours);
        let _ = members(&text);
        let _ = batch_elements(&text, "events", 9);
    }

    #[test]
    fn values_read_back_as_serde_json_reads_them(value in any_json()) {
        fn read(value: Value<'_>) -> Json {
            match value.kind {
                Kind::Array => value.items().map(read).collect::<Vec<_>>().into(),
                Kind::Object => value.members().map(|(key, value)| (key.into_owned(), read(value))).collect(),
                _ => value.string().map(|text| Json::from(text.into_owned()))
                    .unwrap_or_else(|| serde_json::from_str(value.raw).expect("is a scalar")),
            }
        }
        let text = value.to_string();
        prop_assert_eq!(read(document(&text).expect("is JSON")), serde_json::from_str::<Json>(&text).expect("is JSON"));
    }

    #[test]
    fn escapes_read_back_as_serde_json_reads_them(
        pieces in prop::collection::vec(prop_oneof![
            "[a-z]{0,9}".boxed(), Just("\\n".to_owned()).boxed(), Just("\\\\".to_owned()).boxed(),
            Just("\\ud83d\\ude00".to_owned()).boxed(), "\\\\u00[0-9a-fA-F][0-9a-fA-F]".boxed(),
            "\\\\u[e-fE-F][0-9a-fA-F]{3}".boxed(), Just("é".to_owned()).boxed(), "\\\\[\"/bfrt]".boxed(),
        ], 0..9),
    ) {
        let text = format!("\"{}\"", pieces.concat());
        let ours = document(&text).expect("is JSON").string().map(Cow::into_owned);
        prop_assert_eq!(ours, serde_json::from_str::<String>(&text).ok(), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = check_document(&text);
        let _ = members(&text);
        let _ = batch_elements(&text, "events", 9);
    }
}
