//! OffsetCommit: a member says how far it came, or somebody by hand for a group that has none.

use headwater::engine::group::classic::Speaker;
use headwater::service::{EachPartition, NotedOffset, Run};
use headwater::{Completion, Error};
use kafka_protocol::messages::OffsetCommitResponse;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error;
use super::groups::{code_of, instance_id, member_id, topic_name};
use super::wire::{Malformed, Reader};

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let (speaker, topics) = read(request)?;
    let offsets: Vec<_> = topics.iter().flatten().cloned().collect();
    let (completion, pending) = Completion::pair();
    let session = context.session();
    session.commit_classic(&speaker, &offsets, Run::Prompt, completion);
    Ok(Answer::later(async move {
        let response = reply(&topics, pending.await);
        Reply::of(&response, version)
    }))
}

/// Who commits, and what: topic by topic.
fn read(request: &mut Request<'_>) -> Result<(Speaker, Vec<Vec<NotedOffset>>), Malformed> {
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
    let topics = fields.array("topics", |fields| {
        let name = fields.string("name")?.to_owned();
        let offsets = fields.array("partitions", |fields| read_offset(fields, version, &name))?;
        fields.tags()?;
        Ok(offsets)
    })?;
    fields.end()?;
    Ok((speaker, topics))
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
        offset,
        leader_epoch,
        metadata: metadata.unwrap_or_default().to_owned(),
    })
}

fn reply(
    topics: &[Vec<NotedOffset>],
    committed: Result<EachPartition, Error>,
) -> OffsetCommitResponse {
    let of_all = committed.as_ref().err().map(code_of);
    let mut each = committed.unwrap_or_default().into_iter();
    let topics = topics.iter().filter_map(|offsets| {
        let name = topic_name(&offsets.first()?.topic);
        let partitions = offsets.iter().map(|offset| {
            let own = each.next().and_then(Result::err);
            let own = own.map_or(error::NONE, |error| code_of(&error));
            OffsetCommitResponsePartition::default()
                .with_partition_index(offset.partition)
                .with_error_code(of_all.unwrap_or(own))
        });
        let partitions = partitions.collect();
        Some(
            OffsetCommitResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions),
        )
    });
    let topics = topics.collect();
    OffsetCommitResponse::default().with_topics(topics)
}
