//! Handlers for records: which runs when, again, or not any more.
//!
//! `scheduler` decides all of it and knows neither clock nor transport; `lanes` is what stays in order,
//! `retry` when a record that failed comes again, `frontier` how far each partition is done.

mod frontier;
mod lanes;
mod retry;
mod scheduler;
