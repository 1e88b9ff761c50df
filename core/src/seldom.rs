//! Lines of the log that may come again and again: the first at once, then one in a while from each place, with
//! the number of those that were left out.
//!
//! No lock, so that a forked child is none the worse for what its parent was writing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a place is silent after a line, unless it says otherwise.
const INTERVAL: Duration = Duration::from_secs(5);

/// One place that writes lines.
#[derive(Debug)]
pub struct Seldom {
    interval: Duration,
    /// In ms since the first look at the clock; the next line may be written from then on.
    next_ms: AtomicU64,
    left_out: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

impl Seldom {
    /// A place that is silent for 5 s after each line.
    #[must_use]
    pub const fn new() -> Self {
        Self::every(INTERVAL)
    }

    /// A place that is silent for so long after each line.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval,
            next_ms: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether to write a line now: then how many were left out since the last one.
    pub fn pass(&self) -> Option<u64> {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        let now = BEGAN.get_or_init(Instant::now).elapsed();
        self.pass_at(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    fn pass_at(&self, now_ms: u64) -> Option<u64> {
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let is_free = next_ms <= now_ms
            && self
                .next_ms
                .compare_exchange(
                    next_ms,
                    now_ms.saturating_add(interval_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if is_free {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Writes a line of this level, unless this place has written one in the last 5 s.
#[macro_export]
#[doc(hidden)]
macro_rules! seldom {
    ($level:ident, $($line:tt)+) => {{
        static PLACE: $crate::seldom::Seldom = $crate::seldom::Seldom::new();
        if let Some(left_out) = PLACE.pass() {
            tracing::$level!(left_out, $($line)+);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_written_at_once_and_the_next_says_how_many_were_left_out() {
        let place = Seldom::every(Duration::from_secs(1));
        let passes = [0, 1, 999, 1_000, 1_001, 5_000, 5_001].map(|now_ms| place.pass_at(now_ms));
        assert_eq!(passes, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}
