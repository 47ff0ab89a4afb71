//! Records behind the damage, as NDJSON in the form of `coliseum export`.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::record::{self, Entry};
use super::super::recovery::OpenError;
use super::inspect::{self, Place};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::event::{self, Facts};
use crate::units::Seq;

/// What is gathered before it is written.
const PIECE_BYTES: usize = 1024 * 1024;

/// One line: an entry, of which no projection has said anything.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    seq: u64,
    message_id: &'a str,
    user_id: &'a str,
    event_type: &'a str,
    event_category: &'a str,
    entity_type: Option<&'a str>,
    entity_id: Option<&'a str>,
    session_id: Option<&'a str>,
    device_id: Option<&'a str>,
    source: &'a str,
    at: String,
    received_at: String,
    at_corrected: bool,
    metadata: &'a RawValue,
    processed_by: serde_json::Value,
    dna_influence: [(); 0],
}

/// Writes the records behind `kept_to` of all files to `path`, each once, durable when it returns; how many.
pub(super) fn write(
    disk: &dyn Disk,
    files: &[Place],
    log_id: [u8; 16],
    kept_to: Seq,
    path: &Path,
) -> Result<u64, OpenError> {
    let failed = |error| OpenError::io(path, error);
    let file = disk.open(path, OpenMode::CreateNew).map_err(failed)?;
    let mut out = Out { file: file.as_ref(), offset: 0, piece: Vec::with_capacity(PIECE_BYTES), result: Ok(()) };
    let mut seen: HashSet<Seq> = HashSet::new();
    for place in files {
        inspect::every_record(disk, place, log_id, &mut |seq, bytes| {
            if seq > kept_to && seen.insert(seq) {
                out.push(seq, bytes);
            }
        })?;
    }
    out.flush();
    out.result.map_err(failed)?;
    file.sync().map_err(failed)?;
    Ok(seen.len() as u64)
}

struct Out<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
    piece: Vec<u8>,
    result: io::Result<()>,
}

impl Out<'_> {
    fn push(&mut self, seq: Seq, bytes: &[u8]) {
        match line(seq, bytes) {
            Ok(line) => self.piece.extend_from_slice(&line),
            Err(error) => self.result = Err(error),
        }
        if self.piece.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.result.is_ok() {
            self.result = self.file.write_all_at(&self.piece, self.offset);
        }
        self.offset += self.piece.len() as u64;
        self.piece.clear();
    }
}

fn line(seq: Seq, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let envelope = record::decode(bytes).map_err(io::Error::other)?;
    let entry = Entry { seq, envelope };
    let facts = Facts::of_stored(envelope.event_type, envelope.payload).ok();
    let entity = facts.as_ref().and_then(|facts| facts.entity(envelope.user_id));
    let line = Line {
        seq: seq.get(),
        message_id: envelope.message_id,
        user_id: envelope.user_id,
        event_type: envelope.event_type,
        event_category: event::category(envelope.event_type),
        entity_type: entity.map(|(kind, _)| kind.name()),
        entity_id: entity.map(|(_, id)| id),
        session_id: envelope.session_id,
        device_id: envelope.device_id,
        source: envelope.source,
        at: entry.at().to_rfc3339(),
        received_at: entry.received_at().to_rfc3339(),
        at_corrected: envelope.at_corrected,
        metadata: serde_json::from_str(envelope.payload)?,
        processed_by: serde_json::json!({"mediaid": false, "treasury": false, "coliseum": false}),
        dna_influence: [],
    };
    let mut json = serde_json::to_vec(&line)?;
    // Line breaks stand only between the tokens of a payload: as spaces they say the same on one line.
    json.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    json.push(b'\n');
    Ok(json)
}
