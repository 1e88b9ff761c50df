//! LeaveGroup: members leave, or are removed by an administrator, by id or by instance id.

use headwater::engine::group::classic::{Leave, Leaver};
use kafka_protocol::messages::LeaveGroupResponse;
use kafka_protocol::messages::leave_group_response::MemberResponse;

use super::answer::Answer;
use super::api::Request;
use super::context::Context;
use super::error;
use super::groups::{code_of, instance_id, text};
use super::wire::Malformed;

/// The first version that speaks of many.
const VERSION_BATCHED: i16 = 3;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let leave = read(request)?;
    let members = leave.members.clone();
    let response = match context.session().leave_classic(leave) {
        Ok(left) => reply(version, &members, &left),
        Err(error) => LeaveGroupResponse::default().with_error_code(code_of(&error)),
    };
    Ok(Answer::now(&response, version))
}

fn read(request: &mut Request<'_>) -> Result<Leave, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let group = fields.string("group_id")?.to_owned();
    let members = if version < VERSION_BATCHED {
        vec![Leaver {
            member_id: fields.string("member_id")?.to_owned(),
            instance_id: None,
        }]
    } else {
        fields.array("members", |fields| {
            let member_id = fields.string("member_id")?.to_owned();
            let instance_id = instance_id(fields, true)?;
            if version >= 5 {
                let reason = fields.nullable_string("reason")?;
                if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
                    tracing::debug!(group, member_id, reason, "a member leaves");
                }
            }
            fields.tags()?;
            Ok(Leaver {
                member_id,
                instance_id,
            })
        })?
    };
    fields.end()?;
    Ok(Leave {
        session: 0,
        group,
        members,
    })
}

fn reply(version: i16, members: &[Leaver], left: &[headwater::Result<()>]) -> LeaveGroupResponse {
    let codes = left.iter().map(|left| match left {
        Ok(()) => error::NONE,
        Err(error) => code_of(error),
    });
    if version < VERSION_BATCHED {
        let error_code = { codes }.next().unwrap_or(error::NONE);
        return LeaveGroupResponse::default().with_error_code(error_code);
    }
    let members = members.iter().zip(codes).map(|(member, error_code)| {
        let instance = member.instance_id.as_deref().map(text);
        MemberResponse::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(instance)
            .with_error_code(error_code)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
