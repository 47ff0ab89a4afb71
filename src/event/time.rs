use crate::units::Timestamp;
/// Reads RFC 3339 with an offset, to the microsecond.
pub fn parse_rfc3339(_text: &str) -> Option<Timestamp> {
    unimplemented!()
}
