//! The file that is imported: opened, told apart, decompressed, and counted for the progress bar.

use std::fs::File;
use std::hash::Hasher;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use siphasher::sip128::{Hasher128, SipHasher24};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How much of each end of a file makes its identity, in bytes.
const IDENTITY_BYTES: u64 = 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Ndjson,
    Csv,
}

/// An opened file.
pub struct Source {
    /// Its content, decompressed.
    pub content: Box<dyn BufRead + Send>,
    pub format: Format,
    /// Bytes of the (compressed) file that were read so far.
    pub bytes_read: Arc<AtomicU64>,
    /// Bytes of the file; 0 where that is not known.
    pub bytes_total: u64,
    /// Tells this content from another, whatever the file's name; `None` for a stream.
    pub identity: Option<String>,
}

impl Source {
    /// Opens a file by its name, or stdin for `-`.
    pub fn open(name: &str, format: Option<Format>) -> anyhow::Result<Source> {
        if name == "-" {
            return Source::from_reader(Box::new(io::stdin()), name, format);
        }
        let mut file = File::open(name)?;
        let meta = file.metadata()?;
        anyhow::ensure!(!meta.is_dir(), "is a directory; name one of its files");
        let whole = meta.is_file();
        let identity = if whole { Some(identity(&mut file, meta.len())?) } else { None };
        let bytes_total = if whole { meta.len() } else { 0 };
        Ok(Source { bytes_total, identity, ..Source::from_reader(Box::new(file), name, format)? })
    }

    fn from_reader(input: Box<dyn Read + Send>, name: &str, format: Option<Format>) -> anyhow::Result<Source> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted { input, count: bytes_read.clone() };
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, counted);
        let magic = peek(&mut raw)?;
        let mut content: Box<dyn BufRead + Send> = if magic.starts_with(&GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, flate2::bufread::MultiGzDecoder::new(raw)))
        } else if magic.starts_with(&ZSTD_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::Decoder::with_buffer(raw)?))
        } else {
            Box::new(raw)
        };
        let format = match format {
            Some(format) => format,
            None => guess_format(name, &peek(&mut content)?)?,
        };
        Ok(Source { content, format, bytes_read, bytes_total: 0, identity: None })
    }
}

/// The first bytes, as many as one read gives, without taking them. Waits for four unless the input ends.
fn peek(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    Ok(reader.fill_buf()?.iter().take(64).copied().collect())
}

/// By the name without its compression, else by the first byte that is no space.
fn guess_format(name: &str, start: &[u8]) -> anyhow::Result<Format> {
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name).to_ascii_lowercase();
    if plain.ends_with(".csv") {
        return Ok(Format::Csv);
    }
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    match text.first() {
        Some(b'[') => {
            anyhow::bail!("is a JSON array; an import reads one event a line (`jq -c '.[]'` makes that of it)")
        }
        Some(b'{') | None => Ok(Format::Ndjson),
        Some(_) if plain.ends_with("json") || plain.ends_with("jsonl") => Ok(Format::Ndjson),
        Some(_) => Ok(Format::Csv),
    }
}

/// Length, first and last MiB, as 32 hex digits.
fn identity(file: &mut File, len_bytes: u64) -> io::Result<String> {
    let mut hasher = SipHasher24::new();
    hasher.write_u64(len_bytes);
    let mut part = Vec::new();
    for start in [0, len_bytes.saturating_sub(IDENTITY_BYTES)] {
        part.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(IDENTITY_BYTES).read_to_end(&mut part)?;
        hasher.write(&part);
    }
    file.rewind()?;
    let hash = hasher.finish128();
    Ok(format!("{:016x}{:016x}", hash.h1, hash.h2))
}

struct Counted {
    input: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.read(out)?;
        self.count.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    }

    fn open(name: &str, bytes: &[u8]) -> anyhow::Result<(Format, String, Source)> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let mut source = Source::open(path.to_str().expect("UTF-8"), None)?;
        let mut text = String::new();
        source.content.read_to_string(&mut text)?;
        Ok((source.format, text, source))
    }

    #[test]
    fn compression_is_told_by_the_content_whatever_the_name() {
        let zstd = zstd::encode_all("{}\n".as_bytes(), 1).expect("memory");
        for bytes in [b"{}\n".to_vec(), gzip("{}\n"), zstd] {
            let (format, text, source) = open("events", &bytes).expect("opened");
            assert_eq!((format, text.as_str()), (Format::Ndjson, "{}\n"));
            assert_eq!(
                (source.bytes_total, source.bytes_read.load(Ordering::Relaxed)),
                (bytes.len() as u64, bytes.len() as u64)
            );
        }
    }

    #[test]
    fn gzip_members_and_zstd_frames_may_follow_each_other() {
        let (_, text, _) = open("x.gz", &[gzip("{}\n"), gzip("{}\n")].concat()).expect("opened");
        assert_eq!(text, "{}\n{}\n");
        let frame = zstd::encode_all("{}\n".as_bytes(), 1).expect("memory");
        let (_, text, _) = open("x.zst", &[frame.clone(), frame].concat()).expect("opened");
        assert_eq!(text, "{}\n{}\n");
    }

    #[test]
    fn a_file_that_was_cut_is_an_error_not_an_end() {
        let whole = gzip(&"{\"a\":1}\n".repeat(1000));
        assert!(open("x.gz", &whole[..whole.len() - 9]).is_err());
        let whole = zstd::encode_all("{\"a\":1}\n".repeat(1000).as_bytes(), 1).expect("memory");
        assert!(open("x.zst", &whole[..whole.len() - 3]).is_err());
    }

    #[test]
    fn the_format_is_told_by_the_name_then_by_the_first_byte() {
        for (name, text, format) in [
            ("x.csv.gz", "type,at\n", Format::Csv),
            ("x.CSV", "{", Format::Csv),
            ("-", "type,at\n", Format::Csv),
            ("-", "  {\"a\":1}", Format::Ndjson),
            ("-", "", Format::Ndjson),
            ("x.ndjson", "garbage", Format::Ndjson),
        ] {
            assert_eq!(guess_format(name, text.as_bytes()).expect(name), format, "{name}");
        }
        assert!(guess_format("x.json", b"[{}]").expect_err("an array").to_string().contains("jq -c"));
    }

    #[test]
    fn a_file_is_known_again_by_its_content_not_its_name() {
        let identity = |name: &str, bytes: &[u8]| open(name, bytes).expect("opened").2.identity.expect("a file");
        assert_eq!(identity("a", b"{}\n"), identity("b", b"{}\n"));
        assert_ne!(identity("a", b"{}\n"), identity("a", b"{}\n\n"));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        assert!(Source::open("/nowhere/x.ndjson", None).is_err());
        let error = Source::open("/", None).err().expect("no file").to_string();
        assert!(error.contains("is a directory"), "{error}");
    }
}
