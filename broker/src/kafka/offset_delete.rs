//! OffsetDelete: what a group has committed for topics that it does not read any more is taken back.

use std::sync::Arc;

use headwater::ids::TopicPartition;
use headwater::service::{EachPartition, Run};
use headwater::{Completion, Error};
use kafka_protocol::messages::OffsetDeleteResponse;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error;
use super::groups::{code_of, topic_name};
use super::wire::Malformed;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let group = fields.string("group_id")?.to_owned();
    let topics = fields.array("topics", |fields| {
        let topic = Arc::<str>::from(fields.string("name")?);
        let partitions = fields.array("partitions", |fields| {
            let partition = fields.i32("partition_index")?;
            fields.tags()?;
            Ok(TopicPartition {
                topic: Arc::clone(&topic),
                partition,
            })
        })?;
        fields.tags()?;
        Ok(partitions)
    })?;
    fields.end()?;
    let all: Vec<_> = topics.iter().flatten().cloned().collect();
    let (completion, pending) = Completion::pair();
    let session = context.session();
    session.forget_offsets(group, &all, Run::Prompt, completion);
    Ok(Answer::later(async move {
        let response = match pending.await {
            Ok(each) => reply(&topics, each),
            Err(error) => refused(&error),
        };
        Reply::of(&response, version)
    }))
}

fn refused(error: &Error) -> OffsetDeleteResponse {
    OffsetDeleteResponse::default().with_error_code(code_of(error))
}

fn reply(topics: &[Vec<TopicPartition>], each: EachPartition) -> OffsetDeleteResponse {
    let mut each = each.into_iter();
    let topics = topics.iter().filter_map(|partitions| {
        let name = topic_name(&partitions.first()?.topic);
        let partitions = partitions.iter().map(|place| {
            let error = each.next().and_then(Result::err);
            OffsetDeleteResponsePartition::default()
                .with_partition_index(place.partition)
                .with_error_code(error.map_or(error::NONE, |error| code_of(&error)))
        });
        let partitions = partitions.collect();
        Some(
            OffsetDeleteResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions),
        )
    });
    let topics = topics.collect();
    OffsetDeleteResponse::default().with_topics(topics)
}
