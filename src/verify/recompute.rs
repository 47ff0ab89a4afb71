//! All boards from a list of entries, as plainly as it can be said: every credit is added to every window that holds
//! its minute, and the artists are sorted.

use std::collections::HashMap;
use std::sync::Arc;

use crate::coliseum::scoring::{Verdict, judge};
use crate::coliseum::{Rules, View};
use crate::event::Facts;
use crate::passport::Entry;
use crate::units::{Domain, MINUTES_PER_DAY, Minute, Window};

/// Differences that are told of one board.
const DIFFERENCES_MAX: usize = 10;

/// Points by domain, micro.
type Points = [i128; 4];

/// One attendance, for line-ups that come later.
struct Attendance {
    minute: Minute,
    points: Points,
    credited: Vec<Arc<str>>,
}

/// Sums of one artist: now and one day earlier, by window and domain.
#[derive(Clone, Default)]
struct Sums {
    now: [Points; 3],
    before: [Points; 3],
}

pub struct Recomputation {
    rules: Arc<Rules>,
    minute: Minute,
    sums: HashMap<Arc<str>, Sums>,
    lineups: HashMap<String, Vec<Arc<str>>>,
    attendances: HashMap<String, Vec<Attendance>>,
}

impl Recomputation {
    pub fn new(rules: Arc<Rules>, minute: Minute) -> Recomputation {
        Recomputation { rules, minute, sums: HashMap::new(), lineups: HashMap::new(), attendances: HashMap::new() }
    }

    /// Takes the next entry of the log.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let event_type = entry.envelope.event_type;
        let facts = Facts::of_stored(event_type, entry.envelope.payload).map_err(|problem| problem.to_string())?;
        let points = match judge(&self.rules, event_type, &facts) {
            Verdict::Scores(score) => score.deltas(),
            Verdict::Nothing | Verdict::Unconverted => [0; 4],
        };
        let named = self.rules.rule(event_type).is_some();
        let mut credited: Vec<Arc<str>> = facts.credited(named).map(|id| self.shared(id)).collect();
        let minute = entry.at().minute();
        if let Facts::Attended { event_id, .. } = &facts {
            for artist in self.lineups.get(&**event_id).into_iter().flatten() {
                if !credited.contains(artist) {
                    credited.push(artist.clone());
                }
            }
        }
        for artist in &credited {
            self.credit(artist, minute, points);
        }
        match facts {
            Facts::Attended { event_id, .. } => {
                let attended = Attendance { minute, points, credited };
                self.attendances.entry(event_id.into_owned()).or_default().push(attended);
            }
            Facts::Scheduled { event_id, artist_ids, .. } => self.schedule(&event_id, &artist_ids),
            _ => {}
        }
        Ok(())
    }

    /// A line-up: who is new on it is credited with the attendances that do not credit it yet.
    fn schedule(&mut self, event_id: &str, artist_ids: &[std::borrow::Cow<'_, str>]) {
        let wanted: Vec<Arc<str>> = artist_ids.iter().map(|id| self.shared(id)).collect();
        let lineup = self.lineups.entry(event_id.to_owned()).or_default();
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
                }
            }
        }
        self.attendances.insert(event_id.to_owned(), attendances);
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

    /// In words, where the view's boards are not what the entries give.
    pub fn differences(&self, view: &View) -> Vec<String> {
        let mut found = Vec::new();
        for domain in Domain::ALL {
            for window in Window::ALL {
                self.compare_board(view, domain, window, &mut found);
            }
        }
        found
    }

    fn compare_board(&self, view: &View, domain: Domain, window: Window, found: &mut Vec<String>) {
        let name = format!("board {}/{}", domain.lower(), window.name());
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
            found.push(format!("{name} lists {} artists, the log gives {}", board.total(), expected.len()));
        }
        let (mut rank, mut above) = (0, None);
        let mut told = 0;
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
            if !same && told < DIFFERENCES_MAX {
                told += 1;
                found.push(format!(
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

fn add(sums: &mut Points, points: Points) {
    for (sum, point) in sums.iter_mut().zip(points) {
        *sum += point;
    }
}
