//! SPEC 1.1: whom the events credit, line-ups that come late included.

use std::collections::HashMap;

use super::{Entry, Model, each_once};

/// One artist that one event credits.
#[derive(Clone, Debug)]
pub struct Credit<'a> {
    pub entry: &'a Entry,
    /// The entry that made it so: for a late line-up the scheduled event, else `entry` itself.
    pub cause: &'a Entry,
    pub artist: String,
}

impl Model {
    /// All credits in the order in which they came to be.
    pub fn credits(&self) -> Vec<Credit<'_>> {
        let mut line_ups: HashMap<String, Vec<String>> = HashMap::new();
        let mut credited: HashMap<u64, Vec<String>> = HashMap::new();
        let mut all = Vec::new();
        for entry in &self.entries {
            let event = entry.fields.text_of("eventId").unwrap_or_default().to_owned();
            match entry.kind.as_str() {
                "concierto.event_attended" => {
                    let mut artists = entry.named_artists();
                    artists.extend(line_ups.get(&event).cloned().unwrap_or_default());
                    let artists = each_once(artists);
                    all.extend(artists.iter().map(|artist| Credit { entry, cause: entry, artist: artist.clone() }));
                    credited.insert(entry.seq, artists);
                }
                "concierto.event_scheduled" => {
                    let line_up = line_ups.entry(event.clone()).or_default();
                    let named = each_once(entry.fields.texts_of("artistIds"));
                    line_up.retain(|artist| named.contains(artist));
                    let joined: Vec<String> = named.into_iter().filter(|artist| !line_up.contains(artist)).collect();
                    line_up.extend(joined.clone());
                    for earlier in self.entries.iter().take_while(|earlier| earlier.seq < entry.seq) {
                        let is_here = earlier.fields.text_of("eventId") == Some(event.as_str());
                        if earlier.kind != "concierto.event_attended" || !is_here {
                            continue;
                        }
                        let already = credited.entry(earlier.seq).or_default();
                        for artist in joined.iter().filter(|artist| !already.contains(artist)) {
                            all.push(Credit { entry: earlier, cause: entry, artist: artist.clone() });
                        }
                        already.extend(joined.clone());
                    }
                }
                _ => {
                    let artists = entry.named_artists().into_iter();
                    all.extend(artists.map(|artist| Credit { entry, cause: entry, artist }));
                }
            }
        }
        all
    }
}
