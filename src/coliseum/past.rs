//! A board as it stood at a past hour, by event time, over the same entries as the view.
//!
//! At the hour's first minute `m` a window of D days holds `m - 1440 D < minute <= m`, all time `minute <= m`, and the
//! order of one day earlier is the same at `m - 1440`.

use super::artists::{ArtistNo, Cards};
use super::board::{Board, Place};
use super::minutes::{MINUTE_FIRST, MINUTE_LAST, Sums, current_slot};
use super::view::{Leaderboard, ScoresOf, View};
use crate::projection::StoreError;
use crate::units::{Domain, MINUTES_PER_DAY, Minute, Timestamp, Window};

const MINUTES_PER_HOUR: i64 = 60;
/// All time up to a minute this close is what there is now less what came after; further back it is summed up.
const SUBTRACT_MINUTES_MAX: i64 = 400 * MINUTES_PER_DAY;

/// A board that was worked out for a past hour; it holds all that it shows.
pub struct PastBoard {
    minute: Minute,
    board: Board,
    previous: Board,
    cards: Cards,
    scores: Vec<[i128; 2]>,
}

impl PastBoard {
    /// `asOf`: the start of the hour.
    pub fn as_of(&self) -> Timestamp {
        self.minute.start()
    }
    pub fn leaderboard(&self) -> Leaderboard<'_> {
        Leaderboard {
            board: &self.board,
            previous: &self.previous,
            cards: &self.cards,
            scores: ScoresOf::Past(&self.scores),
        }
    }
}

impl View {
    /// The board as it stood at the start of the hour that holds `at`. Cost follows the rows of the window: days are read
    /// whole, only its ends by the hour.
    ///
    /// # Errors
    /// The tables cannot be read, or are damaged.
    pub fn past_board(&self, domain: Domain, window: Window, at: Timestamp) -> Result<PastBoard, StoreError> {
        let minute = at.minute().hour() * MINUTES_PER_HOUR;
        let mut scores = vec![[0i128; 2]; self.cards.len()];
        for (column, end) in [minute, minute - MINUTES_PER_DAY].into_iter().enumerate() {
            self.sum_up_to(domain, window, end, &mut |artist, sum| scores[artist.index()][column] += sum)?;
        }
        let board = |column: usize| {
            let places = scores.iter().enumerate();
            let places = places.map(|(artist, s)| Place { score: s[column], number: artist as u32 });
            Board::of(places, &self.cards)
        };
        let (board, previous) = (board(0), board(1));
        Ok(PastBoard { minute: Minute::new(minute), board, previous, cards: self.cards.clone(), scores })
    }

    fn sum_up_to(
        &self,
        domain: Domain,
        window: Window,
        end: i64,
        add: &mut impl FnMut(ArtistNo, i128),
    ) -> Result<(), StoreError> {
        let known = self.cards.len();
        let mut unknown = false;
        let mut sum = |artist: ArtistNo, sums: &Sums, sign: i128| match artist.index() < known {
            true => add(artist, sign * sums[domain.index()]),
            false => unknown = true,
        };
        match window.minutes() {
            Some(minutes) => self.ledger.rows(end - minutes + 1, end, &mut |artist, sums| sum(artist, sums, 1))?,
            None if self.minute.get() - end > SUBTRACT_MINUTES_MAX => {
                self.ledger.rows(MINUTE_FIRST, end, &mut |artist, sums| sum(artist, sums, 1))?;
            }
            None => {
                self.ledger.rows(end + 1, MINUTE_LAST, &mut |artist, sums| sum(artist, sums, -1))?;
                for artist in 0..self.scores.len() {
                    let alltime = self.scores.score(artist, current_slot(Window::AllTime), domain);
                    add(ArtistNo::new(artist as u32), alltime);
                }
            }
        }
        match unknown {
            true => Err(StoreError("the coliseum tables: a row names an artist that does not exist".into())),
            false => Ok(()),
        }
    }
}
