//! Every decoder that meets bytes from outside or from disk, each as one function of bytes.
//!
//! For the fuzz targets (`tests/fuzz`) and the property tests (`tests/hostile_bytes.rs`), and for nobody else: the decoders
//! themselves stay private to their rooms. A function gives whether the bytes are what it reads, all of them and in full
//! depth. Whatever the bytes are it does not panic, and takes memory in proportion to them, up to [`GROWTH_MAX`].
//!
//! Most files are under checksums, which random changes do not survive. [`reseal`] makes them right again, so that what
//! stands behind a checksum is met by hostile bytes as well.

pub mod reseal;

use crate::capture::Arrival;
use crate::config::Config;
use crate::event::Event;
use crate::passport::record;
use crate::units::Timestamp;

pub use crate::cli::import_fuzz::{import_csv, import_ndjson};
pub use crate::coliseum::is_page as page;
pub use crate::http::fuzz::{http_chunks, http_head, query};
pub use crate::passport::fuzz::{batch, entry_index, fingerprint_key, id_file, key_run, sealed_segment, segment};
pub use crate::projection::is_checkpoint as checkpoint;
pub use crate::projection::names::is_names as names;
pub use crate::projection::rows::is_block as rows;

/// Bytes that a decoder may take at one time for each byte that it was given. The posting of an index is the widest: an
/// id of one bit becomes four bytes.
pub const GROWTH_MAX: usize = 64;

/// The record of one event.
pub fn record(bytes: &[u8]) -> bool {
    record::decode(bytes).is_ok()
}

/// One event's JSON.
pub fn event(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Event::parse(text).is_ok())
}

/// One line of an import: an event, an event with a key that was made for it, or an entry.
pub fn import_line(bytes: &[u8]) -> bool {
    let received_at = Timestamp::from_micros(1_767_225_600_000_000);
    let arrival = Arrival { received_at, at_ahead_seconds: 300, source: "import" };
    std::str::from_utf8(bytes).is_ok_and(|text| crate::capture::import::read_line(text, &arrival).is_ok())
}

/// A configuration file.
pub fn config(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Config::from_toml(text).is_ok())
}
