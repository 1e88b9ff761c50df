//! What is asked of the log, and what it answers.

use crate::completion::Completion;
use crate::error::Error;
use crate::ids::{Durability, PartitionId};

use super::{Kind, Log};

/// On which thread an append may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// On the calling one: it writes at once, for itself and for all who queued, unless another does.
    Here,
    /// On the calling one if that takes no wait, as far as can be told; else on the log's io thread. For threads
    /// that serve others.
    Prompt,
    /// On the log's io thread: for callers that must not touch a file.
    Io,
}

/// One frame to append.
#[derive(Debug)]
pub struct Append {
    /// What it is. MARK and FOOTER are the log's own and refused.
    pub kind: Kind,
    /// Version of the payload: [`PAYLOAD_VERSION`](super::PAYLOAD_VERSION), or a newer one of its kind.
    pub version: u16,
    /// The partition it is about; 0 where the kind has none.
    pub partition: PartitionId,
    /// For RECORDS one record batch, verified by the caller and stamped by the log; else the payload.
    pub payload: Vec<u8>,
    /// What the completion waits for: `Os` or `Disk`.
    pub ack: Durability,
    /// The topic's level: `Disk` schedules a sync even if the acknowledgement does not wait for it.
    pub topic: Durability,
    /// Whether the time of the append becomes the timestamp of every record (RECORDS only: of a SET each part
    /// says it for itself).
    pub log_append_time: bool,
    /// Gets the answer: written, or synced, as `ack` says.
    pub completion: Completion<Appended>,
}

/// Where an append went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its index; that of the first append if it is a duplicate.
    pub index: u64,
    /// Offset of the first record (of the first append if it is a duplicate); 0 for other kinds.
    pub base_offset: i64,
    /// Whether the batch had been appended before: nothing was written again.
    pub is_duplicate: bool,
    /// The frame's time, ms since 1970 UTC.
    pub time_ms: i64,
    /// The level reached when the answer was given.
    pub durability: Durability,
    /// The timestamp given to every record, if `log_append_time`; else -1.
    pub append_time_ms: i64,
    /// Of a SET, where its record batches went, in order; none for everything else.
    pub batches: Option<Box<[BatchPlace]>>,
}

/// Where a record batch of a SET went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// Offset of its first record.
    pub base_offset: i64,
    /// The timestamp given to every record, if the part asked for it; else -1.
    pub append_time_ms: i64,
}

impl Log {
    /// The first half of [`append`](Self::append), for who queues under a lock of its own: nothing is written, and no
    /// completion is filled. To be followed by [`write_queued`](Self::write_queued) once that lock is free.
    ///
    /// # Errors
    /// The append, and why it is refused.
    pub fn enqueue(&self, append: Append, run: Run) -> Result<(), (Append, Error)> {
        self.shared.enqueue(append, run)
    }

    /// Has what is queued written, on the thread that `run` names.
    pub fn write_queued(&self, run: Run) {
        self.shared.write_queued(run);
    }
}
