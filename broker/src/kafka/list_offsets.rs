//! ListOffsets: offsets by what they mean, or by a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use headwater::Completion;
use headwater::engine::partition::Partition;
use headwater::service::WantedTime;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::epochs;
use super::error::{self, code};
use super::wire::Malformed;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// What stands for no offset, no timestamp and no epoch.
const NONE: i64 = -1;

/// A partition of a request.
#[derive(Debug)]
struct Row {
    index: i32,
    current_leader_epoch: i32,
    timestamp: i64,
    is_again: bool,
}

/// What is answered of a partition.
#[derive(Debug)]
struct Found {
    offset: i64,
    timestamp_ms: i64,
    leader_epoch: i32,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    fields.i32("replica_id")?;
    if version >= 2 {
        fields.i8("isolation_level")?;
    }
    let (mut numbers, mut seen) = (HashMap::new(), HashSet::new());
    let topics = fields.array("topics", |fields| {
        let name = fields.string("name")?;
        // A name may be long, and is looked at once for all of its partitions.
        let next = numbers.len();
        let number = *numbers.entry(name).or_insert(next);
        let rows = fields.array("partitions", |fields| {
            let index = fields.i32("partition_index")?;
            let mut current_leader_epoch = -1;
            if version >= 4 {
                current_leader_epoch = fields.i32("current_leader_epoch")?;
            }
            let timestamp = fields.i64("timestamp")?;
            fields.tags()?;
            Ok(Row {
                index,
                current_leader_epoch,
                timestamp,
                is_again: !seen.insert((number, index)),
            })
        })?;
        fields.tags()?;
        Ok((name.to_owned(), rows))
    })?;
    if version >= 10 {
        fields.i32("timeout_ms")?;
    }
    fields.end()?;
    let context = context.clone();
    Ok(Answer::later(async move {
        let mut answered = Vec::new();
        for (name, rows) in topics {
            let mut partitions = Vec::new();
            for row in rows {
                let found = look_up(&context, version, &name, &row).await;
                partitions.push(partition(version, row.index, found));
            }
            let name = TopicName(StrBytes::from_string(name));
            let topic = ListOffsetsTopicResponse::default().with_name(name);
            answered.push(topic.with_partitions(partitions));
        }
        let response = ListOffsetsResponse::default().with_topics(answered);
        Reply::of(&response, version)
    }))
}

fn partition(version: i16, index: i32, found: Result<Found, i16>) -> ListOffsetsPartitionResponse {
    let answered = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok(found) => {
            let answered = answered
                .with_offset(found.offset)
                .with_timestamp(found.timestamp_ms);
            if version >= 4 {
                return answered.with_leader_epoch(found.leader_epoch);
            }
            answered
        }
        Err(error_code) => answered.with_error_code(error_code),
    }
}

async fn look_up(context: &Context, version: i16, name: &str, row: &Row) -> Result<Found, i16> {
    if row.is_again {
        return Err(code::INVALID_REQUEST);
    }
    let topic = context.service().topic(name);
    let partition = topic.as_ref().and_then(|topic| topic.partition(row.index));
    let partition = partition.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    epochs::check(context, row.current_leader_epoch)?;
    let status = partition.status();
    match row.timestamp {
        // What comes next is written in the epoch of the leader, whatever is there.
        LATEST => Ok(Found {
            leader_epoch: context.service().leader_epoch().0,
            ..at(partition, status.high_watermark)
        }),
        EARLIEST => Ok(earliest(context, partition, status.log_start_offset)),
        EARLIEST_LOCAL if version >= 8 => Ok(earliest(context, partition, status.log_start_offset)),
        // Nothing is tiered.
        LATEST_TIERED if version >= 9 => Ok(Found::none()),
        MAX_TIMESTAMP if version >= 7 => search(context, partition, WantedTime::Largest).await,
        time_ms @ 0.. => search(context, partition, WantedTime::From(time_ms)).await,
        _ => Err(code::UNSUPPORTED_VERSION),
    }
}

impl Found {
    fn none() -> Self {
        Self {
            offset: NONE,
            timestamp_ms: NONE,
            leader_epoch: -1,
        }
    }
}

/// The first record; if there never was one, where the first will be.
fn earliest(context: &Context, partition: &Partition, offset: i64) -> Found {
    let epoch = partition.epoch_at(offset);
    let epoch = epoch.unwrap_or_else(|| context.service().leader_epoch());
    Found {
        leader_epoch: epoch.0,
        ..at(partition, offset)
    }
}

fn at(partition: &Partition, offset: i64) -> Found {
    Found {
        offset,
        timestamp_ms: NONE,
        leader_epoch: partition.epoch_at(offset).map_or(-1, |epoch| epoch.0),
    }
}

/// Looks through batches, in turns of the thread that reads files.
async fn search(
    context: &Context,
    partition: &Arc<Partition>,
    wanted: WantedTime,
) -> Result<Found, i16> {
    let (completion, pending) = Completion::pair();
    context.service().search(partition, wanted, completion);
    match pending.await {
        Ok(Some(found)) => Ok(Found {
            timestamp_ms: found.timestamp_ms,
            ..at(partition, found.offset)
        }),
        Ok(None) => Ok(Found::none()),
        Err(error) => {
            headwater::seldom!(warn, %error, "offsets could not be looked up for a Kafka client");
            Err(error::of(&error))
        }
    }
}
