//! FindCoordinator: the coordinator of every group is here. Transactions have none.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::answer::Answer;
use super::api::Request;
use super::context::{Context, NODE_ID};
use super::error::{self, Failure, code};
use super::wire::Malformed;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// The first version that asks for many at once.
const VERSION_BATCHED: i16 = 4;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let mut keys = Vec::new();
    if version < VERSION_BATCHED {
        keys.push(fields.string("key")?);
    }
    let key_type = if version >= 1 {
        fields.i8("key_type")?
    } else {
        GROUP
    };
    if version >= VERSION_BATCHED {
        keys = fields.array("coordinator_keys", |fields| fields.string("key"))?;
    }
    fields.end()?;
    let failure = match key_type {
        GROUP => None,
        TRANSACTION => Some(Failure::no_transactions()),
        other => Some(Failure::new(
            code::INVALID_REQUEST,
            format!("there are no coordinators of type {other}; 0 is a group's"),
        )),
    };
    let coordinators = keys
        .iter()
        .map(|key| coordinator(context, key, failure.as_ref()));
    let mut response = FindCoordinatorResponse::default();
    if version >= VERSION_BATCHED {
        response.coordinators = coordinators.collect();
    } else if let Some(coordinator) = { coordinators }.next() {
        response.error_code = coordinator.error_code;
        response.node_id = coordinator.node_id;
        response.host = coordinator.host;
        response.port = coordinator.port;
        if version >= 1 {
            response.error_message = coordinator.error_message;
        }
    }
    Ok(Answer::now(&response, version))
}

fn coordinator(context: &Context, key: &str, failure: Option<&Failure>) -> Coordinator {
    let found = Coordinator::default().with_key(StrBytes::from_string(key.to_owned()));
    match failure {
        Some(failure) => found
            .with_error_code(failure.code)
            .with_error_message(Some(failure.message.clone().into()))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
        None => found
            .with_error_code(error::NONE)
            .with_node_id(BrokerId(NODE_ID))
            .with_host(context.node().host.clone().into())
            .with_port(i32::from(context.node().port)),
    }
}
