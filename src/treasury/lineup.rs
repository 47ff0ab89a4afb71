//! Who is on an event's line-up.
//!
//! When an artist was last taken off does not matter here. Late credit is of the attendances since then, but who attended
//! before became a fan at the time: whoever has ever attended when an artist joins is a fan of it from then on.

use crate::projection::kept::Value;

/// One event's line-up. The order of joining does not matter here either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lineup {
    artists: Vec<u32>,
}

impl Lineup {
    pub fn holds(&self, artist: u32) -> bool {
        self.artists.contains(&artist)
    }
    pub fn artists(&self) -> impl Iterator<Item = u32> {
        self.artists.iter().copied()
    }

    /// Sets the full line-up, each artist listed once. Returns those who join it.
    pub fn reschedule(&mut self, listed: &[u32]) -> Vec<u32> {
        let joined = listed.iter().copied().filter(|artist| !self.holds(*artist)).collect();
        self.artists = listed.to_vec();
        joined
    }
}

/// The artists' numbers, little-endian.
impl Value for Lineup {
    fn write(&self, out: &mut Vec<u8>) {
        self.artists.iter().for_each(|artist| out.extend_from_slice(&artist.to_le_bytes()));
    }

    fn read(bytes: &[u8]) -> Option<Lineup> {
        let (artists, rest) = bytes.as_chunks::<4>();
        let artists = artists.iter().map(|artist| u32::from_le_bytes(*artist)).collect();
        rest.is_empty().then_some(Lineup { artists })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_listed_and_was_not_on_joins() {
        let mut lineup = Lineup::default();
        assert_eq!(lineup.reschedule(&[7, 3]), [7, 3]);
        assert!(lineup.reschedule(&[3]).is_empty());
        assert_eq!(lineup.reschedule(&[5, 3, 7]), [5, 7]);
        assert_eq!([7, 3, 5, 9].map(|artist| lineup.holds(artist)), [true, true, true, false]);
        let mut bytes = Vec::new();
        lineup.write(&mut bytes);
        assert_eq!(Lineup::read(&bytes).as_ref(), Some(&lineup));
        assert_eq!(Lineup::read(&bytes[..7]), None);
    }
}
