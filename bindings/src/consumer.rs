//! The consumer: leased blocks out, and the positions in between.

use std::sync::Arc;

use headwater::{Consumer, Progress};

use crate::config::NativeProcessOptions;
use crate::error::NativeError;
use crate::facts::{NativeResult, commit_with};
use crate::hub::{ask, duration};
use crate::processor::NativeProcessor;
use crate::record::{
    NativeOffsetAt, NativePartitionName, NativePlace, partition_names, partitions_to_core, places,
    to_core,
};

/// Reads topics.
#[derive(Debug, uniffi::Object)]
pub struct NativeConsumer {
    consumer: Consumer,
}

impl NativeConsumer {
    pub(crate) fn new(consumer: Consumer) -> Arc<Self> {
        Arc::new(Self { consumer })
    }
}

#[uniffi::export]
impl NativeConsumer {
    /// Finds the topics, joins the group, fixes where reading starts and ends.
    pub fn open(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.consumer.open());
        Ok(())
    }

    /// The next block. Asking for it passes every row of the last one.
    pub fn next_block(&self, ticket: i64, timeout_ms: Option<i64>) -> Result<(), NativeError> {
        ask(ticket, self.consumer.next_block(duration(timeout_ms)));
        Ok(())
    }

    /// How many rows of the current block are passed. Returns the run whose rest is to be left out, or
    /// -1 to go on.
    pub fn progress(&self, rows: u32) -> Result<i64, NativeError> {
        Ok(match self.consumer.progress(rows) {
            Progress::Continue => -1,
            Progress::Skip(run) => i64::from(run),
        })
    }

    /// Acknowledges one record.
    ///
    /// # Errors
    /// `INVALID_STATE` with `ack=auto`; `INVALID_ARGUMENT` for a record that was not given out.
    pub fn ack(&self, topic: String, partition: i32, offset: i64) -> Result<(), NativeError> {
        Ok(self.consumer.ack(&topic, partition, offset)?)
    }

    /// Acknowledges rows of the current block, from `start` to before `end`.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn ack_rows(&self, start: u32, end: u32) -> Result<(), NativeError> {
        Ok(self.consumer.ack_rows(start..end)?)
    }

    /// Commits what is processed.
    pub fn commit(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.consumer.commit());
        Ok(())
    }

    /// Commits these offsets.
    pub fn commit_offsets(&self, ticket: i64, places: Vec<NativePlace>) -> Result<(), NativeError> {
        ask(ticket, self.consumer.commit_offsets(to_core(places)));
        Ok(())
    }

    /// Sends results and commits what was given out, `rows` of the current block.
    pub fn commit_with(
        &self,
        ticket: i64,
        rows: u32,
        results: Vec<NativeResult>,
    ) -> Result<(), NativeError> {
        ask(ticket, commit_with(&self.consumer, rows, &results));
        Ok(())
    }

    /// What the group has committed.
    pub fn committed(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.consumer.committed());
        Ok(())
    }

    /// Goes on reading a partition at an offset.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_STATE`.
    pub fn seek(&self, topic: String, partition: i32, offset: i64) -> Result<(), NativeError> {
        Ok(self.consumer.seek(&topic, partition, offset)?)
    }

    /// Goes on reading a partition at an offset by its meaning.
    pub fn seek_to(
        &self,
        ticket: i64,
        topic: String,
        partition: i32,
        at: NativeOffsetAt,
    ) -> Result<(), NativeError> {
        ask(ticket, self.consumer.seek_to(&topic, partition, at.into()));
        Ok(())
    }

    /// The first record of each partition that does not count as processed.
    pub fn positions(&self) -> Result<Vec<NativePlace>, NativeError> {
        Ok(places(self.consumer.positions()))
    }

    /// The partitions it reads.
    pub fn assignment(&self) -> Result<Vec<NativePlace>, NativeError> {
        Ok(places(self.consumer.assignment()))
    }

    /// How far it is in each partition, and how far it could be.
    pub fn lag(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.consumer.lag());
        Ok(())
    }

    /// Gives out nothing more of these partitions; none: of all that are assigned.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_STATE`, `CLOSED`.
    pub fn pause(&self, partitions: Option<Vec<NativePartitionName>>) -> Result<(), NativeError> {
        let partitions = partitions.map(partitions_to_core);
        Ok(self.consumer.pause(partitions.as_deref())?)
    }

    /// Goes on giving out these partitions; none: all that are assigned.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&self, partitions: Option<Vec<NativePartitionName>>) -> Result<(), NativeError> {
        let partitions = partitions.map(partitions_to_core);
        Ok(self.consumer.resume(partitions.as_deref())?)
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Result<Vec<NativePartitionName>, NativeError> {
        Ok(partition_names(self.consumer.paused()))
    }

    /// A loop begins: closing ends it, and does not fail it.
    ///
    /// # Errors
    /// `CLOSED`.
    pub fn begin_loop(&self) -> Result<(), NativeError> {
        Ok(self.consumer.begin_loop()?)
    }

    /// Whether nothing more will come.
    pub fn is_finished(&self) -> Result<bool, NativeError> {
        Ok(self.consumer.is_finished())
    }

    /// What `process` takes records from, with these options.
    ///
    /// # Errors
    /// `INVALID_OPTION`, `INVALID_STATE`.
    pub fn processor(
        &self,
        options: NativeProcessOptions,
    ) -> Result<Arc<NativeProcessor>, NativeError> {
        let processor = self.consumer.processor(&options.to_core()?)?;
        Ok(NativeProcessor::new(processor))
    }

    /// Commits what is processed and leaves the group; the answer is a report.
    pub fn close(&self, ticket: i64, timeout_ms: Option<i64>) -> Result<(), NativeError> {
        ask(ticket, self.consumer.close(duration(timeout_ms)));
        Ok(())
    }
}
