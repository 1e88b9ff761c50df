//! What the log means: topics, partitions and groups, derived entry by entry.
//!
//! The engine reads no clock and opens no file; it is told what the log holds ([`State`] is the log's
//! machine) and answers what can be read.

pub mod epochs;
pub mod group;
pub mod groups;
mod kept;
pub mod partition;
pub mod state;
pub mod topic_config;
pub mod topics;

pub use state::State;
