//! A log in memory that answers as the Passport promises, for the tests of capture and http.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{CaptureContext, CaptureLimits};
use crate::clock::{Clock, ManualClock};
use crate::event::same_content;
use crate::passport::{AppendError, Appender, Envelope, Outcome};
use crate::units::{Seq, Timestamp};

/// What the fake keeps of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub message_id: String,
    pub event_type: String,
    pub user_id: String,
    pub session_id: Option<String>,
    pub device_id: Option<String>,
    pub source: String,
    pub at: Timestamp,
    pub received_at: Timestamp,
    pub at_corrected: bool,
    pub payload: String,
}

impl Kept {
    fn new(envelope: &Envelope<'_>) -> Kept {
        Kept {
            message_id: envelope.message_id.into(),
            event_type: envelope.event_type.into(),
            user_id: envelope.user_id.into(),
            session_id: envelope.session_id.map(Into::into),
            device_id: envelope.device_id.map(Into::into),
            source: envelope.source.into(),
            at: Timestamp::from_micros(envelope.at_micros),
            received_at: Timestamp::from_micros(envelope.received_at_micros),
            at_corrected: envelope.at_corrected,
            payload: envelope.payload.into(),
        }
    }
}

#[derive(Default)]
struct Log {
    entries: Vec<Kept>,
    refuse: Option<AppendError>,
}

impl Log {
    fn judge(&self, pending: &[Kept], kept: &Kept, ahead: bool) -> Result<(), Outcome> {
        let known = self.entries.iter().chain(pending).position(|entry| entry.message_id == kept.message_id);
        let Some(place) = known else { return if ahead { Err(Outcome::Ahead) } else { Ok(()) } };
        let entry = self.entries.iter().chain(pending).nth(place).expect("the place was just found");
        let seq = Seq::new(place as u64 + 1);
        let same = same_content(&entry.payload, &kept.payload);
        Err(if same { Outcome::Duplicate(seq) } else { Outcome::Conflict(seq) })
    }

    fn append(&mut self, atomic: bool, events: &[(Envelope<'_>, bool)]) -> Result<Vec<Outcome>, AppendError> {
        if let Some(error) = &self.refuse {
            return Err(error.clone());
        }
        let mut pending = Vec::new();
        let mut outcomes: Vec<Outcome> = events
            .iter()
            .map(|(envelope, ahead)| {
                let kept = Kept::new(envelope);
                match self.judge(&pending, &kept, *ahead) {
                    Err(outcome) => outcome,
                    Ok(()) => {
                        pending.push(kept);
                        Outcome::Stored(Seq::new((self.entries.len() + pending.len()) as u64))
                    }
                }
            })
            .collect();
        if atomic && outcomes.iter().any(|outcome| matches!(outcome, Outcome::Conflict(_) | Outcome::Ahead)) {
            for outcome in &mut outcomes {
                if matches!(outcome, Outcome::Stored(_)) {
                    *outcome = Outcome::Withheld;
                }
            }
        } else {
            self.entries.append(&mut pending);
        }
        Ok(outcomes)
    }
}

/// A daemon as capture sees it.
pub struct FakeDaemon {
    appender: Appender,
    pub clock: ManualClock,
    pub limits: CaptureLimits,
    /// How often a write asked whether it may go on.
    pub paced: AtomicUsize,
    log: Arc<Mutex<Log>>,
}

/// The time at which fakes stand: 2026-05-01T12:00:00Z.
pub const NOW: Timestamp = Timestamp::from_micros(1_777_636_800_000_000);

impl FakeDaemon {
    pub fn new() -> FakeDaemon {
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = Arc::clone(&log);
        let appender = Appender::with_handler(64, move |atomic, events| shared.lock().append(atomic, events));
        FakeDaemon {
            appender,
            clock: ManualClock::new(NOW),
            limits: CaptureLimits::default(),
            paced: AtomicUsize::new(0),
            log,
        }
    }
    pub fn entries(&self) -> Vec<Kept> {
        self.log.lock().entries.clone()
    }
    /// From now on every group is refused so, or none again.
    pub fn refuse(&self, error: Option<AppendError>) {
        self.log.lock().refuse = error;
    }
}

impl CaptureContext for FakeDaemon {
    fn appender(&self) -> &Appender {
        &self.appender
    }
    fn clock(&self) -> &dyn Clock {
        &self.clock
    }
    fn capture_limits(&self) -> CaptureLimits {
        self.limits
    }
    async fn keep_pace(&self) {
        self.paced.fetch_add(1, Ordering::Relaxed);
    }
}
