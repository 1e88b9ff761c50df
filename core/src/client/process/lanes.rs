//! What stays in order: a lane is a line of records of which only the first may run.
//!
//! With `order=key` the records of one key of one partition are a lane, with `order=partition` those of a
//! partition; every other record has none and stands alone. Keys are told apart by a hash: two that
//! share one run one after the other, which is slower and never wrong.
//!
//! A record stays at the front of its lane until it is done, also while it runs or pauses. A handler that
//! still runs for a record that is not wanted any more holds its lane too: what comes behind must not
//! run beside it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::client::options::Order;

/// Which lane: the partition, and the key's hash where keys are told apart.
pub(super) type LaneKey = (usize, Option<u64>);

#[derive(Debug, Default)]
struct Lane {
    records: VecDeque<u64>,
    /// A handler runs for a record that was dropped.
    is_held: bool,
}

/// See the module. There are only lanes that have a record or are held.
#[derive(Debug, Default)]
pub(super) struct Lanes(HashMap<LaneKey, Lane>);

/// The lane of a record, if it has one.
pub(super) const fn lane_of(order: Order, place: usize, key_hash: Option<u64>) -> Option<LaneKey> {
    match order {
        Order::Key if key_hash.is_some() => Some((place, key_hash)),
        Order::Partition => Some((place, None)),
        Order::Key | Order::None => None,
    }
}

impl Lanes {
    /// Adds a record at the end; true if it may run.
    pub(super) fn push(&mut self, key: LaneKey, record: u64) -> bool {
        let lane = self.0.entry(key).or_default();
        lane.records.push_back(record);
        lane.records.len() == 1 && !lane.is_held
    }

    /// The first record is done; returns the one that may run now.
    pub(super) fn pop(&mut self, key: LaneKey) -> Option<u64> {
        self.change(key, |lane| _ = lane.records.pop_front())
    }

    /// The handler that held the lane has ended; returns the record that may run now.
    pub(super) fn release(&mut self, key: LaneKey) -> Option<u64> {
        self.change(key, |lane| lane.is_held = false)
    }

    /// Drops a record, wherever it stands. If it `is_running` its handler holds the lane from now on.
    /// Returns the record that may run now.
    pub(super) fn drop_record(
        &mut self,
        key: LaneKey,
        record: u64,
        is_running: bool,
    ) -> Option<u64> {
        let was_first = self
            .0
            .get(&key)
            .is_some_and(|lane| lane.records.front() == Some(&record));
        let next = self.change(key, |lane| {
            // From the end: those that are dropped are the newest.
            if let Some(index) = lane.records.iter().rposition(|other| *other == record) {
                lane.records.remove(index);
            }
            lane.is_held |= is_running;
        });
        next.filter(|_| was_first)
    }

    /// Changes a lane; returns its first record, unless the lane is held.
    fn change(&mut self, key: LaneKey, change: impl FnOnce(&mut Lane)) -> Option<u64> {
        let Entry::Occupied(mut entry) = self.0.entry(key) else {
            return None;
        };
        let lane = entry.get_mut();
        change(lane);
        if lane.is_held {
            return None;
        }
        let first = lane.records.front().copied();
        if first.is_none() {
            entry.remove();
        }
        first
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
