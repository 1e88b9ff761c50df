//! A record as `process` holds it: taken out of its batch, which may go.

use std::sync::Arc;

use crate::client::consumer::ConsumerBatch;
use crate::record::block::Single;
use crate::record::{HeaderError, PackedHeaders, RecordView, TimestampType, pack_header};

/// Bytes that a record takes apart from its own: its struct and its entries in tables, about.
const OVERHEAD_BYTES: usize = 256;

/// A record.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    leader_epoch: i32,
    is_append_time: bool,
    /// Key, value, and packed headers.
    bytes: Box<[u8]>,
    /// Where the key ends, if there is one, and where the value does.
    key_end: Option<usize>,
    value_end: Option<usize>,
}

impl Owned {
    /// # Errors
    /// [`HeaderError`] when its headers are malformed.
    pub(super) fn new(batch: &ConsumerBatch, record: &RecordView<'_>) -> Result<Self, HeaderError> {
        let (key, value) = (
            record.key.unwrap_or_default(),
            record.value.unwrap_or_default(),
        );
        let mut bytes = Vec::with_capacity(key.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        for header in record.headers() {
            pack_header(&mut bytes, &header?)?;
        }
        let header = batch.batch_header();
        Ok(Self {
            topic: Arc::clone(batch.topic()),
            partition: batch.partition(),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            leader_epoch: header.leader_epoch,
            is_append_time: header.timestamp_type() == TimestampType::LogAppendTime,
            key_end: record.key.map(<[u8]>::len),
            value_end: record.value.map(|value| key.len() + value.len()),
            bytes: bytes.into_boxed_slice(),
        })
    }

    /// What a record counts for at least.
    pub(super) fn least_bytes(record: &RecordView<'_>) -> usize {
        let data = [record.key, record.value].into_iter().flatten();
        data.map(<[u8]>::len).sum::<usize>() + OVERHEAD_BYTES
    }

    /// What it counts for.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        self.bytes.get(..self.key_end?)
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        self.bytes
            .get(self.key_end.unwrap_or_default()..self.value_end?)
    }

    pub(super) fn headers(&self) -> PackedHeaders<'_> {
        let start = self.value_end.or(self.key_end).unwrap_or_default();
        PackedHeaders::new(self.bytes.get(start..).unwrap_or_default())
    }

    pub(super) fn key_hash(&self) -> Option<u64> {
        self.key().map(hash)
    }

    pub(super) fn single(&self) -> Single<'_> {
        Single {
            topic: &self.topic,
            partition: self.partition,
            leader_epoch: self.leader_epoch,
            is_append_time: self.is_append_time,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key(),
            value: self.value(),
            headers: self.headers().bytes(),
        }
    }
}

/// FNV-1a: two keys that share a hash wait for each other, and nothing worse.
fn hash(key: &[u8]) -> u64 {
    const BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01B3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    key.iter().fold(BASIS, step)
}

/// A record that a handler is to process: one attempt at it.
#[derive(Clone, Debug)]
pub struct ProcessRecord {
    pub(super) ticket: u64,
    pub(super) attempt: u32,
    pub(super) owned: Arc<Owned>,
}

impl ProcessRecord {
    /// What [`Processor::finish`](super::Processor::finish) knows this attempt by.
    #[must_use]
    pub const fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Which attempt at the record it is, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.owned.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.owned.partition
    }

    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.owned.offset
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.owned.timestamp_ms
    }

    /// The key, none if absent.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.owned.key()
    }

    /// The value; absent is a tombstone, empty is not.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.owned.value()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> PackedHeaders<'_> {
        self.owned.headers()
    }
}
