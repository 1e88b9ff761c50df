//! The coordinator of consumer groups, as far as a group has one member.
//!
//! Generations and offsets are in the log; who is the member right now is here, tied to the session it
//! joined through, and ends with it. A commit counts only from the present member of the present
//! generation, or from nobody's hand while there is no member.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Inner, Run, unknown_partition, unknown_topic};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{Durability, PartitionId};
use crate::limits;
use crate::log::{Appended, Kind, control};
use crate::protocol::request::{Member, PartitionOffset};
use crate::protocol::response::{GroupDescription, Response};

/// Who is in which group right now.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    active: HashMap<String, Active>,
}

#[derive(Debug)]
struct Active {
    member: Member,
    session: u64,
}

impl Inner {
    pub(super) fn join_group(
        self: &Arc<Self>,
        session: u64,
        group: String,
        topics: &[String],
        run: Run,
        completion: Completion<Response>,
    ) {
        let (member, assignment) = match self.admit(session, &group, topics) {
            Ok(admitted) => admitted,
            Err(error) => return completion.finish(Err(error)),
        };
        let change = control::Group {
            group: group.clone(),
            generation: member.generation,
            members: vec![member.id.clone()],
            is_deleted: false,
        };
        let inner = Arc::clone(self);
        let joined = Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
            let answer = match result {
                Ok(_) => Ok(Response::Joined { member, assignment }),
                Err(error) => {
                    inner.dismiss(&group, &member);
                    Err(error)
                }
            };
            completion.complete(answer, wakes);
        });
        self.append_control(Kind::Group, PartitionId(0), &change, None, run, joined);
    }

    /// Makes the session the group's member, before the log knows: the next to ask is refused.
    fn admit(
        &self,
        session: u64,
        group: &str,
        topics: &[String],
    ) -> Result<(Member, Vec<PartitionOffset>)> {
        check_group_id(group)?;
        let mut coordinator = self.coordinator.lock();
        if let Some(active) = coordinator.active.get(group) {
            return Err(Error::new(
                ErrorCode::UnsupportedFeature,
                format!(
                    "group `{group}` has a member already (`{}`); groups of more than one member \
                     are not there yet",
                    active.member.id
                ),
            ));
        }
        let assignment = self.assignment(group, topics)?;
        let generation = {
            let groups = self.state.groups.lock();
            if groups.get(group).is_none() && groups.len() >= limits::GROUPS_MAX {
                return Err(Error::new(
                    ErrorCode::QuotaExceeded,
                    format!(
                        "there are {} groups; no more are allowed",
                        limits::GROUPS_MAX
                    ),
                ));
            }
            groups
                .get(group)
                .map_or(0, |group| group.generation)
                .saturating_add(1)
        };
        let member = Member {
            id: format!("member-{session}-{generation}"),
            generation,
        };
        let active = Active {
            member: member.clone(),
            session,
        };
        coordinator.active.insert(group.to_owned(), active);
        Ok((member, assignment))
    }

    /// Every partition of the topics, each with what the group committed for it.
    fn assignment(&self, group: &str, topics: &[String]) -> Result<Vec<PartitionOffset>> {
        let known = self.state.topics.read();
        let groups = self.state.groups.lock();
        let committed = groups.get(group);
        let mut assignment = Vec::new();
        for name in topics {
            let topic = known.get(name).ok_or_else(|| unknown_topic(name))?;
            for partition in topic.partitions.iter() {
                let key = (topic.uuid, partition.number);
                let offset = committed.and_then(|group| group.offsets.get(&key).copied());
                assignment.push(PartitionOffset {
                    topic: name.clone(),
                    partition: partition.number,
                    offset: offset.unwrap_or(-1),
                });
            }
        }
        Ok(assignment)
    }

    pub(super) fn leave_group(&self, group: &str, member: &Member) -> Result<Response> {
        self.check_member(group, Some(member))?;
        self.dismiss(group, member);
        Ok(Response::Done)
    }

    fn dismiss(&self, group: &str, member: &Member) {
        let mut coordinator = self.coordinator.lock();
        if coordinator
            .active
            .get(group)
            .is_some_and(|active| active.member == *member)
        {
            coordinator.active.remove(group);
        }
    }

    /// A session is gone, and with it its memberships.
    pub(super) fn end_session(&self, session: u64) {
        self.coordinator
            .lock()
            .active
            .retain(|_, active| active.session != session);
    }

    pub(super) fn commit_offsets(
        self: &Arc<Self>,
        group: String,
        member: Option<&Member>,
        offsets: &[PartitionOffset],
        run: Run,
        completion: Completion<Response>,
    ) {
        match self.check_commit(&group, member, offsets) {
            Ok((generation, offsets, level)) => {
                let commit = control::OffsetCommit {
                    group,
                    generation,
                    offsets,
                };
                let done = done(completion);
                self.append_control(
                    Kind::OffsetCommit,
                    PartitionId(0),
                    &commit,
                    Some(level),
                    run,
                    done,
                );
            }
            Err(error) => completion.finish(Err(error)),
        }
    }

    /// What to write for a commit: the generation, the offsets by uuid, and the highest level among the
    /// topics committed.
    pub(super) fn check_commit(
        &self,
        group: &str,
        member: Option<&Member>,
        offsets: &[PartitionOffset],
    ) -> Result<(i32, Vec<control::CommittedOffset>, Durability)> {
        check_group_id(group)?;
        let generation = self.check_member(group, member)?;
        let topics = self.state.topics.read();
        let mut level = Durability::Os;
        let mut committed = Vec::with_capacity(offsets.len());
        for wanted in offsets {
            let topic = topics
                .get(&wanted.topic)
                .ok_or_else(|| unknown_topic(&wanted.topic))?;
            if topic.partition(wanted.partition).is_none() {
                let count = topic.partitions.len();
                return Err(unknown_partition(&topic.name, wanted.partition, count));
            }
            if wanted.offset < 0 {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    format!(
                        "offset {} to commit for topic `{}`, partition {}; it must be 0 or more",
                        wanted.offset, wanted.topic, wanted.partition
                    ),
                ));
            }
            level = level.max(topic.config.durability);
            committed.push(control::CommittedOffset {
                topic: topic.uuid,
                partition: wanted.partition,
                offset: wanted.offset,
            });
        }
        Ok((generation, committed, level.min(self.identity_level())))
    }

    /// The generation that may commit, if this is the one who may.
    fn check_member(&self, group: &str, member: Option<&Member>) -> Result<i32> {
        let coordinator = self.coordinator.lock();
        let active = coordinator.active.get(group).map(|active| &active.member);
        match (active, member) {
            (None, None) => Ok(self
                .state
                .groups
                .lock()
                .get(group)
                .map_or(0, |group| group.generation)),
            (Some(active), Some(member)) if active == member => Ok(member.generation),
            (Some(active), Some(member)) if active.generation > member.generation => {
                Err(Error::new(
                    ErrorCode::IllegalGeneration,
                    format!(
                        "group `{group}` is at generation {}; member `{}` is of generation {}",
                        active.generation, member.id, member.generation
                    ),
                ))
            }
            (_, Some(member)) => Err(Error::new(
                ErrorCode::UnknownMemberId,
                format!(
                    "group `{group}` does not know member `{}`",
                    member.id.escape_debug()
                ),
            )),
            (Some(active), None) => Err(non_empty(group, &active.id)),
        }
    }

    pub(super) fn describe_group(&self, group: &str) -> Result<Response> {
        self.group_description(group)
            .map(Response::Group)
            .ok_or_else(|| unknown_group(group))
    }

    pub(super) fn list_groups(&self) -> Response {
        let ids: Vec<String> = self
            .state
            .groups
            .lock()
            .iter()
            .map(|(id, _)| id.clone())
            .collect();
        Response::Groups(
            ids.iter()
                .filter_map(|id| self.group_description(id))
                .collect(),
        )
    }

    fn group_description(&self, group: &str) -> Option<GroupDescription> {
        let members: Vec<String> = {
            let coordinator = self.coordinator.lock();
            coordinator
                .active
                .get(group)
                .map(|active| active.member.id.clone())
                .into_iter()
                .collect()
        };
        let topics = self.state.topics.read();
        let groups = self.state.groups.lock();
        let found = groups.get(group)?;
        let mut offsets: Vec<PartitionOffset> = found
            .offsets
            .iter()
            .filter_map(|((uuid, partition), offset)| {
                let topic = topics.by_uuid(uuid)?.name.to_string();
                Some(PartitionOffset {
                    topic,
                    partition: *partition,
                    offset: *offset,
                })
            })
            .collect();
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Some(GroupDescription {
            group: group.to_owned(),
            state: if members.is_empty() {
                "Empty"
            } else {
                "Stable"
            }
            .to_owned(),
            generation: found.generation,
            members,
            offsets,
        })
    }

    pub(super) fn delete_group(
        self: &Arc<Self>,
        group: String,
        run: Run,
        completion: Completion<Response>,
    ) {
        let active = {
            let coordinator = self.coordinator.lock();
            coordinator
                .active
                .get(&group)
                .map(|active| active.member.id.clone())
        };
        let generation = self
            .state
            .groups
            .lock()
            .get(&group)
            .map(|group| group.generation);
        match (active, generation) {
            (Some(member), _) => completion.finish(Err(non_empty(&group, &member))),
            (None, None) => completion.finish(Err(unknown_group(&group))),
            (None, Some(generation)) => {
                let members = Vec::new();
                let change = control::Group {
                    group,
                    generation,
                    members,
                    is_deleted: true,
                };
                let done = done(completion);
                self.append_control(Kind::Group, PartitionId(0), &change, None, run, done);
            }
        }
    }
}

/// Answers `Done` when the log has it.
pub(super) fn done(completion: Completion<Response>) -> Completion<Appended> {
    Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
        completion.complete(result.map(|_| Response::Done), wakes);
    })
}

fn check_group_id(group: &str) -> Result<()> {
    let is_plain = !group.chars().any(char::is_control);
    if group.is_empty() || group.len() > limits::NAME_BYTES_MAX || !is_plain {
        return Err(Error::new(
            ErrorCode::InvalidGroupId,
            format!(
                "group id `{}` must have 1 to {} bytes and no control characters",
                group.escape_debug(),
                limits::NAME_BYTES_MAX
            ),
        ));
    }
    Ok(())
}

fn unknown_group(group: &str) -> Error {
    Error::new(
        ErrorCode::GroupIdNotFound,
        format!("group `{}` does not exist", group.escape_debug()),
    )
}

fn non_empty(group: &str, member: &str) -> Error {
    Error::new(
        ErrorCode::NonEmptyGroup,
        format!("group `{group}` has a member, `{member}`; close it first"),
    )
}
