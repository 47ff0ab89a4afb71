//! The coliseum from a list of entries, as plainly as it can be said. Boards: every credit is added to every window that
//! holds its minute, and the artists are sorted. Profiles and line-ups: the last event of each. The rest is [`Counted`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::compact::Numbered;
use super::counted::{Counted, Guest};
use super::parts::Part;
use super::{Differences, Recomputed};
use crate::coliseum::scoring::{Verdict, judge};
use crate::coliseum::{Rules, View};
use crate::event::Facts;
use crate::passport::Entry;
use crate::units::{Domain, MINUTES_PER_DAY, Minute, Window};

/// Points by domain, micro.
type Points = [i128; 4];

/// One attendance, for line-ups that come later.
struct Attendance {
    minute: Minute,
    points: Points,
    guest: Guest,
    credited: Vec<Arc<str>>,
}

/// What profile events said of an artist.
#[derive(Debug, Default, PartialEq, Eq)]
struct Profile {
    name: Option<String>,
    genres: Vec<String>,
    home_city: Option<String>,
}

/// What line-up events said of an event.
#[derive(Default)]
struct Scheduled {
    name: Option<String>,
    lineup: Vec<Arc<str>>,
}

/// Sums of one artist: now and one day earlier, by window and domain.
#[derive(Clone, Default)]
struct Sums {
    now: [Points; 3],
    before: [Points; 3],
}

/// Boards, profiles and line-ups are small: each part has all of them, since late line-ups credit its artists too, and the
/// first one compares them.
pub struct Recomputation {
    rules: Arc<Rules>,
    minute: Minute,
    part: Part,
    sums: HashMap<Arc<str>, Sums>,
    profiles: HashMap<Arc<str>, Profile>,
    scheduled: HashMap<String, Scheduled>,
    attendances: HashMap<String, Vec<Attendance>>,
    /// Events of money without a rate.
    unconverted: u64,
    counted: Counted,
}

impl Recomputation {
    pub fn new(rules: Arc<Rules>, minute: Minute, part: Part) -> Recomputation {
        let counted = Counted::new(&rules, minute, part);
        Recomputation::of_part(rules, minute, part, counted)
    }

    fn of_part(rules: Arc<Rules>, minute: Minute, part: Part, counted: Counted) -> Recomputation {
        Recomputation {
            counted,
            rules,
            minute,
            part,
            sums: HashMap::new(),
            profiles: HashMap::new(),
            scheduled: HashMap::new(),
            attendances: HashMap::new(),
            unconverted: 0,
        }
    }

    /// A line-up: who is new on it is credited with the attendances that do not credit it yet.
    fn schedule(&mut self, event_id: &str, artist_ids: &[Cow<'_, str>], name: Option<&str>) {
        let wanted: Vec<Arc<str>> = artist_ids.iter().map(|id| self.shared(id)).collect();
        let Scheduled { lineup, name: known } = self.scheduled.entry(event_id.to_owned()).or_default();
        *known = name.map(str::to_owned).or(known.take());
        lineup.retain(|artist| wanted.contains(artist));
        let mut joined = Vec::new();
        for artist in wanted {
            if !lineup.contains(&artist) {
                lineup.push(artist.clone());
                joined.push(artist);
            }
        }
        let mut attendances = self.attendances.remove(event_id).unwrap_or_default();
        for artist in joined {
            for attendance in &mut attendances {
                if !attendance.credited.contains(&artist) {
                    attendance.credited.push(artist.clone());
                    self.credit(&artist, attendance.minute, attendance.points);
                    self.counted.add_late(attendance.minute, attendance.guest, &artist);
                }
            }
        }
        self.attendances.insert(event_id.to_owned(), attendances);
    }

    /// A profile: what it leaves out stays as it is.
    fn profile(&mut self, artist_id: &str, name: &str, genres: Option<&[Cow<'_, str>]>, home_city: Option<&str>) {
        let artist = self.shared(artist_id);
        let profile = self.profiles.entry(artist).or_default();
        profile.name = Some(name.to_owned());
        if let Some(genres) = genres {
            profile.genres = genres.iter().map(|genre| genre.to_string()).collect();
        }
        if let Some(home_city) = home_city {
            profile.home_city = Some(home_city.to_owned());
        }
    }

    /// One allocation for each artist, however often it is named.
    fn shared(&mut self, id: &str) -> Arc<str> {
        match self.sums.get_key_value(id) {
            Some((known, _)) => known.clone(),
            None => {
                let id: Arc<str> = id.into();
                self.sums.insert(id.clone(), Sums::default());
                id
            }
        }
    }

    fn credit(&mut self, artist: &Arc<str>, minute: Minute, points: Points) {
        self.counted.add_points(minute, artist, points);
        let now = self.minute.get();
        let sums = self.sums.entry(artist.clone()).or_default();
        for window in Window::ALL {
            let starts = |end: i64| window.minutes().is_none_or(|minutes| minute.get() > end - minutes);
            let before = now - MINUTES_PER_DAY;
            if starts(now) {
                add(&mut sums.now[window.index()], points);
            }
            if starts(before) && minute.get() <= before {
                add(&mut sums.before[window.index()], points);
            }
        }
    }

    fn compare_artists(&self, view: &View, found: &mut Differences) {
        found.begin("profiles of artists");
        found.compare("how many artists there are", &view.cards().len(), &self.sums.len());
        let nothing = Profile::default();
        for card in view.cards() {
            let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
            let genres = card.genres.iter().map(|genre| genre.to_string()).collect();
            let shown = Profile { name: text(&card.name), genres, home_city: text(&card.home_city) };
            let expected = self.profiles.get(&card.id).unwrap_or(&nothing);
            if shown != *expected || !self.sums.contains_key(&card.id) {
                found.compare(&format!("the profile of {:?}", card.id), &Some(&shown), &Some(expected));
            }
        }
    }

    fn compare_lineups(&self, view: &View, found: &mut Differences) {
        found.begin("line-ups");
        for (event_id, Scheduled { name, lineup }) in &self.scheduled {
            let of_view = view.lineup(event_id).map(|lineup| lineup.current().map(|artist| &*view.card(artist).id));
            let of_view: Vec<&str> = of_view.into_iter().flatten().collect();
            let expected: Vec<&str> = lineup.iter().map(|artist| &**artist).collect();
            found.compare(&format!("the line-up of {event_id:?}"), &of_view, &expected);
            found.compare(&format!("the name of {event_id:?}"), &view.event_name(event_id), &name.as_deref());
        }
    }

    fn compare_board(&self, view: &View, domain: Domain, window: Window, found: &mut Differences) {
        let name = format!("board {}/{}", domain.lower(), window.name());
        found.begin(&name);
        let sorted = |points: &dyn Fn(&Sums) -> i128| {
            let mut rows: Vec<(i128, &str)> =
                self.sums.iter().map(|(id, sums)| (points(sums), &**id)).filter(|(score, _)| *score != 0).collect();
            rows.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
            rows
        };
        let expected = sorted(&|sums| sums.now[window.index()][domain.index()]);
        let before = sorted(&|sums| sums.before[window.index()][domain.index()]);
        let earlier: HashMap<&str, u64> =
            before.iter().enumerate().map(|(index, (_, id))| (*id, index as u64 + 1)).collect();
        let board = view.board(domain, window);
        if board.total() != expected.len() {
            found.tell(format!("{name} lists {} artists, the log gives {}", board.total(), expected.len()));
        }
        let (mut rank, mut above) = (0, None);
        for (index, (row, (score, id))) in board.rows(0, board.total()).zip(&expected).enumerate() {
            let position = index as u64 + 1;
            if above != Some(*score) {
                (rank, above) = (position, Some(*score));
            }
            let same = row.position == position
                && row.rank == rank
                && &*row.card.id == *id
                && row.score.get() == *score
                && row.previous_position == earlier.get(id).copied();
            if !same {
                found.tell(format!(
                    "{name} position {position}: {} with {} micro-points (rank {}, one day earlier {:?}); \
                     the log gives {id} with {score} (rank {rank}, one day earlier {:?})",
                    row.card.id,
                    row.score.get(),
                    row.rank,
                    row.previous_position,
                    earlier.get(id)
                ));
            }
        }
    }
}

impl Recomputed for Recomputation {
    type View = View;

    fn add(&mut self, entry: &Entry<'_>, facts: &Facts<'_>, user: u32) -> Result<(), String> {
        let event_type = entry.envelope.event_type;
        let points = match judge(&self.rules, event_type, facts) {
            Verdict::Scores(score) => Some(score.deltas()),
            Verdict::Nothing => None,
            Verdict::Unconverted => {
                self.unconverted += 1;
                None
            }
        };
        let (scores, points) = (points.is_some(), points.unwrap_or_default());
        let named = self.rules.rule(event_type).is_some();
        let mut credited: Vec<Arc<str>> = facts.credited(named).map(|id| self.shared(id)).collect();
        let minute = entry.at().minute();
        if let Facts::Attended { event_id, .. } = facts {
            for artist in self.scheduled.get(&**event_id).into_iter().flat_map(|scheduled| &scheduled.lineup) {
                if !credited.contains(artist) {
                    credited.push(artist.clone());
                }
            }
        }
        for artist in &credited {
            self.credit(artist, minute, points);
        }
        let guest = self.counted.add(entry, facts, user, scores, &credited);
        match facts {
            Facts::Attended { event_id, .. } => {
                let attended = Attendance { minute, points, guest, credited };
                self.attendances.entry(event_id.to_string()).or_default().push(attended);
            }
            Facts::Scheduled { event_id, artist_ids, name, .. } => {
                self.schedule(event_id, artist_ids, name.as_deref());
            }
            Facts::Profile { artist_id, artist_name, genres, home_city } => {
                self.profile(artist_id, artist_name, genres.as_deref(), home_city.as_deref());
            }
            _ => {}
        }
        Ok(())
    }

    fn compare(
        self,
        view: &View,
        users: &Arc<Numbered>,
        found: &mut Differences,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Option<Recomputation> {
        if self.part.is_first() {
            found.compare("events of money without a rate", &view.unconverted(), &self.unconverted);
            self.compare_artists(view, found);
            self.compare_lineups(view, found);
            for domain in Domain::ALL {
                for window in Window::ALL {
                    self.compare_board(view, domain, window, found);
                }
            }
        }
        let counted = self.counted.compare(view, users, found, goes_on)?;
        Some(Recomputation::of_part(self.rules, self.minute, self.part.next()?, counted))
    }
}

fn add(sums: &mut Points, points: Points) {
    for (sum, point) in sums.iter_mut().zip(points) {
        *sum += point;
    }
}
