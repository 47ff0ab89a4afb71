//! Names by dense numbers, 0, 1, 2, … in the order in which the log brings them: users, events, cities.
//!
//! The fold's thread numbers new names, readers look names up under a short lock. Nothing is ever taken out, so that a view
//! needs no copy: it remembers how many names there were ([`Names::len`]), and numbers from there on are not its own.
//! What a crash leaves are the names of the last commit; those after it are numbered again, in the same order.
//! Millions of names take the bytes of their text, or 16 where that is a UUID, and about 25 more each.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::StoreError;
use super::rows::{framed, unframed};
use crate::passport::{Entry, Parsed};
use crate::units::Seq;

/// By the number of the first name of a value.
pub type Definition = TableDefinition<'static, u32, &'static [u8]>;

/// See the module.
pub struct Names {
    table: Definition,
    inner: RwLock<Inner>,
}

struct Inner {
    hasher: RandomState,
    numbers: HashTable<Slot>,
    /// By number.
    places: Vec<Place>,
    text: String,
    /// Where each text ends.
    ends: Vec<usize>,
    uuids: Vec<Uuid>,
    /// How many are stored, or taken to be.
    taken: usize,
}

/// Names that are new, on their way into the table.
pub struct Changes {
    names: Arc<Names>,
    numbers: Range<usize>,
}

/// Where a name is kept: as one of the texts, or as one of the UUIDs.
#[derive(Clone, Copy)]
struct Place(u32);

impl Place {
    const OF_UUID: u32 = 1 << 31;

    fn text(index: usize) -> Place {
        Place(Place::index(index))
    }
    fn uuid(index: usize) -> Place {
        Place(Place::index(index) | Place::OF_UUID)
    }
    fn index(index: usize) -> u32 {
        u32::try_from(index).ok().filter(|index| index & Place::OF_UUID == 0).expect("there are fewer than 2^31 names")
    }
}

/// A name as it is kept, looked up and stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name<'n> {
    /// None of these is one that says a UUID.
    Text(&'n str),
    Uuid(Uuid),
}

impl<'n> Name<'n> {
    fn of(name: &'n str) -> Name<'n> {
        uuid_of(name).map_or(Name::Text(name), Name::Uuid)
    }
    fn text(self) -> Cow<'n, str> {
        match self {
            Name::Text(text) => Cow::Borrowed(text),
            Name::Uuid(uuid) => Cow::Owned(uuid.hyphenated().to_string()),
        }
    }
    /// By the bytes of the texts.
    fn cmp(self, other: Name<'_>) -> Ordering {
        match (self, other) {
            // Digits stand before letters.
            (Name::Uuid(one), Name::Uuid(other)) => one.cmp(&other),
            (one, other) => one.text().cmp(&other.text()),
        }
    }

    /// Its bytes behind their count, or those of a UUID behind [`STORED_UUID`].
    fn write(self, out: &mut Vec<u8>) {
        let (mark, bytes) = match &self {
            Name::Text(text) => (u32::try_from(text.len()).expect("a name is short"), text.as_bytes()),
            Name::Uuid(uuid) => (STORED_UUID, uuid.as_bytes().as_slice()),
        };
        out.extend_from_slice(&mark.to_le_bytes());
        out.extend_from_slice(bytes);
    }
    /// Reads what [`Name::write`] wrote, and passes over it.
    fn read(rest: &mut &'n [u8]) -> Option<Name<'n>> {
        let (mark, behind) = rest.split_first_chunk::<4>()?;
        let mark = u32::from_le_bytes(*mark);
        let (name, behind) = if mark == STORED_UUID {
            let (bytes, behind) = behind.split_first_chunk::<16>()?;
            (Name::Uuid(Uuid::from_bytes(*bytes)), behind)
        } else {
            let (text, behind) = behind.split_at_checked(mark as usize)?;
            (Name::of(std::str::from_utf8(text).ok()?), behind)
        };
        *rest = behind;
        Some(name)
    }
}

/// Stands for the count of bytes where a UUID is stored: no name is so long.
const STORED_UUID: u32 = u32::MAX;

/// The UUID that a name says in the one form in which it can be said again: lower-case digits in five groups. Beside the
/// library, which reads other forms too, this costs little: it is asked of every name that is looked up.
fn uuid_of(name: &str) -> Option<Uuid> {
    let letters: &[u8; Hyphenated::LENGTH] = name.as_bytes().try_into().ok()?;
    if [letters[8], letters[13], letters[18], letters[23]] != [b'-'; 4] {
        return None;
    }
    let mut digits = [0; 32];
    digits[..8].copy_from_slice(&letters[..8]);
    digits[8..12].copy_from_slice(&letters[9..13]);
    digits[12..16].copy_from_slice(&letters[14..18]);
    digits[16..20].copy_from_slice(&letters[19..23]);
    digits[20..].copy_from_slice(&letters[24..]);
    // Without a branch a letter, so that many are looked at in one step.
    let mut all_are = true;
    for digit in &mut digits {
        all_are &= matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        *digit = (*digit & 0xf) + 9 * (*digit >> 6);
    }
    let mut bytes = [0; 16];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
        *byte = high << 4 | low;
    }
    if all_are { Some(Uuid::from_bytes(bytes)) } else { None }
}

/// A number by the hash of its name, of which a part is kept: a table that grows reads no text, and a name that is looked up
/// is compared with no other.
struct Slot {
    hash: u32,
    number: u32,
}

impl Slot {
    /// A hash of all bits from the part: the table takes its place from some, and its mark from others.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// The numbers of the users of some entries in a row, looked up at once before the first is folded: the waits for memory
/// overlap, while one look-up after the other waits for the table, for the place of the text and for the text.
#[derive(Default)]
pub struct Ahead {
    /// A user that is new has none yet.
    numbers: Vec<(Seq, Option<u32>)>,
    hashes: Vec<u32>,
}

impl Ahead {
    pub fn look(&mut self, names: &Names, entries: &[Parsed<'_>]) {
        let Ahead { numbers, hashes } = self;
        let users: Vec<Name<'_>> = entries.iter().map(|parsed| Name::of(parsed.entry.envelope.user_id)).collect();
        let inner = names.inner.read();
        hashes.clear();
        hashes.extend(users.iter().map(|user| inner.hash(*user)));
        numbers.clear();
        numbers.extend(entries.iter().zip(&*hashes).map(|(parsed, hash)| {
            // Of another name, if two have one hash; which it is stands in the text.
            let slot = inner.numbers.find(Slot::spread(*hash), |slot| slot.hash == *hash);
            (parsed.entry.seq, slot.map(|slot| slot.number))
        }));
        for ((user, hash), (_, number)) in users.iter().zip(&*hashes).zip(numbers) {
            if number.is_some_and(|number| inner.name(number as usize) != *user) {
                *number = inner.find_hashed(*user, *hash);
            }
        }
    }

    /// The number of the entry's user, as [`Names::number`] gives it. Only the fold calls it.
    pub fn user(&self, names: &Names, entry: &Entry<'_>) -> u32 {
        let first = self.numbers.first().map_or(Seq::ZERO, |(seq, _)| *seq);
        let at = entry.seq.get().checked_sub(first.get()).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.numbers.get(at)) {
            Some((seq, Some(number))) if *seq == entry.seq => *number,
            _ => names.number(entry.envelope.user_id),
        }
    }
}

/// The names as they are now; nobody adds one as long as this is held.
pub struct Held<'n>(RwLockReadGuard<'n, Inner>);

impl Names {
    /// Reads what the table holds; it is made by the first flush.
    pub fn open(database: &redb::Database, table: Definition) -> Result<Names, StoreError> {
        use redb::ReadableDatabase as _;
        let names = Names { table, inner: RwLock::new(Inner::new()) };
        let transaction = database.begin_read().map_err(StoreError::of)?;
        let stored = match transaction.open_table(table) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(names),
            stored => stored.map_err(StoreError::of)?,
        };
        let mut inner = names.inner.write();
        if let Some((first, value)) = stored.last().map_err(StoreError::of)? {
            inner.reserve(first.value(), value.value())?;
        }
        for value in stored.iter().map_err(StoreError::of)? {
            let (first, value) = value.map_err(StoreError::of)?;
            inner.read(first.value(), value.value())?;
        }
        inner.taken = inner.places.len();
        drop(inner);
        Ok(names)
    }

    pub fn len(&self) -> u32 {
        self.inner.read().places.len() as u32
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn find(&self, name: &str) -> Option<u32> {
        self.inner.read().find(name)
    }
    /// The name's number; the next one if it has none yet. Only the fold calls it.
    pub fn number(&self, name: &str) -> u32 {
        let (name, inner) = (Name::of(name), self.inner.read());
        let hash = inner.hash(name);
        let found = inner.find_hashed(name, hash);
        drop(inner);
        found.unwrap_or_else(|| self.inner.write().push(NewName { name, hash }))
    }
    /// For many lookups in a row.
    pub fn hold(&self) -> Held<'_> {
        Held(self.inner.read())
    }

    /// Takes the names that came since the last changes.
    pub fn changes(self: &Arc<Names>) -> Changes {
        let mut inner = self.inner.write();
        let end = inner.places.len();
        Changes { numbers: std::mem::replace(&mut inner.taken, end)..end, names: self.clone() }
    }
}

impl Changes {
    /// Writes them. Where the transaction is not committed, the [`Names`] are of no use any more.
    pub fn write(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        if self.numbers.is_empty() {
            return Ok(());
        }
        let mut body = Vec::new();
        let held = self.names.hold();
        for number in self.numbers.clone() {
            held.0.name(number).write(&mut body);
        }
        drop(held);
        let first = u32::try_from(self.numbers.start).expect("numbers are 32 bits");
        let mut table = transaction.open_table(self.names.table).map_err(StoreError::of)?;
        table.insert(first, framed(&first.to_be_bytes(), &body).as_slice()).map_err(StoreError::of)?;
        Ok(())
    }
}

impl Held<'_> {
    /// The name of a number that was given.
    pub fn name(&self, number: u32) -> Cow<'_, str> {
        self.0.name(number as usize).text()
    }
    /// The order of the names of two numbers.
    pub fn order(&self, one: u32, other: u32) -> Ordering {
        self.0.name(one as usize).cmp(self.0.name(other as usize))
    }
}

/// Whether bytes are the first names of a table, for [`crate::fuzz`].
#[doc(hidden)]
pub fn is_names(bytes: &[u8]) -> bool {
    Inner::new().read(0, bytes).is_ok()
}

/// A name that has no number yet.
struct NewName<'n> {
    name: Name<'n>,
    hash: u32,
}

/// Names that are taken from a stored value at once.
const NAMES_AT_ONCE: usize = 64;

fn damaged() -> StoreError {
    StoreError("stored names are damaged; the projection is rebuilt".into())
}

/// Calls `each` for the names of a stored value.
fn each_name<'v>(
    first: u32,
    value: &'v [u8],
    each: &mut impl FnMut(Name<'v>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut rest = unframed(&first.to_be_bytes(), value)?;
    while !rest.is_empty() {
        each(Name::read(&mut rest).ok_or_else(damaged)?)?;
    }
    Ok(())
}

impl Inner {
    fn new() -> Inner {
        Inner {
            hasher: RandomState::new(),
            numbers: HashTable::new(),
            places: Vec::new(),
            text: String::new(),
            ends: Vec::new(),
            uuids: Vec::new(),
            taken: 0,
        }
    }

    fn name(&self, number: usize) -> Name<'_> {
        let Place(place) = self.places[number];
        let index = (place & !Place::OF_UUID) as usize;
        if place & Place::OF_UUID > 0 {
            return Name::Uuid(self.uuids[index]);
        }
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Name::Text(&self.text[start..self.ends[index]])
    }

    /// Makes room for the names up to the end of the last stored value.
    fn reserve(&mut self, first: u32, value: &[u8]) -> Result<(), StoreError> {
        let mut count = first as usize;
        each_name(first, value, &mut |_| {
            count += 1;
            Ok(())
        })?;
        self.places.reserve(count);
        self.numbers.reserve(count, |slot| Slot::spread(slot.hash));
        Ok(())
    }

    /// Takes the names of a stored value, of which none is known yet.
    fn read(&mut self, first: u32, value: &[u8]) -> Result<(), StoreError> {
        if first as usize != self.places.len() {
            return Err(damaged());
        }
        let mut names: Vec<NewName<'_>> = Vec::with_capacity(NAMES_AT_ONCE);
        each_name(first, value, &mut |name| {
            names.push(NewName { name, hash: self.hash(name) });
            if names.len() < NAMES_AT_ONCE { Ok(()) } else { self.take(&mut names) }
        })?;
        self.take(&mut names)
    }

    fn take(&mut self, names: &mut Vec<NewName<'_>>) -> Result<(), StoreError> {
        // First to where each of them goes, so that the waits for memory overlap.
        for new in &*names {
            black_box(self.numbers.find(Slot::spread(new.hash), |slot| slot.hash == new.hash));
        }
        for new in names.drain(..) {
            if self.find_hashed(new.name, new.hash).is_some() {
                return Err(damaged());
            }
            self.push(new);
        }
        Ok(())
    }

    fn hash(&self, name: Name<'_>) -> u32 {
        let hash = match name {
            Name::Text(text) => self.hasher.hash_one(text),
            Name::Uuid(uuid) => self.hasher.hash_one(uuid.as_u128()),
        };
        hash as u32
    }

    fn find(&self, name: &str) -> Option<u32> {
        let name = Name::of(name);
        self.find_hashed(name, self.hash(name))
    }

    fn find_hashed(&self, name: Name<'_>, hash: u32) -> Option<u32> {
        let is_it = |slot: &Slot| slot.hash == hash && self.name(slot.number as usize) == name;
        self.numbers.find(Slot::spread(hash), is_it).map(|slot| slot.number)
    }

    /// Takes the next number for a name that has none.
    fn push(&mut self, new: NewName<'_>) -> u32 {
        let number = u32::try_from(self.places.len()).expect("numbers are 32 bits");
        self.places.push(match new.name {
            Name::Uuid(uuid) => {
                self.uuids.push(uuid);
                Place::uuid(self.uuids.len() - 1)
            }
            Name::Text(text) => {
                self.text.push_str(text);
                self.ends.push(self.text.len());
                Place::text(self.ends.len() - 1)
            }
        });
        let hash = new.hash;
        self.numbers.insert_unique(Slot::spread(hash), Slot { hash, number }, |slot| Slot::spread(slot.hash));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passport::Envelope;
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    const TABLE: Definition = TableDefinition::new("names");

    fn names(names: &Names) -> Vec<String> {
        let held = names.hold();
        (0..names.len()).map(|number| held.name(number).into_owned()).collect()
    }

    #[test]
    fn names_keep_their_numbers_over_flushes_and_what_was_not_flushed_is_numbered_again() {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let first = Arc::new(Names::open(&database, TABLE).expect("empty"));
        assert_eq!(["a", "", "b", "a", ""].map(|name| first.number(name)), [0, 1, 2, 0, 1]);
        for (name, number) in [("Zoë", 3), ("c", 4)] {
            let transaction = database.begin_write().expect("in memory");
            let changes = first.changes();
            assert_eq!(first.number(name), number, "one that comes before they are written is not among them");
            changes.write(&transaction).expect("writes");
            transaction.commit().expect("in memory");
        }
        let again = Names::open(&database, TABLE).expect("what was written");
        assert_eq!(names(&again), ["a", "", "b", "Zoë"]);
        assert_eq!((again.find("c"), again.number("d"), again.find("Zoë")), (None, 4, Some(3)));
    }

    fn entry(seq: u64, user_id: &str) -> Entry<'_> {
        let envelope = Envelope {
            received_at_micros: 0,
            at_micros: 0,
            at_corrected: false,
            event_type: "a.type",
            message_id: "m",
            user_id,
            session_id: None,
            device_id: None,
            source: "api",
            payload: "{}",
        };
        Entry { seq: Seq::new(seq), envelope }
    }

    #[test]
    fn a_user_that_is_looked_up_ahead_has_the_number_of_its_name() {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let users = Names::open(&database, TABLE).expect("empty");
        assert_eq!(["a", "b", "c"].map(|name| users.number(name)), [0, 1, 2]);
        let mut ahead = Ahead::default();
        // What was not told of is looked up by itself.
        assert_eq!(ahead.user(&users, &entry(5, "c")), 2);
        let next = [entry(5, "b"), entry(6, "new"), entry(8, "a"), entry(9, "new")].map(Parsed::of);
        ahead.look(&users, &next);
        let asked = [(5, "b"), (6, "new"), (8, "a"), (9, "new"), (7, "c"), (4, "c"), (10, "c")];
        assert_eq!(asked.map(|(seq, name)| ahead.user(&users, &entry(seq, name))), [1, 3, 0, 3, 2, 2, 2]);
        ahead.look(&users, &[]);
        assert_eq!(ahead.user(&users, &entry(5, "c")), 2);
    }

    #[test]
    fn a_new_user_is_not_taken_for_another_with_the_same_hash() {
        // So many that a few of them share their 32 bits of hash: with a chance of 1 in 10,000 none do.
        const COUNT: u64 = 200_000;
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let users = Names::open(&database, TABLE).expect("empty");
        (0..COUNT).for_each(|n| _ = users.number(&format!("known-{n}")));
        let ids: Vec<String> = (0..COUNT).map(|n| format!("new-{n}")).collect();
        let entries: Vec<Parsed<'_>> = (1..).zip(&ids).map(|(seq, id)| Parsed::of(entry(seq, id))).collect();
        let mut ahead = Ahead::default();
        ahead.look(&users, &entries);
        assert_eq!(ahead.numbers.iter().find(|(_, number)| number.is_some()), None);
    }

    /// What a table with these values opens as.
    fn opens(values: &[&[&str]]) -> Result<Names, StoreError> {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let transaction = database.begin_write().expect("in memory");
        let mut first = 0u32;
        for names in values {
            let mut body = Vec::new();
            names.iter().for_each(|name| Name::of(name).write(&mut body));
            let value = framed(&first.to_be_bytes(), &body);
            let mut table = transaction.open_table(TABLE).expect("in memory");
            table.insert(first, value.as_slice()).expect("in memory");
            first += names.len() as u32;
        }
        transaction.commit().expect("in memory");
        Names::open(&database, TABLE)
    }

    #[test]
    fn stored_names_have_their_numbers_again_and_none_is_there_twice() {
        let many: Vec<String> = (0..3 * NAMES_AT_ONCE).map(|number| format!("name {number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (one, other) = many.split_at(NAMES_AT_ONCE + 5);
        let names = opens(&[one, other]).expect("they are good");
        assert_eq!(names.len() as usize, many.len());
        for (number, name) in (0..).zip(&many) {
            assert_eq!((names.find(name), &*names.hold().name(number)), (Some(number), *name));
        }
        assert_eq!(names.number("another"), many.len() as u32);
        assert!(opens(&[&["x", "y", "x"]]).is_err());
        assert!(opens(&[one, &["x", one[0]]]).is_err());
        assert!(opens(&[&[one, &one[..1]].concat()]).is_err());
    }

    /// Texts of which some say the same UUID, each in another form.
    fn like_uuids() -> impl Strategy<Value = String> {
        let digits = prop_oneof![Just(0u128), Just(0xa << 124), Just(u128::MAX), any::<u128>()];
        (digits, 0..7).prop_map(|(digits, form)| {
            let uuid = Uuid::from_u128(digits);
            match form {
                0 => uuid.simple().to_string(),
                1 => uuid.braced().to_string(),
                2 => uuid.hyphenated().to_string().to_uppercase(),
                3 => uuid.hyphenated().to_string().replacen('-', "_", 1),
                4 => uuid.hyphenated().to_string()[..35].to_owned(),
                _ => uuid.hyphenated().to_string(),
            }
        })
    }

    proptest! {
        #[test]
        fn a_name_is_its_bytes_whatever_it_looks_like(
            texts in prop::collection::vec(prop_oneof![like_uuids(), "[0-9a-f-]{0,40}", "\\PC{0,12}"], 1..40),
        ) {
            let mut expected: Vec<&str> = Vec::new();
            texts.iter().for_each(|text| if !expected.contains(&text.as_str()) { expected.push(text) });
            let names = opens(&[]).expect("empty");
            texts.iter().for_each(|text| _ = names.number(text));
            let stored = opens(&[&expected]).expect("they are good");
            for names in [&names, &stored] {
                let held = names.hold();
                prop_assert_eq!(names.len() as usize, expected.len());
                for (number, text) in (0..).zip(&expected) {
                    prop_assert_eq!((names.find(text), &*held.name(number)), (Some(number), *text));
                    let order = held.order(number, 0);
                    prop_assert_eq!(order, text.as_bytes().cmp(expected[0].as_bytes()));
                }
            }
        }
    }

    #[test]
    fn a_damaged_value_is_an_error() {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let some = Arc::new(Names::open(&database, TABLE).expect("empty"));
        some.number("x");
        let transaction = database.begin_write().expect("in memory");
        some.changes().write(&transaction).expect("writes");
        {
            let mut table = transaction.open_table(TABLE).expect("made by the flush");
            let mut value = table.get(0).expect("in memory").expect("written").value().to_vec();
            value[8] = b'y';
            table.insert(0, value.as_slice()).expect("in memory");
        }
        transaction.commit().expect("in memory");
        assert!(Names::open(&database, TABLE).is_err());
    }
}
