//! CreateTopics.
//!
//! There is one broker: a replication factor is 1, or left to the broker, and replicas that are assigned by hand are
//! node 0 alone.

use bytes::Bytes;
use headwater::engine::topics::Topic;
use headwater::protocol::request::Request as NativeRequest;
use headwater::protocol::response::Response;
use headwater::service::Run;
use headwater::{Completion, Pending, limits};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsResponse, TopicName};
use uuid::Uuid;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::collisions::Collisions;
use super::context::{Context, NODE_ID};
use super::describe_configs::source;
use super::error::{Failure, code};
use super::once::each_once;
use super::topic_options::{self, OPTIONS, Pair};
use super::wire::{Malformed, Reader};

/// The broker's to say.
const DEFAULT: i32 = -1;

/// A topic as it is asked for.
#[derive(Debug)]
struct Wanted {
    name: String,
    partitions: i32,
    replication_factor: i16,
    /// The partitions of which replicas are assigned by hand, and to whom.
    assignments: Vec<(i32, Vec<i32>)>,
    config: Vec<(String, Option<String>)>,
}

/// What comes of it.
type Created = Result<Option<Pending<Response>>, Failure>;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let wanted = fields.array("topics", read_topic)?;
    fields.i32("timeout_ms")?;
    let validate_only = fields.bool("validate_only")?;
    fields.end()?;
    let collisions = Collisions::with(context, wanted.iter().map(|topic| &*topic.name));
    let partitions = wanted.iter().filter_map(|topic| topic.partitions().ok());
    let refusal = too_many_new(partitions);
    let created = each_once(
        &wanted,
        |topic| &topic.name,
        |topic| match &refusal {
            Some(refusal) => Err(refusal.clone()),
            None => create(context, topic, &collisions, validate_only),
        },
    );
    let context = context.clone();
    Ok(Answer::later(async move {
        let mut topics = Vec::with_capacity(created.len());
        for (name, created) in created {
            topics.push(result(&context, version, name, created).await);
        }
        let response = CreateTopicsResponse::default().with_topics(topics);
        Reply::of(&response, version)
    }))
}

fn read_topic(fields: &mut Reader<'_>) -> Result<Wanted, Malformed> {
    let name = fields.string("name")?.to_owned();
    let partitions = fields.i32("num_partitions")?;
    let replication_factor = fields.i16("replication_factor")?;
    let assignments = fields.array("assignments", |fields| {
        let partition = fields.i32("partition_index")?;
        let brokers = fields.array("broker_ids", |fields| fields.i32("broker_id"))?;
        fields.tags()?;
        Ok((partition, brokers))
    })?;
    let config = fields.array("configs", |fields| {
        let name = fields.string("name")?.to_owned();
        let value = fields.nullable_string("value")?.map(str::to_owned);
        fields.tags()?;
        Ok((name, value))
    })?;
    fields.tags()?;
    Ok(Wanted {
        name,
        partitions,
        replication_factor,
        assignments,
        config,
    })
}

/// What is said if these partitions are more than one request may make: each takes memory and a place in the log, and a
/// request says how many in four bytes. Those of a topic that are too many by themselves are told so there.
pub(super) fn too_many_new(partitions: impl Iterator<Item = usize>) -> Option<Failure> {
    let max = limits::KAFKA_NEW_PARTITIONS_MAX;
    let of_topic_max = limits::PARTITIONS_PER_TOPIC_MAX as usize;
    let sum: usize = partitions.filter(|count| *count <= of_topic_max).sum();
    (sum > max).then(|| {
        let words = format!("{sum} partitions in one request; at most {max} are made at a time");
        Failure::new(code::POLICY_VIOLATION, words)
    })
}

/// Asks for the topic, or only whether it could be had.
fn create(
    context: &Context,
    wanted: &Wanted,
    collisions: &Collisions,
    validate_only: bool,
) -> Created {
    let mut config = wanted.ours()?;
    config.push(("partitions".to_owned(), wanted.partitions()?.to_string()));
    let checked = context.service().check_new_topic(&wanted.name, &config);
    let checked = checked.and_then(|()| collisions.check(&wanted.name));
    checked.map_err(|error| topic_options::failure(&error))?;
    if validate_only {
        return Ok(None);
    }
    let (completion, pending) = Completion::pair();
    let request = NativeRequest::CreateTopic {
        name: wanted.name.clone(),
        config,
        exist_ok: false,
    };
    let session = context.session();
    session.submit(request, Bytes::new(), Run::Io, completion);
    Ok(Some(pending))
}

impl Wanted {
    fn partitions(&self) -> Result<usize, Failure> {
        if !self.assignments.is_empty() {
            return self.assigned();
        }
        if self.replication_factor != 1 && i32::from(self.replication_factor) != DEFAULT {
            return Err(Failure::new(
                code::INVALID_REPLICATION_FACTOR,
                format!(
                    "the replication factor is {}; there is one broker, so it must be 1, or -1 for the broker's",
                    self.replication_factor
                ),
            ));
        }
        match self.partitions {
            DEFAULT => Ok(1),
            count @ 1.. => Ok(count.unsigned_abs() as usize),
            count => Err(Failure::new(
                code::INVALID_PARTITIONS,
                format!(
                    "{count} partitions; there must be 1 or more, or -1 for the broker's number"
                ),
            )),
        }
    }

    /// How many partitions are assigned by hand.
    fn assigned(&self) -> Result<usize, Failure> {
        if self.partitions != DEFAULT || i32::from(self.replication_factor) != DEFAULT {
            return Err(Failure::new(
                code::INVALID_REQUEST,
                "with assignments the number of partitions and the replication factor must be -1",
            ));
        }
        let mut numbers: Vec<_> = self.assignments.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        if !numbers.iter().copied().eq((0..).take(numbers.len())) {
            return Err(Failure::new(
                code::INVALID_REPLICA_ASSIGNMENT,
                "the assigned partitions must count from 0, each once",
            ));
        }
        for (number, brokers) in &self.assignments {
            check_replicas(*number, brokers)?;
        }
        Ok(numbers.len())
    }

    /// Our options; those that change nothing left out.
    fn ours(&self) -> Result<Vec<Pair>, Failure> {
        let mut ours = Vec::new();
        for (name, value) in &self.config {
            let option = topic_options::option(name)?;
            let Some(value) = value else {
                return Err(topic_options::invalid(format!("{name} has no value")));
            };
            ours.extend(option.ours(value)?);
        }
        Ok(ours)
    }
}

/// Whether these can be a partition's replicas.
///
/// # Errors
/// `INVALID_REPLICA_ASSIGNMENT`.
pub(super) fn check_replicas(partition: i32, brokers: &[i32]) -> Result<(), Failure> {
    if *brokers == [NODE_ID] {
        return Ok(());
    }
    Err(Failure::new(
        code::INVALID_REPLICA_ASSIGNMENT,
        format!(
            "partition {partition} is assigned to brokers {brokers:?}; there is one, number {NODE_ID}"
        ),
    ))
}

async fn result(
    context: &Context,
    version: i16,
    name: String,
    created: Created,
) -> CreatableTopicResult {
    let done = match created {
        Ok(Some(pending)) => pending
            .await
            .map(Some)
            .map_err(|error| topic_options::failure(&error)),
        Ok(None) => Ok(None),
        Err(failure) => Err(failure),
    };
    let topic = context.service().topic(&name);
    let result = CreatableTopicResult::default()
        .with_name(TopicName(name.into()))
        .with_error_message(None);
    match done {
        Ok(Some(_)) => {
            let topic = topic.map(|topic| described(context, version, result.clone(), &topic));
            topic.unwrap_or(result)
        }
        Ok(None) => result,
        Err(failure) => result
            .with_error_code(failure.code)
            .with_error_message(Some(failure.message.into())),
    }
}

fn described(
    context: &Context,
    version: i16,
    mut result: CreatableTopicResult,
    topic: &Topic,
) -> CreatableTopicResult {
    if version >= 7 {
        result.topic_id = Uuid::from_bytes(topic.uuid);
    }
    if version >= 5 {
        let defaults = context.service().topic_defaults();
        let configs = OPTIONS.iter().filter_map(|option| {
            Some(
                CreatableTopicConfigs::default()
                    .with_name(option.name.into())
                    .with_value(Some(option.value(&topic.config)?.into()))
                    .with_config_source(source(option, &topic.config, defaults)),
            )
        });
        result.configs = Some(configs.collect());
        result.num_partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        result.replication_factor = 1;
    }
    result
}
