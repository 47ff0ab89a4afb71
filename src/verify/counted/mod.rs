//! What is counted of everyone, from a list of entries, as plainly as it can be said: each event is added to every total,
//! bucket and set that it belongs to. [`compare`] holds a view against that.

mod artist;
mod compare;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::coliseum::Rules;
use crate::coliseum::entitlements::Entitlement;
use crate::coliseum::metrics::SubjectKind;
use crate::coliseum::plans::Domains;
use crate::event::{Facts, Flow, Metric, fold_city};
use crate::passport::Entry;
use crate::units::{Minute, Window};
use crate::verify::compact::{Numbered, at};
use crate::verify::parts::Part;

use artist::Artist;
use compare::Best;

/// How often, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: i64,
    sum: i128,
}

impl Sum {
    fn add(&mut self, sign: i64, other: Sum) {
        self.count += sign * other.count;
        self.sum += i128::from(sign) * other.sum;
    }
}

/// A metric; of money in one currency, by number.
type Line = (Metric, Option<u32>);

/// Few lines each.
#[derive(Clone, Debug)]
struct Lines<T>(Vec<(Line, T)>);

impl<T> Default for Lines<T> {
    fn default() -> Lines<T> {
        Lines(Vec::new())
    }
}

impl<T: Copy + Default> Lines<T> {
    fn get(&self, line: Line) -> T {
        self.0.iter().find(|(of, _)| *of == line).map_or_else(T::default, |(_, value)| *value)
    }
    fn at(&mut self, line: Line) -> &mut T {
        let place = self.0.iter().position(|(of, _)| *of == line).unwrap_or_else(|| {
            self.0.push((line, T::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

/// In the three windows, and what the view also keeps by the day, of all time.
type Totals = Lines<[Sum; 4]>;
const BY_DAY: usize = 3;

/// An event, as far as it counts.
#[derive(Clone, Copy, Debug)]
struct Deed {
    minute: i64,
    line: Line,
    sum: i128,
    user: u32,
    city: Option<u32>,
    is_of_a_fan: bool,
    is_paid_in_base: bool,
    /// Of a play that scores, by number.
    genre: Option<Option<u32>>,
}

/// Whose attendance it was, and in which city: for line-ups that come later.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    user: u32,
    city: Option<u32>,
}

pub struct Counted {
    /// The minute that the windows end at.
    now: i64,
    base_currency: Arc<str>,
    known_users: u32,
    /// There when it compares.
    users: Arc<Numbered>,
    artists: Numbered,
    events: Numbered,
    currencies: Numbered,
    genres: Numbered,
    /// By the form by which names of one city are equal, and as they are spelled first.
    cities: Numbered,
    spellings: Vec<Arc<str>>,
    part: Part,
    /// By kind, and the subject's place in the part.
    totals: [Vec<Totals>; SubjectKind::ALL.len()],
    of_artists: Vec<Artist>,
    /// The top lists of this part and those before it.
    tops: BTreeMap<(SubjectKind, Line, Window), Best>,
    entitlements: HashMap<u32, Entitlement>,
}

impl Counted {
    pub fn new(rules: &Rules, minute: Minute, part: Part) -> Counted {
        Counted::of_part(minute.get(), rules.base_currency().into(), part, BTreeMap::new())
    }

    fn of_part(
        now: i64,
        base_currency: Arc<str>,
        part: Part,
        tops: BTreeMap<(SubjectKind, Line, Window), Best>,
    ) -> Counted {
        Counted {
            now,
            base_currency,
            part,
            tops,
            known_users: 0,
            users: Arc::default(),
            artists: Numbered::default(),
            events: Numbered::default(),
            currencies: Numbered::default(),
            genres: Numbered::default(),
            cities: Numbered::default(),
            spellings: Vec::new(),
            totals: Default::default(),
            of_artists: Vec::new(),
            entitlements: HashMap::new(),
        }
    }

    /// Takes an entry, the number of its user and whom it credits when it is folded. `scores`: the rule of its type takes it.
    pub fn add(
        &mut self,
        entry: &Entry<'_>,
        facts: &Facts<'_>,
        user: u32,
        scores: bool,
        credited: &[Arc<str>],
    ) -> Guest {
        self.known_users = self.known_users.max(user + 1);
        let event = facts.event_id().map(|id| self.events.number(id));
        let city = facts.city().and_then(fold_city).map(|(spelled, folded)| self.city(spelled, &folded));
        if let Facts::Entitlement { plan, domains, leaderboard_depth, expires_at, .. } = facts {
            let given = Entitlement {
                seq: entry.seq,
                plan: *plan,
                domains: domains.as_ref().and_then(|letters| Domains::named(letters.iter().map(AsRef::as_ref))),
                leaderboard_depth: *leaderboard_depth,
                expires_at: *expires_at,
            };
            self.entitlements.insert(user, given);
        }
        if let Some(measure) = facts.measure() {
            let is_paid_in_base = match facts {
                Facts::Money { flow: Flow::Spent, currency, .. } => **currency == *self.base_currency,
                _ => false,
            };
            let genre = match facts {
                Facts::Played { genre, .. } if scores => Some(genre.as_ref().map(|genre| self.genres.number(genre))),
                _ => None,
            };
            let deed = Deed {
                minute: entry.at().minute().get(),
                line: (measure.metric, measure.currency.map(|currency| self.currencies.number(currency))),
                sum: measure.sum,
                user,
                city,
                is_of_a_fan: facts.is_fan_event(),
                is_paid_in_base,
                genre,
            };
            self.add_to(SubjectKind::User, user, &deed);
            self.add_to(SubjectKind::Global, 0, &deed);
            if let Some(event) = event {
                self.add_to(SubjectKind::Event, event, &deed);
            }
            credited.iter().for_each(|artist| self.add_to_artist(artist, &deed));
        }
        Guest { user, city }
    }

    /// Takes an attendance that a late line-up credits to an artist.
    pub fn add_late(&mut self, minute: Minute, guest: Guest, artist: &str) {
        let deed = Deed {
            minute: minute.get(),
            line: (Metric::EventsAttended, None),
            sum: 1,
            user: guest.user,
            city: guest.city,
            is_of_a_fan: true,
            is_paid_in_base: false,
            genre: None,
        };
        self.add_to_artist(artist, &deed);
    }

    /// Takes what an artist got in a minute.
    pub fn add_points(&mut self, minute: Minute, artist: &str, points: [i128; 4]) {
        if points != [0; 4] {
            let (now, number) = (self.now, self.artists.number(artist));
            if let Some(artist) = self.artist(number) {
                artist.add_points(minute.get(), now, points);
            }
        }
    }

    /// Does nothing where the subject is in another part.
    fn add_to(&mut self, kind: SubjectKind, subject: u32, deed: &Deed) {
        let Some(place) = self.part.place(subject) else { return };
        let sums = at(&mut self.totals[kind as usize], place).at(deed.line);
        windows_of(self.now, deed.minute).for_each(|window| sums[window.index()].add(1, deed.of_one()));
        if kind != SubjectKind::User {
            sums[BY_DAY].add(1, deed.of_one());
        }
    }

    fn add_to_artist(&mut self, artist: &str, deed: &Deed) {
        let (now, number) = (self.now, self.artists.number(artist));
        if let Some(artist) = self.artist(number) {
            artist.add(deed, now);
            self.add_to(SubjectKind::Artist, number, deed);
        }
    }

    /// `None` of an artist of another part.
    fn artist(&mut self, number: u32) -> Option<&mut Artist> {
        Some(at(&mut self.of_artists, self.part.place(number)?))
    }

    fn city(&mut self, spelled: &str, folded: &str) -> u32 {
        let city = self.cities.number(folded);
        if self.spellings.len() <= city as usize {
            self.spellings.push(spelled.into());
        }
        city
    }
}

impl Deed {
    fn of_one(&self) -> Sum {
        Sum { count: 1, sum: self.sum }
    }
}

/// The windows that hold a minute.
fn windows_of(now: i64, minute: i64) -> impl Iterator<Item = Window> {
    Window::ALL.into_iter().filter(move |window| window.minutes().is_none_or(|minutes| minute > now - minutes))
}
