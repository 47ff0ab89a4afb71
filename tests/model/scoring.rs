//! SPEC 2: which mutations the log makes, computed from its first event on, every time.

use super::decimal::Decimal;
use super::{Entry, Model};

#[derive(Clone, Debug)]
pub struct Mutation {
    /// The entry that caused it: for a late line-up the scheduled event, else `of_seq`.
    pub seq: u64,
    /// The entry that is scored.
    pub of_seq: u64,
    pub artist: String,
    /// `A`, `T`, `G` or `C`.
    pub domain: char,
    pub base: Decimal,
    pub multiplier: Decimal,
    /// Micro-points, never zero.
    pub effective: i128,
    /// The `at` of the entry that is scored, in microseconds.
    pub occurred_at: i64,
    /// The `receivedAt` of the entry that caused it, in microseconds.
    pub created_at: i64,
    /// Of the entry that is scored.
    pub user: String,
}

impl Model {
    /// All mutations in the order in which they came to be.
    pub fn mutations(&self) -> Vec<Mutation> {
        self.credits().iter().flat_map(|credit| self.score(credit.entry, credit.cause, &credit.artist)).collect()
    }

    /// What `entry` gives `artist`, as caused by `cause`: in the order A, T, G, C, without zeros.
    fn score(&self, entry: &Entry, cause: &Entry, artist: &str) -> Vec<Mutation> {
        let deltas = ['A', 'T', 'G', 'C'].into_iter().filter_map(|domain| {
            let (base, multiplier) = self.rule(entry, domain)?;
            let effective = base.times(multiplier).to_micro();
            (effective != 0).then(|| Mutation {
                seq: cause.seq,
                of_seq: entry.seq,
                artist: artist.to_owned(),
                domain,
                base,
                multiplier,
                effective,
                occurred_at: entry.at,
                created_at: cause.received_at,
                user: entry.user_id().to_owned(),
            })
        });
        deltas.collect()
    }

    /// Base delta and multiplier of the default rules; none where the event does not score in this domain.
    fn rule(&self, entry: &Entry, domain: char) -> Option<(Decimal, Decimal)> {
        let points = |digits: &str| Decimal::parse(digits).expect("a constant");
        let fields = &entry.fields;
        let one = Decimal::ONE;
        match (entry.kind.as_str(), domain) {
            ("concierto.event_attended", 'T' | 'C') => {
                let multiplier = if fields.text_of("ticketTier") == Some("vip") { points("1.5") } else { one };
                Some((points(if domain == 'T' { "3" } else { "10" }), multiplier))
            }
            ("treasury.money_spent", 'G') => Some((points("1"), self.major_units(entry)?)),
            ("treasury.money_refunded", 'G') => Some((points("-1"), self.major_units(entry)?)),
            ("treasury.money_earned", 'G') if fields.text_of("role") == Some("artist") => {
                Some((points("0.25"), self.major_units(entry)?))
            }
            ("treasury.earning_reversed", 'G') if fields.text_of("role") == Some("artist") => {
                Some((points("-0.25"), self.major_units(entry)?))
            }
            ("coliseum.vote_cast", 'A') => {
                Some((points("2"), fields.present("weight").map_or(one, |weight| weight.as_decimal())))
            }
            ("coliseum.vote_cast", 'T') => Some((one, one)),
            ("player.track_played", 'A' | 'T') => {
                let seconds = fields.present("durationSeconds").map(|seconds| seconds.as_decimal());
                let is_short = seconds.is_some_and(|seconds| seconds.minus(points("30")).is_negative());
                (!is_short).then(|| (points(if domain == 'A' { "0.5" } else { "1" }), one))
            }
            ("player.track_favorited" | "social.follow", 'A') => Some((points("2"), one)),
            ("player.track_favorited" | "social.follow", 'T') => Some((one, one)),
            ("social.share", 'A') => Some((points("3"), one)),
            ("social.share", 'T' | 'C') => Some((one, one)),
            _ => None,
        }
    }

    /// Cents / 100 in the base currency, usd; none without a rate.
    fn major_units(&self, entry: &Entry) -> Option<Decimal> {
        let hundredth = Decimal::new(1, 2);
        let amount = entry.fields.at("amountCents").as_decimal().times(hundredth);
        match entry.fields.text_of("currency").unwrap_or("usd") {
            "usd" => Some(amount),
            other => self.rates.iter().find(|(currency, _)| currency == other).map(|(_, rate)| amount.times(*rate)),
        }
    }
}
