//! Plausible events for `demo` and `load`: artists whose fame follows Zipf's law, fans who play, vote, pay and travel.

use std::io::Write;

use crate::units::Timestamp;

/// Name, home city, genre. The first one is the most famous.
const ARTISTS: [(&str, &str, &str); 40] = [
    ("Nora Vale", "Oslo", "pop"),
    ("The Paper Lanterns", "Leeds", "indie"),
    ("Kilometer Null", "Berlin", "techno"),
    ("Adaeze Obi", "Lagos", "afrobeats"),
    ("Los Tranvías", "Ciudad de México", "rock"),
    ("Mirka & the Tide", "Gdańsk", "folk"),
    ("Ghost Orchard", "Portland", "shoegaze"),
    ("Júlia Fontes", "Lisboa", "fado"),
    ("Static Bloom", "Manchester", "electronic"),
    ("Sato Hiroe", "Osaka", "city pop"),
    ("Velvet Magpie", "Melbourne", "soul"),
    ("Río Seco", "Buenos Aires", "cumbia"),
    ("Halcyon Drive", "Toronto", "synthwave"),
    ("Amara Diallo", "Dakar", "mbalax"),
    ("The Corner Table", "Dublin", "folk"),
    ("Neon Abbey", "Glasgow", "post-punk"),
    ("Léa Marchand", "Lyon", "chanson"),
    ("Copper Season", "Nashville", "country"),
    ("Bass Ministry", "Bristol", "drum and bass"),
    ("Ingrid Solheim", "Bergen", "jazz"),
    ("Tin Roof Choir", "New Orleans", "gospel"),
    ("Zoltán Kiss Trio", "Budapest", "jazz"),
    ("Saffron Avenue", "Mumbai", "fusion"),
    ("Marble Youth", "Athína", "indie"),
    ("Kestrel", "Reykjavík", "ambient"),
    ("DJ Pomegranate", "Tbilisi", "house"),
    ("The Long Intermission", "Chicago", "blues"),
    ("Anouk de Wit", "Rotterdam", "r&b"),
    ("Polar Arcade", "Tampere", "electronic"),
    ("Sunday Machinery", "Detroit", "techno"),
    ("Yuna Park", "Seoul", "k-pop"),
    ("Ocean Clerk", "Auckland", "indie"),
    ("Sons of Gravel", "Calgary", "rock"),
    ("Teresa Blanco", "Sevilla", "flamenco"),
    ("Half Past Blue", "Kraków", "blues"),
    ("Cassava Beat", "Accra", "highlife"),
    ("Winter Postcards", "Tallinn", "dream pop"),
    ("Basement Republic", "Philadelphia", "hip hop"),
    ("Maya Lindqvist", "Göteborg", "pop"),
    ("The Quiet Riot Squad", "Cape Town", "punk"),
];
const EVENTS: usize = 12;
const USERS: u64 = 5_000;
const TRACKS_PER_ARTIST: u64 = 12;

/// A stream of random numbers that its seed fixes (splitmix64: plenty for picking names).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number under `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Makes events; two with the same seed and run make the same ones.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    /// Start of every `messageId`.
    run: String,
    made: u64,
    /// Sums of the artists' weights up to each.
    fame: [u64; ARTISTS.len()],
}

impl Generator {
    /// `run` tells this run's keys from those of every other one.
    pub fn new(seed: u64, run: &str) -> Generator {
        let mut fame = [0; ARTISTS.len()];
        let mut sum = 0;
        for (place, total) in fame.iter_mut().enumerate() {
            sum += 1_000_000 / (place as u64 + 1);
            *total = sum;
        }
        Generator { random: Random(seed), run: run.to_string(), made: 0, fame }
    }

    /// A generator of its own for each start of the program.
    pub fn unique(run: &str) -> anyhow::Result<Generator> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the system's random numbers: {error}"))?;
        let seed = u64::from_le_bytes(seed);
        Ok(Generator::new(seed, &format!("{run}-{seed:016x}")))
    }

    /// Another generator whose keys never meet this one's.
    pub fn fork(&mut self, place: usize) -> Generator {
        Generator { random: Random(self.random.next()), run: format!("{}-{place}", self.run), made: 0, fame: self.fame }
    }

    /// The artists' profiles and the line-ups, to be logged before anything else.
    pub fn opening(&mut self, at: Timestamp) -> Vec<String> {
        let at = at.to_rfc3339();
        let mut events = Vec::new();
        for (place, (name, city, genre)) in ARTISTS.iter().enumerate() {
            let id = self.message_id();
            events.push(format!(
                r#"{{"messageId":"{id}","type":"artist.profile_updated","userId":"label","at":"{at}","artistId":"{}","artistName":"{name}","genres":["{genre}"],"homeCity":"{city}"}}"#,
                artist_id(place)
            ));
        }
        for (event, (_, city, _)) in ARTISTS.iter().enumerate().take(EVENTS) {
            let id = self.message_id();
            let line_up: Vec<String> = (0..3).map(|_| format!("\"{}\"", artist_id(self.artist()))).collect();
            events.push(format!(
                r#"{{"messageId":"{id}","type":"concierto.event_scheduled","userId":"promoter","at":"{at}","eventId":"show-{event}","artistIds":[{}],"city":"{city}","name":"Night {}"}}"#,
                line_up.join(","),
                event + 1
            ));
        }
        events
    }

    /// Appends one event that happened at `at` to `out`, without a line end.
    pub fn event(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        let artist = self.artist();
        let (_, city, genre) = ARTISTS[artist];
        let (user, track) = (self.random.below(USERS), self.random.below(TRACKS_PER_ARTIST));
        let (show, amount) = (self.random.below(EVENTS as u64), 500 + 5 * self.random.below(1900));
        let kind = self.random.below(100);
        let event_type = match kind {
            0..55 => "player.track_played",
            55..67 => "coliseum.vote_cast",
            67..75 => "treasury.money_spent",
            75..82 => "player.track_favorited",
            82..88 => "social.follow",
            88..93 => "social.share",
            93..98 => "concierto.event_attended",
            _ => "treasury.money_earned",
        };
        let id = self.message_id();
        let at = at.to_rfc3339();
        let start = format_args!(
            r#"{{"messageId":"{id}","type":"{event_type}","userId":"fan-{user}","at":"{at}","deviceId":"phone-{user}""#
        )
        .to_string();
        out.extend_from_slice(start.as_bytes());
        let place = artist + 1;
        let rest = match kind {
            0..55 => write!(
                out,
                r#","artistId":"artist-{place}","trackId":"track-{place}-{track}","durationSeconds":{},"genre":"{genre}","city":"{city}"}}"#,
                15 + self.random.below(260)
            ),
            55..67 => {
                let weight = ["1", "1", "1", "2", "0.5"][self.random.below(5) as usize];
                write!(
                    out,
                    r#","artistId":"artist-{place}","eventId":"show-{show}","weight":{weight},"channel":"app"}}"#
                )
            }
            67..75 => write!(
                out,
                r#","artistId":"artist-{place}","amountCents":{amount},"currency":"usd","reason":"merch","eventId":"show-{show}"}}"#
            ),
            75..82 => write!(out, r#","artistId":"artist-{place}","trackId":"track-{place}-{track}"}}"#),
            82..88 => write!(out, r#","targetId":"artist-{place}","targetType":"artist"}}"#),
            88..93 => write!(
                out,
                r#","targetId":"track-{place}-{track}","targetType":"track","platform":"web","artistId":"artist-{place}"}}"#
            ),
            93..98 => {
                let tier = if self.random.below(10) == 0 { "vip" } else { "general" };
                write!(out, r#","eventId":"show-{show}","city":"{}","ticketTier":"{tier}"}}"#, ARTISTS[show as usize].1)
            }
            _ => write!(
                out,
                r#","artistId":"artist-{place}","amountCents":{amount},"currency":"usd","role":"artist","earnSource":"stream"}}"#
            ),
        };
        rest.expect("a Vec takes every write");
    }

    fn artist(&mut self) -> usize {
        let point = self.random.below(self.fame[ARTISTS.len() - 1]);
        self.fame.partition_point(|total| *total <= point)
    }

    fn message_id(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.run, self.made)
    }
}

fn artist_id(place: usize) -> String {
    format!("artist-{}", place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    fn events(count: usize) -> Vec<serde_json::Value> {
        let mut generator = Generator::new(7, "t");
        let at = Timestamp::from_micros(0);
        let mut all: Vec<Vec<u8>> = generator.opening(at).into_iter().map(String::into_bytes).collect();
        let mut other = generator.fork(1);
        for n in 0..count {
            let mut out = Vec::new();
            if n % 2 == 0 { &mut generator } else { &mut other }.event(at, &mut out);
            all.push(out);
        }
        all.iter().map(|json| serde_json::from_slice(json).expect("every event is JSON")).collect()
    }

    #[test]
    fn every_event_is_json_with_a_key_of_its_own() {
        let all = events(5000);
        let keys: HashSet<&str> = all.iter().map(|event| event["messageId"].as_str().expect("a key")).collect();
        assert_eq!(keys.len(), all.len());
        assert!(all.iter().all(|event| event["userId"].is_string() && event["at"] == "1970-01-01T00:00:00Z"));
    }

    #[test]
    fn ten_types_come_and_the_most_famous_artist_comes_most() {
        let (mut types, mut artists) = (HashSet::new(), HashMap::new());
        for event in events(5000) {
            types.insert(event["type"].to_string());
            if let Some(artist) = event["artistId"].as_str() {
                *artists.entry(artist.to_string()).or_insert(0) += 1;
            }
        }
        assert_eq!(types.len(), 10);
        assert_eq!(artists.len(), ARTISTS.len());
        let most = artists.iter().max_by_key(|(_, count)| **count).expect("some");
        assert_eq!(most.0, "artist-1");
    }

    #[test]
    fn a_seed_makes_the_same_events_again() {
        assert_eq!(events(100), events(100));
    }
}
