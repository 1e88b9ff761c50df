//! Offsets by their meaning, and reading batches out of the log.

use super::{Inner, TimedOffset, unknown_partition, unknown_topic};
use crate::engine::partition::{Partition, PartitionStatus, Readable};
use crate::error::{Error, ErrorCode, Result};
use crate::limits;
use crate::log::Stored;
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
            OffsetAt::Time(time_ms) => self
                .offset_at_time(partition, time_ms)
                .map(|found| found.map_or(status.high_watermark, |found| found.offset)),
        }
    }

    /// The first readable record with a timestamp of `time_ms` or later.
    pub(super) fn offset_at_time(
        &self,
        partition: &Partition,
        time_ms: i64,
    ) -> Result<Option<TimedOffset>> {
        let status = partition.status();
        let mut from = status.log_start_offset;
        for _ in 0..limits::TIME_BATCHES_SEARCHED_MAX {
            let found = self.log.find_time(partition.id, time_ms, from)?;
            let Some(found) = found.filter(|found| found.next_offset <= status.high_watermark)
            else {
                return Ok(None);
            };
            let next_offset = found.next_offset;
            let bytes = verified(found)?.bytes;
            let batch = Batch::already_verified(bytes);
            for record in batch.map_err(|error| corrupt(partition, &error))?.records() {
                let record = record.map_err(|error| corrupt(partition, &error))?;
                if record.timestamp_ms >= time_ms && record.offset >= from {
                    return Ok(Some(TimedOffset {
                        offset: record.offset,
                        timestamp_ms: record.timestamp_ms,
                    }));
                }
            }
            // The batch's latest record is deleted, or was compacted away.
            from = next_offset;
        }
        Ok(Some(TimedOffset {
            offset: from,
            timestamp_ms: time_ms,
        }))
    }

    /// The readable batches of a partition from `offset` on, and its high watermark: from memory, or read
    /// from the log and verified. About `max_bytes` of them; at least one if there is one.
    ///
    /// # Errors
    /// Inside, the status, when the offset is not held.
    pub(super) fn fetch(
        &self,
        partition: &Partition,
        offset: i64,
        max_bytes: usize,
    ) -> Result<std::result::Result<Fetched, PartitionStatus>> {
        let mut batches = Vec::new();
        let high_watermark = match partition.readable(offset, max_bytes, &mut batches) {
            Ok(high_watermark) => high_watermark,
            Err(status) => return Ok(Err(status)),
        };
        if batches.is_empty() && offset < high_watermark {
            let stored = self
                .log
                .read_from(partition.id, offset, high_watermark, max_bytes)?;
            batches = stored.into_iter().map(verified).collect::<Result<_>>()?;
        }
        Ok(Ok(Fetched {
            batches,
            high_watermark,
        }))
    }
}

/// Batches of a partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// In order of their offsets; the first may begin before the offset that was asked for.
    pub batches: Vec<Readable>,
    /// The next offset a reader would see.
    pub high_watermark: i64,
}

/// What was read from the log, if it is what the index says.
fn verified(stored: Stored) -> Result<Readable> {
    match batch::verify(&stored.bytes) {
        Ok(header) if header.base_offset == stored.base_offset => Ok(Readable {
            base_offset: stored.base_offset,
            next_offset: stored.next_offset,
            bytes: stored.bytes,
        }),
        Ok(header) => Err(corrupt_at(
            &stored,
            &format!(
                "a batch with base offset {} stands there",
                header.base_offset
            ),
        )),
        Err(error) => Err(corrupt_at(&stored, &error.to_string())),
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

fn corrupt_at(stored: &Stored, found: &str) -> Error {
    Error::new(
        ErrorCode::CorruptSegment,
        format!(
            "segment {}, position {}, offset {}: {found}",
            stored.location.segment, stored.location.position, stored.base_offset
        ),
    )
}
