//! What tests, benches and simulations of other crates need of the inside. Feature `testing`; no API.

#[cfg(feature = "tcp")]
mod raw_client;

#[cfg(feature = "tcp")]
pub use raw_client::{RawClient, RawFeed};
