//! Groups as the log has them: committing, describing, deleting.
//!
//! Whether a commit counts is the coordinator's to say (`membership.rs`): it comes from a member, in its
//! generations and for what it holds, or from nobody's hand while there is no member.

use std::sync::Arc;

use super::{Inner, Run, unknown_partition, unknown_topic};
use crate::completion::{Completion, Wakes};
use crate::engine::group::{Coordinator, GroupState, GroupView};
use crate::engine::groups::Group;
use crate::engine::topics::Topics;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{Durability, TopicPartition};
use crate::limits;
use crate::log::{Appended, control};
use crate::protocol::request::{Member, PartitionOffset, TopicPartitions};
use crate::protocol::response::{GroupDescription, GroupDetails, GroupMember, Response};
use crate::world;

/// Whether a commit of this member counts, or one of nobody.
pub(super) fn may_commit(
    coordinator: &Coordinator,
    group: &str,
    member: Option<&Member>,
    offsets: &[PartitionOffset],
) -> Result<()> {
    let partitions = offsets.iter().map(|offset| TopicPartition {
        topic: Arc::from(offset.topic.as_str()),
        partition: offset.partition,
    });
    let partitions: Vec<_> = partitions.collect();
    let named = member.map(|member| (member.id.as_str(), member.generation));
    coordinator.check_commit(world::now(), group, named, &partitions)
}

impl Inner {
    pub(super) fn commit_offsets(
        self: &Arc<Self>,
        group: String,
        member: Option<&Member>,
        offsets: &[PartitionOffset],
        run: Run,
        completion: Completion<Response>,
    ) {
        match self.check_commit(&group, member, offsets) {
            Ok((generation, committed, level)) => {
                let commit = control::OffsetCommit {
                    group,
                    generation,
                    offsets: committed,
                };
                let group = commit.group.clone();
                let done = Completion::call(move |result: Result<()>, wakes: &mut Wakes| {
                    completion.complete(result.map(|()| Response::Done), wakes);
                });
                self.append_commit(commit.into(), level, run, done, |coordinator| {
                    may_commit(coordinator, &group, member, offsets)
                });
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
        let generation = self.check_member(group, member, offsets)?;
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
        drop(topics);
        let membership = self.membership.lock();
        let mut named = offsets.iter().zip(&committed);
        let other = named.find(|(wanted, it)| !membership.knows(&wanted.topic, &it.topic));
        if let Some((wanted, _)) = other.filter(|_| member.is_some()) {
            // It was deleted and created again just now: what the member has read is of the one before.
            return Err(unknown_topic(&wanted.topic));
        }
        Ok((generation, committed, level.min(self.identity_level())))
    }

    /// The generation that commits, if this is one who may.
    pub(super) fn check_member(
        &self,
        group: &str,
        member: Option<&Member>,
        offsets: &[PartitionOffset],
    ) -> Result<i32> {
        let membership = self.membership.lock();
        may_commit(membership.coordinator(), group, member, offsets)?;
        let by_hand = || self.generation_in_log(group);
        Ok(member.map_or_else(by_hand, |member| member.generation))
    }

    /// The group's generation as the log has it; 0 for a group that it does not know.
    pub(super) fn generation_in_log(&self, group: &str) -> i32 {
        let groups = self.state.groups.lock();
        groups.get(group).map_or(0, |group| group.generation)
    }

    /// Partitions, each with what the group committed for it (-1: nothing).
    pub(super) fn with_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Vec<PartitionOffset> {
        let topics = self.state.topics.read();
        let groups = self.state.groups.lock();
        let group = groups.get(group);
        let committed = |found: &TopicPartition| {
            let topic = topics.get(&found.topic)?;
            let key = (topic.uuid, found.partition);
            group?.offsets.get(&key).map(|committed| committed.offset)
        };
        let partitions = partitions.iter().map(|found| PartitionOffset {
            topic: found.topic.to_string(),
            partition: found.partition,
            offset: committed(found).unwrap_or(-1),
        });
        partitions.collect()
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
        let details = self.group_details(group)?;
        let members = details.members.into_iter();
        Some(GroupDescription {
            group: details.group,
            state: details.state,
            generation: details.generation,
            members: members.map(|member| member.member_id).collect(),
            offsets: details.offsets,
        })
    }

    pub(super) fn describe_group_details(&self, group: &str) -> Result<Response> {
        self.group_details(group)
            .map(Response::GroupDetails)
            .ok_or_else(|| unknown_group(group))
    }

    fn group_details(&self, group: &str) -> Option<GroupDetails> {
        let view = self.membership.lock().coordinator().describe(group);
        let topics = self.state.topics.read();
        let groups = self.state.groups.lock();
        let found = groups.get(group)?;
        let (state, members) = view.map_or_else(
            || (GroupState::Empty, Vec::new()),
            |view| (view.state, members(view)),
        );
        Some(GroupDetails {
            group: group.to_owned(),
            state: state.name().to_owned(),
            generation: found.generation,
            members,
            offsets: offsets(found, &topics),
        })
    }

    pub(super) fn delete_group(
        self: &Arc<Self>,
        group: String,
        run: Run,
        completion: Completion<Response>,
    ) {
        if self.state.groups.lock().get(&group).is_none() {
            return self.answer_once_synced(Err(unknown_group(&group)), completion);
        }
        let change = control::Group {
            generation: self.generation_in_log(&group),
            group,
            members: Vec::new(),
            is_deleted: true,
        };
        self.forget_group(&change, run, done(completion));
    }
}

/// What a group has committed, by topic and partition.
fn offsets(group: &Group, topics: &Topics) -> Vec<PartitionOffset> {
    let offsets = group
        .offsets
        .iter()
        .filter_map(|((uuid, partition), committed)| {
            let topic = topics.by_uuid(uuid)?.name.to_string();
            Some(PartitionOffset {
                topic,
                partition: *partition,
                offset: committed.offset,
            })
        });
    let mut offsets: Vec<_> = offsets.collect();
    offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    offsets
}

fn members(view: GroupView) -> Vec<GroupMember> {
    let members = view.members.into_iter().map(|member| GroupMember {
        member_id: member.id.to_string(),
        instance_id: member.instance_id.map(|instance| instance.to_string()),
        client_name: member.client_name,
        host: Some(member.host).filter(|host| !host.is_empty()),
        generation: member.generation,
        partitions: by_topic(&member.partitions),
    });
    members.collect()
}

/// The same partitions, which are in order, topic by topic.
fn by_topic(partitions: &[TopicPartition]) -> Vec<TopicPartitions> {
    let topics = partitions.chunk_by(|one, next| one.topic == next.topic);
    let topics = topics.filter_map(|partitions| {
        let first = partitions.first()?;
        Some(TopicPartitions {
            topic: first.topic.to_string(),
            partitions: partitions.iter().map(|found| found.partition).collect(),
        })
    });
    topics.collect()
}

/// Answers `Done` when the log has it.
pub(super) fn done(completion: Completion<Response>) -> Completion<Appended> {
    Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
        completion.complete(result.map(|_| Response::Done), wakes);
    })
}

pub(super) fn check_group_id(group: &str) -> Result<()> {
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

pub(super) fn unknown_group(group: &str) -> Error {
    Error::new(
        ErrorCode::GroupIdNotFound,
        format!("group `{}` does not exist", group.escape_debug()),
    )
}
