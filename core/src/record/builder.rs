//! Records encoded straight into a batch, one after the other, with room for the header in front.
//!
//! Nothing is encoded twice or copied again: `finish` writes the header, computes the checksum over
//! what stands there, and hands the buffer over. `finish_compressed` makes a frame of the records
//! first, in one go, and keeps the buffer.

use super::batch::{self, BatchHeader, HEADER_BYTES, NO_LEADER_EPOCH};
use super::varint::{self, write_u64, zigzag_i32, zigzag_i64};
use super::{BatchError, Codec, Compressor, RecordRef};
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, RECORD_HEADERS_MAX};

/// Bytes that every record's fixed fields fit into: six varints, one of 64 bits, and a byte.
const FIXED_BYTES_MAX: usize = 6 * varint::MAX_I32_BYTES + varint::MAX_I64_BYTES + 1;

// Every length and count of a batch is an `i32`.
const _: () = assert!(BATCH_BYTES_MAX <= i32::MAX as usize);
const _: () = assert!(BATCH_RECORDS_MAX <= i32::MAX as usize);

/// The smallest buffer a batch begins with.
const FIRST_CAPACITY_BYTES: usize = 1024;

/// Builds record batches.
///
/// ```
/// use headwater::record::{Batch, BatchBuilder, RecordRef};
///
/// let mut builder = BatchBuilder::new(16 * 1024);
/// builder.push(&RecordRef { timestamp_ms: 1_000, value: Some(b"hello"), ..Default::default() })?;
/// let bytes = builder.finish(-1, -1, -1).expect("it has a record");
/// let batch = Batch::verified(bytes.into())?;
/// assert_eq!(batch.records().next().expect("one")?.value, Some(&b"hello"[..]));
/// # Ok::<(), headwater::record::BatchError>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: Vec<u8>,
    /// What the next batch's buffer begins with: about what the last one took.
    capacity_bytes: usize,
    capacity_bytes_max: usize,
    record_count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// A builder of batches that will have about `capacity_bytes`.
    ///
    /// That is a hint and no limit: a builder starts with a small buffer, learns from its last
    /// batch, and never sets aside more than the hint before it is needed.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            capacity_bytes: FIRST_CAPACITY_BYTES.min(capacity_bytes),
            capacity_bytes_max: capacity_bytes,
            record_count: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        }
    }

    /// Whether there is no record yet.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Records so far.
    #[inline]
    #[must_use]
    pub const fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Bytes of the batch so far, its header included.
    #[inline]
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        if self.is_empty() {
            HEADER_BYTES
        } else {
            self.buffer.len()
        }
    }

    /// The first record's timestamp.
    #[must_use]
    pub const fn first_timestamp_ms(&self) -> Option<i64> {
        if self.is_empty() {
            None
        } else {
            Some(self.base_timestamp_ms)
        }
    }

    /// The largest timestamp so far.
    #[must_use]
    pub const fn max_timestamp_ms(&self) -> Option<i64> {
        if self.is_empty() {
            None
        } else {
            Some(self.max_timestamp_ms)
        }
    }

    /// An upper bound of the bytes by which `record` would make a batch longer.
    #[inline]
    #[must_use]
    pub fn estimate(record: &RecordRef<'_>) -> usize {
        FIXED_BYTES_MAX
            .saturating_add(record.key.map_or(0, <[u8]>::len))
            .saturating_add(record.value.map_or(0, <[u8]>::len))
            .saturating_add(record.headers.estimate())
    }

    /// Appends a record and returns its index in the batch. On an error nothing has changed.
    ///
    /// # Errors
    /// `TooLarge`, `TooManyRecords` and `TooManyHeaders` at the limits
    /// ([`BATCH_BYTES_MAX`], [`BATCH_RECORDS_MAX`], [`RECORD_HEADERS_MAX`]), `TimestampRange` when
    /// this timestamp and the first record's are 2^63 ms apart, `Headers` for malformed packed
    /// headers.
    #[inline]
    pub fn push(&mut self, record: &RecordRef<'_>) -> Result<u32, BatchError> {
        let index = self.record_count;
        let first = index == 0;
        let base_timestamp_ms = if first {
            record.timestamp_ms
        } else {
            self.base_timestamp_ms
        };
        let (header_count, header_bytes) = record.headers.measure().map_err(BatchError::Headers)?;
        let fields = Fields {
            timestamp_delta: record.timestamp_ms.checked_sub(base_timestamp_ms).ok_or(
                BatchError::TimestampRange {
                    timestamp_ms: record.timestamp_ms,
                    base_timestamp_ms,
                },
            )?,
            index,
            key_len: record.key.map(<[u8]>::len),
            value_len: record.value.map(<[u8]>::len),
            header_count,
            header_bytes,
        };
        let body_bytes = self.check_size(&fields)?;
        if first {
            self.begin();
        }
        self.encode(record, &fields, body_bytes);
        self.base_timestamp_ms = base_timestamp_ms;
        self.max_timestamp_ms = if first {
            record.timestamp_ms
        } else {
            self.max_timestamp_ms.max(record.timestamp_ms)
        };
        self.record_count = index + 1;
        Ok(index)
    }

    /// The batch: base offset 0, no leader epoch, the checksum right. The builder is empty again.
    ///
    /// None when there is no record: an empty batch is no batch.
    pub fn finish(
        &mut self,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
    ) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        let producer = (producer_id, producer_epoch, base_sequence);
        self.seal(&mut bytes, Codec::None, producer);
        // Whoever keeps the batch pays for its bytes, not for a buffer that turned out too large.
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        self.record_count = 0;
        self.learn(bytes.len());
        Some(bytes)
    }

    /// The same, with the records compressed. Records that get no shorter stay as they are, and the
    /// batch says so.
    pub fn finish_compressed(
        &mut self,
        compressor: &mut Compressor,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
    ) -> Option<Vec<u8>> {
        let codec = compressor.codec();
        let section = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
        let Some(frame) = compressor.compress(section).filter(|_| !self.is_empty()) else {
            return self.finish(producer_id, producer_epoch, base_sequence);
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + frame.len());
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        bytes.extend_from_slice(frame);
        let producer = (producer_id, producer_epoch, base_sequence);
        self.seal(&mut bytes, codec, producer);
        self.learn(self.buffer.len());
        self.clear();
        // One large record does not make the buffer large for ever.
        self.buffer
            .shrink_to(self.capacity_bytes_max.saturating_mul(2));
        Some(bytes)
    }

    /// Writes the header and the checksum of `bytes`, which hold the records behind room for them.
    fn seal(&self, bytes: &mut [u8], codec: Codec, producer: (i64, i16, i32)) {
        let (producer_id, producer_epoch, base_sequence) = producer;
        let header = BatchHeader {
            base_offset: 0,
            // `check_size` kept both within `i32`.
            batch_length: (bytes.len() - 12) as i32,
            leader_epoch: NO_LEADER_EPOCH,
            magic: batch::MAGIC,
            crc: 0,
            attributes: codec as u16,
            last_offset_delta: (self.record_count - 1) as i32,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.record_count as i32,
        };
        if let Some(space) = bytes.first_chunk_mut::<HEADER_BYTES>() {
            *space = header.encode();
        }
        batch::write_checksum(bytes);
    }

    /// The next batch's buffer: a little more than this one took, so that equal batches never grow
    /// it.
    fn learn(&mut self, size_bytes: usize) {
        let next = size_bytes.saturating_add(size_bytes / 16 + FIXED_BYTES_MAX);
        self.capacity_bytes = next.max(FIRST_CAPACITY_BYTES).min(self.capacity_bytes_max);
    }

    /// Forgets the records so far; the buffer is kept.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.record_count = 0;
    }

    fn begin(&mut self) {
        self.buffer.clear();
        self.buffer.reserve(self.capacity_bytes.max(HEADER_BYTES));
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
    }

    /// The bytes of the record behind its length.
    #[inline]
    fn check_size(&self, fields: &Fields) -> Result<i32, BatchError> {
        if self.record_count as usize >= BATCH_RECORDS_MAX {
            return Err(BatchError::TooManyRecords {
                max: BATCH_RECORDS_MAX,
            });
        }
        if fields.header_count > RECORD_HEADERS_MAX {
            return Err(BatchError::TooManyHeaders {
                found: fields.header_count,
                max: RECORD_HEADERS_MAX,
            });
        }
        let body_bytes = fields.body_bytes();
        let size = self.size_bytes() as u64 + body_bytes + varint::MAX_I32_BYTES as u64;
        if size > BATCH_BYTES_MAX as u64 {
            return Err(BatchError::TooLarge {
                found: size,
                max: BATCH_BYTES_MAX as u64,
            });
        }
        Ok(body_bytes as i32)
    }

    /// Sizes are checked, so every length fits an `i32`.
    #[inline]
    fn encode(&mut self, record: &RecordRef<'_>, fields: &Fields, body_bytes: i32) {
        let buffer = &mut self.buffer;
        buffer.reserve(body_bytes as usize + SCRATCH_BYTES);

        let mut scratch = [0; SCRATCH_BYTES];
        let mut at = write_u64(&mut scratch, 0, zigzag_i32(body_bytes).into());
        at += 1; // the record's attributes: 0
        at = write_u64(&mut scratch, at, zigzag_i64(fields.timestamp_delta));
        at = write_u64(&mut scratch, at, zigzag_i32(fields.index as i32).into());
        at = write_u64(&mut scratch, at, zigzag_len(fields.key_len));
        if let Some(key) = record.key {
            append(buffer, &scratch, at);
            buffer.extend_from_slice(key);
            scratch = [0; SCRATCH_BYTES];
            at = 0;
        }
        at = write_u64(&mut scratch, at, zigzag_len(fields.value_len));
        append(buffer, &scratch, at);
        if let Some(value) = record.value {
            buffer.extend_from_slice(value);
        }
        if fields.header_count == 0 {
            buffer.push(0);
        } else {
            varint::put_i32(buffer, fields.header_count as i32);
            record.headers.encode(buffer);
        }
    }
}

/// What `encode` writes before the value, at most 31 bytes, rounded up to a size that is copied in
/// two instructions.
const SCRATCH_BYTES: usize = 32;
const _: () = assert!(4 * varint::MAX_I32_BYTES + varint::MAX_I64_BYTES + 1 < SCRATCH_BYTES);

/// Appends the first `len` bytes of `scratch`: a copy of constant size and a cut are several times
/// cheaper than a copy of a few bytes.
#[inline]
fn append(buffer: &mut Vec<u8>, scratch: &[u8; SCRATCH_BYTES], len: usize) {
    let end = buffer.len() + len;
    buffer.extend_from_slice(scratch);
    buffer.truncate(end);
}

/// A length as zigzag, -1 for none.
#[inline]
fn zigzag_len(len: Option<usize>) -> u64 {
    len.map_or(1, |len| (len as u64) << 1)
}

/// The lengths and numbers of a record.
struct Fields {
    timestamp_delta: i64,
    index: u32,
    key_len: Option<usize>,
    value_len: Option<usize>,
    header_count: usize,
    header_bytes: u64,
}

impl Fields {
    /// The bytes of the record behind its length. Exact where they fit an `i32`, larger than that
    /// where they do not.
    #[inline]
    fn body_bytes(&self) -> u64 {
        1 + varint::size_i64(self.timestamp_delta) as u64
            + varint::size_i32(self.index as i32) as u64
            + varint::size_i64(self.key_len.map_or(-1, |len| len as i64)) as u64
            + self.key_len.map_or(0, |len| len as u64)
            + varint::size_i64(self.value_len.map_or(-1, |len| len as i64)) as u64
            + self.value_len.map_or(0, |len| len as u64)
            + varint::size_i64(self.header_count as i64) as u64
            + self.header_bytes
    }
}

#[cfg(test)]
mod tests;
