//! Metadata: which topics there are, and where their partitions are led: here.
//!
//! A topic that is missing is created if the broker creates topics as they are named (`auto_create_topics`) and the
//! client does not ask it to leave that.

use std::collections::{HashMap, HashSet};

use headwater::engine::topic_config::check_topic_name;
use headwater::engine::topics::Topic;
use headwater::limits;
use headwater::protocol::request::Request as NativeRequest;
use headwater::service::Run;
use headwater::{Completion, Error};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::collisions::Collisions;
use super::context::{Context, NODE_ID};
use super::error::{self, code};
use super::operations;
use super::wire::Malformed;

/// librdkafka asks for all topics, in the flexible form, with a count of four bytes where one belongs: the other three
/// are read as the fields behind it, and what it meant for those is left over. Brokers of Kafka's pass over it.
const ALL_SPARE_BYTES: usize = 3;

/// A topic that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Name(String),
    Id([u8; 16]),
}

/// A request, read.
#[derive(Debug)]
struct Asked {
    version: i16,
    /// None: all of them.
    topics: Option<Vec<Wanted>>,
    allow_auto_topic_creation: bool,
    include_cluster_operations: bool,
    include_topic_operations: bool,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let asked = read(request)?;
    let mut missing = if asked.allow_auto_topic_creation {
        missing(context, asked.topics.as_deref().unwrap_or_default())
    } else {
        Vec::new()
    };
    let mut failures = HashMap::new();
    if context.service().creates_topics() {
        let collisions = Collisions::with(context, missing.iter().map(|name| &**name));
        missing.retain(|name| match collisions.check(name) {
            Ok(()) => true,
            Err(error) => {
                failures.insert(name.clone(), error);
                false
            }
        });
    }
    // The others are unknown still, and who asks for them again gets more of them.
    missing.truncate(limits::KAFKA_NEW_PARTITIONS_MAX);
    if missing.is_empty() {
        return Ok(Answer::Now(reply(context, &asked, &failures)));
    }
    // Asked for now, answered when the log has them.
    let creations: Vec<_> = missing
        .into_iter()
        .map(|name| {
            let (completion, pending) = Completion::pair();
            let names = vec![name.clone()];
            let describe = NativeRequest::DescribeTopics { names };
            let session = context.session();
            session.submit(describe, bytes::Bytes::new(), Run::Prompt, completion);
            (name, pending)
        })
        .collect();
    let context = context.clone();
    Ok(Answer::later(async move {
        for (name, pending) in creations {
            if let Err(error) = pending.await {
                failures.insert(name, error);
            }
        }
        reply(&context, &asked, &failures)
    }))
}

fn read(request: &mut Request<'_>) -> Result<Asked, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let mut seen = HashSet::new();
    let topics = fields.nullable_array("topics", |fields| {
        let id = if version >= 10 {
            fields.uuid("topic_id")?
        } else {
            [0; 16]
        };
        let name = if version >= 10 {
            fields.nullable_string("name")?
        } else {
            Some(fields.string("name")?)
        };
        fields.tags()?;
        let wanted = name.map_or(Wanted::Id(id), |name| Wanted::Name(name.to_owned()));
        // Named twice is answered once: an answer is not to be longer than all topics make it.
        Ok(seen.insert(wanted.clone()).then_some(wanted))
    })?;
    let topics = topics.map(|topics| topics.into_iter().flatten().collect::<Vec<_>>());
    // Before there was null, none stood for all.
    let topics = topics.filter(|topics| version > 0 || !topics.is_empty());
    let allow_auto_topic_creation = version < 4 || fields.bool("allow_auto_topic_creation")?;
    let include_cluster_operations =
        (8..=10).contains(&version) && fields.bool("include_cluster_authorized_operations")?;
    let include_topic_operations =
        version >= 8 && fields.bool("include_topic_authorized_operations")?;
    let asks_for_all = request.is_flexible && topics.is_none();
    fields.end_within(if asks_for_all { ALL_SPARE_BYTES } else { 0 })?;
    Ok(Asked {
        version,
        topics,
        allow_auto_topic_creation,
        include_cluster_operations,
        include_topic_operations,
    })
}

/// The names that could be a topic's, and are not yet.
fn missing(context: &Context, wanted: &[Wanted]) -> Vec<String> {
    let names = wanted.iter().filter_map(|wanted| match wanted {
        Wanted::Name(name) => Some(name),
        Wanted::Id(_) => None,
    });
    names
        .filter(|name| check_topic_name(name).is_ok() && context.service().topic(name).is_none())
        .cloned()
        .collect()
}

fn reply(context: &Context, asked: &Asked, failures: &HashMap<String, Error>) -> Reply {
    let topics = match &asked.topics {
        None => {
            let topics = context.service().topics();
            topics
                .iter()
                .map(|topic| found(context, topic, asked))
                .collect()
        }
        Some(wanted) => wanted
            .iter()
            .map(|wanted| look_up(context, asked, wanted, failures))
            .collect(),
    };
    let node = context.node();
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(node.host.clone().into())
        .with_port(i32::from(node.port));
    let mut response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(context.cluster_id()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics);
    if asked.include_cluster_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    Reply::of(&response, asked.version)
}

fn look_up(
    context: &Context,
    asked: &Asked,
    wanted: &Wanted,
    failures: &HashMap<String, Error>,
) -> MetadataResponseTopic {
    let service = context.service();
    let topic = match wanted {
        Wanted::Name(name) => service.topic(name),
        Wanted::Id(id) => service.topic_by_uuid(id),
    };
    match (topic, wanted) {
        (Some(topic), _) => found(context, &topic, asked),
        (None, Wanted::Id(id)) => MetadataResponseTopic::default()
            .with_error_code(code::UNKNOWN_TOPIC_ID)
            // Before it could be null it was empty.
            .with_name((asked.version < 12).then(TopicName::default))
            .with_topic_id(Uuid::from_bytes(*id)),
        (None, Wanted::Name(name)) => {
            let error_code = match (check_topic_name(name), failures.get(name)) {
                (Err(error), _) => error::of(&error),
                (Ok(()), Some(error)) => error::of(error),
                (Ok(()), None) => code::UNKNOWN_TOPIC_OR_PARTITION,
            };
            MetadataResponseTopic::default()
                .with_error_code(error_code)
                .with_name(Some(TopicName(StrBytes::from_string(name.clone()))))
        }
    }
}

fn found(context: &Context, topic: &Topic, asked: &Asked) -> MetadataResponseTopic {
    let leader_epoch = context.service().leader_epoch().0;
    let partitions = topic.partitions.iter().map(|partition| {
        let found = MetadataResponsePartition::default()
            .with_partition_index(partition.number)
            .with_leader_id(BrokerId(NODE_ID))
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)]);
        if asked.version >= 7 {
            return found.with_leader_epoch(leader_epoch);
        }
        found
    });
    let mut found = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(
            topic.name.to_string(),
        ))))
        .with_partitions(partitions.collect());
    if asked.version >= 10 {
        found.topic_id = Uuid::from_bytes(topic.uuid);
    }
    if asked.include_topic_operations {
        found.topic_authorized_operations = operations::TOPIC;
    }
    found
}
