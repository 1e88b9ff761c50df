//! What the host gets of groups and of a client's health, and what it sends with a commit.

use headwater::client::{Consumer, Health, MemberHealth, Record, RecordMetadata};
use headwater::record::Header;
use headwater::{GroupDetails, GroupMember, Pending};

use crate::error::ErrorFacts;
use crate::record::{NativePartitionName, NativePlace, places};

/// A group, its members, and what it has committed.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeGroupDetails {
    /// Its id.
    pub group: String,
    /// `Empty`, `Stable`, `Reconciling` or `Recovering`.
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// Its members, by id.
    pub members: Vec<NativeGroupMember>,
    /// The committed offsets.
    pub offsets: Vec<NativePlace>,
}

/// A member of a group.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeGroupMember {
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
    pub partitions: Vec<NativePartitionName>,
}

/// How a client is.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeHealth {
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
    pub last_error: Option<ErrorFacts>,
    /// Its consumers in groups.
    pub members: Vec<NativeMemberHealth>,
    /// Bytes that are not acknowledged.
    pub buffered_bytes: i64,
    /// Records that are not acknowledged.
    pub buffered_records: i64,
    /// How long the oldest of them has been waiting.
    pub oldest_unsent_ms: Option<i64>,
}

/// How a consumer is as a member of its group.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeMemberHealth {
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

/// A record to send with a commit.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeResult {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order.
    pub headers: Vec<NativeHeader>,
    /// In ms since 1970.
    pub timestamp_ms: Option<i64>,
}

/// A header.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeHeader {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// Where a record went.
#[derive(Clone, Debug, uniffi::Record)]
pub struct NativeSent {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// In ms since 1970.
    pub timestamp_ms: i64,
    /// The level reached: 1 os, 2 disk, 3 quorum.
    pub durability: u8,
}

impl From<GroupDetails> for NativeGroupDetails {
    fn from(group: GroupDetails) -> Self {
        Self {
            group: group.group,
            state: group.state,
            generation: group.generation,
            members: group.members.into_iter().map(Into::into).collect(),
            offsets: places(group.offsets),
        }
    }
}

impl From<GroupMember> for NativeGroupMember {
    fn from(member: GroupMember) -> Self {
        let held = member.partitions.into_iter().flat_map(|held| {
            let topic = held.topic;
            let partitions = held.partitions.into_iter();
            partitions.map(move |partition| NativePartitionName {
                topic: topic.clone(),
                partition,
            })
        });
        Self {
            member_id: member.member_id,
            instance_id: member.instance_id,
            client_name: member.client_name,
            host: member.host,
            generation: member.generation,
            partitions: held.collect(),
        }
    }
}

impl From<Health> for NativeHealth {
    fn from(health: Health) -> Self {
        Self {
            is_healthy: health.is_healthy,
            reason: health.reason,
            is_closed: health.is_closed,
            address: health.address,
            is_connected: health.is_connected,
            since_ms: health.since_ms.cast_signed(),
            last_error: health.last_error.as_ref().map(Into::into),
            members: health.members.into_iter().map(Into::into).collect(),
            buffered_bytes: health.buffered_bytes.cast_signed(),
            buffered_records: health.buffered_records.cast_signed(),
            oldest_unsent_ms: health.oldest_unsent_ms.map(u64::cast_signed),
        }
    }
}

impl From<MemberHealth> for NativeMemberHealth {
    fn from(member: MemberHealth) -> Self {
        Self {
            group: member.group,
            member_id: member.member_id,
            generation: member.generation,
            state: member.state.name().into(),
            partitions: member.partitions.cast_signed(),
            last_heartbeat_ms: member.last_heartbeat_ms.map(u64::cast_signed),
            reason: member.reason,
        }
    }
}

pub(crate) fn sent(sent: Vec<RecordMetadata>) -> Vec<NativeSent> {
    let of = |at: RecordMetadata| NativeSent {
        topic: at.topic.to_string(),
        partition: at.partition,
        offset: at.offset,
        timestamp_ms: at.timestamp_ms,
        durability: at.durability.number(),
    };
    sent.into_iter().map(of).collect()
}

/// Hands the results to core, which copies them.
pub(crate) fn commit_with(
    consumer: &Consumer,
    rows: u32,
    results: &[NativeResult],
) -> Pending<Vec<RecordMetadata>> {
    let headers: Vec<Vec<_>> = results
        .iter()
        .map(|result| result.headers.iter().map(header).collect())
        .collect();
    let records = results.iter().zip(&headers).map(|(result, headers)| {
        let record = Record {
            partition: result.partition,
            key: result.key.as_deref(),
            value: result.value.as_deref(),
            headers,
            timestamp_ms: result.timestamp_ms,
        };
        (result.topic.as_str(), record)
    });
    consumer.commit_rows_with(rows, &records.collect::<Vec<_>>())
}

fn header(header: &NativeHeader) -> Header<'_> {
    Header {
        key: &header.key,
        value: header.value.as_deref(),
    }
}
