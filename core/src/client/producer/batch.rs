//! The batches of one partition on their way: open, closed, in flight.

use std::collections::VecDeque;
use std::time::Instant;

use super::delivery::OpenSlot;
use crate::error::Error;
use crate::record::BatchBuilder;

/// Consecutive tickets of consecutive records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TicketRange {
    pub(super) first_ticket: u64,
    /// Index in the batch.
    pub(super) first_index: u32,
    pub(super) count: u32,
}

/// Who is to be told what becomes of a batch. Everything about it but its bytes.
#[derive(Debug)]
pub(super) struct Meta {
    /// Names the batch among all of its producer.
    pub(super) id: u64,
    /// Flushes wait for all batches of a lower order than theirs.
    pub(super) order: u64,
    /// Bytes of the budget that it holds.
    pub(super) bytes: usize,
    pub(super) records: u32,
    /// From here the delivery timeout counts.
    pub(super) opened_at: Instant,
    /// Records of which nobody holds a delivery and that have no ticket.
    pub(super) silent: u32,
    /// Where the deliveries look.
    pub(super) slot: Option<OpenSlot>,
    pub(super) tickets: Vec<TicketRange>,
    /// Records that were sent before their partition was known: a slot for each that has a delivery.
    pub(super) followers: Vec<(u32, OpenSlot)>,
}

impl Meta {
    pub(super) fn new(id: u64, order: u64, opened_at: Instant) -> Self {
        Self {
            id,
            order,
            bytes: 0,
            records: 0,
            opened_at,
            silent: 0,
            slot: None,
            tickets: Vec::new(),
            followers: Vec::new(),
        }
    }

    pub(super) fn add_ticket(&mut self, ticket: u64, index: u32) {
        if let Some(last) = self.tickets.last_mut()
            && last.first_ticket.checked_add(last.count.into()) == Some(ticket)
            && last.first_index + last.count == index
        {
            last.count += 1;
            return;
        }
        self.tickets.push(TicketRange {
            first_ticket: ticket,
            first_index: index,
            count: 1,
        });
    }
}

/// A batch that still takes records, or waits to be sent.
#[derive(Debug)]
pub(super) struct Building {
    pub(super) builder: BatchBuilder,
    pub(super) meta: Meta,
}

/// One partition's batches. Order: `in_flight`, then `closed`, then `open`.
#[derive(Debug, Default)]
pub(super) struct PartitionQueue {
    pub(super) open: Option<Building>,
    pub(super) closed: VecDeque<Building>,
    pub(super) in_flight: VecDeque<Meta>,
    /// The sequence of the next batch's first record.
    pub(super) next_sequence: i32,
    /// Why batches in flight behind a failed one fail too.
    pub(super) broken: Option<Error>,
    /// Whether the partition is in the accumulator's list of those that have something to send.
    pub(super) is_listed: bool,
}

impl PartitionQueue {
    /// Closes the open batch: it takes no more records and waits for nothing but its turn.
    pub(super) fn close_open(&mut self) -> bool {
        let Some(open) = self.open.take() else {
            return false;
        };
        self.closed.push_back(open);
        true
    }

    /// The next batch to send.
    pub(super) fn take_next(&mut self, takes_open: bool) -> Option<Building> {
        match self.closed.pop_front() {
            Some(next) => Some(next),
            None if takes_open => self.open.take(),
            None => None,
        }
    }

    /// Sequences of a batch of `records`; after 2^31 - 1 comes 0.
    pub(super) fn take_sequence(&mut self, records: u32) -> i32 {
        let base = self.next_sequence;
        let next = (i64::from(base) + i64::from(records)) & i64::from(i32::MAX);
        self.next_sequence = next as i32;
        base
    }
}
