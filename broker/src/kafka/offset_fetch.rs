//! OffsetFetch: how far groups came. Nothing is ever unstable here: there are no transactions.

use std::sync::Arc;

use headwater::Error;
use headwater::ids::TopicPartition;
use headwater::service::NotedOffset;
use kafka_protocol::messages::OffsetFetchResponse;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::answer::Answer;
use super::api::Request;
use super::context::Context;
use super::groups::{code_of, group_id, text, topic_name};
use super::wire::{Malformed, Reader};

/// The first version that asks about many groups.
const VERSION_BATCHED: i16 = 8;

/// What is asked about one group: for each topic its partitions, or all that it has committed.
#[derive(Debug)]
struct Asked {
    group: String,
    topics: Option<Vec<Vec<TopicPartition>>>,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let asked = read(request)?;
    let mut response = OffsetFetchResponse::default();
    if version >= VERSION_BATCHED {
        let groups = asked.iter().map(|asked| batched(context, asked));
        response.groups = groups.collect();
    } else if let Some(asked) = asked.first() {
        match look_up(context, asked) {
            Ok(topics) => response.topics = topics.iter().map(|it| single(version, it)).collect(),
            // Before it had a code it had none for this: what is not said is not committed.
            Err(error) if version >= 2 => response.error_code = code_of(&error),
            Err(_) => {}
        }
    }
    Ok(Answer::now(&response, version))
}

fn read(request: &mut Request<'_>) -> Result<Vec<Asked>, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let groups = if version < VERSION_BATCHED {
        let group = fields.string("group_id")?.to_owned();
        let topics = read_topics(fields)?;
        vec![Asked { group, topics }]
    } else {
        fields.array("groups", |fields| {
            let group = fields.string("group_id")?.to_owned();
            if version >= 9 {
                // Of a member of the protocol in which the server assigns, which is not spoken here.
                fields.nullable_string("member_id")?;
                fields.i32("member_epoch")?;
            }
            let topics = read_topics(fields)?;
            fields.tags()?;
            Ok(Asked { group, topics })
        })?
    };
    if version >= 7 {
        fields.bool("require_stable")?;
    }
    fields.end()?;
    Ok(groups)
}

fn read_topics(fields: &mut Reader<'_>) -> Result<Option<Vec<Vec<TopicPartition>>>, Malformed> {
    fields.nullable_array("topics", |fields| {
        let topic = Arc::<str>::from(fields.string("name")?);
        let partitions = fields.array("partition_indexes", |fields| {
            let partition = fields.i32("partition_index")?;
            Ok(TopicPartition {
                topic: Arc::clone(&topic),
                partition,
            })
        })?;
        fields.tags()?;
        Ok(partitions)
    })
}

/// What a group has committed, topic by topic.
fn look_up(context: &Context, asked: &Asked) -> Result<Vec<Vec<NotedOffset>>, Error> {
    let session = context.session();
    let Some(topics) = &asked.topics else {
        let all = session.committed(&asked.group, None)?;
        let topics = all.chunk_by(|one, next| one.topic == next.topic);
        return Ok(topics.map(<[_]>::to_vec).collect());
    };
    let topics = topics.iter().filter(|topic| !topic.is_empty());
    topics
        .map(|topic| session.committed(&asked.group, Some(topic)))
        .collect()
}

fn batched(context: &Context, asked: &Asked) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup::default().with_group_id(group_id(&asked.group));
    let topics = match look_up(context, asked) {
        Ok(topics) => topics,
        Err(error) => return group.with_error_code(code_of(&error)),
    };
    let topics = topics.iter().map(|offsets| {
        let partitions = offsets.iter().map(|offset| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(offset.partition)
                .with_committed_offset(offset.offset)
                .with_committed_leader_epoch(offset.leader_epoch)
                .with_metadata(Some(text(&offset.metadata)))
        });
        OffsetFetchResponseTopics::default()
            .with_name(topic_name(name_of(offsets)))
            .with_partitions(partitions.collect())
    });
    group.with_topics(topics.collect())
}

fn single(version: i16, offsets: &[NotedOffset]) -> OffsetFetchResponseTopic {
    let partitions = offsets.iter().map(|offset| {
        let found = OffsetFetchResponsePartition::default()
            .with_partition_index(offset.partition)
            .with_committed_offset(offset.offset)
            .with_metadata(Some(text(&offset.metadata)));
        if version >= 5 {
            return found.with_committed_leader_epoch(offset.leader_epoch);
        }
        found
    });
    OffsetFetchResponseTopic::default()
        .with_name(topic_name(name_of(offsets)))
        .with_partitions(partitions.collect())
}

fn name_of(offsets: &[NotedOffset]) -> &str {
    offsets.first().map_or("", |offset| &offset.topic)
}
