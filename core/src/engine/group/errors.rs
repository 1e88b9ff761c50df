//! What a group tells those it does not let in or does not know.

use super::Heartbeat;
use super::member::Member;
use super::state::Group;
use crate::error::{Error, ErrorCode};
use crate::limits;

pub(super) fn unknown_member(group: &str, member: &str) -> Error {
    Error::new(
        ErrorCode::UnknownMemberId,
        format!(
            "group `{}` does not know member `{}`",
            group.escape_debug(),
            member.escape_debug()
        ),
    )
}

pub(super) fn other_generation(group: &Group, member: &Member, found: i32) -> Error {
    let joined = match member.joined {
        Some(first) => format!("it joined in {first}"),
        None => "it is in none yet".to_owned(),
    };
    Error::new(
        ErrorCode::IllegalGeneration,
        format!(
            "member `{}` of group `{}` names generation {found}; {joined}, and the group is at {}",
            member.id.escape_debug(),
            group.id,
            group.generation
        ),
    )
}

pub(super) fn later_generation(group: &Group, member: &str, found: i32) -> Error {
    Error::new(
        ErrorCode::IllegalGeneration,
        format!(
            "member `{}` of group `{}` names generation {found}; the log knows {} and none later",
            member.escape_debug(),
            group.id,
            group.generation
        ),
    )
}

pub(super) fn fenced_instance(group: &str, instance: &str, member: &str, holder: &str) -> Error {
    Error::new(
        ErrorCode::FencedInstanceId,
        format!(
            "instance_id `{}` of group `{group}` belongs to member `{}` now, and not to `{}`",
            instance.escape_debug(),
            holder.escape_debug(),
            member.escape_debug()
        ),
    )
}

pub(super) fn recovering(group: &str, missing: usize) -> Error {
    Error::new(
        ErrorCode::CoordinatorLoadInProgress,
        format!(
            "group `{group}` waits for {missing} members that it had before the broker started; \
             try again when they are back or given up"
        ),
    )
}

pub(super) fn non_empty(group: &str, member: &str, count: usize) -> Error {
    let who = if count == 1 { "a member" } else { "members" };
    Error::new(
        ErrorCode::NonEmptyGroup,
        format!("group `{group}` has {who}, `{member}`; close it first"),
    )
}

pub(super) fn group_full(group: &str) -> Error {
    Error::new(
        ErrorCode::GroupMaxSizeReached,
        format!(
            "group `{group}` has {} members; no more are allowed",
            limits::GROUP_MEMBERS_MAX
        ),
    )
}

pub(super) fn has_member(group: &str, member: &str) -> Error {
    Error::new(
        ErrorCode::UnsupportedFeature,
        format!(
            "group `{group}` has a member already (`{member}`), and members of clients before \
             version 3 of the protocol share no group"
        ),
    )
}

pub(super) fn invalid(heartbeat: &Heartbeat, what: &str) -> Error {
    Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "heartbeat of member `{}` of group `{}`: {what}",
            heartbeat.member_id.escape_debug(),
            heartbeat.group.escape_debug()
        ),
    )
}
