//! What a snapshot may be called: one plain directory name, which cannot leave the directory of snapshots.

use std::fmt;

use crate::limits::SNAPSHOT_NAME_BYTES_MAX;
use crate::units::Timestamp;

/// What the names of scheduled snapshots start with. Retention removes these and no others, so nobody else may use it.
pub const AUTO_PREFIX: &str = "auto-";

/// A name that was checked: letters, digits, `.`, `_` and `-`, with a letter or a digit in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotName(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a snapshot's name has 1 to {SNAPSHOT_NAME_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
    #[error("a snapshot's name is made of a-z, A-Z, 0-9, `.`, `_` and `-`, and starts with a letter or a digit")]
    Characters,
    #[error("names that start with `{AUTO_PREFIX}` are those of scheduled snapshots, which retention removes")]
    Reserved,
}

impl SnapshotName {
    /// Reads a name that somebody asks for.
    pub fn parse(text: &str) -> Result<SnapshotName, NameError> {
        let name = SnapshotName::of_directory(text)?;
        if name.is_auto() { Err(NameError::Reserved) } else { Ok(name) }
    }

    /// Reads the name of a directory that may be a snapshot, a scheduled one too.
    pub(super) fn of_directory(text: &str) -> Result<SnapshotName, NameError> {
        if !(1..=SNAPSHOT_NAME_BYTES_MAX).contains(&text.len()) {
            return Err(NameError::Length(text.len()));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !text.bytes().all(is_plain) || !text.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(NameError::Characters);
        }
        Ok(SnapshotName(text.to_owned()))
    }

    /// The name of a scheduled snapshot: `auto-20261126T110000Z`.
    pub fn auto(at: Timestamp) -> SnapshotName {
        let text = at.to_rfc3339();
        let second: String =
            text.chars().take_while(|c| !matches!(c, '.' | 'Z')).filter(|c| !"-:".contains(*c)).collect();
        SnapshotName(format!("{AUTO_PREFIX}{second}Z"))
    }

    pub fn is_auto(&self) -> bool {
        self.0.starts_with(AUTO_PREFIX)
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_part_of_a_path() {
        for good in ["a", "0", "before-update", "v1.2_3", "A..b", &"x".repeat(SNAPSHOT_NAME_BYTES_MAX)] {
            assert_eq!(SnapshotName::parse(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let long = "x".repeat(SNAPSHOT_NAME_BYTES_MAX + 1);
        let bad =
            ["", ".", "..", "../x", "x/y", "/", "/etc", "x\0", "\0", ".x", "-x", "_x", "a b", "ä", "x\n", "a\\b", "~"];
        for bad in bad.into_iter().chain([long.as_str()]) {
            assert!(SnapshotName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_the_scheduler_names_a_snapshot_as_the_scheduler_does() {
        let auto = SnapshotName::auto(Timestamp::from_micros(1_795_691_045_123_456));
        assert_eq!(auto.as_str(), "auto-20261126T110405Z");
        assert!(auto.is_auto());
        assert_eq!(SnapshotName::parse(auto.as_str()), Err(NameError::Reserved));
        assert_eq!(SnapshotName::of_directory(auto.as_str()), Ok(auto));
    }
}
