//! JSON as it was written: numbers keep their spelling and objects their order, while `==` compares values.

use super::decimal::Decimal;

#[derive(Clone, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    /// The digits as they stand in the text.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// An object from its members, in their order.
pub fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

pub fn text(value: impl Into<String>) -> Json {
    Json::Text(value.into())
}

pub fn number(value: impl ToString) -> Json {
    Json::Number(value.to_string())
}

pub fn texts<S: AsRef<str>>(values: &[S]) -> Json {
    Json::List(values.iter().map(|value| text(value.as_ref())).collect())
}

impl Json {
    pub fn parse(source: &str) -> Result<Json, String> {
        let mut reader = Reader { source, at: 0 };
        let value = reader.value()?;
        reader.space();
        if reader.at < source.len() { Err(format!("trailing bytes at {}", reader.at)) } else { Ok(value) }
    }

    /// Compact text; keys and numbers as they came.
    pub fn render(&self) -> String {
        match self {
            Json::Null => "null".to_owned(),
            Json::Bool(value) => value.to_string(),
            Json::Number(digits) => digits.clone(),
            Json::Text(value) => quoted(value),
            Json::List(items) => format!("[{}]", items.iter().map(Json::render).collect::<Vec<_>>().join(",")),
            Json::Object(members) => {
                let members = members.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.render()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// The member of an object, `None` where there is none.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The member of an object where it is there and not null: what the catalogue calls present.
    pub fn present(&self, key: &str) -> Option<&Json> {
        self.get(key).filter(|value| !matches!(value, Json::Null))
    }

    /// The string member `key`, `None` where it is absent, null or no string.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Json::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// The strings of the list member `key`; nothing where it is absent.
    pub fn texts_of(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Json::List(items)) => items.iter().map(|item| item.as_text().to_owned()).collect(),
            _ => Vec::new(),
        }
    }

    /// The value at a path of members, `domains.A.7d.score`; panics with the document where a step is missing.
    pub fn at(&self, path: &str) -> &Json {
        path.split('.')
            .try_fold(self, |value, step| value.get(step))
            .unwrap_or_else(|| panic!("no `{path}` in {}", self.render()))
    }

    pub fn as_text(&self) -> &str {
        match self {
            Json::Text(value) => value,
            other => panic!("not a string: {}", other.render()),
        }
    }

    pub fn as_optional_text(&self) -> Option<&str> {
        match self {
            Json::Null => None,
            other => Some(other.as_text()),
        }
    }

    pub fn as_decimal(&self) -> Decimal {
        match self {
            Json::Number(digits) => Decimal::parse(digits).unwrap_or_else(|| panic!("not a decimal: {digits}")),
            other => panic!("not a number: {}", other.render()),
        }
    }

    pub fn as_integer(&self) -> i64 {
        match self {
            Json::Number(digits) => digits.parse().unwrap_or_else(|_| panic!("not an integer: {digits}")),
            other => panic!("not a number: {}", other.render()),
        }
    }

    pub fn as_optional_integer(&self) -> Option<i64> {
        match self {
            Json::Null => None,
            other => Some(other.as_integer()),
        }
    }

    pub fn as_bool(&self) -> bool {
        match self {
            Json::Bool(value) => *value,
            other => panic!("not a boolean: {}", other.render()),
        }
    }

    pub fn as_list(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            other => panic!("not a list: {}", other.render()),
        }
    }

    /// The members in their order; panics where this is no object.
    pub fn members(&self) -> &[(String, Json)] {
        match self {
            Json::Object(members) => members,
            other => panic!("not an object: {}", other.render()),
        }
    }

    /// The same object with `key` set: in its place where it was there, else at the end.
    pub fn with(&self, key: &str, value: Json) -> Json {
        let mut members = self.members().to_vec();
        match members.iter_mut().find(|(name, _)| name == key) {
            Some(member) => member.1 = value,
            None => members.push((key.to_owned(), value)),
        }
        Json::Object(members)
    }

    /// The same object without `key`.
    pub fn without(&self, key: &str) -> Json {
        Json::Object(self.members().iter().filter(|(name, _)| name != key).cloned().collect())
    }
}

/// Equal as JSON values: numbers by value, objects whatever their order.
impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Null, Json::Null) => true,
            (Json::Bool(a), Json::Bool(b)) => a == b,
            (Json::Text(a), Json::Text(b)) => a == b,
            (Json::List(a), Json::List(b)) => a == b,
            (Json::Number(a), Json::Number(b)) => match (Decimal::parse(a), Decimal::parse(b)) {
                (Some(a), Some(b)) => a == b,
                _ => a == b,
            },
            (Json::Object(a), Json::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| other.get(key) == Some(value))
            }
            _ => false,
        }
    }
}

fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Result<(), String> {
        self.space();
        if self.peek() != Some(wanted) {
            return Err(format!("no {:?} at {} of {:.200}", wanted as char, self.at, self.source));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether the next byte behind white space is `wanted`; takes it if so.
    fn takes(&mut self, wanted: u8) -> bool {
        self.take(wanted).is_ok()
    }

    fn value(&mut self) -> Result<Json, String> {
        self.space();
        for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if self.source[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        match self.peek() {
            Some(b'"') => self.string().map(Json::Text),
            Some(b'[') => self.list(),
            Some(b'{') => self.object(),
            Some(b'-' | b'0'..=b'9') => {
                let rest = &self.source[self.at..];
                let end = rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(rest.len());
                self.at += end;
                Ok(Json::Number(rest[..end].to_owned()))
            }
            other => Err(format!("no value at {}: {other:?} in {:.200}", self.at, self.source)),
        }
    }

    fn list(&mut self) -> Result<Json, String> {
        self.take(b'[')?;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.takes(b']') {
                return Ok(Json::List(items));
            }
            self.take(b',')?;
        }
    }

    fn object(&mut self) -> Result<Json, String> {
        self.take(b'{')?;
        let mut members = Vec::new();
        if self.takes(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.take(b':')?;
            members.push((key, self.value()?));
            if self.takes(b'}') {
                return Ok(Json::Object(members));
            }
            self.take(b',')?;
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.take(b'"')?;
        let mut units: Vec<u16> = Vec::new();
        let mut chars = self.source[self.at..].char_indices();
        while let Some((offset, c)) = chars.next() {
            if c == '"' {
                self.at += offset + 1;
                return String::from_utf16(&units).map_err(|e| e.to_string());
            }
            if c != '\\' {
                units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                continue;
            }
            let (_, escape) = chars.next().ok_or("a string that ends in a backslash")?;
            units.push(match escape {
                'u' => {
                    let hex: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    u16::from_str_radix(&hex, 16).map_err(|e| format!("\\u{hex}: {e}"))?
                }
                'n' => 10,
                't' => 9,
                'r' => 13,
                'b' => 8,
                'f' => 12,
                other => other as u16,
            });
        }
        Err("a string without an end".to_owned())
    }
}
