//! Who gets which offset: the next offset of every partition, and the last batches of every producer.
//!
//! A state machine without files, clocks or threads. It is asked before a frame is written ([`admit`]) and
//! told when the frame has its place ([`take`]); at open it is told what the log holds ([`replay`]). What it
//! was told counts at once, written or not: so a repeated batch is recognised while the first is in flight.
//!
//! The rules of a producer's sequence are Kafka's: within an epoch the next batch begins where the last one
//! ended (after 2^31 - 1 comes 0), one of the last five is recognised as a repetition and answered with its
//! old offset, a higher epoch begins at 0 again, a lower one is fenced.
//!
//! [`admit`]: Sequencer::admit
//! [`take`]: Sequencer::take
//! [`replay`]: Sequencer::replay

use std::collections::{HashMap, VecDeque};
use std::mem;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::{Error, ErrorCode};
use crate::ids::{PartitionId, ProducerId};
use crate::limits::PRODUCER_WINDOW_BATCHES;
use crate::record::BatchHeader;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

use super::append::Appended;
use super::control::PartitionOpen;
pub(super) use expiry::LastAppend;
use kept::Changed;

/// Where a batch stands in the log: what a repetition of it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequenced {
    /// Its index.
    pub(super) index: u64,
    /// Offset of its first record.
    pub(super) base_offset: i64,
    /// Its frame's time, ms.
    pub(super) time_ms: i64,
    /// The timestamp the log gave its records, or -1.
    pub(super) append_time_ms: i64,
}

impl From<&Appended> for Sequenced {
    fn from(appended: &Appended) -> Self {
        Self {
            index: appended.index,
            base_offset: appended.base_offset,
            time_ms: appended.time_ms,
            append_time_ms: appended.append_time_ms,
        }
    }
}

/// What becomes of a batch that is to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is new, and begins at this offset.
    New {
        /// Offset of its first record.
        base_offset: i64,
    },
    /// It was appended before.
    Duplicate(Sequenced),
}

/// Why the sequencer refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(super) enum SequenceError {
    /// Never opened, or its topic is deleted.
    #[error("partition id {partition} is not open in this log")]
    UnknownPartition {
        /// The partition.
        partition: PartitionId,
    },
    /// Opened twice.
    #[error("partition id {partition} is open already")]
    PartitionIsOpen {
        /// The partition.
        partition: PartitionId,
    },
    /// The offsets end.
    #[error(
        "partition id {partition} has no offsets left: next is {next_offset}, the batch has {count}"
    )]
    OffsetsExhausted {
        /// The partition.
        partition: PartitionId,
        /// Its next offset.
        next_offset: i64,
        /// Offsets that the batch takes.
        count: i64,
    },
    /// The batch carries a producer id without a sequence.
    #[error(
        "producer id {producer_id} sent a batch with base sequence {base_sequence} and epoch {epoch}"
    )]
    NoSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's base sequence.
        base_sequence: i32,
        /// The batch's producer epoch.
        epoch: i16,
    },
    /// The first batch of a producer does not begin at 0.
    #[error(
        "partition id {partition} does not know producer id {producer_id}, or not any more: its first batch \
         begins at sequence {found}, expected 0; a producer that was idle too long is forgotten"
    )]
    UnknownProducer {
        /// The partition.
        partition: PartitionId,
        /// The producer.
        producer_id: ProducerId,
        /// The batch's base sequence.
        found: i32,
    },
    /// A newer producer of the same id took over.
    #[error(
        "producer id {producer_id} in partition id {partition} has epoch {expected}, the batch has {found}"
    )]
    Epoch {
        /// The partition.
        partition: PartitionId,
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        found: i16,
        /// The producer's newest.
        expected: i16,
    },
    /// The batch does not begin where the last one ended.
    #[error(
        "producer id {producer_id} in partition id {partition} goes on at sequence {expected}, the batch \
         begins at {found}"
    )]
    OutOfOrder {
        /// The partition.
        partition: PartitionId,
        /// The producer.
        producer_id: ProducerId,
        /// The batch's base sequence.
        found: i32,
        /// The next one.
        expected: i32,
    },
}

impl From<SequenceError> for Error {
    fn from(error: SequenceError) -> Self {
        let code = match &error {
            SequenceError::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
            SequenceError::PartitionIsOpen { .. } => ErrorCode::InvalidRequest,
            SequenceError::OffsetsExhausted { .. } | SequenceError::NoSequence { .. } => {
                ErrorCode::InvalidRecord
            }
            SequenceError::UnknownProducer { .. } => ErrorCode::UnknownProducerId,
            SequenceError::Epoch { .. } => ErrorCode::InvalidProducerEpoch,
            SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        };
        Self::new(code, error.to_string())
    }
}

/// The sequencer of one log.
#[derive(Debug, Default)]
pub(super) struct Sequencer {
    partitions: HashMap<PartitionId, Partition>,
    changed: Changed,
}

#[derive(Debug)]
struct Partition {
    topic: [u8; 16],
    next_offset: i64,
    producers: HashMap<ProducerId, Producer>,
    is_changed: bool,
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    /// The last batches of this epoch, oldest first, never empty.
    window: VecDeque<Remembered>,
    is_changed: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Remembered {
    base_sequence: i32,
    last_sequence: i32,
    sequenced: Sequenced,
}

impl Sequencer {
    /// The offset that the next record of a partition gets.
    pub(super) fn next_offset(&self, partition: PartitionId) -> Option<i64> {
        self.partitions
            .get(&partition)
            .map(|partition| partition.next_offset)
    }

    /// Opens a partition.
    ///
    /// # Errors
    /// [`SequenceError::PartitionIsOpen`]: an id is never used twice.
    pub(super) fn open_partition(
        &mut self,
        id: PartitionId,
        open: &PartitionOpen,
    ) -> Result<(), SequenceError> {
        if self.partitions.contains_key(&id) {
            return Err(SequenceError::PartitionIsOpen { partition: id });
        }
        let partition = Partition {
            topic: open.topic,
            next_offset: open.start_offset.max(0),
            producers: HashMap::new(),
            is_changed: true,
        };
        self.partitions.insert(id, partition);
        self.changed.partitions.push(id);
        Ok(())
    }

    /// Forgets the partitions of a topic.
    pub(super) fn delete_topic(&mut self, topic: &[u8; 16]) {
        let changed = &mut self.changed;
        self.partitions.retain(|id, partition| {
            let is_kept = partition.topic != *topic;
            if !is_kept {
                changed.partitions.push(*id);
                let producers = partition.producers.keys();
                changed
                    .producers
                    .extend(producers.map(|producer| (*id, *producer)));
            }
            is_kept
        });
    }

    /// Forgets a producer of a partition.
    pub(super) fn expire_producer(&mut self, id: PartitionId, producer_id: ProducerId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.producers.remove(&producer_id);
            self.changed.producers.push((id, producer_id));
        }
    }

    /// Says what becomes of a batch. Nothing changes: the caller [`take`](Self::take)s a new one when it has
    /// a place for it.
    ///
    /// # Errors
    /// [`SequenceError`].
    pub(super) fn admit(
        &self,
        id: PartitionId,
        batch: &BatchHeader,
    ) -> Result<Admission, SequenceError> {
        let partition = self
            .partitions
            .get(&id)
            .ok_or(SequenceError::UnknownPartition { partition: id })?;
        let has_sequence = batch.producer_id >= 0;
        #[cfg(any(test, feature = "simulation"))]
        let has_sequence = has_sequence && !simulated::has(Bug::DedupeDropped);
        if has_sequence {
            let producer_id = ProducerId(batch.producer_id);
            if let Some(found) = partition.check_producer(id, producer_id, batch)? {
                return Ok(Admission::Duplicate(found));
            }
        }
        let count = i64::from(batch.last_offset_delta) + 1;
        let next_offset = partition.next_offset;
        if next_offset.checked_add(count).is_none() {
            return Err(SequenceError::OffsetsExhausted {
                partition: id,
                next_offset,
                count,
            });
        }
        Ok(Admission::New {
            base_offset: next_offset,
        })
    }

    /// Remembers that a batch which was just admitted as new got this place.
    pub(super) fn take(&mut self, id: PartitionId, batch: &BatchHeader, sequenced: Sequenced) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        let last_offset = sequenced
            .base_offset
            .saturating_add(i64::from(batch.last_offset_delta));
        partition.next_offset = last_offset.saturating_add(1);
        if !mem::replace(&mut partition.is_changed, true) {
            self.changed.partitions.push(id);
        }
        if batch.producer_id < 0 {
            return;
        }
        let producer_id = ProducerId(batch.producer_id);
        let producer = partition
            .producers
            .entry(producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                window: VecDeque::new(),
                is_changed: false,
            });
        if !mem::replace(&mut producer.is_changed, true) {
            self.changed.producers.push((id, producer_id));
        }
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.window.clear();
        }
        if producer.window.len() == PRODUCER_WINDOW_BATCHES {
            producer.window.pop_front();
        }
        producer.window.push_back(Remembered {
            base_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            sequenced,
        });
    }

    /// Remembers a batch that the log holds. One that does not begin where its partition ends is void: the
    /// engine's `apply` decides the same. Says whether it was not.
    pub(super) fn replay(
        &mut self,
        id: PartitionId,
        batch: &BatchHeader,
        sequenced: Sequenced,
    ) -> bool {
        #[cfg(test)]
        let batch = &super::tests::mutant::replayed(batch);
        let is_next = self.next_offset(id) == Some(sequenced.base_offset);
        if is_next {
            self.take(id, batch, sequenced);
        }
        is_next
    }
}

impl Partition {
    /// The place of a batch that was appended before, `None` for one that may be appended now.
    fn check_producer(
        &self,
        partition: PartitionId,
        producer_id: ProducerId,
        batch: &BatchHeader,
    ) -> Result<Option<Sequenced>, SequenceError> {
        let (found, epoch) = (batch.base_sequence, batch.producer_epoch);
        if found < 0 || epoch < 0 {
            return Err(SequenceError::NoSequence {
                producer_id,
                base_sequence: found,
                epoch,
            });
        }
        let Some(producer) = self.producers.get(&producer_id) else {
            return if found == 0 {
                Ok(None)
            } else {
                Err(SequenceError::UnknownProducer {
                    partition,
                    producer_id,
                    found,
                })
            };
        };
        if epoch < producer.epoch {
            let expected = producer.epoch;
            return Err(SequenceError::Epoch {
                partition,
                producer_id,
                found: epoch,
                expected,
            });
        }
        let is_new_epoch = epoch > producer.epoch;
        let expected = if is_new_epoch {
            0
        } else {
            producer.next_sequence()
        };
        if found == expected {
            return Ok(None);
        }
        let repeated = producer.window.iter().rev().find(|known| {
            known.base_sequence == found && known.last_sequence == batch.last_sequence()
        });
        match repeated {
            Some(known) if !is_new_epoch => Ok(Some(known.sequenced)),
            _ => Err(SequenceError::OutOfOrder {
                partition,
                producer_id,
                found,
                expected,
            }),
        }
    }
}

impl Producer {
    fn next_sequence(&self) -> i32 {
        match self.window.back() {
            Some(last) if last.last_sequence < i32::MAX => last.last_sequence + 1,
            _ => 0,
        }
    }
}

mod excerpt;
mod expiry;
mod kept;
#[cfg(test)]
mod tests;
