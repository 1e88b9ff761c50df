//! What the host gets besides blocks: plain records, with numbers as core has them.

use headwater::client::DeliveryFailure;
use headwater::{
    GroupDescription, PartitionDescription, PartitionLag, PartitionOffset, TopicDescription,
    TopicPartition,
};

use crate::error::ErrorFacts;

/// An offset in a partition of a topic.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativePlace {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A partition of a topic.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativePartitionName {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

/// How far a consumer is in a partition, and how far it could be.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeLag {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The first record that does not count as processed.
    pub position: i64,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// The next offset a reader would see.
    pub high_watermark: i64,
    /// From the position to there.
    pub lag: i64,
}

/// An offset to be found by its meaning.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeQuery {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Which offset.
    pub at: NativeOffsetAt,
}

/// An offset by its meaning.
#[derive(Clone, Copy, Debug, uniffi::Enum)]
pub enum NativeOffsetAt {
    /// The first that is held.
    Earliest,
    /// The next that a reader would see.
    Latest,
    /// The first of this time or later.
    Time {
        /// In ms since 1970, UTC.
        ms: i64,
    },
}

/// A topic and how its partitions stand.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeTopic {
    /// Its name.
    pub name: String,
    /// Its uuid, 16 bytes.
    pub uuid: Vec<u8>,
    /// Every option with its value, in the table's order.
    pub config: Vec<NativeSetting>,
    /// What of it is stored but not acted on, in words.
    pub notes: Vec<String>,
    /// Its partitions, by number.
    pub partitions: Vec<NativePartition>,
}

/// An option and its value.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeSetting {
    /// The option, snake case.
    pub name: String,
    /// Its value, as text.
    pub value: String,
}

/// How a partition stands.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativePartition {
    /// Its number.
    pub partition: i32,
    /// The first offset held.
    pub log_start_offset: i64,
    /// The next offset a reader would see.
    pub high_watermark: i64,
    /// The next offset to be written.
    pub log_end_offset: i64,
    /// The epoch of the leader.
    pub leader_epoch: i32,
    /// Bytes of its record batches.
    pub size_bytes: i64,
}

/// A group and what it has committed.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeGroup {
    /// Its id.
    pub group: String,
    /// As in [`NativeGroupDetails`](crate::facts::NativeGroupDetails).
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// The ids of its members.
    pub members: Vec<String>,
    /// The committed offsets.
    pub offsets: Vec<NativePlace>,
}

/// What closing left undone.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeReport {
    /// Records that were not acknowledged at the deadline.
    pub unsent_records: i64,
    /// Records that failed and that nobody was told about.
    pub failed_records: i64,
    /// The first failure.
    pub first_error: Option<ErrorFacts>,
}

/// Records that failed although nobody was waiting for them.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeFailure {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// How many records.
    pub records: i64,
    /// Why.
    pub error: ErrorFacts,
}

impl From<&headwater::CloseReport> for NativeReport {
    fn from(report: &headwater::CloseReport) -> Self {
        Self {
            unsent_records: report.unsent_records.cast_signed(),
            failed_records: report.failed_records.cast_signed(),
            first_error: report.first_error.as_ref().map(Into::into),
        }
    }
}

impl From<&DeliveryFailure> for NativeFailure {
    fn from(failure: &DeliveryFailure) -> Self {
        Self {
            topic: failure.topic.to_string(),
            partition: failure.partition,
            records: failure.records.cast_signed(),
            error: (&failure.error).into(),
        }
    }
}

impl From<NativeOffsetAt> for headwater::OffsetAt {
    fn from(at: NativeOffsetAt) -> Self {
        match at {
            NativeOffsetAt::Earliest => Self::Earliest,
            NativeOffsetAt::Latest => Self::Latest,
            NativeOffsetAt::Time { ms } => Self::Time(ms),
        }
    }
}

impl From<NativeQuery> for headwater::OffsetQuery {
    fn from(query: NativeQuery) -> Self {
        Self {
            topic: query.topic,
            partition: query.partition,
            at: query.at.into(),
        }
    }
}

pub(crate) fn places(offsets: Vec<PartitionOffset>) -> Vec<NativePlace> {
    let place = |at: PartitionOffset| NativePlace {
        topic: at.topic,
        partition: at.partition,
        offset: at.offset,
    };
    offsets.into_iter().map(place).collect()
}

pub(crate) fn to_core(places: Vec<NativePlace>) -> Vec<PartitionOffset> {
    let at = |place: NativePlace| PartitionOffset {
        topic: place.topic,
        partition: place.partition,
        offset: place.offset,
    };
    places.into_iter().map(at).collect()
}

pub(crate) fn partition_names(partitions: Vec<TopicPartition>) -> Vec<NativePartitionName> {
    let name = |it: TopicPartition| NativePartitionName {
        topic: it.topic.to_string(),
        partition: it.partition,
    };
    partitions.into_iter().map(name).collect()
}

pub(crate) fn partitions_to_core(partitions: Vec<NativePartitionName>) -> Vec<TopicPartition> {
    let partition = |it: NativePartitionName| TopicPartition {
        topic: it.topic.into(),
        partition: it.partition,
    };
    partitions.into_iter().map(partition).collect()
}

pub(crate) fn lags(lags: Vec<PartitionLag>) -> Vec<NativeLag> {
    let lag = |it: PartitionLag| NativeLag {
        topic: it.topic,
        partition: it.partition,
        position: it.position,
        committed: it.committed,
        high_watermark: it.high_watermark,
        lag: it.lag,
    };
    lags.into_iter().map(lag).collect()
}

pub(crate) fn topics(topics: Vec<TopicDescription>) -> Vec<NativeTopic> {
    let setting = |(name, value)| NativeSetting { name, value };
    let topic = |topic: TopicDescription| NativeTopic {
        name: topic.name,
        uuid: topic.uuid.to_vec(),
        config: topic.config.into_iter().map(setting).collect(),
        notes: topic.notes,
        partitions: topic.partitions.iter().map(partition).collect(),
    };
    topics.into_iter().map(topic).collect()
}

pub(crate) fn groups(groups: Vec<GroupDescription>) -> Vec<NativeGroup> {
    let group = |group: GroupDescription| NativeGroup {
        group: group.group,
        state: group.state,
        generation: group.generation,
        members: group.members,
        offsets: places(group.offsets),
    };
    groups.into_iter().map(group).collect()
}

fn partition(partition: &PartitionDescription) -> NativePartition {
    NativePartition {
        partition: partition.partition,
        log_start_offset: partition.log_start_offset,
        high_watermark: partition.high_watermark,
        log_end_offset: partition.log_end_offset,
        leader_epoch: partition.leader_epoch,
        size_bytes: i64::try_from(partition.size_bytes).unwrap_or(i64::MAX),
    }
}
