//! What a consumer gives out.

use std::sync::Arc;

use crate::error::{Error, ErrorCode, Result};
use crate::record::{Batch, BatchError, BatchHeader, RecordView, Records, block};

/// Records in the packed layout that crosses to other languages (`record::block`). It belongs to whoever
/// holds it; closing the consumer does not touch it.
#[derive(Clone, Debug)]
pub struct Block {
    block: Arc<block::Block>,
    records: u32,
}

impl Block {
    pub(in crate::client) fn new(block: block::Block, records: u32) -> Self {
        Self {
            block: Arc::new(block),
            records,
        }
    }

    /// The bytes; their base address is a multiple of 8.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.block.bytes()
    }

    /// How many records there are; at least one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records as usize
    }

    /// Whether there is no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// A record batch as it is stored, and which of its records are to be read.
#[derive(Clone, Debug)]
pub struct ConsumerBatch {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) high_watermark: i64,
    pub(super) batch: Batch,
    pub(super) from_offset: i64,
    pub(super) until_offset: i64,
}

impl ConsumerBatch {
    /// The topic.
    #[must_use]
    pub const fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.partition
    }

    /// The partition's high watermark when the batch was read.
    #[must_use]
    pub const fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    pub(in crate::client) const fn batch_header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// Leaves out the records before `offset`, which were read.
    pub(in crate::client) fn resume_at(&mut self, offset: i64) {
        self.from_offset = self.from_offset.max(offset);
    }

    /// Leaves out the records from `offset` on; false if none is left.
    pub(in crate::client) fn cut_at(&mut self, offset: i64) -> bool {
        self.until_offset = self.until_offset.min(offset);
        self.from_offset < self.until_offset
    }

    /// The offset of the first record that may be left in it.
    pub(in crate::client) const fn next_offset(&self) -> i64 {
        self.from_offset
    }

    /// The records, decoded one by one in place; those of a compressed batch are decompressed when
    /// they are first asked for, and stay so as long as this batch.
    #[must_use]
    pub fn records(&self) -> BatchRecords<'_> {
        let mut records = self.batch.records();
        records.skip_below(self.from_offset);
        BatchRecords {
            records,
            topic: &self.topic,
            partition: self.partition,
            from_offset: self.from_offset,
            until_offset: self.until_offset,
        }
    }
}

/// The records of a [`ConsumerBatch`]; iterates `Result<RecordView>`.
#[derive(Clone, Debug)]
pub struct BatchRecords<'a> {
    records: Records<'a>,
    topic: &'a str,
    partition: i32,
    from_offset: i64,
    until_offset: i64,
}

impl<'a> Iterator for BatchRecords<'a> {
    type Item = Result<RecordView<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(record) if record.offset < self.from_offset => {}
                Ok(record) if record.offset >= self.until_offset => return None,
                Ok(record) => return Some(Ok(record)),
                Err(error) => {
                    return Some(Err(malformed(
                        self.topic,
                        self.partition,
                        self.from_offset,
                        &error,
                    )));
                }
            }
        }
    }
}

/// For a batch that is not what it should be.
pub(in crate::client) fn malformed(
    topic: &str,
    partition: i32,
    from_offset: i64,
    error: &BatchError,
) -> Error {
    let code = match error {
        BatchError::UnsupportedCodec { .. } | BatchError::UnknownCodec { .. } => {
            ErrorCode::UnsupportedCompressionType
        }
        _ => ErrorCode::CorruptMessage,
    };
    Error::new(
        code,
        format!("{topic}-{partition}, batch at or before offset {from_offset}: {error}"),
    )
}
