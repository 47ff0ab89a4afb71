//! SPEC 2.4: what the DNA of an artist says beside scores and positions.

use super::boards::{DOMAINS, Span};
use super::moment::Moment;
use super::time::MINUTES_PER_DAY;

#[derive(Clone, Debug, PartialEq)]
pub struct Strength {
    /// Micro-points.
    pub score: i128,
    pub position: Option<i64>,
    pub rank: Option<i64>,
    /// How many artists the board has.
    pub total: i64,
    pub share: Option<f64>,
    pub percentile: Option<f64>,
    /// Micro-points of the window of the same length before this one.
    pub previous_score: Option<i128>,
}

impl Moment<'_> {
    pub fn strength(&self, artist: &str, domain: char, window: &str) -> Strength {
        let rows = self.model.board(&self.mutations, domain, window, self.minute, self.model.head());
        let row = rows.iter().find(|row| row.artist == artist);
        let now = Span::current(window, self.minute);
        let score = self.score(artist, domain, now);
        let positives = DOMAINS.map(|domain| self.score(artist, domain, now).max(0));
        let whole: i128 = positives.iter().sum();
        let not_above = rows.iter().filter(|other| other.score <= score).count();
        let days = match window {
            "7d" => Some(7),
            "30d" => Some(30),
            _ => None,
        };
        let previous_score = days.map(|days| {
            let earlier = Span::past(window, self.minute - days * MINUTES_PER_DAY);
            self.score(artist, domain, earlier)
        });
        Strength {
            score,
            position: row.map(|row| row.position),
            rank: row.map(|row| row.rank),
            total: rows.len() as i64,
            share: (whole > 0).then(|| score.max(0) as f64 / whole as f64),
            percentile: row.map(|_| 100.0 * not_above as f64 / rows.len() as f64),
            previous_score,
        }
    }

    /// The domain with the most points of all time; the first of those with as many, none where none has any.
    pub fn dominant_domain(&self, artist: &str) -> Option<char> {
        let score = |domain: char| self.score(artist, domain, Span::current("alltime", self.minute));
        let best = DOMAINS.into_iter().map(score).max().filter(|best| *best > 0)?;
        DOMAINS.into_iter().find(|domain| score(*domain) == best)
    }

    /// Micro-points of one artist in one domain over a span.
    fn score(&self, artist: &str, domain: char, span: Span) -> i128 {
        let own = self.mutations.iter().filter(|m| m.artist == artist && m.domain == domain);
        own.filter(|mutation| span.holds(mutation.occurred_at)).map(|mutation| mutation.effective).sum()
    }
}
