//! The treasury from a list of entries, as plainly as it can be said: a sum for each artist, event and currency, a set of
//! users for each artist, and the artists that each attendance credits.

use std::collections::{BTreeMap, BTreeSet};

use super::{Differences, Recomputed};
use crate::event::{Currency, Facts, Flow};
use crate::passport::Entry;
use crate::treasury::{Fans, Revenue, Setup, View};
use crate::units::Timestamp;

/// Everything that is told of one artist.
#[derive(Default)]
struct Artist {
    name: Option<String>,
    currencies: BTreeMap<Currency, Revenue>,
    events: BTreeMap<(String, Currency), Revenue>,
    fans: BTreeSet<String>,
    paying_fans: BTreeSet<String>,
}

/// One attendance, for line-ups that come later.
struct Attendance {
    user: String,
    credited: Vec<String>,
}

pub struct Recomputation {
    setup: Setup,
    artists: BTreeMap<String, Artist>,
    event_names: BTreeMap<String, String>,
    lineups: BTreeMap<String, Vec<String>>,
    attendances: BTreeMap<String, Vec<Attendance>>,
}

impl Recomputation {
    pub fn new(setup: &Setup) -> Recomputation {
        Recomputation {
            setup: setup.clone(),
            artists: BTreeMap::new(),
            event_names: BTreeMap::new(),
            lineups: BTreeMap::new(),
            attendances: BTreeMap::new(),
        }
    }

    fn artist(&mut self, id: &str) -> &mut Artist {
        self.artists.entry(id.to_owned()).or_default()
    }

    fn fan(&mut self, artist: &str, user: &str) {
        self.artist(artist).fans.insert(user.to_owned());
    }

    /// A line-up: who is new on it gets the users of the attendances that do not credit it yet.
    fn schedule(&mut self, event_id: &str, listed: &[String]) {
        let lineup = self.lineups.entry(event_id.to_owned()).or_default();
        lineup.retain(|artist| listed.contains(artist));
        let joined: Vec<String> = listed.iter().filter(|artist| !lineup.contains(artist)).cloned().collect();
        lineup.extend(joined.iter().cloned());
        let mut attendances = self.attendances.remove(event_id).unwrap_or_default();
        for artist in joined {
            for attendance in attendances.iter_mut().filter(|attendance| !attendance.credited.contains(&artist)) {
                attendance.credited.push(artist.clone());
                self.fan(&artist, &attendance.user);
            }
        }
        self.attendances.insert(event_id.to_owned(), attendances);
    }

    fn compare_artist(&self, view: &View, id: &str, expected: &Artist, found: &mut Differences) {
        let Some(artist) = view.artist(id) else {
            found.tell(format!("the artist {id:?} is not known"));
            return;
        };
        found.compare(&format!("the name of {id:?}"), &view.artist_name(artist), &expected.name.as_deref());
        let fans = Fans { fans: expected.fans.len() as u64, paying_fans: expected.paying_fans.len() as u64 };
        found.compare_read(&format!("the fans of {id:?}"), view.fans(artist), &fans);
        let currencies: Vec<(Currency, Revenue)> = expected.currencies.iter().map(|(c, r)| (*c, *r)).collect();
        found.compare(&format!("the money of {id:?}"), &view.currencies(id), &currencies.as_slice());
        let events = view.events(artist).map(|events| {
            let row = |event: crate::treasury::EventRevenue| {
                let name = event.event_name.map(|name| String::clone(&name));
                (event.event_id, event.currency, name, event.revenue)
            };
            events.into_iter().map(row).collect::<Vec<_>>()
        });
        let expected: Vec<_> = expected
            .events
            .iter()
            .map(|((event, currency), revenue)| {
                (event.clone(), *currency, self.event_names.get(event).cloned(), *revenue)
            })
            .collect();
        found.compare_read(&format!("the money of the events of {id:?}"), events, &expected);
    }
}

impl Recomputed for Recomputation {
    type View = View;

    fn add(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let envelope = &entry.envelope;
        let facts = Facts::of_stored(envelope.event_type, envelope.payload).map_err(|problem| problem.to_string())?;
        let named = self.setup.credits_type(envelope.event_type);
        let mut credited: Vec<String> = facts.credited(named).map(str::to_owned).collect();
        credited.iter().for_each(|id| _ = self.artist(id));
        if let Facts::Attended { event_id, .. } = &facts {
            for artist in self.lineups.get(&**event_id).into_iter().flatten() {
                if !credited.contains(artist) {
                    credited.push(artist.clone());
                }
            }
        }
        if facts.is_fan_event() {
            credited.iter().for_each(|artist| self.fan(artist, envelope.user_id));
        }
        match &facts {
            Facts::Money { flow, amount_cents, currency, role, event_id, .. } => {
                let currency = Currency::of(currency).ok_or("a currency is none")?;
                let base = self.setup.base_currency();
                for id in &credited {
                    let artist = self.artist(id);
                    if *flow == Flow::Spent && currency == base {
                        artist.paying_fans.insert(envelope.user_id.to_owned());
                    }
                    let sums = artist.currencies.entry(currency);
                    pay(sums.or_default(), *flow, role.as_deref(), i128::from(*amount_cents), entry.at());
                    if let Some(event_id) = event_id {
                        let sums = artist.events.entry((event_id.to_string(), currency));
                        pay(sums.or_default(), *flow, role.as_deref(), i128::from(*amount_cents), entry.at());
                    }
                }
            }
            Facts::Attended { event_id, .. } => {
                let attendance = Attendance { user: envelope.user_id.to_owned(), credited };
                self.attendances.entry(event_id.to_string()).or_default().push(attendance);
            }
            Facts::Scheduled { event_id, name, .. } => {
                if let Some(name) = name {
                    self.event_names.insert(event_id.to_string(), name.to_string());
                }
                self.schedule(event_id, &credited);
            }
            Facts::Profile { artist_id, artist_name, .. } => {
                self.artist(artist_id).name = Some(artist_name.to_string());
            }
            _ => {}
        }
        Ok(())
    }

    fn compare(self, view: &View, found: &mut Differences) {
        found.compare("how many artists there are", &(view.known_artists() as usize), &self.artists.len());
        let listed: Vec<&str> = view.revenue(None).map(|(id, _)| id).collect();
        let with_money = self.artists.iter().filter(|(_, artist)| !artist.currencies.is_empty());
        found.compare("the artists with money", &listed, &with_money.map(|(id, _)| id.as_str()).collect());
        for (id, artist) in &self.artists {
            self.compare_artist(view, id, artist, found);
        }
    }
}

/// One event's money.
fn pay(sums: &mut Revenue, flow: Flow, role: Option<&str>, cents: i128, at: Timestamp) {
    match (flow, role) {
        (Flow::Spent, _) => sums.gross_cents += cents,
        (Flow::Refunded, _) => sums.refunded_cents += cents,
        (Flow::Earned, Some("artist")) => sums.earned_cents += cents,
        (Flow::Earned, Some("platform")) => sums.platform_cents += cents,
        (Flow::Reversed, Some("artist")) => sums.reversed_cents += cents,
        (Flow::Reversed, Some("platform")) => sums.platform_cents -= cents,
        (Flow::Earned | Flow::Reversed, _) => {}
    }
    if sums.transactions == 0 {
        (sums.first_at, sums.last_at) = (at, at);
    }
    sums.transactions += 1;
    (sums.first_at, sums.last_at) = (sums.first_at.min(at), sums.last_at.max(at));
}
