//! One pass over JSON text: the grammar of RFC 8259, spans instead of values, nothing allocated.
//!
//! A [`Scanner`] stands at an offset of the text and passes over what is there, or says what it expected instead.
//! Strings that the grammar allows and an event may not hold (U+0000, half a surrogate pair) do not stop it: it
//! remembers the first of each, and whoever asked for the pass decides. Nesting is bounded, so that recursion is too.

use std::borrow::Cow;

/// What a value is, as far as its spelling says without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    /// A string without a backslash: what stands between the quotes is the string.
    PlainString,
    EscapedString,
    Array,
    Object,
}

/// A value that has been passed over: its text, without the space around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub raw: &'a str,
    pub kind: Kind,
}

impl<'a> Value<'a> {
    pub const NULL: Value<'static> = Value { raw: "null", kind: Kind::Null };

    pub fn is_null(self) -> bool {
        self.kind == Kind::Null
    }

    /// The string that this is, borrowed where it has no escapes. Half a surrogate pair reads as U+FFFD.
    #[inline]
    pub fn string(self) -> Option<Cow<'a, str>> {
        match self.kind {
            Kind::PlainString => Some(Cow::Borrowed(self.between_quotes())),
            Kind::EscapedString => Some(Cow::Owned(unescape(self.between_quotes()))),
            _ => None,
        }
    }

    /// The string that this is, if it has no escapes.
    pub fn plain_string(self) -> Option<&'a str> {
        (self.kind == Kind::PlainString).then(|| self.between_quotes())
    }

    /// The spelling of the number that this is.
    pub fn number(self) -> Option<&'a str> {
        (self.kind == Kind::Number).then_some(self.raw)
    }

    /// The items of an array; nothing for any other value.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let mut inside = (self.kind == Kind::Array).then(|| Scanner::inside(self.raw));
        let mut first = true;
        std::iter::from_fn(move || inside.as_mut()?.item(std::mem::take(&mut first)).ok().flatten())
    }

    /// The members of an object in the order of the text, with their unescaped keys; nothing for any other value.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        let mut inside = (self.kind == Kind::Object).then(|| Scanner::inside(self.raw));
        let mut first = true;
        std::iter::from_fn(move || {
            let (key, value) = inside.as_mut()?.member(std::mem::take(&mut first)).ok().flatten()?;
            Some((key.string()?, value))
        })
    }

    #[inline]
    fn between_quotes(self) -> &'a str {
        &self.raw[1..self.raw.len() - 1]
    }
}

/// Where the text stops being JSON, and what would have gone on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Offset in bytes from the start of the text.
    pub at: usize,
    pub expected: &'static str,
}

/// A place in JSON text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// How many more arrays and objects may open inside each other.
    levels_left: usize,
    /// Offset of the first escape that stands for U+0000.
    pub nul_at: Option<usize>,
    /// Offset of the first escape that is half of a surrogate pair and stands for no character.
    pub lone_surrogate_at: Option<usize>,
}

impl<'a> Scanner<'a> {
    /// At the start of `text`, which may nest `levels` arrays and objects.
    pub fn new(text: &'a str, levels: usize) -> Scanner<'a> {
        Scanner { text, at: 0, levels_left: levels, nul_at: None, lone_surrogate_at: None }
    }

    /// Behind the bracket that opens `raw`, an array or object that has been passed over before.
    fn inside(raw: &'a str) -> Scanner<'a> {
        Scanner { at: 1, ..Scanner::new(raw, usize::MAX - 1) }
    }

    /// The whole text, passed over or not.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The next byte that is no space, which is passed over.
    #[inline]
    pub fn next_byte(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// Passes over the rest of the text, which must be space.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end, since one document ends here")),
        }
    }

    /// Passes over one value and the space before it.
    #[inline]
    pub fn value(&mut self) -> Result<Value<'a>, SyntaxError> {
        let first = self.next_byte();
        let start = self.at;
        let kind = match first {
            Some(b'"') => self.pass_string()?,
            Some(b'{') => self.pass_object()?,
            Some(b'[') => self.pass_array()?,
            Some(b'-' | b'0'..=b'9') => self.pass_number()?,
            Some(b't') => self.pass_word("true", Kind::Bool)?,
            Some(b'f') => self.pass_word("false", Kind::Bool)?,
            Some(b'n') => self.pass_word("null", Kind::Null)?,
            _ => return Err(self.expected("a value")),
        };
        Ok(Value { raw: &self.text[start..self.at], kind })
    }

    /// Steps into the array or object that opens here.
    pub fn open(&mut self) -> Result<(), SyntaxError> {
        let Some(left) = self.levels_left.checked_sub(1) else {
            return Err(self.expected("fewer arrays and objects inside each other"));
        };
        self.levels_left = left;
        self.at += 1;
        Ok(())
    }

    /// Passes over the next member of the object stepped into; `None` behind its closing brace.
    #[inline]
    pub fn member(&mut self, first: bool) -> Result<Option<(Value<'a>, Value<'a>)>, SyntaxError> {
        match self.key(first)? {
            Some(key) => Ok(Some((key, self.value()?))),
            None => Ok(None),
        }
    }

    /// Passes over the next key of the object stepped into and its colon; `None` behind the closing brace.
    #[inline]
    pub fn key(&mut self, first: bool) -> Result<Option<Value<'a>>, SyntaxError> {
        if !self.has_next(b'}', first, "`,` or `}`")? {
            return Ok(None);
        }
        if self.next_byte() != Some(b'"') {
            return Err(self.expected("a key in double quotes"));
        }
        let start = self.at;
        let kind = self.pass_string()?;
        let key = Value { raw: &self.text[start..self.at], kind };
        if self.next_byte() != Some(b':') {
            return Err(self.expected("`:`"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Passes over the next item of the array stepped into; `None` behind its closing bracket.
    pub fn item(&mut self, first: bool) -> Result<Option<Value<'a>>, SyntaxError> {
        if !self.has_next(b']', first, "`,` or `]`")? {
            return Ok(None);
        }
        self.value().map(Some)
    }

    /// Whether another entry follows: passes over the comma before it, or over the closing bracket.
    #[inline]
    fn has_next(&mut self, close: u8, first: bool, expected: &'static str) -> Result<bool, SyntaxError> {
        match self.next_byte() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.levels_left += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            _ if first => Ok(true),
            _ => Err(self.expected(expected)),
        }
    }

    // Not inlined, as what it calls is: here the recursion goes through.
    #[inline(never)]
    fn pass_object(&mut self) -> Result<Kind, SyntaxError> {
        self.open()?;
        let mut first = true;
        while self.member(first)?.is_some() {
            first = false;
        }
        Ok(Kind::Object)
    }

    #[inline(never)]
    fn pass_array(&mut self) -> Result<Kind, SyntaxError> {
        self.open()?;
        let mut first = true;
        while self.item(first)?.is_some() {
            first = false;
        }
        Ok(Kind::Array)
    }

    #[inline]
    fn pass_string(&mut self) -> Result<Kind, SyntaxError> {
        let mut kind = Kind::PlainString;
        self.at += 1;
        loop {
            self.at = plain_end(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(kind);
                }
                Some(b'\\') => {
                    kind = Kind::EscapedString;
                    self.pass_escape()?;
                }
                Some(_) => return Err(self.expected("control characters in a string as escapes")),
                None => return Err(self.expected("the closing quote of a string")),
            }
        }
    }

    #[cold]
    fn pass_escape(&mut self) -> Result<(), SyntaxError> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let Some(unit) = hex4(bytes, self.at + 1) else {
                    return Err(self.expected("four hexadecimal digits after `\\u`"));
                };
                self.at += 5;
                match unit {
                    0 => _ = self.nul_at.get_or_insert(start),
                    0xD800..=0xDBFF if low_surrogate(bytes, self.at).is_some() => self.at += 6,
                    0xD800..=0xDFFF => _ = self.lone_surrogate_at.get_or_insert(start),
                    _ => {}
                }
            }
            _ => return Err(self.expected("an escape: one of `\"\\/bfnrtu` after the backslash")),
        }
        Ok(())
    }

    fn pass_number(&mut self) -> Result<Kind, SyntaxError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.pass_digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.pass_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.pass_digits()?;
        }
        Ok(Kind::Number)
    }

    fn pass_digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn pass_word(&mut self, word: &'static str, kind: Kind) -> Result<Kind, SyntaxError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[cold]
    fn expected(&self, expected: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, expected }
    }
}

/// The first offset from `at` on with a quote, a backslash or a control character; else the end.
/// Eight bytes a step, since most strings of an event are shorter than a vector search takes to start.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // A byte of `word - 0x20…` borrows into its high bit if it was under 0x20; so does a zero byte less one. A
        // borrow can only raise bits above the first true one, and the first is all that is asked for.
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let stops = (control | quote | backslash) & !word & HIGHS;
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// The four hexadecimal digits at `at`.
fn hex4(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..)?.first_chunk::<4>()?;
    digits.iter().try_fold(0u16, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

/// The second half of a surrogate pair, where its escape stands at `at`.
fn low_surrogate(bytes: &[u8], at: usize) -> Option<u16> {
    if !bytes.get(at..)?.starts_with(b"\\u") {
        return None;
    }
    hex4(bytes, at + 2).filter(|unit| (0xDC00..=0xDFFF).contains(unit))
}

/// What the inside of a string that has been passed over stands for.
fn unescape(inner: &str) -> String {
    let bytes = inner.as_bytes();
    let mut plain = String::with_capacity(inner.len());
    let mut copied = 0;
    while let Some(found) = memchr::memchr(b'\\', &bytes[copied..]) {
        let start = copied + found;
        plain.push_str(&inner[copied..start]);
        copied = start + 2;
        match bytes[start + 1] {
            b'b' => plain.push('\u{8}'),
            b'f' => plain.push('\u{c}'),
            b'n' => plain.push('\n'),
            b'r' => plain.push('\r'),
            b't' => plain.push('\t'),
            b'u' => {
                let high = hex4(bytes, start + 2).unwrap_or_default();
                copied += 4;
                let pair = (0xD800..=0xDBFF).contains(&high).then(|| low_surrogate(bytes, copied)).flatten();
                copied += if pair.is_some() { 6 } else { 0 };
                let units = std::iter::once(high).chain(pair);
                plain.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
            }
            itself => plain.push(char::from(itself)),
        }
    }
    plain.push_str(&inner[copied..]);
    plain
}
