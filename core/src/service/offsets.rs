//! Offsets by their meaning, and reading batches out of the log.

use bytes::Bytes;

use super::{Inner, unknown_partition, unknown_topic};
use crate::engine::partition::{Partition, Readable};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::request::{OffsetAt, OffsetQuery};
use crate::protocol::response::Response;
use crate::record::batch::{self, Batch};

impl Inner {
    pub(super) fn list_offsets(&self, queries: &[OffsetQuery]) -> Result<Response> {
        self.check_open()?;
        queries
            .iter()
            .map(|query| self.list_offset(query))
            .collect::<Result<_>>()
            .map(Response::Offsets)
    }

    fn list_offset(&self, query: &OffsetQuery) -> Result<i64> {
        let topic = self.state.topics.read().get(&query.topic).cloned();
        let topic = topic.ok_or_else(|| unknown_topic(&query.topic))?;
        let partition = topic.partition(query.partition).ok_or_else(|| {
            unknown_partition(&topic.name, query.partition, topic.partitions.len())
        })?;
        let status = partition.status();
        match query.at {
            OffsetAt::Earliest => Ok(status.log_start_offset),
            OffsetAt::Latest => Ok(status.high_watermark),
            OffsetAt::Time(time_ms) => self.offset_at_time(partition, time_ms).map(|found| {
                found.map_or(status.high_watermark, |o| o.max(status.log_start_offset))
            }),
        }
    }

    fn offset_at_time(&self, partition: &Partition, time_ms: i64) -> Result<Option<i64>> {
        let Some(readable) = partition.batch_at_time(time_ms) else {
            return Ok(None);
        };
        let next_offset = readable.next_offset;
        let mut loaded = self.load(&[readable])?;
        let Some(bytes) = loaded.pop() else {
            return Ok(None);
        };
        let batch = Batch::already_verified(bytes).map_err(|error| corrupt(partition, &error))?;
        for record in batch.records() {
            let record = record.map_err(|error| corrupt(partition, &error))?;
            if record.timestamp_ms >= time_ms {
                return Ok(Some(record.offset));
            }
        }
        // With log append time every record counts as the batch's maximum; so this is not reached.
        Ok(Some(next_offset))
    }

    /// The batches' bytes, in the same order: from memory, or read from the log and verified.
    pub(super) fn load(&self, wanted: &[Readable]) -> Result<Vec<Bytes>> {
        wanted
            .iter()
            .map(|readable| self.load_one(readable))
            .collect()
    }

    fn load_one(&self, readable: &Readable) -> Result<Bytes> {
        if let Some(tail) = &readable.tail {
            return Ok(tail.clone());
        }
        let bytes = self.log.read(readable.location)?;
        match batch::verify(&bytes) {
            Ok(header) if header.base_offset == readable.base_offset => Ok(bytes),
            Ok(header) => Err(corrupt_at(
                readable,
                &format!(
                    "a batch with base offset {} stands there",
                    header.base_offset
                ),
            )),
            Err(error) => Err(corrupt_at(readable, &error.to_string())),
        }
    }
}

fn corrupt(partition: &Partition, error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::CorruptMessage,
        format!(
            "partition id {}, number {}: {error}",
            partition.id, partition.number
        ),
    )
}

fn corrupt_at(readable: &Readable, found: &str) -> Error {
    Error::new(
        ErrorCode::CorruptSegment,
        format!(
            "segment {}, position {}, offset {}: {found}",
            readable.location.segment, readable.location.position, readable.base_offset
        ),
    )
}
