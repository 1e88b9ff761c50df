//! What can be wrong with a record batch or a record, with the facts that name it.

use thiserror::Error;

use super::{Codec, VarintError};

/// Why bytes are not a record batch, or a record does not fit into one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer bytes than a batch header has.
    #[error("{found} bytes are no record batch: its header alone has {expected}")]
    TooShort {
        /// Bytes there are.
        found: usize,
        /// Bytes of a header.
        expected: usize,
    },
    /// The length field is smaller than the header that it counts.
    #[error("batch length {found} is below the {expected} bytes of the header that it counts")]
    BatchLength {
        /// The field.
        found: i32,
        /// Its smallest value.
        expected: i32,
    },
    /// The bytes are more or fewer than the batch says it has.
    #[error("the batch says it has {expected} bytes, there are {found}")]
    TotalBytes {
        /// Bytes there are.
        found: usize,
        /// Bytes by the header.
        expected: usize,
    },
    /// A message format other than version 2.
    #[error("message format version {found}, expected 2")]
    Magic {
        /// The version byte.
        found: i8,
    },
    /// Attribute bits that no known version of the format uses.
    #[error("attributes {found:#06x} have unknown bits {unknown:#06x}")]
    Attributes {
        /// The field.
        found: u16,
        /// The bits that are not known.
        unknown: u16,
    },
    /// The record count and the last offset delta cannot both be true.
    #[error("{record_count} records do not go with a last offset delta of {last_offset_delta}")]
    RecordCount {
        /// The record count of the header.
        record_count: i32,
        /// The last offset delta of the header.
        last_offset_delta: i32,
    },
    /// The base offset is negative, or no offset is left behind the last one.
    #[error("base offset {found} with last offset delta {last_offset_delta} is out of range")]
    BaseOffset {
        /// The base offset.
        found: i64,
        /// The last offset delta.
        last_offset_delta: i32,
    },
    /// The checksum does not match: a byte of the batch is not as it was written.
    #[error("crc {found:#010x} computed, {expected:#010x} expected")]
    Crc {
        /// Computed from the bytes.
        found: u32,
        /// Stored in the header.
        expected: u32,
    },
    /// The records are compressed with a codec that is none of Kafka's.
    #[error("compression codec {found} is not known")]
    UnknownCodec {
        /// Its number.
        found: u8,
    },
    /// The records are compressed, and this build cannot read the codec.
    #[error("compression {} is not supported", codec.name())]
    UnsupportedCodec {
        /// The codec.
        codec: Codec,
    },
    /// The records are compressed, and cannot be decompressed.
    #[error("the records, compressed with {}: {problem}", codec.name())]
    Compression {
        /// The codec.
        codec: Codec,
        /// What is wrong with the compressed bytes.
        problem: CompressionProblem,
    },
    /// A record of the batch is malformed.
    #[error("record {index} at byte {position} of the batch: {problem}")]
    Record {
        /// The record's index in the batch, from 0.
        index: u32,
        /// Where the record begins, in bytes from the start of the batch; of a compressed batch, as
        /// it is uncompressed.
        position: usize,
        /// What is wrong with it.
        problem: RecordProblem,
    },
    /// Bytes follow the last record.
    #[error("{found} bytes follow the last record of the batch, at byte {position}")]
    TrailingBytes {
        /// Where they begin, as above.
        position: usize,
        /// How many.
        found: usize,
    },
    /// The record does not fit: a batch of it and the records before it would be too large.
    #[error("the record makes a batch of {found} bytes, the most is {max}")]
    TooLarge {
        /// Bytes of the batch with this record.
        found: u64,
        /// Bytes a batch can have.
        max: u64,
    },
    /// The batch has as many records as it can have, or says it has more.
    #[error("a batch has {max} records at most")]
    TooManyRecords {
        /// The most records of a batch.
        max: usize,
    },
    /// The record has more headers than a record can have.
    #[error("{found} headers in one record, the most is {max}")]
    TooManyHeaders {
        /// Headers of the record.
        found: usize,
        /// The most headers of a record.
        max: usize,
    },
    /// A record is too large for the positions of a block, which have 32 bits.
    #[error("the record makes a block of {found} bytes, the most is {max}")]
    BlockTooLarge {
        /// Bytes of the block with this record.
        found: usize,
        /// Bytes a block can have.
        max: usize,
    },
    /// Two timestamps of a batch are too far apart to be written as a difference.
    #[error("timestamp {timestamp_ms} is too far from the batch's first, {base_timestamp_ms}")]
    TimestampRange {
        /// The record's.
        timestamp_ms: i64,
        /// The batch's first.
        base_timestamp_ms: i64,
    },
    /// Headers handed to the builder are malformed.
    #[error("record headers: {0}")]
    Headers(HeaderError),
}

/// What is wrong with the compressed records of a batch. Positions are bytes from the start of the
/// frame, which stands behind the batch's header.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompressionProblem {
    /// More comes out than a batch's records may have.
    #[error("more than {max} bytes come out, which is the most")]
    TooLarge {
        /// The most bytes.
        max: usize,
    },
    /// The bytes end within the frame.
    #[error("the bytes end at {position}, within the frame's {part}")]
    Cut {
        /// How many bytes there are.
        position: usize,
        /// What stands there.
        part: &'static str,
    },
    /// The frame begins with another number than its kind of frames.
    #[error("{found:#010x} is not what a frame begins with")]
    Magic {
        /// The number.
        found: u32,
    },
    /// The frame's descriptor says what no known version of the format does, or asks for a
    /// dictionary.
    #[error(
        "flags {flags:#04x} and block descriptor {block:#04x} are not those of a frame we read"
    )]
    Descriptor {
        /// The flags.
        flags: u8,
        /// The block descriptor.
        block: u8,
    },
    /// A checksum of the frame does not match.
    #[error(
        "checksum {found:#x} of the {part} computed, {expected:#x} expected at byte {position}"
    )]
    Checksum {
        /// What it covers.
        part: &'static str,
        /// Where it stands.
        position: usize,
        /// Computed from the bytes.
        found: u32,
        /// What stands there.
        expected: u32,
    },
    /// A block is longer than the frame's descriptor lets it be.
    #[error("a block of {found} bytes at byte {position}, the frame's blocks have {max} at most")]
    BlockLength {
        /// Where the block begins.
        position: usize,
        /// Its length.
        found: usize,
        /// The most.
        max: usize,
    },
    /// A block cannot be decoded.
    #[error("the block at byte {position} is damaged: {reason}")]
    Block {
        /// Where the block begins.
        position: usize,
        /// What the decoder says.
        reason: &'static str,
    },
    /// The frame says how much it holds, and it is not so.
    #[error("{found} bytes came out, the frame says {expected}")]
    ContentSize {
        /// What came out.
        found: u64,
        /// What the frame says.
        expected: u64,
    },
    /// Bytes follow the frame.
    #[error("{found} bytes follow the frame, at byte {position}")]
    TrailingBytes {
        /// Where they begin.
        position: usize,
        /// How many.
        found: usize,
    },
    /// The frame cannot be decoded; its decoder does not say where.
    #[error("the frame is damaged: {reason}")]
    Frame {
        /// What the decoder says.
        reason: &'static str,
    },
}

/// What is wrong with one record of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordProblem {
    /// The record has a length that is negative or beyond the end of the batch.
    #[error("length {found}, but {remaining} bytes remain")]
    Length {
        /// The length field.
        found: i32,
        /// Bytes that remain behind it.
        remaining: usize,
    },
    /// The key or the value has a length that is below -1 or beyond the end of the record.
    #[error("{field} length {found}, but {remaining} bytes remain")]
    FieldLength {
        /// "key" or "value".
        field: &'static str,
        /// The length field.
        found: i32,
        /// Bytes of the record that remain behind it.
        remaining: usize,
    },
    /// The record is too short for its fixed fields.
    #[error("the record ends before its attributes")]
    NoAttributes,
    /// A varint is malformed.
    #[error("{field}: {source}")]
    Varint {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: VarintError,
    },
    /// The offset delta does not follow on the record before, or is beyond the batch's last.
    #[error("offset delta {found}, expected {least} to {most}")]
    OffsetDelta {
        /// The field.
        found: i32,
        /// The smallest that can follow.
        least: i64,
        /// The largest that can follow.
        most: i64,
    },
    /// The timestamp is beyond what 64 bits hold.
    #[error("timestamp delta {found} is out of range from {base_timestamp_ms}")]
    Timestamp {
        /// The timestamp delta.
        found: i64,
        /// The batch's base timestamp.
        base_timestamp_ms: i64,
    },
    /// The headers are malformed.
    #[error("headers: {0}")]
    Headers(HeaderError),
}

/// What is wrong with the headers of a record, encoded or packed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The count is negative or larger than the bytes could hold.
    #[error("{found} headers cannot stand in {remaining} bytes")]
    Count {
        /// The count field.
        found: i32,
        /// Bytes that remain behind it.
        remaining: usize,
    },
    /// A length is negative (a value may have -1) or beyond the end of the headers.
    #[error("{field} length {found} at byte {position}, but {remaining} bytes remain")]
    Length {
        /// "key" or "value".
        field: &'static str,
        /// The length field.
        found: i64,
        /// Where the header begins, in bytes from the start of the headers.
        position: usize,
        /// Bytes that remain behind the length.
        remaining: usize,
    },
    /// A length is malformed or cut off.
    #[error("{field} length at byte {position}: {source}")]
    Varint {
        /// "key" or "value".
        field: &'static str,
        /// Where the header begins, in bytes from the start of the headers.
        position: usize,
        /// What is wrong.
        source: VarintError,
    },
    /// A key is not UTF-8.
    #[error("key at byte {position} is not UTF-8")]
    NotUtf8 {
        /// Where the header begins, in bytes from the start of the headers.
        position: usize,
    },
    /// Bytes follow the last header.
    #[error("{found} bytes follow the last header")]
    TrailingBytes {
        /// How many.
        found: usize,
    },
}
