//! Who may commit: a member, in its generations, for what it holds; by hand, while nobody is a member.

use std::time::Instant;

use super::coordinator::Coordinator;
use super::member::Member;
use super::reconcile;
use super::roster::away;
use super::state::Group;
use super::{Lifetime, MemberId, errors};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::TopicPartition;

#[cfg(test)]
use super::mutant::{self, Mutant};
#[cfg(any(test, feature = "simulation"))]
use super::removed::Removal;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

impl Coordinator {
    /// Whether this member may commit offsets for these partitions, naming this generation; with no member
    /// (and so none of a generation), whether a commit by hand counts.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, with the reason where it is known; `FENCED_INSTANCE_ID`; `ILLEGAL_GENERATION` when
    /// the generation is none of the member's, or it does not hold a partition; `NON_EMPTY_GROUP` for a
    /// commit by hand; `COORDINATOR_LOAD_IN_PROGRESS` while the group waits for its members after a restart.
    pub fn check_commit<'a>(
        &self,
        now: Instant,
        group: &str,
        member: Option<(&str, i32)>,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<()> {
        #[cfg(any(test, feature = "simulation"))]
        if simulated::has(Bug::CommitUnfenced) {
            return Ok(());
        }
        let Some((id, generation)) = member else {
            return self.check_empty(group);
        };
        let id = MemberId::from(id);
        if let Some(result) = self.classic.check_member(group, &id, generation) {
            return result;
        }
        let Some(found) = self.group(group) else {
            return Err(self.unknown(group, &id, now));
        };
        match found.members.get(&id) {
            Some(member) if member.is_away => Err(away(member).error(group, &id, now)),
            Some(member) => found.check_commit(member, generation, partitions),
            None if found.is_missing(&id) => Err(errors::recovering(group, found.missing_count())),
            #[cfg(any(test, feature = "simulation"))]
            None if simulated::has(Bug::InstanceUnfenced) && self.is_replaced(group, &id) => Ok(()),
            None => Err(self.unknown(group, &id, now)),
        }
    }

    #[cfg(any(test, feature = "simulation"))]
    fn is_replaced(&self, group: &str, id: &MemberId) -> bool {
        let removal = self.removal(group, id);
        matches!(removal, Some(Removal::Replaced { .. }))
    }

    /// Whether the group has no members, and waits for none.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP`, `COORDINATOR_LOAD_IN_PROGRESS`.
    pub fn check_empty(&self, group: &str) -> Result<()> {
        self.classic.check_empty(group)?;
        let Some(found) = self.group(group) else {
            return Ok(());
        };
        if let Some(member) = found.members.keys().next() {
            return Err(errors::non_empty(group, member, found.members.len()));
        }
        match found.missing_count() {
            0 => Ok(()),
            missing => Err(errors::recovering(group, missing)),
        }
    }

    /// Whether a member of the group reads this topic.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` for members of which that cannot be told (of a classic group that is none of consumers);
    /// `COORDINATOR_LOAD_IN_PROGRESS` while the group waits for its members after a restart: what they read
    /// is not known.
    pub fn is_read(&self, group: &str, topic: &str) -> Result<bool> {
        if let Some(is_read) = self.classic.is_read(group, topic) {
            return is_read;
        }
        let Some(found) = self.group(group) else {
            return Ok(false);
        };
        if found
            .members
            .values()
            .any(|member| member.topics.contains(topic))
        {
            return Ok(true);
        }
        match found.missing_count() {
            0 => Ok(false),
            missing => Err(errors::recovering(group, missing)),
        }
    }

    fn unknown(&self, group: &str, id: &MemberId, now: Instant) -> Error {
        let removal = self.removal(group, id);
        removal.map_or_else(
            || errors::unknown_member(group, id),
            |removal| removal.error(group, id, now),
        )
    }
}

impl Group {
    fn is_missing(&self, id: &MemberId) -> bool {
        let recovery = self.recovery.as_ref();
        recovery.is_some_and(|recovery| recovery.missing.contains(id))
    }

    fn missing_count(&self) -> usize {
        let recovery = self.recovery.as_ref();
        recovery.map_or(0, |recovery| recovery.missing.len())
    }

    fn check_commit<'a>(
        &self,
        member: &Member,
        generation: i32,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> Result<()> {
        // Without heartbeats a member never learns of another generation than the one it joined in.
        let is_exclusive = member.lifetime == Lifetime::Exclusive;
        if !self.is_generation_of(member, generation) {
            return Err(errors::other_generation(self, member, generation));
        }
        if is_exclusive {
            return Ok(());
        }
        for partition in partitions {
            if !self.may_commit(member, generation, partition) {
                return Err(Error::new(
                    ErrorCode::IllegalGeneration,
                    format!(
                        "member `{}` of group `{}` does not hold partition {} of topic `{}` in \
                         generation {generation}",
                        member.id, self.id, partition.partition, partition.topic
                    ),
                ));
            }
        }
        Ok(())
    }

    fn may_commit(&self, member: &Member, generation: i32, partition: &TopicPartition) -> bool {
        #[cfg(test)]
        if mutant::is(Mutant::CommitUnowned) {
            return true;
        }
        // What it held once, lost, and holds again it names in the later generation.
        let held = member.held.get(partition);
        held.is_some_and(|held| {
            held.granted <= generation && (!held.is_void || reconcile::keeps_void())
        })
    }
}
