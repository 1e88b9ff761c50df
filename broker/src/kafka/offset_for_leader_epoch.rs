//! OffsetForLeaderEpoch: where an epoch ends, by which a client finds out whether what it has read is still there.

use headwater::ids::LeaderEpoch;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::answer::Answer;
use super::api::Request;
use super::context::Context;
use super::epochs;
use super::error::code;
use super::wire::Malformed;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    if version >= 3 {
        fields.i32("replica_id")?;
    }
    let topics = fields.array("topics", |fields| {
        let name = fields.string("topic")?;
        let partitions = fields.array("partitions", |fields| {
            let index = fields.i32("partition")?;
            let current_leader_epoch = fields.i32("current_leader_epoch")?;
            let leader_epoch = fields.i32("leader_epoch")?;
            fields.tags()?;
            Ok((index, current_leader_epoch, leader_epoch))
        })?;
        fields.tags()?;
        Ok((name, partitions))
    })?;
    fields.end()?;
    let topics = topics.into_iter().map(|(name, partitions)| {
        let ends = partitions.into_iter().map(|(index, current, wanted)| {
            let answered = EpochEndOffset::default().with_partition(index);
            match end(context, name, (index, current), wanted) {
                Ok(Some((epoch, end_offset))) => answered
                    .with_leader_epoch(epoch.0)
                    .with_end_offset(end_offset),
                Ok(None) => answered,
                Err(error_code) => answered.with_error_code(error_code),
            }
        });
        OffsetForLeaderTopicResult::default()
            .with_topic(TopicName(StrBytes::from_string(name.to_owned())))
            .with_partitions(ends.collect())
    });
    let response = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
    Ok(Answer::now(&response, version))
}

fn end(
    context: &Context,
    name: &str,
    (index, current_leader_epoch): (i32, i32),
    wanted: i32,
) -> Result<Option<(LeaderEpoch, i64)>, i16> {
    let topic = context.service().topic(name);
    let partition = topic.as_ref().and_then(|topic| topic.partition(index));
    let partition = partition.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    epochs::check(context, current_leader_epoch)?;
    Ok(epochs::end_at(context, partition, LeaderEpoch(wanted)))
}
