//! A part of the sequencer by itself, on which something can be tried.

use std::collections::HashMap;

use super::kept::Changed;
use super::{Partition, Sequencer};
use crate::ids::{PartitionId, ProducerId};

impl Sequencer {
    /// What it knows of some partitions, and of some producers in them; of others nothing.
    pub(in crate::log) fn excerpt(
        &self,
        about: impl Iterator<Item = (PartitionId, Option<ProducerId>)>,
    ) -> Self {
        let mut partitions: HashMap<PartitionId, Partition> = HashMap::new();
        for (id, producer_id) in about {
            let Some(known) = self.partitions.get(&id) else {
                continue;
            };
            let partition = partitions.entry(id).or_insert_with(|| Partition {
                topic: known.topic,
                next_offset: known.next_offset,
                producers: HashMap::new(),
                is_changed: true,
            });
            let producer = producer_id.and_then(|id| known.producers.get_key_value(&id));
            if let Some((producer_id, producer)) = producer {
                partition.producers.insert(*producer_id, producer.clone());
            }
        }
        Self {
            partitions,
            changed: Changed::default(),
        }
    }
}
