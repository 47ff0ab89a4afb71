//! Values by dense numbers that all fit into memory: names, line-ups, profiles. Each is one value of a table.
//!
//! The fold's thread changes them; a view holds them as they were, in a persistent map that costs one pointer.

use std::collections::BTreeSet;
use std::sync::Arc;

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use super::StoreError;
use super::rows::{framed, unframed};

/// By number.
pub type Definition = TableDefinition<'static, u32, &'static [u8]>;

/// What a [`Kept`] can keep: a value that has a form in bytes.
pub trait Value: Sized {
    fn write(&self, out: &mut Vec<u8>);
    /// `None` for bytes that are no value.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Value for String {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn read(bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
}

/// All values of one moment.
pub type Shared<V> = imbl::HashMap<u32, Arc<V>>;

/// Values that changed, in bytes, on their way into the table.
pub struct Changes {
    table: Definition,
    values: Vec<(u32, Vec<u8>)>,
}

/// See the module.
pub struct Kept<V> {
    table: Definition,
    values: Shared<V>,
    /// Changed since the last flush.
    changed: BTreeSet<u32>,
}

impl<V: Value> Kept<V> {
    /// Reads what the table holds; it is made by the first flush.
    pub fn open(database: &redb::Database, table: Definition) -> Result<Kept<V>, StoreError> {
        let mut values = imbl::HashMap::new();
        let transaction = database.begin_read().map_err(StoreError::of)?;
        match transaction.open_table(table) {
            Err(redb::TableError::TableDoesNotExist(_)) => {}
            stored => {
                for value in stored.map_err(StoreError::of)?.iter().map_err(StoreError::of)? {
                    let (number, value) = value.map_err(StoreError::of)?;
                    let number = number.value();
                    let body = unframed(&number.to_be_bytes(), value.value())?;
                    let damaged =
                        || StoreError(format!("{table}: value {number} is damaged; the projection is rebuilt"));
                    values.insert(number, Arc::new(V::read(body).ok_or_else(damaged)?));
                }
            }
        }
        Ok(Kept { table, values, changed: BTreeSet::new() })
    }

    pub fn get(&self, number: u32) -> Option<&V> {
        self.values.get(&number).map(|value| &**value)
    }
    pub fn set(&mut self, number: u32, value: V) {
        self.values.insert(number, Arc::new(value));
        self.changed.insert(number);
    }
    pub fn shared(&self) -> &Shared<V> {
        &self.values
    }

    /// Takes what changed since the last changes.
    pub fn changes(&mut self) -> Changes {
        let framed_value = |number: u32| {
            let mut body = Vec::new();
            self.values[&number].write(&mut body);
            (number, framed(&number.to_be_bytes(), &body))
        };
        Changes { table: self.table, values: std::mem::take(&mut self.changed).into_iter().map(framed_value).collect() }
    }
}

impl Changes {
    /// Writes them. Where the transaction is not committed, the [`Kept`] is of no use any more.
    pub fn write(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        if self.values.is_empty() {
            return Ok(());
        }
        let mut table = transaction.open_table(self.table).map_err(StoreError::of)?;
        for (number, value) in &self.values {
            table.insert(number, value.as_slice()).map_err(StoreError::of)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    const TABLE: Definition = TableDefinition::new("kept");

    fn flush(kept: &mut Kept<String>, database: &redb::Database) {
        let transaction = database.begin_write().expect("in memory");
        kept.changes().write(&transaction).expect("writes");
        transaction.commit().expect("in memory");
    }

    #[test]
    fn a_flush_keeps_what_changed_and_a_view_keeps_what_it_saw() {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let mut kept = Kept::<String>::open(&database, TABLE).expect("empty");
        flush(&mut kept, &database);
        kept.set(7, "Zoë".to_owned());
        kept.set(0, String::new());
        let seen = kept.shared().clone();
        flush(&mut kept, &database);
        kept.set(7, "lost".to_owned());
        assert_eq!((seen[&7].as_str(), kept.get(7).map(String::as_str)), ("Zoë", Some("lost")));
        let mut again = Kept::<String>::open(&database, TABLE).expect("what was written");
        assert_eq!(again.shared(), &seen);
        again.set(7, "kept".to_owned());
        flush(&mut again, &database);
        let third = Kept::<String>::open(&database, TABLE).expect("what was written");
        assert_eq!((third.get(7).map(String::as_str), third.get(1)), (Some("kept"), None));
    }

    #[test]
    fn a_damaged_value_is_an_error() {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new()).expect("in memory");
        let mut kept = Kept::<String>::open(&database, TABLE).expect("empty");
        kept.set(0, "x".to_owned());
        flush(&mut kept, &database);
        for bytes in [framed(&0u32.to_be_bytes(), b"\xff"), framed(&1u32.to_be_bytes(), b"x"), Vec::new()] {
            let transaction = database.begin_write().expect("in memory");
            transaction.open_table(TABLE).expect("is there").insert(0, bytes.as_slice()).expect("in memory");
            transaction.commit().expect("in memory");
            assert!(Kept::<String>::open(&database, TABLE).is_err(), "{bytes:?}");
        }
    }
}
