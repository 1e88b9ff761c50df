//! What a log answers. Encoded with postcard; append-only, as the requests are.

use serde::{Deserialize, Serialize};

use crate::ids::Durability;
use crate::protocol::request::{Member, PartitionOffset, TopicPartitions};

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
    /// What a member of a group may hold. From version 3 on.
    GroupHeartbeat(GroupAssignment),
    /// A group and its members. From version 3 on.
    GroupDetails(GroupDetails),
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
    /// `Empty`, `Stable`, `Reconciling` or `Recovering`.
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// The ids of its members.
    pub members: Vec<String>,
    /// The committed offsets, by topic and partition.
    pub offsets: Vec<PartitionOffset>,
}

/// What a member of a group may hold from now on. What it holds beyond that it must let go of, commit, and
/// send a heartbeat without it: only then another gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAssignment {
    /// The member's id.
    pub member_id: String,
    /// The generation, to be named from now on; 0: it is in none yet, and joins again; -1 or -2: as it said,
    /// it is a member no more.
    pub generation: i32,
    /// The partitions, each with the group's committed offset (-1: none).
    pub assignment: Vec<PartitionOffset>,
}

/// A group, its members and what they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDetails {
    /// Its id.
    pub group: String,
    /// `Empty`, `Stable`, `Reconciling` (partitions are moving) or `Recovering` (the broker has started, and
    /// waits for the members that the group had).
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// Its members, by id.
    pub members: Vec<GroupMember>,
    /// The committed offsets, by topic and partition.
    pub offsets: Vec<PartitionOffset>,
}

impl From<GroupDescription> for GroupDetails {
    fn from(group: GroupDescription) -> Self {
        let members = group.members.into_iter().map(|member_id| GroupMember {
            member_id,
            instance_id: None,
            client_name: String::new(),
            host: None,
            generation: 0,
            partitions: Vec::new(),
        });
        Self {
            group: group.group,
            state: group.state,
            generation: group.generation,
            members: members.collect(),
            offsets: group.offsets,
        }
    }
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_name: String,
    /// Where it is; none where unknown.
    pub host: Option<String>,
    /// The generation that it was told last; 0 before the first.
    pub generation: i32,
    /// What it holds, by topic; also what it is about to let go of.
    pub partitions: Vec<TopicPartitions>,
}
