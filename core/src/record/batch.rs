//! Kafka's record batch, version 2 (big-endian):
//!
//! ```text
//!  0 base offset i64              8 batch length i32 (bytes behind this field)
//! 12 leader epoch i32            16 magic i8 = 2
//! 17 crc u32 (CRC-32C of byte 21 to the end)
//! 21 attributes u16: 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//! 23 last offset delta i32       27 base timestamp i64, ms    35 max timestamp i64, ms
//! 43 producer id i64             51 producer epoch i16        53 base sequence i32
//! 57 record count i32            61 records
//! ```
//!
//! Base offset, batch length, leader epoch and magic stand outside the checksum, so that a log can
//! [`stamp`] a batch without reading it. Where attributes name a codec, everything behind the
//! header is one frame of it (see [`compression`]), and the checksum is that of the compressed
//! bytes. What this module lets through has a header without contradictions; its records are looked
//! at by [`Records`] and [`verify_records`] alone.

mod shared;
mod stamp;

pub use shared::Batch;
pub(crate) use stamp::stamp_producer;
pub use stamp::{stamp, stamp_append_time, stamp_max_timestamp};

use super::{BatchError, RecordProblem, Records, compression};
use crate::limits::{BATCH_RECORDS_MAX, RECORD_HEADERS_MAX};

/// Bytes of a batch before its first record.
pub const HEADER_BYTES: usize = 61;
/// The producer id of a batch whose producer has none.
pub const NO_PRODUCER_ID: i64 = -1;
/// The producer epoch that goes with [`NO_PRODUCER_ID`].
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// The base sequence that goes with [`NO_PRODUCER_ID`].
pub const NO_SEQUENCE: i32 = -1;
/// The leader epoch of a batch that no log has stamped.
pub const NO_LEADER_EPOCH: i32 = -1;
/// The only message format there is here.
pub const MAGIC: i8 = 2;

/// Bytes that the batch length does not count: base offset and the length itself.
const UNCOUNTED_BYTES: usize = LEADER_EPOCH;
const BATCH_LENGTH_MIN: i32 = (HEADER_BYTES - UNCOUNTED_BYTES) as i32;

const BASE_OFFSET: usize = 0;
const BATCH_LENGTH: usize = BASE_OFFSET + 8;
const LEADER_EPOCH: usize = BATCH_LENGTH + 4;
const MAGIC_AT: usize = LEADER_EPOCH + 4;
const CRC: usize = MAGIC_AT + 1;
const ATTRIBUTES: usize = CRC + 4;
const LAST_OFFSET_DELTA: usize = ATTRIBUTES + 2;
const BASE_TIMESTAMP: usize = LAST_OFFSET_DELTA + 4;
const MAX_TIMESTAMP: usize = BASE_TIMESTAMP + 8;
const PRODUCER_ID: usize = MAX_TIMESTAMP + 8;
const PRODUCER_EPOCH: usize = PRODUCER_ID + 8;
const BASE_SEQUENCE: usize = PRODUCER_EPOCH + 2;
const RECORD_COUNT: usize = BASE_SEQUENCE + 4;
const _: () = assert!(RECORD_COUNT + 4 == HEADER_BYTES);

pub(super) const CODEC_BITS: u16 = 0b111;
const LOG_APPEND_TIME: u16 = 1 << 3;
const TRANSACTIONAL: u16 = 1 << 4;
const CONTROL: u16 = 1 << 5;
const DELETE_HORIZON: u16 = 1 << 6;
const KNOWN_BITS: u16 = CODEC_BITS | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL | DELETE_HORIZON;

/// How the records of a batch are compressed. The numbers are Kafka's, and stand in the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    None = 0,
    /// gzip
    Gzip = 1,
    /// snappy
    Snappy = 2,
    /// lz4
    Lz4 = 3,
    /// zstd
    Zstd = 4,
}

impl Codec {
    /// Every codec, by number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The name that options and messages use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What the timestamps of a batch mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer set each record's.
    CreateTime,
    /// The log set one for the batch when it was appended.
    LogAppendTime,
}

/// The header of a batch: every field as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// Offset of the first record (of the first there once was, in a compacted batch).
    pub base_offset: i64,
    /// Bytes of the batch behind this field.
    pub batch_length: i32,
    /// Leader epoch of the log that took it, -1 before.
    pub leader_epoch: i32,
    /// Message format, 2.
    pub magic: i8,
    /// CRC-32C of everything from the attributes to the end.
    pub crc: u32,
    /// Codec and flags, see the module's layout.
    pub attributes: u16,
    /// Offset of the last record (as above), less the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are added to, ms since 1970 UTC.
    pub base_timestamp_ms: i64,
    /// The largest timestamp, or the append time, ms since 1970 UTC.
    pub max_timestamp_ms: i64,
    /// The producer, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence of the first record, or -1.
    pub base_sequence: i32,
    /// Records in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// The header that `bytes` begin with, after checking that it does not contradict itself.
    ///
    /// The batch may be longer than `bytes` (see [`total_bytes`](Self::total_bytes)); the checksum
    /// is not looked at.
    ///
    /// # Errors
    /// [`BatchError`] for fewer than 61 bytes, another message format, an impossible length, unknown
    /// attribute bits, or counts and offsets that cannot be.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::TooShort {
                found: bytes.len(),
                expected: HEADER_BYTES,
            });
        };
        let header = Self::decode(header);
        header.check()?;
        Ok(header)
    }

    /// The 61 bytes of the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        put(&mut out, BASE_OFFSET, self.base_offset.to_be_bytes());
        put(&mut out, BATCH_LENGTH, self.batch_length.to_be_bytes());
        put(&mut out, LEADER_EPOCH, self.leader_epoch.to_be_bytes());
        put(&mut out, MAGIC_AT, self.magic.to_be_bytes());
        put(&mut out, CRC, self.crc.to_be_bytes());
        put(&mut out, ATTRIBUTES, self.attributes.to_be_bytes());
        put(
            &mut out,
            LAST_OFFSET_DELTA,
            self.last_offset_delta.to_be_bytes(),
        );
        put(
            &mut out,
            BASE_TIMESTAMP,
            self.base_timestamp_ms.to_be_bytes(),
        );
        put(&mut out, MAX_TIMESTAMP, self.max_timestamp_ms.to_be_bytes());
        put(&mut out, PRODUCER_ID, self.producer_id.to_be_bytes());
        put(&mut out, PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(&mut out, BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(&mut out, RECORD_COUNT, self.record_count.to_be_bytes());
        out
    }

    /// Offset of the last record, also of one that compaction removed.
    #[inline]
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(self.last_offset_delta as i64)
    }

    /// Bytes of the whole batch, header included.
    #[inline]
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        UNCOUNTED_BYTES + self.batch_length as u32 as usize
    }

    /// How the records are compressed.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        match self.attributes & CODEC_BITS {
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => Codec::None,
        }
    }

    /// Whether the batch is a marker of the log's own and not for applications.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// What the timestamps mean.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// The time of the append, where the log set it.
    #[must_use]
    pub const fn append_time_ms(&self) -> Option<i64> {
        match self.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(self.max_timestamp_ms),
        }
    }

    /// Sequence of the last record; after 2^31 - 1 comes 0. -1 when the batch has no sequence.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return NO_SEQUENCE;
        }
        let sum = self.base_sequence as i64 + self.last_offset_delta as i64;
        (sum & i32::MAX as i64) as i32
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(take(bytes, BASE_OFFSET)),
            batch_length: i32::from_be_bytes(take(bytes, BATCH_LENGTH)),
            leader_epoch: i32::from_be_bytes(take(bytes, LEADER_EPOCH)),
            magic: i8::from_be_bytes(take(bytes, MAGIC_AT)),
            crc: u32::from_be_bytes(take(bytes, CRC)),
            attributes: u16::from_be_bytes(take(bytes, ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(take(bytes, LAST_OFFSET_DELTA)),
            base_timestamp_ms: i64::from_be_bytes(take(bytes, BASE_TIMESTAMP)),
            max_timestamp_ms: i64::from_be_bytes(take(bytes, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(take(bytes, PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(take(bytes, PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(take(bytes, BASE_SEQUENCE)),
            record_count: i32::from_be_bytes(take(bytes, RECORD_COUNT)),
        }
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.magic != MAGIC {
            return Err(BatchError::Magic { found: self.magic });
        }
        if self.batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::BatchLength {
                found: self.batch_length,
                expected: BATCH_LENGTH_MIN,
            });
        }
        let codec = (self.attributes & CODEC_BITS) as u8;
        if codec > Codec::Zstd as u8 {
            return Err(BatchError::UnknownCodec { found: codec });
        }
        let unknown = self.attributes & !KNOWN_BITS;
        if unknown != 0 {
            return Err(BatchError::Attributes {
                found: self.attributes,
                unknown,
            });
        }
        let (record_count, last_offset_delta) = (self.record_count, self.last_offset_delta);
        // Compaction removes records and keeps the last offset delta, even of an emptied batch.
        if record_count < 0 || last_offset_delta < 0 || record_count - 1 > last_offset_delta {
            return Err(BatchError::RecordCount {
                record_count,
                last_offset_delta,
            });
        }
        // The offset behind the last one must be a number too: it is where the partition goes on.
        let next_offset = self
            .base_offset
            .checked_add(i64::from(last_offset_delta) + 1);
        if self.base_offset < 0 || next_offset.is_none() {
            return Err(BatchError::BaseOffset {
                found: self.base_offset,
                last_offset_delta,
            });
        }
        Ok(())
    }
}

/// Checks that `bytes` are one whole batch: its header, its length, its checksum.
///
/// The records are not decoded, so the cost is that of the CRC.
///
/// # Errors
/// [`BatchError`], which says what was found and what was expected.
pub fn verify(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = parse_whole(bytes)?;
    let found = checksum(bytes);
    if found != header.crc {
        return Err(BatchError::Crc {
            found,
            expected: header.crc,
        });
    }
    Ok(header)
}

/// Checks what a producer sent: [`verify`], and every record of the batch.
///
/// Such a batch has at least one record, and its offset deltas are 0, 1, 2 .. without gaps, unlike
/// those of a batch that compaction has been through. Compressed records are decompressed for it.
///
/// The largest timestamp of the header that is returned is that of the records, whatever the batch says: nothing but
/// the records bears witness to it. [`stamp_max_timestamp`] puts it right in the batch.
///
/// # Errors
/// [`BatchError`], which names the record and its position; `UnsupportedCodec` and `Compression`
/// for records that cannot be decompressed.
pub fn verify_records(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let mut header = verify(bytes)?;
    let (record_count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if record_count - 1 != last_offset_delta {
        return Err(BatchError::RecordCount {
            record_count,
            last_offset_delta,
        });
    }
    if record_count as usize > BATCH_RECORDS_MAX {
        return Err(BatchError::TooManyRecords {
            max: BATCH_RECORDS_MAX,
        });
    }
    let decompressed;
    let section = match header.codec() {
        Codec::None => section(&header, bytes),
        codec => {
            decompressed = compression::decompress(codec, section(&header, bytes))?;
            &decompressed
        }
    };
    if let Some(latest_ms) = check_records(Records::new(&header, section))? {
        header.max_timestamp_ms = latest_ms;
    }
    Ok(header)
}

/// Checks every record of a batch that has as many as it has offset deltas: then "strictly rising
/// and none above the last", which its records see to, leaves no gap. Returns their largest timestamp.
fn check_records(mut records: Records<'_>) -> Result<Option<i64>, BatchError> {
    let mut latest_ms = None;
    loop {
        let (index, position) = records.place();
        let Some(record) = records.next() else {
            return Ok(latest_ms);
        };
        let record = record?;
        latest_ms = latest_ms.max(Some(record.timestamp_ms));
        let headers = record.headers();
        let found = headers.count_remaining() as usize;
        if found > RECORD_HEADERS_MAX {
            return Err(BatchError::TooManyHeaders {
                found,
                max: RECORD_HEADERS_MAX,
            });
        }
        if let Some(error) = headers.filter_map(Result::err).next() {
            let problem = RecordProblem::Headers(error);
            return Err(BatchError::Record {
                index,
                position,
                problem,
            });
        }
    }
}

/// What stands behind the header of the batch `bytes`, as far as there are bytes.
fn section<'a>(header: &BatchHeader, bytes: &'a [u8]) -> &'a [u8] {
    let end = bytes.len().min(header.total_bytes());
    bytes.get(HEADER_BYTES..end).unwrap_or_default()
}

/// A batch of a header and what stands behind it, with the length and the checksum that it has to have.
pub(super) fn assemble(header: &BatchHeader, section: &[u8]) -> Vec<u8> {
    let total_bytes = HEADER_BYTES + section.len();
    let header = BatchHeader {
        // No longer than another batch was, so it fits.
        batch_length: (total_bytes - UNCOUNTED_BYTES) as i32,
        ..*header
    };
    let mut bytes = Vec::with_capacity(total_bytes);
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(section);
    write_checksum(&mut bytes);
    bytes
}

/// Computes the checksum of a batch and writes it into its header.
pub(super) fn write_checksum(bytes: &mut [u8]) {
    let crc = checksum(bytes);
    if let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() {
        put(header, CRC, crc.to_be_bytes());
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes.get(ATTRIBUTES..).unwrap_or_default())
}

fn parse_whole(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let (found, expected) = (bytes.len(), header.total_bytes());
    if found != expected {
        return Err(BatchError::TotalBytes { found, expected });
    }
    Ok(header)
}

/// `at` is one of the constants above, so both range checks vanish.
#[inline(always)]
fn take<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

#[inline(always)]
fn put<const N: usize>(header: &mut [u8; HEADER_BYTES], at: usize, field: [u8; N]) {
    header[at..at + N].copy_from_slice(&field);
}

#[cfg(test)]
mod tests;
