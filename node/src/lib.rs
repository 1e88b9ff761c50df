//! Headwater for Node: the private native module behind `node/lib`.
//!
//! It converts, calls core and maps errors; the shape that users see is JavaScript (`lib/*.cjs`). Nothing
//! here waits: what takes time is asked for under a ticket, and the event loop is woken once for all
//! tickets that are answered ([`hub`]). Records cross many at a time, as send rows, completion rows and
//! receive blocks. No panic crosses: what may refuse runs in `error::guard`, the rest under napi's
//! `catch_unwind`. napi's own runtime is not built in.
#![expect(
    missing_debug_implementations,
    reason = "classes of JavaScript: nobody prints them in Rust"
)]

pub mod admin;
pub mod broker;
pub mod client;
pub mod config;
pub mod consumer;
pub mod error;
pub mod hub;
pub mod processor;
pub mod producer;
pub mod record;
pub mod results;
