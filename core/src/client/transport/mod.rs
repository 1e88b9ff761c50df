//! How a client reaches a log: one way to submit requests and one to be pushed record batches, whether
//! the log is in this process or behind a socket.
//!
//! Nothing here waits: an answer fills a [`Completion`], a feed that has something wakes its [`Wake`].
//! Retries, deadlines of deliveries and positions are the business of the producer and the consumer.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod in_process;
#[cfg(feature = "tcp")]
pub(crate) mod tcp;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::client::health::LinkHealth;
use crate::completion::{Completion, Wake};
use crate::error::Result;
pub(crate) use crate::protocol::fetched::FetchedBatch;
use crate::protocol::request::{FetchPosition, Request, SubscribeAt};
use crate::protocol::response::Response;

/// A log that can be asked.
pub(crate) trait Transport: Send + Sync + Debug {
    /// Asks; never waits. `payload` is the record batch of a `Produce`, empty otherwise. The completion
    /// may be filled before this returns.
    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>);

    /// The same for a thread that is about to wait for the answer: in process it may append here and
    /// now; over a socket it is [`submit`](Self::submit).
    fn run_here(&self, request: Request, payload: Bytes, completion: Completion<Response>);

    /// Opens a stream of record batches. Errors that need a round trip come out of [`Feed::take`].
    ///
    /// # Errors
    /// When the transport is closed or its connection lost.
    fn subscribe(&self, subscribe: SubscribeAt) -> Result<Arc<dyn Feed>>;

    /// Runs `job` soon, on a thread of ours that may touch files (in process: the log's io thread; over
    /// a socket: a thread of the runtime, where the job must not block). Only a transport that is closed drops
    /// it, so whoever asks has a few of them waiting at most.
    fn schedule(&self, job: Box<dyn FnOnce() + Send>);

    /// Writes what is queued, on this thread, if that is possible (in process only).
    fn assist(&self);

    /// Ends it, having waited at most `timeout` for what is in flight. Called twice it does nothing.
    ///
    /// # Errors
    /// When something could not be ended in order, such as a log that could not be synced.
    fn close(&self, timeout: Duration) -> Result<()>;

    /// What it is connected to, for messages: `./data` or `localhost:9092`.
    fn description(&self) -> String;

    /// Whether it can be asked, from what is known without asking.
    fn health(&self) -> LinkHealth;

    /// Whether record batches have passed a network and are to be checked.
    fn is_remote(&self) -> bool;

    /// Threads of ours that serve it.
    fn thread_count(&self) -> u64;
}

/// A stream of record batches.
pub(crate) trait Feed: Send + Sync + Debug {
    /// What is there, in order per partition and about `max_bytes` of it; at least one batch if any is
    /// there. Never waits; in process it may read files, so not on a runtime thread.
    ///
    /// # Errors
    /// What ended the stream; it is given again by every later call.
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>>;

    /// Wakes `wake` once, when [`take`](Self::take) may give something it did not give before (at once
    /// if it already may). A later call replaces the wake of an earlier one.
    fn watch(&self, wake: Wake);

    /// Reads these partitions from now on, each from its offset, instead of the ones before. What was
    /// read ahead of the old positions is dropped.
    ///
    /// # Errors
    /// When the stream has ended.
    fn reassign(&self, positions: Vec<FetchPosition>) -> Result<()>;

    /// So many bytes of what was taken are kept by whoever took it: nothing is read ahead in their place. It
    /// counts until another number is said, also for streams that read nothing ahead, which need not care.
    fn hold(&self, _bytes: u64) {}

    /// Ends the stream. Called twice it does nothing.
    fn close(&self);
}
