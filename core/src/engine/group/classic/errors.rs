//! What a group tells those it does not let in or does not know.

use crate::error::{Error, ErrorCode};
use crate::limits;

pub(super) fn unknown_member(group: &str, member: &str) -> Error {
    super::super::errors::unknown_member(group, member)
}

pub(super) fn fenced(group: &str, instance: &str, member: &str, holder: &str) -> Error {
    super::super::errors::fenced_instance(group, instance, member, holder)
}

pub(super) fn other_generation(group: &str, member: &str, found: i32, generation: i32) -> Error {
    Error::new(
        ErrorCode::IllegalGeneration,
        format!(
            "member `{}` of group `{group}` names generation {found}; the group is at {generation}",
            member.escape_debug()
        ),
    )
}

pub(super) fn rebalancing(group: &str) -> Error {
    Error::new(
        ErrorCode::RebalanceInProgress,
        format!("group `{group}` is being rebalanced; join it again"),
    )
}

pub(super) fn other_kind(group: &str, has: &str, wanted: &str) -> Error {
    Error::new(
        ErrorCode::InconsistentGroupProtocol,
        format!(
            "group `{}` has members of the {has} protocol, and takes none of the {wanted} protocol while it does",
            group.escape_debug()
        ),
    )
}

pub(super) fn settling(group: &str) -> Error {
    Error::new(
        ErrorCode::CoordinatorLoadInProgress,
        format!(
            "group `{}` waits for what its last members left behind; try again",
            group.escape_debug()
        ),
    )
}

pub(super) fn no_common_protocol(group: &str, what: &str) -> Error {
    Error::new(
        ErrorCode::InconsistentGroupProtocol,
        format!("group `{}`: {what}", group.escape_debug()),
    )
}

pub(super) fn group_full(group: &str) -> Error {
    super::super::errors::group_full(group)
}

pub(super) fn too_many_bytes(group: &str) -> Error {
    Error::new(
        ErrorCode::GroupMaxSizeReached,
        format!(
            "what the members of group `{}` say of themselves would have more than {} bytes, or that of all \
             groups more than {}",
            group.escape_debug(),
            limits::CLASSIC_GROUP_BYTES_MAX,
            limits::CLASSIC_BYTES_MAX
        ),
    )
}

pub(super) fn invalid(group: &str, what: &str) -> Error {
    Error::new(
        ErrorCode::InvalidRequest,
        format!("group `{}`: {what}", group.escape_debug()),
    )
}
