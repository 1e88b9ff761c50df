//! Layer 1, what a message is: the record, Kafka's record batch version 2, and the packed blocks
//! that cross to other languages.
//!
//! - [`batch`]: the batch header, its checks, the two stamps a log puts into it
//! - [`records`]: the records of a batch, decoded one by one in place
//! - [`builder`]: records encoded straight into a batch
//! - [`compression`]: the records of a batch as one frame of gzip, snappy, lz4 or zstd, and back
//! - `filter`: a batch without some of its records
//! - [`block`]: receive blocks, send rows, completion rows (little-endian, versioned)
//! - [`partitioner`], [`varint`]: small pure functions under them
//!
//! A record is borrowed wherever it stands: nothing here allocates for a single record. What is
//! read came from a socket or a file and is checked where it is read; no input panics. Nothing here
//! knows topics beyond their name, files, sockets, time or configuration.

pub mod batch;
pub mod block;
pub mod builder;
pub mod compression;
mod error;
pub(crate) mod filter;
mod header;
pub mod partitioner;
pub mod records;
#[cfg(test)]
mod sample;
pub mod varint;

pub(crate) use batch::stamp_producer;
pub use batch::{Batch, BatchHeader, Codec, TimestampType};
pub use builder::BatchBuilder;
pub use compression::Compressor;
pub use error::{BatchError, CompressionProblem, HeaderError, RecordProblem};
pub use header::{EncodedHeaders, Header, HeadersRef, PackedHeaders, pack_header};
pub use partitioner::partition_for_key;
pub use records::Records;
pub use varint::VarintError;

/// A record on its way into a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordRef<'a> {
    /// Milliseconds since 1970-01-01 UTC; may be negative.
    pub timestamp_ms: i64,
    /// The key, none if absent.
    pub key: Option<&'a [u8]>,
    /// The value; absent is a tombstone, empty is not.
    pub value: Option<&'a [u8]>,
    /// The headers; none by default.
    pub headers: HeadersRef<'a>,
}

/// A record as it stands in a batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970-01-01 UTC: the record's own, or the batch's append time where the
    /// batch says so.
    pub timestamp_ms: i64,
    /// The key, none if absent.
    pub key: Option<&'a [u8]>,
    /// The value; absent is a tombstone, empty is not.
    pub value: Option<&'a [u8]>,
    pub(in crate::record) headers: EncodedHeaders<'a>,
}

impl<'a> RecordView<'a> {
    /// The headers, checked while they are read.
    #[inline]
    #[must_use]
    pub const fn headers(&self) -> EncodedHeaders<'a> {
        self.headers
    }

    /// How many headers the record has.
    #[inline]
    #[must_use]
    pub const fn header_count(&self) -> u32 {
        self.headers.count_remaining()
    }
}
