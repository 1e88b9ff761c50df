//! DescribeGroups: groups and their members. Groups of the native protocol are shown as consumers that were
//! assigned what they hold.

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};
use headwater::engine::group::classic::ClassicMemberView;
use headwater::engine::group::{GroupState, GroupView, MemberView};
use headwater::ids::TopicPartition;
use headwater::limits;
use kafka_protocol::messages::DescribeGroupsResponse;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};

use super::answer::Answer;
use super::api::Request;
use super::context::Context;
use super::error::code;
use super::groups::{group_id, state_name, text};
use super::operations;
use super::wire::Malformed;

/// What the protocols of consumers are for.
pub(super) const CONSUMER: &str = "consumer";

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let groups = fields.array("groups", |fields| fields.string("group_id"))?;
    let with_operations = version >= 3 && fields.bool("include_authorized_operations")?;
    fields.end()?;
    // Named twice is answered once, and what is too much together is to be asked for one by one.
    let mut seen = HashSet::new();
    let groups = groups.into_iter().filter(|id| seen.insert(*id));
    let mut room = limits::KAFKA_GROUPS_ANSWER_BYTES_MAX;
    let groups = groups.map(|id| {
        let group = match context.service().group(id) {
            Some(view) => match room.checked_sub(size_bytes(&view)) {
                Some(left) => {
                    room = left;
                    described(version, &view)
                }
                None => refused(
                    version,
                    code::INVALID_REQUEST,
                    "too much to describe at once",
                ),
            },
            None => {
                let group = DescribedGroup::default();
                let group = group.with_group_state(text(state_name(GroupState::Dead)));
                if version < 6 {
                    group
                } else {
                    refused(version, code::GROUP_ID_NOT_FOUND, "there is no such group")
                }
            }
        };
        let group = group.with_group_id(group_id(id));
        if with_operations {
            return group.with_authorized_operations(operations::GROUP);
        }
        group
    });
    let response = DescribeGroupsResponse::default().with_groups(groups.collect());
    Ok(Answer::now(&response, version))
}

fn refused(version: i16, error_code: i16, what: &str) -> DescribedGroup {
    let group = DescribedGroup::default()
        .with_group_state(text(state_name(GroupState::Dead)))
        .with_error_code(error_code);
    if version >= 6 {
        return group.with_error_message(Some(text(what)));
    }
    group
}

/// Bytes that a group takes in an answer, and more.
fn size_bytes(view: &GroupView) -> usize {
    let members = view.members.iter().map(|member| {
        let partitions = member.partitions.iter();
        let partitions = partitions.map(|it| 4 + it.topic.len()).sum::<usize>();
        size_of::<DescribedGroupMember>() + 4 * limits::NAME_BYTES_MAX + 2 * partitions
    });
    let classic = view.classic.iter().flat_map(|classic| &classic.members);
    let own = classic.map(|member| member.metadata.len() + member.assignment.len());
    members.chain(own).sum()
}

fn described(version: i16, view: &GroupView) -> DescribedGroup {
    let group = DescribedGroup::default().with_group_state(text(state_name(view.state)));
    let Some(classic) = &view.classic else {
        // One that never had members has offsets that somebody committed by hand.
        let protocol_type = if view.generation == 0 && view.members.is_empty() {
            ""
        } else {
            CONSUMER
        };
        let members = view.members.iter().map(|member| {
            let own = member_of_heartbeats(&member.partitions);
            described_member(version, member, own)
        });
        return group
            .with_protocol_type(text(protocol_type))
            .with_members(members.collect());
    };
    let members = view.members.iter().zip(&classic.members);
    let members = members.map(|(member, own)| described_member(version, member, own.clone()));
    group
        .with_protocol_type(text(&classic.protocol_type))
        .with_protocol_data(text(&classic.protocol))
        .with_members(members.collect())
}

fn described_member(
    version: i16,
    member: &MemberView,
    own: ClassicMemberView,
) -> DescribedGroupMember {
    let host = format!("/{}", member.host);
    let found = DescribedGroupMember::default()
        .with_member_id(text(&member.id))
        .with_client_id(text(&member.client_name))
        .with_client_host(text(&host))
        .with_member_metadata(own.metadata)
        .with_member_assignment(own.assignment);
    match &member.instance_id {
        Some(instance) if version >= 4 => found.with_group_instance_id(Some(text(instance))),
        _ => found,
    }
}

/// What a member of the native protocol holds, as a consumer's subscription and assignment of version 0.
fn member_of_heartbeats(partitions: &[TopicPartition]) -> ClassicMemberView {
    let topics = || partitions.chunk_by(|one, next| one.topic == next.topic);
    let (mut metadata, mut assignment) = (BytesMut::new(), BytesMut::new());
    for bytes in [&mut metadata, &mut assignment] {
        bytes.put_i16(0);
        bytes.put_i32(count(topics().count()));
    }
    for partitions in topics() {
        let name = partitions.first().map_or("", |first| &*first.topic);
        for bytes in [&mut metadata, &mut assignment] {
            bytes.put_i16(i16::try_from(name.len()).unwrap_or_default());
            bytes.extend_from_slice(name.as_bytes());
        }
        assignment.put_i32(count(partitions.len()));
        for partition in partitions {
            assignment.put_i32(partition.partition);
        }
    }
    // No data of the user's.
    metadata.put_i32(-1);
    assignment.put_i32(-1);
    ClassicMemberView {
        metadata: Bytes::from(metadata),
        assignment: Bytes::from(assignment),
    }
}

fn count(found: usize) -> i32 {
    i32::try_from(found).unwrap_or(i32::MAX)
}
