//! SPEC 2: which mutations the log makes, computed from its first event on, every time.

use std::collections::HashMap;

use super::decimal::Decimal;
use super::{Entry, Model, each_once};

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
                    all.extend(artists.iter().flat_map(|artist| self.score(entry, entry, artist)));
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
                            all.extend(self.score(earlier, entry, artist));
                        }
                        already.extend(joined.clone());
                    }
                }
                _ => {
                    let artists = entry.named_artists();
                    all.extend(artists.iter().flat_map(|artist| self.score(entry, entry, artist)));
                }
            }
        }
        all
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
