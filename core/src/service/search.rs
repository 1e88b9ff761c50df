//! Searches for records by their timestamps, in steps: each looks through one batch at most, which may have to be read
//! and decompressed for it. So the thread that searches does other things in between.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::offsets::corrupt;
use super::{Inner, Service, TimedOffset};
use crate::completion::Completion;
use crate::engine::partition::Partition;
use crate::error::Result;
use crate::limits;
use crate::record::batch::Batch;

/// Which record is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedTime {
    /// The first one, in order of offsets, with this timestamp, in ms, or a later one.
    From(i64),
    /// The first one of those with the largest timestamp.
    Largest,
}

/// Goes on, or has come to an end.
pub(super) type Step = ControlFlow<Option<TimedOffset>>;

/// See the module.
#[derive(Debug)]
pub(super) struct Search {
    partition: Arc<Partition>,
    seek: Seek,
    aim: Aim,
}

/// On the way to the first record from an offset on with a timestamp of `time_ms` or later.
#[derive(Debug)]
struct Seek {
    time_ms: i64,
    from: i64,
    /// Batches that may be looked through.
    left: usize,
    /// The high watermark below which it looked last.
    searched_to: i64,
}

/// What the seeking is for.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// What it finds.
    Found,
    /// One with the largest timestamp that the log has noted.
    Noted,
    /// Any record: that one with the largest is deleted, or not readable yet. The largest of those that are is between
    /// the least there can be and it.
    Any { noted_ms: i64 },
    /// One in the upper half of what is left.
    Upper {
        low: i64,
        high: i64,
        best: TimedOffset,
    },
}

impl Service {
    /// Searches the readable records of a partition, in turns of the log's io thread. A record that is searched for
    /// by a time may be said to be one too early or have no such timestamp where many batches had to be looked
    /// through whose latest records are gone: reading from there finds it.
    ///
    /// Answered with none if there is no such record; fails with `CORRUPT_MESSAGE`, `CORRUPT_SEGMENT`,
    /// `KAFKA_STORAGE_ERROR`, `CLOSED`.
    pub fn search(
        &self,
        partition: &Arc<Partition>,
        wanted: WantedTime,
        completion: Completion<Option<TimedOffset>>,
    ) {
        match Search::new(&self.inner, partition, wanted) {
            Some(search) => self.inner.search_on(search, completion),
            None => completion.finish(self.inner.check_open().map(|()| None)),
        }
    }
}

/// The same on this thread.
#[cfg(test)]
impl Service {
    pub(super) fn offset_at_time(
        &self,
        partition: &Arc<Partition>,
        time_ms: i64,
    ) -> Result<Option<TimedOffset>> {
        self.search_here(partition, WantedTime::From(time_ms))
    }

    pub(super) fn offset_of_max_timestamp(
        &self,
        partition: &Arc<Partition>,
    ) -> Result<Option<TimedOffset>> {
        self.search_here(partition, WantedTime::Largest)
    }

    fn search_here(
        &self,
        partition: &Arc<Partition>,
        wanted: WantedTime,
    ) -> Result<Option<TimedOffset>> {
        let Some(mut search) = Search::new(&self.inner, partition, wanted) else {
            return Ok(None);
        };
        loop {
            if let ControlFlow::Break(found) = search.step(&self.inner)? {
                return Ok(found);
            }
        }
    }
}

impl Inner {
    fn search_on(
        self: &Arc<Self>,
        mut search: Search,
        completion: Completion<Option<TimedOffset>>,
    ) {
        let inner = Arc::clone(self);
        // Dropped by a log that closes, it answers so.
        self.log.schedule_turn(move || {
            let step = inner.check_open().and_then(|()| search.step(&inner));
            match step {
                Ok(ControlFlow::Continue(())) => inner.search_on(search, completion),
                Ok(ControlFlow::Break(found)) => completion.finish(Ok(found)),
                Err(error) => completion.finish(Err(error)),
            }
        });
    }
}

impl Search {
    /// None: there is nothing to be found.
    pub(super) fn new(
        inner: &Inner,
        partition: &Arc<Partition>,
        wanted: WantedTime,
    ) -> Option<Self> {
        let from = partition.status().log_start_offset;
        let (time_ms, aim) = match wanted {
            WantedTime::From(time_ms) => (time_ms, Aim::Found),
            WantedTime::Largest => (inner.log.max_timestamp(partition.id, from)?, Aim::Noted),
        };
        Some(Self {
            partition: Arc::clone(partition),
            seek: Seek::new(time_ms),
            aim,
        })
    }

    /// Looks through the next batch.
    ///
    /// # Errors
    /// As for [`Service::search`].
    pub(super) fn step(&mut self, inner: &Inner) -> Result<Step> {
        let ControlFlow::Break(found) = self.seek.step(inner, &self.partition)? else {
            return Ok(ControlFlow::Continue(()));
        };
        Ok(match (self.aim, found) {
            (Aim::Found, found) | (Aim::Noted, found @ Some(_)) => ControlFlow::Break(found),
            (Aim::Noted, None) => {
                let noted_ms = self.seek.time_ms;
                self.seek_on(i64::MIN, Aim::Any { noted_ms })
            }
            (Aim::Any { .. }, None) => ControlFlow::Break(None),
            (Aim::Any { noted_ms }, Some(best)) => self.halve(best.timestamp_ms, noted_ms, best),
            (Aim::Upper { high, .. }, Some(best)) => {
                let low = best.timestamp_ms.max(self.seek.time_ms);
                self.halve(low, high, best)
            }
            (Aim::Upper { low, best, .. }, None) => {
                let high = self.seek.time_ms - 1;
                self.halve(low, high, best)
            }
        })
    }

    /// The offset below which nothing was found, if nothing was. What became readable since has not been looked at.
    pub(super) const fn searched_to(&self) -> i64 {
        self.seek.searched_to
    }

    fn halve(&mut self, low: i64, high: i64, best: TimedOffset) -> Step {
        if low >= high {
            return ControlFlow::Break(Some(best));
        }
        // Rounded up, and never beyond either: timestamps may be anything.
        let middle = (i128::from(low) + i128::from(high) + 1).div_euclid(2);
        let middle = i64::try_from(middle).unwrap_or(high);
        self.seek_on(middle, Aim::Upper { low, high, best })
    }

    fn seek_on(&mut self, time_ms: i64, aim: Aim) -> Step {
        (self.seek, self.aim) = (Seek::new(time_ms), aim);
        ControlFlow::Continue(())
    }
}

impl Seek {
    const fn new(time_ms: i64) -> Self {
        Self {
            time_ms,
            from: i64::MIN,
            left: limits::TIME_BATCHES_SEARCHED_MAX,
            searched_to: i64::MIN,
        }
    }

    fn step(&mut self, inner: &Inner, partition: &Partition) -> Result<Step> {
        let status = partition.status();
        self.from = self.from.max(status.log_start_offset);
        self.searched_to = status.high_watermark;
        if self.left == 0 {
            return Ok(ControlFlow::Break(Some(TimedOffset {
                offset: self.from,
                timestamp_ms: self.time_ms,
            })));
        }
        self.left -= 1;
        let found = inner.log.find_time(partition.id, self.time_ms, self.from)?;
        let Some(found) = found.filter(|found| found.next_offset <= status.high_watermark) else {
            return Ok(ControlFlow::Break(None));
        };
        let next_offset = found.next_offset;
        let batch = Batch::already_verified(inner.verified(found)?.bytes);
        for record in batch.map_err(|error| corrupt(partition, &error))?.records() {
            let record = record.map_err(|error| corrupt(partition, &error))?;
            if record.timestamp_ms >= self.time_ms && record.offset >= self.from {
                return Ok(ControlFlow::Break(Some(TimedOffset {
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                })));
            }
        }
        // The batch's latest record is deleted, or was compacted away.
        self.from = next_offset;
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests;
