//! What people see of a group.

use std::sync::Arc;

use super::MemberId;
use super::classic::ClassicView;
use super::coordinator::Coordinator;
use super::state::{Due, Group};
use crate::ids::TopicPartition;

/// How a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// Each partition is with the member that it is for.
    Stable,
    /// Partitions are moving, or a new assignment is on its way.
    Reconciling,
    /// The broker has started, and its members are waited for.
    Recovering,
    /// Members of a classic group join again.
    PreparingRebalance,
    /// The leader of a classic group decides.
    CompletingRebalance,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// The name of the variant.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Stable => "Stable",
            Self::Reconciling => "Reconciling",
            Self::Recovering => "Recovering",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Dead => "Dead",
        }
    }
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// How it stands.
    pub state: GroupState,
    /// Its generation.
    pub generation: i32,
    /// Its members, by id.
    pub members: Vec<MemberView>,
    /// What only groups of the classic protocol have.
    pub classic: Option<ClassicView>,
}

/// A member and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its id.
    pub id: MemberId,
    /// The name of a static member.
    pub instance_id: Option<Arc<str>>,
    /// What it calls itself.
    pub client_name: String,
    /// Where it is; empty where unknown.
    pub host: String,
    /// The generation it was told last; 0 before the first.
    pub generation: i32,
    /// What it holds, also what it is about to let go.
    pub partitions: Vec<TopicPartition>,
}

impl Coordinator {
    /// The group with this id, while it has members or waits for them.
    #[must_use]
    pub fn describe(&self, group: &str) -> Option<GroupView> {
        if let Some(found) = self.classic.describe(group) {
            return Some(found);
        }
        let group = self.group(group)?;
        let members = group.members.values().map(|member| MemberView {
            id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_name: member.client_name.clone(),
            host: member.host.clone(),
            generation: member.known,
            partitions: member.held.keys().cloned().collect(),
        });
        Some(GroupView {
            state: group.state(),
            generation: group.generation,
            members: members.collect(),
            classic: None,
        })
    }
}

impl Group {
    pub(super) fn state(&self) -> GroupState {
        if self.recovery.is_some() {
            return GroupState::Recovering;
        }
        if self.members.is_empty() {
            return GroupState::Empty;
        }
        let is_known = self
            .members
            .values()
            .all(|member| member.known == self.generation);
        let is_settled = self
            .target
            .iter()
            .all(|(partition, id)| self.holders.get(partition) == Some(id))
            && self.holders.len() == self.target.len();
        if is_known && is_settled && self.proposal.is_none() && self.due == Due::Nothing {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }
}
