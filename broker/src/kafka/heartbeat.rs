//! Heartbeat: a member lives, and learns whether its group is being rebalanced.

use headwater::engine::group::classic::Speaker;
use kafka_protocol::messages::HeartbeatResponse;

use super::answer::Answer;
use super::api::Request;
use super::context::Context;
use super::error;
use super::groups::{code_of, instance_id, member_id};
use super::wire::Malformed;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
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
    fields.end()?;
    let error_code = match context.session().beat_classic(&speaker) {
        Ok(()) => error::NONE,
        Err(error) => code_of(&error),
    };
    let response = HeartbeatResponse::default().with_error_code(error_code);
    Ok(Answer::now(&response, version))
}
