//! The topics of a folder and their partitions, by name, uuid and shard-wide id.
//!
//! Invariants: a name belongs to one topic at a time, a uuid and a partition id to one for ever. A
//! partition is opened by its own frame, which may stand before or after its topic's: neither needs the
//! other to be applied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::completion::Wakes;
use crate::engine::epochs::Epochs;
use crate::engine::partition::{Partition, PartitionStatus};
use crate::engine::topic_config::{TopicConfig, TopicDefaults};
use crate::ids::{Durability, PartitionId};
use crate::log::control;

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its uuid.
    pub uuid: [u8; 16],
    /// What it is configured to be.
    pub config: Arc<TopicConfig>,
    /// Its partitions by number; shorter than configured only before the first open ended.
    pub partitions: Arc<[Arc<Partition>]>,
}

/// A partition as it was kept.
#[derive(Debug)]
pub(super) struct KeptPartition {
    pub(super) id: PartitionId,
    pub(super) topic: [u8; 16],
    pub(super) number: i32,
    pub(super) status: PartitionStatus,
    pub(super) epochs: Epochs,
}

impl Topic {
    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, number: i32) -> Option<&Arc<Partition>> {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.partitions.get(number))
    }
}

/// All topics.
#[derive(Debug)]
pub struct Topics {
    defaults: TopicDefaults,
    by_name: BTreeMap<Arc<str>, Topic>,
    names: HashMap<[u8; 16], Arc<str>>,
    by_id: HashMap<PartitionId, Arc<Partition>>,
    opened: HashMap<[u8; 16], BTreeMap<i32, Arc<Partition>>>,
    next_partition: u32,
}

impl Topics {
    /// None yet.
    #[must_use]
    pub fn new(defaults: TopicDefaults) -> Self {
        Self {
            defaults,
            by_name: BTreeMap::new(),
            names: HashMap::new(),
            by_id: HashMap::new(),
            opened: HashMap::new(),
            next_partition: 1,
        }
    }

    /// The topic of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    /// The topic with this uuid.
    #[must_use]
    pub fn by_uuid(&self, uuid: &[u8; 16]) -> Option<&Topic> {
        self.names.get(uuid).and_then(|name| self.by_name.get(name))
    }

    /// The partition with this id.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Arc<Partition>> {
        self.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    /// How many topics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The first partition id that was never given.
    #[must_use]
    pub const fn next_partition(&self) -> u32 {
        self.next_partition
    }

    /// A TOPIC_CREATE frame. False if there is a topic of this uuid already: then nothing has changed.
    pub fn create(&mut self, create: control::TopicCreate) -> bool {
        if self.names.contains_key(&create.uuid) {
            return false;
        }
        let name: Arc<str> = create.name.into();
        let topic = Topic {
            name: Arc::clone(&name),
            uuid: create.uuid,
            config: Arc::new(TopicConfig::stored(self.defaults, &create.config)),
            partitions: Arc::new([]),
        };
        self.names.insert(create.uuid, Arc::clone(&name));
        self.by_name.insert(name, topic);
        self.link(create.uuid);
        true
    }

    /// A TOPIC_ALTER frame: sets the options it names.
    pub fn alter(&mut self, alter: &control::TopicAlter) {
        let defaults = self.defaults;
        let Some(topic) = self.topic_mut(&alter.uuid) else {
            return;
        };
        let mut pairs = topic.config.to_pairs();
        for (name, value) in &alter.config {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name.clone(), value.clone()));
        }
        let uuid = topic.uuid;
        topic.config = Arc::new(TopicConfig::stored(defaults, &pairs));
        self.link(uuid);
    }

    /// A TOPIC_DELETE frame. Who reads the topic is woken, to find it gone.
    pub fn delete(&mut self, uuid: &[u8; 16], wakes: &mut Wakes) {
        if let Some(name) = self.names.remove(uuid) {
            // A topic created again under the name has another uuid and stays.
            if self
                .by_name
                .get(&name)
                .is_some_and(|topic| topic.uuid == *uuid)
            {
                self.by_name.remove(&name);
            }
        }
        for partition in self.opened.remove(uuid).unwrap_or_default().into_values() {
            self.by_id.remove(&partition.id);
            partition.wake_all(wakes);
        }
    }

    /// A PARTITION_OPEN frame. False if this id is another partition's, or the topic has one of this number:
    /// then nothing has changed but that the id is never given, for the sequencer may know it.
    pub fn open_partition(&mut self, id: PartitionId, open: &control::PartitionOpen) -> bool {
        self.next_partition = self.next_partition.max(id.0.saturating_add(1));
        let opened = self.opened.get(&open.topic);
        let is_there = opened.is_some_and(|opened| opened.contains_key(&open.partition));
        if is_there || self.by_id.contains_key(&id) {
            return false;
        }
        let durability = self.durability_of(&open.topic);
        let number = open.partition;
        let partition = Partition::new(id, open.topic, number, open.start_offset, durability);
        self.add_partition(partition);
        self.link(open.topic);
        true
    }

    /// The level of a topic; that of one which is not there yet is set once it is.
    fn durability_of(&self, topic: &[u8; 16]) -> Durability {
        self.by_uuid(topic)
            .map_or(Durability::Disk, |topic| topic.config.durability)
    }

    fn add_partition(&mut self, partition: Partition) {
        let (id, topic, number) = (partition.id, partition.topic, partition.number);
        self.next_partition = self.next_partition.max(id.0.saturating_add(1));
        let partition = Arc::new(partition);
        self.by_id.insert(id, Arc::clone(&partition));
        let opened = self.opened.entry(topic).or_default();
        opened.insert(number, partition);
    }

    /// These partitions of topics there are, as they were kept; `next_partition` was never given.
    pub(super) fn restore(&mut self, partitions: Vec<KeptPartition>, next_partition: u32) {
        let mut topics = BTreeSet::new();
        for kept in partitions {
            topics.insert(kept.topic);
            let durability = self.durability_of(&kept.topic);
            self.add_partition(Partition::restored(kept, durability));
        }
        topics.into_iter().for_each(|topic| self.link(topic));
        self.next_partition = self.next_partition.max(next_partition);
    }

    /// The partitions of a topic, by number.
    pub(super) fn opened(&self, uuid: &[u8; 16]) -> impl Iterator<Item = &Arc<Partition>> {
        self.opened.get(uuid).into_iter().flat_map(BTreeMap::values)
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.by_id.values()
    }

    fn topic_mut(&mut self, uuid: &[u8; 16]) -> Option<&mut Topic> {
        let name = self.names.get(uuid)?;
        self.by_name.get_mut(name)
    }

    /// Brings a topic and those of its partitions that are opened together.
    fn link(&mut self, uuid: [u8; 16]) {
        let Some(opened) = self.opened.get(&uuid) else {
            return;
        };
        // Numbers count from 0 without gaps; what stands behind a gap waits for it to close.
        let partitions: Vec<_> = (0..)
            .zip(opened)
            .take_while(|(expected, (number, _))| expected == *number)
            .map(|(_, (_, partition))| Arc::clone(partition))
            .collect();
        let Some(topic) = self.topic_mut(&uuid) else {
            return;
        };
        for partition in &partitions {
            partition.set_durability(topic.config.durability);
        }
        topic.partitions = partitions.into();
    }
}
