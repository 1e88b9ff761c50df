//! Receive blocks, built straight from stored batches: the one place where records are unpacked.
//!
//! Records are appended column by column into buffers that the builder keeps; `finish` lays them
//! out once. Columns that say nothing (no key anywhere, no tombstone, offsets without gaps) are
//! left out.

use super::{HEADER_BYTES, RUN_BYTES, RUN_FLAG_APPEND_TIME, layout};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX};
use crate::record::{
    Batch, BatchError, EncodedHeaders, HeaderError, RecordProblem, RecordView, pack_header,
};

/// Bytes of a row apart from its key, value and headers: an offset delta, a timestamp, three ends,
/// and two bits rounded up.
const ROW_BYTES: usize = 4 + 8 + 3 * 4 + 1;

/// Bytes of a block without rows: the header, three first ends, and the padding of nine columns.
const EMPTY_BYTES: usize = HEADER_BYTES + 3 * 4 + 9 * 8;

/// How many topic names are looked at before one is written again.
const TOPICS_COMPARED: usize = 8;

/// What [`BlockBuilder::push_batch`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Records added to the block.
    pub records: usize,
    /// The offset to go on from: behind the batch, or the first record that did not fit.
    pub next_offset: i64,
}

/// A finished block: one allocation, aligned to 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub(super) words: Vec<u64>,
}

impl Block {
    /// The block's bytes, a multiple of 8 of them.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words)
    }

    /// The block's memory, for a host that takes it over as it is.
    #[must_use]
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// A record that was taken out of its batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Single<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) leader_epoch: i32,
    /// Whether the log set its timestamp.
    pub(crate) is_append_time: bool,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// Packed, and read from a batch.
    pub(crate) headers: &'a [u8],
}

/// Builds receive blocks and keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    pub(super) runs: Vec<Run>,
    pub(super) offset_deltas: Vec<u32>,
    pub(super) timestamps: Vec<i64>,
    pub(super) key_ends: Vec<u32>,
    pub(super) value_ends: Vec<u32>,
    pub(super) header_ends: Vec<u32>,
    /// Rows without a key, without a value: mostly all or none, so no bitmap until the end.
    pub(super) keyless_rows: Vec<u32>,
    pub(super) tombstone_rows: Vec<u32>,
    pub(super) keys: Vec<u8>,
    pub(super) values: Vec<u8>,
    pub(super) headers: Vec<u8>,
    pub(super) topics: Vec<u8>,
    /// Whether a run has an offset that is not its base plus the row's place in it.
    pub(super) has_gaps: bool,
}

/// Rows of one partition, offsets rising.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) base_offset: i64,
    pub(super) first_row: u32,
    pub(super) row_count: u32,
    pub(super) partition: i32,
    pub(super) leader_epoch: i32,
    /// In `topics`.
    pub(super) topic_start: u32,
    pub(super) topic_len: u32,
    pub(super) flags: u32,
    pub(super) last_offset: i64,
}

/// How far every column was filled, to go back to.
struct Mark {
    rows: usize,
    runs: usize,
    last_run: Option<Run>,
    keys: usize,
    values: usize,
    headers: usize,
    topics: usize,
    has_gaps: bool,
}

impl BlockBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records so far.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there is no record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// An upper bound of the block's bytes, were it finished now.
    #[inline]
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        EMPTY_BYTES
            + self.len() * ROW_BYTES
            + self.runs.len() * RUN_BYTES
            + self.topics.len()
            + self.keys.len()
            + self.values.len()
            + self.headers.len()
    }

    /// Adds the records of `batch` from `from_offset` on, as many as fit.
    ///
    /// `max_records` and `max_bytes` are limits of the whole block, not of this call; `max_bytes`
    /// counts to 64 MiB. The first record of a block is taken whatever its size, so a consumer
    /// always gets on. `topic` is a valid name: readers refuse a longer one than
    /// [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX). Control batches are passed over. Rows of one partition that follow on each
    /// other share a run.
    ///
    /// # Errors
    /// [`BatchError`] for a malformed record, records that cannot be decompressed, or a record that
    /// no block can hold; nothing of the batch is taken then.
    pub fn push_batch(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &Batch,
        from_offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Taken, BatchError> {
        let behind = batch.last_offset().saturating_add(1).max(from_offset);
        if batch.header().is_control() || batch.last_offset() < from_offset {
            return Ok(Taken {
                records: 0,
                next_offset: behind,
            });
        }
        let source = Source {
            topic,
            partition,
            leader_epoch: batch.header().leader_epoch,
            flags: batch
                .header()
                .append_time_ms()
                .map_or(0, |_| RUN_FLAG_APPEND_TIME),
        };
        let mark = self.mark();
        let max_bytes = max_bytes.min(BLOCK_BYTES_MAX);
        let result = self.push_records(&source, batch, from_offset, max_records, max_bytes);
        match result {
            Ok(stopped_at) => Ok(Taken {
                records: self.len() - mark.rows,
                next_offset: stopped_at.unwrap_or(behind),
            }),
            Err(error) => {
                self.roll_back(&mark);
                Err(error)
            }
        }
    }

    /// Adds one record, taken out of its batch; false if it does not fit. The limits are those of
    /// [`push_batch`](Self::push_batch), and so is the first record.
    ///
    /// # Errors
    /// [`BatchError::BlockTooLarge`] for a record that no block can hold.
    pub(crate) fn push_single(
        &mut self,
        single: &Single<'_>,
        max_bytes: usize,
    ) -> Result<bool, BatchError> {
        let source = Source {
            topic: single.topic,
            partition: single.partition,
            leader_epoch: single.leader_epoch,
            flags: match single.is_append_time {
                true => RUN_FLAG_APPEND_TIME,
                false => 0,
            },
        };
        let record = RecordView {
            offset: single.offset,
            timestamp_ms: single.timestamp_ms,
            key: single.key,
            value: single.value,
            headers: EncodedHeaders::default(),
        };
        let headers_before = self.headers.len();
        self.headers.extend_from_slice(single.headers);
        let fits = self.fits(&record, &source, max_bytes.min(BLOCK_BYTES_MAX));
        if !matches!(fits, Ok(true)) || self.len() >= BLOCK_RECORDS_MAX {
            self.headers.truncate(headers_before);
            return fits.map(|_| false);
        }
        let continues_run = self
            .runs
            .last()
            .is_some_and(|run| run.takes(&source, &self.topics));
        self.push_record(&record, &source, continues_run);
        Ok(true)
    }

    /// Lays the block out. The builder is empty again and keeps its buffers.
    #[must_use]
    pub fn finish(&mut self) -> Block {
        let block = layout::lay_out(self);
        self.clear();
        block
    }

    /// Forgets the records so far and keeps the buffers.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.offset_deltas.clear();
        self.timestamps.clear();
        self.key_ends.clear();
        self.value_ends.clear();
        self.header_ends.clear();
        self.keyless_rows.clear();
        self.tombstone_rows.clear();
        self.keys.clear();
        self.values.clear();
        self.headers.clear();
        self.topics.clear();
        self.has_gaps = false;
    }

    /// Returns the offset of the first record that did not fit, none if all did.
    fn push_records(
        &mut self,
        source: &Source<'_>,
        batch: &Batch,
        from_offset: i64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Option<i64>, BatchError> {
        let mut records = batch.records();
        records.skip_below(from_offset);
        let mut continues_run = self
            .runs
            .last()
            .is_some_and(|run| run.takes(source, &self.topics));
        loop {
            let (index, position) = records.place();
            let Some(record) = records.next() else {
                return Ok(None);
            };
            let record = record?;
            if record.offset < from_offset {
                continue;
            }
            if self.len() >= max_records.clamp(1, BLOCK_RECORDS_MAX) {
                return Ok(Some(record.offset));
            }
            let headers_before = self.headers.len();
            if record.header_count() > 0 {
                pack_headers(&record, &mut self.headers).map_err(|error| {
                    let problem = RecordProblem::Headers(error);
                    BatchError::Record {
                        index,
                        position,
                        problem,
                    }
                })?;
            }
            if !self.fits(&record, source, max_bytes)? {
                self.headers.truncate(headers_before);
                return Ok(Some(record.offset));
            }
            self.push_record(&record, source, continues_run);
            continues_run = true;
        }
    }

    /// Whether the block stays within `max_bytes` with `record`, whose headers are in it already.
    #[inline]
    fn fits(
        &self,
        record: &RecordView<'_>,
        source: &Source<'_>,
        max_bytes: usize,
    ) -> Result<bool, BatchError> {
        let data_bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let run_bytes = RUN_BYTES + source.topic.len();
        let found = self.size_bytes() + ROW_BYTES + run_bytes + data_bytes;
        if found <= max_bytes {
            return Ok(true);
        }
        // Only the first record may be larger than was asked for, and never than positions reach.
        if self.is_empty() && found > i32::MAX as usize {
            return Err(BatchError::BlockTooLarge {
                found,
                max: i32::MAX as usize,
            });
        }
        Ok(self.is_empty())
    }

    /// `fits` has kept every length within `u32`.
    #[inline]
    fn push_record(&mut self, record: &RecordView<'_>, source: &Source<'_>, continues_run: bool) {
        let row = self.len() as u32;
        let delta = self.place_in_run(row, record.offset, source, continues_run);
        self.offset_deltas.push(delta);
        self.timestamps.push(record.timestamp_ms);
        match record.key {
            Some(key) => self.keys.extend_from_slice(key),
            None => self.keyless_rows.push(row),
        }
        match record.value {
            Some(value) => self.values.extend_from_slice(value),
            None => self.tombstone_rows.push(row),
        }
        self.key_ends.push(self.keys.len() as u32);
        self.value_ends.push(self.values.len() as u32);
        self.header_ends.push(self.headers.len() as u32);
    }

    /// Adds the row to the last run, if that is of the same source, or begins one; returns its
    /// offset less the run's base.
    #[inline]
    fn place_in_run(
        &mut self,
        row: u32,
        offset: i64,
        source: &Source<'_>,
        continues_run: bool,
    ) -> u32 {
        if continues_run
            && let Some(run) = self.runs.last_mut()
            && offset > run.last_offset
            && let Ok(delta) = u32::try_from(offset - run.base_offset)
        {
            self.has_gaps |= delta != run.row_count;
            run.row_count += 1;
            run.last_offset = offset;
            return delta;
        }
        let (topic_start, topic_len) = self.topic(source.topic);
        self.runs.push(Run {
            base_offset: offset,
            first_row: row,
            row_count: 1,
            partition: source.partition,
            leader_epoch: source.leader_epoch,
            topic_start,
            topic_len,
            flags: source.flags,
            last_offset: offset,
        });
        0
    }

    /// Where the topic's name stands in `topics`, writing it there if need be.
    fn topic(&mut self, name: &str) -> (u32, u32) {
        for run in self.runs.iter().rev().take(TOPICS_COMPARED) {
            if run.topic(&self.topics) == name.as_bytes() {
                return (run.topic_start, run.topic_len);
            }
        }
        let start = self.topics.len() as u32;
        self.topics.extend_from_slice(name.as_bytes());
        (start, name.len() as u32)
    }

    fn mark(&self) -> Mark {
        Mark {
            rows: self.len(),
            runs: self.runs.len(),
            last_run: self.runs.last().copied(),
            keys: self.keys.len(),
            values: self.values.len(),
            headers: self.headers.len(),
            topics: self.topics.len(),
            has_gaps: self.has_gaps,
        }
    }

    fn roll_back(&mut self, mark: &Mark) {
        self.runs.truncate(mark.runs);
        if let (Some(last), Some(before)) = (self.runs.last_mut(), mark.last_run) {
            *last = before;
        }
        self.offset_deltas.truncate(mark.rows);
        self.timestamps.truncate(mark.rows);
        self.key_ends.truncate(mark.rows);
        self.value_ends.truncate(mark.rows);
        self.header_ends.truncate(mark.rows);
        for rows in [&mut self.keyless_rows, &mut self.tombstone_rows] {
            let kept = rows.partition_point(|&row| (row as usize) < mark.rows);
            rows.truncate(kept);
        }
        self.keys.truncate(mark.keys);
        self.values.truncate(mark.values);
        self.headers.truncate(mark.headers);
        self.topics.truncate(mark.topics);
        self.has_gaps = mark.has_gaps;
    }
}

/// Where the records of a batch come from: what a run says once for all of them.
struct Source<'a> {
    topic: &'a str,
    partition: i32,
    leader_epoch: i32,
    flags: u32,
}

impl Run {
    #[inline]
    fn takes(&self, source: &Source<'_>, topics: &[u8]) -> bool {
        self.partition == source.partition
            && self.leader_epoch == source.leader_epoch
            && self.flags == source.flags
            && self.topic(topics) == source.topic.as_bytes()
    }

    fn topic<'a>(&self, topics: &'a [u8]) -> &'a [u8] {
        let start = self.topic_start as usize;
        topics
            .get(start..start + self.topic_len as usize)
            .unwrap_or_default()
    }
}

fn pack_headers(record: &RecordView<'_>, out: &mut Vec<u8>) -> Result<(), HeaderError> {
    record
        .headers()
        .try_for_each(|header| pack_header(out, &header?))
}
