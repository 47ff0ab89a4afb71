//! All projections together: their views, and each one's recomputation over the entries that its view holds.

use std::sync::Arc;

use super::compact::Numbered;
use super::parts::Part;
use super::{Differences, Recomputed, mediaid, recompute, treasury};
use crate::coliseum::{self, Coliseum};
use crate::event::Facts;
use crate::mediaid::MediaId;
use crate::passport::{Entry, Envelope};
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

/// What the entries give, for each of them: all are at one part.
pub(super) struct Recomputations<'v> {
    views: Views<'v>,
    part: Part,
    /// Of all parts.
    users: Arc<Numbered>,
    coliseum: recompute::Recomputation,
    treasury: treasury::Recomputation,
    mediaid: mediaid::Recomputation,
    found: [Differences; 3],
}

impl<'v> Recomputations<'v> {
    pub fn new(views: Views<'v>, part: Part) -> Recomputations<'v> {
        Recomputations {
            views,
            part,
            users: Arc::default(),
            coliseum: recompute::Recomputation::new(views.coliseum.rules().clone(), views.coliseum.minute(), part),
            treasury: treasury::Recomputation::new(views.treasury.setup(), part),
            mediaid: mediaid::Recomputation::new(views.mediaid.setup(), part),
            found: Default::default(),
        }
    }

    pub fn part(&self) -> Part {
        self.part
    }

    /// Takes the next entry of the log.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let Envelope { event_type, payload, user_id, .. } = entry.envelope;
        let user = Arc::get_mut(&mut self.users).expect("only a comparison shares it").number(user_id);
        let facts = Facts::of_stored(event_type, payload).map_err(|problem| problem.to_string())?;
        if entry.seq <= self.views.coliseum.applied() {
            self.coliseum.add(entry, &facts, user)?;
        }
        if entry.seq <= self.views.treasury.applied() {
            self.treasury.add(entry, &facts, user)?;
        }
        if entry.seq <= self.views.mediaid.applied() {
            self.mediaid.add(entry, &facts, user)?;
        }
        Ok(())
    }

    /// Looks where a view is not what the entries give, as far as the part goes. Gives what takes the entries once more for
    /// the next, or else all that was found, in words.
    pub fn compare(self, goes_on: &mut dyn FnMut() -> bool) -> Result<Recomputations<'v>, Vec<String>> {
        let Recomputations { views, part, users, mut found, .. } = self;
        let coliseum = self.coliseum.compare(views.coliseum, &users, &mut found[0], goes_on);
        let treasury = self.treasury.compare(views.treasury, &users, &mut found[1], goes_on);
        let mediaid = self.mediaid.compare(views.mediaid, &users, &mut found[2], goes_on);
        match (part.next(), coliseum, treasury, mediaid) {
            (Some(part), Some(coliseum), Some(treasury), Some(mediaid)) => {
                Ok(Recomputations { views, part, users, coliseum, treasury, mediaid, found })
            }
            _ => Err(told(found)),
        }
    }
}

fn told([coliseum, treasury, mediaid]: [Differences; 3]) -> Vec<String> {
    let of = |name: &'static str, found: Differences| {
        found.into_told().into_iter().map(move |what| format!("{name}: {what}"))
    };
    let mut told = coliseum.into_told();
    told.extend(of(Treasury::NAME, treasury));
    told.extend(of(MediaId::NAME, mediaid));
    told
}
