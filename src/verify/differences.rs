//! What a view and a plain recomputation disagree on, in words.

use std::fmt::Debug;
use std::sync::Arc;

use super::compact::Numbered;
use crate::event::Facts;
use crate::passport::Entry;
use crate::projection::StoreError;

/// Differences of one kind that are told: the first says that the projection has to be rebuilt.
const DIFFERENCES_MAX: usize = 10;

/// A part of a projection once more, from the entries 1, 2, 3, ….
pub trait Recomputed: Sized {
    type View;

    /// Takes the next entry of the log, with the number of its user.
    fn add(&mut self, entry: &Entry<'_>, facts: &Facts<'_>, user: u32) -> Result<(), String>;
    /// Tells where the view is not what the entries give, as far as this part goes, and gives what takes the entries once
    /// more for the next. Stops when nobody wants to know any more.
    fn compare(
        self,
        view: &Self::View,
        users: &Arc<Numbered>,
        found: &mut Differences,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Self>;
}

#[derive(Debug, Default)]
pub struct Differences {
    told: Vec<String>,
    kind: String,
    /// Of this kind.
    found: usize,
}

impl Differences {
    /// What is told from here on is of another kind.
    pub fn begin(&mut self, kind: &str) {
        self.end();
        kind.clone_into(&mut self.kind);
    }

    fn end(&mut self) {
        if let Some(more) = self.found.checked_sub(DIFFERENCES_MAX).filter(|more| *more > 0) {
            let of = if self.kind.is_empty() { "" } else { ": " };
            self.told.push(format!("{}{of}and {more} more differences", self.kind));
        }
        self.found = 0;
    }

    pub fn into_told(mut self) -> Vec<String> {
        self.end();
        self.told
    }

    pub fn tell(&mut self, what: String) {
        if self.found < DIFFERENCES_MAX {
            self.told.push(what);
        }
        self.found += 1;
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
