//! A reader of some partitions: gives what is readable and never waits.

use std::fmt;
use std::sync::Arc;

use crate::sync::Mutex;

use super::{FetchedBatch, Inner, each_once, unknown_topic};
use crate::completion::{Wake, Wakes};
use crate::engine::partition::{Partition, PartitionStatus, Readable, Signal};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::ids::LeaderEpoch;
use crate::limits;
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::FetchPosition;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// Of more partitions than these nobody looks what is recent: that is for a thread with the time for it.
const RECENT_PARTITIONS_MAX: usize = 64;

/// A stream of record batches, each partition's in order.
pub struct Subscription {
    inner: Arc<Inner>,
    signal: Arc<Signal>,
    reading: Mutex<Reading>,
}

struct Reading {
    positions: Vec<Position>,
    /// Whose turn it is to be read first.
    turn: usize,
}

struct Position {
    topic: Arc<str>,
    partition: Arc<Partition>,
    offset: i64,
    /// The epoch of the record before, as the reader knows it, until it was looked at: -1 if it is not to be.
    last_epoch: i32,
}

impl Position {
    /// A batch for the reader, which stands behind it then.
    fn give(&mut self, batch: Readable, high_watermark: i64) -> FetchedBatch {
        let from_offset = std::mem::replace(&mut self.offset, batch.next_offset);
        FetchedBatch {
            topic: Arc::clone(&self.topic),
            partition: self.partition.number,
            high_watermark,
            batch: batch.bytes,
            from_offset,
        }
    }
}

impl Subscription {
    pub(super) fn open(inner: Arc<Inner>, partitions: &[FetchPosition]) -> Result<Self> {
        let signal = Arc::new(Signal::default());
        let positions = positions(&inner, partitions, &signal)?;
        Ok(Self {
            inner,
            signal,
            reading: Mutex::new(Reading { positions, turn: 0 }),
        })
    }

    /// What is readable, in order per partition and about `max_bytes` of it: at least one batch if any
    /// is readable. Partitions are read in turn. May read files.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` with both ends, `LOG_TRUNCATED` with the offset to go on at (the facts of both
    /// are an [`OutOfRange`]), `UNKNOWN_TOPIC_OR_PARTITION` for a topic deleted since,
    /// `CORRUPT_SEGMENT`, `CLOSED`; what was found before the error is given first.
    pub fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        self.inner.check_open()?;
        let mut reading = self.reading.lock();
        let mut taken = Vec::new();
        let mut budget = max_bytes;
        let count = reading.positions.len();
        for _ in 0..count {
            let turn = reading.turn % count;
            let Some(position) = reading.positions.get_mut(turn) else {
                break;
            };
            match self.take_from(position, budget, &mut taken) {
                Ok(bytes) => budget = budget.saturating_sub(bytes),
                Err(error) if taken.is_empty() => return Err(error),
                // Given at the next call, when the reader is where the error is.
                Err(_) => break,
            }
            reading.turn = turn + 1;
            if budget == 0 {
                break;
            }
        }
        Ok(taken)
    }

    /// Reads one partition; returns the bytes found. Takes nothing that does not fit the budget, unless
    /// nothing was taken yet.
    fn take_from(
        &self,
        position: &mut Position,
        budget: usize,
        taken: &mut Vec<FetchedBatch>,
    ) -> Result<usize> {
        if self
            .inner
            .state
            .topics
            .read()
            .partition(position.partition.id)
            .is_none()
        {
            return Err(unknown_topic(&position.topic));
        }
        check_epoch(position)?;
        let fetched = self
            .inner
            .fetch(&position.partition, position.offset, budget)
            .map_err(|error| unreadable(&self.inner.name, position, error))?
            .map_err(|status| out_of_range(position, &status, None))?;
        let first = fetched.batches.first();
        if !taken.is_empty() && first.is_some_and(|first| first.bytes.len() > budget) {
            return Ok(budget);
        }
        let mut bytes = 0;
        for batch in fetched.batches {
            bytes += batch.bytes.len();
            taken.push(position.give(batch, fetched.high_watermark));
        }
        Ok(bytes)
    }

    /// The same from memory alone, at most `max_bytes`: nothing if a file or an error is next, or if many partitions
    /// would have to be looked at. For a thread that has other things to do.
    #[must_use]
    pub fn take_recent(&self, max_bytes: usize) -> Vec<FetchedBatch> {
        let mut taken = Vec::new();
        let mut reading = self.reading.lock();
        if self.inner.check_open().is_err() || reading.positions.len() > RECENT_PARTITIONS_MAX {
            return taken;
        }
        let mut budget = max_bytes;
        for position in &mut reading.positions {
            match self.take_recent_from(position, budget, &mut taken) {
                Some(bytes) => budget -= bytes,
                None => break,
            }
        }
        taken
    }

    /// Takes what is recent of one partition; returns its bytes, none if there is more to it.
    fn take_recent_from(
        &self,
        position: &mut Position,
        budget: usize,
        taken: &mut Vec<FetchedBatch>,
    ) -> Option<usize> {
        let topics = self.inner.state.topics.read();
        topics.partition(position.partition.id)?;
        drop(topics);
        let is_looked_at = position.last_epoch < 0;
        let mut batches = Vec::new();
        let readable = position
            .partition
            .readable(position.offset, budget, &mut batches);
        let high_watermark = readable.ok().filter(|_| is_looked_at)?;
        let bytes = batches.iter().map(|it| it.bytes.len()).sum::<usize>();
        let is_all = !batches.is_empty() || position.offset >= high_watermark;
        if !is_all || bytes > budget {
            return None;
        }
        for batch in batches {
            taken.push(position.give(batch, high_watermark));
        }
        Some(bytes)
    }

    /// Wakes `wake` once when [`take`](Self::take) may give something new: at once if it may already.
    /// Replaces the wake-up of an earlier call.
    pub fn watch(&self, wake: Wake) {
        self.signal.arm(wake);
        let mut wakes = Wakes::new();
        // Armed first, looked second: what becomes readable in between is seen by one of the two.
        if self.inner.check_open().is_err() || self.is_readable() {
            self.signal.fire(&mut wakes);
        }
    }

    fn is_readable(&self) -> bool {
        // In this order everywhere.
        let reading = self.reading.lock();
        let topics = self.inner.state.topics.read();
        reading.positions.iter().any(|position| {
            position.partition.is_readable_at(position.offset)
                || topics.partition(position.partition.id).is_none()
        })
    }

    /// Reads these partitions from now on, each from its offset, and no others.
    ///
    /// # Errors
    /// As for subscribing; then nothing is changed.
    pub fn assign(&self, partitions: &[FetchPosition]) -> Result<()> {
        let positions = positions(&self.inner, partitions, &self.signal)?;
        *self.reading.lock() = Reading { positions, turn: 0 };
        // What can be read has changed: whoever waits looks again.
        self.signal.fire(&mut Wakes::new());
        Ok(())
    }
}

fn positions(
    inner: &Inner,
    partitions: &[FetchPosition],
    signal: &Arc<Signal>,
) -> Result<Vec<Position>> {
    if partitions.len() > limits::SUBSCRIPTION_PARTITIONS_MAX {
        return Err(Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "a subscription of {} partitions; at most {} are allowed",
                partitions.len(),
                limits::SUBSCRIPTION_PARTITIONS_MAX
            ),
        ));
    }
    let topics = inner.state.topics.read();
    let named = partitions.iter().map(|it| (&*it.topic, it.partition));
    let found = each_once(&topics, named)?;
    let positions = partitions.iter().zip(found);
    Ok(positions
        .map(|(wanted, (topic, partition))| {
            partition.add_watcher(signal);
            Position {
                topic,
                partition,
                offset: wanted.offset,
                last_epoch: wanted.last_epoch,
            }
        })
        .collect())
}

/// Whether what a reader says it has read is still there. Once is enough: while a log is open, nothing is
/// taken back.
fn check_epoch(position: &mut Position) -> Result<()> {
    if position.last_epoch < 0 {
        return Ok(());
    }
    #[cfg(any(test, feature = "simulation"))]
    if simulated::has(Bug::TruncationUntold) {
        return Ok(());
    }
    let end_offset = position
        .partition
        .end_of_epoch(LeaderEpoch(position.last_epoch));
    if position.offset > end_offset {
        let status = position.partition.status();
        return Err(out_of_range(position, &status, Some(end_offset)));
    }
    position.last_epoch = -1;
    Ok(())
}

/// Why a partition cannot be read on, with whose it is: what reads files knows none of that.
fn unreadable(folder: &str, position: &Position, error: Error) -> Error {
    if error.kind() != ErrorKind::Corrupt {
        return error;
    }
    let Position {
        topic, partition, ..
    } = position;
    let (number, offset) = (partition.number, position.offset);
    let message = format!(
        "{topic}-{number} cannot be read on at offset {offset}; in the folder {folder}, {error}: `headwater dump \
         --verify` tells what is damaged, and a seek to an offset behind it reads on"
    );
    Error::new(error.code(), message).with_source(error)
}

fn out_of_range(
    position: &Position,
    status: &PartitionStatus,
    epoch_end_offset: Option<i64>,
) -> Error {
    Error::from(OutOfRange {
        topic: position.topic.to_string(),
        partition: position.partition.number,
        offset: position.offset,
        last_epoch: position.last_epoch,
        epoch_end_offset,
        log_start_offset: status.log_start_offset,
        high_watermark: status.high_watermark,
        log_end_offset: status.end_offset,
    })
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.reading.lock().positions.len();
        f.debug_struct("Subscription")
            .field("partitions", &partitions)
            .finish_non_exhaustive()
    }
}
