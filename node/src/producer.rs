//! The producer: send rows in, completion rows out, many records a call.

use std::collections::VecDeque;
use std::sync::Arc;

use headwater::client::{DeliveryFailure, Producer};
use headwater::sync::Mutex;
use headwater::{Error, ErrorCode};
use napi::Env;
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;

use crate::client::timeout_of;
use crate::error::guard;
use crate::hub::Host;
use crate::record::{self, ErrorOf, FailureOf};

/// Failures kept for a listener that does not come to take them; the oldest goes first.
const FAILURES_KEPT_MAX: usize = 1_024;

/// Sends records to any topic.
#[napi]
pub struct NativeProducer {
    producer: Producer,
    failures: Arc<Mutex<VecDeque<DeliveryFailure>>>,
}

#[napi]
impl NativeProducer {
    pub(crate) fn new(producer: Producer) -> Self {
        Self {
            producer,
            failures: Arc::default(),
        }
    }

    /// The number that stands for a topic in send rows.
    #[napi]
    pub fn topic(&self, env: &Env, name: String) -> napi::Result<u32> {
        guard(env, || self.producer.topic(&name))
    }

    /// Sends the rows that stand in `rows[start..end]`; returns how many bytes were taken, whole rows.
    #[napi]
    pub fn send_rows(
        &self,
        env: &Env,
        rows: BufferSlice<'_>,
        start: u32,
        end: u32,
    ) -> napi::Result<u32> {
        guard(env, || {
            let rows = rows.get(start as usize..end as usize).ok_or_else(outside)?;
            let taken = self.producer.send_rows(rows)?;
            Ok(u32::try_from(taken).unwrap_or(u32::MAX))
        })
    }

    /// Pushes `completions` when there are completion rows to take, and `failures` when there are
    /// failures; both tickets stay valid.
    #[napi(catch_unwind)]
    pub fn watch(&self, env: &Env, completions: i64, failures: i64) -> napi::Result<()> {
        let queue = Arc::clone(&Host::of(env)?.queue);
        let done = Arc::clone(&queue);
        self.producer
            .completions(move || done.push(completions.cast_unsigned()));
        let kept = Arc::clone(&self.failures);
        self.producer.on_failure(move |failure| {
            let mut kept = kept.lock();
            if kept.len() == FAILURES_KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(failure.clone());
            drop(kept);
            queue.push(failures.cast_unsigned());
        });
        Ok(())
    }

    /// The completion rows so far.
    #[napi(catch_unwind)]
    pub fn take_completions<'env>(&self, env: &'env Env) -> napi::Result<BufferSlice<'env>> {
        BufferSlice::copy_from(env, self.producer.take_completions())
    }

    /// The error that a completion row names, if it is still kept.
    #[napi(catch_unwind)]
    pub fn take_error(&self, error_id: u32) -> Option<ErrorOf> {
        self.producer
            .take_error(error_id)
            .as_ref()
            .map(record::error)
    }

    /// The failures so far that nobody was waiting for.
    #[napi(catch_unwind)]
    pub fn take_failures(&self) -> Vec<FailureOf> {
        let failures = std::mem::take(&mut *self.failures.lock());
        failures.iter().map(record::failure).collect()
    }

    /// Answers when there is room for one more record.
    #[napi]
    pub fn ready(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.producer.ready()))?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// Answers when everything handed over so far is acknowledged or failed.
    #[napi]
    pub fn flush(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.producer.flush()))?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// Closes it; the answer is a report.
    #[napi]
    pub fn close(&self, env: &Env, ticket: i64, timeout_ms: Option<f64>) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.producer.close(timeout_of(timeout_ms))))?;
        Host::ask(env, ticket, pending, |_, report| Ok(record::report(report)))
    }
}

fn outside() -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        "the rows are not within the buffer",
    )
}
