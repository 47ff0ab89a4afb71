//! JSON written straight into bytes: answers are made of numbers and stored text, and need no tree in between.

use crate::units::{Decimal, MicroPoints, Timestamp};

/// An object or array that is being written.
pub struct Json {
    out: Vec<u8>,
    /// Whether the next key or element needs a comma before it.
    comma: bool,
}

impl Json {
    pub fn with_capacity(bytes: usize) -> Json {
        Json { out: Vec::with_capacity(bytes), comma: false }
    }
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
    pub fn len(&self) -> usize {
        self.out.len()
    }
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }
    /// `{ … }` as an element or at the top.
    pub fn object(&mut self, fields: impl FnOnce(&mut Json)) {
        self.nested(b'{', b'}', fields);
    }
    /// `"name": { … }`
    pub fn object_field(&mut self, name: &str, fields: impl FnOnce(&mut Json)) {
        self.key(name);
        self.comma = false;
        self.object(fields);
    }
    /// `"name": [ … ]`
    pub fn array_field(&mut self, name: &str, elements: impl FnOnce(&mut Json)) {
        self.key(name);
        self.comma = false;
        self.nested(b'[', b']', elements);
    }
    fn nested(&mut self, open: u8, close: u8, inside: impl FnOnce(&mut Json)) {
        self.separate();
        self.out.push(open);
        self.comma = false;
        inside(self);
        self.out.push(close);
        self.comma = true;
    }
    fn key(&mut self, name: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub fn string(&mut self, name: &str, value: &str) {
        self.key(name);
        write_string(&mut self.out, value);
    }
    pub fn optional_string(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(name, value),
            None => self.null(name),
        }
    }
    /// A string as an element of an array.
    pub fn string_element(&mut self, value: &str) {
        self.separate();
        write_string(&mut self.out, value);
    }
    pub fn null(&mut self, name: &str) {
        self.raw(name, b"null");
    }
    pub fn bool(&mut self, name: &str, value: bool) {
        self.raw(name, if value { b"true" } else { b"false" });
    }
    pub fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.key(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
    pub fn optional_number(&mut self, name: &str, value: Option<impl itoa::Integer>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.null(name),
        }
    }
    pub fn score(&mut self, name: &str, value: MicroPoints) {
        self.key(name);
        value.write_json(&mut self.out);
    }
    pub fn decimal(&mut self, name: &str, value: Decimal) {
        self.key(name);
        value.write_json(&mut self.out);
    }
    /// In the fewest digits that read back as the same number. It is never NaN nor infinite.
    pub fn float(&mut self, name: &str, value: Option<f64>) {
        match value {
            Some(value) => {
                self.key(name);
                serde_json::to_writer(&mut self.out, &value).expect("a Vec takes every write");
            }
            None => self.null(name),
        }
    }
    pub fn time(&mut self, name: &str, value: Timestamp) {
        self.string(name, &value.to_rfc3339());
    }
    /// A value that is JSON already.
    pub fn raw(&mut self, name: &str, json: &[u8]) {
        self.key(name);
        self.out.extend_from_slice(json);
    }
    /// An element that is JSON already.
    pub fn raw_element(&mut self, json: &[u8]) {
        self.separate();
        self.out.extend_from_slice(json);
    }
}

/// A JSON string with its quotes.
pub fn write_string(out: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(out, value).expect("a string always has a JSON form, and a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_between_and_nowhere_else() {
        let mut json = Json::with_capacity(64);
        json.object(|json| {
            json.number("a", 1);
            json.array_field("b", |json| {
                json.string_element("x\"\n");
                json.object(|json| json.null("c"));
                json.object(|_| {});
            });
            json.object_field("d", |json| json.bool("e", true));
            json.score("f", MicroPoints::new(-1_500_000));
        });
        let text = String::from_utf8(json.into_bytes()).expect("UTF-8");
        assert_eq!(text, r#"{"a":1,"b":["x\"\n",{"c":null},{}],"d":{"e":true},"f":-1.5}"#);
    }
}
