//! The reader: takes batches from the feed and makes blocks of them, on the thread that asks.
//!
//! What is read ahead stays in the feed, whose credit is the consumer's budget; here there is at most what
//! one block is made of. Records are unpacked once, into the block.

mod ahead;

use std::collections::VecDeque;
use std::sync::Arc;

use super::block::{Block, ConsumerBatch, malformed};
use super::fetcher::{Offsets, Places, Segment};
use crate::client::transport::{Feed, FetchedBatch};
use crate::error::{Error, Result};
use crate::record::Batch;
use crate::record::block::BlockBuilder;
use crate::timer::Timer;

/// How much a block may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockLimits {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// A batch that is being read.
#[derive(Debug)]
struct Reading {
    place: usize,
    topic: Arc<str>,
    partition: i32,
    high_watermark: i64,
    batch: Batch,
    /// The next record of it.
    from: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) feed: Arc<dyn Feed>,
    places: Arc<Places>,
    /// Batches are checked: they came over a network.
    is_remote: bool,
    buffer: VecDeque<Reading>,
    /// Of partitions that are paused.
    kept: VecDeque<Reading>,
    kept_bytes: u64,
    /// Whether the feed holds room for all that is in `buffer` too, until that is given out.
    is_ahead: bool,
    /// Why nothing more can be read of what was taken, until reading begins again somewhere.
    pub(super) unreadable: Option<Error>,
    builder: BlockBuilder,
    /// Bytes of batches taken from the feed.
    pub(super) bytes_taken: u64,
    /// While the stream is over, and the group has to say what is read instead or what there is cannot be read: when
    /// that is tried again.
    pub(super) waits: Option<Timer>,
}

impl Reader {
    pub(super) fn new(feed: Arc<dyn Feed>, places: Arc<Places>, is_remote: bool) -> Self {
        Self {
            feed,
            places,
            is_remote,
            buffer: VecDeque::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            is_ahead: false,
            unreadable: None,
            builder: BlockBuilder::new(),
            bytes_taken: 0,
            waits: None,
        }
    }

    /// What is read has changed.
    pub(super) fn set_places(&mut self, places: Arc<Places>) {
        self.places = places;
    }

    /// Forgets what was taken and not given out.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.kept.clear();
        (self.kept_bytes, self.is_ahead) = (0, false);
        self.unreadable = None;
        self.feed.hold(0);
    }

    /// A block of what is there, and what it consists of. Batches without records for the host give
    /// segments without rows, and no block.
    ///
    /// # Errors
    /// Why reading cannot go on, once everything before it was given out.
    pub(super) fn block(&mut self, limits: BlockLimits) -> (Result<Option<Block>>, Vec<Segment>) {
        let mut segments = Vec::new();
        let ended = self.fill(limits, &mut segments);
        let records = self.builder.len() as u32;
        if records == 0 {
            self.builder.clear();
            return (ended.map(|()| None), segments);
        }
        (
            Ok(Some(Block::new(self.builder.finish(), records))),
            segments,
        )
    }

    fn fill(&mut self, limits: BlockLimits, segments: &mut Vec<Segment>) -> Result<()> {
        while self.builder.len() < limits.records {
            let room = limits.bytes.saturating_sub(self.builder.size_bytes());
            if room == 0 && !self.builder.is_empty() {
                return Ok(());
            }
            if self.buffer.is_empty() && !self.take(room.max(1))? {
                return Ok(());
            }
            let Some(next) = self.buffer.front_mut() else {
                return Ok(());
            };
            let until = self.places.until(next.place);
            let from = next.from;
            if from >= until {
                self.buffer.pop_front();
                continue;
            }
            let below_until = next.records_below(until)?;
            if below_until == 0 {
                let behind = next.batch.last_offset().saturating_add(1).min(until);
                add_segment(segments, next.segment(0, behind)?);
                self.buffer.pop_front();
                continue;
            }
            let most = limits
                .records
                .min(self.builder.len().saturating_add(below_until));
            let taken = self
                .builder
                .push_batch(
                    &next.topic,
                    next.partition,
                    &next.batch,
                    from,
                    most,
                    limits.bytes,
                )
                .map_err(|error| malformed(&next.topic, next.partition, from, &error))?;
            let is_over =
                taken.next_offset > next.batch.last_offset() || taken.next_offset >= until;
            let next_offset = taken.next_offset.min(until);
            add_segment(segments, next.segment(taken.records, next_offset)?);
            if is_over || taken.records == below_until {
                self.buffer.pop_front();
            } else {
                next.from = taken.next_offset;
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next batch as it is, and what it consists of.
    ///
    /// # Errors
    /// Why reading cannot go on.
    pub(super) fn batch(
        &mut self,
        max_bytes: usize,
    ) -> (Result<Option<ConsumerBatch>>, Vec<Segment>) {
        let mut segments = Vec::new();
        let batch = self.find_batch(max_bytes, &mut segments);
        (batch, segments)
    }

    fn find_batch(
        &mut self,
        max_bytes: usize,
        segments: &mut Vec<Segment>,
    ) -> Result<Option<ConsumerBatch>> {
        loop {
            if self.buffer.is_empty() && !self.take(max_bytes)? {
                return Ok(None);
            }
            let Some(next) = self.buffer.front() else {
                return Ok(None);
            };
            let until = self.places.until(next.place);
            if next.from >= until {
                self.buffer.pop_front();
                continue;
            }
            // One that cannot be read stays, or what is behind it would be given out instead.
            let records = next.records_below(until)?;
            let next_offset = next.batch.last_offset().saturating_add(1).min(until);
            segments.push(next.segment(records, next_offset)?);
            let Some(next) = self.buffer.pop_front() else {
                return Ok(None);
            };
            if records > 0 {
                return Ok(Some(ConsumerBatch {
                    topic: next.topic,
                    partition: next.partition,
                    high_watermark: next.high_watermark,
                    batch: next.batch,
                    from_offset: next.from,
                    until_offset: until,
                }));
            }
        }
    }

    /// Takes what the feed has; false if it has nothing.
    fn take(&mut self, max_bytes: usize) -> Result<bool> {
        if std::mem::take(&mut self.is_ahead) {
            self.feed.hold(self.kept_bytes);
        }
        if let Some(error) = &self.unreadable {
            return Err(error.clone());
        }
        for fetched in self.feed.take(max_bytes)? {
            self.bytes_taken += fetched.batch.len() as u64;
            let place = self.places.find(&fetched.topic, fetched.partition);
            let Some(place) = place else { continue };
            let reading = match self.check(place, fetched) {
                Ok(reading) => reading,
                Err(error) => {
                    // What came with it is lost with it: nothing behind it may be given out.
                    self.unreadable = Some(error);
                    break;
                }
            };
            if reading.batch.last_offset() >= reading.from {
                self.buffer.push_back(reading);
            }
        }
        match &self.unreadable {
            Some(error) if self.buffer.is_empty() => Err(error.clone()),
            _ => Ok(!self.buffer.is_empty()),
        }
    }

    fn check(&self, place: usize, fetched: FetchedBatch) -> Result<Reading> {
        let FetchedBatch {
            topic,
            partition,
            high_watermark,
            batch,
            from_offset,
        } = fetched;
        let checked = match self.is_remote {
            true => Batch::verified(batch),
            false => Batch::already_verified(batch),
        };
        let batch = checked.map_err(|error| malformed(&topic, partition, from_offset, &error))?;
        let from = from_offset.max(batch.base_offset());
        Ok(Reading {
            place,
            topic,
            partition,
            high_watermark,
            batch,
            from,
        })
    }
}

impl Reading {
    /// Whether the records that are left are numbered without gaps.
    fn is_contiguous(&self) -> bool {
        let header = self.batch.header();
        header.record_count.checked_sub(1) == Some(header.last_offset_delta)
    }

    /// How many records there are from the next one to `until`, exclusive.
    fn records_below(&self, until: i64) -> Result<usize> {
        if self.batch.header().is_control() {
            return Ok(0);
        }
        if self.is_contiguous() {
            let end = self.batch.last_offset().saturating_add(1).min(until);
            return Ok(usize::try_from(end.saturating_sub(self.from)).unwrap_or_default());
        }
        Ok(self.offsets(until)?.len())
    }

    fn offsets(&self, until: i64) -> Result<Vec<i64>> {
        let mut offsets = Vec::new();
        for record in self.batch.records() {
            let record = record
                .map_err(|error| malformed(&self.topic, self.partition, self.from, &error))?;
            if (self.from..until).contains(&record.offset) {
                offsets.push(record.offset);
            }
        }
        Ok(offsets)
    }

    /// The next `records` of it, as they stand in a lease.
    fn segment(&self, records: usize, next_offset: i64) -> Result<Segment> {
        let offsets = if self.is_contiguous() || records == 0 {
            Offsets::Contiguous(self.from..self.from.saturating_add(records as i64))
        } else {
            let mut offsets = self.offsets(next_offset)?;
            offsets.truncate(records);
            Offsets::Sparse(offsets)
        };
        Ok(Segment {
            place: self.place,
            offsets,
            next_offset,
            leader_epoch: self.batch.header().leader_epoch,
        })
    }
}

/// Adds a segment, or lengthens the one before it: many small batches make one segment.
fn add_segment(segments: &mut Vec<Segment>, segment: Segment) {
    if let Some(last) = segments.last_mut()
        && last.place == segment.place
        && let (Offsets::Contiguous(before), Offsets::Contiguous(offsets)) =
            (&mut last.offsets, &segment.offsets)
        && before.end == offsets.start
        && last.next_offset == before.end
    {
        before.end = offsets.end;
        last.next_offset = segment.next_offset;
        last.leader_epoch = segment.leader_epoch;
        return;
    }
    segments.push(segment);
}

#[cfg(test)]
mod tests;
