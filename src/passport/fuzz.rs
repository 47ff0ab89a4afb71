//! The decoders of the log's files over bytes in memory, for [`crate::fuzz`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{BatchHeader, HEADER_BYTES, split_record};
use super::index::{Postings, SegmentId, SegmentIndex, candidates};
use super::sealed::SealedSegment;
use super::{EntryFilter, record, recovery};
use crate::disk::{DirEntry, Disk, DiskFile, OpenMode};
use crate::units::{Seq, Timestamp};

pub use super::keys::fuzz::{fingerprint_key, key_run};

/// One batch, header and body, with all its records.
pub fn batch(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else { return false };
    let Ok(header) = BatchHeader::read(head) else { return false };
    if header.total_bytes() != bytes.len() as u64 || header.check_body(bytes).is_err() {
        return false;
    }
    let mut rest = &bytes[HEADER_BYTES..];
    while let Some((bytes, next)) = split_record(rest) {
        if record::decode(bytes).is_err() {
            return false;
        }
        rest = next;
    }
    header.last_seq() >= header.first_seq
}

/// A raw segment as the only one of a log: header, batches, what lies behind the last one.
pub fn segment(bytes: &[u8]) -> bool {
    let first = bytes.get(40..48).map_or(1, |field| u64::from_le_bytes(field.try_into().expect("eight bytes")));
    let disk = OneFile::new(format!("{first:020}.seg"), bytes);
    // One that is not the first of its log lacks those before it, which is no fault of its own.
    let is_its_own = |error: &recovery::OpenError| !error.to_string().contains("the log starts at seq");
    recovery::survey(&disk, Path::new("")).is_ok_and(|damage| !damage.iter().any(is_its_own))
}

/// A sealed segment: trailer, table, every block, every record.
pub fn sealed_segment(bytes: &[u8]) -> bool {
    let trailer = bytes.len().saturating_sub(104);
    let first = bytes.get(trailer + 40..trailer + 48);
    let first = first.map_or(1, |field| u64::from_le_bytes(field.try_into().expect("eight bytes")));
    let disk = OneFile::new(format!("{first:020}.segz"), bytes);
    // The look of a start, which also judges how it follows its neighbours: by itself it has none.
    let looked_at = recovery::survey(&disk, Path::new("")).is_ok();
    let Ok(sealed) = SealedSegment::open(&disk, PathBuf::from(&disk.name)) else { return false };
    let mut seq = sealed.first_seq();
    while let Ok(Some(block)) = sealed.block_with(seq) {
        if block.records().any(|(_, bytes)| record::decode(bytes).is_err()) {
            return false;
        }
        seq = block.last_seq().next();
    }
    looked_at && seq == sealed.last_seq().next()
}

/// An entry index of the segment that it says it is of: every block, and look-ups by each field.
pub fn entry_index(bytes: &[u8]) -> bool {
    let Some(head) = bytes.get(..40) else { return false };
    let segment = SegmentId {
        first_seq: Seq::new(u64::from_le_bytes(head[16..24].try_into().expect("eight bytes"))),
        count: u32::from_le_bytes(head[12..16].try_into().expect("four bytes")),
        digest: head[24..40].try_into().expect("16 bytes"),
    };
    let file = Arc::new(Bytes(bytes.to_vec()));
    let Ok(index) = SegmentIndex::open_file(file, "fuzz.idx".into(), &segment) else { return false };
    let text = |text: &str| Some(text.to_owned());
    let filter = EntryFilter {
        user_id: text("u1"),
        event_type: text("concierto.event_attended"),
        artist_id: text("a1"),
        or_attended_event_ids: vec!["e1".into()],
        source: text("api"),
        from: Some(Timestamp::from_micros(0)),
        ..EntryFilter::default()
    };
    let found = candidates(&index, &filter, 0, u32::MAX);
    let by_entity = EntryFilter { entity_type: text("artist"), entity_id: text("a1"), ..EntryFilter::default() };
    let found = found.and_then(|_| candidates(&index, &by_entity, 1, index.count()));
    index.at_range().is_some() && index.verify().is_ok() && found.is_ok()
}

/// `log.id`.
pub fn id_file(bytes: &[u8]) -> bool {
    super::open::read_id(&OneFile::new("log.id".into(), bytes), Path::new("")).is_ok_and(|id| id.is_some())
}

/// A directory with one file, whatever its path, that can be read and nothing else.
pub(super) struct OneFile {
    name: String,
    file: Arc<Bytes>,
}

struct Bytes(Vec<u8>);

impl OneFile {
    pub fn new(name: String, bytes: &[u8]) -> OneFile {
        OneFile { name, file: Arc::new(Bytes(bytes.to_vec())) }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for OneFile {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        match mode {
            OpenMode::Read if path.ends_with(&self.name) => Ok(self.file.clone()),
            OpenMode::Read => Err(io::ErrorKind::NotFound.into()),
            _ => refused(),
        }
    }
    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(vec![DirEntry { name: self.name.clone(), len_bytes: self.file.0.len() as u64 }])
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn list_dirs(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }
    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

impl DiskFile for Bytes {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        let bytes = from.and_then(|rest| rest.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        refused()
    }
    fn sync(&self) -> io::Result<()> {
        refused()
    }
    fn try_lock(&self) -> io::Result<bool> {
        refused()
    }
    fn unlock(&self) -> io::Result<()> {
        refused()
    }
}
