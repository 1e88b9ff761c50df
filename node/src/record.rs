//! What JavaScript gets: plain objects, and numbers that hold what they say.

use headwater::client::{
    CloseReport, DeliveryFailure, Health, MemberHealth, PartitionLag, RecordMetadata,
};
use headwater::protocol::request::PartitionOffset;
use headwater::protocol::response::{
    GroupDescription, GroupDetails, GroupMember, PartitionDescription, TopicDescription,
};
use headwater::{Error, ErrorCode, Result, TopicPartition};
use napi_derive::napi;

/// The largest whole number that a number of JavaScript holds exactly: 2^53 - 1.
const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;

/// An offset in a partition of a topic.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct OffsetOf {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A partition of a topic.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct PartitionName {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

/// How far a consumer is in a partition, and how far it could be.
#[napi(object)]
#[derive(Debug)]
pub struct LagOf {
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

/// A topic, as `describe` tells it.
#[napi(object)]
#[derive(Debug)]
pub struct TopicOf {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// Every option with its value, name by name.
    pub config: Vec<Vec<String>>,
    /// What of it is stored but not acted on.
    pub notes: Vec<String>,
    /// Its partitions.
    pub partitions: Vec<PartitionOf>,
}

/// A partition, as `describe` tells it.
#[napi(object)]
#[derive(Debug)]
pub struct PartitionOf {
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

/// A group, its members, and what it has committed.
#[napi(object)]
#[derive(Debug)]
pub struct GroupDetailsOf {
    /// Its id.
    pub group: String,
    /// `Empty`, `Stable`, `Reconciling` or `Recovering`.
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// Its members, by id.
    pub members: Vec<GroupMemberOf>,
    /// The committed offsets.
    pub offsets: Vec<OffsetOf>,
}

/// A member of a group.
#[napi(object)]
#[derive(Debug)]
pub struct GroupMemberOf {
    /// Its id.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_name: String,
    /// Where it is.
    pub host: Option<String>,
    /// The generation that it was told last.
    pub generation: i32,
    /// What it holds.
    pub partitions: Vec<PartitionName>,
}

/// How a client is.
#[napi(object)]
#[derive(Debug)]
pub struct HealthOf {
    /// Whether all of it can work.
    pub is_healthy: bool,
    /// Why it cannot.
    pub reason: Option<String>,
    /// Whether it was closed.
    pub is_closed: bool,
    /// What it is connected to.
    pub address: String,
    /// Whether it is.
    pub is_connected: bool,
    /// For how long, or for how long not.
    pub since_ms: i64,
    /// Why it is not connected.
    pub last_error: Option<ErrorOf>,
    /// Its consumers in groups.
    pub members: Vec<MemberHealthOf>,
    /// Bytes that are not acknowledged.
    pub buffered_bytes: i64,
    /// Records that are not acknowledged.
    pub buffered_records: i64,
    /// How long the oldest of them has been waiting.
    pub oldest_unsent_ms: Option<i64>,
}

/// How a consumer is as a member of its group.
#[napi(object)]
#[derive(Debug)]
pub struct MemberHealthOf {
    /// The group.
    pub group: String,
    /// Its id there.
    pub member_id: String,
    /// The group's generation.
    pub generation: i32,
    /// `joining`, `stable` or `lost`.
    pub state: String,
    /// How many partitions it holds.
    pub partitions: i64,
    /// How long ago a heartbeat was answered.
    pub last_heartbeat_ms: Option<i64>,
    /// What is wrong with it.
    pub reason: Option<String>,
}

/// Where a record went.
#[napi(object)]
#[derive(Debug)]
pub struct SentOf {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// In ms since 1970.
    pub timestamp: i64,
    /// The level reached.
    pub durability: String,
}

/// A group, as it is listed.
#[napi(object)]
#[derive(Debug)]
pub struct GroupOf {
    /// Its id.
    pub group: String,
    /// As in [`GroupDetailsOf`].
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// The ids of its members.
    pub members: Vec<String>,
    /// The committed offsets.
    pub offsets: Vec<OffsetOf>,
}

/// An error as plain fields; JavaScript makes a `HeadwaterError` of it.
#[napi(object)]
#[derive(Debug)]
pub struct ErrorOf {
    /// The stable code.
    pub code: String,
    /// The text for people.
    pub message: String,
    /// `not_done` or `unknown`.
    pub outcome: String,
}

/// What closing left undone.
#[napi(object)]
#[derive(Debug)]
pub struct ReportOf {
    /// Records still on their way at the deadline.
    pub unsent_records: i64,
    /// Records that failed and that nobody was told about.
    pub failed_records: i64,
    /// The first failure.
    pub first_error: Option<ErrorOf>,
}

/// Records that failed although nobody was waiting for them.
#[napi(object)]
#[derive(Debug)]
pub struct FailureOf {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// How many records.
    pub records: i64,
    /// Why.
    pub error: ErrorOf,
}

/// An offset as JavaScript can hold it.
pub(crate) fn safe(offset: i64) -> Result<i64> {
    if offset.abs() <= SAFE_INTEGER_MAX {
        return Ok(offset);
    }
    Err(Error::new(
        ErrorCode::UnsupportedFeature,
        format!("{offset} is beyond 2^53 - 1, which a number of JavaScript cannot hold"),
    ))
}

pub(crate) fn error(error: &Error) -> ErrorOf {
    ErrorOf {
        code: error.code().name().into(),
        message: error.message().into(),
        outcome: error.outcome().name().into(),
    }
}

pub(crate) fn report(report: CloseReport) -> ReportOf {
    ReportOf {
        unsent_records: report.unsent_records.cast_signed(),
        failed_records: report.failed_records.cast_signed(),
        first_error: report.first_error.as_ref().map(error),
    }
}

pub(crate) fn failure(failure: &DeliveryFailure) -> FailureOf {
    FailureOf {
        topic: failure.topic.to_string(),
        partition: failure.partition,
        records: failure.records.cast_signed(),
        error: error(&failure.error),
    }
}

pub(crate) fn topic(topic: TopicDescription) -> Result<TopicOf> {
    Ok(TopicOf {
        name: topic.name,
        uuid: uuid(topic.uuid),
        config: topic
            .config
            .into_iter()
            .map(|(name, value)| vec![name, value])
            .collect(),
        notes: topic.notes,
        partitions: topic
            .partitions
            .iter()
            .map(partition)
            .collect::<Result<_>>()?,
    })
}

pub(crate) fn group(group: GroupDescription) -> Result<GroupOf> {
    Ok(GroupOf {
        group: group.group,
        state: group.state,
        generation: group.generation,
        members: group.members,
        offsets: offsets(group.offsets)?,
    })
}

pub(crate) fn details(group: GroupDetails) -> Result<GroupDetailsOf> {
    Ok(GroupDetailsOf {
        group: group.group,
        state: group.state,
        generation: group.generation,
        members: group.members.into_iter().map(member).collect(),
        offsets: offsets(group.offsets)?,
    })
}

fn member(member: GroupMember) -> GroupMemberOf {
    let held = member.partitions.into_iter().flat_map(|held| {
        let topic = held.topic;
        let partitions = held.partitions.into_iter();
        partitions.map(move |partition| PartitionName {
            topic: topic.clone(),
            partition,
        })
    });
    GroupMemberOf {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_name: member.client_name,
        host: member.host,
        generation: member.generation,
        partitions: held.collect(),
    }
}

pub(crate) fn health(health: Health) -> HealthOf {
    HealthOf {
        is_healthy: health.is_healthy,
        reason: health.reason,
        is_closed: health.is_closed,
        address: health.address,
        is_connected: health.is_connected,
        since_ms: health.since_ms.cast_signed(),
        last_error: health.last_error.as_ref().map(error),
        members: health.members.into_iter().map(member_health).collect(),
        buffered_bytes: health.buffered_bytes.cast_signed(),
        buffered_records: health.buffered_records.cast_signed(),
        oldest_unsent_ms: health.oldest_unsent_ms.map(u64::cast_signed),
    }
}

fn member_health(member: MemberHealth) -> MemberHealthOf {
    MemberHealthOf {
        group: member.group,
        member_id: member.member_id,
        generation: member.generation,
        state: member.state.name().into(),
        partitions: member.partitions.cast_signed(),
        last_heartbeat_ms: member.last_heartbeat_ms.map(u64::cast_signed),
        reason: member.reason,
    }
}

pub(crate) fn sent(sent: Vec<RecordMetadata>) -> Result<Vec<SentOf>> {
    let of = |at: RecordMetadata| {
        Ok(SentOf {
            topic: at.topic.to_string(),
            partition: at.partition,
            offset: safe(at.offset)?,
            timestamp: safe(at.timestamp_ms)?,
            durability: at.durability.name().into(),
        })
    };
    sent.into_iter().map(of).collect()
}

pub(crate) fn offsets(offsets: Vec<PartitionOffset>) -> Result<Vec<OffsetOf>> {
    let of = |at: PartitionOffset| {
        Ok(OffsetOf {
            topic: at.topic,
            partition: at.partition,
            offset: safe(at.offset)?,
        })
    };
    offsets.into_iter().map(of).collect()
}

pub(crate) fn to_core(offsets: Vec<OffsetOf>) -> Vec<PartitionOffset> {
    let of = |at: OffsetOf| PartitionOffset {
        topic: at.topic,
        partition: at.partition,
        offset: at.offset,
    };
    offsets.into_iter().map(of).collect()
}

pub(crate) fn lags(lags: Vec<PartitionLag>) -> Result<Vec<LagOf>> {
    let of = |at: PartitionLag| {
        Ok(LagOf {
            topic: at.topic,
            partition: at.partition,
            position: safe(at.position)?,
            committed: at.committed.map(safe).transpose()?,
            high_watermark: safe(at.high_watermark)?,
            lag: safe(at.lag)?,
        })
    };
    lags.into_iter().map(of).collect()
}

pub(crate) fn partitions(partitions: Vec<TopicPartition>) -> Vec<PartitionName> {
    let of = |at: TopicPartition| PartitionName {
        topic: at.topic.to_string(),
        partition: at.partition,
    };
    partitions.into_iter().map(of).collect()
}

pub(crate) fn partitions_to_core(partitions: Vec<PartitionName>) -> Vec<TopicPartition> {
    let of = |at: PartitionName| TopicPartition {
        topic: at.topic.into(),
        partition: at.partition,
    };
    partitions.into_iter().map(of).collect()
}

fn partition(partition: &PartitionDescription) -> Result<PartitionOf> {
    Ok(PartitionOf {
        partition: partition.partition,
        log_start_offset: safe(partition.log_start_offset)?,
        high_watermark: safe(partition.high_watermark)?,
        log_end_offset: safe(partition.log_end_offset)?,
        leader_epoch: partition.leader_epoch,
        size_bytes: safe(i64::try_from(partition.size_bytes).unwrap_or(i64::MAX))?,
    })
}

/// The usual form: 8-4-4-4-12 hexadecimal digits.
fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
