//! Headwater for Swift and Kotlin: the private native module behind `bindings/swift` and `bindings/kotlin`.
//!
//! It converts, calls core and maps errors; the shapes that users see are the hand-written facades. Nothing
//! here waits: what takes time is asked for under a ticket, and the host is woken once for all tickets
//! that are answered ([`hub`]). Records cross many at a time, as send rows, completion rows and receive
//! blocks; everything else crosses as uniffi's records. uniffi's own futures are not used: they would need
//! a runtime of their own and one crossing a future.
//!
//! Every call that reaches core is fallible, even where core's is not: only then does uniffi throw a caught
//! panic in Swift instead of ending the process.
//!
//! One call waits all the same, and says so: [`client::exit`], for the end of the process.

pub mod admin;
pub mod client;
pub mod config;
pub mod consumer;
pub mod error;
pub mod facts;
pub mod hub;
pub mod processor;
pub mod producer;
pub mod record;

uniffi::setup_scaffolding!();
