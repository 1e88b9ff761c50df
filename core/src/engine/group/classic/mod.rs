//! Groups whose members share out partitions among themselves: Kafka's classic protocol.
//!
//! The coordinator knows who is a member and of which generation, and carries bytes: what each member says of
//! itself (its protocols) to one of them, the leader, and what the leader decides (the assignments) to all.
//!
//! ```text
//!  Empty --join--> Preparing --all joined, or time is over--> Completing --leader syncs--> Stable
//!    ^                 ^  ^                                       |                          |
//!    |                 |  +------ a member comes, goes, changes --+--------------------------+
//!    +-- all gone -----+
//! ```
//!
//! - A generation is told to nobody before the log has it, with the ids of its members, so none is used twice.
//! - What members say and are assigned is not in the log. After a restart the members that it lists are waited
//!   for: they are told that a rebalance is going on, may still commit in their generation, and join again under
//!   the ids they have. So a restart loses nobody's progress, and costs one rebalance. Kafka keeps assignments
//!   in its log and spares that; here they would be the larger part of what a group writes.
//! - A static member that comes back takes its place over, in the same generation, and its old id is fenced.
//! - A lost connection removes nobody, unless it is one that joined without ever being told its id.
//! - A group of this kind and one of heartbeats (KIP-848) may follow each other under one id, with the same
//!   committed offsets; while one has members, the other is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{MemberId, Output};
use crate::error::Result;

mod commit;
mod describe;
mod errors;
mod group;
mod groups;
mod join;
mod leave;
mod member;
mod protocols;
mod recovery;
pub(crate) mod subscription;
mod sync;
mod time;

pub use describe::{ClassicMemberView, ClassicView};
pub(super) use groups::Groups;

/// What stands before the ids of these members where the log lists them; others may not begin with it.
pub const LISTED_PREFIX: &str = "classic/";

/// How long a group that begins waits for more members, unless it is told otherwise: long enough for those that
/// start at the same moment.
pub const INITIAL_DELAY: Duration = Duration::from_millis(50);

/// A way to share out partitions, and what a member says for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// What the leader is to know of the member; its own buffer, not a part of a larger one.
    pub metadata: Bytes,
}

/// A member joins, or joins again.
#[derive(Clone, Debug)]
pub struct Join {
    /// Names the answer; the caller's, unique among those not answered yet.
    pub ticket: u64,
    /// The session it came through.
    pub session: u64,
    /// The group's id.
    pub group: String,
    /// The member's id; empty for one that has none yet.
    pub member_id: String,
    /// The id that it gets if it has none: nobody's yet.
    pub new_id: MemberId,
    /// Whether it must come a second time with the id that it was given (KIP-394).
    pub must_know_id: bool,
    /// Whether it can be told that it leads and has nothing to assign (KIP-814).
    pub can_skip_assignment: bool,
    /// The name that a static member keeps over restarts.
    pub instance_id: Option<Arc<str>>,
    /// What it calls itself, for people.
    pub client_name: String,
    /// Where it is, for people; empty where unknown.
    pub host: String,
    /// Silent for so long it is removed.
    pub session_timeout: Duration,
    /// Given so long to join again, and to sync.
    pub rebalance_timeout: Duration,
    /// What its protocols are for: `consumer` for consumers.
    pub protocol_type: Arc<str>,
    /// Its protocols, the one it likes best first.
    pub protocols: Vec<Protocol>,
}

/// What one who joins is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// To join again, with this id.
    IdRequired(MemberId),
    /// The generation that it is a member of.
    Generation(Generation),
}

/// A generation, as one of its members is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The member.
    pub member_id: MemberId,
    /// Its number.
    pub generation: i32,
    /// What its protocol is for.
    pub protocol_type: Arc<str>,
    /// The protocol that all of its members have.
    pub protocol: Arc<str>,
    /// Who decides.
    pub leader: MemberId,
    /// Whether the leader has nothing to decide: the assignment stays.
    pub skip_assignment: bool,
    /// For the leader: all members.
    pub members: Vec<Joiner>,
}

/// A member, as the leader is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    /// Its id.
    pub member_id: MemberId,
    /// The name of a static member.
    pub instance_id: Option<Arc<str>>,
    /// What it says for the protocol.
    pub metadata: Bytes,
}

/// Who speaks, and of which generation.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// The group's id.
    pub group: String,
    /// The member's id.
    pub member_id: MemberId,
    /// The name of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation that it knows.
    pub generation: i32,
}

/// A member wants to know its assignment; the leader brings all of them.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Names the answer; the caller's, unique among those not answered yet.
    pub ticket: u64,
    /// The session it came through.
    pub session: u64,
    /// The member.
    pub speaker: Speaker,
    /// What it takes the protocol to be for, if it says so.
    pub protocol_type: Option<String>,
    /// What it takes the protocol to be, if it says so.
    pub protocol: Option<String>,
    /// From the leader: what each member is assigned; buffers of their own.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What the protocol is for.
    pub protocol_type: Arc<str>,
    /// The protocol.
    pub protocol: Arc<str>,
    /// What the leader decided; empty if it did not speak of the member.
    pub assignment: Bytes,
}

/// Members leave, or are removed.
#[derive(Clone, Debug)]
pub struct Leave {
    /// The session it came through.
    pub session: u64,
    /// The group's id.
    pub group: String,
    /// Who.
    pub members: Vec<Leaver>,
}

/// One that leaves: by its id, by its instance id, or by both.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// The member's id; empty for a static member whose id is not known.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<Arc<str>>,
}

/// Who joined and waits, or synced and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parked {
    ticket: u64,
    session: u64,
}

/// What an input is handled with.
struct Turn<'a> {
    now: std::time::Instant,
    initial_delay: Duration,
    /// The number of the next write.
    next_write: &'a mut u64,
    outputs: &'a mut Vec<Output>,
}

impl Turn<'_> {
    fn joined(&mut self, parked: Parked, result: Result<Joined>) {
        let ticket = parked.ticket;
        self.outputs.push(Output::Joined { ticket, result });
    }

    fn synced(&mut self, parked: Parked, result: Result<Synced>) {
        let ticket = parked.ticket;
        self.outputs.push(Output::Synced { ticket, result });
    }
}

#[cfg(test)]
mod tests;
