//! Idempotency keys for lines that carry none: they follow from the line and from which of its equals it is.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

/// `import:<32 hex digits of the line's hash>:<n>`, n-th such line of the file, from 1.
///
/// The hash has no secret key, since another process has to find the same one. Memory grows by about 16 bytes for each
/// different line without a key.
#[derive(Default)]
pub struct LineKeys {
    /// Times that a line was seen, by half of its hash. Two lines that share a half only skip a number, and do so again
    /// when the file is read again.
    seen: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
}

impl LineKeys {
    /// The key of the next line.
    pub fn next(&mut self, line: &[u8]) -> String {
        let mut hasher = SipHasher24::new();
        hasher.write(line);
        let hash = hasher.finish128();
        let times = self.seen.entry(hash.h1).or_insert(0);
        *times += 1;
        format!("import:{:016x}{:016x}:{times}", hash.h1, hash.h2)
    }
}

/// Takes a value that is a hash already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("the map's keys are u64");
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(lines: &[&str]) -> Vec<String> {
        let mut keys = LineKeys::default();
        lines.iter().map(|line| keys.next(line.as_bytes())).collect()
    }

    #[test]
    fn equal_lines_are_numbered_and_other_lines_do_not_count() {
        let all = keys(&["a", "b", "a", "a"]);
        let (hash, first) = all[0].rsplit_once(':').expect("a number");
        assert_eq!((first, all[2].as_str(), all[3].as_str()), ("1", &*format!("{hash}:2"), &*format!("{hash}:3")));
        assert!(all[1].ends_with(":1") && all[1] != all[0]);
    }

    #[test]
    fn the_same_file_gets_the_same_keys_for_ever() {
        assert_eq!(keys(&["{\"type\":\"a.b\"}"]), ["import:584d07527c6d765bed6451e8765f660c:1"]);
    }
}
