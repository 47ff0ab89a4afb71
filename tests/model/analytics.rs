//! SPEC 2.4: the four analytics functions of one artist.

use std::collections::{BTreeMap, BTreeSet};

use super::Entry;
use super::boards::Span;
use super::decimal::Decimal;
use super::fraction::Fraction;
use super::moment::Moment;
use super::time::DAY;

pub const BASE_CURRENCY: &str = "usd";

#[derive(Clone, Debug, PartialEq)]
pub struct Analytics {
    pub genre_score: Option<f64>,
    pub effective_genres: Option<f64>,
    pub genre_shares: Vec<(String, f64)>,
    pub repeat_rate: Option<f64>,
    pub repeat_fans: i64,
    pub per_fan: PerFan,
    pub cities: i64,
    pub effective_cities: Option<f64>,
    pub top_cities: Vec<(String, i64)>,
}

/// Revenue in the base currency by those who paid it, and by all fans.
#[derive(Clone, Debug, PartialEq)]
pub struct PerFan {
    pub revenue_cents: i64,
    pub fans: i64,
    pub paying_fans: i64,
    pub cents_per_fan: Option<f64>,
    pub cents_per_paying_fan: Option<f64>,
}

impl Entry {
    /// Whether it makes its user a fan of whom it credits.
    pub fn is_fan_event(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "concierto.event_attended"
                | "treasury.money_spent"
                | "coliseum.vote_cast"
                | "player.track_played"
                | "player.track_favorited"
                | "social.follow"
                | "social.share"
        )
    }

    /// A play of 30 seconds or longer, or one that does not say how long.
    pub fn is_scored_play(&self) -> bool {
        let is_short = |seconds: Decimal| seconds.minus(Decimal::new(30, 0)).is_negative();
        let seconds = self.fields.present("durationSeconds").map(|seconds| seconds.as_decimal());
        self.kind == "player.track_played" && !seconds.is_some_and(is_short)
    }
}

impl Moment<'_> {
    /// Over the last so many days, or over all time.
    pub fn analytics(&self, artist: &str, days: Option<i64>) -> Analytics {
        let span = Span::days(days, self.minute);
        let mut entries = self.crediting(artist);
        entries.retain(|entry| span.holds(entry.at));

        let genres = self.genres(&entries);
        let whole = genres.iter().fold(Fraction::ZERO, |sum, (_, weight)| sum.plus(*weight));
        let genre_shares: Vec<(String, f64)> =
            genres.into_iter().map(|(genre, weight)| (genre, weight.divided_by(whole).to_f64())).collect();
        let shares: Vec<f64> = genre_shares.iter().map(|(_, share)| *share).collect();
        let diversity = 1.0 - shares.iter().map(|share| share * share).sum::<f64>();

        let cities = self.cities(&entries);
        let places = cities.iter().map(|(_, count)| *count).sum::<i64>() as f64;
        let city_shares: Vec<f64> = cities.iter().map(|(_, count)| *count as f64 / places).collect();

        let fans = fans(&entries);
        let is_repeat = |fan: &&String| {
            let own = entries.iter().filter(|entry| entry.is_fan_event() && entry.user_id() == fan.as_str());
            own.map(|entry| entry.at.div_euclid(DAY)).collect::<BTreeSet<i64>>().len() >= 2
        };
        let repeat_fans = fans.iter().filter(is_repeat).count() as i64;
        Analytics {
            genre_score: (!shares.is_empty()).then_some(diversity),
            effective_genres: effective_number(&shares),
            genre_shares,
            repeat_rate: quotient(repeat_fans, fans.len() as i64),
            repeat_fans,
            per_fan: per_fan(&entries),
            cities: cities.len() as i64,
            effective_cities: effective_number(&city_shares),
            top_cities: cities.into_iter().take(10).collect(),
        }
    }

    /// The scored plays among these by genre, each split evenly over its genres: its own, else its artist's at
    /// the head of the log; by weight descending, then genre.
    pub fn genres(&self, entries: &[&Entry]) -> Vec<(String, Fraction)> {
        let mut weights: BTreeMap<String, Fraction> = BTreeMap::new();
        for play in entries.iter().filter(|entry| entry.is_scored_play()) {
            let genres = match play.fields.text_of("genre") {
                Some(genre) => vec![genre.to_owned()],
                None => self.model.profile(play.fields.at("artistId").as_text(), self.model.head()).genres,
            };
            let part = |genres: &[String]| Fraction::new(1, genres.len() as i128);
            for genre in &genres {
                let weight = weights.entry(genre.clone()).or_insert(Fraction::ZERO);
                *weight = weight.plus(part(&genres));
            }
        }
        let mut weights: Vec<(String, Fraction)> = weights.into_iter().collect();
        weights.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.as_bytes().cmp(b.0.as_bytes())));
        weights
    }
}

/// The users of the fan events among these.
pub fn fans(entries: &[&Entry]) -> BTreeSet<String> {
    entries.iter().filter(|entry| entry.is_fan_event()).map(|entry| entry.user_id().to_owned()).collect()
}

pub fn per_fan(entries: &[&Entry]) -> PerFan {
    let in_base = entries.iter().filter(|entry| entry.is_money() && entry.currency() == BASE_CURRENCY);
    let mut revenue_cents = 0;
    let mut paying = BTreeSet::new();
    for entry in in_base {
        match entry.kind.as_str() {
            "treasury.money_spent" => {
                revenue_cents += entry.amount_cents();
                paying.insert(entry.user_id());
            }
            "treasury.money_refunded" => revenue_cents -= entry.amount_cents(),
            _ => {}
        }
    }
    let (fans, paying_fans) = (fans(entries).len() as i64, paying.len() as i64);
    PerFan {
        revenue_cents,
        fans,
        paying_fans,
        cents_per_fan: quotient(revenue_cents, fans),
        cents_per_paying_fan: quotient(revenue_cents, paying_fans),
    }
}

/// None over nothing.
pub fn quotient(over: i64, under: i64) -> Option<f64> {
    (under != 0).then(|| over as f64 / under as f64)
}

/// `exp(-sum(p ln p))`: of how many equal shares these are worth. None where there are none.
fn effective_number(shares: &[f64]) -> Option<f64> {
    let entropy: f64 = shares.iter().map(|share| -share * share.ln()).sum();
    (!shares.is_empty()).then(|| entropy.exp())
}
