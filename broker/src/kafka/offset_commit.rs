//! OffsetCommit: a member says how far it came, or somebody by hand for a group that has none.

use headwater::engine::group::classic::Speaker;
use headwater::service::{EachPartition, NotedOffset, Run};
use headwater::{Completion, limits};
use kafka_protocol::messages::OffsetCommitResponse;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{self, code};
use super::groups::{Named, code_of, instance_id, member_id, to_look_up, topic_name};
use super::wire::{Malformed, Reader};

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let (speaker, topics, offsets) = read(request)?;
    if offsets.len() > limits::KAFKA_COMMIT_PARTITIONS_MAX {
        let response = reply(&topics, Some(code::INVALID_REQUEST), Vec::new());
        return Ok(Answer::now(&response, version));
    }
    let (completion, pending) = Completion::pair();
    let session = context.session();
    session.commit_classic(&speaker, &offsets, Run::Prompt, completion);
    Ok(Answer::later(async move {
        let response = match pending.await {
            Ok(each) => reply(&topics, None, each),
            Err(error) => reply(&topics, Some(code_of(&error)), Vec::new()),
        };
        Reply::of(&response, version)
    }))
}

/// Who commits, and what.
fn read(request: &mut Request<'_>) -> Result<(Speaker, Named, Vec<NotedOffset>), Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let group = fields.string("group_id")?.to_owned();
    let generation = fields.i32("generation_id_or_member_epoch")?;
    let speaker = Speaker {
        group,
        member_id: member_id(fields)?,
        instance_id: instance_id(fields, version >= 7)?,
        generation,
    };
    if version <= 4 {
        // How long offsets are kept is not for each commit to say.
        fields.i64("retention_time_ms")?;
    }
    let mut offsets = Vec::new();
    let topics = fields.array("topics", |fields| {
        let name = fields.string("name")?;
        let partitions = fields.array("partitions", |fields| {
            let offset = read_offset(fields, version, to_look_up(name))?;
            let partition = offset.partition;
            offsets.push(offset);
            Ok(partition)
        })?;
        fields.tags()?;
        Ok((name.to_owned(), partitions))
    })?;
    fields.end()?;
    Ok((speaker, topics, offsets))
}

fn read_offset(
    fields: &mut Reader<'_>,
    version: i16,
    topic: &str,
) -> Result<NotedOffset, Malformed> {
    let partition = fields.i32("partition_index")?;
    let offset = fields.i64("committed_offset")?;
    let mut leader_epoch = -1;
    if version >= 6 {
        leader_epoch = fields.i32("committed_leader_epoch")?;
    }
    let metadata = fields.nullable_string("committed_metadata")?;
    fields.tags()?;
    Ok(NotedOffset {
        topic: topic.to_owned(),
        partition,
        // kafkajs commits where it was told to begin, -1 or -2, when its offset is not there any more.
        offset: offset.max(-1),
        leader_epoch,
        metadata: metadata.unwrap_or_default().to_owned(),
    })
}

fn reply(topics: &Named, of_all: Option<i16>, each: EachPartition) -> OffsetCommitResponse {
    let mut each = each.into_iter();
    let topics = topics.iter().map(|(name, partitions)| {
        let partitions = partitions.iter().map(|partition| {
            let own = each.next().and_then(Result::err);
            let own = own.map_or(error::NONE, |error| code_of(&error));
            OffsetCommitResponsePartition::default()
                .with_partition_index(*partition)
                .with_error_code(of_all.unwrap_or(own))
        });
        OffsetCommitResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic_name(name))
    });
    let topics = topics.collect();
    OffsetCommitResponse::default().with_topics(topics)
}
