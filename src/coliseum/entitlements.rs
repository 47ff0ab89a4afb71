//! What users were given: of each one the last `coliseum.entitlement_changed` in the order of the log. What that gives at
//! a moment is for [`super::plans`] to say.

use std::collections::HashSet;
use std::sync::Arc;

use redb::ReadableTable;

use crate::event::{Facts, Plan};
use crate::passport::Entry;
use crate::projection::StoreError;
use crate::units::{Seq, Timestamp};

use super::plans::Domains;
use super::tables::{ENTITLEMENTS, Key, Reader, Writer, failed};

/// What one event says of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// Of the event.
    pub seq: Seq,
    pub plan: Plan,
    /// In the place of the plan's, where given; so is the depth.
    pub domains: Option<Domains>,
    pub leaderboard_depth: Option<u64>,
    /// From when on it is past; `None`: it does not end.
    pub expires_at: Option<Timestamp>,
}

/// By user.
pub type ByUser = imbl::HashMap<Arc<str>, Entitlement>;

/// The writing side, with a persistent map for the views.
#[derive(Default)]
pub struct Entitlements {
    by_user: ByUser,
    /// Users whose entitlement is not in the table yet.
    unflushed: HashSet<Arc<str>>,
}

impl Entitlements {
    pub fn by_user(&self) -> &ByUser {
        &self.by_user
    }

    /// Takes an entry that changes an entitlement; any other one changes nothing.
    pub fn note(&mut self, entry: &Entry<'_>, facts: &Facts<'_>) {
        let Facts::Entitlement { plan, domains, leaderboard_depth, expires_at, .. } = facts else { return };
        let user_id = entry.envelope.user_id;
        // A dead letter that is folded after a later one does not undo it.
        if self.by_user.get(user_id).is_some_and(|known| known.seq > entry.seq) {
            return;
        }
        let domains = domains.as_ref().map(|letters| {
            Domains::named(letters.iter().map(AsRef::as_ref)).expect("the catalogue takes each letter at most once")
        });
        let entitlement = Entitlement {
            seq: entry.seq,
            plan: *plan,
            domains,
            leaderboard_depth: *leaderboard_depth,
            expires_at: *expires_at,
        };
        let user_id: Arc<str> = user_id.into();
        self.by_user.insert(user_id.clone(), entitlement);
        self.unflushed.insert(user_id);
    }

    pub fn load(transaction: &redb::ReadTransaction) -> Result<Entitlements, StoreError> {
        let mut by_user = ByUser::new();
        for row in transaction.open_table(ENTITLEMENTS).map_err(failed)?.iter().map_err(failed)? {
            let (user_id, value) = row.map_err(failed)?;
            by_user.insert(user_id.value().into(), decode(user_id.value(), value.value())?);
        }
        Ok(Entitlements { by_user, unflushed: HashSet::new() })
    }

    /// Takes those that changed since the last changes.
    pub fn changes(&mut self) -> Changes {
        let Entitlements { by_user, unflushed } = self;
        Changes(unflushed.drain().map(|user_id| (encode(&user_id, &by_user[&user_id]), user_id)).collect())
    }
}

/// Values on their way into the table, with their users.
pub struct Changes(Vec<(Vec<u8>, Arc<str>)>);

impl Changes {
    pub fn write(&self, transaction: &redb::WriteTransaction) -> Result<(), StoreError> {
        let mut table = transaction.open_table(ENTITLEMENTS).map_err(failed)?;
        for (value, user_id) in &self.0 {
            table.insert(&**user_id, value.as_slice()).map_err(failed)?;
        }
        Ok(())
    }
}

const PLANS: [Plan; 4] = [Plan::Free, Plan::Basic, Plan::Pro, Plan::Enterprise];

fn encode(user_id: &str, entitlement: &Entitlement) -> Vec<u8> {
    let Entitlement { seq, plan, domains, leaderboard_depth, expires_at } = entitlement;
    let mut value = Writer::value();
    value.put((seq.get(), *plan as u8, domains.map(|domains| domains.0)));
    value.put((*leaderboard_depth, expires_at.map(Timestamp::micros)));
    value.into_value(Key::Name(user_id))
}

fn decode(user_id: &str, value: &[u8]) -> Result<Entitlement, StoreError> {
    let mut value = Reader::value(value, Key::Name(user_id), "user's entitlement")?;
    let (seq, plan, domains): (u64, u8, Option<[bool; 4]>) = value.take()?;
    let (leaderboard_depth, expires_at): (Option<u64>, Option<i64>) = value.take()?;
    value.end()?;
    let plan = PLANS.into_iter().find(|known| *known as u8 == plan);
    Ok(Entitlement {
        seq: Seq::new(seq),
        plan: plan.ok_or_else(|| value.damaged("there is no such plan"))?,
        domains: domains.map(Domains),
        leaderboard_depth,
        expires_at: expires_at.map(Timestamp::from_micros),
    })
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use serde_json::{Value, json};

    use super::*;
    use crate::coliseum::{Coliseum, Rules, View};
    use crate::passport::{Envelope, Parsed};
    use crate::projection::Projection;
    use crate::units::Domain;

    const NOW: Timestamp = Timestamp::from_micros(1_777_000_000_000_000);

    fn database() -> Arc<redb::Database> {
        let database = redb::Database::builder().create_with_backend(InMemoryBackend::new());
        Arc::new(database.expect("in memory"))
    }

    fn open(database: &Arc<redb::Database>) -> Coliseum {
        Coliseum::open(database.clone(), &Rules::default(), NOW).expect("opens")
    }

    /// The changes of a log, each of a user.
    fn log() -> Vec<(&'static str, Value)> {
        let change = |mut fields: Value| {
            fields["type"] = json!("coliseum.entitlement_changed");
            fields
        };
        vec![
            ("u1", change(json!({"plan": "basic", "domains": ["G", "A"], "leaderboardDepth": 7}))),
            ("u2", change(json!({"plan": "enterprise"}))),
            ("u1", json!({"type": "coliseum.vote_cast", "artistId": "a", "eventId": "e"})),
            ("u3", change(json!({"plan": "pro", "domains": [], "expiresAt": "2026-05-01T00:00:00+02:00"}))),
            ("u1", change(json!({"plan": "pro", "leaderboardDepth": 20}))),
        ]
    }

    fn apply(coliseum: &mut Coliseum, log: &[(&str, Value)], seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            let (user_id, payload) = &log[seq as usize - 1];
            let mut payload = payload.clone();
            payload["userId"] = json!(user_id);
            payload["at"] = json!("2026-04-01T00:00:00Z");
            let text = payload.to_string();
            let envelope = Envelope {
                received_at_micros: NOW.micros(),
                at_micros: NOW.micros(),
                at_corrected: false,
                event_type: payload["type"].as_str().expect("a type"),
                message_id: "m",
                user_id,
                session_id: None,
                device_id: None,
                source: "api",
                payload: &text,
            };
            coliseum.apply(&Parsed::of(Entry { seq: Seq::new(seq), envelope })).expect("a good entry");
        }
    }

    fn flush(database: &redb::Database, coliseum: &mut Coliseum) {
        let transaction = database.begin_write().expect("in memory");
        coliseum.flush(&transaction).expect("writes");
        transaction.commit().expect("in memory");
    }

    /// What the log says, whichever way it was folded.
    fn check(view: &View) {
        let entitlement = |seq, plan| Entitlement {
            seq: Seq::new(seq),
            plan,
            domains: None,
            leaderboard_depth: None,
            expires_at: None,
        };
        let last_of_u1 = Entitlement { leaderboard_depth: Some(20), ..entitlement(5, Plan::Pro) };
        assert_eq!(view.entitlement("u1"), Some(&last_of_u1), "nothing of the event before it is left");
        assert_eq!(view.entitlement("u2"), Some(&entitlement(2, Plan::Enterprise)));
        let ends = Entitlement {
            domains: Some(Domains::of(&[])),
            expires_at: Some(Timestamp::from_micros(1_777_586_400_000_000)),
            ..entitlement(4, Plan::Pro)
        };
        assert_eq!(view.entitlement("u3"), Some(&ends));
        assert_eq!(view.entitlement("nobody"), None);
    }

    #[test]
    fn the_last_change_of_each_user_survives_a_reopen_and_a_rebuild() {
        let (database, log) = (database(), log());
        let mut coliseum = open(&database);
        apply(&mut coliseum, &log, 1..=2);
        let early = coliseum.view(Seq::new(2));
        flush(&database, &mut coliseum);
        apply(&mut coliseum, &log, 3..=5);
        check(&coliseum.view(Seq::new(5)));
        // A crash: what was not flushed is folded again.
        let mut coliseum = open(&database);
        apply(&mut coliseum, &log, 3..=5);
        flush(&database, &mut coliseum);
        check(&open(&database).view(Seq::new(5)));
        let mut rebuilt = open(&self::database());
        apply(&mut rebuilt, &log, 1..=5);
        check(&rebuilt.view(Seq::new(5)));
        let first_of_u1 = early.entitlement("u1").expect("given");
        let both = Domains::of(&[Domain::Cultural, Domain::Economic]);
        assert_eq!((first_of_u1.domains, first_of_u1.leaderboard_depth), (Some(both), Some(7)), "a view stays");
    }

    #[test]
    fn a_change_that_is_folded_late_does_not_undo_a_later_one() {
        let log = log();
        let mut coliseum = open(&database());
        apply(&mut coliseum, &log, [2, 3, 4, 5, 1]);
        check(&coliseum.view(Seq::new(5)));
    }

    #[test]
    fn a_flush_writes_only_what_changed() {
        let (database, log) = (database(), log());
        let mut coliseum = open(&database);
        apply(&mut coliseum, &log, 1..=4);
        flush(&database, &mut coliseum);
        assert!(coliseum.entitlements.unflushed.is_empty());
        apply(&mut coliseum, &log, [5]);
        assert_eq!(coliseum.entitlements.unflushed, HashSet::from(["u1".into()]));
    }

    #[test]
    fn a_value_that_is_damaged_or_of_another_user_is_an_error() {
        let entitlement = Entitlement {
            seq: Seq::new(9),
            plan: Plan::Basic,
            domains: Some(Domains::ALL),
            leaderboard_depth: Some(1 << 53),
            expires_at: Some(NOW),
        };
        let value = encode("u1", &entitlement);
        assert_eq!(decode("u1", &value).expect("what was written"), entitlement);
        assert!(decode("u2", &value).is_err());
        for place in 0..value.len() {
            let mut bad = value.clone();
            bad[place] ^= 4;
            assert!(decode("u1", &bad).is_err(), "byte {place}");
        }
    }
}
