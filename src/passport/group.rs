//! What a request hands to the writer thread, and what it gets back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use super::record::{self, Envelope};
use crate::units::Seq;

/// The events of one request, already checked and encoded. They are stored in this order under one sync, all of them
/// or, after a crash, none.
#[derive(Debug, Default)]
pub struct Group {
    /// All or nothing: one bad event and none is stored.
    pub atomic: bool,
    pub(super) bytes: Vec<u8>,
    /// The idempotency keys, one after the other, so that the writer need not decode a record to look one up.
    pub(super) keys: String,
    pub(super) items: Vec<GroupItem>,
}

/// One event of a group: where its record lies in the group's bytes, and what the writer needs beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupItem {
    pub start: usize,
    pub len: usize,
    pub key_start: usize,
    pub key_len: usize,
    /// `at` lies too far ahead: refused unless its key turns out to be known.
    pub ahead: bool,
}

impl Group {
    pub fn new(atomic: bool) -> Group {
        Group { atomic, ..Group::default() }
    }
    /// Adds an event. `ahead`: its `at` is too far in the future, so it is refused unless its key is already stored.
    /// `at_text` is the part of the payload that says when it happened, if it says the same as the envelope.
    pub fn push(&mut self, envelope: &Envelope<'_>, at_text: Option<&str>, ahead: bool) {
        let start = self.bytes.len();
        record::encode(envelope, at_text, &mut self.bytes);
        let (key_start, key_len) = (self.keys.len(), envelope.message_id.len());
        self.keys.push_str(envelope.message_id);
        self.items.push(GroupItem { start, len: self.bytes.len() - start, key_start, key_len, ahead });
    }
    pub(super) fn key(&self, item: &GroupItem) -> &str {
        &self.keys[item.key_start..item.key_start + item.key_len]
    }
    pub fn len(&self) -> usize {
        self.items.len()
    }
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// What became of one event of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Newly stored and on disk, under this number.
    Stored(Seq),
    /// The same event was stored before, under this number.
    Duplicate(Seq),
    /// The key belongs to another event, stored under this number. Nothing stored.
    Conflict(Seq),
    /// Refused: `at` is too far ahead of the clock.
    Ahead,
    /// Good by itself, not stored because another event of an atomic group was refused.
    Withheld,
}

/// Why a group was not taken. Nothing of it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("{0} groups wait for the writer already; try again")]
    QueueFull(usize),
    #[error("the log takes no writes: {0}")]
    ReadOnly(String),
    /// What the log holds under one of the keys could not be read, so that nobody can say whether the event is there.
    #[error("a stored event could not be read: {0}")]
    Unreadable(String),
    /// The writer has stopped (shutdown, or a sync that failed); the event may or may not be in the log after a restart.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

pub(super) type Reply = oneshot::Sender<Result<Vec<Outcome>, AppendError>>;

/// A group on its way to the writer.
pub(super) struct Request {
    pub group: Group,
    pub reply: Reply,
}

/// What the writer's queue carries.
pub(super) enum Message {
    Append(Request),
    /// Sync what was accepted, and end.
    Stop,
}

/// The way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Appender {
    pub(super) queue: Sender<Message>,
    closed: Arc<AtomicBool>,
}

/// The writer's end of the queue. What still waits when it is dropped is answered, since the channel alone would keep
/// it, and whoever asked waiting, for as long as any [`Appender`] lives.
pub(super) struct Queue {
    messages: Receiver<Message>,
    closed: Arc<AtomicBool>,
}

/// A queue of at most `groups_max` groups.
pub(super) fn queue(groups_max: usize) -> (Appender, Queue) {
    let (sender, messages) = crossbeam_channel::bounded(groups_max);
    let closed = Arc::new(AtomicBool::new(false));
    (Appender { queue: sender, closed: closed.clone() }, Queue { messages, closed })
}

impl std::ops::Deref for Queue {
    type Target = Receiver<Message>;
    fn deref(&self) -> &Receiver<Message> {
        &self.messages
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Whoever sends sees the flag afterwards, or has sent before it was set and is found here.
        self.closed.store(true, Ordering::SeqCst);
        self.messages.try_iter().for_each(drop);
    }
}

impl Appender {
    /// Stores the group; resolves after the sync with one outcome for each event, in order.
    pub async fn append(&self, group: Group) -> Result<Vec<Outcome>, AppendError> {
        self.send(group)?.await.unwrap_or_else(|_| Err(AppendError::Stopped("the writer thread ended".into())))
    }

    /// The same for threads that may block.
    pub fn append_blocking(&self, group: Group) -> Result<Vec<Outcome>, AppendError> {
        self.send(group)?
            .blocking_recv()
            .unwrap_or_else(|_| Err(AppendError::Stopped("the writer thread ended".into())))
    }

    fn send(&self, group: Group) -> Result<oneshot::Receiver<Result<Vec<Outcome>, AppendError>>, AppendError> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Message::Append(Request { group, reply })) {
            Ok(()) if self.closed.load(Ordering::SeqCst) => Err(AppendError::Stopped("the writer thread ended".into())),
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(AppendError::QueueFull(self.queue.len())),
            Err(TrySendError::Disconnected(_)) => Err(AppendError::Stopped("the writer thread ended".into())),
        }
    }
}

#[cfg(test)]
impl Appender {
    /// An appender whose log is `handler`, on a thread of its own: it gets whether the group is atomic, and each
    /// event with whether it lies ahead of the clock.
    pub(crate) fn with_handler(
        queue_groups_max: usize,
        mut handler: impl FnMut(bool, &[(Envelope<'_>, bool)]) -> Result<Vec<Outcome>, AppendError> + Send + 'static,
    ) -> Appender {
        let (appender, requests) = queue(queue_groups_max);
        std::thread::spawn(move || {
            for message in requests.iter() {
                let Message::Append(Request { group, reply }) = message else { return };
                let envelope = |item: &GroupItem| {
                    let bytes = &group.bytes[item.start..item.start + item.len];
                    (record::decode(bytes).expect("a record that was just encoded"), item.ahead)
                };
                let events: Vec<_> = group.items.iter().map(envelope).collect();
                // Whoever asked may be gone.
                let _ = reply.send(handler(group.atomic, &events));
            }
        });
        appender
    }
}
