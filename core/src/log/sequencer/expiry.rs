//! When producers appended last, for whoever decides which are forgotten.

use super::Sequencer;
use crate::ids::{PartitionId, ProducerId};

/// The last batch of a producer in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct LastAppend {
    /// Its index.
    pub(in crate::log) index: u64,
    /// Its frame's time, ms.
    pub(in crate::log) time_ms: i64,
    pub(in crate::log) partition: PartitionId,
    pub(in crate::log) producer_id: ProducerId,
}

impl Sequencer {
    /// The partitions in which producers are known, and how many are in all of them.
    pub(in crate::log) fn producing(&self) -> (Vec<PartitionId>, usize) {
        let known = self.partitions.iter();
        let known = known.filter(|(_, partition)| !partition.producers.is_empty());
        known.fold((Vec::new(), 0), |(mut ids, count), (id, partition)| {
            ids.push(*id);
            (ids, count + partition.producers.len())
        })
    }

    /// The last batch of each producer in a partition, in no order.
    pub(in crate::log) fn last_appends(&self, partition: PartitionId) -> Vec<LastAppend> {
        let known = self.partitions.get(&partition);
        let producers = known.into_iter().flat_map(|known| &known.producers);
        let last = producers.filter_map(|(producer_id, producer)| {
            let last = producer.window.back()?.sequenced;
            Some(LastAppend {
                index: last.index,
                time_ms: last.time_ms,
                partition,
                producer_id: *producer_id,
            })
        });
        last.collect()
    }

    /// Whether that is the producer's last batch still.
    pub(in crate::log) fn is_last(&self, append: &LastAppend) -> bool {
        let partition = self.partitions.get(&append.partition);
        let producer = partition.and_then(|known| known.producers.get(&append.producer_id));
        let last = producer.and_then(|producer| producer.window.back());
        last.is_some_and(|last| last.sequenced.index == append.index)
    }
}
