//! What can be asked of a log: the vocabulary of the service, in process and on the wire.
//!
//! Encoded with postcard. Enums are append-only: a variant's place and a struct's fields never change;
//! what is new goes to the end. Record batches are not in here: they travel raw, behind the header.

use serde::{Deserialize, Serialize};

use crate::ids::Durability;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Nothing; answered with `Done`. Keeps a connection alive.
    Ping,
    /// Creates a topic. Answered with `Done`.
    CreateTopic {
        /// Its name.
        name: String,
        /// What it is to be like; names as in the options' table.
        config: Vec<(String, String)>,
        /// Whether a topic of that name is no error.
        exist_ok: bool,
    },
    /// Deletes a topic. Answered with `Done`.
    DeleteTopic {
        /// Its name.
        name: String,
    },
    /// Changes options of a topic. Answered with `Done`.
    AlterTopic {
        /// Its name.
        name: String,
        /// The options to set.
        config: Vec<(String, String)>,
    },
    /// All topics. Answered with `Topics`.
    ListTopics,
    /// Some topics by name. Answered with `Topics`; a name that is unknown fails the request.
    DescribeTopics {
        /// Their names.
        names: Vec<String>,
    },
    /// A producer id of one's own. Answered with `Producer`.
    InitProducer,
    /// Appends one record batch, which travels behind the header. Answered with `Produced`.
    Produce {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
        /// The level the acknowledgement waits for; none: the topic's.
        durability: Option<Durability>,
    },
    /// An offset by its meaning. Answered with `Offsets`, in the order asked.
    ListOffsets {
        /// What is asked.
        queries: Vec<OffsetQuery>,
    },
    /// Joins a group as its only member. Answered with `Joined`.
    JoinGroup {
        /// The group's id.
        group: String,
        /// The topics to consume.
        topics: Vec<String>,
    },
    /// Leaves a group. Answered with `Done`.
    LeaveGroup {
        /// The group's id.
        group: String,
        /// The member that leaves.
        member: Member,
    },
    /// Commits offsets: each is the offset of the next record to read. Answered with `Done`.
    CommitOffsets {
        /// The group's id.
        group: String,
        /// The member that commits; none: by hand, allowed while the group has no member.
        member: Option<Member>,
        /// The offsets.
        offsets: Vec<PartitionOffset>,
    },
    /// The offsets a group has committed. Answered with `Group`.
    DescribeGroup {
        /// The group's id.
        group: String,
    },
    /// All groups. Answered with `Groups`.
    ListGroups,
    /// Forgets a group without members. Answered with `Done`.
    DeleteGroup {
        /// The group's id.
        group: String,
    },
    /// Deletes the records before these offsets (-1: the high watermark), in all the partitions or in none.
    /// Answered with `Offsets`: the first offset held then, in the order asked. From version 2 on.
    DeleteRecords {
        /// For each partition the first offset that stays.
        before: Vec<PartitionOffset>,
    },
    /// Appends record batches and commits offsets of a group: all of it, or nothing. The batches travel one
    /// behind the other, behind the header. The answer waits for the highest level among the topics named.
    /// Answered with `ProducedAll`. From version 2 on.
    ProduceAndCommit {
        /// The batches, in order; a partition may come several times.
        batches: Vec<SetBatch>,
        /// The group's id.
        group: String,
        /// The member that commits; none: by hand, allowed while the group has no member.
        member: Option<Member>,
        /// The offsets, as for `CommitOffsets`.
        offsets: Vec<PartitionOffset>,
    },
    /// Joins a group, stays in it, or leaves it. Answered with `GroupHeartbeat`, when there is news for the
    /// member, and else after its `heartbeat_ms`. From version 3 on.
    GroupHeartbeat(GroupHeartbeat),
    /// A group, its members and what they hold. Answered with `GroupDetails`. From version 3 on.
    DescribeGroupDetails {
        /// The group's id.
        group: String,
    },
}

impl Request {
    /// The first version of the protocol that knows it.
    #[must_use]
    pub const fn version_min(&self) -> u16 {
        match self {
            Self::DeleteRecords { .. } | Self::ProduceAndCommit { .. } => 2,
            Self::GroupHeartbeat(_) | Self::DescribeGroupDetails { .. } => 3,
            _ => 1,
        }
    }
}

/// One of several record batches that travel together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBatch {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Bytes of the batch.
    pub size_bytes: u32,
}

/// A member of a group, as the coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The id given at joining.
    pub id: String,
    /// The generation it joined.
    pub generation: i32,
}

/// What a member of a group says of itself, again and again: one at a time, and the next one at once when
/// it was answered, or when it has let go of partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupHeartbeat {
    /// The group's id.
    pub group: String,
    /// The member's id: chosen by the client (a uuid), and used for one membership alone.
    pub member_id: String,
    /// The generation that it knows from the last answer; 0: it joins; -1: it leaves; -2: a static member
    /// goes away for a moment, and comes back under another member id.
    pub generation: i32,
    /// The name that a static member keeps over restarts.
    pub instance_id: Option<String>,
    /// What it calls itself, for people.
    pub client_name: String,
    /// The topics it subscribed to, whether they exist or not.
    pub topics: Vec<String>,
    /// How it wants partitions dealt out: `sticky`, `range` or `round_robin`.
    pub assignor: String,
    /// Silent for so long it is removed.
    pub session_timeout_ms: u32,
    /// Given so long to let go of partitions.
    pub rebalance_timeout_ms: u32,
    /// How long the answer may take without news; less than `session_timeout_ms`.
    pub heartbeat_ms: u32,
    /// The partitions it holds, also those that it is about to let go of.
    pub owned: Vec<TopicPartitions>,
}

/// Some partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPartitions {
    /// The topic's name.
    pub topic: String,
    /// The partitions' numbers.
    pub partitions: Vec<i32>,
}

/// Asks for one offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetQuery {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Which offset.
    pub at: OffsetAt,
}

/// An offset by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffsetAt {
    /// The first that is held.
    Earliest,
    /// The high watermark: the next that a reader would see.
    Latest,
    /// The first whose timestamp is this or later (ms since 1970, UTC); the high watermark if none is.
    Time(i64),
}

/// An offset in a partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Where a reader stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPosition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the next record it reads.
    pub offset: i64,
    /// The leader epoch of the record before that, by which it is told when that record is not in the log
    /// any more; -1: it does not know.
    pub last_epoch: i32,
}

impl From<PartitionOffset> for FetchPosition {
    fn from(start: PartitionOffset) -> Self {
        Self {
            topic: start.topic,
            partition: start.partition,
            offset: start.offset,
            last_epoch: -1,
        }
    }
}

impl From<FetchPosition> for PartitionOffset {
    fn from(position: FetchPosition) -> Self {
        Self {
            topic: position.topic,
            partition: position.partition,
            offset: position.offset,
        }
    }
}

/// The same as [`Subscribe`], by a reader that knows the leader epochs of what it has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeAt {
    /// Where to start reading; a topic's partition appears once.
    pub positions: Vec<FetchPosition>,
    /// As in [`Subscribe`].
    pub credit_bytes: u64,
}

impl From<Subscribe> for SubscribeAt {
    fn from(subscribe: Subscribe) -> Self {
        let partitions = subscribe.partitions.into_iter();
        Self {
            positions: partitions.map(FetchPosition::from).collect(),
            credit_bytes: subscribe.credit_bytes,
        }
    }
}

impl From<SubscribeAt> for Subscribe {
    fn from(subscribe: SubscribeAt) -> Self {
        let positions = subscribe.positions.into_iter();
        Self {
            partitions: positions.map(PartitionOffset::from).collect(),
            credit_bytes: subscribe.credit_bytes,
        }
    }
}

/// Opens a stream of record batches, pushed as they become readable, while there is credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Where to start reading; a topic's partition appears once.
    pub partitions: Vec<PartitionOffset>,
    /// How many bytes may be pushed before more credit is given. A batch larger than what is left is
    /// still pushed when nothing else is outstanding.
    pub credit_bytes: u64,
}
