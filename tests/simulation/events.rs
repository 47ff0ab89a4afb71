//! The events that a simulation sends: of every kind that scores, over weeks, with keys that come again.

use coliseum::event::Event;
use coliseum::passport::{Envelope, Group};

use crate::model::json::{Json, number, object, text, texts};
use crate::model::time::{self, HOUR, MINUTE};
use crate::random::Draws;
use crate::truth::{Sent, Truth};

/// Draws the events of one request: mostly new ones, some again, some with a key of another event.
pub fn draw(draws: &mut Draws, truth: &Truth, now: i64, next_key: &mut u64) -> Vec<Sent> {
    let count = if draws.once_in(12) { draws.between(10, 40) } else { draws.between(1, 4) };
    let mut group: Vec<Sent> = Vec::new();
    for _ in 0..count {
        let again = match draws.below(12) {
            0 if !truth.log.is_empty() => Some(draws.pick(&truth.log).clone()),
            1 if !group.is_empty() => Some(draws.pick(&group).clone()),
            _ => None,
        };
        let sent = match again {
            Some(sent) if draws.once_in(4) => Sent { payload: event(draws, &sent.key, now).render(), key: sent.key },
            Some(sent) => sent,
            None => {
                *next_key += 1;
                let key = format!("key-{next_key}");
                Sent { payload: event(draws, &key, now).render(), key }
            }
        };
        group.push(sent);
    }
    group
}

fn event(draws: &mut Draws, key: &str, now: i64) -> Json {
    let back = match draws.below(3) {
        0 => draws.below(90) as i64 * MINUTE,
        1 => draws.below(40 * 24) as i64 * HOUR,
        // Right at an edge of a window.
        _ => *draws.pick(&[1i64, 7, 8, 30, 31]) * 24 * HOUR - draws.below(3) as i64 * MINUTE,
    };
    let base = object([
        ("messageId", text(key)),
        ("userId", text(format!("u{}", draws.below(9)))),
        ("at", text(time::format(now - back))),
        ("pad", text("x".repeat(draws.below(400) as usize))),
    ]);
    let artist = text(format!("a{}", draws.below(12)));
    let concert = text(format!("e{}", draws.below(3)));
    match draws.below(10) {
        0 | 1 => {
            let attended = base.with("type", text("concierto.event_attended")).with("eventId", concert);
            attended.with("city", text("Oslo"))
        }
        2 => {
            let line_up = texts(&[format!("a{}", draws.below(5)), format!("a{}", draws.below(7))]);
            base.with("type", text("concierto.event_scheduled")).with("eventId", concert).with("artistIds", line_up)
        }
        3 | 4 => {
            let spent = base.with("type", text("treasury.money_spent")).with("artistId", artist);
            spent.with("amountCents", number(draws.between(1, 9999)))
        }
        5 => {
            let named = base.with("type", text("artist.profile_updated")).with("artistId", artist);
            named.with("artistName", text(format!("Name {}", draws.below(9))))
        }
        _ => {
            let vote = base.with("type", text("coliseum.vote_cast")).with("artistId", artist).with("eventId", concert);
            vote.with("weight", number(format!("{}.{:03}", draws.below(5), draws.between(1, 999))))
        }
    }
}

/// The events as the log takes them.
pub fn group(sent: &[Sent], atomic: bool, received_at: i64) -> Group {
    let mut group = Group::new(atomic);
    for Sent { key, payload } in sent {
        let event = Event::parse(payload).expect("a simulation sends good events");
        let envelope = Envelope {
            received_at_micros: received_at,
            at_micros: event.at.micros(),
            at_corrected: false,
            event_type: &event.event_type,
            message_id: key,
            user_id: &event.user_id,
            session_id: None,
            device_id: None,
            source: "api",
            payload,
        };
        group.push(&envelope, None, false);
    }
    group
}
