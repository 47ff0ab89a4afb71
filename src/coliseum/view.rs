//! What readers hold: an immutable view of the fold over entries 1…applied at one minute. Nobody waits for the fold; the
//! readers that look at a board of one view first wait for the one of them that puts it together ([`super::board`]).
//!
//! Boards and scores are in memory and answer in O(log n), a board from the second look on. What looks back in time
//! ([`View::past_board`], [`View::late_credits`], [`View::caused_by`]) reads the projection's tables as they stood at the
//! view, and can fail.

use std::sync::Arc;

use super::artists::{ArtistCard, ArtistNo, Cards};
use super::board::{Board, Place, Shown};
use super::entitlements::{ByUser, Entitlement};
use super::events::Listed;
use super::ledger::Ledger;
use super::lineup::{Lineup, Stay};
use super::metrics::MetricsView;
use super::minutes::{HalfOfTotals, SLOTS, current_slot, previous_slot};
use super::rules::{Rules, attendance_rule};
use super::scoring::{Mutation, Score, Verdict, judge};
use crate::event::Facts;
use crate::passport::Entry;
use crate::projection::StoreError;
use crate::units::{Domain, MicroPoints, Minute, Seq, Timestamp, Window};

/// One prefix of the log, scored, at one minute.
pub struct View {
    pub(super) applied: Seq,
    pub(super) minute: Minute,
    pub(super) rules: Arc<Rules>,
    pub(super) numbers: imbl::HashMap<Arc<str>, ArtistNo>,
    pub(super) cards: Cards,
    pub(super) scores: Scores,
    pub(super) boards: Boards,
    pub(super) listed: imbl::HashMap<Arc<str>, Listed>,
    pub(super) events_of: imbl::HashMap<ArtistNo, imbl::Vector<Arc<str>>>,
    pub(super) entitlements: ByUser,
    pub(super) unconverted: u64,
    pub(super) metrics: MetricsView,
    pub(super) ledger: Ledger,
}

/// By artist: now, and one day earlier, which rarely changes.
#[derive(Clone, Default)]
pub(super) struct Scores {
    pub halves: [imbl::Vector<HalfOfTotals>; 2],
}

impl Scores {
    pub fn len(&self) -> usize {
        self.halves[0].len()
    }
    pub fn score(&self, artist: usize, slot: usize, domain: Domain) -> i128 {
        self.halves[slot / (SLOTS / 2)][artist][slot % (SLOTS / 2)][domain.index()]
    }
}

/// By slot and domain: the twelve boards, and the same twelve one day earlier.
pub(super) type Boards = [[Arc<Shown>; 4]; SLOTS];

/// One line of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'v> {
    /// 1, 2, 3, … without ties.
    pub position: u64,
    /// Shared by equal scores: 1, 2, 2, 4.
    pub rank: u64,
    pub artist: ArtistNo,
    pub card: &'v ArtistCard,
    pub score: MicroPoints,
    /// On the same board one day earlier; `None` where the artist was not on it.
    pub previous_position: Option<u64>,
}

impl Standing<'_> {
    /// Places gained since one day earlier; negative if lost.
    pub fn change(&self) -> Option<i64> {
        self.previous_position.map(|previous| previous as i64 - self.position as i64)
    }
}

/// A board with its order of one day earlier.
#[derive(Clone, Copy)]
pub struct Leaderboard<'v> {
    pub(super) board: &'v Board,
    pub(super) previous: &'v Board,
    pub(super) cards: &'v Cards,
    pub(super) scores: ScoresOf<'v>,
}

#[derive(Clone, Copy)]
pub(super) enum ScoresOf<'v> {
    Live {
        scores: &'v Scores,
        domain: Domain,
        window: Window,
    },
    /// By artist: the score then, and one day earlier.
    Past(&'v [[i128; 2]]),
}

impl ScoresOf<'_> {
    fn of(&self, artist: ArtistNo) -> [i128; 2] {
        match self {
            ScoresOf::Live { scores, domain, window } => {
                let slots = [current_slot(*window), previous_slot(*window)];
                slots.map(|slot| scores.score(artist.index(), slot, *domain))
            }
            ScoresOf::Past(scores) => scores[artist.index()],
        }
    }
}

impl<'v> Leaderboard<'v> {
    /// Artists on the board.
    pub fn total(&self) -> usize {
        self.board.len()
    }
    /// Lines from `offset` (0 is the top) on, at most `limit`.
    pub fn rows(self, offset: usize, limit: usize) -> impl Iterator<Item = Standing<'v>> {
        let mut above: Option<(i128, usize)> = None;
        self.board.iter_from(offset).take(limit).enumerate().map(move |(line, place)| {
            let better = match above {
                Some((score, better)) if score == place.score => better,
                Some(_) => offset + line,
                None => self.board.count_above(place.score),
            };
            above = Some((place.score, better));
            self.standing(offset + line, better, place)
        })
    }
    /// The line of an artist; `None` where its score is zero.
    pub fn standing_of(self, artist: ArtistNo) -> Option<Standing<'v>> {
        let place = Place { score: self.scores.of(artist)[0], number: artist.get() };
        let index = self.board.index_of(place, self.cards)?;
        Some(self.standing(index, self.board.count_above(place.score), place))
    }
    /// The artist between its neighbours, at most `limit` lines; empty where its score is zero.
    pub fn around(self, artist: ArtistNo, limit: usize) -> Vec<Standing<'v>> {
        let place = Place { score: self.scores.of(artist)[0], number: artist.get() };
        let Some(index) = self.board.index_of(place, self.cards) else { return Vec::new() };
        let last_start = self.total().saturating_sub(limit);
        self.rows(index.saturating_sub(limit.saturating_sub(1) / 2).min(last_start), limit).collect()
    }

    fn standing(&self, index: usize, better: usize, place: Place) -> Standing<'v> {
        let artist = ArtistNo::new(place.number);
        let before = Place { score: self.scores.of(artist)[1], number: place.number };
        Standing {
            position: index as u64 + 1,
            rank: better as u64 + 1,
            artist,
            card: &self.cards[artist.index()],
            score: MicroPoints::new(place.score),
            previous_position: self.previous.index_of(before, self.cards).map(|index| index as u64 + 1),
        }
    }
}

/// An artist that an entry credits, and what caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    pub artist: ArtistNo,
    /// The entry itself, or the late line-up that put the artist on.
    pub caused_by: Seq,
    /// When that entry was received.
    pub caused_at: Timestamp,
}

impl View {
    /// The last entry folded.
    pub fn applied(&self) -> Seq {
        self.applied
    }
    /// The minute that the windows end at.
    pub fn minute(&self) -> Minute {
        self.minute
    }
    /// `asOf`: the start of that minute.
    pub fn as_of(&self) -> Timestamp {
        self.minute.start()
    }
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }
    /// Events that scored nothing for want of a rate of their currency.
    pub fn unconverted(&self) -> u64 {
        self.unconverted
    }

    /// What the log last gave a user; `None` if it never gave anything. What that is worth at a moment says
    /// [`super::plans::effective`].
    pub fn entitlement(&self, user_id: &str) -> Option<&Entitlement> {
        self.entitlements.get(user_id)
    }
    /// How many users the log gave anything.
    pub fn entitled_users(&self) -> usize {
        self.entitlements.len()
    }

    /// An artist that the log has named: in a credit, a profile or a line-up.
    pub fn artist(&self, id: &str) -> Option<ArtistNo> {
        self.numbers.get(id).copied()
    }
    pub fn card(&self, artist: ArtistNo) -> &ArtistCard {
        &self.cards[artist.index()]
    }
    /// Every artist known, in the order in which the log named them.
    pub fn cards(&self) -> &Cards {
        &self.cards
    }
    pub fn score(&self, artist: ArtistNo, domain: Domain, window: Window) -> MicroPoints {
        MicroPoints::new(self.scores.score(artist.index(), current_slot(window), domain))
    }
    /// The same window's score one day earlier.
    pub fn previous_score(&self, artist: ArtistNo, domain: Domain, window: Window) -> MicroPoints {
        MicroPoints::new(self.scores.score(artist.index(), previous_slot(window), domain))
    }
    /// One of the twelve boards.
    pub fn board(&self, domain: Domain, window: Window) -> Leaderboard<'_> {
        let board = |slot: usize| self.boards[slot][domain.index()].board(&self.cards);
        Leaderboard {
            board: board(current_slot(window)),
            previous: board(previous_slot(window)),
            cards: &self.cards,
            scores: ScoresOf::Live { scores: &self.scores, domain, window },
        }
    }

    /// What was counted, of the same entries and minute.
    pub fn metrics(&self) -> &MetricsView {
        &self.metrics
    }
    /// An event's name as line-ups gave it.
    pub fn event_name(&self, event_id: &str) -> Option<&str> {
        self.listed.get(event_id)?.name.as_deref()
    }

    /// An event's line-up; `None` if no line-up of it was ever logged.
    pub fn lineup(&self, event_id: &str) -> Option<&Lineup> {
        self.listed.get(event_id).map(|listed| listed.lineup.as_ref())
    }
    /// The events in whose line-up the artist ever was, each with the artist's stays there, in the order of joining.
    pub fn events_with(&self, artist: ArtistNo) -> impl Iterator<Item = (&Arc<str>, Vec<Stay>)> {
        self.events_of.get(&artist).into_iter().flatten().map(move |event_id| {
            let stays = self.lineup(event_id).map_or(&[][..], Lineup::stays);
            (event_id, stays.iter().filter(|stay| stay.artist == artist).copied().collect())
        })
    }

    /// Whom an entry credits as of this view, line-ups that came after it included: the artists of its own fields, then
    /// those of the line-up in the order of joining. Empty for an entry after `applied`.
    pub fn credits(&self, entry: &Entry<'_>) -> Vec<Credit> {
        match self.facts(entry) {
            Some(facts) => self.credits_of(entry, &facts),
            None => Vec::new(),
        }
    }

    /// The mutations that score an entry as of this view (`ofSeq` is the entry), by causing seq, then in the order of the
    /// artists, then A, T, G, C.
    pub fn mutations_of(&self, entry: &Entry<'_>) -> Vec<Mutation> {
        let Some(facts) = self.facts(entry) else { return Vec::new() };
        let Verdict::Scores(score) = judge(&self.rules, entry.envelope.event_type, &facts) else { return Vec::new() };
        let mut credits = self.credits_of(entry, &facts);
        credits.sort_by_key(|credit| credit.caused_by);
        let of = (entry.seq, entry.at());
        let mutations = credits
            .iter()
            .flat_map(|credit| score.mutations(&self.card(credit.artist).id, (credit.caused_by, credit.caused_at), of));
        mutations.collect()
    }

    /// The mutations that an entry caused (`seq` is the entry): its own score, and for a line-up the attendances that it
    /// credited late, by seq.
    pub fn caused_by(&self, entry: &Entry<'_>) -> Result<Vec<Mutation>, StoreError> {
        let mut mutations = self.mutations_of(entry);
        mutations.retain(|mutation| mutation.seq == entry.seq);
        if let Some(Facts::Scheduled { event_id, .. }) = self.facts(entry)
            && let Some(listed) = self.listed.get(&*event_id)
        {
            let own = mutations.len();
            for stay in listed.lineup.stays().iter().filter(|stay| stay.joined == entry.seq) {
                mutations.extend(self.late_credits_of(listed, stay)?);
            }
            mutations[own..].sort_by_key(|mutation| mutation.of_seq);
        }
        Ok(mutations)
    }

    /// The mutations of one artist that a late line-up caused, by the seq of the attendance. Empty where the entry
    /// `lineup` did not put the artist on that event's line-up.
    pub fn late_credits(&self, event_id: &str, artist: ArtistNo, lineup: Seq) -> Result<Vec<Mutation>, StoreError> {
        let Some(listed) = self.listed.get(event_id) else { return Ok(Vec::new()) };
        let mut stays = listed.lineup.stays().iter();
        match stays.find(|stay| stay.artist == artist && stay.joined == lineup) {
            Some(stay) => self.late_credits_of(listed, stay),
            None => Ok(Vec::new()),
        }
    }

    fn late_credits_of(&self, listed: &Listed, stay: &Stay) -> Result<Vec<Mutation>, StoreError> {
        let rule = attendance_rule(&self.rules);
        let artist = &self.card(stay.artist).id;
        let mut mutations = Vec::new();
        for attendance in self.ledger.attendances(listed.number, stay.since, stay.joined)? {
            if !attendance.artists.contains(&stay.artist) {
                let score = Score::new(rule, attendance.multiplier);
                let cause = (stay.joined, stay.joined_received_at);
                mutations.extend(score.mutations(artist, cause, (attendance.seq, attendance.at)));
            }
        }
        Ok(mutations)
    }

    /// `None` for an entry after `applied`, and for one that no longer reads as an event: nothing was folded from it.
    fn facts<'e>(&self, entry: &Entry<'e>) -> Option<Facts<'e>> {
        if entry.seq > self.applied {
            return None;
        }
        Facts::of_stored(entry.envelope.event_type, entry.envelope.payload).ok()
    }

    fn credits_of(&self, entry: &Entry<'_>, facts: &Facts<'_>) -> Vec<Credit> {
        let named = self.rules.rule(entry.envelope.event_type).is_some();
        let own = facts.credited(named).filter_map(|id| self.artist(id));
        let mut credits: Vec<Credit> =
            own.map(|artist| Credit { artist, caused_by: entry.seq, caused_at: entry.received_at() }).collect();
        if let Facts::Attended { event_id, .. } = facts
            && let Some(lineup) = self.lineup(event_id)
        {
            let own = credits.len();
            for stay in lineup.covering(entry.seq) {
                if credits[..own].iter().any(|credit| credit.artist == stay.artist) {
                    continue;
                }
                let at_once = stay.covers_at_once(entry.seq);
                credits.push(Credit {
                    artist: stay.artist,
                    caused_by: if at_once { entry.seq } else { stay.joined },
                    caused_at: if at_once { entry.received_at() } else { stay.joined_received_at },
                });
            }
        }
        credits
    }
}
