//! All projections together: their views, and each one's recomputation over the entries that its view holds.

use super::{Recomputed, mediaid, recompute, treasury};
use crate::coliseum::{self, Coliseum};
use crate::mediaid::MediaId;
use crate::passport::Entry;
use crate::projection::Projection as _;
use crate::treasury::Treasury;
use crate::units::Seq;

/// A view of each projection; they need not hold the same prefix of the log.
#[derive(Clone, Copy)]
pub struct Views<'v> {
    pub coliseum: &'v coliseum::View,
    pub treasury: &'v crate::treasury::View,
    pub mediaid: &'v crate::mediaid::View,
}

impl Views<'_> {
    /// The last entry that each of them holds.
    pub fn applied(&self) -> [(&'static str, Seq); 3] {
        [
            (Coliseum::NAME, self.coliseum.applied()),
            (Treasury::NAME, self.treasury.applied()),
            (MediaId::NAME, self.mediaid.applied()),
        ]
    }
}

/// What the entries give, for each of them.
pub(super) struct Recomputations<'v> {
    views: Views<'v>,
    coliseum: recompute::Recomputation,
    treasury: treasury::Recomputation,
    mediaid: mediaid::Recomputation,
}

impl<'v> Recomputations<'v> {
    pub fn new(views: Views<'v>) -> Recomputations<'v> {
        Recomputations {
            views,
            coliseum: recompute::Recomputation::new(views.coliseum.rules().clone(), views.coliseum.minute()),
            treasury: treasury::Recomputation::new(views.treasury.setup()),
            mediaid: mediaid::Recomputation::new(views.mediaid.setup()),
        }
    }

    /// Takes the next entry of the log.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        if entry.seq <= self.views.coliseum.applied() {
            self.coliseum.add(entry)?;
        }
        if entry.seq <= self.views.treasury.applied() {
            self.treasury.add(entry)?;
        }
        if entry.seq <= self.views.mediaid.applied() {
            self.mediaid.add(entry)?;
        }
        Ok(())
    }

    /// In words, where a view is not what the entries give.
    pub fn differences(self) -> Vec<String> {
        let mut found = self.coliseum.differences(self.views.coliseum);
        let told = |name: &'static str| move |what: String| format!("{name}: {what}");
        found.extend(self.treasury.differences(self.views.treasury).into_iter().map(told(Treasury::NAME)));
        found.extend(self.mediaid.differences(self.views.mediaid).into_iter().map(told(MediaId::NAME)));
        found
    }
}
