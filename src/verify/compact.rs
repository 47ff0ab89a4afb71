//! What the recomputations have most of, in few bytes.

use std::collections::HashMap;
use std::sync::Arc;

/// Names by their order in the log.
#[derive(Debug, Default)]
pub struct Numbered {
    pub numbers: HashMap<Arc<str>, u32>,
    pub names: Vec<Arc<str>>,
}

impl Numbered {
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let (number, name) = (self.names.len() as u32, Arc::<str>::from(name));
        self.numbers.insert(name.clone(), number);
        self.names.push(name);
        number
    }
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}

/// A vector that is sorted whenever it has doubled: 8 bytes for each member, not 40 as in a tree.
#[derive(Debug, Default)]
pub struct Set<T> {
    members: Vec<T>,
    /// How many there were when it was last sorted.
    sorted: usize,
}

impl<T: Copy + Ord> Set<T> {
    const SORTED_FROM: usize = 64;

    pub fn insert(&mut self, member: T) {
        if self.members.last() == Some(&member) {
            return;
        }
        self.members.push(member);
        if self.members.len() >= Self::SORTED_FROM.max(2 * self.sorted) {
            self.sort();
        }
    }
    /// In order.
    pub fn members(&mut self) -> &[T] {
        self.sort();
        &self.members
    }
    fn sort(&mut self) {
        self.members.sort_unstable();
        self.members.dedup();
        self.sorted = self.members.len();
    }
}

/// The value of a place, after as many empty ones as it needs.
pub fn at<T: Default>(values: &mut Vec<T>, place: usize) -> &mut T {
    if values.len() <= place {
        values.resize_with(place + 1, T::default);
    }
    &mut values[place]
}
