//! What a log answers. Encoded with postcard; append-only, as the requests are.

use serde::{Deserialize, Serialize};

use crate::ids::Durability;
use crate::protocol::request::{Member, PartitionOffset};

/// One answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It is done; there is nothing to say.
    Done,
    /// Topics, sorted by name.
    Topics(Vec<TopicDescription>),
    /// A producer id.
    Producer {
        /// The id.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i16,
    },
    /// A record batch was appended.
    Produced(ProduceAck),
    /// Offsets, in the order asked.
    Offsets(Vec<i64>),
    /// The caller is the group's member.
    Joined {
        /// What to name in commits.
        member: Member,
        /// Every partition assigned, with its committed offset (-1: none).
        assignment: Vec<PartitionOffset>,
    },
    /// A group.
    Group(GroupDescription),
    /// Groups, sorted by id.
    Groups(Vec<GroupDescription>),
    /// Record batches were appended together, in the order asked. From version 2 on.
    ProducedAll(Vec<ProduceAck>),
}

/// Where a batch went and how safe it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProduceAck {
    /// The offset of the batch's first record.
    pub base_offset: i64,
    /// The append time in ms if the topic stamps it; -1 with `create_time`.
    pub append_time_ms: i64,
    /// The level reached.
    pub durability: Durability,
    /// Whether the batch had been there already (a repeat): the offset is the old one.
    pub is_duplicate: bool,
}

/// A topic and how its partitions stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its uuid, by which a topic of the same name created later differs.
    pub uuid: [u8; 16],
    /// Every option with its value, defaults too, in the table's order.
    pub config: Vec<(String, String)>,
    /// What of the configuration is stored but not acted on, in words.
    pub notes: Vec<String>,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

/// How a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDescription {
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
    pub size_bytes: u64,
}

/// A group and what it has committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// `Empty` or `Stable`.
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// The ids of its members.
    pub members: Vec<String>,
    /// The committed offsets, by topic and partition.
    pub offsets: Vec<PartitionOffset>,
}
