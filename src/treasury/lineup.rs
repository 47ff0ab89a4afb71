//! Who is on an event's line-up, and when whoever is not was last taken off: what late credit needs to know.

use crate::projection::kept::Value;
use crate::units::Seq;

/// One event's line-up. The order of joining does not matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lineup {
    /// Every artist that ever was on it.
    artists: Vec<(u32, Place)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    On,
    /// Taken off by this entry.
    Off(Seq),
}

/// An artist that a line-up put on, and the entry that took it off before, `Seq::ZERO` if none did: attendances after
/// that one are credited late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub artist: u32,
    pub since: Seq,
}

impl Lineup {
    /// Whether an artist is on it now.
    pub fn holds(&self, artist: u32) -> bool {
        self.current().any(|on| on == artist)
    }
    pub fn current(&self) -> impl Iterator<Item = u32> {
        self.artists.iter().filter(|(_, place)| *place == Place::On).map(|(artist, _)| *artist)
    }

    /// Sets the full line-up: who is not listed is taken off, who is new joins.
    pub fn reschedule(&mut self, seq: Seq, listed: &[u32]) -> Vec<Joined> {
        for (artist, place) in &mut self.artists {
            if *place == Place::On && !listed.contains(artist) {
                *place = Place::Off(seq);
            }
        }
        let mut joined = Vec::new();
        for &artist in listed {
            match self.artists.iter_mut().find(|(known, _)| *known == artist) {
                Some((_, Place::On)) => {}
                Some((_, place)) => {
                    if let Place::Off(since) = std::mem::replace(place, Place::On) {
                        joined.push(Joined { artist, since });
                    }
                }
                None => {
                    self.artists.push((artist, Place::On));
                    joined.push(Joined { artist, since: Seq::ZERO });
                }
            }
        }
        joined
    }
}

/// For each artist its number and the entry that took it off, 0 while it is on, little-endian.
impl Value for Lineup {
    fn write(&self, out: &mut Vec<u8>) {
        for (artist, place) in &self.artists {
            let off = match place {
                Place::On => Seq::ZERO,
                Place::Off(seq) => *seq,
            };
            out.extend_from_slice(&artist.to_le_bytes());
            out.extend_from_slice(&off.get().to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Lineup> {
        let (records, rest) = bytes.as_chunks::<12>();
        let artists = records.iter().map(|record| {
            let (artist, off) = record.split_first_chunk::<4>().expect("a record has 12 bytes");
            let off = u64::from_le_bytes(off.try_into().expect("a record has 12 bytes"));
            let place = if off == 0 { Place::On } else { Place::Off(Seq::new(off)) };
            (u32::from_le_bytes(*artist), place)
        });
        rest.is_empty().then(|| Lineup { artists: artists.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lineup: &mut Lineup, seq: u64, listed: &[u32]) -> Vec<(u32, u64)> {
        let joined = lineup.reschedule(Seq::new(seq), listed);
        joined.into_iter().map(|joined| (joined.artist, joined.since.get())).collect()
    }

    #[test]
    fn who_joins_again_is_credited_since_it_was_last_taken_off() {
        let mut lineup = Lineup::default();
        assert_eq!(set(&mut lineup, 10, &[7, 3, 7]), [(7, 0), (3, 0)]);
        assert_eq!(set(&mut lineup, 20, &[3]), []);
        assert_eq!(set(&mut lineup, 30, &[3]), [], "who was off stays off since then");
        assert_eq!(set(&mut lineup, 40, &[7, 5]), [(7, 20), (5, 0)]);
        assert_eq!(lineup.current().collect::<Vec<_>>(), [7, 5]);
        assert_eq!([7, 3, 5, 9].map(|artist| lineup.holds(artist)), [true, false, true, false]);
        let mut bytes = Vec::new();
        lineup.write(&mut bytes);
        assert_eq!(Lineup::read(&bytes).as_ref(), Some(&lineup));
        assert_eq!(Lineup::read(&bytes[..13]), None);
        assert_eq!(set(&mut lineup, 50, &[3]), [(3, 40)]);
    }
}
