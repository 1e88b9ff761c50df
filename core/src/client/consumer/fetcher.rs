//! The fetcher: which records were given out, which are done, and what is to be committed.
//!
//! A state machine without clock or transport. Per partition:
//!
//! ```text
//!   committed <= position <= delivered <= until
//! ```
//!
//! `delivered` is the offset of the next record to be given out. `position` is the first that does not
//! count as processed: with `ack=auto` the first row of the current lease that the host has not passed,
//! with `ack=manual` the first record given out that is not acknowledged. Only `position` is ever
//! committed, so a record that was handed over but not passed is read again by the next member.
//!
//! What was given out last is the *lease*. Seeking a partition ends its part of the lease: rows passed or
//! acknowledged later do not move the new position.

mod assigning;
mod lease;
mod moving;
mod pausing;
mod processing;
mod standing;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use self::lease::Leased;
pub(super) use self::lease::{Offsets, Segment};
pub(super) use self::moving::Moved;
pub(in crate::client) use self::processing::Dropped;
use super::unacked::Unacked;
use crate::error::{Error, ErrorCode};
use crate::protocol::request::{FetchPosition, PartitionOffset};
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// Which partitions are read, by name, and where each ends. A place, once given, stands for its partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    by_topic: HashMap<Arc<str>, HashMap<i32, usize>>,
    until: Vec<Option<i64>>,
}

impl Places {
    /// The place of a partition, if it is read.
    pub(super) fn find(&self, topic: &str, partition: i32) -> Option<usize> {
        self.by_topic.get(topic)?.get(&partition).copied()
    }

    /// How many partitions of a topic are read, or were.
    pub(super) fn count(&self, topic: &str) -> usize {
        self.by_topic.get(topic).map_or(0, HashMap::len)
    }

    /// The offset before which reading ends.
    pub(super) fn until(&self, place: usize) -> i64 {
        self.until.get(place).copied().flatten().unwrap_or(i64::MAX)
    }
}

/// A partition that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// Where to begin.
    pub(super) start: i64,
    /// How that was found.
    pub(super) origin: Origin,
    /// What its group has committed, if it has.
    pub(super) committed: Option<i64>,
    /// Where to end, exclusive.
    pub(super) until: Option<i64>,
    /// Which time a group has given it; 0 without a group.
    pub(super) grant: u64,
}

/// How reading has come to where it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The host has named the offset: if it is not held, the host is told.
    Named,
    /// By its meaning, or as the group has committed it.
    Found,
    /// By reading: the record before has this leader epoch.
    Read(i32),
}

#[derive(Debug)]
struct PartitionState {
    topic: Arc<str>,
    partition: i32,
    delivered: i64,
    origin: Origin,
    /// As far as was given out before it was taken back: by a crash, or by the group, which gave it again.
    lost_end: i64,
    /// Where it ends, if that is before where it was to end.
    until: Option<i64>,
    /// As far as the host has passed (`ack=auto`).
    passed: i64,
    /// Given out and not acknowledged (`ack=manual`).
    unacked: Unacked,
    /// What was committed last; where it began, if nothing was.
    committed: i64,
    has_committed: bool,
    seeks: u32,
    hold: Hold,
    is_paused: bool,
    grant: u64,
}

/// Whether a partition is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    /// It is.
    #[default]
    Held,
    /// Not any more; what was given out of it is still to be passed and committed.
    LettingGo,
    /// It is another's.
    Gone,
}

impl PartitionState {
    fn new(assigned: Assigned) -> Self {
        Self {
            topic: assigned.topic,
            partition: assigned.partition,
            delivered: assigned.start,
            origin: assigned.origin,
            lost_end: 0,
            until: None,
            passed: assigned.start,
            unacked: Unacked::default(),
            committed: assigned.committed.unwrap_or(assigned.start),
            has_committed: assigned.committed.is_some(),
            seeks: 0,
            hold: Hold::Held,
            is_paused: false,
            grant: assigned.grant,
        }
    }

    fn position(&self, is_manual: bool) -> i64 {
        #[cfg(any(test, feature = "simulation"))]
        if simulated::has(Bug::CommitAhead) {
            return self.delivered;
        }
        if is_manual {
            self.unacked.first().unwrap_or(self.delivered)
        } else {
            self.passed
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    partitions: Vec<PartitionState>,
    places: Arc<Places>,
    is_manual: bool,
    lease: Vec<Leased>,
    lease_rows: u32,
    /// Rows of the lease that the host has passed, and the segment they end in.
    passed_rows: u32,
    passed_segments: usize,
    /// While records are handed to `process`: by place, the offset from which those given out are not
    /// wanted any more.
    dropped: Option<BTreeMap<usize, i64>>,
}

impl Fetcher {
    pub(super) fn new(assigned: Vec<Assigned>, is_manual: bool) -> Self {
        let mut fetcher = Self {
            is_manual,
            ..Self::default()
        };
        fetcher.assign(assigned);
        fetcher
    }

    /// Which partitions these are.
    pub(super) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    fn is_done(&self, place: usize) -> bool {
        let state = self.partitions.get(place);
        state.is_none_or(|state| {
            let until = self.places.until(place);
            state.delivered >= state.until.map_or(until, |cut| cut.min(until))
        })
    }

    /// Whether every partition has reached its end. A member that holds none waits for some.
    pub(super) fn is_finished(&self) -> bool {
        let mut held = self.places_held().peekable();
        held.peek().is_some() && held.all(|place| self.is_done(place))
    }

    /// How many it reads.
    pub(super) fn held_count(&self) -> usize {
        self.places_held().count()
    }

    fn places_held(&self) -> impl Iterator<Item = usize> {
        let partitions = self.partitions.iter().enumerate();
        let held = partitions.filter(|(_, state)| state.hold == Hold::Held);
        held.map(|(place, _)| place)
    }

    /// How many records were given out and are not acknowledged (`ack=manual`).
    pub(super) fn unacked(&self) -> u64 {
        self.partitions
            .iter()
            .map(|state| state.unacked.count())
            .sum()
    }

    /// The first record that is not acknowledged of the partition that has most of them.
    pub(super) fn most_unacked(&self) -> Option<PartitionOffset> {
        let state = self
            .partitions
            .iter()
            .max_by_key(|state| state.unacked.count())?;
        state.unacked.first().map(|offset| offset_of(state, offset))
    }

    /// Gives out rows: the lease before them is over, every row of it passed.
    ///
    /// Returns how many they are.
    pub(super) fn lease(&mut self, segments: Vec<Segment>) -> u32 {
        self.end_lease();
        for segment in segments {
            let Some(state) = self.partitions.get_mut(segment.place) else {
                continue;
            };
            let rows = segment.offsets.len();
            let before = (state.delivered, state.origin);
            state.delivered = segment.next_offset;
            state.origin = Origin::Read(segment.leader_epoch);
            if self.is_manual {
                segment
                    .offsets
                    .ranges(0..rows, |range| state.unacked.add(range));
            }
            let (first_row, seeks) = (self.lease_rows, state.seeks);
            self.lease_rows += rows;
            self.lease.push(Leased {
                segment,
                first_row,
                rows,
                seeks,
                before,
            });
        }
        // Segments without rows at the front are behind the host already.
        self.pass(0);
        self.lease_rows
    }

    /// Takes the lease back: the host never got it. Its records are given out again.
    pub(super) fn take_back(&mut self) -> bool {
        let lease = std::mem::take(&mut self.lease);
        let is_any = !lease.is_empty();
        for leased in lease.iter().rev() {
            let Some(state) = self.partitions.get_mut(leased.segment.place) else {
                continue;
            };
            if state.seeks == leased.seeks {
                (state.delivered, state.origin) = leased.before;
                state.passed = state.passed.min(state.delivered);
                let offsets = &leased.segment.offsets;
                offsets.ranges(0..leased.rows, |range| state.unacked.remove(range));
            }
        }
        (self.lease_rows, self.passed_rows, self.passed_segments) = (0, 0, 0);
        is_any
    }

    /// The host is done with the lease: all its rows are passed.
    pub(super) fn end_lease(&mut self) {
        self.pass(self.lease_rows);
        self.lease.clear();
        (self.lease_rows, self.passed_rows, self.passed_segments) = (0, 0, 0);
    }

    /// The host has passed the first `rows` rows of the lease.
    pub(super) fn pass(&mut self, rows: u32) {
        let rows = rows.min(self.lease_rows);
        if rows < self.passed_rows {
            return;
        }
        self.passed_rows = rows;
        while let Some(leased) = self.lease.get(self.passed_segments) {
            if rows < leased.first_row {
                return;
            }
            let Some(state) = self.partitions.get_mut(leased.segment.place) else {
                return;
            };
            let own = rows.saturating_sub(leased.first_row).min(leased.rows);
            let passed = match own == leased.rows {
                true => Some(leased.segment.next_offset),
                false => leased.segment.offsets.at(own),
            };
            if let Some(passed) = passed
                && state.seeks == leased.seeks
            {
                state.passed = state.passed.max(passed);
            }
            if own < leased.rows {
                return;
            }
            self.passed_segments += 1;
        }
    }

    /// Acknowledges one record.
    pub(super) fn ack(&mut self, topic: &str, partition: i32, offset: i64) -> Result<(), Error> {
        self.check_manual()?;
        let place = self.places.find(topic, partition);
        let place = place.map_or_else(|| self.place_or_error(topic, partition), Ok)?;
        let Some(state) = self.partitions.get_mut(place) else {
            return Ok(());
        };
        if offset < 0 || offset >= state.delivered.max(state.lost_end) {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "offset {offset} of {topic}-{partition} cannot be acknowledged: it was not given \
                     out yet; the next is {}",
                    state.delivered
                ),
            ));
        }
        state.unacked.remove(offset..offset + 1);
        Ok(())
    }

    /// Acknowledges rows of the lease.
    pub(super) fn ack_rows(&mut self, rows: Range<u32>) -> Result<(), Error> {
        self.check_manual()?;
        if rows.start > rows.end || rows.end > self.lease_rows {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "rows {} to {} cannot be acknowledged: the current block has {} rows",
                    rows.start, rows.end, self.lease_rows
                ),
            ));
        }
        for leased in &self.lease {
            let Some(state) = self.partitions.get_mut(leased.segment.place) else {
                continue;
            };
            let last_row = leased.first_row + leased.rows;
            let own = rows.start.max(leased.first_row)..rows.end.min(last_row);
            if own.start < own.end && state.seeks == leased.seeks {
                let own = own.start - leased.first_row..own.end - leased.first_row;
                leased
                    .segment
                    .offsets
                    .ranges(own, |range| state.unacked.remove(range));
            }
        }
        Ok(())
    }

    fn check_manual(&self) -> Result<(), Error> {
        if self.is_manual {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::InvalidState,
            "this consumer has ack=auto: a record counts as processed when the next is asked for; \
             open it with ack=manual to acknowledge records",
        ))
    }

    /// Goes on at `offset` in a partition.
    pub(super) fn seek(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        origin: Origin,
    ) -> Result<(), Error> {
        let place = self.place_or_error(topic, partition)?;
        if offset < 0 {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("cannot seek {topic}-{partition} to offset {offset}; it must be 0 or more"),
            ));
        }
        if let Some(state) = self.partitions.get_mut(place) {
            state.seeks = state.seeks.wrapping_add(1);
            if offset != state.delivered {
                state.origin = origin;
            }
            (state.delivered, state.passed, state.lost_end) = (offset, offset, 0);
            state.unacked.clear();
        }
        self.note_dropped(place, 0);
        Ok(())
    }

    fn place_or_error(&self, topic: &str, partition: i32) -> Result<usize, Error> {
        let place = self.places.find(topic, partition);
        let is_gone = |place: &usize| {
            let state = self.partitions.get(*place);
            state.is_none_or(|state| state.hold == Hold::Gone)
        };
        place.filter(|place| !is_gone(place)).ok_or_else(|| {
            Error::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("this consumer does not read {topic}-{partition}"),
            )
        })
    }

    /// Where reading goes on in every partition.
    pub(super) fn next_offsets(&self) -> Vec<PartitionOffset> {
        let held = self.partitions.iter().filter(|it| it.hold == Hold::Held);
        held.map(|state| offset_of(state, state.delivered))
            .collect()
    }

    /// The same for those that have not reached their end and are not paused.
    pub(super) fn unfinished(&self) -> Vec<FetchPosition> {
        let is_open = |place: &usize| !self.is_done(*place) && !self.is_paused(*place);
        let open = self.places_held().filter(is_open);
        let open = open.filter_map(|place| self.partitions.get(place));
        open.map(|state| FetchPosition {
            topic: state.topic.to_string(),
            partition: state.partition,
            offset: state.delivered,
            last_epoch: match state.origin {
                Origin::Read(leader_epoch) => leader_epoch,
                Origin::Named | Origin::Found => -1,
            },
        })
        .collect()
    }

    /// The first offset of every partition that does not count as processed.
    pub(super) fn positions(&self) -> Vec<PartitionOffset> {
        let there = self.partitions.iter().filter(|it| it.hold != Hold::Gone);
        there
            .map(|state| offset_of(state, state.position(self.is_manual)))
            .collect()
    }

    /// What is to be committed.
    pub(super) fn to_commit(&self) -> Vec<PartitionOffset> {
        let dirty = self.partitions.iter().filter(|state| self.is_dirty(state));
        dirty
            .map(|state| offset_of(state, state.position(self.is_manual)))
            .collect()
    }

    /// Whether there is something to commit.
    pub(super) fn has_to_commit(&self) -> bool {
        self.partitions.iter().any(|state| self.is_dirty(state))
    }

    fn is_dirty(&self, state: &PartitionState) -> bool {
        state.hold != Hold::Gone && state.position(self.is_manual) != state.committed
    }

    /// These offsets are committed.
    pub(super) fn committed(&mut self, offsets: &[PartitionOffset]) {
        for committed in offsets {
            let place = self.places.find(&committed.topic, committed.partition);
            if let Some(state) = place.and_then(|place| self.partitions.get_mut(place)) {
                (state.committed, state.has_committed) = (committed.offset, true);
            }
        }
    }
}

fn offset_of(state: &PartitionState, offset: i64) -> PartitionOffset {
    PartitionOffset {
        topic: state.topic.to_string(),
        partition: state.partition,
        offset,
    }
}

#[cfg(test)]
mod tests;
