//! SyncGroup: a member asks for its assignment; the leader brings all of them.

use bytes::Bytes;
use headwater::engine::group::classic::{Speaker, Sync, Synced};
use headwater::{Completion, Error};
use kafka_protocol::messages::SyncGroupResponse;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::groups::{code_of, instance_id, member_id, text, when_there};
use super::wire::Malformed;

/// The first version that names the protocol.
const VERSION_NAMED: i16 = 5;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let sync = read(request)?;
    let (completion, pending) = Completion::pair();
    context.session().sync_classic(sync, completion);
    Ok(when_there(context, pending, move |synced| {
        reply(version, synced)
    }))
}

fn read(request: &mut Request<'_>) -> Result<Sync, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let group = fields.string("group_id")?.to_owned();
    let generation = fields.i32("generation_id")?;
    let speaker = Speaker {
        group,
        member_id: member_id(fields)?,
        instance_id: instance_id(fields, version >= 3)?,
        generation,
    };
    let (mut protocol_type, mut protocol) = (None, None);
    if version >= VERSION_NAMED {
        protocol_type = fields.nullable_string("protocol_type")?.map(str::to_owned);
        protocol = fields.nullable_string("protocol_name")?.map(str::to_owned);
    }
    let assignments = fields.array("assignments", |fields| {
        let id = member_id(fields)?;
        // A copy: it is kept for as long as the generation lasts, and the frame is not.
        let assignment = Bytes::copy_from_slice(&fields.bytes("assignment")?);
        fields.tags()?;
        Ok((id, assignment))
    })?;
    fields.end()?;
    Ok(Sync {
        ticket: 0,
        session: 0,
        speaker,
        protocol_type,
        protocol,
        assignments,
    })
}

fn reply(version: i16, synced: Result<Synced, Error>) -> Reply {
    let response = match synced {
        Ok(synced) => {
            let response = SyncGroupResponse::default().with_assignment(synced.assignment);
            if version >= VERSION_NAMED {
                response
                    .with_protocol_type(Some(text(&synced.protocol_type)))
                    .with_protocol_name(Some(text(&synced.protocol)))
            } else {
                response
            }
        }
        Err(error) => SyncGroupResponse::default().with_error_code(code_of(&error)),
    };
    Reply::of(&response, version)
}
