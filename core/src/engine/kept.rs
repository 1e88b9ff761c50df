//! The state as pairs, for snapshots and checkpoints.
//!
//! ```text
//! t, topic uuid                                       name, options
//! p, partition u32 big-endian                         topic uuid, number, log start, end, leader epoch,
//!                                                     starts of the leader epochs
//! g, group                                            generation, members
//! o, length of the group u8, group, topic uuid, partition i32 big-endian    committed offset,
//!                                                     leader epoch and metadata if there are
//! c                                                   next producer id, next partition id
//! ```
//!
//! Values are postcard of structs that only grow at their ends: what an older version did not keep yet is
//! what the field's `deserialize_with` says. What is kept is synced, so a partition
//! comes back readable to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::epochs::{EpochStart, Epochs};
use super::groups::{Committed, Group, Groups};
use super::partition::{Partition, PartitionStatus};
use super::state::State;
use super::topics::{self, Topic, Topics};
use crate::error::Result;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::log::control::CommitDetails;
use crate::log::{Scope, StatePair, control};

const TOPIC: u8 = b't';
const PARTITION: u8 = b'p';
const GROUP: u8 = b'g';
const OFFSET: u8 = b'o';
const COUNTERS: u8 = b'c';

type TopicUuid = [u8; 16];

/// What has changed since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) topics: BTreeSet<TopicUuid>,
    pub(super) partitions: BTreeSet<PartitionId>,
    pub(super) groups: BTreeSet<String>,
    pub(super) offsets: BTreeSet<(String, TopicUuid, i32)>,
}

impl Changed {
    pub(super) fn note_commit(&mut self, commit: &control::OffsetCommit) {
        self.groups.insert(commit.group.clone());
        for offset in &commit.offsets {
            let key = (commit.group.clone(), offset.topic, offset.partition);
            self.offsets.insert(key);
        }
    }

    /// `before` is the group as it stands before the change.
    pub(super) fn note_group(&mut self, change: &control::Group, before: Option<&Group>) {
        self.groups.insert(change.group.clone());
        if let Some(before) = before.filter(|_| change.is_deleted) {
            let offsets = before.offsets.keys();
            let gone = offsets.map(|(topic, partition)| (change.group.clone(), *topic, *partition));
            self.offsets.extend(gone);
        }
    }
}

#[derive(Serialize, Deserialize)]
struct KeptTopic {
    name: String,
    config: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct KeptPartition {
    topic: TopicUuid,
    number: i32,
    log_start_offset: i64,
    end_offset: i64,
    leader_epoch: i32,
    /// None: kept by a version that did not know where they begin.
    #[serde(deserialize_with = "none_at_the_end")]
    epochs: Option<Vec<EpochStart>>,
}

/// A field that older values end before.
fn none_at_the_end<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    // Pairs are checked as a whole, so the only thing that can be wrong here is the end.
    Ok(Option::deserialize(deserializer).unwrap_or_default())
}

#[derive(Serialize, Deserialize)]
struct KeptGroup {
    generation: i32,
    /// None: kept by a version whose members did not outlive it.
    #[serde(deserialize_with = "none_at_the_end")]
    members: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct KeptOffset {
    offset: i64,
    /// None: nothing was noted, or it was kept by a version that could not.
    #[serde(
        deserialize_with = "none_at_the_end",
        skip_serializing_if = "Option::is_none"
    )]
    details: Option<CommitDetails>,
}

impl From<&Committed> for KeptOffset {
    fn from(committed: &Committed) -> Self {
        Self {
            offset: committed.offset,
            details: committed.details.as_deref().cloned(),
        }
    }
}

impl From<KeptOffset> for Committed {
    fn from(kept: KeptOffset) -> Self {
        Self::new(kept.offset, kept.details.unwrap_or_default())
    }
}

#[derive(Default, Serialize, Deserialize)]
struct KeptCounters {
    next_producer_id: i64,
    next_partition: u32,
}

/// The state as pairs.
pub(super) fn pairs(state: &State, scope: Scope) -> Vec<StatePair> {
    let changed = match scope {
        Scope::All => everything(state),
        Scope::Changed => std::mem::take(&mut *state.changed.lock()),
    };
    let topics = state.topics.read();
    let groups = state.groups.lock();
    let mut pairs = Vec::new();
    for uuid in &changed.topics {
        pairs.push(StatePair::new(
            key(TOPIC, uuid),
            topics.by_uuid(uuid).map(kept_topic),
        ));
    }
    for id in &changed.partitions {
        let partition = topics.partition(*id);
        if let (Some(partition), Scope::Changed) = (partition, scope) {
            partition.set_changed(false);
        }
        pairs.push(StatePair::new(
            key(PARTITION, &id.0.to_be_bytes()),
            partition.map(kept_partition),
        ));
    }
    for id in &changed.groups {
        let kept = groups.get(id).map(|group| KeptGroup {
            generation: group.generation,
            members: Some(group.members.clone()),
        });
        pairs.push(StatePair::new(key(GROUP, id.as_bytes()), kept));
    }
    for (id, topic, partition) in &changed.offsets {
        let offset = groups
            .get(id)
            .and_then(|group| group.offsets.get(&(*topic, *partition)));
        let kept = offset.map(KeptOffset::from);
        pairs.push(StatePair::new(offset_key(id, topic, *partition), kept));
    }
    let counters = KeptCounters {
        next_producer_id: state.next_producer_id(),
        next_partition: topics.next_partition(),
    };
    pairs.push(StatePair::new(vec![COUNTERS], Some(counters)));
    pairs
}

fn everything(state: &State) -> Changed {
    let topics = state.topics.read();
    let groups = state.groups.lock();
    let offsets = groups.iter().flat_map(|(id, group)| {
        let offsets = group.offsets.keys();
        offsets.map(move |(topic, partition)| (id.clone(), *topic, *partition))
    });
    Changed {
        topics: topics.iter().map(|topic| topic.uuid).collect(),
        partitions: topics.partitions().map(|partition| partition.id).collect(),
        offsets: offsets.collect(),
        groups: groups.iter().map(|(id, _)| id.clone()).collect(),
    }
}

/// Makes the state what the pairs say.
///
/// # Errors
/// `Corrupt` if they are no state; then nothing has changed.
pub(super) fn restore(state: &State, pairs: &[StatePair]) -> Result<()> {
    let mut topics = Topics::new(state.defaults());
    let mut partitions = Vec::new();
    let mut kept_groups = BTreeMap::new();
    let mut offsets = Vec::new();
    let mut counters = KeptCounters::default();
    for pair in pairs {
        match pair.key.split_first() {
            Some((&TOPIC, uuid)) => {
                let KeptTopic { name, config } = pair.decode()?;
                let uuid = uuid.try_into().map_err(|_| pair.bad())?;
                topics.create(control::TopicCreate { uuid, name, config });
            }
            Some((&PARTITION, id)) => {
                let id = PartitionId(u32::from_be_bytes(id.try_into().map_err(|_| pair.bad())?));
                let kept: KeptPartition = pair.decode()?;
                partitions.push(kept.into_partition(id));
            }
            Some((&GROUP, id)) => {
                let id = String::from_utf8(id.to_vec()).map_err(|_| pair.bad())?;
                kept_groups.insert(id, pair.decode::<KeptGroup>()?);
            }
            Some((&OFFSET, rest)) => {
                let (group, topic, partition) = offset_parts(rest).ok_or_else(|| pair.bad())?;
                let kept: KeptOffset = pair.decode()?;
                offsets.push((group, (topic, partition), kept.into()));
            }
            Some((&COUNTERS, [])) => counters = pair.decode()?,
            _ => return Err(pair.bad()),
        }
    }
    topics.restore(partitions, counters.next_partition);
    let groups = groups_of(kept_groups, offsets);
    state.replace(topics, groups, counters.next_producer_id);
    Ok(())
}

fn groups_of(
    groups: BTreeMap<String, KeptGroup>,
    offsets: Vec<(String, (TopicUuid, i32), Committed)>,
) -> Groups {
    let mut kept: BTreeMap<String, Group> = BTreeMap::new();
    for (id, group) in groups {
        let entry = kept.entry(id).or_default();
        entry.generation = group.generation;
        entry.members = group.members.unwrap_or_default();
    }
    for (id, place, committed) in offsets {
        kept.entry(id).or_default().offsets.insert(place, committed);
    }
    let mut groups = Groups::default();
    for (id, group) in kept {
        groups.restore(id, group);
    }
    groups
}

fn kept_topic(topic: &Topic) -> KeptTopic {
    KeptTopic {
        name: topic.name.to_string(),
        config: topic.config.to_pairs(),
    }
}

impl KeptPartition {
    fn into_partition(self, id: PartitionId) -> topics::KeptPartition {
        let status = PartitionStatus {
            log_start_offset: self.log_start_offset,
            high_watermark: self.end_offset,
            end_offset: self.end_offset,
            leader_epoch: LeaderEpoch(self.leader_epoch),
        };
        let epochs = match self.epochs {
            Some(epochs) => Epochs::restored(epochs),
            None => status.single_epoch(),
        };
        topics::KeptPartition {
            id,
            topic: self.topic,
            number: self.number,
            status,
            epochs,
        }
    }
}

impl PartitionStatus {
    /// All that is held taken for one epoch: records of those before it may be read again, but none is
    /// passed over.
    fn single_epoch(&self) -> Epochs {
        let mut epochs = Epochs::default();
        if self.end_offset > self.log_start_offset {
            epochs.append(self.leader_epoch, self.log_start_offset);
        }
        epochs
    }
}

fn kept_partition(partition: &Arc<Partition>) -> KeptPartition {
    let status = partition.status();
    KeptPartition {
        topic: partition.topic,
        number: partition.number,
        log_start_offset: status.log_start_offset,
        end_offset: status.end_offset,
        leader_epoch: status.leader_epoch.0,
        epochs: Some(partition.epochs().iter().collect()),
    }
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

fn offset_key(group: &str, topic: &TopicUuid, partition: i32) -> Vec<u8> {
    // A group's name has at most 249 bytes.
    let length = u8::try_from(group.len()).unwrap_or(u8::MAX);
    let place = [&topic[..], &partition.to_be_bytes()].concat();
    [&[OFFSET, length], group.as_bytes(), &place].concat()
}

fn offset_parts(rest: &[u8]) -> Option<(String, TopicUuid, i32)> {
    let (length, rest) = rest.split_first()?;
    let (group, rest) = rest.split_at_checked(usize::from(*length))?;
    let (topic, partition) = rest.split_first_chunk()?;
    let group = String::from_utf8(group.to_vec()).ok()?;
    Some((
        group,
        *topic,
        i32::from_be_bytes(partition.try_into().ok()?),
    ))
}

#[cfg(test)]
mod tests;
