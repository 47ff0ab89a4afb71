//! Which metric an event counts in, and what else the counting projections ask of its fields.

use super::{Facts, Flow};

/// What is counted of the things that fans do: SPEC 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    EventsAttended,
    MoneySpent,
    MoneyEarned,
    VotesCast,
    TracksPlayed,
    Favorites,
    Follows,
    Shares,
}

impl Metric {
    pub const ALL: [Metric; 8] = [
        Metric::EventsAttended,
        Metric::MoneySpent,
        Metric::MoneyEarned,
        Metric::VotesCast,
        Metric::TracksPlayed,
        Metric::Favorites,
        Metric::Follows,
        Metric::Shares,
    ];

    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn name(self) -> &'static str {
        [
            "events_attended",
            "money_spent",
            "money_earned",
            "votes_cast",
            "tracks_played",
            "favorites",
            "follows",
            "shares",
        ][self as usize]
    }

    pub fn from_name(name: &str) -> Option<Metric> {
        Metric::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Whether it is kept once a currency.
    pub const fn is_money(self) -> bool {
        matches!(self, Metric::MoneySpent | Metric::MoneyEarned)
    }
}

/// What one event adds to its metric, beside one to the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure<'f> {
    pub metric: Metric,
    /// Cents of money, less than zero for a refund or a reversal; millionths of a vote's weight; else 1.
    pub sum: i128,
    /// Of money only.
    pub currency: Option<&'f str>,
}

impl Facts<'_> {
    /// What the event adds to its metric; `None` for a type that has none.
    pub fn measure(&self) -> Option<Measure<'_>> {
        let one = |metric| Some(Measure { metric, sum: 1, currency: None });
        match self {
            Facts::Attended { .. } => one(Metric::EventsAttended),
            Facts::Money { flow, amount_cents, currency, .. } => {
                let cents = i128::from(*amount_cents);
                let (metric, sum) = match flow {
                    Flow::Spent => (Metric::MoneySpent, cents),
                    Flow::Refunded => (Metric::MoneySpent, -cents),
                    Flow::Earned => (Metric::MoneyEarned, cents),
                    Flow::Reversed => (Metric::MoneyEarned, -cents),
                };
                Some(Measure { metric, sum, currency: Some(currency) })
            }
            Facts::Vote { weight, .. } => {
                let sum = weight.at_scale(6).expect("the catalogue takes no weight with more than 6 decimals");
                Some(Measure { metric: Metric::VotesCast, sum, currency: None })
            }
            Facts::Played { .. } => one(Metric::TracksPlayed),
            Facts::Favorited { .. } => one(Metric::Favorites),
            Facts::Follow { .. } => one(Metric::Follows),
            Facts::Share { .. } => one(Metric::Shares),
            Facts::Profile { .. } | Facts::Scheduled { .. } | Facts::Entitlement { .. } | Facts::Other { .. } => None,
        }
    }

    /// The event that the field `eventId` names: of an attendance, money, a vote, or a line-up.
    pub fn event_id(&self) -> Option<&str> {
        match self {
            Facts::Attended { event_id, .. } | Facts::Vote { event_id, .. } | Facts::Scheduled { event_id, .. } => {
                Some(event_id)
            }
            Facts::Money { event_id, .. } => event_id.as_deref(),
            _ => None,
        }
    }

    /// Where a fan was, as it is spelled: of an attendance or a play. [`fold_city`] says whether it names a place.
    pub fn city(&self) -> Option<&str> {
        match self {
            Facts::Attended { city, .. } => Some(city),
            Facts::Played { city, .. } => city.as_deref(),
            _ => None,
        }
    }

    /// Whether who does this is a fan of the artists that it credits: SPEC 2.4.
    pub const fn is_fan_event(&self) -> bool {
        match self {
            Facts::Money { flow, .. } => matches!(flow, Flow::Spent),
            Facts::Attended { .. }
            | Facts::Vote { .. }
            | Facts::Played { .. }
            | Facts::Favorited { .. }
            | Facts::Follow { .. }
            | Facts::Share { .. } => true,
            Facts::Profile { .. } | Facts::Scheduled { .. } | Facts::Entitlement { .. } | Facts::Other { .. } => false,
        }
    }
}

/// A city's name without the white space around it, and the form by which names of one city are equal. `None` where
/// nothing is left.
pub fn fold_city(name: &str) -> Option<(&str, String)> {
    let trimmed = name.trim();
    (!trimmed.is_empty()).then(|| (trimmed, trimmed.to_lowercase()))
}
