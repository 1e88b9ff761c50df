//! The scheduler on its own: what each rule means, and all of them together against a model.

use std::time::Duration;

use super::*;

mod model;
mod rules;

/// Settings to start from.
pub(super) const fn settings() -> Settings {
    Settings {
        concurrency: 4,
        order: Order::Key,
        attempts: 5,
        has_dead_letter: false,
        max_records: 100,
        max_bytes: 10_000,
    }
}

/// Pauses of 100 ms and twice as much, up to 30 s.
pub(super) fn backoff() -> Backoff {
    let [first, longest] = [100, 30_000].map(Duration::from_millis);
    Backoff::new(first, longest, 3)
}

pub(super) const fn incoming(place: usize, offset: i64, key_hash: Option<u64>) -> Incoming<()> {
    Incoming {
        place,
        offset,
        key_hash,
        bytes: 10,
        payload: (),
    }
}
