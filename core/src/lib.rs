//! Headwater: a Kafka-style log that starts where the data does.
//!
//! The layers, each using only what stands above it: `record` (what a message is), `log` (how it is
//! kept), `engine` (what it means), `protocol` (how it is said), `service` (the one door), `server` and
//! `client` (how it is used).
#![forbid(unsafe_code)]

pub mod client;
pub mod completion;
pub mod engine;
pub mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
pub mod ids;
pub mod limits;
pub mod log;
pub mod protocol;
pub mod record;
#[cfg(feature = "tcp")]
pub mod server;
pub mod service;
#[cfg(feature = "testing")]
pub mod testing;

pub use client::{
    Ack, Address, Admin, BatchRecords, Block, CleanupPolicy, Client, CloseReport, ConnectOptions,
    Consumer, ConsumerBatch, ConsumerOptions, Delivery, DeliveryFailure, Metrics, Producer,
    ProducerOptions, Progress, Record, RecordMetadata, ServeOptions, Start, TopicOptions, Until,
    after_fork_in_child, connect, connect_with, exit, options, parse_address,
};
pub use completion::{Completion, NotifyQueue, Pending};
pub use error::{Error, ErrorCode, ErrorKind, Outcome, Result};
pub use ids::{Durability, TopicPartition};
pub use protocol::request::{Member, OffsetAt, OffsetQuery, PartitionOffset};
pub use protocol::response::{GroupDescription, PartitionDescription, TopicDescription};
pub use record::{Header, RecordView};
