//! What becomes of a record that was sent.
//!
//! A delivery is a reference to its batch and an index in it; nothing is allocated for a record. The batch
//! counts the deliveries that were dropped before anybody looked, so that a failure is never lost.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::sender::Sender;
use crate::completion::{Completion, NotifyQueue, Shared, Wake, Wakes};
use crate::error::Result;
use crate::ids::Durability;

/// Where a record went and how safe it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The record's time, ms since 1970 UTC: the log's where the topic says so, else its own.
    pub timestamp_ms: i64,
    /// The level reached.
    pub durability: Durability,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) partition: i32,
    pub(super) base_offset: i64,
    /// -1 if the records keep their own times.
    pub(super) append_time_ms: i64,
    pub(super) durability: Durability,
}

/// The answer to one batch, which its deliveries look at.
pub(super) struct BatchSlot {
    topic: Arc<str>,
    /// -1 if it was not known when the record was sent.
    partition: i32,
    answer: Shared<Placed>,
    /// Deliveries dropped unread, and [`FAILED`].
    dropped: AtomicU32,
    sender: Arc<Sender>,
}

/// Set in [`BatchSlot::dropped`] when the batch failed: from then on each drop reports itself.
const FAILED: u32 = 1 << 31;

/// A slot that is not answered yet, with what answers it.
#[derive(Debug)]
pub(super) struct OpenSlot {
    pub(super) slot: Arc<BatchSlot>,
    completion: Completion<Placed>,
}

impl OpenSlot {
    pub(super) fn new(topic: Arc<str>, partition: i32, sender: &Arc<Sender>) -> Self {
        let (completion, answer) = Completion::shared();
        let slot = Arc::new(BatchSlot {
            topic,
            partition,
            answer,
            dropped: AtomicU32::new(0),
            sender: Arc::clone(sender),
        });
        Self { slot, completion }
    }

    /// Answers it; returns how many records failed of which nobody holds a delivery any more.
    pub(super) fn settle(self, result: Result<Placed>, wakes: &mut Wakes) -> u32 {
        let has_failed = result.is_err();
        // The answer stands before the mark: whoever is dropped and sees the mark finds the error.
        self.completion.complete(result, wakes);
        if !has_failed {
            return 0;
        }
        self.slot.dropped.fetch_or(FAILED, Ordering::AcqRel)
    }
}

impl fmt::Debug for BatchSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSlot")
            .field("topic", &self.topic)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

/// A record on its way. Await it, [`wait`](Self::wait), or drop it: then a failure is counted.
///
/// A clone looks at the same record; the failure is counted when the first is dropped unread, whatever the
/// clones have seen.
#[must_use = "a delivery that is dropped unread is reported by flush and close if it fails"]
pub struct Delivery {
    slot: Arc<BatchSlot>,
    timestamp_ms: i64,
    index: u32,
    /// Whether nobody needs to be told any more if it is dropped.
    is_seen: AtomicBool,
}

impl Delivery {
    pub(super) fn new(slot: Arc<BatchSlot>, index: u32, timestamp_ms: i64) -> Self {
        Self {
            slot,
            timestamp_ms,
            index,
            is_seen: AtomicBool::new(false),
        }
    }

    /// Parks the calling thread until the record is acknowledged or failed, at most `timeout`. A thread
    /// that waits may write to the log itself.
    ///
    /// # Errors
    /// Why it failed; `REQUEST_TIMED_OUT` with outcome `unknown` (it can be waited for again); `FORKED`;
    /// `INVALID_STATE` on a thread of Headwater itself.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<RecordMetadata> {
        if let Some(found) = self.peek() {
            return found;
        }
        self.slot.sender.check_process()?;
        if !crate::completion::is_own_thread() {
            self.slot.sender.assist_here();
            self.slot.sender.look_awake(timeout, || self.is_done());
        }
        let answer = self.slot.answer.wait(timeout);
        match self.slot.answer.peek() {
            Some(found) => self.seen(found),
            None => answer.map(|placed| self.metadata(placed)),
        }
    }

    /// The answer, if it is there.
    #[must_use]
    pub fn peek(&self) -> Option<Result<RecordMetadata>> {
        self.slot.answer.peek().map(|found| self.seen(found))
    }

    /// Whether the answer is there. Unlike [`peek`](Self::peek) it does not read it: a failure still
    /// has to be told.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.slot.answer.peek().is_some()
    }

    /// Pushes `ticket` to `queue` when the answer is there (at once if it is).
    pub fn notify(&self, queue: &Arc<NotifyQueue>, ticket: u64) {
        self.slot
            .answer
            .watch(Wake::Ticket(Arc::clone(queue), ticket));
    }

    fn seen(&self, found: Result<Placed>) -> Result<RecordMetadata> {
        self.is_seen.store(true, Ordering::Relaxed);
        found.map(|placed| self.metadata(placed))
    }

    fn metadata(&self, placed: Placed) -> RecordMetadata {
        RecordMetadata {
            topic: Arc::clone(&self.slot.topic),
            partition: placed.partition,
            offset: placed.base_offset.saturating_add(self.index.into()),
            timestamp_ms: match placed.append_time_ms {
                -1 => self.timestamp_ms,
                append_time_ms => append_time_ms,
            },
            durability: placed.durability,
        }
    }
}

impl Clone for Delivery {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            timestamp_ms: self.timestamp_ms,
            index: self.index,
            is_seen: AtomicBool::new(true),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if *self.is_seen.get_mut() {
            return;
        }
        let before = self.slot.dropped.fetch_add(1, Ordering::AcqRel);
        if before & FAILED != 0
            && let Some(Err(error)) = self.slot.answer.peek()
        {
            let BatchSlot {
                topic,
                partition,
                sender,
                ..
            } = &*self.slot;
            sender.dropped_unread(topic, *partition, &error);
        }
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.slot.answer.poll(context).map(|found| self.seen(found))
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.slot.topic)
            .field("index", &self.index)
            .field("answer", &self.slot.answer)
            .finish_non_exhaustive()
    }
}
