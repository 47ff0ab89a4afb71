//! What the log has to hold, kept as plainly as can be: a list, and a map from key to place.

use std::collections::{HashMap, HashSet};

use coliseum::passport::Outcome;
use coliseum::units::Seq;

/// One event as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub key: String,
    pub payload: String,
}

#[derive(Default)]
pub struct Truth {
    /// Entry n + 1 at place n: acknowledged, or found by a recovery and shown since.
    pub log: Vec<Sent>,
    places: HashMap<String, usize>,
    /// Sent and not answered, or answered by an error that leaves it open: it may be there after a recovery, or not.
    maybe: HashSet<Sent>,
}

impl Truth {
    pub fn send(&mut self, group: &[Sent]) {
        self.maybe.extend(group.iter().cloned());
    }

    /// Holds an answer to what it has to be, digit for digit, and takes over what it acknowledges.
    pub fn answer(&mut self, group: &[Sent], atomic: bool, outcomes: &[Outcome]) -> Result<(), String> {
        let mut added: Vec<&Sent> = Vec::new();
        let mut wanted = Vec::new();
        for sent in group {
            let held = self.places.get(&sent.key).map(|place| (*place, &self.log[*place])).or_else(|| {
                let place = added.iter().position(|other| other.key == sent.key)?;
                Some((self.log.len() + place, added[place]))
            });
            wanted.push(match held {
                Some((place, held)) if held.payload == sent.payload => Outcome::Duplicate(Seq::new(place as u64 + 1)),
                Some((place, _)) => Outcome::Conflict(Seq::new(place as u64 + 1)),
                None => {
                    added.push(sent);
                    Outcome::Stored(Seq::new((self.log.len() + added.len()) as u64))
                }
            });
        }
        if atomic && wanted.iter().any(|outcome| matches!(outcome, Outcome::Conflict(_))) {
            added.clear();
            for outcome in &mut wanted {
                if let Outcome::Stored(_) = outcome {
                    *outcome = Outcome::Withheld;
                }
            }
        }
        if outcomes != wanted {
            return Err(format!("answered {outcomes:?}, not {wanted:?}"));
        }
        let added: Vec<Sent> = added.into_iter().cloned().collect();
        added.into_iter().for_each(|sent| self.push(sent));
        Ok(())
    }

    fn push(&mut self, sent: Sent) {
        self.places.insert(sent.key.clone(), self.log.len());
        self.log.push(sent);
    }

    /// Holds what a recovery found to what was acknowledged: all of it there under its number, nothing twice, nothing that
    /// was never sent. What it found beyond that counts from now on: readers may have seen it.
    pub fn recovered(&mut self, found: &[Sent]) -> Result<(), String> {
        if found.len() < self.log.len() {
            let lost = &self.log[found.len()];
            return Err(format!("lost: seq {} on, {} of {}", found.len() + 1, lost.key, self.log.len()));
        }
        for (place, (found, wanted)) in found.iter().zip(&self.log).enumerate() {
            if found != wanted {
                return Err(format!("changed: seq {} is {found:?}, not {wanted:?}", place + 1));
            }
        }
        for sent in &found[self.log.len()..] {
            if self.places.contains_key(&sent.key) {
                return Err(format!("doubled: {}", sent.key));
            }
            if !self.maybe.contains(sent) {
                return Err(format!("invented: {sent:?}"));
            }
            self.push(sent.clone());
        }
        Ok(())
    }

    /// Holds what a reader is given to the truth; `found` starts at seq `first`.
    pub fn read(&self, first: u64, found: &[Sent]) -> Result<(), String> {
        for (place, sent) in found.iter().enumerate() {
            let seq = first + place as u64;
            match self.log.get(seq as usize - 1) {
                Some(wanted) if wanted == sent => {}
                wanted => return Err(format!("read: seq {seq} is {sent:?}, not {wanted:?}")),
            }
        }
        Ok(())
    }
}
