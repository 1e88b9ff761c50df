//! A member of a group, as the member knows it: what it says in heartbeats and what it makes of the answers.
//!
//! A state machine without clock, randomness or transport; ids come from the caller. The coordinator assigns
//! (`engine/group`); a heartbeat is a long poll, and the next follows each answer at once.
//!
//! ```text
//! joining --answer--> member --a partition is missing--> lets go: reads it no more, commits it --> a heartbeat
//!    ^                   |                                                                         without it
//!    +-- a new id -------+-- it is a member no more: all is lost
//! ```
//!
//! - What is let go of stays owned until the caller has [`released`](Membership::released) it, so that nobody
//!   else reads it meanwhile.
//! - Answers count in the order of their heartbeats; one that was overtaken says nothing new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::client::retry::passes;
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::TopicPartition;
use crate::protocol::request::{GroupHeartbeat, Member, PartitionOffset, TopicPartitions};
use crate::protocol::response::GroupAssignment;

/// The generation of who joins, and of who leaves for good.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
/// That of a static member that goes away for a moment.
const AWAY: i32 = -2;

/// What a member says of itself, whatever happens.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    pub(super) group: String,
    /// The name that a static member keeps.
    pub(super) instance_id: Option<String>,
    pub(super) client_name: String,
    pub(super) topics: Vec<String>,
    /// By its name in the options' table.
    pub(super) assignor: String,
    pub(super) session_timeout_ms: u32,
    pub(super) rebalance_timeout_ms: u32,
    pub(super) heartbeat_ms: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Membership {
    introduction: Introduction,
    member_id: String,
    generation: i32,
    owned: BTreeMap<TopicPartition, Holding>,
    last_grant: u64,
    /// Whether it was told to be a member, under this id or another.
    has_been_in: bool,
    /// The number of the last heartbeat, and of the last whose answer was taken.
    last_sent: u64,
    last_taken: u64,
    failed_attempts: u32,
}

/// Something that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holding {
    grant: u64,
    /// Whether it is about to be let go of.
    is_revoked: bool,
}

/// A partition that is held since it was given this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// The partition, with the group's committed offset at that time (-1: none).
    pub(super) offset: PartitionOffset,
    /// Another number each time that it is given.
    pub(super) grant: u64,
}

/// What an answer means.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// Nothing: it was overtaken.
    None,
    /// What is held changes as this says, perhaps not at all.
    Assigned(Changes),
    /// No answer this time; the next attempt is to come after a pause.
    Later {
        /// Attempts that failed since the last that did not.
        failed_attempts: u32,
    },
    /// It is a member no more; all that it held is lost. It may join again.
    Lost(Vec<TopicPartition>, Error),
    /// It cannot be a member.
    Refused(Vec<TopicPartition>, Error),
}

/// How what is held changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// To be read from now on.
    pub(super) added: Vec<Granted>,
    /// To be read no more, committed, and released.
    pub(super) revoked: Vec<TopicPartition>,
    /// Were to be let go of, and are not any more.
    pub(super) kept: Vec<Granted>,
}

impl Membership {
    /// One that is to join under this id, which nobody has used before. Heartbeats up to `last_number` were those
    /// of memberships before it.
    pub(super) const fn new(
        introduction: Introduction,
        member_id: String,
        last_number: u64,
    ) -> Self {
        Self {
            introduction,
            member_id,
            generation: JOINING,
            owned: BTreeMap::new(),
            // Above all of the memberships before: each of them was given nothing before its first heartbeat.
            last_grant: last_number << 32,
            has_been_in: false,
            last_sent: last_number,
            last_taken: last_number,
            failed_attempts: 0,
        }
    }

    /// What commits name; none before it is in a generation.
    pub(super) fn member(&self) -> Option<Member> {
        (self.generation > JOINING).then(|| Member {
            id: self.member_id.clone(),
            generation: self.generation,
        })
    }

    pub(super) fn member_id(&self) -> &str {
        &self.member_id
    }

    /// As it was told last; 0 while it joins.
    pub(super) const fn generation(&self) -> i32 {
        self.generation
    }

    /// Whether it holds this since that time, and is not about to let go of it.
    pub(super) fn holds(&self, topic: &Arc<str>, partition: i32, grant: u64) -> bool {
        let wanted = TopicPartition {
            topic: Arc::clone(topic),
            partition,
        };
        let holding = Holding {
            grant,
            is_revoked: false,
        };
        self.owned.get(&wanted) == Some(&holding)
    }

    /// How many it holds and is not about to let go of.
    pub(super) fn held_count(&self) -> usize {
        self.owned.values().filter(|it| !it.is_revoked).count()
    }

    /// What it is about to let go of.
    pub(super) fn revoked(&self) -> Vec<TopicPartition> {
        let revoked = self.owned.iter().filter(|(_, it)| it.is_revoked);
        revoked.map(|(partition, _)| partition.clone()).collect()
    }

    /// The next heartbeat and its number.
    pub(super) fn heartbeat(&mut self) -> (u64, GroupHeartbeat) {
        self.last_sent += 1;
        (self.last_sent, self.says(self.generation))
    }

    /// Whether the heartbeat of this number is the last that was sent.
    pub(super) const fn is_last(&self, number: u64) -> bool {
        self.last_sent == number
    }

    /// What it says when it leaves; a static member is expected back until its session times out.
    pub(super) fn farewell(&self) -> GroupHeartbeat {
        match self.introduction.instance_id {
            Some(_) => self.says(AWAY),
            None => self.says(LEAVING),
        }
    }

    fn says(&self, generation: i32) -> GroupHeartbeat {
        let Introduction {
            group,
            instance_id,
            client_name,
            topics,
            assignor,
            session_timeout_ms,
            rebalance_timeout_ms,
            heartbeat_ms,
        } = self.introduction.clone();
        let mut owned = Vec::<TopicPartitions>::new();
        for TopicPartition { topic, partition } in self.owned.keys() {
            match owned.last_mut() {
                Some(last) if last.topic == **topic => last.partitions.push(*partition),
                _ => owned.push(TopicPartitions {
                    topic: topic.to_string(),
                    partitions: vec![*partition],
                }),
            }
        }
        GroupHeartbeat {
            group,
            member_id: self.member_id.clone(),
            generation,
            instance_id,
            client_name,
            topics,
            assignor,
            session_timeout_ms,
            rebalance_timeout_ms,
            heartbeat_ms,
            owned,
        }
    }

    /// The answer to the heartbeat of this number has come, or will not.
    pub(super) fn answered(&mut self, number: u64, answer: Result<GroupAssignment>) -> News {
        if number <= self.last_taken {
            return News::None;
        }
        match answer {
            Ok(told) => self.take(number, told),
            Err(error) if passes(&error) || !self.is_the_groups(&error) => {
                if !self.is_last(number) {
                    return News::None;
                }
                self.failed_attempts = self.failed_attempts.saturating_add(1);
                News::Later {
                    failed_attempts: self.failed_attempts,
                }
            }
            Err(error) => {
                self.last_taken = self.last_sent;
                let lost = std::mem::take(&mut self.owned).into_keys().collect();
                self.generation = JOINING;
                match error.kind() {
                    ErrorKind::Fenced if error.code() != ErrorCode::FencedInstanceId => {
                        News::Lost(lost, error)
                    }
                    _ => News::Refused(lost, error),
                }
            }
        }
    }

    fn take(&mut self, number: u64, told: GroupAssignment) -> News {
        if told.member_id != self.member_id || told.generation < self.generation {
            return News::None;
        }
        self.last_taken = number;
        self.failed_attempts = 0;
        self.generation = told.generation;
        self.has_been_in |= told.generation > JOINING;
        let mut changes = Changes::default();
        let mut allowed = BTreeSet::new();
        for assigned in told.assignment {
            let partition = TopicPartition {
                topic: Arc::from(assigned.topic.as_str()),
                partition: assigned.partition,
            };
            let next = self.last_grant + 1;
            let holding = self.owned.entry(partition.clone()).or_insert(Holding {
                grant: next,
                is_revoked: false,
            });
            let granted = Granted {
                offset: assigned,
                grant: holding.grant,
            };
            if holding.grant == next {
                self.last_grant = next;
                changes.added.push(granted);
            } else if std::mem::take(&mut holding.is_revoked) {
                changes.kept.push(granted);
            }
            allowed.insert(partition);
        }
        for (partition, holding) in &mut self.owned {
            if !allowed.contains(partition) && !holding.is_revoked {
                holding.is_revoked = true;
                changes.revoked.push(partition.clone());
            }
        }
        News::Assigned(changes)
    }

    /// These are not held any more. True if the coordinator is to be told.
    pub(super) fn released(&mut self, partitions: &[TopicPartition]) -> bool {
        let before = self.owned.len();
        for partition in partitions {
            if self.owned.get(partition).is_some_and(|it| it.is_revoked) {
                self.owned.remove(partition);
            }
        }
        self.owned.len() < before
    }

    /// Whether an error says something about the membership, and not about the log or the way to it: those may
    /// be others by the next heartbeat. Who was in once comes back when there is room.
    fn is_the_groups(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::Closed | ErrorKind::Storage | ErrorKind::Corrupt | ErrorKind::Internal => {
                false
            }
            ErrorKind::Full => !self.has_been_in,
            _ => error.code() != ErrorCode::InconsistentClusterId,
        }
    }

    /// Begins anew under this id, which nobody has used before. Answers to what was said under the old one
    /// do not concern it.
    pub(super) fn begin_anew(&mut self, member_id: String) {
        self.member_id = member_id;
        self.generation = JOINING;
        self.owned.clear();
        self.last_taken = self.last_sent;
        self.failed_attempts = 0;
    }
}

#[cfg(test)]
mod tests;
