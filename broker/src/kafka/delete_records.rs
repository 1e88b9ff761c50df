//! DeleteRecords: everything of a partition below an offset.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use headwater::protocol::request::{PartitionOffset, Request as NativeRequest};
use headwater::protocol::response::Response;
use headwater::service::Run;
use headwater::{Completion, Pending, limits};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsResponse, TopicName};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{self, code};
use super::wire::Malformed;

/// Stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// What is not known.
const NONE: i64 = -1;

/// A topic, and each partition with the offset before which its records go.
type Wanted = (String, Vec<(i32, i64)>);

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let wanted = fields.array("topics", |fields| {
        let name = fields.string("name")?.to_owned();
        let partitions = fields.array("partitions", |fields| {
            let partition = fields.i32("partition_index")?;
            let offset = fields.i64("offset")?;
            fields.tags()?;
            Ok((partition, offset))
        })?;
        fields.tags()?;
        Ok((name, partitions))
    })?;
    fields.i32("timeout_ms")?;
    fields.end()?;
    // A name may be long, and is looked at once for all of its partitions.
    let mut numbers = HashMap::new();
    let numbered = wanted.iter().map(|(name, partitions)| {
        let next = numbers.len();
        (*numbers.entry(name).or_insert(next), name, partitions)
    });
    let numbered: Vec<_> = numbered.collect();
    let mut seen = HashSet::new();
    let mut possible = Vec::new();
    let checked: Vec<_> = numbered
        .into_iter()
        .flat_map(|(number, name, rows)| rows.iter().map(move |row| (number, name, *row)))
        .map(|(number, name, (partition, offset))| {
            if !seen.insert((number, partition)) {
                return Err(code::INVALID_REQUEST);
            }
            check(context, name, partition, offset)?;
            possible.push(PartitionOffset {
                topic: name.clone(),
                partition,
                offset,
            });
            Ok(())
        })
        .collect();
    let deletions: Vec<_> = possible
        .chunks(limits::DELETE_RECORDS_PARTITIONS_MAX)
        .map(|before| (before.len(), delete(context, before.to_vec())))
        .collect();
    Ok(Answer::later(async move {
        let mut starts = Vec::new();
        for (count, pending) in deletions {
            match pending.await {
                Ok(Response::Offsets(offsets)) => starts.extend(offsets.into_iter().map(Ok)),
                Ok(_) => starts.extend(std::iter::repeat_n(Err(-1), count)),
                Err(error) => starts.extend(std::iter::repeat_n(Err(error::of(&error)), count)),
            }
        }
        Reply::of(&response(wanted, checked, starts), version)
    }))
}

fn check(context: &Context, name: &str, partition: i32, offset: i64) -> Result<(), i16> {
    let topic = context.service().topic(name);
    let topic = topic.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    let found = topic.partition(partition);
    let found = found.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    // What compaction alone cleans loses no records by hand, as at Kafka's brokers.
    if !topic.config.cleanup_policy.deletes() {
        return Err(code::POLICY_VIOLATION);
    }
    let is_held = offset >= 0 && offset <= found.status().high_watermark;
    if is_held || offset == HIGH_WATERMARK {
        return Ok(());
    }
    Err(code::OFFSET_OUT_OF_RANGE)
}

fn delete(context: &Context, before: Vec<PartitionOffset>) -> Pending<Response> {
    let (completion, pending) = Completion::pair();
    let request = NativeRequest::DeleteRecords { before };
    let session = context.session();
    session.submit(request, Bytes::new(), Run::Io, completion);
    pending
}

/// `starts` are those of the partitions that could be asked for, in their order.
fn response(
    wanted: Vec<Wanted>,
    checked: Vec<Result<(), i16>>,
    starts: Vec<Result<i64, i16>>,
) -> DeleteRecordsResponse {
    let (mut checked, mut starts) = (checked.into_iter(), starts.into_iter());
    let topics = wanted.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, _)| {
            let checked = checked.next().unwrap_or(Err(-1));
            let start = checked.and_then(|()| starts.next().unwrap_or(Err(-1)));
            DeleteRecordsPartitionResult::default()
                .with_partition_index(partition)
                .with_low_watermark(start.unwrap_or(NONE))
                .with_error_code(start.err().unwrap_or(error::NONE))
        });
        DeleteRecordsTopicResult::default()
            .with_name(TopicName(name.into()))
            .with_partitions(partitions.collect())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
