//! What a view and a plain recomputation disagree on, in words.

use std::fmt::Debug;

use crate::passport::Entry;
use crate::projection::StoreError;

/// Differences that are told of one projection: the first says that it has to be rebuilt.
const DIFFERENCES_MAX: usize = 20;

/// A projection once more, from the entries 1, 2, 3, ….
pub trait Recomputed {
    type View;

    /// Takes the next entry of the log.
    fn add(&mut self, entry: &Entry<'_>) -> Result<(), String>;
    /// Tells where the view is not what the entries give.
    fn compare(&self, view: &Self::View, found: &mut Differences);

    /// In words, where the view is not what the entries give.
    fn differences(&self, view: &Self::View) -> Vec<String> {
        let mut found = Differences::default();
        self.compare(view, &mut found);
        found.told
    }
}

#[derive(Debug, Default)]
pub struct Differences {
    told: Vec<String>,
}

impl Differences {
    pub fn tell(&mut self, what: String) {
        if self.told.len() < DIFFERENCES_MAX {
            self.told.push(what);
        }
    }

    pub fn compare<T: PartialEq + Debug>(&mut self, what: &str, found: &T, expected: &T) {
        if found != expected {
            self.tell(format!("{what}: the view has {found:?}, the log gives {expected:?}"));
        }
    }

    /// The same of what had to be read.
    pub fn compare_read<T: PartialEq + Debug>(&mut self, what: &str, found: Result<T, StoreError>, expected: &T) {
        match found {
            Ok(found) => self.compare(what, &found, expected),
            Err(error) => self.tell(format!("{what}: {error}")),
        }
    }
}
