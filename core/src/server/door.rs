//! What a connection is served from: a session of the service, or a stand-in in tests and simulations.

use bytes::Bytes;

use crate::completion::{Completion, Wake};
use crate::error::Result;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::request::{FetchPosition, Request, SubscribeAt};
use crate::protocol::response::Response;
use crate::service::{Run, Session, Subscription};

/// One client's way in. Dropped when its connection has ended.
///
/// It is used from runtime threads, so it neither waits nor touches a file there.
pub trait Door: Send + Sync + 'static {
    /// The uuid of the log behind it.
    fn log_uuid(&self) -> [u8; 16];

    /// Asks; may answer before it returns.
    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>);

    /// Opens a stream of record batches.
    ///
    /// # Errors
    /// When the partitions cannot be read.
    fn subscribe(&self, subscribe: &SubscribeAt) -> Result<Box<dyn Feed>>;

    /// Runs `job` soon, on a thread that may touch files.
    ///
    /// # Errors
    /// When it will not run: the log is closed, or too much is waiting to be run.
    fn schedule(&self, job: Box<dyn FnOnce() + Send>) -> Result<()>;
}

/// A stream of record batches. One thread uses it at a time: a scheduled job, or for [`take_recent`](Self::take_recent)
/// and [`watch`](Self::watch) whoever has made something readable.
pub trait Feed: Send + Sync {
    /// What is readable, about `max_bytes` of it, and at least one batch if any is.
    ///
    /// # Errors
    /// What ends the stream.
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>>;

    /// What is readable and in memory, at most `max_bytes` of it; nothing where there is more to it than that. Touches
    /// no file and takes no time to speak of.
    fn take_recent(&self, max_bytes: usize) -> Vec<FetchedBatch>;

    /// Wakes `wake` once when there is something to take, at once if there is.
    fn watch(&self, wake: Wake);

    /// Reads these partitions from now on, and no others.
    ///
    /// # Errors
    /// When they cannot be read.
    fn assign(&self, positions: &[FetchPosition]) -> Result<()>;
}

impl Door for Session {
    fn log_uuid(&self) -> [u8; 16] {
        self.service().log_uuid()
    }

    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        Self::submit(self, request, payload, Run::Prompt, completion);
    }

    fn subscribe(&self, subscribe: &SubscribeAt) -> Result<Box<dyn Feed>> {
        Ok(Box::new(Self::subscribe(self, subscribe)?))
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) -> Result<()> {
        self.service().schedule(job)
    }
}

impl Feed for Subscription {
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        Self::take(self, max_bytes)
    }

    fn take_recent(&self, max_bytes: usize) -> Vec<FetchedBatch> {
        Self::take_recent(self, max_bytes)
    }

    fn watch(&self, wake: Wake) {
        Self::watch(self, wake);
    }

    fn assign(&self, positions: &[FetchPosition]) -> Result<()> {
        Self::assign(self, positions)
    }
}
