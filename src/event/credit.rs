use super::{EntityType, Event, Facts};
use std::borrow::Cow;
impl<'a> Facts<'a> {
    /// Reads the typed fields of a stored payload again.
    pub fn of_stored(_event_type: &str, _payload: &'a str) -> Result<Facts<'a>, crate::problem::Problem> {
        unimplemented!()
    }
    /// The artists that the event's own fields credit, in order, each once (line-ups are not known here).
    pub fn credited(&self) -> Vec<&Cow<'a, str>> {
        unimplemented!()
    }
}
impl Event<'_> {
    /// What the event is about.
    pub fn entity(&self) -> Option<(EntityType, &str)> {
        unimplemented!()
    }
}
