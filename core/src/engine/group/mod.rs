//! The group coordinator: who is in which group, and who holds which partition right now.
//!
//! A state machine, `(input, now) -> outputs`: it reads no clock, sends nothing and writes nothing. It has the
//! shape of Kafka's newer consumer protocol (KIP-848): the server assigns, members take it up step by step, and
//! one operation, the heartbeat, joins, confirms, asks and leaves.
//!
//! ```text
//! member                       coordinator                        log
//!   | heartbeat(0, ..)              |                               |
//!   |------------------------------>| Persist(generation 7) ------->|
//!   |                               |<------------------ persisted  |
//!   |<------ 7, what it may hold ---|                               |
//!   | heartbeat(7, what it holds)   |                               |
//!   |------------------------------>| answered when there is news, else after heartbeat_ms
//! ```
//!
//! - A generation is one assignment. It is told to nobody before the log has it, so that none is used twice.
//! - A partition has one holder. It gets another when the holder confirmed that it let go (a heartbeat of the
//!   generation that took it away, in which it is not owned any more), or is not a member any more in the
//!   generation that the log has. Only partitions that move stop being read.
//! - Who is silent for too long, or does not let go in time, is removed; for a while it is remembered why.
//! - After a restart the log tells who was a member. They are waited for, and keep what they say they hold.
//!
//! Kafka's classic protocol, in which members share out partitions among themselves, is `classic`.
//!
//! What a committed offset is, and how a group is kept in the log, is `engine/groups.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::ids::TopicPartition;

pub mod assignor;
pub mod classic;
mod commit;
mod coordinator;
mod describe;
mod errors;
mod member;
#[cfg(test)]
mod mutant;
mod reconcile;
mod removed;
mod roster;
mod state;

pub use assignor::Assignor;
pub use coordinator::{Coordinator, RECOVERY_GRACE};
pub use describe::{GroupState, GroupView, MemberView};

/// The generation of a heartbeat that joins.
pub const JOINING: i32 = 0;
/// The generation of a heartbeat that leaves for good.
pub const LEAVING: i32 = -1;
/// The generation of a heartbeat by which a static member goes away for a moment: its place is kept until its
/// session ends. The member id is not used again.
pub const AWAY: i32 = -2;

/// A member's id: chosen by the client, and used for one membership alone.
pub type MemberId = Arc<str>;

/// How long a membership lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It outlives its connection, and the coordinator: the member comes back over another one.
    Own,
    /// It ends with its session, as in the process of the log.
    Session,
    /// The same, and it neither sends heartbeats nor shares its group: a client of before version 3.
    Exclusive,
}

/// What a member says of itself every now and then.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Names the answer; the caller's, unique among those not answered yet.
    pub ticket: u64,
    /// The session it came through.
    pub session: u64,
    /// How long the membership lasts; counts when it joins.
    pub lifetime: Lifetime,
    /// The group's id.
    pub group: String,
    /// The member's id.
    pub member_id: MemberId,
    /// The generation it knows; or [`JOINING`], [`LEAVING`], [`AWAY`].
    pub generation: i32,
    /// The name that a static member keeps over restarts.
    pub instance_id: Option<Arc<str>>,
    /// What it calls itself, for people.
    pub client_name: String,
    /// Where it is, for people; empty where unknown.
    pub host: String,
    /// The topics it subscribed to, whether they exist or not.
    pub topics: BTreeSet<Arc<str>>,
    /// How it wants partitions dealt out.
    pub assignor: Assignor,
    /// Silent for so long it is removed.
    pub session_timeout: Duration,
    /// Given so long to let go of partitions.
    pub rebalance_timeout: Duration,
    /// Answered after so long when there is no news.
    pub heartbeat: Duration,
    /// What it holds, also what it is about to let go.
    pub owned: BTreeSet<TopicPartition>,
}

/// What the coordinator wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A heartbeat is answered.
    Answer {
        /// The heartbeat.
        ticket: u64,
        /// What the member may hold, or why it is none.
        result: Result<Assigned, Error>,
    },
    /// One who joins a classic group is answered.
    Joined {
        /// The join.
        ticket: u64,
        /// Its generation, or why it is in none.
        result: Result<classic::Joined, Error>,
    },
    /// A member of a classic group gets its assignment.
    Synced {
        /// The sync.
        ticket: u64,
        /// The assignment, or why it has none.
        result: Result<classic::Synced, Error>,
    },
    /// The log has to know. To be told by [`Coordinator::persisted`]; one at a time for each group.
    Persist {
        /// Names the write.
        write: u64,
        /// The group's id.
        group: Arc<str>,
        /// The generation.
        generation: i32,
        /// The members that can come back after a restart, in order.
        members: Vec<MemberId>,
    },
}

/// What a member may hold from now on. What it holds beyond that it must let go of, and send a heartbeat
/// without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The group's id.
    pub group: Arc<str>,
    /// The member's id.
    pub member_id: MemberId,
    /// The generation; [`JOINING`] while it is in none yet, and what it said when it leaves.
    pub generation: i32,
    /// The partitions, in order.
    pub partitions: Vec<TopicPartition>,
}

#[cfg(test)]
mod tests;
