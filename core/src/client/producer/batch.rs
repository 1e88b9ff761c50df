//! The batches of one partition on their way: open, closed, in flight.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::delivery::OpenSlot;
use crate::error::{Error, Outcome};
use crate::record::BatchBuilder;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// Consecutive tickets of consecutive records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TicketRange {
    pub(super) first_ticket: u64,
    /// Index in the batch.
    pub(super) first_index: u32,
    pub(super) count: u32,
}

/// Under which identity a partition's batches are sent, so that the log tells a repetition from a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
}

impl Stamp {
    /// Of a producer that is not idempotent.
    pub(super) const NONE: Self = Self {
        producer_id: -1,
        producer_epoch: -1,
    };

    /// The identity after this one, under which sequences begin at 0 again; none when epochs are used up.
    pub(super) fn next(self) -> Option<Self> {
        let producer_epoch = self.producer_epoch.checked_add(1)?;
        Some(Self {
            producer_epoch,
            ..self
        })
    }
}

/// Who is to be told what becomes of a batch. Everything about it but its bytes, unless it waits to be sent
/// again.
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
    /// What it was sent as.
    pub(super) stamp: Stamp,
    /// What was acknowledged when it was sent first ends here: it comes behind that.
    pub(super) comes_behind: i64,
    /// Whether one before it failed for good while this was on its way: it can only be refused.
    pub(super) is_lost: bool,
    /// Attempts that failed.
    pub(super) failed_attempts: u32,
    /// Its bytes while it waits to be sent again; none while it is on its way.
    pub(super) again: Option<Bytes>,
    /// Whether an attempt that failed may have got into the log.
    pub(super) may_be_there: bool,
    /// Why the last attempt failed.
    pub(super) last_error: Option<Error>,
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
            stamp: Stamp::NONE,
            comes_behind: 0,
            is_lost: false,
            failed_attempts: 0,
            again: None,
            may_be_there: false,
            last_error: None,
        }
    }

    /// What is known of a batch that ends with `outcome`, given the attempts before.
    pub(super) const fn outcome(&self, outcome: Outcome) -> Outcome {
        if self.may_be_there {
            Outcome::Unknown
        } else {
            outcome
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

/// What the producer thinks of the log's memory of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Memory {
    /// The log knows what it has acknowledged.
    #[default]
    Whole,
    /// The log does not know where the sequence stands: it is to be asked what it has.
    Doubted,
    /// It was asked.
    Asked,
}

/// What a partition can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Send a batch that was not sent yet.
    New,
    /// Send this one of those that were sent again.
    Again(usize),
    /// Ask where the partition ends.
    Ask,
}

/// One partition's batches. Order: `sent`, then `closed`, then `open`.
#[derive(Debug, Default)]
pub(super) struct PartitionQueue {
    pub(super) open: Option<Building>,
    pub(super) closed: VecDeque<Building>,
    /// On their way, or waiting to be sent again.
    pub(super) sent: VecDeque<Meta>,
    /// What new batches are sent as; none: not known yet.
    pub(super) stamp: Option<Stamp>,
    /// The sequence of the next batch's first record.
    pub(super) next_sequence: i32,
    /// Why batches of an older stamp fail.
    pub(super) broken: Option<Error>,
    /// Nothing is sent before.
    pub(super) retry_at: Option<Instant>,
    pub(super) memory: Memory,
    /// Whether the log is to be asked what it has before anything new is sent: it takes the first batch of an epoch,
    /// whatever it has lost, or it went back.
    pub(super) is_renewed: bool,
    /// Behind the last record that was acknowledged.
    pub(super) acknowledged_end: i64,
    /// Where the log went on, below what it had acknowledged when the batch was sent: it has lost that. The next batch
    /// is told so.
    pub(super) went_back: Option<i64>,
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

    /// What can be done next. What failed goes first, in order, and not before all that was sent behind it has
    /// come back: so the log sees every sequence in its turn. Nothing goes under a new identity while something
    /// may be sent again under the one before, which the log would not take any more then.
    pub(super) fn ready(&self, takes_open: bool, in_flight_max: usize) -> Option<Ready> {
        if self.retry_at.is_some() || self.memory == Memory::Asked {
            return None;
        }
        let waits = |meta: &Meta| meta.again.is_some();
        let found = self.sent.iter().position(waits);
        #[cfg(any(test, feature = "simulation"))]
        let found = match simulated::has(Bug::ResentBehind) {
            true => self.sent.iter().rposition(waits),
            false => found,
        };
        let Some(first) = found else {
            let has_next = !self.closed.is_empty() || (takes_open && self.open.is_some());
            let is_free =
                self.sent.len() < in_flight_max && self.sent.iter().all(|it| self.is_of_now(it));
            if !has_next || !is_free {
                return None;
            }
            if self.is_renewed && self.acknowledged_end > 0 {
                return self.sent.is_empty().then_some(Ready::Ask);
            }
            return Some(Ready::New);
        };
        if !self.sent.iter().skip(first).all(waits) {
            return None;
        }
        match self.memory {
            Memory::Whole => Some(Ready::Again(first)),
            _ => (first == 0).then_some(Ready::Ask),
        }
    }

    /// Whether a batch that was sent is in nobody's way: it has the identity of what is sent next, or is lost.
    fn is_of_now(&self, sent: &Meta) -> bool {
        sent.is_lost || sent.stamp == Stamp::NONE || Some(sent.stamp) == self.stamp
    }

    /// Begins again at sequence 0 under the next identity.
    pub(super) fn renew(&mut self) {
        self.stamp = self.stamp.and_then(Stamp::next);
        self.next_sequence = 0;
        self.memory = Memory::Whole;
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
