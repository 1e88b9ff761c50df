//! The producer: records in, deliveries out.

mod delivery;

use std::sync::Arc;
use std::time::Duration;

pub use delivery::{Delivery, RecordMetadata};

use super::{CloseReport, unfinished};
use crate::completion::Pending;
use crate::error::{Error, Result};
use crate::record::Header;

/// A record to send, borrowed: key and value are copied before `send` returns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The partition; none: the partitioner's choice.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [Header<'a>],
    /// When it was made, ms since 1970 UTC; none: now.
    pub timestamp_ms: Option<i64>,
}

impl<'a> Record<'a> {
    /// A record of this value.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self {
            partition: None,
            key: None,
            value: Some(value),
            headers: &[],
            timestamp_ms: None,
        }
    }

    /// The same with a key.
    #[must_use]
    pub const fn with_key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }
}

/// Records that failed although nobody was waiting for them: sent by `enqueue`, or their delivery was
/// dropped unread.
#[derive(Clone, Debug)]
pub struct DeliveryFailure {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// How many records.
    pub records: u64,
    /// Why.
    pub error: Error,
}

/// Sends records to any topic. Clones are the same producer.
///
/// Records of one partition keep the order in which they were handed over. Dropping the last handle
/// flushes in the background, as far as it gets; [`flush`](Self::flush) or [`close`](Self::close) say
/// whether it got there.
#[derive(Clone, Debug)]
pub struct Producer(());

impl Producer {
    /// Sends a record. Waits up to `max_block_ms` for room; on a thread of Headwater it never waits.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `MESSAGE_TOO_LARGE`, `BUFFER_FULL`, `CLOSED`, `FORKED`; and the
    /// failure of an earlier send to the partition after which nothing more can be sent.
    pub fn send(&self, topic: &str, record: &Record<'_>) -> Result<Delivery> {
        let _ = (topic, record);
        Err(unfinished())
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As [`send`](Self::send); `BUFFER_FULL` at once.
    pub fn try_send(&self, topic: &str, record: &Record<'_>) -> Result<Delivery> {
        let _ = (topic, record);
        Err(unfinished())
    }

    /// Sends a record and gives nothing back. Never waits. What fails is counted and comes out of
    /// [`flush`](Self::flush), [`close`](Self::close) and [`on_failure`](Self::on_failure).
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn enqueue(&self, topic: &str, record: &Record<'_>) -> Result<()> {
        let _ = (topic, record);
        Err(unfinished())
    }

    /// The number that stands for a topic in send rows. It never changes for this producer.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION`; whether the topic exists is found when it is sent to.
    pub fn topic(&self, name: &str) -> Result<u32> {
        let _ = name;
        Err(unfinished())
    }

    /// Sends records packed as send rows and returns how many bytes were taken: whole rows, fewer than
    /// all when there is no more room. Never waits, never keeps the buffer.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a malformed row and `UNKNOWN_TOPIC_OR_PARTITION` for a topic id or partition
    /// that is not there: nothing is taken then.
    pub fn send_rows(&self, rows: &[u8]) -> Result<usize> {
        let _ = rows;
        Err(unfinished())
    }

    /// Calls `hook` when there are completion rows to take, and not again before they were taken. It
    /// must not block. A later hook replaces an earlier one.
    pub fn completions(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _ = hook;
    }

    /// Takes the completion rows so far, 40 bytes each, back to back: the ends of records that were sent
    /// by rows with a ticket.
    #[must_use]
    pub fn take_completions(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The error that a completion row names; the last 1,024 are kept.
    #[must_use]
    pub fn take_error(&self, error_id: u32) -> Option<Error> {
        let _ = error_id;
        None
    }

    /// Calls `hook` for failures that nobody waits for. It must not block. A later hook replaces an
    /// earlier one.
    pub fn on_failure(&self, hook: impl Fn(&DeliveryFailure) + Send + Sync + 'static) {
        let _ = hook;
    }

    /// Answers when there is room for one more record.
    ///
    /// # Errors
    /// `CLOSED`.
    pub fn ready(&self) -> Pending<()> {
        Pending::ready(Err(unfinished()))
    }

    /// Answers when everything sent so far is acknowledged or failed.
    ///
    /// # Errors
    /// The first failure since the last flush that nobody was told about, with the count and the topics
    /// in its message.
    pub fn flush(&self) -> Pending<()> {
        Pending::ready(Err(unfinished()))
    }

    /// Takes no more records and answers when those it has are acknowledged or failed, at the latest
    /// after `timeout` (none: `close_timeout_ms`), saying what was not delivered.
    pub fn close(&self, timeout: Option<Duration>) -> Pending<CloseReport> {
        let _ = timeout;
        Pending::ready(Err(unfinished()))
    }
}
