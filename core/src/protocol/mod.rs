//! How it is said: requests, responses, error codes and the frames of the native protocol.
//!
//! The protocol knows no engine; the service is what turns a request into an effect.

pub mod decoder;
pub mod error_code;
pub mod fetched;
pub mod frame;
pub mod header;
#[cfg(feature = "tcp")]
pub mod link;
pub mod out_of_range;
pub mod outbox;
pub mod request;
pub mod response;
pub mod version;

#[cfg(test)]
pub(crate) mod tests;
