//! SPEC 2.5: the treasury views.

use super::Entry;
use super::analytics::{PerFan, per_fan};
use super::moment::Moment;

/// The row that SPEC 8 calls R, and the event that it is of where it is of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Revenue {
    pub artist: String,
    pub event: Option<String>,
    pub currency: String,
    pub gross_cents: i64,
    pub refunded_cents: i64,
    pub earned_cents: i64,
    pub reversed_cents: i64,
    pub net_cents: i64,
    pub platform_cents: i64,
    pub transactions: i64,
    /// Microseconds.
    pub first_at: i64,
    pub last_at: i64,
}

impl Entry {
    pub fn is_money(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "treasury.money_spent" | "treasury.money_refunded" | "treasury.money_earned" | "treasury.earning_reversed"
        )
    }
    pub fn amount_cents(&self) -> i64 {
        i64::try_from(self.fields.at("amountCents").as_decimal().to_micro() / 1_000_000).expect("at most 10^12")
    }
    pub fn currency(&self) -> &str {
        self.fields.text_of("currency").unwrap_or("usd")
    }
    fn role(&self) -> &str {
        self.fields.text_of("role").unwrap_or("platform")
    }
}

impl Moment<'_> {
    /// One row per artist and currency, by artist, then currency.
    pub fn revenue(&self) -> Vec<Revenue> {
        let artists = self.known("artist").into_iter();
        artists.flat_map(|artist| self.artist_revenue(&artist)).collect()
    }

    /// One row per currency, by currency.
    pub fn artist_revenue(&self, artist: &str) -> Vec<Revenue> {
        by_currency(artist, None, &self.money_of(artist))
    }

    /// One row per event and currency, by event, then currency.
    pub fn event_revenue(&self, artist: &str) -> Vec<Revenue> {
        let all = self.money_of(artist);
        let mut events: Vec<&str> = all.iter().filter_map(|entry| entry.event_id()).collect();
        events.sort();
        events.dedup();
        let mut rows = Vec::new();
        for event in events {
            let here: Vec<&Entry> = all.iter().filter(|entry| entry.event_id() == Some(event)).copied().collect();
            rows.extend(by_currency(artist, Some(event), &here));
        }
        rows
    }

    /// Of all time, in the base currency.
    pub fn revenue_per_fan(&self, artist: &str) -> PerFan {
        per_fan(&self.crediting(artist))
    }

    fn money_of(&self, artist: &str) -> Vec<&Entry> {
        self.crediting(artist).into_iter().filter(|entry| entry.is_money()).collect()
    }
}

fn by_currency(artist: &str, event: Option<&str>, entries: &[&Entry]) -> Vec<Revenue> {
    let mut currencies: Vec<&str> = entries.iter().map(|entry| entry.currency()).collect();
    currencies.sort();
    currencies.dedup();
    let rows = currencies.into_iter().map(|currency| {
        let own: Vec<&Entry> = entries.iter().filter(|entry| entry.currency() == currency).copied().collect();
        let sum = |kind: &str, role: Option<&str>| -> i64 {
            let counted = own.iter().filter(|entry| entry.kind == kind && role.is_none_or(|role| entry.role() == role));
            counted.map(|entry| entry.amount_cents()).sum()
        };
        let earned_cents = sum("treasury.money_earned", Some("artist"));
        let reversed_cents = sum("treasury.earning_reversed", Some("artist"));
        Revenue {
            artist: artist.to_owned(),
            event: event.map(str::to_owned),
            currency: currency.to_owned(),
            gross_cents: sum("treasury.money_spent", None),
            refunded_cents: sum("treasury.money_refunded", None),
            earned_cents,
            reversed_cents,
            net_cents: earned_cents - reversed_cents,
            platform_cents: sum("treasury.money_earned", Some("platform"))
                - sum("treasury.earning_reversed", Some("platform")),
            transactions: own.len() as i64,
            first_at: own.iter().map(|entry| entry.at).min().expect("a currency has an entry"),
            last_at: own.iter().map(|entry| entry.at).max().expect("a currency has an entry"),
        }
    });
    rows.collect()
}
