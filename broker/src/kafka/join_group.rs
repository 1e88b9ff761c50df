//! JoinGroup: a member joins a group, and is answered when the generation begins.

use std::sync::Arc;

use bytes::Bytes;
use headwater::engine::group::MemberId;
use headwater::engine::group::classic::{Generation, Join, Joined, Protocol};
use headwater::{Completion, Error};
use kafka_protocol::messages::JoinGroupResponse;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::code;
use super::groups::{code_of, instance_id, ms, text, when_there};
use super::wire::Malformed;

/// The first version in which a member must know its id before it is one.
const VERSION_WITH_ID: i16 = 4;
/// The first version in which a leader can be told that it has nothing to assign.
const VERSION_SKIPS: i16 = 9;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let join = read(context, request)?;
    let member_id = join.member_id.clone();
    let (completion, pending) = Completion::pair();
    context.session().join_classic(join, completion);
    Ok(when_there(context, pending, move |joined| {
        reply(version, &member_id, joined)
    }))
}

fn read(context: &Context, request: &mut Request<'_>) -> Result<Join, Malformed> {
    let version = request.version;
    let client_name = request.client_id.unwrap_or_default().to_owned();
    let fields = &mut request.fields;
    let group = fields.string("group_id")?.to_owned();
    let session_timeout = ms(fields.i32("session_timeout_ms")?);
    let mut rebalance_timeout = session_timeout;
    if version >= 1 {
        rebalance_timeout = ms(fields.i32("rebalance_timeout_ms")?);
    }
    let member_id = fields.string("member_id")?.to_owned();
    let instance_id = instance_id(fields, version >= 5)?;
    let protocol_type = Arc::from(fields.string("protocol_type")?);
    let protocols = fields.array("protocols", |fields| {
        let name = Arc::from(fields.string("name")?);
        // A copy: it is kept for as long as the member is one, and the frame is not.
        let metadata = Bytes::copy_from_slice(&fields.bytes("metadata")?);
        fields.tags()?;
        Ok(Protocol { name, metadata })
    })?;
    if version >= 8 {
        let reason = fields.nullable_string("reason")?;
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            tracing::debug!(group, member_id, reason, "a member joins");
        }
    }
    fields.end()?;
    Ok(Join {
        ticket: 0,
        session: 0,
        group,
        member_id,
        new_id: MemberId::from(""),
        must_know_id: version >= VERSION_WITH_ID,
        can_skip_assignment: version >= VERSION_SKIPS,
        instance_id,
        client_name,
        host: context.peer().to_owned(),
        session_timeout,
        rebalance_timeout,
        protocol_type,
        protocols,
    })
}

fn reply(version: i16, member_id: &str, joined: Result<Joined, Error>) -> Reply {
    let response = match joined {
        Ok(Joined::Generation(generation)) => told(version, &generation),
        Ok(Joined::IdRequired(id)) => refused(version, code::MEMBER_ID_REQUIRED, &id),
        Err(error) => refused(version, code_of(&error), member_id),
    };
    Reply::of(&response, version)
}

fn refused(version: i16, error_code: i16, member_id: &str) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error_code)
        .with_generation_id(-1)
        // Null only where it may be.
        .with_protocol_name((version < 7).then(|| text("")))
        .with_member_id(text(member_id))
}

fn told(version: i16, told: &Generation) -> JoinGroupResponse {
    let members = told.members.iter().map(|member| {
        let found = JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_metadata(member.metadata.clone());
        match &member.instance_id {
            Some(instance) if version >= 5 => found.with_group_instance_id(Some(text(instance))),
            _ => found,
        }
    });
    let response = JoinGroupResponse::default()
        .with_generation_id(told.generation)
        .with_protocol_name(Some(text(&told.protocol)))
        .with_leader(text(&told.leader))
        .with_member_id(text(&told.member_id))
        .with_skip_assignment(told.skip_assignment)
        .with_members(members.collect());
    if version >= 7 {
        return response.with_protocol_type(Some(text(&told.protocol_type)));
    }
    response
}
