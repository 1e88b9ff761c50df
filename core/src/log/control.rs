//! What the control frames say: one postcard struct per kind and version.
//!
//! The frame's kind tells which struct its payload is. The structs are append-only: a field's place never
//! changes, what is new goes to the end and raises the frame's `version`. Only topic commands carry
//! names; everything else speaks of a partition by its id, which stands in the frame header.
//! A BLANK has no payload.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode, Result};
use crate::limits::CONTROL_BYTES_MAX;

/// The version of a [`DetailedOffsetCommit`]; every other payload of this module is of version 1.
pub const OFFSET_COMMIT_VERSION: u16 = 2;
/// In a [`DetailedOffsetCommit`]: nothing is committed for the partition from here on.
pub const NO_OFFSET: i64 = -1;
/// No leader epoch is known.
pub const NO_LEADER_EPOCH: i32 = -1;

/// TOPIC_CREATE: a topic exists from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicCreate {
    /// Its identity: a topic created again under the same name has another.
    pub uuid: [u8; 16],
    /// Its name.
    pub name: String,
    /// Its options, names as in the options' table.
    pub config: Vec<(String, String)>,
}

/// TOPIC_ALTER: options of a topic change; those not named stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicAlter {
    /// The topic.
    pub uuid: [u8; 16],
    /// The options to set.
    pub config: Vec<(String, String)>,
}

/// TOPIC_DELETE: a topic and its partitions are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDelete {
    /// The topic.
    pub uuid: [u8; 16],
}

/// PARTITION_OPEN: the frame's partition id stands for this partition from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOpen {
    /// The topic.
    pub topic: [u8; 16],
    /// The partition's number within the topic.
    pub partition: i32,
    /// The offset of its first record.
    pub start_offset: i64,
}

/// LOG_START: records of the frame's partition below this offset are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStart {
    /// The new first offset.
    pub offset: i64,
}

/// OFFSET_COMMIT: a group has processed everything below these offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCommit {
    /// The group's id.
    pub group: String,
    /// The generation that commits; -1: by hand, outside of any.
    pub generation: i32,
    /// The offsets.
    pub offsets: Vec<CommittedOffset>,
}

/// One offset of an [`OffsetCommit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: [u8; 16],
    /// The partition's number within the topic.
    pub partition: i32,
    /// The offset of the next record to read.
    pub offset: i64,
}

/// OFFSET_COMMIT, version 2, written only where version 1 cannot say it: offsets with what their readers
/// noted beside them, and offsets that are taken back ([`NO_OFFSET`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailedOffsetCommit {
    /// The offsets.
    pub commit: OffsetCommit,
    /// What belongs to each of them, in their order; those without one have none.
    pub details: Vec<CommitDetails>,
}

/// What a reader noted beside an offset that it committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitDetails {
    /// The leader epoch of the last record before the offset; [`NO_LEADER_EPOCH`] where none is known.
    pub leader_epoch: i32,
    /// The reader's own words; the log knows nothing of them.
    pub metadata: String,
}

impl Default for CommitDetails {
    fn default() -> Self {
        Self {
            leader_epoch: NO_LEADER_EPOCH,
            metadata: String::new(),
        }
    }
}

impl From<OffsetCommit> for DetailedOffsetCommit {
    fn from(commit: OffsetCommit) -> Self {
        Self {
            commit,
            details: Vec::new(),
        }
    }
}

/// GROUP: a group's generation and members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The group's id.
    pub group: String,
    /// Its generation.
    pub generation: i32,
    /// The ids of its members.
    pub members: Vec<String>,
    /// Whether the group and its offsets are gone.
    pub is_deleted: bool,
}

/// PRODUCER_IDS: a block of producer ids is handed out and never again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIds {
    /// The first of the block.
    pub first: i64,
    /// How many.
    pub count: i64,
}

/// PRODUCER_EXPIRE: the frame's partition forgets a producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerExpire {
    /// The producer.
    pub producer_id: i64,
}

/// Where an entry stands in the log of a group of members: its index, and the term of the leader that
/// proposed it. 0, 0 is before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// The term; 0 where none is known.
    pub term: u32,
    /// The index.
    pub index: u64,
}

/// VOTE: what a member of a group has to remember beside its entries. The last one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The term voted in; 0 before the first vote.
    pub term: u32,
    /// The node voted for.
    pub node: u64,
    /// Whether a majority voted for it.
    pub is_committed: bool,
    /// Entries up to here are purged: removed, or to be removed with their segment.
    pub purged: EntryId,
    /// Entries up to here are known to be committed, if not more.
    pub committed: EntryId,
}

/// MEMBERSHIP: who belongs to the group from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The voters; two sets while one replaces the other.
    pub voters: Vec<Vec<u64>>,
    /// Every member, voter or not.
    pub members: Vec<Member>,
}

/// One member of a [`Membership`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub node: u64,
    /// Where it is reached.
    pub address: String,
}

/// The bytes of a control payload.
///
/// # Errors
/// `MessageTooLarge` above `CONTROL_BYTES_MAX`.
pub fn encode<T: Serialize>(payload: &T) -> Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(payload).map_err(|error| {
        Error::new(
            ErrorCode::UnknownServerError,
            format!("a control payload cannot be encoded: {error}"),
        )
    })?;
    if bytes.len() > CONTROL_BYTES_MAX {
        return Err(Error::new(
            ErrorCode::MessageTooLarge,
            format!(
                "a control payload has {} bytes; the limit is {CONTROL_BYTES_MAX}",
                bytes.len()
            ),
        ));
    }
    Ok(bytes)
}

/// The payload of an OFFSET_COMMIT of any version that this one reads; bytes that follow it are a newer
/// version's.
///
/// # Errors
/// `CorruptSegment` if it is not one.
pub fn decode_offset_commit(version: u16, bytes: &[u8]) -> Result<DetailedOffsetCommit> {
    let decoded = if version < OFFSET_COMMIT_VERSION {
        postcard::take_from_bytes(bytes).map(|(commit, _)| OffsetCommit::into(commit))
    } else {
        postcard::take_from_bytes(bytes).map(|(commit, _)| commit)
    };
    decoded.map_err(|error| {
        Error::new(
            ErrorCode::CorruptSegment,
            format!("an OFFSET_COMMIT of version {version} cannot be decoded: {error}"),
        )
    })
}

/// The control payload that `bytes` are, whole.
///
/// # Errors
/// `CorruptSegment` if they are not one, or if bytes follow it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let corrupt = |what: String| Error::new(ErrorCode::CorruptSegment, what);
    let (payload, rest) = postcard::take_from_bytes(bytes)
        .map_err(|error| corrupt(format!("a control payload cannot be decoded: {error}")))?;
    if !rest.is_empty() {
        return Err(corrupt(format!(
            "{} bytes follow a control payload",
            rest.len()
        )));
    }
    Ok(payload)
}
