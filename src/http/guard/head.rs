//! One request head, scanned line by line as its bytes arrive: is it one that may reach hyper, and how long is the body
//! behind it? Pure, allocates nothing, and looks at no byte twice.

use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_TARGET_BYTES_MAX};

use super::reject::Reject;

/// Where the body behind a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// A head that is whole and well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes up to and with the empty line.
    pub len: usize,
    pub framing: Framing,
}

/// What is known so far of a head that is still arriving.
#[derive(Debug, Default)]
pub struct HeadScan {
    line_start: usize,
    searched: usize,
    has_request_line: bool,
    /// HTTP/1.0, where Host is not required and chunks do not exist.
    old: bool,
    /// Whether the answer must come without a body.
    pub head_method: bool,
    headers: usize,
    length: Option<u64>,
    chunked: bool,
    hosts: usize,
}

/// Bytes of a request line that are not the target: method, two spaces, version, CR LF.
const REQUEST_LINE_REST_BYTES: usize = 64;

impl HeadScan {
    /// Looks at what has arrived: `bytes` begins at the head's first byte and has grown since the last call.
    /// `None` when the head is not whole yet.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<Head>, Reject> {
        loop {
            let Some(offset) = memchr::memchr(b'\n', &bytes[self.searched..]) else {
                self.searched = bytes.len();
                return self.judge_unfinished(bytes).map(|()| None);
            };
            let newline = self.searched + offset;
            self.searched = newline + 1;
            if newline == self.line_start || bytes[newline - 1] != b'\r' {
                return Err(Reject::BareLf);
            }
            let line = &bytes[self.line_start..newline - 1];
            self.line_start = newline + 1;
            if !self.has_request_line {
                // One empty line before the request is tolerated (RFC 9112, 2.2).
                if !line.is_empty() {
                    self.request_line(line)?;
                } else if newline > 1 {
                    return Err(Reject::NotHttp);
                }
            } else if newline + 1 > HTTP_HEAD_BYTES_MAX {
                return Err(Reject::HeadTooLarge);
            } else if line.is_empty() {
                return self.finish(newline + 1).map(Some);
            } else {
                self.field(line)?;
            }
        }
    }

    fn judge_unfinished(&self, bytes: &[u8]) -> Result<(), Reject> {
        let line = &bytes[self.line_start..];
        if self.has_request_line {
            return if bytes.len() > HTTP_HEAD_BYTES_MAX { Err(Reject::HeadTooLarge) } else { Ok(()) };
        }
        match line.first() {
            Some(&first) if first != b'\r' && !is_token_byte(first) => Err(Reject::NotHttp),
            Some(_) if line.len() > HTTP_TARGET_BYTES_MAX + REQUEST_LINE_REST_BYTES => {
                // A second space never came within reach: either the method or the target is too long.
                let spaced = line[..REQUEST_LINE_REST_BYTES].contains(&b' ');
                Err(if spaced { Reject::TargetTooLong } else { Reject::NotHttp })
            }
            _ => Ok(()),
        }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Reject> {
        self.has_request_line = true;
        let mut parts = line.splitn(3, |&byte| byte == b' ');
        let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Reject::NotHttp);
        };
        if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
            return Err(Reject::NotHttp);
        }
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.old = true,
            other if other.starts_with(b"HTTP/") && !other.contains(&b' ') => return Err(Reject::Version),
            _ => return Err(Reject::NotHttp),
        }
        if target.len() > HTTP_TARGET_BYTES_MAX {
            return Err(Reject::TargetTooLong);
        }
        if method == b"CONNECT" || method == b"TRACE" {
            return Err(Reject::Method);
        }
        self.head_method = method == b"HEAD";
        let known_form = match target {
            [b'/', ..] => true,
            b"*" => method == b"OPTIONS",
            _ => target.starts_with(b"http://") || target.starts_with(b"https://"),
        };
        if known_form && target.iter().all(|&byte| is_target_byte(byte)) { Ok(()) } else { Err(Reject::Target) }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Reject> {
        self.headers += 1;
        if self.headers > HTTP_HEADERS_MAX {
            return Err(Reject::TooManyHeaders);
        }
        let colon = memchr::memchr(b':', line).ok_or(Reject::HeaderLine)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) || has_control_byte(value) {
            return Err(Reject::HeaderLine);
        }
        // The length picks the few names that matter without comparing all of them.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if value.eq_ignore_ascii_case(b"100-continue") {
                    Ok(())
                } else {
                    Err(Reject::Expectation)
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || self.old || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Reject::TransferEncoding);
                }
                self.chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Reject> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(Reject::HostTwice);
        }
        if is_host(value) { Ok(()) } else { Err(Reject::HostMalformed) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.length.is_some() || value.contains(&b',') {
            return Err(Reject::TwoLengths);
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Reject::Length);
        }
        let digits = std::str::from_utf8(value).map_err(|_| Reject::Length)?;
        self.length = Some(digits.parse().map_err(|_| Reject::Length)?);
        Ok(())
    }

    fn finish(&self, len: usize) -> Result<Head, Reject> {
        if self.hosts == 0 && !self.old {
            return Err(Reject::HostMissing);
        }
        let framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Reject::LengthAndEncoding),
            (None, true) => Framing::Chunked,
            (None | Some(0), false) => Framing::None,
            (Some(length), false) => Framing::Length(length),
        };
        Ok(Head { len, framing })
    }
}

/// `uri-host [":" port]` of RFC 9110; an empty host is refused.
fn is_host(value: &[u8]) -> bool {
    let (name, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let inside = std::str::from_utf8(&rest[..end]).unwrap_or_default();
            if inside.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (&value[..end + 2], &rest[end + 1..])
        }
        _ => value.split_at(memchr::memchr(b':', value).unwrap_or(value.len())),
    };
    let good_port = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        _ => false,
    };
    let good_name = name.first() == Some(&b'[')
        || !name.is_empty()
            && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&byte));
    good_port && good_name
}

/// Without spaces and tabs around it.
fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

fn has_control_byte(value: &[u8]) -> bool {
    value.iter().fold(false, |found, &byte| found | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7F))
}

fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`')
}

/// The bytes of a method or a header name (RFC 9110, 5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let letter = byte as u8;
        table[byte] = letter.is_ascii_alphanumeric()
            || matches!(
                letter,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<Option<Head>, Reject> {
        HeadScan::default().scan(text.as_bytes())
    }

    fn framing(fields: &str) -> Result<Framing, Reject> {
        scan(&format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).map(|head| head.expect("a whole head").framing)
    }

    #[test]
    fn a_plain_request_passes_with_its_framing() {
        assert_eq!(framing(""), Ok(Framing::None));
        assert_eq!(framing("content-length:  12 \r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(framing("Expect: 100-continue\r\nContent-Length: 3\r\n"), Ok(Framing::Length(3)));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        assert_eq!(framing("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Err(Reject::LengthAndEncoding));
        assert_eq!(framing("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), Err(Reject::LengthAndEncoding));
        assert_eq!(framing("Content-Length: 5\r\nContent-Length: 5\r\n"), Err(Reject::TwoLengths));
        assert_eq!(framing("Content-Length: 5, 5\r\n"), Err(Reject::TwoLengths));
        for length in ["", "-1", "+5", "5 5", "0x5", "five", "99999999999999999999"] {
            assert_eq!(framing(&format!("Content-Length: {length}\r\n")), Err(Reject::Length), "{length:?}");
        }
        for coding in ["gzip, chunked", "identity", "chunked, chunked", ""] {
            assert_eq!(
                framing(&format!("Transfer-Encoding: {coding}\r\n")),
                Err(Reject::TransferEncoding),
                "{coding:?}"
            );
        }
        assert_eq!(scan("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(Reject::TransferEncoding));
    }

    #[test]
    fn the_host_is_required_once_and_well_formed() {
        let host = |fields: &str| scan(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).map(|_| ());
        assert_eq!(host(""), Err(Reject::HostMissing));
        assert_eq!(host("Host: a\r\nHost: a\r\n"), Err(Reject::HostTwice));
        for good in ["localhost", "127.0.0.1:7878", "[::1]:80", "[::1]", "a.b-c:", "%61"] {
            assert_eq!(host(&format!("Host: {good}\r\n")), Ok(()), "{good:?}");
        }
        for bad in ["", "a b", "a/b", "a@b", "a:b", "a:99999", "[::1", "[::g]", "[::1]x", ":80", "a,b", "a:+1"] {
            assert_eq!(host(&format!("Host: {bad}\r\n")), Err(Reject::HostMalformed), "{bad:?}");
        }
        assert_eq!(scan("GET / HTTP/1.0\r\n\r\n").map(|head| head.is_some()), Ok(true));
    }

    #[test]
    fn lines_end_in_cr_lf_only() {
        assert_eq!(scan("GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(Reject::BareLf));
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\n\r\n"), Err(Reject::BareLf));
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\r\n\n"), Err(Reject::BareLf));
        assert_eq!(scan("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Reject::BareLf));
        assert!(scan("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("one empty line is tolerated").is_some());
        assert_eq!(scan("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Reject::NotHttp));
    }

    #[test]
    fn header_lines_are_names_and_printable_values() {
        for bad in ["no colon", ": empty", "a b: c", "a : c", " folded", "x: a\0b", "x: a\rb", "x: \x7f"] {
            assert_eq!(framing(&format!("{bad}\r\n")), Err(Reject::HeaderLine), "{bad:?}");
        }
        assert_eq!(framing("Expect: 200-ok\r\n"), Err(Reject::Expectation));
    }

    #[test]
    fn request_lines_that_are_no_http_are_refused_early() {
        for bad in ["GARBAGE\r\n", "GET /\r\n", "GET  / HTTP/1.1\r\n", "\x16\x03\x01", "GET / HTTP/1.1 \r\n", " GET"] {
            assert_eq!(scan(bad), Err(Reject::NotHttp), "{bad:?}");
        }
        assert_eq!(scan("PRI * HTTP/2.0\r\n\r\n"), Err(Reject::Version));
        for bad in ["x", "*", "/a#b", "/a\"b", "/\u{e9}", "ftp://a/"] {
            assert_eq!(scan(&format!("GET {bad} HTTP/1.1\r\n")), Err(Reject::Target), "{bad:?}");
        }
        assert_eq!(scan("CONNECT a:80 HTTP/1.1\r\n"), Err(Reject::Method));
        assert_eq!(scan("TRACE / HTTP/1.1\r\n"), Err(Reject::Method));
    }

    #[test]
    fn sizes_are_bounded_at_their_edges() {
        let target = |bytes: usize| scan(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1)));
        assert!(target(HTTP_TARGET_BYTES_MAX).is_ok());
        assert_eq!(target(HTTP_TARGET_BYTES_MAX + 1), Err(Reject::TargetTooLong));
        assert_eq!(scan(&format!("GET /{}", "a".repeat(9000))), Err(Reject::TargetTooLong));
        assert_eq!(framing(&"x: y\r\n".repeat(HTTP_HEADERS_MAX - 1)), Ok(Framing::None));
        assert_eq!(framing(&"x: y\r\n".repeat(HTTP_HEADERS_MAX)), Err(Reject::TooManyHeaders));
        let padded = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "y".repeat(bytes - 32));
        assert_eq!(padded(HTTP_HEAD_BYTES_MAX).len(), HTTP_HEAD_BYTES_MAX);
        assert!(scan(&padded(HTTP_HEAD_BYTES_MAX)).is_ok());
        assert_eq!(scan(&padded(HTTP_HEAD_BYTES_MAX + 1)), Err(Reject::HeadTooLarge));
    }

    #[test]
    fn a_head_in_single_bytes_is_judged_as_in_one_piece() {
        for text in [
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nrest",
            "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ] {
            let mut scan_by_byte = HeadScan::default();
            let by_byte = (1..=text.len())
                .map(|end| scan_by_byte.scan(&text.as_bytes()[..end]))
                .find(|outcome| !matches!(outcome, Ok(None)));
            assert_eq!(by_byte, Some(scan(text)), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_judged_as_in_one(
            lines in proptest::collection::vec(
                "(GET|POST|\\PC{0,4}) /[a-z%]{0,4}( HTTP/1\\.[012])?|(host|content-length|transfer-encoding|x|expect): ?(a|5|chunked|\\PC{0,5})|",
                0..6,
            ),
            ends in proptest::collection::vec("\r\n|\r\n|\r\n|\n|\r", 6),
            cuts in proptest::collection::vec(0..200_usize, 0..6),
        ) {
            let text: Vec<u8> = lines.iter().zip(&ends).flat_map(|(line, end)| [line.as_bytes(), end.as_bytes()].concat()).collect();
            let whole = HeadScan::default().scan(&text);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([text.len()]).collect();
            cuts.sort_unstable();
            let mut pieces = HeadScan::default();
            let first = cuts.iter().map(|&cut| pieces.scan(&text[..cut])).find(|outcome| !matches!(outcome, Ok(None)));
            // Which fault is named may depend on what was seen first; whether there is one, and the framing, may not.
            proptest::prop_assert_eq!(first.unwrap_or(Ok(None)).map_err(drop), whole.map_err(drop));
        }
    }
}
