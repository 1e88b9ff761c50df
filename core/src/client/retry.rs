//! What is tried again, and the pauses between attempts: each twice the last, up to a longest, with jitter so that many who lost the
//! same broker do not come back at the same moment.
//!
//! No clock in here, and no other randomness than the seed: the same seed gives the same pauses.

use std::time::Duration;

use crate::error::{Error, ErrorCode, ErrorKind};
use crate::world;

/// Whether the reason of a failure passes by itself, so that the same again may succeed. A full disk or quota
/// does not: somebody has to make room, and wants to know at once.
pub(super) fn passes(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout => true,
        ErrorKind::Full => error.code() == ErrorCode::BufferFull,
        // What came was not readable: another connection may bring what is.
        _ => error.code() == ErrorCode::CorruptFrame,
    }
}

/// A seed that no other process and no other object of this one has, unless the system gives no random bytes.
pub(super) fn new_seed() -> u64 {
    let mut seed = [0; 8];
    match world::fill_random(&mut seed) {
        Ok(()) => u64::from_le_bytes(seed),
        // It is about pauses alone.
        Err(_) => world::process_id().into(),
    }
}

/// How far a pause may be off: 20 %, either way.
const JITTER_PERCENT: u64 = 20;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    state: u64,
}

impl Backoff {
    /// Pauses from `first` up to `longest` (never below `first`).
    pub(super) const fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            first,
            longest,
            state: seed,
        }
    }

    /// The pause after so many attempts that failed, at least one.
    pub(super) fn pause(&mut self, failed_attempts: u32) -> Duration {
        let doublings = failed_attempts.saturating_sub(1).min(31);
        let pause = self
            .first
            .saturating_mul(1 << doublings)
            .min(self.longest.max(self.first));
        let percent = 100 - JITTER_PERCENT + self.next() % (2 * JITTER_PERCENT + 1);
        pause.saturating_mul(percent as u32) / 100
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_are_off_by_a_fifth_at_most() {
        let mut backoff = Backoff::new(100 * MS, 1_000 * MS, 7);
        for (attempts, wanted_ms) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (4, 800),
            (5, 1_000),
            (99, 1_000),
        ] {
            let pause = backoff.pause(attempts);
            assert!(pause >= wanted_ms * MS * 8 / 10, "{attempts}: {pause:?}");
            assert!(pause <= wanted_ms * MS * 12 / 10, "{attempts}: {pause:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses_and_another_does_not() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(MS * 1_000, MS * 1_000, seed);
            (0..8).map(|_| backoff.pause(1)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}
