//! The end of a chunked body, found without keeping any of it. As strict as hyper or stricter, so that the two never
//! disagree about where the next request begins. Pure.

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    SizeStart,
    Size,
    SizeSpace,
    Extension,
    SizeLf,
    Bytes,
    BytesCr,
    BytesLf,
    /// The start of a trailer line, or of the empty line that ends the body.
    LineStart,
    Trailer,
    TrailerLf,
    EndLf,
}

/// A chunked body that is under way.
#[derive(Debug)]
pub struct ChunkScan {
    place: Place,
    left: u64,
}

/// Bytes that are no chunked body.
#[derive(Debug, PartialEq, Eq)]
pub struct BadChunk;

impl ChunkScan {
    pub fn new() -> ChunkScan {
        ChunkScan { place: Place::SizeStart, left: 0 }
    }

    /// Takes the bytes that belong to the body: how many, and whether the body ends there.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), BadChunk> {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            if self.place == Place::Bytes {
                let step = self.left.min((bytes.len() - used) as u64);
                self.left -= step;
                used += step as usize;
                if self.left == 0 {
                    self.place = Place::BytesCr;
                }
                continue;
            }
            used += 1;
            if self.place == Place::EndLf {
                return if byte == b'\n' { Ok((used, true)) } else { Err(BadChunk) };
            }
            self.place = self.step(byte)?;
        }
        Ok((used, false))
    }

    fn step(&mut self, byte: u8) -> Result<Place, BadChunk> {
        Ok(match (self.place, byte) {
            (Place::SizeStart | Place::Size, digit) if digit.is_ascii_hexdigit() => {
                let value = (digit as char).to_digit(16).ok_or(BadChunk)?;
                self.left =
                    self.left.checked_mul(16).and_then(|left| left.checked_add(value.into())).ok_or(BadChunk)?;
                Place::Size
            }
            (Place::Size | Place::SizeSpace, b' ' | b'\t') => Place::SizeSpace,
            (Place::Size | Place::SizeSpace, b';') => Place::Extension,
            (Place::Size | Place::SizeSpace | Place::Extension, b'\r') => Place::SizeLf,
            (Place::Extension, other) if other != b'\n' => Place::Extension,
            (Place::SizeLf, b'\n') if self.left == 0 => Place::LineStart,
            (Place::SizeLf, b'\n') => Place::Bytes,
            (Place::BytesCr, b'\r') => Place::BytesLf,
            (Place::BytesLf, b'\n') => Place::SizeStart,
            (Place::LineStart, b'\r') => Place::EndLf,
            (Place::Trailer, b'\r') => Place::TrailerLf,
            (Place::LineStart | Place::Trailer, other) if other != b'\n' => Place::Trailer,
            (Place::TrailerLf, b'\n') => Place::LineStart,
            _ => return Err(BadChunk),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[&str] = &[
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;name=value\r\nhello\r\nA \r\n0123456789\r\n000\r\n\r\n",
        "1\r\n\n\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n",
    ];

    #[test]
    fn a_body_ends_where_it_ends_and_nowhere_else() {
        for body in GOOD {
            let more = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(ChunkScan::new().feed(more.as_bytes()), Ok((body.len(), true)), "{body:?}");
            for cut in 0..body.len() {
                let mut scan = ChunkScan::new();
                assert_eq!(scan.feed(&body.as_bytes()[..cut]), Ok((cut, false)), "{body:?} cut at {cut}");
                assert_eq!(scan.feed(&more.as_bytes()[cut..]), Ok((body.len() - cut, true)), "{body:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn broken_chunks_are_told() {
        for body in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "5\nhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "1 2\r\n",
            "fffffffffffffffff\r\n",
            "5;a\nhello",
            "0\r\n\rX",
            "0\r\n\n",
            "0\r\nT: x\n\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
        ] {
            assert_eq!(ChunkScan::new().feed(body.as_bytes()), Err(BadChunk), "{body:?}");
        }
    }
}
