//! The Headwater broker, library first: start one inside a process, or run the command line.
//!
//! [`Broker::start`] opens a data folder (or a log in memory) and serves it on TCP with core's own
//! runtime; [`cli::run`] is the `headwater` program without the process around it. Neither exits the
//! process, nor sets a logger, a signal handler or an allocator: `main.rs` does.
#![forbid(unsafe_code)]

pub mod broker;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod listen;
#[cfg(all(feature = "kafka", any(test, feature = "testing")))]
pub mod fuzzing {
    //! Kafka's protocol, fed with anything: see `broker/fuzz`. Feature `testing` only.

    pub use crate::kafka::fuzzing::{Target, target, targets};
}
#[cfg(feature = "cli")]
pub mod signals;

pub use broker::Broker;
pub use config::{Config, Data};
pub use listen::ListenAddress;
