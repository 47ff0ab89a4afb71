//! `manifest.json`: what a snapshot holds, with a digest of each file and one of itself.
//!
//! ```text
//! {"format":1, "name", "createdAt", "logId" (hex), "lastSeq", "entries",
//!  "files":[{"path", "bytes", "sha256"}], "checksum"}
//! ```
//! It is written in one form only (two spaces a level, keys in this order, a line's end at its end), and `checksum` is the
//! SHA-256 of that form with an empty `checksum`. A text that is not, to the byte, what its own fields write is damaged: so
//! every flipped bit is found, in white space too. A path is one of those that [`super::take`] writes and no other, so that
//! a manifest from elsewhere cannot name a file outside of its snapshot.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::copy::Digest;
use super::{LOG_DIR, MANIFEST_NAME, SnapshotError, SnapshotName};
use crate::disk::{Disk, OpenMode};
use crate::event::parse_rfc3339;
use crate::limits::SNAPSHOT_MANIFEST_BYTES_MAX;
use crate::passport::open::ID_NAME;
use crate::passport::segment::seq_in_name;
use crate::units::{Seq, Timestamp};

const FORMAT: u32 = 1;

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    /// From the snapshot's directory: `passport/00000000000000000001.segz`.
    pub path: String,
    pub bytes: u64,
    /// In lower-case hex.
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    pub name: String,
    created_at: String,
    log_id: String,
    last_seq: u64,
    entries: u64,
    /// `log.id`, then the segments in order.
    pub files: Vec<FileRow>,
    checksum: String,
}

impl Manifest {
    pub(in crate::passport) fn new(
        name: &SnapshotName,
        created_at: Timestamp,
        log_id: [u8; 16],
        last_seq: Seq,
        files: Vec<FileRow>,
    ) -> Manifest {
        let mut manifest = Manifest {
            format: FORMAT,
            name: name.to_string(),
            created_at: created_at.to_rfc3339(),
            log_id: hex(&log_id),
            last_seq: last_seq.get(),
            entries: last_seq.get(),
            files,
            checksum: String::new(),
        };
        manifest.checksum = Digest::of(manifest.render().as_bytes()).to_hex();
        manifest
    }

    /// When it was asked for.
    pub fn created_at(&self) -> Timestamp {
        parse_rfc3339(&self.created_at).expect("it was checked when it was read")
    }
    pub fn last_seq(&self) -> Seq {
        Seq::new(self.last_seq)
    }
    pub(super) fn log_id_hex(&self) -> &str {
        &self.log_id
    }
    /// Bytes of all files that it names.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The text of the file.
    pub(in crate::passport) fn render(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain fields are written as JSON");
        text.push('\n');
        text
    }

    /// `SHA256SUMS`: the digests of all files and of the manifest.
    pub(in crate::passport) fn sums(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&format!("{}  {}\n", file.sha256, file.path));
        }
        text.push_str(&format!("{}  {MANIFEST_NAME}\n", Digest::of(self.render().as_bytes()).to_hex()));
        text
    }

    /// Reads the manifest of a snapshot. The inner error says what is wrong with it.
    pub(super) fn read(disk: &dyn Disk, snapshot: &Path) -> Result<Result<Manifest, String>, SnapshotError> {
        let path = snapshot.join(MANIFEST_NAME);
        let text = read_text(disk, &path).map_err(|error| SnapshotError::io(&path, error))?;
        Ok(text.and_then(|text| Manifest::parse(&text)))
    }

    pub(super) fn parse(text: &str) -> Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let read = |error: serde_json::Error| format!("it is no manifest: {error}");
        let Format { format } = serde_json::from_str(text).map_err(read)?;
        if format != FORMAT {
            return Err(format!("it is of format {format}, this build reads {FORMAT}"));
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(read)?;
        let bare = Manifest { checksum: String::new(), ..manifest.clone() };
        if manifest.render() != text || Digest::of(bare.render().as_bytes()).to_hex() != manifest.checksum {
            return Err("its checksum does not match".into());
        }
        manifest.check_fields()?;
        Ok(manifest)
    }

    /// What a checksum that is right does not say: somebody may have written all of it anew.
    fn check_fields(&self) -> Result<(), String> {
        if parse_rfc3339(&self.created_at).is_none() {
            return Err(format!("createdAt is no time: {:?}", self.created_at));
        }
        if self.entries != self.last_seq {
            return Err(format!("it has {} entries and ends at seq {}", self.entries, self.last_seq));
        }
        let name_of =
            |file: &FileRow| file.path.strip_prefix(LOG_DIR).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned);
        let is_ours = |name: &String| name == ID_NAME || segment_seq(name).is_some();
        for pair in self.files.windows(2) {
            if pair[0].path >= pair[1].path && pair[0].path != format!("{LOG_DIR}/{ID_NAME}") {
                return Err(format!("{:?} does not stand in order", pair[1].path));
            }
        }
        match self.files.iter().find(|file| !name_of(file).as_ref().is_some_and(is_ours)) {
            Some(file) => Err(format!("{:?} is no file of a snapshot", file.path)),
            None => Ok(()),
        }
    }
}

/// The first seq of a segment's file, sealed or raw.
pub(super) fn segment_seq(name: &str) -> Option<Seq> {
    seq_in_name(name, "segz").or_else(|| seq_in_name(name, "seg"))
}

/// A whole small file; the inner error says that it is none.
pub(super) fn read_text(disk: &dyn Disk, path: &Path) -> std::io::Result<Result<String, String>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len_bytes = file.len_bytes()?;
    if len_bytes > SNAPSHOT_MANIFEST_BYTES_MAX {
        return Ok(Err(format!("it is {len_bytes} bytes long, more than {SNAPSHOT_MANIFEST_BYTES_MAX}")));
    }
    let mut bytes = vec![0; len_bytes as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {error}")))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let row = |path: &&str| FileRow { path: (*path).to_owned(), bytes: 3, sha256: Digest::of(b"abc").to_hex() };
        let name = SnapshotName::parse("one").expect("a name");
        Manifest::new(&name, Timestamp::from_micros(5), [7; 16], Seq::new(9), paths.iter().map(row).collect())
    }

    const PATHS: [&str; 3] =
        ["passport/log.id", "passport/00000000000000000001.segz", "passport/00000000000000000005.seg"];

    #[test]
    fn a_manifest_comes_back_and_every_flipped_bit_shows() {
        let good = manifest(&PATHS);
        let text = good.render();
        assert_eq!(Manifest::parse(&text), Ok(good));
        for bit in 0..text.len() * 8 {
            let mut bad = text.clone().into_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            let read = String::from_utf8(bad).map_err(|error| error.to_string()).and_then(|bad| Manifest::parse(&bad));
            assert!(read.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_manifest_names_no_file_outside_of_its_snapshot() {
        for path in ["passport/../../x", "/etc/passwd", "passport/keys/1.keys", "log.id", "passport/", "passport/1.seg"]
        {
            let refused = Manifest::parse(&manifest(&[path]).render()).expect_err(path);
            assert!(refused.contains("no file of a snapshot"), "{refused}");
        }
        let twice = Manifest::parse(&manifest(&[PATHS[0], PATHS[1], PATHS[1]]).render()).expect_err("twice");
        assert!(twice.contains("in order"), "{twice}");
    }

    #[test]
    fn the_golden_bytes_of_format_1() {
        let text = manifest(&PATHS[..1]).render();
        let golden = concat!(
            "{\n  \"format\": 1,\n  \"name\": \"one\",\n  \"createdAt\": \"1970-01-01T00:00:00.000005Z\",\n",
            "  \"logId\": \"07070707070707070707070707070707\",\n  \"lastSeq\": 9,\n  \"entries\": 9,\n  \"files\": [\n",
            "    {\n      \"path\": \"passport/log.id\",\n      \"bytes\": 3,\n",
            "      \"sha256\": \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n    }\n  ],\n",
        );
        assert!(text.starts_with(golden), "{text}");
    }
}
