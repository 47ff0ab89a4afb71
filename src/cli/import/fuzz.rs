//! The readers of a file to import, for [`crate::fuzz`].

use super::csv::CsvItems;
use super::item::{Item, Items, NdjsonItems, has_key};

/// Lines of NDJSON; whether each can be sent.
pub fn import_ndjson(bytes: &[u8]) -> bool {
    can_be_sent(&mut NdjsonItems::new(bytes))
}

/// Rows of CSV behind their header; whether each can be sent.
pub fn import_csv(bytes: &[u8]) -> bool {
    CsvItems::new(bytes).is_ok_and(|mut items| can_be_sent(&mut items))
}

fn can_be_sent(items: &mut dyn Items) -> bool {
    let (mut json, mut all) = (Vec::new(), true);
    loop {
        match items.next(&mut json) {
            Ok(Some(Item::Json { .. })) => all &= has_key(&json).is_ok(),
            Ok(Some(Item::Rejected(_))) => all = false,
            Ok(None) => return all,
            Err(_) => return false,
        }
    }
}
