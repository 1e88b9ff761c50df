//! Deleting records by hand: everything of a partition below an offset.
//!
//! As with retention the decision is a LOG_START entry, so it is in the log and the same for all who read it,
//! and the space follows by the log's cleaning. Several partitions are one entry:
//! together or not at all.

use std::sync::Arc;

use super::{Inner, Run, each_once};
use crate::completion::{Completion, Wakes};
use crate::engine::partition::Partition;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::PartitionId;
use crate::limits;
use crate::log::{Appended, Kind, SetPart, control, encode_set};
use crate::protocol::request::PartitionOffset;
use crate::protocol::response::Response;

/// Stands for the high watermark, as in Kafka.
const HIGH_WATERMARK: i64 = -1;

impl Inner {
    /// Answers with the first offset that is held then, of every partition in the order asked.
    pub(super) fn delete_records(
        self: &Arc<Self>,
        before: &[PartitionOffset],
        run: Run,
        completion: Completion<Response>,
    ) {
        let (partitions, parts) = match self.check_delete(before) {
            Ok(checked) => checked,
            Err(error) => return completion.finish(Err(error)),
        };
        if parts.is_empty() {
            return self.answer_once_synced(Ok(starts(&partitions)), completion);
        }
        self.start_housekeeping();
        let deleted = Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
            completion.complete(result.map(|_| starts(&partitions)), wakes);
        });
        let payload = encode_set(&parts);
        self.append_encoded(Kind::Set, PartitionId(0), payload, None, run, deleted);
    }

    /// The partitions, and what to write for those of which something goes.
    fn check_delete(
        &self,
        before: &[PartitionOffset],
    ) -> Result<(Vec<Arc<Partition>>, Vec<SetPart>)> {
        if before.len() > limits::DELETE_RECORDS_PARTITIONS_MAX {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "records of {} partitions to delete at once; at most {} are allowed",
                    before.len(),
                    limits::DELETE_RECORDS_PARTITIONS_MAX
                ),
            ));
        }
        let topics = self.state.topics.read();
        let named = before.iter().map(|it| (&*it.topic, it.partition));
        let (mut partitions, mut parts) = (Vec::with_capacity(before.len()), Vec::new());
        for (wanted, (_, partition)) in before.iter().zip(each_once(&topics, named)?) {
            parts.extend(log_start(&partition, wanted)?);
            partitions.push(partition);
        }
        Ok((partitions, parts))
    }
}

/// What to write; nothing if the partition starts there already.
fn log_start(partition: &Partition, wanted: &PartitionOffset) -> Result<Option<SetPart>> {
    let status = partition.status();
    let offset = match wanted.offset {
        HIGH_WATERMARK => status.high_watermark,
        offset => offset,
    };
    if offset < 0 || offset > status.high_watermark {
        return Err(Error::new(
            ErrorCode::OffsetOutOfRange,
            format!(
                "records before offset {offset} of topic `{}`, partition {} cannot be deleted: it holds {} to {} \
                 (-1 stands for the high watermark, {})",
                wanted.topic,
                wanted.partition,
                status.log_start_offset,
                status.high_watermark,
                status.high_watermark
            ),
        ));
    }
    if offset <= status.log_start_offset {
        return Ok(None);
    }
    let payload = postcard::to_stdvec(&control::LogStart { offset }).map_err(|error| {
        Error::new(
            ErrorCode::UnknownServerError,
            "the start of a partition could not be encoded",
        )
        .with_source(error)
    })?;
    Ok(Some(SetPart::control(
        Kind::LogStart,
        partition.id,
        payload,
    )))
}

fn starts(partitions: &[Arc<Partition>]) -> Response {
    let starts = partitions.iter();
    Response::Offsets(
        starts
            .map(|partition| partition.status().log_start_offset)
            .collect(),
    )
}
