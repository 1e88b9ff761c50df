//! Forgetting producers that are idle, so that what is remembered of them does not grow for ever.
//!
//! The decision is PRODUCER_EXPIRE entries, so it is the same for all who read the log; no clock decides
//! anything at replay. Who has appended since it was looked at is left alone: the last look and the append
//! are under one hold of the writer's lock.

use std::sync::Arc;

use crate::completion::{Completion, Wakes};
use crate::error::Result;
use crate::ids::{Durability, PartitionId};
use crate::limits::PRODUCERS_EXPIRED_PER_SET_MAX;

use super::append::{Append, Appended};
use super::control::{self, ProducerExpire};
use super::entry::Kind;
use super::frame::PAYLOAD_VERSION;
use super::sequencer::LastAppend;
use super::set::{SetPart, encode_set};
use super::shared::Shared;

/// Which producers are forgotten. A producer counts once for each partition that it appended to.
#[derive(Clone, Copy, Debug)]
pub struct ProducerExpiry {
    /// The wall clock, ms.
    pub now_ms: i64,
    /// How long one may append nothing, ms.
    pub idle_ms: i64,
    /// How many are remembered at most; beyond it those go that have been idle longest.
    pub producers_max: usize,
    /// How many go at once, at most.
    pub expired_max: usize,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Producers forgotten.
    pub count: usize,
    /// Whether there are more to forget.
    pub has_more: bool,
}

impl Shared {
    /// How many producers are remembered.
    pub(super) fn producer_count(self: &Arc<Self>) -> usize {
        self.with_writer(|writer| writer.sequencer.producing().1)
    }

    /// Forgets producers.
    ///
    /// # Errors
    /// Why the log takes no entries.
    pub(super) fn expire_producers(self: &Arc<Self>, expiry: &ProducerExpiry) -> Result<Expired> {
        let (partitions, count) = self.with_writer(|writer| writer.sequencer.producing());
        let mut known = Vec::with_capacity(count);
        // The lock is let go between partitions: nobody waits for a look at all of them.
        for id in partitions {
            known.extend(self.with_writer(|writer| writer.sequencer.last_appends(id)));
        }
        let (chosen, has_more) = choose(known, expiry);
        let mut expired = Expired { count: 0, has_more };
        for some in chosen.chunks(PRODUCERS_EXPIRED_PER_SET_MAX) {
            expired.count += self.expire(some)?;
        }
        Ok(expired)
    }

    /// Forgets those of whom that is the last batch still; in one entry.
    fn expire(self: &Arc<Self>, chosen: &[LastAppend]) -> Result<usize> {
        // Declared before the lock is taken, so that foreign code runs after it was let go.
        let mut wakes = Wakes::new();
        let mut writer = self.writer.lock();
        // Under the lock: behind the mark of a close nothing is written.
        if let Some(refusal) = self.queue.refusal() {
            return Err(refusal.error());
        }
        let idle = chosen.iter().filter(|last| writer.sequencer.is_last(last));
        let parts = idle.map(|last| {
            let producer_id = last.producer_id.0;
            let payload = control::encode(&ProducerExpire { producer_id })?;
            let (kind, partition) = (Kind::ProducerExpire, last.partition);
            Ok(SetPart::control(kind, partition, payload))
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.is_empty() {
            return Ok(0);
        }
        let (completion, mut pending) = Completion::<Appended>::pair();
        let append = Append {
            kind: Kind::Set,
            version: PAYLOAD_VERSION,
            partition: PartitionId(0),
            payload: encode_set(&parts),
            // What a power cut takes back is decided again.
            ack: Durability::Os,
            topic: Durability::Os,
            log_append_time: false,
            completion,
        };
        self.write_decided(&mut writer, append, &mut wakes);
        drop(writer);
        self.leave_queued();
        pending.try_take().transpose().map(|_| parts.len())
    }
}

/// The oldest first: by their place in the log, which no clock moves.
fn choose(mut known: Vec<LastAppend>, expiry: &ProducerExpiry) -> (Vec<LastAppend>, bool) {
    known.sort_unstable_by_key(|last| (last.index, last.partition.0, last.producer_id.0));
    let surplus = known.len().saturating_sub(expiry.producers_max);
    let oldest_ms = expiry.now_ms.saturating_sub(expiry.idle_ms);
    // What was appended before others is not younger than they are, whatever a clock said that was ahead.
    let mut latest_ms = i64::MAX;
    let mut idle = 0;
    for (at, last) in known.iter().enumerate().rev() {
        latest_ms = latest_ms.min(last.time_ms);
        if latest_ms < oldest_ms {
            idle = at + 1;
            break;
        }
    }
    let wanted = idle.max(surplus);
    known.truncate(wanted.min(expiry.expired_max));
    let has_more = wanted > known.len();
    (known, has_more)
}
