//! How it is used: producers, consumers and administration, over a transport to a log in this process
//! or behind a socket.
//!
//! Everything that may wait returns a [`Pending`]: await it, `.wait(timeout)` on a thread that may
//! wait, or `.notify(queue, ticket)` for a foreign event loop. Nothing else blocks, except what says so
//! in its name or its first line. Every handle is a cheap clone of the same object.

mod address;
mod admin;
mod consumer;
pub mod options;
mod producer;
#[cfg(feature = "tcp")]
pub mod runtime;
pub(crate) mod transport;

use std::time::Duration;

pub use address::{Address, DEFAULT_PORT, HostPort, parse_address};
pub use admin::Admin;
pub use consumer::{BatchRecords, Block, Consumer, ConsumerBatch, Progress};
pub use options::{
    Ack, Assignor, CleanupPolicy, Compression, ConnectOptions, ConsumerOptions, Isolation, Order,
    Partitioner, ProcessOptions, ProducerOptions, ServeOptions, Start, TimestampType, TopicOptions,
    Until,
};
pub use producer::{Delivery, DeliveryFailure, Producer, Record, RecordMetadata};

use crate::completion::Pending;
use crate::error::{Error, ErrorCode, Result};

/// Opens the log at `address`: a path such as `./data`, `mem:`, or `host:port`.
///
/// # Errors
/// `INVALID_ADDRESS` if it is none of these; `FOLDER_LOCKED` if another process owns the folder;
/// `NOT_A_FOLDER`, `FOLDER_TOO_NEW`; `NETWORK_EXCEPTION` if no broker answers.
pub fn connect(address: &str) -> Pending<Client> {
    connect_with(address, ConnectOptions::default())
}

/// The same with options. Options behind `?` of the address win over these, these over `HEADWATER_*`
/// variables of the environment.
///
/// # Errors
/// As [`connect`]; `FOLDER_NOT_FOUND` with `create: Some(false)`; `INVALID_OPTION`.
pub fn connect_with(address: &str, options: ConnectOptions) -> Pending<Client> {
    let _ = (address, options);
    Pending::ready(Err(unfinished()))
}

/// Flushes and closes every open client of the process, within `timeout` (none: `exit_timeout_ms`).
/// For the exit hooks of languages; called twice it does nothing.
pub fn exit(timeout: Option<Duration>) -> CloseReport {
    let _ = timeout;
    CloseReport::default()
}

/// To be called in the child after a fork: every handle made before answers `FORKED`.
pub fn after_fork_in_child() {}

fn unfinished() -> Error {
    Error::new(ErrorCode::UnsupportedFeature, "not built yet")
}

/// An open log. Clones are the same client.
#[derive(Clone, Debug)]
pub struct Client(());

impl Client {
    /// A producer. It is not tied to a topic.
    ///
    /// # Errors
    /// `INVALID_OPTION`, naming option, value and range; `CLOSED`.
    pub fn producer(&self, options: ProducerOptions) -> Result<Producer> {
        let _ = options;
        Err(unfinished())
    }

    /// A consumer of `topics`. It opens at the first call that needs it, or by [`Consumer::open`].
    ///
    /// # Errors
    /// `INVALID_OPTION`; `INVALID_ARGUMENT` without a topic or with one named twice; `CLOSED`.
    pub fn consumer<T: AsRef<str>>(
        &self,
        topics: &[T],
        options: ConsumerOptions,
    ) -> Result<Consumer> {
        let _ = (topics.len(), options);
        Err(unfinished())
    }

    /// Topics, groups and offsets.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new()
    }

    /// A snapshot of what the client is doing.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::default()
    }

    /// What it is connected to, without options and secrets.
    #[must_use]
    pub fn address(&self) -> &str {
        ""
    }

    /// Closes its producers (flushing them) and consumers (committing what is processed), then the log.
    ///
    /// It answers within `timeout` (none: `close_timeout_ms`), whatever happens, and says what was not
    /// delivered. Closing twice gives the report of the first.
    pub fn close(&self, timeout: Option<Duration>) -> Pending<CloseReport> {
        let _ = timeout;
        Pending::ready(Err(unfinished()))
    }

    /// Whether `close` was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        false
    }
}

/// What closing left undone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloseReport {
    /// Records that were still on their way at the deadline: they may be in the log or not.
    pub unsent_records: u64,
    /// Records that failed and that nobody was told about until now.
    pub failed_records: u64,
    /// The first failure.
    pub first_error: Option<Error>,
}

/// What a client is doing. Counts are since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Threads of Headwater in this process that serve the client.
    pub threads: u64,
    /// Producers that are open.
    pub producers: u64,
    /// Consumers that are open.
    pub consumers: u64,
    /// Bytes of records accepted and not acknowledged yet.
    pub buffered_bytes: u64,
    /// Records accepted by producers.
    pub records_sent: u64,
    /// Records acknowledged.
    pub records_acknowledged: u64,
    /// Records that failed.
    pub records_failed: u64,
    /// Batches sent.
    pub batches_sent: u64,
    /// Records given out by consumers.
    pub records_received: u64,
    /// Bytes of record batches read by consumers.
    pub bytes_received: u64,
}

impl Metrics {
    /// Every figure with its name.
    #[must_use]
    pub const fn entries(&self) -> [(&'static str, u64); 10] {
        [
            ("threads", self.threads),
            ("producers", self.producers),
            ("consumers", self.consumers),
            ("buffered_bytes", self.buffered_bytes),
            ("records_sent", self.records_sent),
            ("records_acknowledged", self.records_acknowledged),
            ("records_failed", self.records_failed),
            ("batches_sent", self.batches_sent),
            ("records_received", self.records_received),
            ("bytes_received", self.bytes_received),
        ]
    }
}
