//! One counted event, for one artist at most, as it lies in memory until a flush; and the rows that it stands for.

use super::series::{Series, SubjectKind, key_of};
use crate::coliseum::minutes::Row as PointsRow;
use crate::projection::rows::Row;
use crate::units::Domain;

#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    pub minute: i64,
    pub sum: i64,
    pub series: Series,
    pub user: u32,
    /// These four are numbers and one; 0 is none.
    pub event: u32,
    pub artist: u32,
    pub city: u32,
    pub genre: u32,
    pub set: FanSet,
    /// Another fact counts the event for its user, its event and everything.
    pub of_artist_only: bool,
}

/// Which sets of the artist the user belongs to by this event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FanSet {
    None,
    Fans,
    /// Fans who paid in the base currency.
    Payers,
    /// Fans with a scored play.
    Plays,
}

impl Fact {
    /// Calls `each` with the rows of the subjects that it counts for.
    pub fn subject_rows(&self, each: &mut impl FnMut(SubjectKind, Row<5>)) {
        if !self.of_artist_only {
            self.subject_row(SubjectKind::User, self.user, each);
            self.subject_row(SubjectKind::Global, 0, each);
            if self.event > 0 {
                self.subject_row(SubjectKind::Event, self.event - 1, each);
            }
        }
        if self.artist > 0 {
            self.artist_rows(&mut |row| each(SubjectKind::Artist, row));
        }
    }

    fn subject_row(&self, kind: SubjectKind, subject: u32, each: &mut impl FnMut(SubjectKind, Row<5>)) {
        let [day, minute] = key_of(self.minute);
        let key = [subject, self.series.of(kind), day, 0, minute];
        each(kind, Row { key, count: 1, sum: i128::from(self.sum) });
    }

    /// The metric, and the sets.
    fn artist_rows(&self, each: &mut impl FnMut(Row<5>)) {
        let [day, minute] = key_of(self.minute);
        let mut put = |series: Series, member: u32, sum: i64| {
            let key = [self.artist - 1, series.of(SubjectKind::Artist), day, member, minute];
            each(Row { key, count: 1, sum: i128::from(sum) });
        };
        put(self.series, 0, self.sum);
        if self.set != FanSet::None {
            put(Series::FANS, self.user, 0);
        }
        match self.set {
            FanSet::Payers => put(Series::PAYERS, self.user, 0),
            FanSet::Plays => put(Series::GENRES, self.genre, 0),
            FanSet::None | FanSet::Fans => {}
        }
        if self.city > 0 {
            put(Series::PLACES, self.city - 1, 0);
        }
    }

    /// What a passing minute needs to know.
    pub fn minute_row(&self) -> Row<6> {
        let [day, minute] = key_of(self.minute);
        let (user, event) = if self.of_artist_only { (0, 0) } else { (self.user + 1, self.event) };
        let key = [day, minute, self.series.number(), user, event, self.artist];
        Row { key, count: 1, sum: i128::from(self.sum) }
    }

    /// Whether it counts for a subject.
    pub fn is_of(&self, kind: SubjectKind, subject: u32) -> bool {
        match kind {
            SubjectKind::User => !self.of_artist_only && self.user == subject,
            SubjectKind::Artist => self.artist == subject + 1,
            SubjectKind::Event => !self.of_artist_only && self.event == subject + 1,
            SubjectKind::Global => !self.of_artist_only,
        }
    }
}

/// Calls `each` with the rows of what an artist got in a minute.
pub(super) fn points_rows(points: &PointsRow, each: &mut impl FnMut(Row<5>)) {
    let [day, minute] = key_of(points.minute);
    for domain in Domain::ALL {
        let sum = points.sums[domain.index()];
        if sum != 0 {
            let series = Series::domain(domain).of(SubjectKind::Artist);
            each(Row { key: [points.artist.get(), series, day, 0, minute], count: 1, sum });
        }
    }
}
