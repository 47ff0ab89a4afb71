//! Media types and codings: what a body may be, and in which coding an answer may go out.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};

use crate::problem::{Problem, Slug};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// The `Content-Encoding` for it; `None` for identity.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some("gzip"),
            Coding::Zstd => Some("zstd"),
        }
    }
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(Slug::UnsupportedEncoding, detail)
}

/// Takes every media type that may well be JSON, a missing one and curl's default among them.
///
/// # Errors
/// `unsupported-encoding` 415 for a type that is plainly no JSON, or a charset other than UTF-8.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
    let taken = match (kind, subtype) {
        ("", "") | ("text", "plain" | "json") => true,
        ("application", "json" | "x-ndjson" | "ndjson" | "jsonl" | "x-jsonl" | "json-lines" | "jsonlines") => true,
        ("application", "x-www-form-urlencoded") => true,
        (_, subtype) => subtype.ends_with("+json"),
    };
    if !taken {
        return Err(unsupported("The media type is not JSON; send application/json or application/x-ndjson."));
    }
    let charset = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim() == "charset");
    match charset.map(|(_, value)| value.trim().trim_matches('"')) {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(_) => Err(unsupported("The charset is not UTF-8; JSON is UTF-8.")),
    }
}

/// The coding of a request's body.
///
/// # Errors
/// `unsupported-encoding` 415 for another coding than gzip, zstd and identity, or several.
pub fn content_coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let mut found = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().unwrap_or("?").split(',') {
            let name = name.trim();
            let coding = if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                Coding::Identity
            } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                Coding::Gzip
            } else if name.eq_ignore_ascii_case("zstd") {
                Coding::Zstd
            } else {
                return Err(unsupported("The Content-Encoding is not served; send gzip, zstd or identity."));
            };
            if found.replace(coding).is_some() {
                return Err(unsupported("The body is encoded more than once; send one Content-Encoding."));
            }
        }
    }
    Ok(found.unwrap_or(Coding::Identity))
}

/// The coding that a client likes best of those served; zstd before gzip before identity where it likes them equally.
pub fn accepted_coding(headers: &HeaderMap) -> Coding {
    let (mut gzip, mut zstd, mut identity, mut others) = (None, None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality =
                parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))).map_or(1000, thousandths);
            match name.as_str() {
                "gzip" | "x-gzip" => gzip = Some(quality),
                "zstd" => zstd = Some(quality),
                "identity" => identity = Some(quality),
                "*" => others = Some(quality),
                _ => {}
            }
        }
    }
    let (gzip, zstd) = (gzip.or(others).unwrap_or(0), zstd.or(others).unwrap_or(0));
    // Identity goes without saying, at the lowest rank, unless it is named.
    let identity = identity.unwrap_or(1);
    if zstd > 0 && zstd >= gzip && zstd >= identity {
        Coding::Zstd
    } else if gzip > 0 && gzip >= identity {
        Coding::Gzip
    } else {
        Coding::Identity
    }
}

/// A quality such as `0.8` in thousandths; what is no quality counts as none.
fn thousandths(text: &str) -> u16 {
    let quality: f32 = text.trim().parse().unwrap_or(0.0);
    (quality.clamp(0.0, 1.0) * 1000.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn json_and_what_may_be_json_is_taken() {
        let check = |value| check_content_type(&headers(CONTENT_TYPE, &[value])).map_err(|problem| problem.status);
        assert!(check_content_type(&HeaderMap::new()).is_ok());
        for good in [
            "application/json",
            "APPLICATION/JSON; charset=UTF-8",
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/cloudevents+json",
            "application/json; charset=\"utf-8\"",
            "",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "text/html",
            "image/png",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/json; charset=utf-16",
            "text/plain; charset=iso-8859-1",
            "application/protobuf",
            "video/mp4",
            "text/csv",
            "json",
        ] {
            assert_eq!(check(bad), Err(415), "{bad}");
        }
    }

    #[test]
    fn one_known_coding_is_taken() {
        let coding = |values: &[&'static str]| content_coding(&headers(CONTENT_ENCODING, values)).map_err(|p| p.status);
        assert_eq!(coding(&[]), Ok(Coding::Identity));
        assert_eq!(coding(&["GZIP"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["zstd"]), Ok(Coding::Zstd));
        assert_eq!(coding(&["identity"]), Ok(Coding::Identity));
        for bad in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "zstd"], &["gzip, identity"], &["aes128gcm"]]
        {
            assert_eq!(coding(bad), Err(415), "{bad:?}");
        }
    }

    #[test]
    fn the_clients_favourite_coding_wins() {
        let accepted = |value| accepted_coding(&headers(ACCEPT_ENCODING, &[value]));
        assert_eq!(accepted_coding(&HeaderMap::new()), Coding::Identity);
        assert_eq!(accepted("gzip, deflate, br, zstd"), Coding::Zstd);
        assert_eq!(accepted("gzip, deflate"), Coding::Gzip);
        assert_eq!(accepted("gzip;q=0.8, zstd;q=0.5"), Coding::Gzip);
        assert_eq!(accepted("gzip;q=0"), Coding::Identity);
        assert_eq!(accepted("*"), Coding::Zstd);
        assert_eq!(accepted("*, zstd;q=0"), Coding::Gzip);
        assert_eq!(accepted("identity, gzip;q=0.5"), Coding::Identity);
        assert_eq!(accepted("br"), Coding::Identity);
    }
}
