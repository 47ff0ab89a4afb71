//! SPEC 2.4: the cities of attendances and plays, trimmed and compared without case.

use std::collections::BTreeMap;

use super::Entry;
use super::moment::Moment;

impl Entry {
    /// The city of an attendance or of a play, of any length, as it is compared; none where it is blank.
    pub fn folded_city(&self) -> Option<String> {
        self.city().map(str::to_lowercase)
    }

    fn city(&self) -> Option<&str> {
        let has_place = matches!(self.kind.as_str(), "concierto.event_attended" | "player.track_played");
        let city = self.fields.text_of("city").filter(|_| has_place)?.trim();
        (!city.is_empty()).then_some(city)
    }
}

impl Moment<'_> {
    /// The cities of these events as they are shown, by count descending, then folded name.
    pub fn cities(&self, entries: &[&Entry]) -> Vec<(String, i64)> {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for city in entries.iter().filter_map(|entry| entry.folded_city()) {
            *counts.entry(city).or_default() += 1;
        }
        let mut cities: Vec<(String, i64)> = counts.into_iter().collect();
        cities.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        cities.into_iter().map(|(folded, count)| (self.first_spelling(&folded), count)).collect()
    }

    /// As the log first spelled it, whoever was there and for whichever artist.
    fn first_spelling(&self, folded: &str) -> String {
        let is_it = |entry: &&Entry| entry.folded_city().is_some_and(|city| city == folded);
        let first = self.model.entries.iter().find(is_it).and_then(Entry::city);
        first.expect("a city that was counted stands in the log").to_owned()
    }
}
