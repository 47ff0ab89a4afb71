//! The parsers of raw HTTP bytes, for [`crate::fuzz`].

use super::guard::{ChunkScan, HeadScan};
use super::query::{LIMIT, Query};
use super::route::{Kind, Param};

/// A request head that may reach hyper; the same in one piece and byte by byte.
pub fn http_head(bytes: &[u8]) -> bool {
    let at_once = HeadScan::default().scan(bytes);
    let mut scan = HeadScan::default();
    let step_by_step = (0..=bytes.len()).map(|end| scan.scan(&bytes[..end])).find(|judged| *judged != Ok(None));
    if let Ok(Some(head)) = at_once {
        assert!(head.len <= bytes.len(), "a head of {} bytes in {}", head.len, bytes.len());
        assert_eq!(step_by_step, Some(at_once), "the pieces in which a head comes change what it is");
    }
    matches!(at_once, Ok(Some(_)))
}

/// A chunked body up to its end.
pub fn http_chunks(bytes: &[u8]) -> bool {
    matches!(ChunkScan::new().feed(bytes), Ok((_, true)))
}

/// A query string of a route that takes parameters of every kind.
pub fn query(bytes: &[u8]) -> bool {
    const PARAMS: &[Param] = &[
        LIMIT,
        Param::new("text", Kind::Text(128), ""),
        Param::new("from", Kind::Time, ""),
        Param::new("to", Kind::Time, ""),
        Param::new("flag", Kind::Flag, ""),
        Param::new("order", Kind::Word(&["asc", "desc"]), ""),
    ];
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    Query::parse(Some(text), PARAMS, true).is_ok_and(|query| query.range("from", "to").is_ok())
}
