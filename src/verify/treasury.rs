//! The treasury from a list of entries, as plainly as it can be said: a sum for each artist, event and currency, a set of
//! users for each artist, and the artists that each attendance credits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::compact::{Numbered, Set, at};
use super::parts::{FEW_ROWS, Part, by_few};
use super::{Differences, Recomputed};
use crate::event::{Currency, Facts, Flow};
use crate::passport::Entry;
use crate::treasury::{Fans, Revenue, Setup, View};
use crate::units::Timestamp;

/// Everything that is told of one artist.
#[derive(Default)]
struct Artist {
    currencies: BTreeMap<Currency, Revenue>,
    /// By event.
    events: BTreeMap<(u32, Currency), Revenue>,
    fans: Set<u32>,
    paying_fans: Set<u32>,
}

/// One attendance, for line-ups that come later.
struct Attendance {
    user: u32,
    credited: Vec<u32>,
}

/// Artists, events and users are numbered.
pub struct Recomputation {
    setup: Setup,
    part: Part,
    artists: Numbered,
    events: Numbered,
    /// Of the artists of the part, by their place in it.
    of_artists: Vec<Artist>,
    /// By number.
    have_money: Vec<bool>,
    artist_names: HashMap<u32, String>,
    event_names: HashMap<u32, String>,
    lineups: HashMap<u32, Vec<u32>>,
    attendances: HashMap<u32, Vec<Attendance>>,
}

impl Recomputation {
    pub fn new(setup: &Setup, part: Part) -> Recomputation {
        Recomputation {
            setup: setup.clone(),
            part,
            artists: Numbered::default(),
            events: Numbered::default(),
            of_artists: Vec::new(),
            have_money: Vec::new(),
            artist_names: HashMap::new(),
            event_names: HashMap::new(),
            lineups: HashMap::new(),
            attendances: HashMap::new(),
        }
    }

    /// `None` of an artist of another part.
    fn artist(&mut self, artist: u32) -> Option<&mut Artist> {
        Some(at(&mut self.of_artists, self.part.place(artist)?))
    }

    fn fan(&mut self, artist: u32, user: u32) {
        if let Some(artist) = self.artist(artist) {
            artist.fans.insert(user);
        }
    }

    fn attended(&mut self, event: u32, user: u32, credited: Vec<u32>) {
        self.attendances.entry(event).or_default().push(Attendance { user, credited });
    }

    /// A line-up: who is new on it gets the users of the attendances that do not credit it yet.
    fn schedule(&mut self, event: u32, listed: &[u32]) {
        let lineup = self.lineups.entry(event).or_default();
        lineup.retain(|artist| listed.contains(artist));
        let joined: Vec<u32> = listed.iter().filter(|artist| !lineup.contains(artist)).copied().collect();
        lineup.extend(&joined);
        let mut attendances = self.attendances.remove(&event).unwrap_or_default();
        for artist in joined {
            for attendance in attendances.iter_mut().filter(|attendance| !attendance.credited.contains(&artist)) {
                attendance.credited.push(artist);
                self.fan(artist, attendance.user);
            }
        }
        self.attendances.insert(event, attendances);
    }

    fn compare_everyone(&self, view: &View, found: &mut Differences) {
        found.compare("how many artists there are", &(view.known_artists() as usize), &self.artists.names.len());
        let listed: Vec<&str> = view.revenue(None).map(|(id, _)| id).collect();
        let with_money = self.artists.names.iter().zip(&self.have_money).filter(|(_, has_money)| **has_money);
        let mut with_money: Vec<&str> = with_money.map(|(id, _)| &**id).collect();
        with_money.sort_unstable();
        found.compare("the artists with money", &listed, &with_money);
        for (number, id) in (0..).zip(&self.artists.names) {
            let name = view.artist(id).and_then(|artist| view.artist_name(artist));
            let expected = self.artist_names.get(&number).map(String::as_str);
            if name != expected {
                found.compare(&format!("the name of {id:?}"), &name, &expected);
            }
        }
    }

    fn compare_artist(&self, view: &View, id: &str, expected: &mut Artist, found: &mut Differences) {
        let Some(artist) = view.artist(id) else {
            found.tell(format!("the artist {id:?} is not known"));
            return;
        };
        let count = |users: &mut Set<u32>| users.members().len() as u64;
        let fans = Fans { fans: count(&mut expected.fans), paying_fans: count(&mut expected.paying_fans) };
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
        let mut expected: Vec<_> = expected
            .events
            .iter()
            .map(|((event, currency), revenue)| {
                let name = self.event_names.get(event).cloned();
                (self.events.name(*event).to_owned(), *currency, name, *revenue)
            })
            .collect();
        expected.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        found.compare_read(&format!("the money of the events of {id:?}"), events, &expected);
    }
}

impl Recomputed for Recomputation {
    type View = View;

    fn add(&mut self, entry: &Entry<'_>, facts: &Facts<'_>, user: u32) -> Result<(), String> {
        let named = self.setup.credits_type(entry.envelope.event_type);
        let mut credited: Vec<u32> = facts.credited(named).map(|id| self.artists.number(id)).collect();
        let event = facts.event_id().map(|id| self.events.number(id));
        if let (Facts::Attended { .. }, Some(event)) = (facts, event) {
            for artist in self.lineups.get(&event).into_iter().flatten() {
                if !credited.contains(artist) {
                    credited.push(*artist);
                }
            }
        }
        if facts.is_fan_event() {
            credited.iter().for_each(|artist| self.fan(*artist, user));
        }
        match (facts, event) {
            (Facts::Money { flow, amount_cents, currency, role, .. }, event) => {
                let currency = Currency::of(currency).ok_or("a currency is none")?;
                let is_paid = *flow == Flow::Spent && currency == self.setup.base_currency();
                for number in credited {
                    *at(&mut self.have_money, number as usize) = true;
                    let Some(artist) = self.artist(number) else { continue };
                    if is_paid {
                        artist.paying_fans.insert(user);
                    }
                    let sums = artist.currencies.entry(currency);
                    pay(sums.or_default(), *flow, role.as_deref(), i128::from(*amount_cents), entry.at());
                    if let Some(event) = event {
                        let sums = artist.events.entry((event, currency));
                        pay(sums.or_default(), *flow, role.as_deref(), i128::from(*amount_cents), entry.at());
                    }
                }
            }
            (Facts::Attended { .. }, Some(event)) => self.attended(event, user, credited),
            (Facts::Scheduled { name, .. }, Some(event)) => {
                if let Some(name) = name {
                    self.event_names.insert(event, name.to_string());
                }
                self.schedule(event, &credited);
            }
            (Facts::Profile { artist_id, artist_name, .. }, _) => {
                let artist = self.artists.number(artist_id);
                self.artist_names.insert(artist, artist_name.to_string());
            }
            _ => {}
        }
        Ok(())
    }

    fn compare(
        mut self,
        view: &View,
        _: &Arc<Numbered>,
        found: &mut Differences,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Recomputation> {
        if self.part.is_first() {
            self.compare_everyone(view, found);
        }
        // Who did nothing for money or fans is there too.
        let artists = (0..).zip(&self.artists.names).filter_map(|(number, id)| Some((self.part.place(number)?, id)));
        let artists: Vec<(usize, &str)> = artists.map(|(place, id)| (place, &**id)).collect();
        let mut expected = std::mem::take(&mut self.of_artists);
        let narrowed = |few: &[(usize, &str)]| view.of_artists(few.iter().map(|(_, id)| *id), FEW_ROWS).ok().flatten();
        by_few(view, &artists, &narrowed, goes_on, &mut |view, (place, id)| {
            self.compare_artist(view, id, at(&mut expected, *place), found);
        });
        self.part.next().map(|part| Recomputation::new(&self.setup, part))
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
