//! Where a view is not what the entries give.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::artist::{Day, Sets};
use super::{BY_DAY, Counted, Line, Sum, Totals, windows_of};
use crate::coliseum::metrics::{Analytics, Days, MetricsView, Part, SubjectKind, TopList, Total, What, When};
use crate::coliseum::{ArtistCard, ArtistNo, View};
use crate::event::Metric;
use crate::limits::LIST_LIMIT_MAX;
use crate::units::{Domain, MINUTES_PER_DAY, Minute, Window};
use crate::verify::compact::{Numbered, at};
use crate::verify::differences::Differences;
use crate::verify::parts::{FEW_ROWS, by_few};

/// How far apart two floats of one value may be.
const FLOAT_ERROR: f64 = 1e-12;
/// Cities that an answer lists.
const CITIES_LISTED: usize = 10;

/// What `LISTED` and `Global` are called.
const PLURALS: [&str; 4] = ["users", "artists", "events", "everything"];

/// The first of a top list: of the subjects with a count.
#[derive(Default)]
pub(super) struct Best {
    all: u64,
    /// By number; in no order.
    rows: Vec<(u32, Sum)>,
}

impl Counted {
    /// Uses the part up: what the view has is taken off what the entries give. Gives what counts the next part.
    pub fn compare(
        mut self,
        view: &View,
        users: &Arc<Numbered>,
        found: &mut Differences,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Counted> {
        self.users = users.clone();
        if self.part.is_first() {
            found.begin("known users and events");
            let metrics = view.metrics();
            found.compare("how many users there are", &metrics.users(), &self.known_users);
            found.compare("how many events there are", &(metrics.events() as usize), &self.events.names.len());
            self.compare_everything(view, found);
            self.compare_entitlements(view, found);
        }
        self.enter_tops();
        self.compare_analytics(view, found, goes_on);
        self.take_off(view, found);
        self.tell_what_is_left(found);
        match self.part.next() {
            Some(part) => Some(Counted::of_part(self.now, self.base_currency, part, self.tops)),
            None => {
                self.compare_tops(view, found);
                None
            }
        }
    }

    fn names(&self, kind: SubjectKind) -> &Numbered {
        match kind {
            SubjectKind::User => &self.users,
            SubjectKind::Artist => &self.artists,
            SubjectKind::Event | SubjectKind::Global => &self.events,
        }
    }

    /// Every line that there can be, with the currency of money.
    fn lines(&self) -> Vec<(Line, String)> {
        let in_currencies = |metric: Metric| {
            let currencies = (0..).zip(&self.currencies.names);
            currencies.map(move |(number, name)| ((metric, Some(number)), name.to_string()))
        };
        let (money, others): (Vec<Metric>, Vec<Metric>) = Metric::ALL.into_iter().partition(|metric| metric.is_money());
        let others = others.into_iter().map(|metric| ((metric, None), self.base_currency.to_string()));
        others.chain(money.into_iter().flat_map(in_currencies)).collect()
    }

    fn line_name(&self, (metric, currency): Line) -> String {
        match currency {
            Some(currency) => format!("{}:{}", metric.name(), self.currencies.name(currency)),
            None => metric.name().to_owned(),
        }
    }

    fn compare_everything(&self, view: &View, found: &mut Differences) {
        found.begin("totals of everything");
        let of_everything = self.totals[SubjectKind::Global as usize].first().cloned().unwrap_or_default();
        for (line, currency) in self.lines() {
            for window in Window::ALL {
                let total = view.metrics().total(SubjectKind::Global, 0, line.0, &currency, window);
                let total = total.map(Sum::from);
                let what = format!("{} of everything, {}", self.line_name(line), window.name());
                found.compare_read(&what, total, &of_everything.get(line)[window.index()]);
            }
        }
    }

    /// By sum, then id.
    fn order(&self, kind: SubjectKind, a: &(u32, Sum), b: &(u32, Sum)) -> Ordering {
        let ids = self.names(kind);
        b.1.sum.cmp(&a.1.sum).then_with(|| ids.name(a.0).cmp(ids.name(b.0)))
    }

    /// Enters the subjects of the part into the top lists.
    fn enter_tops(&mut self) {
        let mut tops = std::mem::take(&mut self.tops);
        for kind in SubjectKind::LISTED {
            for (place, lines) in self.totals[kind as usize].iter().enumerate() {
                let number = self.part.number(place);
                for ((line, sums), window) in lines.0.iter().flat_map(|line| Window::ALL.map(|window| (line, window))) {
                    let sum = sums[window.index()];
                    if sum.count > 0 {
                        let best = tops.entry((kind, *line, window)).or_default();
                        best.all += 1;
                        best.rows.push((number, sum));
                        if best.rows.len() >= 2 * LIST_LIMIT_MAX {
                            best.rows.select_nth_unstable_by(LIST_LIMIT_MAX, |a, b| self.order(kind, a, b));
                            best.rows.truncate(LIST_LIMIT_MAX);
                        }
                    }
                }
            }
        }
        self.tops = tops;
    }

    fn compare_tops(&mut self, view: &View, found: &mut Differences) {
        let mut tops = std::mem::take(&mut self.tops);
        for kind in SubjectKind::LISTED {
            for (line, currency) in self.lines() {
                for window in Window::ALL {
                    let Best { all, rows: mut expected } = tops.remove(&(kind, line, window)).unwrap_or_default();
                    expected.sort_unstable_by(|a, b| self.order(kind, a, b));
                    expected.truncate(LIST_LIMIT_MAX);
                    let name = format!("top {} by {}, {}", PLURALS[kind as usize], self.line_name(line), window.name());
                    let top = view.metrics().top(kind, line.0, &currency, window, LIST_LIMIT_MAX, view.cards());
                    self.compare_top(&name, (kind, &top), (all, &expected), found);
                }
            }
        }
    }

    fn compare_top(
        &self,
        name: &str,
        (kind, top): (SubjectKind, &TopList),
        (all, expected): (u64, &[(u32, Sum)]),
        found: &mut Differences,
    ) {
        found.begin(name);
        found.compare(&format!("{name}: how many there are"), &top.total, &all);
        found.compare(&format!("{name}: how many are listed"), &top.rows.len(), &expected.len());
        let (mut rank, mut above) = (0, None);
        for ((position, row), (number, sum)) in (1..).zip(&top.rows).zip(expected) {
            if above != Some(sum.sum) {
                (rank, above) = (position, Some(sum.sum));
            }
            let found_row = (row.position, row.rank, row.id.as_str(), Sum::from(row.total));
            let expected_row = (position, rank, self.names(kind).name(*number), *sum);
            found.compare(&format!("{name}, position {position}"), &found_row, &expected_row);
        }
    }

    fn compare_analytics(&mut self, view: &View, found: &mut Differences, goes_on: &mut dyn FnMut() -> bool) {
        found.begin("analytics");
        let mut sets: Vec<(Sets, Sets)> = Vec::with_capacity(self.of_artists.len());
        let mut known: Vec<(usize, ArtistNo)> = Vec::with_capacity(self.of_artists.len());
        for (place, artist) in self.of_artists.iter_mut().enumerate() {
            sets.push((std::mem::take(&mut artist.recent), std::mem::take(&mut artist.ever)));
            let id = self.artists.name(self.part.number(place));
            match view.artist(id) {
                Some(artist) => known.push((place, artist)),
                None => found.tell(format!("the artist {id:?} is not known")),
            }
        }
        let narrowed = |few: &[(usize, ArtistNo)]| {
            let mut numbers: Vec<u32> = few.iter().map(|(_, artist)| artist.get()).collect();
            numbers.sort_unstable();
            view.metrics().of_artists(&numbers, FEW_ROWS).ok().flatten()
        };
        by_few(view.metrics(), &known, &narrowed, goes_on, &mut |metrics, (place, artist)| {
            self.compare_artist(metrics, view.card(*artist), (*place, *artist), &mut sets[*place], found);
        });
    }

    fn compare_artist(
        &self,
        metrics: &MetricsView,
        card: &ArtistCard,
        (place, artist): (usize, ArtistNo),
        (recent, ever): &mut (Sets, Sets),
        found: &mut Differences,
    ) {
        let in_base =
            self.currencies.numbers.get(&self.base_currency).map(|number| (Metric::MoneySpent, Some(*number)));
        let totals = self.totals[SubjectKind::Artist as usize].get(place);
        let spent = in_base.and_then(|line| Some(totals?.get(line))).unwrap_or_default();
        for (days, window, sets) in [(Days::Last(30), Window::Days30, recent), (Days::AllTime, Window::AllTime, ever)] {
            let what = format!("analytics of {:?}, {}", self.artists.name(self.part.number(place)), window.name());
            let of_view = match metrics.analytics(artist.get(), card, days) {
                Ok(of_view) => of_view,
                Err(error) => {
                    found.tell(format!("{what}: {error}"));
                    continue;
                }
            };
            let (fans, repeat_fans) = sets.fans();
            found.compare(&format!("{what}: fans"), &of_view.fans, &fans);
            found.compare(&format!("{what}: repeat fans"), &of_view.repeat_fans, &repeat_fans);
            found.compare(&format!("{what}: paying fans"), &of_view.paying_fans, &sets.payers());
            found.compare(&format!("{what}: revenue"), &of_view.revenue_cents, &spent[window.index()].sum);
            self.compare_genres(&what, &of_view, sets, card, found);
            self.compare_reach(&what, &of_view, sets, found);
        }
    }

    fn compare_genres(&self, what: &str, of_view: &Analytics, sets: &Sets, card: &ArtistCard, found: &mut Differences) {
        // In whole parts of a play, of which each has as many as the profile has genres.
        let parts = card.genres.len().max(1) as u64;
        let mut weights: BTreeMap<&str, u64> = BTreeMap::new();
        for (genre, count) in &sets.plays {
            match genre {
                Some(genre) => *weights.entry(self.genres.name(*genre)).or_default() += count * parts,
                None => card.genres.iter().for_each(|genre| *weights.entry(genre).or_default() += count),
            }
        }
        let all: u64 = weights.values().sum();
        let mut expected: Vec<(&str, u64)> = weights.into_iter().collect();
        expected.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let names: Vec<&str> = expected.iter().map(|(genre, _)| *genre).collect();
        let shares: Vec<f64> = expected.iter().map(|(_, weight)| *weight as f64 / all as f64).collect();
        let found_names: Vec<&str> = of_view.genres.iter().map(|share| share.genre.as_str()).collect();
        found.compare(&format!("{what}: genres"), &found_names, &names);
        let found_shares: Vec<f64> = of_view.genres.iter().map(|share| share.share).collect();
        compare_floats(&format!("{what}: shares of genres"), &found_shares, &shares, found);
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        let score = (!shares.is_empty()).then_some(1.0 - squares);
        compare_floats(&format!("{what}: genre diversity"), &one(of_view.genre_diversity()), &one(score), found);
        let effective = one(effective(&shares));
        compare_floats(&format!("{what}: effective genres"), &one(of_view.effective_genres()), &effective, found);
    }

    fn compare_reach(&self, what: &str, of_view: &Analytics, sets: &Sets, found: &mut Differences) {
        let all: u64 = sets.places.values().sum();
        let mut expected: Vec<(u32, u64)> = sets.places.iter().map(|(city, count)| (*city, *count)).collect();
        let folded = |city: u32| self.cities.name(city);
        expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| folded(a.0).cmp(folded(b.0))));
        let shares: Vec<f64> = expected.iter().map(|(_, count)| *count as f64 / all as f64).collect();
        found.compare(&format!("{what}: cities"), &of_view.reach.cities, &(expected.len() as u64));
        let effective = one(effective(&shares));
        compare_floats(&format!("{what}: effective cities"), &one(of_view.reach.effective_cities), &effective, found);
        let spelled = |(city, count): (u32, u64)| (self.spellings[city as usize].to_string(), count);
        let top: Vec<(String, u64)> = expected.into_iter().take(CITIES_LISTED).map(spelled).collect();
        found.compare(&format!("{what}: top cities"), &of_view.reach.top, &top);
    }

    fn compare_entitlements(&self, view: &View, found: &mut Differences) {
        found.begin("entitlements");
        found.compare("how many users were given a plan", &view.entitled_users(), &self.entitlements.len());
        for (number, id) in (0..self.known_users).zip(&self.users.names) {
            let (of_view, expected) = (view.entitlement(id), self.entitlements.get(&number));
            if of_view != expected {
                found.compare(&format!("the entitlement of {id:?}"), &of_view, &expected);
            }
        }
    }

    /// The numbers that the view has for the subjects of a kind, to those that they have here.
    fn numbers_of(&self, view: &View, kind: SubjectKind, found: &mut Differences) -> Vec<Option<u32>> {
        let mut numbers = Vec::new();
        if kind == SubjectKind::Global {
            return vec![Some(0)];
        }
        let known = if kind == SubjectKind::User { self.known_users } else { u32::MAX };
        for (own, id) in (0..known).zip(&self.names(kind).names) {
            let number = match kind {
                SubjectKind::User => view.metrics().user(id),
                SubjectKind::Artist => view.artist(id).map(|artist| artist.get()),
                SubjectKind::Event | SubjectKind::Global => view.metrics().event(id),
            };
            match number {
                Some(number) => *at(&mut numbers, number as usize) = Some(own),
                None if self.part.is_first() => {
                    found.tell(format!("{id:?} is not known among the {}", PLURALS[kind as usize]));
                }
                None => {}
            }
        }
        numbers
    }

    /// Takes everything that the view has off the totals and the days.
    fn take_off(&mut self, view: &View, found: &mut Differences) {
        found.begin("rows");
        let numbers = SubjectKind::ALL.map(|kind| self.numbers_of(view, kind, found));
        let currencies: Vec<u32> =
            view.metrics().currencies().iter().map(|name| self.currencies.number(name)).collect();
        let mut unknown: BTreeSet<(&str, u32)> = BTreeSet::new();
        let read = view.metrics().for_each_part(&mut |part| {
            let own = numbers[part.kind as usize].get(part.subject as usize).copied().flatten();
            let currency = match part.what {
                What::Metric(_, Some(currency)) => currencies.get(currency as usize).copied().map(Some),
                What::Metric(_, None) | What::Points(_) => Some(None),
            };
            match (own, currency) {
                (Some(own), Some(currency)) => self.take_part(own, currency, part),
                _ => _ = unknown.insert((PLURALS[part.kind as usize], part.subject)),
            }
        });
        if let Err(error) = read {
            found.tell(format!("the rows of all subjects: {error}"));
        }
        for (kind, number) in unknown {
            found.tell(format!("rows of number {number} of the {kind}, whom the log does not name, or of no currency"));
        }
    }

    fn take_part(&mut self, own: u32, currency: Option<u32>, part: Part) {
        // Those of the other parts are looked at with theirs.
        let Some(place) = self.part.place(own) else { return };
        let (now, sum) = (self.now, Sum::from(part.total));
        match (part.what, part.when) {
            (What::Points(domain), When::Day(start)) => {
                at(&mut self.of_artists, place).day(start).points[domain.index()] -= sum.sum;
            }
            (What::Points(domain), When::Minute(minute)) => {
                let points = &mut at(&mut self.of_artists, place).points;
                windows_of(now, minute).for_each(|window| points[window.index()][domain.index()] -= sum.sum);
            }
            (What::Metric(metric, _), when) => {
                let line = (metric, currency);
                let sums = at(&mut self.totals[part.kind as usize], place).at(line);
                match when {
                    When::Minute(minute) => windows_of(now, minute).for_each(|w| sums[w.index()].add(-1, sum)),
                    When::Day(start) => {
                        sums[BY_DAY].add(-1, sum);
                        if part.kind == SubjectKind::Artist {
                            at(&mut self.of_artists, place).day(start).lines.at(line).add(-1, sum);
                        }
                    }
                }
            }
        }
    }

    fn tell_what_is_left(&self, found: &mut Differences) {
        for kind in SubjectKind::ALL {
            found.begin(&format!("totals of {}", PLURALS[kind as usize]));
            for (place, totals) in self.totals[kind as usize].iter().enumerate() {
                self.tell_totals(kind, self.part.number(place), totals, found);
            }
        }
        found.begin("points and rollups of artists");
        for (place, artist) in self.of_artists.iter().enumerate() {
            let id = self.artists.name(self.part.number(place));
            self.tell_points(id, &artist.points, found);
            for (day, left) in &artist.days {
                self.tell_day(id, *day, left, found);
            }
        }
    }

    fn tell_totals(&self, kind: SubjectKind, number: u32, totals: &Totals, found: &mut Differences) {
        const NAMES: [&str; 4] = [Window::Days7.name(), Window::Days30.name(), Window::AllTime.name(), "all days"];
        const _: () = assert!(NAMES.len() == BY_DAY + 1);
        for (line, left) in &totals.0 {
            for (left, name) in left.iter().zip(NAMES).filter(|(left, _)| **left != Sum::default()) {
                let id = match kind {
                    SubjectKind::Global => "global",
                    _ => self.names(kind).name(number),
                };
                found.tell(format!("{} of the {} {id:?}, {name}: {left}", self.line_name(*line), kind.name()));
            }
        }
    }

    fn tell_points(&self, id: &str, left: &[[i128; 4]; 3], found: &mut Differences) {
        for window in Window::ALL {
            for domain in Domain::ALL {
                let points = left[window.index()][domain.index()];
                if points != 0 {
                    let (letter, window) = (domain.upper(), window.name());
                    found.tell(format!("{letter} of the artist {id:?}, {window}: {}", LeftPoints(points)));
                }
            }
        }
    }

    fn tell_day(&self, id: &str, day: i64, left: &Day, found: &mut Differences) {
        let start = || Minute::new(day * MINUTES_PER_DAY).start().to_rfc3339();
        for (line, left) in left.lines.0.iter().filter(|(_, left)| *left != Sum::default()) {
            found.tell(format!("{} of the artist {id:?} on the day from {}: {left}", self.line_name(*line), start()));
        }
        for domain in Domain::ALL.into_iter().filter(|domain| left.points[domain.index()] != 0) {
            let left = LeftPoints(left.points[domain.index()]);
            found.tell(format!("{} of the artist {id:?} on the day from {}: {left}", domain.upper(), start()));
        }
    }
}

impl From<Total> for Sum {
    fn from(total: Total) -> Sum {
        Sum { count: total.count as i64, sum: total.sum }
    }
}

/// What is left of what the log gives when what the view has is taken off.
impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the log gives {:+} to the view's count, {:+} to its sum", self.count, self.sum)
    }
}

/// The same of micro-points.
struct LeftPoints(i128);

impl std::fmt::Display for LeftPoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the log gives {:+} to the view's micro-points", self.0)
    }
}

/// `exp(-sum(p ln p))`.
fn effective(shares: &[f64]) -> Option<f64> {
    let entropy: f64 = shares.iter().map(|share| -share * share.ln()).sum();
    (!shares.is_empty()).then(|| entropy.exp())
}

/// A value that may not be there, as a list.
fn one(value: Option<f64>) -> Vec<f64> {
    value.into_iter().collect()
}

fn compare_floats(what: &str, of_view: &[f64], expected: &[f64], found: &mut Differences) {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= FLOAT_ERROR * b.abs().max(1.0);
    if of_view.len() != expected.len() || !of_view.iter().zip(expected).all(near) {
        found.compare(what, &of_view, &expected);
    }
}
