//! What JavaScript gets: plain objects, and numbers that hold what they say.

use headwater::client::{CloseReport, DeliveryFailure};
use headwater::protocol::request::PartitionOffset;
use headwater::protocol::response::{GroupDescription, PartitionDescription, TopicDescription};
use headwater::{Error, ErrorCode, Result};
use napi_derive::napi;

/// The largest whole number that a number of JavaScript holds exactly: 2^53 - 1.
const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;

/// An offset in a partition of a topic.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct OffsetOf {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A topic, as `describe` tells it.
#[napi(object)]
#[derive(Debug)]
pub struct TopicOf {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// Every option with its value, name by name.
    pub config: Vec<Vec<String>>,
    /// What of it is stored but not acted on.
    pub notes: Vec<String>,
    /// Its partitions.
    pub partitions: Vec<PartitionOf>,
}

/// A partition, as `describe` tells it.
#[napi(object)]
#[derive(Debug)]
pub struct PartitionOf {
    /// Its number.
    pub partition: i32,
    /// The first offset held.
    pub log_start_offset: i64,
    /// The next offset a reader would see.
    pub high_watermark: i64,
    /// The next offset to be written.
    pub log_end_offset: i64,
    /// The epoch of the leader.
    pub leader_epoch: i32,
    /// Bytes of its record batches.
    pub size_bytes: i64,
}

/// A group, as `describe` tells it.
#[napi(object)]
#[derive(Debug)]
pub struct GroupOf {
    /// Its id.
    pub group: String,
    /// `Empty` or `Stable`.
    pub state: String,
    /// Its generation.
    pub generation: i32,
    /// The ids of its members.
    pub members: Vec<String>,
    /// The committed offsets.
    pub offsets: Vec<OffsetOf>,
}

/// An error as plain fields; JavaScript makes a `HeadwaterError` of it.
#[napi(object)]
#[derive(Debug)]
pub struct ErrorOf {
    /// The stable code.
    pub code: String,
    /// The text for people.
    pub message: String,
    /// `not_done` or `unknown`.
    pub outcome: String,
}

/// What closing left undone.
#[napi(object)]
#[derive(Debug)]
pub struct ReportOf {
    /// Records still on their way at the deadline.
    pub unsent_records: i64,
    /// Records that failed and that nobody was told about.
    pub failed_records: i64,
    /// The first failure.
    pub first_error: Option<ErrorOf>,
}

/// Records that failed although nobody was waiting for them.
#[napi(object)]
#[derive(Debug)]
pub struct FailureOf {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// How many records.
    pub records: i64,
    /// Why.
    pub error: ErrorOf,
}

/// An offset as JavaScript can hold it.
pub(crate) fn safe(offset: i64) -> Result<i64> {
    if offset.abs() <= SAFE_INTEGER_MAX {
        return Ok(offset);
    }
    Err(Error::new(
        ErrorCode::UnsupportedFeature,
        format!("{offset} is beyond 2^53 - 1, which a number of JavaScript cannot hold"),
    ))
}

pub(crate) fn error(error: &Error) -> ErrorOf {
    ErrorOf {
        code: error.code().name().into(),
        message: error.message().into(),
        outcome: error.outcome().name().into(),
    }
}

pub(crate) fn report(report: CloseReport) -> ReportOf {
    ReportOf {
        unsent_records: report.unsent_records.cast_signed(),
        failed_records: report.failed_records.cast_signed(),
        first_error: report.first_error.as_ref().map(error),
    }
}

pub(crate) fn failure(failure: &DeliveryFailure) -> FailureOf {
    FailureOf {
        topic: failure.topic.to_string(),
        partition: failure.partition,
        records: failure.records.cast_signed(),
        error: error(&failure.error),
    }
}

pub(crate) fn topic(topic: TopicDescription) -> Result<TopicOf> {
    Ok(TopicOf {
        name: topic.name,
        uuid: uuid(topic.uuid),
        config: topic
            .config
            .into_iter()
            .map(|(name, value)| vec![name, value])
            .collect(),
        notes: topic.notes,
        partitions: topic
            .partitions
            .iter()
            .map(partition)
            .collect::<Result<_>>()?,
    })
}

pub(crate) fn group(group: GroupDescription) -> Result<GroupOf> {
    Ok(GroupOf {
        group: group.group,
        state: group.state,
        generation: group.generation,
        members: group.members,
        offsets: offsets(group.offsets)?,
    })
}

pub(crate) fn offsets(offsets: Vec<PartitionOffset>) -> Result<Vec<OffsetOf>> {
    let of = |at: PartitionOffset| {
        Ok(OffsetOf {
            topic: at.topic,
            partition: at.partition,
            offset: safe(at.offset)?,
        })
    };
    offsets.into_iter().map(of).collect()
}

pub(crate) fn to_core(offsets: Vec<OffsetOf>) -> Vec<PartitionOffset> {
    let of = |at: OffsetOf| PartitionOffset {
        topic: at.topic,
        partition: at.partition,
        offset: at.offset,
    };
    offsets.into_iter().map(of).collect()
}

fn partition(partition: &PartitionDescription) -> Result<PartitionOf> {
    Ok(PartitionOf {
        partition: partition.partition,
        log_start_offset: safe(partition.log_start_offset)?,
        high_watermark: safe(partition.high_watermark)?,
        log_end_offset: safe(partition.log_end_offset)?,
        leader_epoch: partition.leader_epoch,
        size_bytes: safe(i64::try_from(partition.size_bytes).unwrap_or(i64::MAX))?,
    })
}

/// The usual form: 8-4-4-4-12 hexadecimal digits.
fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
