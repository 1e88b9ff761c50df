//! Topics and offsets as they are, for who speaks another protocol than ours: looked up, not described.

use super::offsets::Fetched;
use super::{Inner, Service};
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

    /// The first readable record of a partition, in order of offsets, with a timestamp of `time_ms` or later. May
    /// read files.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch).
    pub fn offset_at_time(
        &self,
        partition: &Partition,
        time_ms: i64,
    ) -> Result<Option<TimedOffset>> {
        self.inner.check_open()?;
        self.inner.offset_at_time(partition, time_ms)
    }

    /// The first of the readable records with the largest timestamp of a partition. May read files.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch).
    pub fn offset_of_max_timestamp(&self, partition: &Partition) -> Result<Option<TimedOffset>> {
        self.inner.check_open()?;
        self.inner.offset_of_max_timestamp(partition)
    }
}

impl Inner {
    fn offset_of_max_timestamp(&self, partition: &Partition) -> Result<Option<TimedOffset>> {
        let status = partition.status();
        let known = self
            .log
            .max_timestamp(partition.id, status.log_start_offset);
        let Some(known_ms) = known else {
            return Ok(None);
        };
        if let Some(found) = self.offset_at_time(partition, known_ms)? {
            return Ok(Some(found));
        }
        // It belongs to a record that is deleted, or not readable yet. The largest of those that are is between the
        // least there can be and it.
        let Some(mut best) = self.offset_at_time(partition, i64::MIN)? else {
            return Ok(None);
        };
        let (mut low, mut high) = (best.timestamp_ms, known_ms);
        while low < high {
            // Rounded up, and never beyond either: timestamps may be anything.
            let middle = (i128::from(low) + i128::from(high) + 1).div_euclid(2);
            let middle = i64::try_from(middle).unwrap_or(high);
            match self.offset_at_time(partition, middle)? {
                Some(found) => {
                    low = found.timestamp_ms.max(middle);
                    best = found;
                }
                None => high = middle - 1,
            }
        }
        Ok(Some(best))
    }
}
