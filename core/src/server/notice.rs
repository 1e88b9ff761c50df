//! One line in the log for a connection that misbehaved, and not more than one a second for all of them.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sync::Mutex;
use crate::world;

const INTERVAL: Duration = Duration::from_secs(1);

/// Writes lines to the log at a bounded rate.
#[derive(Debug, Default)]
pub(super) struct Notices {
    last: Mutex<Option<Instant>>,
    left_out: AtomicU64,
}

impl Notices {
    /// Says that the connection from `peer` was closed because of `reason`.
    pub(super) fn closed(&self, peer: &str, reason: &dyn Display) {
        let now = world::now();
        let mut last = self.last.lock();
        if last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        *last = Some(now);
        drop(last);
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        tracing::warn!(peer, left_out, "connection closed: {reason}");
    }
}
