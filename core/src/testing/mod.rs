//! What tests, benches and simulations of other crates need of the inside. Feature `testing`, and `simulation` for the
//! last; no API.

#[cfg(test)]
pub(crate) mod lines;
#[cfg(feature = "tcp")]
mod raw_client;

#[cfg(feature = "tcp")]
pub use raw_client::{RawClient, RawFeed};

#[cfg(all(feature = "tcp", any(test, feature = "simulation")))]
pub use crate::client::tests::simulation;
