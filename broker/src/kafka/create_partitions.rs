//! CreatePartitions: more partitions for a topic that is there.

use bytes::Bytes;
use headwater::protocol::request::Request as NativeRequest;
use headwater::protocol::response::Response;
use headwater::service::Run;
use headwater::{Completion, Pending};
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsResponse, TopicName};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::create_topics::{check_replicas, too_many_new};
use super::error::{Failure, code};
use super::once::each_once;
use super::topic_options;
use super::wire::{Malformed, Reader};

/// A topic, and how many partitions it is to have.
#[derive(Debug)]
struct Wanted {
    name: String,
    count: i32,
    /// The brokers of each partition that is new, if they are assigned by hand.
    assignments: Option<Vec<Vec<i32>>>,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let wanted = fields.array("topics", read_topic)?;
    fields.i32("timeout_ms")?;
    let validate_only = fields.bool("validate_only")?;
    fields.end()?;
    let refusal = too_many_new(wanted.iter().map(|topic| topic.new_partitions(context)));
    let grown = each_once(
        &wanted,
        |topic| &topic.name,
        |topic| match &refusal {
            Some(refusal) => Err(refusal.clone()),
            None => grow(context, topic, validate_only),
        },
    );
    Ok(Answer::later(async move {
        let mut results = Vec::with_capacity(grown.len());
        for (name, grown) in grown {
            let failure = match grown {
                Ok(Some(pending)) => pending
                    .await
                    .err()
                    .map(|error| topic_options::failure(&error)),
                Ok(None) => None,
                Err(failure) => Some(failure),
            };
            let mut result =
                CreatePartitionsTopicResult::default().with_name(TopicName(name.into()));
            if let Some(failure) = failure {
                result.error_code = failure.code;
                result.error_message = Some(failure.message.into());
            }
            results.push(result);
        }
        let response = CreatePartitionsResponse::default().with_results(results);
        Reply::of(&response, version)
    }))
}

fn read_topic(fields: &mut Reader<'_>) -> Result<Wanted, Malformed> {
    let name = fields.string("name")?.to_owned();
    let count = fields.i32("count")?;
    let assignments = fields.nullable_array("assignments", |fields| {
        let brokers = fields.array("broker_ids", |fields| fields.i32("broker_id"))?;
        fields.tags()?;
        Ok(brokers)
    })?;
    fields.tags()?;
    Ok(Wanted {
        name,
        count,
        assignments,
    })
}

impl Wanted {
    /// How many partitions more a topic is to have.
    fn new_partitions(&self, context: &Context) -> usize {
        let topic = context.service().topic(&self.name);
        let there = topic.map_or(0, |topic| topic.partitions.len());
        usize::try_from(self.count).map_or(0, |count| count.saturating_sub(there))
    }
}

/// Asks for the partitions, or only whether they could be had.
fn grow(
    context: &Context,
    wanted: &Wanted,
    validate_only: bool,
) -> Result<Option<Pending<Response>>, Failure> {
    let name = &wanted.name;
    let Some(topic) = context.service().topic(name) else {
        let message = format!("topic `{}` does not exist", name.escape_debug());
        return Err(Failure::new(code::UNKNOWN_TOPIC_OR_PARTITION, message));
    };
    let there = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if wanted.count <= there {
        return Err(Failure::new(
            code::INVALID_PARTITIONS,
            format!(
                "topic `{name}` has {there} partitions; {} would not be more",
                wanted.count
            ),
        ));
    }
    if let Some(assignments) = &wanted.assignments {
        let new = wanted.count.saturating_sub(there).unsigned_abs() as usize;
        if assignments.len() != new {
            return Err(Failure::new(
                code::INVALID_REPLICA_ASSIGNMENT,
                format!(
                    "{new} partitions are new, and {} are assigned",
                    assignments.len()
                ),
            ));
        }
        for (number, brokers) in (there..).zip(assignments) {
            check_replicas(number, brokers)?;
        }
    }
    let config = vec![("partitions".to_owned(), wanted.count.to_string())];
    let checked = context.service().check_alteration(name, &config);
    checked.map_err(|error| topic_options::failure(&error))?;
    if validate_only {
        return Ok(None);
    }
    let (completion, pending) = Completion::pair();
    let name = name.clone();
    let request = NativeRequest::AlterTopic { name, config };
    let session = context.session();
    session.submit(request, Bytes::new(), Run::Io, completion);
    Ok(Some(pending))
}
