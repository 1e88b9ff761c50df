//! The integration tests of the broker: the program as a user runs it, and the library. One binary, one
//! module a subject.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broker;
mod cli;
mod dump;
mod group;
mod harness;
// Looks at memory, as `memory` does.
#[cfg(target_os = "linux")]
mod hostile;
mod http;
#[cfg(all(target_os = "linux", feature = "kafka"))]
mod kafka;
mod kill;
// Resident memory is read from /proc.
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod raw;
#[cfg(target_os = "linux")]
mod recorded;
mod sharing;
mod signal;
mod wrong;
