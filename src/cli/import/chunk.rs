//! Gathers the items of a file into requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::csv::CsvItems;
use super::item::{Item, Items, NdjsonItems, Reject, has_key};
use super::key::LineKeys;
use super::source::{Format, Source};
use crate::limits;

/// Items of one request.
const CHUNK_ITEMS_MAX: usize = 5_000;
/// Bytes after which a request takes no more items.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

const _: () = assert!(CHUNK_ITEMS_MAX <= limits::BATCH_EVENTS_DEFAULT);
const _: () = assert!(CHUNK_BYTES + 2 * super::item::LINE_BYTES_MAX <= limits::BATCH_BYTES_DEFAULT);

/// One request's items, and those between them that cannot be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// NDJSON.
    pub body: Vec<u8>,
    /// For each line of the body: the number of the file's line, and where it ends in the body.
    pub items: Vec<(u64, usize)>,
    pub rejects: Vec<Reject>,
    /// The last line that this chunk answers for.
    pub last_line: u64,
    /// Bytes of the file that were read when this chunk was full.
    pub source_bytes: u64,
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.rejects.is_empty()
    }
    fn is_full(&self) -> bool {
        self.items.len() >= CHUNK_ITEMS_MAX || self.body.len() >= CHUNK_BYTES || self.rejects.len() >= CHUNK_ITEMS_MAX
    }
}

/// A file's items, and how far it is read.
pub struct Reader {
    items: Box<dyn Items + Send>,
    bytes_read: Arc<AtomicU64>,
}

impl Reader {
    /// # Errors
    /// A CSV file whose header row is none of the catalogue's.
    pub fn new(source: Source) -> anyhow::Result<Reader> {
        let items: Box<dyn Items + Send> = match source.format {
            Format::Ndjson => Box::new(NdjsonItems::new(source.content)),
            Format::Csv => Box::new(CsvItems::new(source.content)?),
        };
        Ok(Reader { items, bytes_read: source.bytes_read })
    }
}

/// Reads the file to its end and gives it away in chunks, without the items up to and including `skip_to_line`.
/// Stops early, without an error, when `give` says that nobody takes them.
pub fn read_all(reader: Reader, skip_to_line: u64, give: &mut dyn FnMut(Chunk) -> bool) -> anyhow::Result<()> {
    let Reader { mut items, bytes_read } = reader;
    let mut keys = LineKeys::default();
    let (mut chunk, mut json) = (Chunk::default(), Vec::new());
    loop {
        let next = match items.next(&mut json) {
            Ok(next) => next,
            Err(error) => {
                // What was read before the damage is good.
                if !chunk.is_empty() {
                    give(chunk);
                }
                return Err(error.into());
            }
        };
        let Some(item) = next else { break };
        add(&mut chunk, item, &json, &mut keys, skip_to_line);
        if chunk.is_full() {
            chunk.source_bytes = bytes_read.load(Ordering::Relaxed);
            if !give(std::mem::take(&mut chunk)) {
                return Ok(());
            }
        }
    }
    chunk.source_bytes = bytes_read.load(Ordering::Relaxed);
    if !chunk.is_empty() {
        give(chunk);
    }
    Ok(())
}

/// Adds one item. One that is skipped still counts among its equals.
fn add(chunk: &mut Chunk, item: Item, json: &[u8], keys: &mut LineKeys, skip_to_line: u64) {
    let (line, reject) = match item {
        Item::Rejected(reject) => (reject.line, Some(reject)),
        Item::Json { line } => match has_key(json) {
            Err(detail) => (line, Some(Reject::here(line, 400, "not-json", detail))),
            Ok(own) => {
                let made = (!own).then(|| keys.next(json));
                if line > skip_to_line {
                    push(chunk, json, made.as_deref());
                    chunk.items.push((line, chunk.body.len()));
                }
                (line, None)
            }
        },
    };
    if line > skip_to_line {
        chunk.last_line = line;
        chunk.rejects.extend(reject);
    }
}

/// One line of the body: the item as it is, or with the key that was made for it.
fn push(chunk: &mut Chunk, json: &[u8], made: Option<&str>) {
    match made {
        None => chunk.body.extend_from_slice(json),
        Some(key) => {
            chunk.body.extend_from_slice(b"{\"importKey\":\"");
            chunk.body.extend_from_slice(key.as_bytes());
            chunk.body.extend_from_slice(b"\",\"event\":");
            chunk.body.extend_from_slice(json);
            chunk.body.push(b'}');
        }
    }
    chunk.body.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn source(text: String) -> Source {
        Source {
            content: Box::new(Cursor::new(text.into_bytes())),
            format: Format::Ndjson,
            bytes_read: Arc::default(),
            bytes_total: 0,
            identity: None,
        }
    }

    fn chunks(text: String, skip_to_line: u64) -> Vec<Chunk> {
        let mut all = Vec::new();
        read_all(Reader::new(source(text)).expect("NDJSON"), skip_to_line, &mut |chunk| {
            all.push(chunk);
            true
        })
        .expect("memory");
        all
    }

    #[test]
    fn items_without_a_key_are_wrapped_with_one() {
        let all = chunks("{\"messageId\":\"m\"}\n{\"type\":\"a.b\"}\nnonsense\n".into(), 0);
        let body = String::from_utf8(all[0].body.clone()).expect("UTF-8");
        let lines: Vec<&str> = body.lines().collect();
        assert_eq!(lines[0], "{\"messageId\":\"m\"}");
        assert!(
            lines[1].starts_with("{\"importKey\":\"import:")
                && lines[1].ends_with(":1\",\"event\":{\"type\":\"a.b\"}}")
        );
        assert_eq!((all.len(), lines.len(), all[0].last_line), (1, 2, 3));
        assert_eq!((all[0].rejects[0].line, all[0].rejects[0].slug.as_str()), (3, "not-json"));
        assert_eq!(all[0].items.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all[0].items[1].1, body.len());
    }

    #[test]
    fn an_import_that_goes_on_makes_the_same_keys_as_one_that_was_not_interrupted() {
        let text = "{\"a\":1}\n{\"a\":2}\n".repeat(4);
        let whole = String::from_utf8(chunks(text.clone(), 0).remove(0).body).expect("UTF-8");
        let rest = String::from_utf8(chunks(text, 5).remove(0).body).expect("UTF-8");
        assert_eq!(whole.lines().skip(5).collect::<Vec<_>>(), rest.lines().collect::<Vec<_>>());
    }

    #[test]
    fn a_long_file_is_cut_into_requests_and_no_line_is_lost() {
        let lines = CHUNK_ITEMS_MAX * 2 + 7;
        let all = chunks((0..lines).map(|n| format!("{{\"messageId\":\"{n}\"}}\n")).collect(), 0);
        assert_eq!(
            all.iter().map(|chunk| chunk.items.len()).collect::<Vec<_>>(),
            [CHUNK_ITEMS_MAX, CHUNK_ITEMS_MAX, 7]
        );
        assert_eq!(all.iter().map(|chunk| chunk.last_line).collect::<Vec<_>>(), [5000, 10000, 10007]);
        let big = format!("{{\"messageId\":\"x\",\"a\":\"{}\"}}\n", "x".repeat(300_000)).repeat(20);
        assert!(chunks(big, 0).iter().all(|chunk| chunk.body.len() < limits::BATCH_BYTES_DEFAULT));
    }

    #[test]
    fn a_file_that_ends_in_damage_gives_what_stands_before_it() {
        let whole = zstd::encode_all("{\"messageId\":\"1\"}\n".repeat(3).as_bytes(), 1).expect("memory");
        let cut = Cursor::new(whole[..whole.len() - 3].to_vec());
        let content = Box::new(std::io::BufReader::new(zstd::Decoder::with_buffer(cut).expect("zstd")));
        let mut lines = 0;
        let reader = Reader::new(Source { content, ..source(String::new()) }).expect("NDJSON");
        let read = read_all(reader, 0, &mut |chunk| {
            lines += chunk.items.len();
            true
        });
        assert!(read.is_err() && lines <= 3);
    }
}
