//! OffsetFetch: how far groups came. Nothing is ever unstable here: there are no transactions.
//!
//! What is asked for many times is answered many times, with what was noted beside it; so an answer has a length that
//! it does not go beyond, and what is asked for behind that is an error.

use std::sync::Arc;

use headwater::ids::TopicPartition;
use headwater::limits;
use headwater::service::NotedOffset;
use kafka_protocol::messages::OffsetFetchResponse;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::answer::Answer;
use super::api::Request;
use super::context::Context;
use super::error::code;
use super::groups::{Named, code_of, group_id, text, to_look_up, topic_name};
use super::wire::{Malformed, Reader};

/// The first version with a code for what is wrong with all of it; before, each partition says so.
const VERSION_WITH_CODE: i16 = 2;

/// The first version that asks about many groups.
const VERSION_BATCHED: i16 = 8;

/// Partitions that are looked up at a time.
const AT_A_TIME: usize = 1_000;

/// What is asked about one group: some partitions, or all that it has committed.
#[derive(Debug)]
struct Asked {
    group: String,
    topics: Option<Named>,
}

/// What a group has committed of a topic.
type Found = (String, Vec<NotedOffset>);

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let asked = read(request)?;
    let mut room = limits::KAFKA_GROUPS_ANSWER_BYTES_MAX;
    let mut response = OffsetFetchResponse::default();
    if version >= VERSION_BATCHED {
        let groups = asked
            .iter()
            .map(|asked| batched(asked, look_up(context, asked, &mut room)));
        response.groups = groups.collect();
    } else if let Some(asked) = asked.first() {
        match look_up(context, asked, &mut room) {
            Ok(topics) => response.topics = topics.iter().map(|it| single(version, it)).collect(),
            Err(error_code) if version >= VERSION_WITH_CODE => response.error_code = error_code,
            Err(error_code) => {
                let topics = asked.topics.iter().flatten();
                response.topics = topics.map(|it| refused(it, error_code)).collect();
            }
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

fn read_topics(fields: &mut Reader<'_>) -> Result<Option<Named>, Malformed> {
    fields.nullable_array("topics", |fields| {
        let name = fields.string("name")?.to_owned();
        let partitions =
            fields.array("partition_indexes", |fields| fields.i32("partition_index"))?;
        fields.tags()?;
        Ok((name, partitions))
    })
}

/// What a group has committed, as far as there is room for it in the answer.
fn look_up(context: &Context, asked: &Asked, room: &mut usize) -> Result<Vec<Found>, i16> {
    let session = context.session();
    let Some(topics) = &asked.topics else {
        let all = session.all_committed(&asked.group, *room);
        let all = all.map_err(|error| {
            // Nor is it counted over and over.
            *room = 0;
            code_of(&error)
        })?;
        take_room(room, &all)?;
        let topics = all.chunk_by(|one, next| one.topic == next.topic);
        let topics =
            topics.filter_map(|found| Some((found.first()?.topic.clone(), found.to_vec())));
        return Ok(topics.collect());
    };
    let mut found = Vec::with_capacity(topics.len());
    for (name, partitions) in topics {
        let topic = Arc::<str>::from(to_look_up(name));
        let mut offsets = Vec::new();
        for partitions in partitions.chunks(AT_A_TIME) {
            let places = partitions.iter().map(|partition| TopicPartition {
                topic: Arc::clone(&topic),
                partition: *partition,
            });
            let places: Vec<_> = places.collect();
            let some = session.committed(&asked.group, Some(&places));
            let some = some.map_err(|error| code_of(&error))?;
            take_room(room, &some)?;
            offsets.extend(some);
        }
        found.push((name.clone(), offsets));
    }
    Ok(found)
}

/// Counts what these take, here and in the answer.
fn take_room(room: &mut usize, offsets: &[NotedOffset]) -> Result<(), i16> {
    let sizes = offsets.iter();
    let bytes: usize = sizes.map(NotedOffset::size_bytes).sum();
    *room = room.checked_sub(bytes).ok_or(code::INVALID_REQUEST)?;
    Ok(())
}

fn batched(asked: &Asked, found: Result<Vec<Found>, i16>) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup::default().with_group_id(group_id(&asked.group));
    let topics = match found {
        Ok(topics) => topics,
        Err(error_code) => return group.with_error_code(error_code),
    };
    let topics = topics.iter().map(|(name, offsets)| {
        let partitions = offsets.iter().map(|offset| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(offset.partition)
                .with_committed_offset(offset.offset)
                .with_committed_leader_epoch(offset.leader_epoch)
                .with_metadata(Some(text(&offset.metadata)))
        });
        OffsetFetchResponseTopics::default()
            .with_name(topic_name(name))
            .with_partitions(partitions.collect())
    });
    group.with_topics(topics.collect())
}

fn refused((name, partitions): &(String, Vec<i32>), error_code: i16) -> OffsetFetchResponseTopic {
    let partitions = partitions.iter().map(|partition| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(-1)
            .with_error_code(error_code)
    });
    OffsetFetchResponseTopic::default()
        .with_name(topic_name(name))
        .with_partitions(partitions.collect())
}

fn single(version: i16, (name, offsets): &Found) -> OffsetFetchResponseTopic {
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
        .with_name(topic_name(name))
        .with_partitions(partitions.collect())
}
