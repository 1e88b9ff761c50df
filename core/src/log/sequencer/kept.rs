//! The sequencer's state as pairs, for snapshots and checkpoints.
//!
//! ```text
//! S, partition u32 big-endian                               topic uuid, next offset
//! W, partition u32 big-endian, producer id i64 big-endian   epoch and the last batches
//! ```
//!
//! Values are postcard of structs that only grow at their ends.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Partition, Producer, Remembered, Sequencer};
use crate::error::Result;
use crate::ids::{PartitionId, ProducerId};
use crate::log::pair::{Scope, StatePair};

const PARTITION: u8 = b'S';
const PRODUCER: u8 = b'W';

/// What has changed since it was last asked for; a key may stand here twice.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) partitions: Vec<PartitionId>,
    pub(super) producers: Vec<(PartitionId, ProducerId)>,
}

#[derive(Serialize, Deserialize)]
struct KeptPartition {
    topic: [u8; 16],
    next_offset: i64,
}

#[derive(Serialize, Deserialize)]
struct KeptProducer {
    epoch: i16,
    window: VecDeque<Remembered>,
}

impl Sequencer {
    /// The state as pairs.
    pub(in crate::log) fn pairs(&mut self, scope: Scope) -> Vec<StatePair> {
        if scope == Scope::All {
            let producers = self.partitions.iter().flat_map(|(id, partition)| {
                let known = partition.producers.keys();
                known.map(|producer| self.producer_pair(*id, *producer))
            });
            let partitions = self.partitions.keys().map(|id| self.partition_pair(*id));
            return partitions.chain(producers).collect();
        }
        let changed = std::mem::take(&mut self.changed);
        for id in &changed.partitions {
            if let Some(partition) = self.partitions.get_mut(id) {
                partition.is_changed = false;
            }
        }
        for (id, producer) in &changed.producers {
            let partition = self.partitions.get_mut(id);
            if let Some(known) = partition.and_then(|it| it.producers.get_mut(producer)) {
                known.is_changed = false;
            }
        }
        let partitions = changed.partitions.iter().map(|id| self.partition_pair(*id));
        let producers = changed.producers.iter();
        let producers = producers.map(|(id, producer)| self.producer_pair(*id, *producer));
        partitions.chain(producers).collect()
    }

    /// Whether a pair is the sequencer's.
    pub(in crate::log) fn is_own(pair: &StatePair) -> bool {
        matches!(pair.key.first(), Some(&PARTITION | &PRODUCER))
    }

    /// The sequencer that [`pairs`](Self::pairs) of everything came from; other pairs are passed over.
    ///
    /// # Errors
    /// `Corrupt` if a pair is not what its key says.
    pub(in crate::log) fn restored(pairs: &[StatePair]) -> Result<Self> {
        let mut sequencer = Self::default();
        let own = |kind| {
            pairs
                .iter()
                .filter(move |pair| pair.key.first() == Some(&kind))
        };
        for pair in own(PARTITION) {
            let id = PartitionId(u32::from_be_bytes(pair.key_part(1)?));
            let KeptPartition { topic, next_offset } = pair.decode()?;
            let partition = Partition {
                topic,
                next_offset,
                producers: HashMap::new(),
                is_changed: false,
            };
            sequencer.partitions.insert(id, partition);
        }
        for pair in own(PRODUCER) {
            let id = PartitionId(u32::from_be_bytes(pair.key_part(1)?));
            let producer_id = ProducerId(i64::from_be_bytes(pair.key_part(5)?));
            let KeptProducer { epoch, window } = pair.decode()?;
            let partition = sequencer
                .partitions
                .get_mut(&id)
                .ok_or_else(|| pair.bad())?;
            let producer = Producer {
                epoch,
                window,
                is_changed: false,
            };
            partition.producers.insert(producer_id, producer);
        }
        Ok(sequencer)
    }

    fn partition_pair(&self, id: PartitionId) -> StatePair {
        let kept = self.partitions.get(&id).map(|partition| KeptPartition {
            topic: partition.topic,
            next_offset: partition.next_offset,
        });
        let mut key = vec![PARTITION];
        key.extend_from_slice(&id.0.to_be_bytes());
        StatePair::new(key, kept)
    }

    fn producer_pair(&self, id: PartitionId, producer_id: ProducerId) -> StatePair {
        let partition = self.partitions.get(&id);
        let producer = partition.and_then(|partition| partition.producers.get(&producer_id));
        let kept = producer.map(|producer| KeptProducer {
            epoch: producer.epoch,
            window: producer.window.clone(),
        });
        let mut key = vec![PRODUCER];
        key.extend_from_slice(&id.0.to_be_bytes());
        key.extend_from_slice(&producer_id.0.to_be_bytes());
        StatePair::new(key, kept)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::log::control::PartitionOpen;
    use crate::log::sequencer::Sequenced;
    use crate::record::BatchHeader;
    use crate::record::batch::HEADER_BYTES;

    const TOPIC: [u8; 16] = [3; 16];

    fn open(sequencer: &mut Sequencer, id: u32) {
        let open = PartitionOpen {
            topic: TOPIC,
            partition: 0,
            start_offset: 0,
        };
        sequencer.open_partition(PartitionId(id), &open).unwrap();
    }

    fn batch(producer_id: i64, sequence: i32) -> BatchHeader {
        let mut bytes = [0_u8; HEADER_BYTES];
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[16] = 2;
        bytes[43..51].copy_from_slice(&producer_id.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&1_i32.to_be_bytes());
        BatchHeader::parse(&bytes).unwrap()
    }

    fn take(sequencer: &mut Sequencer, id: u32, producer_id: i64, sequence: i32) {
        let base_offset = sequencer.next_offset(PartitionId(id)).unwrap();
        let sequenced = Sequenced {
            index: 1,
            base_offset,
            time_ms: 5,
            append_time_ms: -1,
        };
        sequencer.take(PartitionId(id), &batch(producer_id, sequence), sequenced);
    }

    type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

    fn all(sequencer: &mut Sequencer) -> Kept {
        let pairs = sequencer.pairs(Scope::All).into_iter();
        pairs.map(|pair| (pair.key, pair.value.unwrap())).collect()
    }

    fn update(kept: &mut Kept, sequencer: &mut Sequencer) -> usize {
        let changes = sequencer.pairs(Scope::Changed);
        let count = changes.len();
        for StatePair { key, value } in changes {
            match value {
                Some(value) => drop(kept.insert(key, value)),
                None => drop(kept.remove(&key)),
            }
        }
        count
    }

    #[test]
    fn changes_added_up_are_the_state() {
        let (mut sequencer, mut kept) = (Sequencer::default(), Kept::new());
        open(&mut sequencer, 1);
        open(&mut sequencer, 2);
        for step in 0..20 {
            take(&mut sequencer, 1, 7 + i64::from(step % 3), step / 3);
            take(&mut sequencer, 2, -1, -1);
            if step % 4 == 0 {
                update(&mut kept, &mut sequencer);
                assert_eq!(kept, all(&mut sequencer));
            }
        }
        sequencer.expire_producer(PartitionId(1), ProducerId(8));
        update(&mut kept, &mut sequencer);
        assert_eq!(kept, all(&mut sequencer));
        assert_eq!(update(&mut kept, &mut sequencer), 0);
        sequencer.delete_topic(&TOPIC);
        update(&mut kept, &mut sequencer);
        assert!(kept.is_empty() && all(&mut sequencer).is_empty());
    }

    #[test]
    fn what_is_restored_goes_on_where_it_was() {
        let mut sequencer = Sequencer::default();
        open(&mut sequencer, 1);
        for step in 0..7 {
            take(&mut sequencer, 1, 7, step);
        }
        let mut again = Sequencer::restored(&sequencer.pairs(Scope::All)).unwrap();
        assert_eq!(all(&mut again), all(&mut sequencer));
        for sequence in 0..9 {
            let admitted = |it: &Sequencer| it.admit(PartitionId(1), &batch(7, sequence));
            assert_eq!(admitted(&again), admitted(&sequencer), "{sequence}");
        }
        assert_eq!(again.pairs(Scope::Changed), []);
    }

    #[test]
    fn pair_that_is_none_is_refused() {
        let pair = |key: &[u8], value: Option<&[u8]>| StatePair {
            key: key.to_vec(),
            value: value.map(<[u8]>::to_vec),
        };
        for bad in [
            pair(b"S", Some(&[])),
            pair(b"S\0\0\0\x01", None),
            pair(b"S\0\0\0\x01", Some(&[1, 2])),
            pair(b"W\0\0\0\x01\0\0\0\0\0\0\0\x07", Some(&[0, 0])),
        ] {
            assert!(Sequencer::restored(&[bad]).is_err());
        }
    }
}
