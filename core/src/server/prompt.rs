//! Whether who has made something readable may push it by himself.
//!
//! It spares the hand-over to another thread, a good part of the time from a send to who reads it. But it is done for
//! one subscription at a time, and not again at once: a thread that serves a socket is not to push to a thousand
//! readers, and in a row of appends what gathers for a job goes in one push.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::world;

/// How long after one such push there may be another, of all subscriptions of a server, in us.
const PAUSE_US: u64 = 50;

/// See the module.
#[derive(Debug)]
pub(super) struct Promptness {
    began: Instant,
    /// When there may be another, us since then.
    next_us: AtomicU64,
}

impl Default for Promptness {
    fn default() -> Self {
        Self {
            began: world::now(),
            next_us: AtomicU64::new(0),
        }
    }
}

impl Promptness {
    /// Whether to push now; if so, it is somebody's turn.
    pub(super) fn take(&self) -> bool {
        let elapsed = world::now().saturating_duration_since(self.began);
        self.take_at(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    fn take_at(&self, now_us: u64) -> bool {
        let next = self.next_us.load(Ordering::Relaxed);
        let after = now_us.saturating_add(PAUSE_US);
        now_us >= next
            && self
                .next_us
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_turn_in_a_while() {
        let promptness = Promptness::default();
        let turns = (0..1_000).filter(|now_us| promptness.take_at(*now_us));
        assert_eq!(turns.count() as u64, 1_000 / PAUSE_US);
        assert!(promptness.take_at(1_000_000));
    }
}
