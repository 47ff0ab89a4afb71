//! Rows of a CSV file as events: a column is a field of the catalogue, typed as the catalogue types it.

use std::io::{self, Read};

use super::item::{Item, Items, LINE_BYTES_MAX, Reject};

/// Columns whose cells are numbers.
const NUMBERS: [&str; 4] = ["amountCents", "weight", "durationSeconds", "leaderboardDepth"];
/// Columns whose cells are lists of strings, separated by `|`.
const LISTS: [&str; 3] = ["artistIds", "genres", "domains"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Text,
    Number,
    List,
}

/// Input that ends in an error where one row takes too much of it: a quote that nobody closes would fill the memory.
struct Bounded<R> {
    input: R,
    /// Bytes that the current row may still take.
    left: usize,
}

impl<R> Bounded<R> {
    fn new(input: R) -> Bounded<R> {
        Bounded { input, left: LINE_BYTES_MAX }
    }
    fn next_row(&mut self) {
        self.left = LINE_BYTES_MAX;
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!("a row is over {LINE_BYTES_MAX} bytes; is a quote never closed?")));
        }
        let bytes = self.input.read(out)?;
        self.left = self.left.saturating_sub(bytes);
        Ok(bytes)
    }
}

/// The rows of a CSV file behind its header row.
pub struct CsvItems<R> {
    reader: csv::Reader<Bounded<R>>,
    record: csv::ByteRecord,
    /// Names as JSON strings.
    columns: Vec<(String, Cell)>,
}

impl<R: Read> CsvItems<R> {
    /// Reads the header row.
    ///
    /// # Errors
    /// There is none, or it names a column twice, or none that says what an event is.
    pub fn new(input: R) -> anyhow::Result<CsvItems<R>> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(Bounded::new(input));
        let mut columns: Vec<(String, Cell)> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (index, name) in reader.headers()?.iter().enumerate() {
            let name = if index == 0 { name.trim_start_matches('\u{feff}') } else { name }.trim();
            if name.is_empty() || names.iter().any(|known| known == name) {
                anyhow::bail!("column {} of the header row has no name, or one that stands there twice", index + 1);
            }
            let cell = match name {
                _ if NUMBERS.contains(&name) => Cell::Number,
                _ if LISTS.contains(&name) => Cell::List,
                _ => Cell::Text,
            };
            columns.push((serde_json::Value::from(name).to_string(), cell));
            names.push(name.to_string());
        }
        for needed in ["type", "userId", "at"] {
            if !names.iter().any(|name| name == needed) {
                anyhow::bail!(
                    "the header row has no column `{needed}`; the columns are the catalogue's field names: \
                     type,userId,at,messageId,artistId,amountCents,…"
                );
            }
        }
        Ok(CsvItems { reader, record: csv::ByteRecord::new(), columns })
    }

    /// Writes the row as an event.
    fn write(&self, json: &mut Vec<u8>) -> Result<(), String> {
        if self.record.len() != self.columns.len() {
            return Err(format!("the row has {} cells, the header {}", self.record.len(), self.columns.len()));
        }
        json.push(b'{');
        for ((name, cell), bytes) in self.columns.iter().zip(&self.record) {
            let text =
                std::str::from_utf8(bytes).map_err(|error| format!("the column {name} is not UTF-8: {error}"))?;
            if text.is_empty() {
                continue;
            }
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend_from_slice(name.as_bytes());
            json.push(b':');
            match cell {
                Cell::Number if is_json_number(text) => json.extend_from_slice(text.as_bytes()),
                // A cell that is no number goes as it is: the daemon's answer points at the field.
                Cell::Number | Cell::Text => write_string(text, json),
                Cell::List => {
                    for (index, part) in text.split('|').enumerate() {
                        json.push(if index == 0 { b'[' } else { b',' });
                        write_string(part, json);
                    }
                    json.push(b']');
                }
            }
        }
        json.push(b'}');
        if json.len() > LINE_BYTES_MAX {
            return Err(format!("the row is over {LINE_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}

fn write_string(text: &str, json: &mut Vec<u8>) {
    serde_json::to_writer(json, text).expect("a Vec takes every string");
}

fn is_json_number(text: &str) -> bool {
    let first = text.as_bytes().first();
    first.is_some_and(|first| first.is_ascii_digit() || *first == b'-')
        && text.bytes().last().is_some_and(|last| last.is_ascii_digit())
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

impl<R: Read> Items for CsvItems<R> {
    fn next(&mut self, json: &mut Vec<u8>) -> io::Result<Option<Item>> {
        json.clear();
        self.reader.get_mut().next_row();
        let before = self.reader.position().line();
        let read = self.reader.read_byte_record(&mut self.record);
        if !read.map_err(|error| io::Error::other(format!("behind line {before}: {error}")))? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        Ok(Some(match self.write(json) {
            Ok(()) => Item::Json { line },
            Err(detail) => Item::Rejected(Reject::here(line, 422, "invalid-event", detail)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, Result<String, String>)> {
        let mut items = CsvItems::new(text.as_bytes()).expect("a header");
        let (mut json, mut out) = (Vec::new(), Vec::new());
        while let Some(item) = items.next(&mut json).expect("memory") {
            out.push(match item {
                Item::Json { line } => (line, Ok(String::from_utf8_lossy(&json).into_owned())),
                Item::Rejected(reject) => (reject.line, Err(reject.detail)),
            });
        }
        out
    }

    const HEAD: &str = "type,userId,at,amountCents,artistIds,note\n";

    #[test]
    fn cells_are_typed_as_the_catalogue_types_them_and_empty_ones_are_absent() {
        assert_eq!(
            rows(&format!("\u{feff}{HEAD}a.b,007,2026-01-01T00:00:00Z,1250,x|y,\"say \"\"hi\"\"\"\na.b,1,t,,,\n")),
            [
                (
                    2,
                    Ok(r#"{"type":"a.b","userId":"007","at":"2026-01-01T00:00:00Z","amountCents":1250,"artistIds":["x","y"],"note":"say \"hi\""}"#
                        .to_string())
                ),
                (3, Ok(r#"{"type":"a.b","userId":"1","at":"t"}"#.to_string()))
            ]
        );
    }

    #[test]
    fn a_number_keeps_its_spelling_and_what_is_none_stays_text() {
        for (cell, json) in [
            ("12.50", "12.50"),
            ("-1e3", "-1e3"),
            ("012", "\"012\""),
            ("1,5", "\"1,5\""),
            ("NaN", "\"NaN\""),
            ("+1", "\"+1\""),
            ("1 ", "\"1 \""),
            ("true", "\"true\""),
        ] {
            let row = rows(&format!("type,userId,at,weight\na.b,u,t,\"{cell}\"\n")).remove(0).1.expect("a row");
            assert!(row.ends_with(&format!("\"weight\":{json}}}")), "{cell}: {row}");
        }
    }

    #[test]
    fn a_row_of_another_width_is_rejected_with_its_line_and_the_next_one_is_read() {
        let found = rows("type,userId,at\na,\"u\nv\",t\na,b\na,b,c\n");
        assert_eq!(
            found.iter().map(|(line, row)| (*line, row.is_ok())).collect::<Vec<_>>(),
            [(2, true), (4, false), (5, true)]
        );
        assert_eq!(found[1].1, Err("the row has 2 cells, the header 3".to_string()));
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_the_import_not_the_memory() {
        let text = format!("type,userId,at\na.b,u,t\na.b,\"{}", "x,y\n".repeat(LINE_BYTES_MAX));
        let mut items = CsvItems::new(text.as_bytes()).expect("a header");
        let mut json = Vec::new();
        assert!(matches!(items.next(&mut json), Ok(Some(Item::Json { line: 2 }))));
        let error = items.next(&mut json).expect_err("endless").to_string();
        assert!(error.contains("behind line 3") && error.contains("quote"), "{error}");
    }

    #[test]
    fn a_header_that_is_not_the_catalogues_says_what_one_looks_like() {
        for (text, part) in [
            ("artistId,artistName,country\n", "no column `type`"),
            ("type,userId,at,at\n", "column 4"),
            ("type,userId,at,\n", "column 4"),
            ("", "no column `type`"),
        ] {
            let error = CsvItems::new(text.as_bytes()).err().expect(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
