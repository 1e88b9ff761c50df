//! The consumer: record batches in, leased blocks out, and the positions in between.

mod block;

use std::ops::Range;
use std::time::Duration;

pub use block::{BatchRecords, Block, ConsumerBatch};

use super::{CloseReport, unfinished};
use crate::completion::Pending;
use crate::error::Result;
use crate::protocol::request::{OffsetAt, PartitionOffset};

/// What a host does after it told how far it is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Go on.
    Continue,
    /// The rows of this run of the block belong to another member now: leave the rest of them out.
    Skip(u32),
}

/// Reads topics. Clones are the same consumer; one thread reads at a time.
#[derive(Clone, Debug)]
pub struct Consumer(());

impl Consumer {
    /// Finds the topics, joins the group, and fixes where reading starts and ends. The calls that read
    /// do it if it was not done.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`; `UNSUPPORTED_FEATURE` if the group has another member.
    pub fn open(&self) -> Pending<()> {
        Pending::ready(Err(unfinished()))
    }

    /// The next block of records. Asking for it passes every row of the last one: with `ack=auto` they
    /// count as processed. None: `timeout` passed with nothing, `until` is reached, or the consumer was
    /// closed ([`is_finished`](Self::is_finished) tells). The block is built on a thread of Headwater.
    ///
    /// # Errors
    /// What reading ended with; `INVALID_STATE` while another call reads.
    pub fn next_block(&self, timeout: Option<Duration>) -> Pending<Option<Block>> {
        let _ = timeout;
        Pending::ready(Err(unfinished()))
    }

    /// The same for a thread that may wait: the block is built on this thread.
    ///
    /// # Errors
    /// As [`next_block`](Self::next_block).
    pub fn next_block_wait(&self, timeout: Option<Duration>) -> Result<Option<Block>> {
        let _ = timeout;
        Err(unfinished())
    }

    /// Says how many rows of the current block the host has passed.
    #[must_use]
    pub fn progress(&self, rows: u32) -> Progress {
        let _ = rows;
        Progress::Continue
    }

    /// The next record batch, read in place: for Rust. Asking for it passes the last one, as with
    /// [`next_block`](Self::next_block).
    ///
    /// # Errors
    /// As [`next_block`](Self::next_block).
    pub fn next_batch(&self, timeout: Option<Duration>) -> Pending<Option<ConsumerBatch>> {
        let _ = timeout;
        Pending::ready(Err(unfinished()))
    }

    /// The same for a thread that may wait.
    ///
    /// # Errors
    /// As [`next_block`](Self::next_block).
    pub fn next_batch_wait(&self, timeout: Option<Duration>) -> Result<Option<ConsumerBatch>> {
        let _ = timeout;
        Err(unfinished())
    }

    /// Acknowledges one record, in any order (`ack=manual`). What is committed is the first offset that
    /// is not acknowledged.
    ///
    /// # Errors
    /// `INVALID_STATE` with `ack=auto`; `INVALID_ARGUMENT` for a record that was not given out.
    pub fn ack(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let _ = (topic, partition, offset);
        Err(unfinished())
    }

    /// Acknowledges rows of the current block (`ack=manual`).
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn ack_rows(&self, rows: Range<u32>) -> Result<()> {
        let _ = rows;
        Err(unfinished())
    }

    /// Commits what is processed.
    ///
    /// # Errors
    /// `INVALID_STATE` without a group; what the group says.
    pub fn commit(&self) -> Pending<()> {
        Pending::ready(Err(unfinished()))
    }

    /// Commits these offsets, each that of the next record to read.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_offsets(&self, offsets: Vec<PartitionOffset>) -> Pending<()> {
        let _ = offsets;
        Pending::ready(Err(unfinished()))
    }

    /// What the group has committed for the partitions of this consumer.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn committed(&self) -> Pending<Vec<PartitionOffset>> {
        Pending::ready(Err(unfinished()))
    }

    /// Goes on reading a partition at `offset`.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if the consumer does not read it; `INVALID_STATE` before it is open.
    pub fn seek(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let _ = (topic, partition, offset);
        Err(unfinished())
    }

    /// Goes on reading a partition at an offset by its meaning.
    ///
    /// # Errors
    /// As [`seek`](Self::seek).
    pub fn seek_to(&self, topic: &str, partition: i32, at: OffsetAt) -> Pending<()> {
        let _ = (topic, partition, at);
        Pending::ready(Err(unfinished()))
    }

    /// For each partition the offset of the first record that does not count as processed.
    #[must_use]
    pub fn positions(&self) -> Vec<PartitionOffset> {
        Vec::new()
    }

    /// The partitions that it reads, each with the offset of the next record to be given out.
    #[must_use]
    pub fn assignment(&self) -> Vec<PartitionOffset> {
        Vec::new()
    }

    /// Whether nothing more will come: `until` is reached in every partition, or it was closed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        false
    }

    /// Stops giving out some partitions. Not built yet.
    ///
    /// # Errors
    /// `UNSUPPORTED_FEATURE`.
    pub fn pause(&self) -> Result<()> {
        Err(unfinished())
    }

    /// Undoes [`pause`](Self::pause). Not built yet.
    ///
    /// # Errors
    /// `UNSUPPORTED_FEATURE`.
    pub fn resume(&self) -> Result<()> {
        Err(unfinished())
    }

    /// Commits what is processed, leaves the group, and answers within `timeout` (none:
    /// `close_timeout_ms`), whatever happens. Blocks that were given out stay valid.
    pub fn close(&self, timeout: Option<Duration>) -> Pending<CloseReport> {
        let _ = timeout;
        Pending::ready(Err(unfinished()))
    }
}
