//! Running projections as the daemon sees them: each catches up, rebuilds and fails alone, and all are treated alike.

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Projection;
use super::dead_letters::DeadLetter;
use super::handle::{ConsumerStatus, Handle, NotFound};
use crate::units::Seq;

/// How long one wait for a seq lasts before it is begun again.
const WAIT_PIECE: Duration = Duration::from_secs(1);

/// An answer that is waited for, from a trait that is used as an object.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A projection that runs, whatever it folds. The methods are those of [`Handle`].
pub trait Consumer: Send + Sync {
    fn name(&self) -> &'static str;
    fn applied(&self) -> Seq;
    fn status(&self) -> ConsumerStatus;
    fn caught_up_once(&self) -> bool;
    fn dead_letters(&self) -> Vec<DeadLetter>;
    fn retry(&self, seq: Seq) -> Later<'_, Result<Result<(), String>, NotFound>>;
    fn rebuild(&self);
    fn wait_applied(&self, seq: Seq, timeout: Duration) -> Later<'_, bool>;
    fn shutdown(&self);
}

impl<P: Projection> Consumer for Handle<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }
    fn applied(&self) -> Seq {
        Handle::applied(self)
    }
    fn status(&self) -> ConsumerStatus {
        Handle::status(self)
    }
    fn caught_up_once(&self) -> bool {
        Handle::caught_up_once(self)
    }
    fn dead_letters(&self) -> Vec<DeadLetter> {
        Handle::dead_letters(self)
    }
    fn retry(&self, seq: Seq) -> Later<'_, Result<Result<(), String>, NotFound>> {
        Box::pin(Handle::retry(self, seq))
    }
    fn rebuild(&self) {
        Handle::rebuild(self);
    }
    fn wait_applied(&self, seq: Seq, timeout: Duration) -> Later<'_, bool> {
        Box::pin(Handle::wait_applied(self, seq, timeout))
    }
    fn shutdown(&self) {
        Handle::shutdown(self);
    }
}

/// All projections of a daemon, in the order in which they are listed. Cheap to clone.
#[derive(Clone)]
pub struct Consumers(Arc<[Arc<dyn Consumer>]>);

impl Consumers {
    /// # Panics
    /// If two have one name: they would share a directory.
    pub fn new(consumers: Vec<Arc<dyn Consumer>>) -> Consumers {
        for (index, consumer) in consumers.iter().enumerate() {
            let has_twin = consumers[..index].iter().any(|other| other.name() == consumer.name());
            assert!(!has_twin, "two projections are called {}", consumer.name());
        }
        Consumers(consumers.into())
    }

    pub fn iter(&self) -> impl Iterator<Item = &dyn Consumer> {
        self.0.iter().map(Arc::as_ref)
    }

    pub fn get(&self, name: &str) -> Option<&dyn Consumer> {
        self.iter().find(|consumer| consumer.name() == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.iter().map(Consumer::name)
    }

    /// How far each has come at this moment.
    pub fn applied(&self) -> AppliedSeqs {
        AppliedSeqs(self.iter().map(|consumer| (consumer.name(), consumer.applied())).collect())
    }

    /// Whether every one has held all that the log held at the start.
    pub fn caught_up_once(&self) -> bool {
        self.iter().all(Consumer::caught_up_once)
    }

    /// Resolves when each one whose name passes holds `seq`. One that is held up keeps it waiting for ever.
    pub async fn wait_applied(&self, is_waited_for: impl Fn(&str) -> bool, seq: Seq) {
        for consumer in self.iter().filter(|consumer| is_waited_for(consumer.name())) {
            while !consumer.wait_applied(seq, WAIT_PIECE).await {}
        }
    }

    /// Resolves when no running one is more than `lag_max` entries behind `head`, and after `longest` at the latest: one that
    /// is stuck slows writes down and never stops them. Those that are rebuilt, started or stalled are not waited for.
    pub async fn keep_pace(&self, head: Seq, lag_max: NonZeroU64, longest: Duration) {
        let wanted = Seq::new(head.get().saturating_sub(lag_max.get()));
        // Of nearly every write; a timer costs more than this.
        if self.iter().all(|consumer| wanted <= consumer.applied()) {
            return;
        }
        let all_hold_it = async {
            for consumer in self.iter() {
                if consumer.applied() < wanted && consumer.status().state == "running" {
                    consumer.wait_applied(wanted, longest).await;
                }
            }
        };
        // Being late is no error: the write goes on.
        let _ = tokio::time::timeout(longest, all_hold_it).await;
    }

    /// Stops all of them, one after another, each flushed. Blocks.
    pub fn shutdown(&self) {
        self.iter().for_each(Consumer::shutdown);
    }
}

/// How far each consumer had come at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedSeqs(Vec<(&'static str, Seq)>);

impl AppliedSeqs {
    /// The same, but that `name` is taken at `applied`: the seq of the view that an answer is made from.
    pub fn with(mut self, name: &str, applied: Seq) -> AppliedSeqs {
        self.0.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, seq)| *seq = applied);
        self
    }

    /// Whether the consumer of that name holds `seq`; `false` where there is none.
    pub fn holds(&self, name: &str, seq: Seq) -> bool {
        self.0.iter().any(|(known, applied)| *known == name && seq <= *applied)
    }

    /// What every consumer holds.
    pub fn smallest(&self) -> Seq {
        self.0.iter().map(|(_, applied)| *applied).min().unwrap_or(Seq::ZERO)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Seq)> {
        self.0.iter().copied()
    }
}
