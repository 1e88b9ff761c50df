//! When a record that failed is tried again: pauses that double, shortened by chance, and who is waiting.
//!
//! The chance comes from a seed: the same seed and the same failures give the same pauses.

use std::collections::BTreeSet;

#[cfg(test)]
use super::scheduler::mutant::{self, Mutant};

/// A pause is shortened by at most one in this many parts of it (20 %), so that records which failed
/// together do not come back together. It is never made longer: `backoff_max_ms` is kept.
const JITTER_PART: u64 = 5;

/// How long records pause between attempts.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Backoff {
    /// Before the second attempt; it doubles with every further one.
    pub(in crate::client) first_ms: u64,
    /// At most.
    pub(in crate::client) max_ms: u64,
}

impl Backoff {
    /// The pause after `attempts` attempts, before chance.
    pub(super) fn full_ms(self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1).min(u64::BITS - 1);
        let pause_ms = self.first_ms.saturating_mul(1 << doublings);
        pause_ms.min(self.max_ms)
    }
}

/// Records that pause, and what is to come for them.
#[derive(Debug)]
pub(super) struct Retries {
    backoff: Backoff,
    random: u64,
    /// When, and which record.
    due: BTreeSet<(u64, u64)>,
}

impl Retries {
    pub(super) const fn new(backoff: Backoff, seed: u64) -> Self {
        Self {
            backoff,
            random: seed,
            due: BTreeSet::new(),
        }
    }

    /// Lets `record` pause; returns until when.
    pub(super) fn add(&mut self, record: u64, attempts: u32, now_ms: u64) -> u64 {
        let full_ms = self.backoff.full_ms(attempts);
        let shorter_ms = self.next_random() % (full_ms / JITTER_PART + 1);
        let due_ms = now_ms.saturating_add(full_ms - shorter_ms);
        #[cfg(test)]
        let due_ms = if mutant::is(Mutant::PauseLeftOut) {
            now_ms
        } else {
            due_ms
        };
        self.due.insert((due_ms, record));
        due_ms
    }

    pub(super) fn remove(&mut self, record: u64, due_ms: u64) {
        self.due.remove(&(due_ms, record));
    }

    /// The next record whose pause is over.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<u64> {
        let (due_ms, record) = *self.due.first()?;
        if due_ms > now_ms {
            return None;
        }
        self.due.pop_first();
        Some(record)
    }

    /// When the next pause is over.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// `SplitMix64`.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first_ms: 100,
        max_ms: 30_000,
    };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<u64> = (1..=10).map(|attempts| BACKOFF.full_ms(attempts)).collect();
        let expected = [
            100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000,
        ];
        assert_eq!(pauses, expected);
        assert_eq!(BACKOFF.full_ms(u32::MAX), 30_000);
    }

    #[test]
    fn chance_shortens_a_pause_by_a_fifth_at_most() {
        let mut retries = Retries::new(BACKOFF, 7);
        let pauses: Vec<u64> = (0..1_000).map(|record| retries.add(record, 4, 0)).collect();
        assert!(pauses.iter().all(|pause| (640..=800).contains(pause)));
        assert!(pauses.iter().min() < Some(&650) && pauses.iter().max() > Some(&790));
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut retries = Retries::new(BACKOFF, seed);
            (0..10)
                .map(|record| retries.add(record, 5, 0))
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}
