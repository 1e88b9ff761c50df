//! What becomes of a record that was sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::client::unfinished;
use crate::completion::NotifyQueue;
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

/// A record on its way. Await it, [`wait`](Self::wait), or drop it: then a failure is counted.
#[derive(Clone, Debug)]
#[must_use = "a delivery that is dropped unread is reported by flush and close if it fails"]
pub struct Delivery(());

impl Delivery {
    /// Parks the calling thread until the record is acknowledged or failed, at most `timeout`.
    ///
    /// # Errors
    /// Why it failed; `REQUEST_TIMED_OUT` with outcome `unknown` (it can be waited for again).
    pub fn wait(&self, timeout: Option<Duration>) -> Result<RecordMetadata> {
        let _ = timeout;
        Err(unfinished())
    }

    /// The answer, if it is there.
    #[must_use]
    pub fn peek(&self) -> Option<Result<RecordMetadata>> {
        None
    }

    /// Pushes `ticket` to `queue` when the answer is there (at once if it is).
    pub fn notify(&self, queue: &Arc<NotifyQueue>, ticket: u64) {
        queue.push(ticket);
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err(unfinished()))
    }
}
