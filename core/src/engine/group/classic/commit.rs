//! Who may commit: a member in its generation; by hand, while the group has none.

use super::group::{Group, Phase};
use super::{Groups, Speaker, errors};
use crate::engine::group::{Coordinator, GroupView, MemberId, errors as native};
use crate::error::{Error, ErrorCode, Result};

#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// The generation of a commit by hand.
const BY_HAND: i32 = -1;

impl Coordinator {
    /// Whether a commit in the classic protocol counts: of a member of this generation; or of nobody, without a
    /// member id and naming generation -1, while the group is empty.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, also for a commit by hand to a group that has members, as Kafka's clients expect it;
    /// `ILLEGAL_GENERATION`, `FENCED_INSTANCE_ID`; `REBALANCE_IN_PROGRESS` while the leader decides;
    /// `COORDINATOR_LOAD_IN_PROGRESS` for a commit by hand while members are waited for after a restart.
    pub fn check_classic_commit(&self, speaker: &Speaker) -> Result<()> {
        #[cfg(any(test, feature = "simulation"))]
        if simulated::has(Bug::CommitUnfenced) {
            return Ok(());
        }
        let is_by_hand = speaker.member_id.is_empty() && speaker.instance_id.is_none();
        if speaker.generation == BY_HAND || (speaker.generation < 0 && is_by_hand) {
            return self.check_empty(&speaker.group).map_err(|error| {
                if error.code() == ErrorCode::NonEmptyGroup {
                    Error::new(ErrorCode::UnknownMemberId, error.message())
                } else {
                    error
                }
            });
        }
        match self.classic.get(&speaker.group) {
            Some(group) => group.check_commit(speaker),
            None => Err(errors::unknown_member(&speaker.group, &speaker.member_id)),
        }
    }
}

impl Groups {
    /// Whether a member may commit in this generation; none if the group is not of this kind.
    pub(in crate::engine::group) fn check_member(
        &self,
        group: &str,
        id: &MemberId,
        generation: i32,
    ) -> Option<Result<()>> {
        let speaker = Speaker {
            group: group.to_owned(),
            member_id: MemberId::clone(id),
            instance_id: None,
            generation,
        };
        Some(self.get(group)?.check_commit(&speaker))
    }

    /// Whether the group has no members of this kind, and waits for none.
    pub(in crate::engine::group) fn check_empty(&self, id: &str) -> Result<()> {
        let Some(group) = self.get(id) else {
            return Ok(());
        };
        if let Some(member) = group.members.keys().next() {
            return Err(native::non_empty(id, member, group.members.len()));
        }
        match &group.recovery {
            Some(recovery) => Err(native::recovering(id, recovery.missing.len())),
            None => Ok(()),
        }
    }

    pub(in crate::engine::group) fn describe(&self, id: &str) -> Option<GroupView> {
        self.get(id).map(Group::describe)
    }
}

impl Group {
    /// Whether a commit of this member counts.
    fn check_commit(&self, speaker: &Speaker) -> Result<()> {
        self.check_speaker(speaker)?;
        // What it holds now it does not know yet, and what it held it has told before it joined.
        if matches!(self.phase, Phase::Completing { .. }) {
            return Err(errors::rebalancing(&self.id));
        }
        Ok(())
    }
}
