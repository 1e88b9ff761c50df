//! The integration tests of core: one binary, one module a subject.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod compaction;
mod compression;
#[cfg(feature = "tcp")]
mod damage;
#[cfg(feature = "tcp")]
mod delete_records;
mod errors;
mod golden;
#[cfg(feature = "tcp")]
mod groups;
mod health;
#[cfg(feature = "tcp")]
mod members;
mod pausing;
mod quota;
#[cfg(feature = "testing")]
#[path = "../raft/mod.rs"]
mod raft;
mod record_kafka;
#[cfg(feature = "tcp")]
mod remote;
mod retention;
#[cfg(feature = "tcp")]
mod server;
mod service;
#[cfg(all(feature = "tcp", feature = "testing"))]
mod truncation;
