//! The producer: send rows in, completion rows out, many records a call.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater::Producer;
use headwater::client::DeliveryFailure;
use headwater::sync::Mutex;

use crate::error::{ErrorFacts, NativeError};
use crate::hub::{ask, duration, queue};
use crate::record::NativeFailure;

/// Failures kept for a host that does not come to take them; the oldest goes first.
const FAILURES_KEPT_MAX: usize = 1_024;

/// Sends records to any topic.
#[derive(Debug, uniffi::Object)]
pub struct NativeProducer {
    producer: Producer,
    failures: Arc<Mutex<VecDeque<DeliveryFailure>>>,
}

impl NativeProducer {
    pub(crate) fn new(producer: Producer) -> Arc<Self> {
        Arc::new(Self {
            producer,
            failures: Arc::default(),
        })
    }
}

#[uniffi::export]
impl NativeProducer {
    /// The number that stands for a topic in send rows.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION`.
    pub fn topic(&self, name: String) -> Result<u32, NativeError> {
        Ok(self.producer.topic(&name)?)
    }

    /// Sends rows; returns how many bytes were taken, whole rows. Never waits, never keeps the buffer.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a malformed row, `UNKNOWN_TOPIC_OR_PARTITION`, `CLOSED`: nothing was taken.
    pub fn send_rows(&self, rows: &[u8]) -> Result<i64, NativeError> {
        let taken = self.producer.send_rows(rows)?;
        Ok(i64::try_from(taken).unwrap_or(i64::MAX))
    }

    /// Pushes `completions` when there are completion rows to take, and `failures` when there are
    /// failures; both tickets stay valid.
    pub fn watch(&self, completions: i64, failures: i64) -> Result<(), NativeError> {
        let done = queue();
        self.producer
            .completions(move || done.push(completions.cast_unsigned()));
        let failed = queue();
        let kept = Arc::clone(&self.failures);
        self.producer.on_failure(move |failure| {
            let mut kept = kept.lock();
            if kept.len() == FAILURES_KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(failure.clone());
            drop(kept);
            failed.push(failures.cast_unsigned());
        });
        Ok(())
    }

    /// The completion rows so far.
    pub fn take_completions(&self) -> Result<Vec<u8>, NativeError> {
        Ok(self.producer.take_completions())
    }

    /// The error that a completion row names, if it is still kept.
    pub fn take_error(&self, error_id: u32) -> Result<Option<ErrorFacts>, NativeError> {
        let error = self.producer.take_error(error_id);
        Ok(error.as_ref().map(Into::into))
    }

    /// The failures so far that nobody was waiting for.
    pub fn take_failures(&self) -> Result<Vec<NativeFailure>, NativeError> {
        let failures = std::mem::take(&mut *self.failures.lock());
        Ok(failures.iter().map(Into::into).collect())
    }

    /// Answers when there is room for one more record.
    pub fn ready(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.producer.ready());
        Ok(())
    }

    /// Answers when everything handed over so far is acknowledged or failed.
    pub fn flush(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.producer.flush());
        Ok(())
    }

    /// Closes it; the answer is a report.
    pub fn close(&self, ticket: i64, timeout_ms: Option<i64>) -> Result<(), NativeError> {
        ask(ticket, self.producer.close(duration(timeout_ms)));
        Ok(())
    }
}
