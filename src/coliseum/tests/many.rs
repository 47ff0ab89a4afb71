//! What a few random steps do not reach: lists longer than they are kept, and sums of fractions.

use serde_json::json;

use super::*;
use crate::coliseum::metrics::{Days, Granularity, SubjectKind};

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// A vote, as far as lists of votes ask: minute, millionths, and the subject of each kind.
type Vote = (i64, i128, [String; 3]);

fn check_lists(view: &View, votes: &[Vote], now: i64) {
    for (index, kind) in SubjectKind::LISTED.into_iter().enumerate() {
        for window in Window::ALL {
            let mut sums: std::collections::BTreeMap<&str, (u64, i128)> = Default::default();
            for (_, sum, subjects) in votes.iter().filter(|vote| window.minutes().is_none_or(|m| vote.0 > now - m)) {
                let total = sums.entry(&subjects[index]).or_default();
                *total = (total.0 + 1, total.1 + sum);
            }
            let mut expected: Vec<(&str, u64, i128)> = sums.into_iter().map(|(id, (n, sum))| (id, n, sum)).collect();
            expected.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(b.0)));
            let top = view.metrics().top(kind, Metric::VotesCast, "usd", window, 1000, view.cards());
            assert_eq!(top.total, expected.len() as u64, "{kind:?} {window:?}");
            assert_eq!(top.rows.len(), expected.len().min(1000), "{kind:?} {window:?}");
            for (row, (id, count, sum)) in top.rows.iter().zip(&expected) {
                assert_eq!(
                    (row.id.as_str(), row.total.count, row.total.sum),
                    (*id, *count, *sum),
                    "{kind:?} {window:?}"
                );
                let above = expected.iter().filter(|other| other.2 > *sum).count() as u64;
                assert_eq!(row.rank, above + 1, "{kind:?} {window:?}");
            }
        }
    }
}

#[test]
fn top_lists_of_thousands_are_exact_while_windows_move_over_them_and_after_a_reopen() {
    const SUBJECTS: u64 = 4_000;
    let (mut rig, mut votes, mut state) = (Rig::new(), Vec::new(), 5);
    for round in 0..24 {
        // One round that is larger than any list, so that lists are made anew; the others change a part of them.
        let count = if round == 9 { 18_000 } else { 300 };
        for _ in 0..count {
            let [user, artist, event] = ["u", "a", "e"].map(|kind| format!("{kind}{}", random(&mut state) % SUBJECTS));
            let minute = rig.now_micros.div_euclid(MINUTE_MICROS) - (random(&mut state) % 50_000) as i64;
            let weight = random(&mut state) % 5 + 1;
            let vote = json!({"type": "coliseum.vote_cast", "artistId": artist, "eventId": event, "userId": user,
                "weight": weight});
            rig.apply(vote, minute * MINUTE_MICROS);
            votes.push((minute, i128::from(weight) * 1_000_000, [user, artist, event]));
        }
        rig.tick([700, 1440, -600, 4_000][round % 4]);
        if round % 3 == 0 {
            rig.flush(None);
        }
        if round % 8 == 7 {
            rig.reopen();
        }
        let view = rig.view();
        if round % 4 == 1 {
            check_lists(&view, &votes, rig.now_micros.div_euclid(MINUTE_MICROS));
        }
    }
    // Everything leaves the window, so that every list runs short on the way.
    for _ in 0..9 {
        rig.tick(6 * 1440);
        let view = rig.view();
        check_lists(&view, &votes, rig.now_micros.div_euclid(MINUTE_MICROS));
    }
}

/// Sixths do not add up to a whole in binary.
#[test]
fn genres_of_equal_weight_are_in_their_own_order_however_their_parts_add_up() {
    let mut rig = Rig::new();
    let at = rig.now_micros;
    let genres = vec!["a"; 6];
    rig.apply(json!({"type": "artist.profile_updated", "artistId": "x", "artistName": "X", "genres": genres}), at);
    let play = |genre: Option<&str>| {
        steps::without_nulls(json!({"type": "player.track_played", "trackId": "t", "artistId": "x", "genre": genre}))
    };
    for genre in [Some("b"), None, Some("c"), Some("c")] {
        rig.apply(play(genre), at);
    }
    let view = rig.view();
    let artist = view.artist("x").expect("known");
    let found = view.metrics().analytics(artist.get(), view.card(artist), Days::AllTime).expect("readable");
    let shares: Vec<(&str, f64)> = found.genres.iter().map(|share| (share.genre.as_str(), share.share)).collect();
    assert_eq!(shares, [("c", 0.5), ("a", 0.25), ("b", 0.25)]);
    rig.check();
}

/// A range is of the buckets that start in it, whatever minute of one it begins in; random votes seldom come at an edge.
#[test]
fn a_range_of_rollups_holds_the_first_minute_of_its_first_bucket_and_of_none_behind_it() {
    for granularity in Granularity::ALL {
        let mut rig = Rig::new();
        let length = granularity.minutes();
        let second = granularity.start_of(rig.now_micros / MINUTE_MICROS) - length;
        let starts = [second - length, second, second + length];
        for start in starts {
            rig.apply(vote("a"), start * MINUTE_MICROS);
            rig.apply(vote("a"), (start + length - 1) * MINUTE_MICROS);
        }
        for flushes in [false, true] {
            if flushes {
                rig.flush(None);
            }
            let view = rig.view();
            let artist = view.artist("a").expect("known").get();
            let starts_of = |from: i64, to: i64| -> Vec<i64> {
                let range = (Some(from), Some(to));
                let found = view.metrics().rollups(SubjectKind::Artist, artist, granularity, range).expect("readable");
                assert!(found.values().all(|bucket| bucket.metrics.values().all(|total| total.count == 2)));
                found.into_keys().collect()
            };
            let [first, second, third] = starts;
            for (from, to, expected) in [
                (first, third, &starts[..2]),
                (first + 1, third + 1, &starts[1..]),
                (second - 1, third - 1, &starts[1..2]),
                (second, second + 1, &starts[1..2]),
                (second + 1, third, &[]),
                (first, second, &starts[..1]),
            ] {
                assert_eq!(starts_of(from, to), expected, "{granularity:?} {from} {to}");
            }
        }
    }
}
