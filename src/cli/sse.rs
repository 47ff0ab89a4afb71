//! Server-sent events as the commands read them: bytes in any pieces become events. Pure.

/// The most that one event may hold, in bytes; entries and boards are far smaller.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The last id that the stream named, this event's own or an earlier one's.
    pub id: String,
    /// The event's name; empty for the usual `message`.
    pub name: String,
    /// The data lines, joined by line feeds.
    pub data: String,
}

/// An event that is larger than any that a daemon sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream holds an event over {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// Takes a stream's bytes and gives its events.
#[derive(Debug, Default)]
pub struct SseReader {
    line: Vec<u8>,
    /// A CR ended the last line, so that a LF right behind it ends none.
    after_cr: bool,
    /// No line was read yet: a byte order mark may stand here.
    started: bool,
    has_data: bool,
    event: SseEvent,
}

impl SseReader {
    /// Calls `each` for every event that `bytes` complete. An event without data is none.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&SseEvent)) -> Result<(), TooLong> {
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_of_line(&mut each),
                _ if self.line.len() + self.event.data.len() >= EVENT_BYTES_MAX => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, each: &mut impl FnMut(&SseEvent)) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let line = if self.started { line.as_str() } else { line.trim_start_matches('\u{feff}') };
        self.started = true;
        if line.is_empty() {
            if self.has_data {
                each(&self.event);
            }
            self.has_data = false;
            self.event.data.clear();
            self.event.name.clear();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.event.id = value.to_string(),
            "event" => self.event.name = value.to_string(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str, piece: usize) -> Vec<(String, String, String)> {
        let (mut reader, mut out) = (SseReader::default(), Vec::new());
        for part in text.as_bytes().chunks(piece) {
            reader.feed(part, |e| out.push((e.id.clone(), e.name.clone(), e.data.clone()))).expect("short");
        }
        out
    }

    #[test]
    fn events_are_the_same_however_they_arrive() {
        let text = ":comment\nretry: 3\n\nid: 1\nevent: entry\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\nid:7\rdata\r\rdata: cut";
        let expected = [("1", "entry", "{\"a\":1}"), ("1", "", "x\ny"), ("7", "", "")];
        let expected: Vec<_> = expected.map(|(a, b, c)| (a.to_string(), b.to_string(), c.to_string())).into();
        for piece in 1..text.len() {
            assert_eq!(events(text, piece), expected, "{piece}");
        }
    }

    #[test]
    fn an_event_without_data_is_none_but_its_id_counts() {
        assert_eq!(events("id: 5\n\ndata: a\n\n", 100), [("5".into(), String::new(), "a".into())]);
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut reader = SseReader::default();
        assert_eq!(reader.feed(&vec![b'x'; EVENT_BYTES_MAX + 1], |_| ()), Err(TooLong));
    }
}
