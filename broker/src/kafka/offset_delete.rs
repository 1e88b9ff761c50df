//! OffsetDelete: what a group has committed for topics that it does not read any more is taken back.

use std::sync::Arc;

use headwater::ids::TopicPartition;
use headwater::service::{EachPartition, Run};
use headwater::{Completion, limits};
use kafka_protocol::messages::OffsetDeleteResponse;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{self, code};
use super::groups::{Named, code_of, to_look_up, topic_name};
use super::wire::Malformed;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let group = fields.string("group_id")?.to_owned();
    let mut all = Vec::new();
    let topics = fields.array("topics", |fields| {
        let name = fields.string("name")?;
        let topic = Arc::<str>::from(to_look_up(name));
        let partitions = fields.array("partitions", |fields| {
            let partition = fields.i32("partition_index")?;
            fields.tags()?;
            all.push(TopicPartition {
                topic: Arc::clone(&topic),
                partition,
            });
            Ok(partition)
        })?;
        fields.tags()?;
        Ok((name.to_owned(), partitions))
    })?;
    fields.end()?;
    if all.len() > limits::KAFKA_COMMIT_PARTITIONS_MAX {
        return Ok(Answer::now(&refused(code::INVALID_REQUEST), version));
    }
    let (completion, pending) = Completion::pair();
    let session = context.session();
    session.forget_offsets(group, &all, Run::Prompt, completion);
    Ok(Answer::later(async move {
        let response = match pending.await {
            Ok(each) => reply(&topics, each),
            Err(error) => refused(code_of(&error)),
        };
        Reply::of(&response, version)
    }))
}

fn refused(error_code: i16) -> OffsetDeleteResponse {
    OffsetDeleteResponse::default().with_error_code(error_code)
}

fn reply(topics: &Named, each: EachPartition) -> OffsetDeleteResponse {
    let mut each = each.into_iter();
    let topics = topics.iter().map(|(name, partitions)| {
        let partitions = partitions.iter().map(|partition| {
            let own = each.next().and_then(Result::err);
            OffsetDeleteResponsePartition::default()
                .with_partition_index(*partition)
                .with_error_code(own.map_or(error::NONE, |error| code_of(&error)))
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic_name(name))
    });
    let topics = topics.collect();
    OffsetDeleteResponse::default().with_topics(topics)
}
