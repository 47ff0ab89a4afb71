//! SPEC 2.1 and 2.2: windows and boards over a list of mutations.

use std::collections::BTreeMap;

use super::Model;
use super::scoring::Mutation;
use super::time::{HOUR, MINUTES_PER_DAY, minute_of};

pub const DOMAINS: [char; 4] = ['A', 'T', 'G', 'C'];
pub const WINDOWS: [&str; 3] = ["7d", "30d", "alltime"];

/// The minutes `after < minute(at) <= until` of which a board counts the events.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub after: i64,
    pub until: i64,
}

impl Span {
    /// The window at the minute that holds now. No upper bound: what is up to 5 minutes ahead counts already.
    pub fn current(window: &str, minute: i64) -> Span {
        Span { until: i64::MAX, ..Span::past(window, minute) }
    }
    /// The window as it stood at an earlier minute, by event time.
    pub fn past(window: &str, minute: i64) -> Span {
        let after = match window {
            "7d" => minute - 7 * MINUTES_PER_DAY,
            "30d" => minute - 30 * MINUTES_PER_DAY,
            _ => i64::MIN,
        };
        Span { after, until: minute }
    }
    /// The last so many days at the minute that holds now; none for all time.
    pub fn days(days: Option<i64>, minute: i64) -> Span {
        Span { after: days.map_or(i64::MIN, |days| minute - days * MINUTES_PER_DAY), until: i64::MAX }
    }
    pub fn holds(self, micros: i64) -> bool {
        (self.after + i64::from(self.after != i64::MIN)..=self.until).contains(&minute_of(micros))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub position: i64,
    pub rank: i64,
    pub artist: String,
    pub name: Option<String>,
    /// Micro-points, never zero.
    pub score: i128,
    pub previous_position: Option<i64>,
    pub change: Option<i64>,
}

/// Scores of one domain over a span, by score descending, then artist ascending; without zeros.
fn ranking(mutations: &[&Mutation], domain: char, span: Span) -> Vec<(String, i128)> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for mutation in mutations.iter().filter(|m| m.domain == domain && span.holds(m.occurred_at)) {
        *sums.entry(&mutation.artist).or_default() += mutation.effective;
    }
    let mut ranking: Vec<(String, i128)> =
        sums.into_iter().filter(|(_, score)| *score != 0).map(|(artist, score)| (artist.to_owned(), score)).collect();
    ranking.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.as_bytes().cmp(b.0.as_bytes())));
    ranking
}

impl Model {
    /// The board at the minute that holds now, over the events 1 to `until_seq`.
    pub fn board(&self, all: &[Mutation], domain: char, window: &str, minute: i64, until_seq: u64) -> Vec<Row> {
        self.rows(all, domain, Span::current(window, minute), Span::past(window, minute - MINUTES_PER_DAY), until_seq)
    }

    /// The board as it stood at `micros`, to the hour.
    /// Read as: the minute is the first of that hour, and events of later minutes do not count.
    pub fn board_at(&self, all: &[Mutation], domain: char, window: &str, micros: i64) -> Vec<Row> {
        let minute = minute_of(micros.div_euclid(HOUR) * HOUR);
        let earlier = Span::past(window, minute - MINUTES_PER_DAY);
        self.rows(all, domain, Span::past(window, minute), earlier, self.head())
    }

    fn rows(&self, all: &[Mutation], domain: char, now: Span, earlier: Span, until_seq: u64) -> Vec<Row> {
        let prefix: Vec<&Mutation> = all.iter().filter(|m| m.seq <= until_seq).collect();
        let before = ranking(&prefix, domain, earlier);
        let ranking = ranking(&prefix, domain, now);
        let mut rows = Vec::new();
        for (index, (artist, score)) in ranking.iter().enumerate() {
            let position = index as i64 + 1;
            let previous_position = before.iter().position(|(other, _)| other == artist).map(|index| index as i64 + 1);
            let better = ranking.iter().filter(|(_, other)| other > score).count() as i64;
            rows.push(Row {
                position,
                rank: better + 1,
                artist: artist.clone(),
                name: self.profile(artist, until_seq).name,
                score: *score,
                previous_position,
                change: previous_position.map(|previous| previous - position),
            });
        }
        rows
    }

    /// The mutations behind one artist's score in a window at the minute that holds now.
    pub fn behind<'a>(
        &self,
        all: &'a [Mutation],
        artist: &str,
        domain: char,
        window: &str,
        minute: i64,
    ) -> Vec<&'a Mutation> {
        let span = Span::current(window, minute);
        let is_behind = |m: &&Mutation| m.artist == artist && m.domain == domain && span.holds(m.occurred_at);
        all.iter().filter(is_behind).collect()
    }
}
