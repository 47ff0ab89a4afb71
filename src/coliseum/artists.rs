//! Who the artists are: dense numbers in the order in which the log first names them, and their profiles.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::board::Ids;

/// An artist's number, 0, 1, 2, … in the order of the log; the same after every rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtistNo(u32);

impl ArtistNo {
    pub(super) const fn new(number: u32) -> ArtistNo {
        ArtistNo(number)
    }
    pub const fn get(self) -> u32 {
        self.0
    }
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An artist as its profile events left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtistCard {
    pub id: Arc<str>,
    /// `None` until a profile event names the artist.
    pub name: Option<Arc<str>>,
    pub genres: Vec<Arc<str>>,
    pub home_city: Option<Arc<str>>,
}

/// All cards by number; a clone is one pointer.
pub type Cards = imbl::Vector<Arc<ArtistCard>>;

impl Ids for Cards {
    fn id(&self, number: u32) -> Cow<'_, str> {
        Cow::Borrowed(&self[number as usize].id)
    }
}

/// The id of each number, in a form that is quick to put in order.
#[derive(Default)]
pub(super) struct ArtistIds {
    ids: Vec<Arc<str>>,
    /// The first bytes of each id, zeros behind a shorter one: what differs here needs no look at the ids.
    heads: Vec<u128>,
}

impl ArtistIds {
    fn push(&mut self, id: Arc<str>) {
        let mut head = [0; 16];
        let length = id.len().min(head.len());
        head[..length].copy_from_slice(&id.as_bytes()[..length]);
        self.heads.push(u128::from_be_bytes(head));
        self.ids.push(id);
    }
}

impl Ids for ArtistIds {
    fn id(&self, number: u32) -> Cow<'_, str> {
        Cow::Borrowed(&self.ids[number as usize])
    }
    fn order(&self, one: u32, other: u32) -> Ordering {
        let heads = self.heads[one as usize].cmp(&self.heads[other as usize]);
        heads.then_with(|| if one == other { Ordering::Equal } else { self.id(one).cmp(&self.id(other)) })
    }
}

/// The writing side: numbers artists and keeps their cards, with persistent twins for the views.
#[derive(Default)]
pub(super) struct Artists {
    numbers: HashMap<Arc<str>, ArtistNo>,
    ids: ArtistIds,
    shared_numbers: imbl::HashMap<Arc<str>, ArtistNo>,
    cards: Cards,
}

impl Artists {
    pub fn len(&self) -> usize {
        self.ids.ids.len()
    }
    pub fn ids(&self) -> &ArtistIds {
        &self.ids
    }
    pub fn cards(&self) -> &Cards {
        &self.cards
    }
    pub fn shared_numbers(&self) -> &imbl::HashMap<Arc<str>, ArtistNo> {
        &self.shared_numbers
    }
    pub fn find(&self, id: &str) -> Option<ArtistNo> {
        self.numbers.get(id).copied()
    }
    /// Takes the next number for a card whose id is not known yet.
    pub fn push(&mut self, card: ArtistCard) -> ArtistNo {
        let number = ArtistNo(u32::try_from(self.len()).expect("the tables' keys end at 2^32 artists"));
        let known = self.numbers.insert(card.id.clone(), number);
        assert!(known.is_none(), "artist {} is numbered twice", card.id);
        self.ids.push(card.id.clone());
        self.shared_numbers.insert(card.id.clone(), number);
        self.cards.push_back(Arc::new(card));
        number
    }
    /// Lays a profile over a card: what is `None` keeps its value.
    pub fn profile(&mut self, artist: ArtistNo, name: &str, genres: Option<Vec<Arc<str>>>, home_city: Option<&str>) {
        let card = Arc::make_mut(&mut self.cards[artist.index()]);
        card.name = Some(name.into());
        if let Some(genres) = genres {
            card.genres = genres;
        }
        if let Some(home_city) = home_city {
            card.home_city = Some(home_city.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_are_in_the_order_of_their_bytes(texts in prop::collection::vec("[\\x00a-bé]{0,2}(the same start.)?[\\x00a-bé]{0,18}", 2..20)) {
            let mut ids = ArtistIds::default();
            texts.iter().for_each(|id| ids.push(id.as_str().into()));
            for (one, a) in texts.iter().enumerate() {
                for (other, b) in texts.iter().enumerate() {
                    prop_assert_eq!(ids.order(one as u32, other as u32), a.as_bytes().cmp(b.as_bytes()));
                }
            }
        }
    }
}
