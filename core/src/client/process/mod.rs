//! Handlers for records: which runs when, again, or not any more.
//!
//! `scheduler` decides all of it and knows neither clock nor transport; `lanes` is what stays in order,
//! `retry` when a record that failed comes again, `frontier` how far each partition is done. `driver`
//! brings it records of a consumer (through the consumer's door, `consumer::processing`) and gives them
//! out, `letters` writes dead letters; `processor` is the face of both, `threads` the loop for Rust.

mod answer;
mod desk;
mod driver;
mod frontier;
mod lanes;
mod letters;
mod processor;
mod record;
mod retry;
mod scheduler;
mod threads;

pub use answer::ProcessBlock;
pub use processor::{Finish, Processor};
pub use record::ProcessRecord;
pub use threads::ProcessError;

#[cfg(test)]
mod tests;
