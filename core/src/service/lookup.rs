//! Topics and offsets as they are, for who speaks another protocol than ours: looked up, not described.

use super::Service;
use super::offsets::Fetched;
use crate::engine::partition::{Partition, PartitionStatus};
use crate::engine::topics::Topic;
use crate::error::Result;
use crate::ids::LeaderEpoch;

/// A record's offset and its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// The offset.
    pub offset: i64,
    /// The timestamp, in ms.
    pub timestamp_ms: i64,
}

impl Service {
    /// The topic of this name. A copy: it and its partitions stay what they were when the topic is deleted.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.inner.state.topics.read().get(name).cloned()
    }

    /// The topic with this uuid.
    #[must_use]
    pub fn topic_by_uuid(&self, uuid: &[u8; 16]) -> Option<Topic> {
        self.inner.state.topics.read().by_uuid(uuid).cloned()
    }

    /// All topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.inner.state.topics.read().iter().cloned().collect()
    }

    /// Bytes at which the log, which all topics share, begins another segment.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.inner.log.segment_bytes()
    }

    /// Age, in ms, from which on it begins another segment too, where some topic's retention needs that.
    #[must_use]
    pub fn segment_ms(&self) -> i64 {
        self.inner.log.segment_ms()
    }

    /// Whether this partition's topic is still there.
    #[must_use]
    pub fn holds(&self, partition: &Partition) -> bool {
        self.inner
            .state
            .topics
            .read()
            .partition(partition.id)
            .is_some()
    }

    /// The epoch that batches are written in from now on, in every partition: that of the log.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.inner.log.term()
    }

    /// The readable batches of a partition from the one on that holds `offset`, about `max_bytes` of them (at least
    /// one if there is one): from memory, else read from the log and verified. May read files.
    ///
    /// # Errors
    /// Inside, the status, when the offset is below the log start or beyond the end. `CORRUPT_SEGMENT`,
    /// `KAFKA_STORAGE_ERROR`, `CLOSED`.
    pub fn fetch(
        &self,
        partition: &Partition,
        offset: i64,
        max_bytes: usize,
    ) -> Result<std::result::Result<Fetched, PartitionStatus>> {
        self.inner.check_open()?;
        self.inner.fetch(partition, offset, max_bytes)
    }
}
