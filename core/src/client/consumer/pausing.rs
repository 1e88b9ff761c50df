//! Pausing partitions: nothing more of them is given out, and all else goes on.
//!
//! What was read ahead of a paused partition is kept apart, up to half of what may be read ahead, and counts as
//! read ahead; the rest is read again. So the other partitions always have room.

use std::sync::Arc;

use super::Consumer;
use super::state::State;
use crate::error::Result;
use crate::ids::TopicPartition;

impl Consumer {
    /// Gives out nothing more of these partitions (none: of all that are assigned) until they are
    /// [`resume`](Self::resume)d. What was given out is the host's, also the rest of the current block.
    /// Heartbeats and commits go on; reading goes on waiting if nothing else is there. A partition that goes
    /// to another member is paused no more, and one that is assigned later is not paused.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` for one that is not assigned: then none is paused; `INVALID_STATE` before
    /// it is open, and while [`process`](Self::process) runs its handlers: what it has read is on its way to them;
    /// `CLOSED`.
    pub fn pause(&self, partitions: Option<&[TopicPartition]>) -> Result<()> {
        let state = self.state();
        state.check_open()?;
        state.check_not_processing()?;
        state.set_paused(partitions, true)
    }

    /// Goes on giving out these partitions (none: all that are assigned), from where they were paused. One that
    /// is not paused stays as it is.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&self, partitions: Option<&[TopicPartition]>) -> Result<()> {
        let state = self.state();
        state.check_open()?;
        state.check_not_processing()?;
        state.set_paused(partitions, false)
    }

    /// The partitions that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.state().fetcher.lock().paused()
    }
}

impl State {
    fn set_paused(
        self: &Arc<Self>,
        partitions: Option<&[TopicPartition]>,
        is_paused: bool,
    ) -> Result<()> {
        let mut reader = self.reader.lock();
        let Some(reader) = reader.as_mut() else {
            return Err(Self::not_open());
        };
        let mut fetcher = self.fetcher.lock();
        if !fetcher.set_paused(partitions, is_paused)? {
            return Ok(());
        }
        let before = reader.bytes_taken;
        let keep_bytes = self.settings.credit_bytes / 2;
        let sorted = reader.sort_out(&fetcher, keep_bytes);
        drop(fetcher);
        self.counters
            .bytes_received
            .add(reader.bytes_taken - before);
        if sorted.is_err() || reader.waits.is_some() {
            // The stream has ended, or does not read on like this: from where the host is, over another one.
            return self.begin_again(Some(reader));
        }
        self.bell.ring();
        Ok(())
    }
}
