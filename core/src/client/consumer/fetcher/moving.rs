//! Where reading goes on when the log does not hold where it stands.
//!
//! | what the log says | where it goes on |
//! |---|---|
//! | a crash took back what was read (`LOG_TRUNCATED`) | at the safe offset, whatever `start` says |
//! | the records up to some offset are deleted | `start=latest`: at the end; else at the first that is held |
//! | the offset is past the end, and nothing was read yet | at the end |
//!
//! An offset that the host has named itself (`start`, `seek`) is not replaced by another: it gets the error.

use super::{Fetcher, Hold, Origin};
use crate::client::options::Start;
use crate::protocol::out_of_range::OutOfRange;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// What has become of a position that is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::consumer) enum Moved {
    /// It is elsewhere since.
    Already,
    /// It went back: records that were given out are not in the log any more.
    Back {
        /// How many.
        lost_records: u64,
        /// Where it goes on.
        to: i64,
    },
    /// It went on behind records that were never given out, or back to the end.
    On {
        /// How many were passed over, counting by offsets.
        skipped_records: u64,
        /// Where it goes on.
        to: i64,
    },
}

impl Fetcher {
    /// Moves the position that the log does not hold; none: that is for the host to decide. With `cuts_end`
    /// reading ends where the log does now, if it was to end behind that.
    pub(in crate::client::consumer) fn move_on(
        &mut self,
        found: &OutOfRange,
        start: Start,
        cuts_end: bool,
    ) -> Option<Moved> {
        let place = self.places.find(&found.topic, found.partition)?;
        let state = self.partitions.get_mut(place)?;
        if state.delivered != found.offset || state.hold != Hold::Held {
            return Some(Moved::Already);
        }
        let moved = moved(found, start, state.origin)?;
        let (Moved::Back { to, .. } | Moved::On { to, .. }) = moved else {
            return Some(moved);
        };
        // Of what was given out, the rest of the lease is none of the new position's business.
        state.seeks = state.seeks.wrapping_add(1);
        state.unacked.remove(to..state.delivered.max(to));
        state.lost_end = state.lost_end.max(state.delivered);
        // What is not passed stays so; what is not there need not be.
        let is_passed = state.passed == state.delivered;
        state.passed = if is_passed { to } else { state.passed.min(to) };
        state.origin = match moved {
            // What is before it is of that epoch or of one before: the next crash may take that back too.
            Moved::Back { .. } if found.epoch_end_offset == Some(to) => {
                Origin::Read(found.last_epoch)
            }
            _ => Origin::Found,
        };
        state.delivered = to;
        if cuts_end {
            let cut = found.high_watermark.max(to);
            state.until = Some(state.until.map_or(cut, |before| before.min(cut)));
        }
        self.note_dropped(place, to);
        Some(moved)
    }
}

fn moved(found: &OutOfRange, start: Start, origin: Origin) -> Option<Moved> {
    if let (Some(to), Some(end_offset)) = (found.safe_offset(), found.epoch_end_offset) {
        let lost_records = end_offset.abs_diff(found.offset);
        return Some(Moved::Back { lost_records, to });
    }
    let to = match start {
        _ if origin == Origin::Named => return None,
        _ if found.offset > found.high_watermark => found.high_watermark,
        Start::Latest => found.high_watermark,
        #[cfg(any(test, feature = "simulation"))]
        _ if simulated::has(Bug::DeletedToEnd) => found.high_watermark,
        Start::Earliest | Start::Offset(_) | Start::Time(_) => found.log_start_offset,
    };
    let skipped_records = u64::try_from(to.saturating_sub(found.offset)).unwrap_or_default();
    Some(Moved::On {
        skipped_records,
        to,
    })
}
