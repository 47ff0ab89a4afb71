//! The mediaid projection: the profile of every fan, folded from the log.
//!
//! A fan is whoever stands in an entry as its user. What the fan did is kept as [`rows`] that start with the user's
//! number, so that [`View::fan`] reads that user's rows and no others, and sums them up then.
//!
//! Owns the tables `fans` (sorted runs of rows), `users`, `artists`, `genres`, `cities`, `spellings` (their numbers)
//! and `profiles`, in the redb file that the runner gives it. Memory holds the names and profiles, and what came
//! since the last flush. A city's number is that of its folded name; its spelling, the first in the log, has the same.

mod rows;
#[cfg(test)]
mod tests;
mod view;

pub use view::{Artist, City, Fan, Genre, TOP, Total, View};

use std::sync::Arc;

use redb::{ReadableDatabase as _, TableDefinition};

use crate::event::{Facts, fold_city};
use crate::passport::{Entry, Parsed};
use crate::projection::kept::{self, Kept};
use crate::projection::names::{self, Ahead, Names};
use crate::projection::rows::{Definition, Rows};
use crate::projection::{self, ApplyError, Projection, StoreError};
use crate::units::{Seq, Timestamp};

use rows::{CITY, DAY, METRIC, PLAYED, SEEN, damaged, day_of, metric_of};

/// Names the layout of tables and values; another one means a rebuild.
const LAYOUT_VERSION: u8 = 3;

const FANS: Definition = TableDefinition::new("fans");
const USERS: names::Definition = TableDefinition::new("users");
const ARTISTS: names::Definition = TableDefinition::new("artists");
const GENRES: names::Definition = TableDefinition::new("genres");
const CITIES: names::Definition = TableDefinition::new("cities");
const SPELLINGS: names::Definition = TableDefinition::new("spellings");
const PROFILES: kept::Definition = TableDefinition::new("profiles");

/// What the fold is made under: no more of the scoring rules than it needs, so that a change of any other keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// A shorter play is none for a fan's artists and genres.
    pub min_play_seconds: u32,
}

/// What is told of an artist beside its id.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Profile {
    name: String,
    genres: Vec<String>,
}

/// The name, then each genre, each behind its length in bytes, u32 little-endian.
impl kept::Value for Profile {
    fn write(&self, out: &mut Vec<u8>) {
        for text in std::iter::once(&self.name).chain(&self.genres) {
            let bytes = u32::try_from(text.len()).expect("an event is shorter than 4 GiB");
            out.extend_from_slice(&bytes.to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn read(mut rest: &[u8]) -> Option<Profile> {
        let mut texts = Vec::new();
        while let Some((bytes, behind)) = rest.split_first_chunk::<4>() {
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*bytes) as usize)?;
            texts.push(String::from_utf8(text.to_vec()).ok()?);
            rest = behind;
        }
        let is_whole = rest.is_empty() && !texts.is_empty();
        is_whole.then(|| Profile { name: texts.remove(0), genres: texts })
    }
}

/// Who is who, shared with views.
struct Numbers {
    users: Arc<Names>,
    artists: Arc<Names>,
    genres: Arc<Names>,
    /// Folded.
    cities: Arc<Names>,
    spellings: Arc<Names>,
}

/// What came since the last flush.
pub struct Changes {
    names: [names::Changes; 5],
    profiles: kept::Changes,
    fans: projection::rows::Changes<4>,
}

impl projection::Changes for Changes {
    fn write(&mut self, transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
        self.names.iter().try_for_each(|names| names.write(transaction))?;
        self.profiles.write(transaction)?;
        self.fans.write(transaction)
    }
}

/// The fold.
pub struct MediaId {
    database: Arc<redb::Database>,
    setup: Setup,
    numbers: Arc<Numbers>,
    ahead: Ahead,
    profiles: Kept<Profile>,
    fans: Rows<4>,
}

impl Projection for MediaId {
    type View = View;
    type Setup = Setup;
    type Changes = Changes;
    const NAME: &'static str = "mediaid";

    fn version(setup: &Setup) -> String {
        format!("{LAYOUT_VERSION}-{}", setup.min_play_seconds)
    }
    fn encode_setup(setup: &Setup) -> Vec<u8> {
        setup.min_play_seconds.to_le_bytes().to_vec()
    }
    fn decode_setup(bytes: &[u8]) -> Result<Setup, StoreError> {
        let seconds = bytes.try_into().map_err(|_| damaged("the stored setup is none"))?;
        Ok(Setup { min_play_seconds: u32::from_le_bytes(seconds) })
    }

    fn open(database: Arc<redb::Database>, setup: &Setup, _: Timestamp) -> Result<MediaId, StoreError> {
        let numbers = Numbers {
            users: Arc::new(Names::open(&database, USERS)?),
            artists: Arc::new(Names::open(&database, ARTISTS)?),
            genres: Arc::new(Names::open(&database, GENRES)?),
            cities: Arc::new(Names::open(&database, CITIES)?),
            spellings: Arc::new(Names::open(&database, SPELLINGS)?),
        };
        if numbers.cities.len() != numbers.spellings.len() {
            return Err(damaged("a city has no spelling"));
        }
        Ok(MediaId {
            setup: *setup,
            numbers: Arc::new(numbers),
            ahead: Ahead::default(),
            profiles: Kept::open(&database, PROFILES)?,
            fans: Rows::open(&database, FANS, rows::merge)?,
            database,
        })
    }

    fn look_ahead(&mut self, entries: &[Parsed<'_>]) {
        self.ahead.look(&self.numbers.users, entries);
    }

    fn apply(&mut self, parsed: &Parsed<'_>) -> Result<(), ApplyError> {
        let entry = &parsed.entry;
        let facts = parsed.facts.as_ref().map_err(|problem| ApplyError(format!("seq {}: {problem}", entry.seq)))?;
        self.fold(entry, facts);
        Ok(())
    }

    /// All is of all time: nothing changes as minutes pass.
    fn tick(&mut self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    fn changes(&mut self) -> Changes {
        let Numbers { users, artists, genres, cities, spellings } = &*self.numbers;
        Changes {
            names: [users, artists, genres, cities, spellings].map(Names::changes),
            profiles: self.profiles.changes(),
            fans: self.fans.changes(),
        }
    }

    fn written(&mut self, changes: Changes) {
        self.fans.written(changes.fans);
    }

    fn view(&mut self, applied: Seq) -> Arc<View> {
        let stored = self.database.begin_read().map(Arc::new).map_err(StoreError::of);
        let fans = stored.and_then(|stored| self.fans.snapshot(&stored));
        Arc::new(View {
            applied,
            setup: self.setup,
            known_users: self.numbers.users.len(),
            numbers: self.numbers.clone(),
            profiles: self.profiles.shared().clone(),
            fans: fans.map_err(|StoreError(problem)| problem),
        })
    }
}

impl MediaId {
    fn fold(&mut self, entry: &Entry<'_>, facts: &Facts<'_>) {
        let numbers = &self.numbers;
        let user = self.ahead.user(&numbers.users, entry);
        let at = entry.at();
        self.fans.add([user, SEEN, 0, 0], 0, i128::from(at.micros()));
        self.fans.add([user, DAY, day_of(at), 0], 1, 0);
        if let Some(measure) = facts.measure() {
            let [metric, currency] = metric_of(&measure);
            self.fans.add([user, METRIC, metric, currency], 1, measure.sum);
        }
        if let Facts::Played { artist_id, genre, .. } = facts
            && facts.is_scored_play(self.setup.min_play_seconds)
        {
            let genre = genre.as_deref().map_or(0, |genre| numbers.genres.number(genre) + 1);
            self.fans.add([user, PLAYED, numbers.artists.number(artist_id), genre], 1, 0);
        }
        if let Some((spelling, folded)) = facts.city().and_then(fold_city) {
            let city = numbers.cities.number(&folded);
            if city == numbers.spellings.len() {
                numbers.spellings.number(spelling);
            }
            self.fans.add([user, CITY, city, 0], 1, 0);
        }
        if let Facts::Profile { artist_id, artist_name, genres, .. } = facts {
            let artist = numbers.artists.number(artist_id);
            let genres = match (genres, self.profiles.get(artist)) {
                (Some(genres), _) => genres.iter().map(|genre| genre.clone().into_owned()).collect(),
                (None, Some(before)) => before.genres.clone(),
                (None, None) => Vec::new(),
            };
            self.profiles.set(artist, Profile { name: artist_name.clone().into_owned(), genres });
        }
    }
}
