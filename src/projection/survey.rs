//! What the files of a stopped projection are worth, looked at without changing a byte of them.
//!
//! redb writes into a file by opening it, so it is given the file's bytes with a layer over them that keeps the writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::checkpoint::Checkpoint;
use super::contain::contain;
use super::store::{BUILDING_SUFFIX, FILE_SUFFIX};
use crate::disk::{Disk, RealDisk};
use crate::units::Seq;

/// Bytes of one page of the layer.
const PAGE_BYTES: u64 = 4096;
/// Memory that redb may use while it looks.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// The files under `projections/` that are of no use for a log that ends at `log_end`, and why: those that do not open, and
/// those that hold entries beyond it, which keep the daemon from starting.
pub fn survey(dir: &Path, log_end: Seq) -> Vec<(String, String)> {
    let mut bad = Vec::new();
    for name in RealDisk.list_dirs(dir).unwrap_or_default() {
        let inner = dir.join(&name);
        for entry in RealDisk.list(&inner).unwrap_or_default() {
            if !entry.name.strip_suffix(BUILDING_SUFFIX).unwrap_or(&entry.name).ends_with(FILE_SUFFIX) {
                continue;
            }
            let why = match look(&inner.join(&entry.name)) {
                Ok(applied) if applied <= log_end => continue,
                Ok(applied) => format!("it holds entries up to seq {applied}, and the log ends at seq {log_end}"),
                Err(why) => why,
            };
            bad.push((format!("{name}/{}", entry.name), why));
        }
    }
    bad
}

/// The last entry that a file holds.
fn look(path: &Path) -> Result<Seq, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let len_bytes = file.metadata().map_err(|error| error.to_string())?.len();
    if len_bytes == 0 {
        return Err("the file is empty".into());
    }
    let layer = Layer { file, state: Mutex::new(State { len_bytes, file_bytes: len_bytes, pages: BTreeMap::new() }) };
    contain(|| {
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(layer);
        let database = database.map_err(|error| error.to_string())?;
        Checkpoint::read(&database).map(|checkpoint| checkpoint.applied).map_err(|error| error.0)
    })?
}

/// A file that is read, under pages that were written.
#[derive(Debug)]
struct Layer {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len_bytes: u64,
    /// How much of the file counts: less after it was cut.
    file_bytes: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Layer {
    fn page(&self, state: &State, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = state.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE_BYTES as usize];
        let start = number * PAGE_BYTES;
        let there = state.file_bytes.saturating_sub(start).min(PAGE_BYTES) as usize;
        self.file.read_exact_at(&mut page[..there], start)?;
        Ok(page)
    }
}

impl StorageBackend for Layer {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state.lock().len_bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state.lock();
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let page = self.page(&state, at / PAGE_BYTES)?;
            let from = (at % PAGE_BYTES) as usize;
            let piece = (page.len() - from).min(out.len() - done);
            out[done..done + piece].copy_from_slice(&page[from..from + piece]);
            done += piece;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.state.lock();
        state.len_bytes = len;
        state.file_bytes = state.file_bytes.min(len);
        state.pages.retain(|number, _| number * PAGE_BYTES < len);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.state.lock();
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let number = at / PAGE_BYTES;
            let mut page = self.page(&state, number)?;
            let from = (at % PAGE_BYTES) as usize;
            let piece = (page.len() - from).min(data.len() - done);
            page[from..from + piece].copy_from_slice(&data[done..done + piece]);
            state.pages.insert(number, page);
            done += piece;
        }
        Ok(())
    }
}
