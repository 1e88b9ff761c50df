//! Which topic and partition a number stands for, learnt from the frames that say so.

use std::collections::HashMap;
use std::fmt;

use headwater::engine::State;
use headwater::log::Kind;
use headwater::log::control::{PartitionOpen, TopicCreate, TopicDelete};
use headwater::log::format::display_uuid;
use headwater::log::reader::FoundFrame;
use serde::de::DeserializeOwned;

/// Topics and partitions that were met so far. Deleted ones keep their names: frames before still speak
/// of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    topics: HashMap<[u8; 16], String>,
    partitions: HashMap<u32, PartitionOpen>,
    deleted: Vec<[u8; 16]>,
}

/// A partition, as it is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartitionName {
    pub(super) topic: String,
    pub(super) number: i32,
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

impl Names {
    /// Learns from a state.
    pub(super) fn begin_with(&mut self, state: &State) {
        let topics = state.topics.read();
        for topic in topics.iter() {
            self.topics.insert(topic.uuid, topic.name.to_string());
        }
        for partition in topics.partitions() {
            let open = PartitionOpen {
                topic: partition.topic,
                partition: partition.number,
                start_offset: partition.status().log_start_offset,
            };
            self.partitions.insert(partition.id.0, open);
        }
    }

    /// Learns from a frame.
    pub(super) fn take(&mut self, frame: &FoundFrame<'_>) {
        for part in &frame.parts {
            match part.kind {
                Kind::TopicCreate => {
                    if let Some(create) = decode::<TopicCreate>(part.payload) {
                        self.topics.insert(create.uuid, create.name);
                    }
                }
                Kind::TopicDelete => {
                    let delete = decode::<TopicDelete>(part.payload);
                    self.deleted.extend(delete.map(|delete| delete.uuid));
                }
                Kind::PartitionOpen => {
                    if let Some(open) = decode(part.payload) {
                        self.partitions.insert(part.partition.0, open);
                    }
                }
                _ => {}
            }
        }
    }

    /// The name of a topic; its uuid if it has none that is known.
    pub(super) fn topic(&self, uuid: &[u8; 16]) -> String {
        let name = self.topics.get(uuid).cloned();
        name.unwrap_or_else(|| format!("uuid:{}", display_uuid(uuid)))
    }

    /// The name of a partition.
    pub(super) fn partition(&self, id: u32) -> PartitionName {
        match self.partitions.get(&id) {
            Some(open) => PartitionName {
                topic: self.topic(&open.topic),
                number: open.partition,
            },
            None => PartitionName {
                topic: format!("id:{id}"),
                number: -1,
            },
        }
    }

    /// The partitions that are there at the end, by name and number: id and first offset of each.
    pub(super) fn standing(&self) -> Vec<(PartitionName, u32, i64)> {
        let opened = self.partitions.iter();
        let mut standing: Vec<_> = opened
            .filter(|(_, open)| !self.deleted.contains(&open.topic))
            .map(|(id, open)| (self.partition(*id), *id, open.start_offset))
            .collect();
        standing.sort_by(|(a, ..), (b, ..)| (&a.topic, a.number).cmp(&(&b.topic, b.number)));
        standing
    }

    /// Whether a topic is there at the end.
    pub(super) fn is_standing(&self, uuid: &[u8; 16]) -> bool {
        self.topics.contains_key(uuid) && !self.deleted.contains(uuid)
    }
}

/// A control payload, if it can be read.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    headwater::log::control::decode(payload).ok()
}
