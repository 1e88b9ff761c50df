//! The log as a Raft log, judged by others: openraft's own suite for storages, and a group of three that runs
//! on it while the power goes.
//!
//! - `store`: the log as openraft wants it; `machine`: a state that remembers what was applied
//! - `suite`: openraft's suite, on a disk and on faulty storage
//! - `group`, `network`, `node`: the group; `run`: what happens to it, and what has to hold
//!
//! openraft counts indexes and terms from 0, the log from 1: what is between them adds or takes one. There is
//! one leader a term (`leader_id_std`), so the term is all that an entry says of its leader.

mod group;
mod machine;
mod network;
mod node;
mod run;
mod store;
mod suite;

use std::fmt;

use bytes::Bytes;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::impls::leader_id_std;

openraft::declare_raft_types!(
    /// What openraft is to work with.
    pub(crate) Types:
        D = Records,
        R = (),
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

type Entry = EntryOf<Types>;
type LogId = LogIdOf<Types>;
type Vote = VoteOf<Types>;
type Membership = openraft::Membership<u64, openraft::BasicNode>;
type StoredMembership = openraft::alias::StoredMembershipOf<Types>;

const LOG_UUID: [u8; 16] = *b"headwater-group!";
const DIR: &str = "0000";

/// A record batch: what a client asks the group to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Records(Bytes);

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of records", self.0.len())
    }
}
