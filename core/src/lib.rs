//! Headwater: a Kafka-style log that starts where the data does.
//!
//! The layers, each using only what stands above it: `record` (what a message is), `log` (how it is
//! kept), `engine` (what it means), `protocol` (how it is said), `service` (the one door), `server` and
//! `client` (how it is used).
//!
//! ```
//! use headwater::{ConsumerOptions, ProducerOptions, Record, TopicOptions};
//!
//! // `./data` for a folder, `localhost:9092` for a broker: the calls are the same.
//! let db = headwater::connect("mem:").wait(None)?;
//! db.admin().create_topic("orders", TopicOptions::default()).wait(None)?;
//!
//! let producer = db.producer(ProducerOptions::default())?;
//! let sent = producer.send("orders", &Record::new(b"hello").with_key(b"k1"))?.wait(None)?;
//!
//! let consumer = db.consumer(&["orders"], ConsumerOptions::default())?;
//! let batch = consumer.next_batch_wait(None)?.expect("a record was sent");
//! let record = batch.records().next().expect("it has one")?;
//! assert_eq!((record.offset, record.value), (sent.offset, Some(&b"hello"[..])));
//! # Ok::<(), headwater::Error>(())
//! ```
//!
//! Everything that may wait returns a [`Pending`]: `.await` it on any executor, `.wait(timeout)` on a
//! thread, or have it push a ticket to a [`NotifyQueue`].
#![forbid(unsafe_code)]

pub mod client;
pub mod completion;
pub mod engine;
pub mod error;
mod fork;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
pub mod ids;
pub mod limits;
pub mod log;
pub mod protocol;
pub mod record;
#[cfg(feature = "tcp")]
pub mod runtime;
#[doc(hidden)]
pub mod seldom;
#[cfg(feature = "tcp")]
pub mod server;
pub mod service;
pub mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timer;
mod world;

pub use client::{
    Ack, Address, Admin, BatchRecords, Block, CleanupPolicy, Client, CloseReport, ConnectOptions,
    Consumer, ConsumerBatch, ConsumerOptions, Delivery, DeliveryFailure, Finish, Health,
    MaxBytesPolicy, MemberHealth, MemberState, Metrics, Order, PartitionLag, ProcessBlock,
    ProcessError, ProcessOptions, ProcessRecord, Processor, Producer, ProducerOptions, Progress,
    Record, RecordMetadata, ServeOptions, Sharing, Start, TopicOptions, Until, connect,
    connect_with, exit, options, parse_address,
};
pub use completion::{Completion, NotifyQueue, Pending};
pub use error::{Error, ErrorCode, ErrorKind, Outcome, Result};
pub use fork::after_fork_in_child;
pub use ids::{Durability, TopicPartition};
pub use protocol::request::{Member, OffsetAt, OffsetQuery, PartitionOffset, TopicPartitions};
pub use protocol::response::{
    GroupDescription, GroupDetails, GroupMember, PartitionDescription, TopicDescription,
};
pub use record::{Header, PackedHeaders, RecordView};
