//! How it is used: producers, consumers and administration, over a transport to a log in this process
//! or behind a socket.
//!
//! Everything that may wait returns a [`Pending`]: await it, `.wait(timeout)` on a thread that may
//! wait, or `.notify(queue, ticket)` for a foreign event loop. Nothing else blocks, except what says so
//! in its name or its first line. Every handle is a cheap clone of the same object.
//!
//! [`Pending`]: crate::Pending

mod address;
mod admin;
mod connect;
mod consumer;
mod counters;
mod deadline;
mod handle;
mod health;
pub mod options;
mod process;
mod producer;
mod registry;
mod retry;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod tests;
pub(crate) mod transport;

pub use address::{Address, DEFAULT_PORT, HostPort, parse_address};
pub use admin::Admin;
pub use connect::{connect, connect_with};
pub use consumer::{BatchRecords, Block, Consumer, ConsumerBatch, PartitionLag, Progress};
pub use handle::{Client, CloseReport, Metrics};
pub use health::{Health, MemberHealth, MemberState};
pub use options::{
    Ack, Assignor, CleanupPolicy, Compression, ConnectOptions, ConsumerOptions, Isolation,
    MaxBytesPolicy, Order, Partitioner, ProcessOptions, ProducerOptions, ServeOptions, Sharing,
    Start, TimestampType, TopicOptions, Until,
};
pub use process::{Finish, ProcessBlock, ProcessError, ProcessRecord, Processor};
pub use producer::{Delivery, DeliveryFailure, Producer, Record, RecordMetadata};
pub use registry::exit;
