//! What a subscription gives: record batches as stored, each with where it belongs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// One record batch, whole and as encoded by its producer.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchedBatch {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The partition's high watermark when the batch was taken.
    pub high_watermark: i64,
    /// The batch's bytes: header and records. The header's checksum was verified if it came from disk.
    pub batch: Bytes,
    /// Records below this offset were not asked for and are to be skipped.
    pub from_offset: i64,
}

impl fmt::Debug for FetchedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedBatch")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("high_watermark", &self.high_watermark)
            .field("batch_bytes", &self.batch.len())
            .field("from_offset", &self.from_offset)
            .finish()
    }
}
