//! Who may enter which room: the paths of `src/` go down the table's arrows only.
//!
//! Every `crate::`, `coliseum::` (from `main.rs`) and `super::` path that leaves its room counts, in `use` lines and
//! elsewhere, in unit tests too. Comments, doc examples and texts do not.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms that it may use. What is not named here is not there: a new room needs its row.
const ROOMS: &[(&str, &[&str])] = &[
    // The floor: nothing above it.
    ("units", &[]),
    ("limits", &[]),
    ("clock", &["units"]),
    ("disk", &["units"]),
    ("problem", &["units"]),
    ("world", &["clock", "disk"]),
    // Bytes into facts, facts into the log, the log into answers.
    ("event", &["units", "limits", "clock", "disk", "problem", "world"]),
    ("passport", &["event", "units", "limits", "clock", "disk", "problem", "world"]),
    ("projection", &["passport", "units", "limits", "clock", "disk", "problem", "world"]),
    ("coliseum", &["projection", "passport", "event", "units", "limits", "clock", "disk", "problem", "world"]),
    ("treasury", &["projection", "passport", "event", "units", "limits", "clock", "disk", "problem", "world"]),
    ("mediaid", &["projection", "passport", "event", "units", "limits", "clock", "disk", "problem", "world"]),
    ("capture", &["event", "passport", "units", "limits", "clock", "disk", "problem", "world"]),
    (
        "read",
        &[
            "coliseum",
            "treasury",
            "mediaid",
            "projection",
            "passport",
            "event",
            "units",
            "limits",
            "clock",
            "disk",
            "problem",
            "world",
        ],
    ),
    // The socket: knows no projection.
    ("http", &["capture", "passport", "event", "units", "limits", "clock", "disk", "problem", "world"]),
    (
        "verify",
        &[
            "coliseum",
            "treasury",
            "mediaid",
            "projection",
            "passport",
            "event",
            "units",
            "limits",
            "clock",
            "disk",
            "problem",
            "world",
        ],
    ),
    // The handlers, and what ties everything together.
    (
        "api",
        &[
            "http",
            "read",
            "capture",
            "verify",
            "coliseum",
            "treasury",
            "mediaid",
            "projection",
            "passport",
            "event",
            "units",
            "limits",
            "clock",
            "disk",
            "problem",
            "world",
        ],
    ),
    ("config", &["coliseum", "units", "limits", "problem"]),
    ("daemon", &[EVERYTHING]),
    ("cli", &[EVERYTHING]),
    ("main", &[EVERYTHING]),
    // Every decoder as a function of bytes, for tests.
    ("fuzz", &[EVERYTHING]),
    ("lib", &[EVERYTHING]),
];
const EVERYTHING: &str = "*";

/// Where a room may be used only in part: the room, whose, the paths into it that are open, and to which files.
struct Door {
    room: &'static str,
    of: &'static str,
    paths: &'static [&'static str],
    files: &'static str,
}

/// A room that has a door here is entered through its doors only.
const DOORS: &[Door] = &[
    // A projection folds what the runner gives it; it does not read the log by itself.
    Door {
        room: "coliseum",
        of: "passport",
        paths: &["passport::Entry", "passport::Envelope", "passport::Parsed"],
        files: "src/coliseum/",
    },
    Door {
        room: "treasury",
        of: "passport",
        paths: &["passport::Entry", "passport::Envelope", "passport::Parsed"],
        files: "src/treasury/",
    },
    Door {
        room: "mediaid",
        of: "passport",
        paths: &["passport::Entry", "passport::Envelope", "passport::Parsed"],
        files: "src/mediaid/",
    },
    // One file of `http` hands bodies to `capture`; the others know neither it nor the log.
    Door { room: "http", of: "capture", paths: &["capture"], files: "src/http/write.rs" },
    Door { room: "http", of: "capture", paths: &["capture"], files: "src/http/tests/" },
    Door { room: "http", of: "passport", paths: &["passport"], files: "src/http/tests/" },
];

/// Crates that stay where they are: the crate, and the files that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("redb", &["src/projection/", "src/coliseum/", "src/treasury/", "src/mediaid/", "src/verify/tests/"]),
    ("hyper", &["src/http/", "src/api/"]),
    ("hyper_util", &["src/http/"]),
    (
        "bincode",
        &["src/passport/record.rs", "src/coliseum/tables.rs", "src/coliseum/pages.rs", "src/treasury/revenue.rs"],
    ),
    ("anyhow", &["src/daemon/", "src/cli/", "src/main.rs"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("sd_notify", &["src/daemon/"]),
];

/// One path of the code, from the crate's root or from another crate: `passport::record::decode`.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    line: usize,
    /// Whether it starts at this crate's root.
    own: bool,
    path: Vec<String>,
}

#[test]
fn no_room_uses_one_above_it() {
    let mut wrong = String::new();
    let mut seen = 0;
    for (file, uses) in uses_of_src() {
        let room = room_of(&file);
        let Some((_, open)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            let _ = writeln!(wrong, "{file}:1: the room `{room}` has no row in the table of tests/rooms.rs");
            continue;
        };
        for used in uses.iter().filter(|used| used.own && used.path[0] != room) {
            seen += 1;
            let path = used.path.join("::");
            if !open.contains(&EVERYTHING) && !open.contains(&used.path[0].as_str()) {
                let _ = writeln!(wrong, "{file}:{}: `{room}` may not use `{path}`", used.line);
            } else if !is_through_a_door(&file, room, &used.path[0], &path) {
                let _ = writeln!(wrong, "{file}:{}: `{room}` may not use `{path}` here", used.line);
            }
        }
    }
    assert!(wrong.is_empty(), "against the arrows:\n{wrong}");
    assert!(seen > 100, "only {seen} paths were found; the reader of `src/` has gone blind");
}

#[test]
fn redb_hyper_and_bincode_stay_in_their_rooms() {
    let mut wrong = String::new();
    let src = uses_of_src();
    for (name, homes) in CRATES {
        let mut seen = 0;
        for (file, uses) in &src {
            for used in uses.iter().filter(|used| !used.own && used.path[0] == *name) {
                seen += 1;
                if !homes.iter().any(|home| file.starts_with(home)) {
                    let _ = writeln!(wrong, "{file}:{}: `{name}` belongs to {}", used.line, homes.join(", "));
                }
            }
        }
        assert!(seen > 0, "`{name}` is used nowhere; remove its row");
    }
    assert!(wrong.is_empty(), "crates out of their rooms:\n{wrong}");
}

#[test]
fn the_log_reaches_files_through_the_disk_trait_only() {
    let mut wrong = String::new();
    for (file, uses) in uses_of_src() {
        let is_pure = ["passport", "event", "capture", "read", "coliseum", "treasury", "mediaid", "units", "limits"]
            .contains(&room_of(&file));
        let is_test = file.contains("/tests") || file.ends_with("/testing.rs");
        for used in
            uses.iter().filter(|used| is_pure && !is_test && used.path.starts_with(&["std".into(), "fs".into()]))
        {
            let _ = writeln!(wrong, "{file}:{}: `{}`", used.line, used.path.join("::"));
        }
    }
    assert!(wrong.is_empty(), "file calls outside `disk`:\n{wrong}");
}

/// The reader itself: without this a blind reader would find nothing wrong anywhere.
#[test]
fn every_way_to_write_a_path_is_read() {
    let code = r##"
        //! use crate::comment::No;
        use crate::{a::B, c::{self, D as E}};
        /* use crate::comment::{No}; /* nested */ */
        pub(crate) use super::super::up;
        fn f<'a>(x: &'a str) -> char { crate::g::h::<u8>(x); let _ = "crate::text"; let _ = r#"crate::"raw"#; '{' }
        mod tests { use super::near; use super::super::super::far::G; use crate::i::*; }
        use std::fs;
        use redb::{Database, backends::InMemoryBackend};
    "##;
    let found: Vec<_> = uses_in(code, &["room", "file"])
        .into_iter()
        .map(|used| format!("{}{} {}", if used.own { "crate::" } else { "" }, used.path.join("::"), used.line))
        .collect();
    let expected = [
        "crate::a::B 3",
        "crate::c 3",
        "crate::c::D 3",
        "crate::up 5",
        "crate::g::h 6",
        "crate::room::file::near 7",
        "crate::far::G 7",
        "crate::i 7",
        "std::fs 8",
        "redb::Database 9",
        "redb::backends::InMemoryBackend 9",
    ];
    assert_eq!(found, expected);
}

fn is_through_a_door(file: &str, room: &str, of: &str, path: &str) -> bool {
    let mut doors = DOORS.iter().filter(|door| door.room == room && door.of == of).peekable();
    let leads_to = |open: &&str| path.strip_prefix(*open).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    doors.peek().is_none() || doors.any(|door| file.starts_with(door.files) && door.paths.iter().any(leads_to))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `src/http/write.rs` is in the room `http`, `src/clock.rs` in `clock`.
fn room_of(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    let end = inside.find(['/', '.']).unwrap_or(inside.len());
    &inside[..end]
}

/// Every source file with its paths.
fn uses_of_src() -> Vec<(String, Vec<Use>)> {
    let mut files = Vec::new();
    let mut dirs = vec![root().join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a source directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.iter().map(|path| (name_of(path), uses_of(path))).collect()
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).expect("a file of this repository").to_string_lossy().replace('\\', "/")
}

fn uses_of(path: &Path) -> Vec<Use> {
    let text = fs::read_to_string(path).expect("source is UTF-8");
    let name = name_of(path);
    let inside = name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let module: Vec<_> = inside.split('/').filter(|part| !["lib", "main"].contains(part)).collect();
    uses_in(&text, &module)
}

/// The paths in a text of the module `module` that start at the crate's root, go up to it, or name another crate.
fn uses_in(text: &str, module: &[&str]) -> Vec<Use> {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |(_, word)| word.as_str());
    let (mut uses, mut at, mut depth) = (Vec::new(), 0, 0);
    let mut here: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
    // Depths at which an inline module ends.
    let mut ends = Vec::new();
    while at < tokens.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if ends.last() == Some(&depth) {
                    ends.pop();
                    here.pop();
                }
            }
            "mod" if word(at + 2) == "{" => {
                here.push(word(at + 1).to_owned());
                ends.push(depth);
            }
            first if is_name(first) && word(at + 1) == "::" && !["::", "."].contains(&word(at.wrapping_sub(1))) => {
                let mut found = Vec::new();
                at = read_tree(&tokens, at, &[], &mut found);
                uses.extend(found.into_iter().filter_map(|(line, path)| resolve(line, path, &here)));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    uses
}

/// Reads the path at `at`, with all its branches in braces; gives the place behind it.
fn read_tree(
    tokens: &[(usize, String)],
    mut at: usize,
    stem: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |(_, word)| word.as_str());
    let line = tokens[at].0;
    let mut path = stem.to_vec();
    loop {
        match word(at) {
            "{" => {
                at += 1;
                while !["}", ""].contains(&word(at)) {
                    at = read_tree(tokens, at, &path, found).max(at + 1);
                    if word(at) == "as" {
                        at += 2;
                    }
                    if word(at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "*" => at += 1,
            "self" if !path.is_empty() => at += 1,
            name if is_name(name) => {
                path.push(name.to_owned());
                at += 1;
            }
            _ => {}
        }
        if word(at) != "::" || !(is_name(word(at + 1)) || ["{", "*"].contains(&word(at + 1))) {
            found.push((line, path));
            return at;
        }
        at += 1;
    }
}

/// The path from the crate's root, or from another crate's; `None` for one that stays near.
fn resolve(line: usize, path: Vec<String>, here: &[String]) -> Option<Use> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let used = |own, path: Vec<String>| (!path.is_empty()).then_some(Use { line, own, path });
    match path[0].as_str() {
        "crate" | "coliseum" if here.is_empty() || path[0] == "crate" => used(true, path[1..].to_vec()),
        "super" => used(true, [&here[..here.len().checked_sub(ups)?], &path[ups..]].concat()),
        "self" | "Self" => None,
        first if first.starts_with(char::is_lowercase) => used(false, path),
        _ => None,
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::` and single marks, each with its line; comments, texts and characters left out.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let (mut tokens, mut line, mut rest) = (Vec::new(), 1, text);
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_len(rest)
        } else if let Some(len) = text_len(rest) {
            len
        } else if first.is_alphanumeric() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push((line, rest[..len].to_owned()));
            len
        } else if rest.starts_with("::") {
            tokens.push((line, "::".to_owned()));
            2
        } else {
            if !first.is_whitespace() {
                tokens.push((line, first.to_string()));
            }
            first.len_utf8()
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// Length of a block comment, with those inside it.
fn comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..text.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of a text, raw text or character at the start; `None` where there is none (a lifetime, say).
fn text_len(text: &str) -> Option<usize> {
    let plain = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - plain.len();
    if let Some(raw) = plain.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(inside) = raw[hashes..].strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let len = inside.find(&end).map_or(inside.len(), |at| at + end.len());
            return Some(prefix + 1 + hashes + 1 + len);
        }
    }
    let quote = plain.chars().next().filter(|first| ['"', '\''].contains(first))?;
    let mut chars = plain.char_indices().skip(1);
    let (_, second) = chars.next()?;
    if quote == '\'' && second != '\\' {
        let (at, third) = chars.next()?;
        return (third == '\'').then_some(prefix + at + 1);
    }
    let mut is_escaped = false;
    for (at, c) in plain.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return Some(prefix + at + 1),
            _ => {}
        }
    }
    None
}
