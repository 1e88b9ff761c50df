//! What people see of a group.

use std::sync::Arc;

use bytes::Bytes;

use super::group::{Group, Phase};
use super::{Groups, subscription};
use crate::engine::group::{Coordinator, GroupState, GroupView, MemberId, MemberView};
use crate::error::Result;
use crate::ids::TopicPartition;

/// A group of the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicView {
    /// What its protocols are for; empty without members.
    pub protocol_type: Arc<str>,
    /// The protocol of its generation; empty before the first.
    pub protocol: Arc<str>,
    /// Its members, in the order of the other view.
    pub members: Vec<ClassicMemberView>,
}

/// What a member of a classic group says, and is assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemberView {
    /// What it says for the group's protocol.
    pub metadata: Bytes,
    /// What the leader decided for it.
    pub assignment: Bytes,
}

impl Group {
    pub(in crate::engine::group) fn describe(&self) -> GroupView {
        let is_stable = self.phase == Phase::Stable;
        let members = self.members.values().map(|member| MemberView {
            id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_name: member.client_name.clone(),
            host: member.host.clone(),
            generation: self.generation,
            partitions: self.partitions_of(&member.id),
        });
        let protocol = if is_stable { &*self.protocol } else { "" };
        let classic = ClassicView {
            protocol_type: Arc::clone(&self.protocol_type),
            protocol: Arc::from(protocol),
            members: self
                .members
                .values()
                .map(|member| ClassicMemberView {
                    metadata: member.metadata(protocol),
                    assignment: member.assignment.clone(),
                })
                .collect(),
        };
        GroupView {
            state: self.state(),
            generation: self.generation,
            members: members.collect(),
            classic: Some(classic),
        }
    }

    fn state(&self) -> GroupState {
        match self.phase {
            _ if self.recovery.is_some() => GroupState::Recovering,
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    /// What a consumer holds: its leader's decision, read as consumers write it.
    fn partitions_of(&self, id: &MemberId) -> Vec<TopicPartition> {
        let member = self.members.get(id);
        let member = member.filter(|_| self.is_of_consumers());
        let partitions = member.and_then(|member| subscription::assigned(&member.assignment));
        partitions.unwrap_or_default()
    }

    fn is_of_consumers(&self) -> bool {
        &*self.protocol_type == subscription::PROTOCOL_TYPE
    }

    /// Whether its members read a topic, as far as that can be told.
    fn reads(&self, topic: &str) -> bool {
        self.members.values().any(|member| {
            let mut protocols = member.protocols.iter();
            protocols.any(|protocol| {
                let topics = subscription::topics(&protocol.metadata);
                topics.is_some_and(|topics| topics.iter().any(|found| found == topic))
            })
        })
    }
}

impl Groups {
    /// Whether a member of the group reads a topic; none if the group is not of this kind.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` for members of which that cannot be told; `COORDINATOR_LOAD_IN_PROGRESS` while members are
    /// waited for after a restart.
    pub(in crate::engine::group) fn is_read(&self, id: &str, topic: &str) -> Option<Result<bool>> {
        let group = self.get(id)?;
        if group.reads(topic) {
            return Some(Ok(true));
        }
        let is_told = group.is_of_consumers() && group.recovery.is_none();
        Some(if is_told {
            Ok(false)
        } else {
            self.check_empty(id).map(|()| false)
        })
    }
}

impl Coordinator {
    /// The groups that have members, or wait for them: how each stands, whether it is one of heartbeats, and what
    /// a classic group's protocols are for.
    pub fn summaries(&self) -> impl Iterator<Item = (&str, GroupState, bool, Arc<str>)> {
        let native = self.groups().map(|(id, group)| {
            let state = group.state();
            (&**id, state, true, Arc::from(""))
        });
        let classic = self.classic.iter().map(|(id, group)| {
            let protocol_type = Arc::clone(&group.protocol_type);
            (&**id, group.state(), false, protocol_type)
        });
        native.chain(classic)
    }
}
