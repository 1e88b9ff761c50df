//! DescribeCluster: the one broker there is.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterResponse};

use super::answer::Answer;
use super::api::Request;
use super::context::{Context, NODE_ID};
use super::error::{Failure, code};
use super::operations;
use super::wire::Malformed;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let include_operations = fields.bool("include_cluster_authorized_operations")?;
    let endpoint_type = if version >= 1 {
        fields.i8("endpoint_type")?
    } else {
        BROKERS
    };
    if version >= 2 {
        fields.bool("include_fenced_brokers")?;
    }
    fields.end()?;
    let failure = match endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some(Failure::new(
            code::MISMATCHED_ENDPOINT_TYPE,
            "this is a broker's address, and controllers are asked for",
        )),
        other => Some(Failure::new(
            code::UNSUPPORTED_ENDPOINT_TYPE,
            format!("there are no endpoints of type {other}; 1 is a broker"),
        )),
    };
    if let Some(failure) = failure {
        let response = DescribeClusterResponse::default()
            .with_error_code(failure.code)
            .with_error_message(Some(failure.message.into()));
        return Ok(Answer::now(&response, version));
    }
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(context.node().host.clone().into())
        .with_port(i32::from(context.node().port));
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(context.cluster_id())
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker]);
    if include_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    Ok(Answer::now(&response, version))
}
