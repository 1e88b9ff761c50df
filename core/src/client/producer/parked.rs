//! Records that were sent before their topic's partitions were known, kept in order.
//!
//! It happens to a sender that does not wait, over a connection: the first records to a topic, or to a partition that
//! it was given later, overtake the answer that says how many partitions it has. They are few and allocate.

use std::time::Instant;

use super::accumulator::Settled;
use super::batch::Meta;
use super::delivery::OpenSlot;
use crate::error::Error;
use crate::record::{HeadersRef, RecordRef, pack_header};

/// Bytes of the budget that a kept record holds beyond its own.
const OVERHEAD_BYTES: usize = size_of::<Entry>();

/// The records kept for one topic.
#[derive(Debug)]
pub(super) struct Parked {
    /// As [`Meta::order`].
    pub(super) order: u64,
    pub(super) opened_at: Instant,
    /// Bytes of the budget that they hold.
    pub(super) bytes: usize,
    entries: Vec<Entry>,
}

/// Who waits for a record.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Nobody.
    Silent,
    /// A completion row.
    Ticket(u64),
    /// A delivery.
    Slot(OpenSlot),
}

/// One record that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) partition: Option<i32>,
    pub(super) key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers_packed: Vec<u8>,
    timestamp_ms: i64,
    waiter: Waiter,
}

impl Parked {
    pub(super) fn new(order: u64, opened_at: Instant) -> Self {
        Self {
            order,
            opened_at,
            bytes: 0,
            entries: Vec::new(),
        }
    }

    pub(super) fn records(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Copies a record and returns the bytes that it holds.
    pub(super) fn add(
        &mut self,
        partition: Option<i32>,
        record: &RecordRef<'_>,
        waiter: Waiter,
    ) -> usize {
        let mut headers_packed = Vec::new();
        match record.headers {
            HeadersRef::Packed(packed) => headers_packed.extend_from_slice(packed),
            // A header too long for the packed form is too long for any record: `check` came first.
            HeadersRef::Slice(headers) => {
                headers
                    .iter()
                    .for_each(|header| _ = pack_header(&mut headers_packed, header));
            }
        }
        let entry = Entry {
            partition,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers_packed,
            timestamp_ms: record.timestamp_ms,
            waiter,
        };
        let bytes = OVERHEAD_BYTES
            + entry.key.as_ref().map_or(0, Vec::len)
            + entry.value.as_ref().map_or(0, Vec::len)
            + entry.headers_packed.len();
        self.entries.push(entry);
        self.bytes += bytes;
        bytes
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

impl Entry {
    pub(super) fn split(&mut self) -> (RecordRef<'_>, Waiter) {
        let waiter = std::mem::replace(&mut self.waiter, Waiter::Silent);
        let record = RecordRef {
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: HeadersRef::Packed(&self.headers_packed),
        };
        (record, waiter)
    }
}

impl Waiter {
    /// Puts it beside the record `index` of a batch.
    pub(super) fn note(self, meta: &mut Meta, index: u32) {
        match self {
            Self::Silent => meta.silent += 1,
            Self::Ticket(ticket) => meta.add_ticket(ticket, index),
            Self::Slot(slot) => meta.followers.push((index, slot)),
        }
    }

    /// What ended for a record that never got into a batch.
    pub(super) fn refused(
        self,
        topic: u32,
        partition: i32,
        opened_at: Instant,
        error: Error,
    ) -> Settled {
        let mut meta = Meta::new(0, 0, opened_at);
        meta.records = 1;
        self.note(&mut meta, 0);
        Settled {
            topic,
            partition,
            meta,
            result: Err(error),
        }
    }
}
