//! What the sync thread does once a round is answered, and nobody waits for it: it gets the writer space, and,
//! while little is written between syncs that somebody waits for, zeros.
//!
//! A sync of blocks that were never written has the file system commit its journal; of blocks that were, it
//! does not. Zeros are worth their writing while what is synced at once is small. They are synced here, so
//! that no round has to; who appends meanwhile waits for it, once a [`LogOptions::zero_bytes`].
//!
//! A writer that gets ahead of the rounds reserves for itself. To wake this thread for it was measured and takes
//! more than the few us that a step does.
//!
//! [`LogOptions::zero_bytes`]: super::LogOptions::zero_bytes

use std::mem;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::Ordering;

use crate::completion::Wakes;

use super::error::Fault;
use super::segment::SEGMENT_HEADER_BYTES;
use super::shared::{FenceOnPanic, Shared};
use super::syncer::Round;
#[cfg(test)]
use super::tests::mutant::Mutant;

/// Rounds below this size are small, bytes. Measured on ext4: what zeros save is as much as they cost between
/// 64 and 128 KiB a sync.
const SMALL_ROUND_BYTES: u64 = 64 * 1_024;
/// So many small ones in a row, and zeros are written.
const SMALL_ROUNDS_MIN: u32 = 4;

/// How much is written between syncs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    index: u64,
    segment: u64,
    end: u64,
    /// Rounds that somebody asked for, since the last that was not small.
    small_rounds: u32,
}

impl Pace {
    /// Notes a round; whether zeros are worth it. One that syncs no entry is a MARK's, and says nothing.
    fn note(&mut self, round: &Round) -> bool {
        if round.index() == self.index {
            return false;
        }
        let segment = round.active().segment();
        let start = if segment == self.segment {
            self.end
        } else {
            SEGMENT_HEADER_BYTES as u64
        };
        (self.index, self.segment, self.end) = (round.index(), segment, round.end());
        if round.end().saturating_sub(start) >= SMALL_ROUND_BYTES {
            self.small_rounds = 0;
        } else if round.is_asked() {
            self.small_rounds = (self.small_rounds + 1).min(SMALL_ROUNDS_MIN);
        }
        round.is_asked() && self.small_rounds == SMALL_ROUNDS_MIN
    }
}

impl Shared {
    /// Prepares what comes behind a round that was answered.
    pub(super) fn look_ahead(self: &Arc<Self>, pace: &mut Pace, round: &Round) {
        let guard = FenceOnPanic { shared: self };
        if let Err(fault) = self.prepare(pace, round) {
            let mut wakes = Wakes::new();
            self.fence(&fault, &mut wakes);
            self.hand_over(wakes);
        }
        mem::forget(guard);
        #[cfg(test)]
        self.is_preparing.store(false, Ordering::Release);
    }

    fn prepare(&self, pace: &mut Pace, round: &Round) -> Result<(), Fault> {
        let ahead = Arc::clone(round.active());
        let is_worth_zeros = pace.note(round);
        if self.syncer.is_stopping() {
            return Ok(());
        }
        if self.options.reserves_ahead {
            ahead.reserve_next(self.options.segment_bytes);
        }
        let bytes = self.options.zero_bytes;
        let is_worth_zeros = is_worth_zeros && bytes > 0 && self.storage.gains_by_zeros();
        if is_worth_zeros && ahead.write_zeros(bytes, round.end()) {
            let synced = ahead.file().sync();
            #[cfg(test)]
            if ahead.has(Mutant::ZeroesSyncIgnored) {
                return Ok(());
            }
            // Frames that were written meanwhile may be lost with the zeros.
            synced?;
        }
        Ok(())
    }
}
