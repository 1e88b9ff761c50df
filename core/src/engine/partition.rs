//! One partition as the log left it: from where to where it goes, how far it may be read, who waits.
//!
//! Invariants: batches come in offset order without gaps (`base offset == end before`); `log start <=
//! high watermark <= end`; the high watermark never falls while the log is open. A batch is readable
//! when its last offset is below the high watermark. Where older batches lie is the log's to know; the
//! newest are kept here, as they were written. Nothing here reads a file or a clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::sync::Mutex;
use bytes::Bytes;

use crate::completion::{Wake, Wakes};
use crate::engine::epochs::Epochs;
use crate::engine::topics::KeptPartition;
use crate::ids::{Durability, LeaderEpoch, PartitionId};
use crate::record::batch::BatchHeader;

#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// A partition of a topic.
#[derive(Debug)]
pub struct Partition {
    /// Its id in the shard.
    pub id: PartitionId,
    /// The uuid of its topic.
    pub topic: [u8; 16],
    /// Its number within the topic.
    pub number: i32,
    /// Whether the changes of the state name it already.
    is_changed: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The topic's level: when written batches become readable.
    durability: Durability,
    log_start_offset: i64,
    high_watermark: i64,
    end_offset: i64,
    leader_epoch: LeaderEpoch,
    epochs: Epochs,
    /// The newest batches, shared with whoever wrote them, in order and up to the end.
    tail: VecDeque<Readable>,
    watchers: Vec<Weak<Signal>>,
}

/// A batch of a partition that is in memory.
#[derive(Clone, Debug)]
pub struct Readable {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset after its last record.
    pub next_offset: i64,
    /// The batch.
    pub bytes: Bytes,
}

/// The offsets of a partition at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The first offset held.
    pub log_start_offset: i64,
    /// The next offset a reader would see.
    pub high_watermark: i64,
    /// The next offset to be written.
    pub end_offset: i64,
    /// The epoch of the newest batch's leader.
    pub leader_epoch: LeaderEpoch,
}

impl Partition {
    /// A partition that holds nothing yet.
    #[must_use]
    pub fn new(
        id: PartitionId,
        topic: [u8; 16],
        number: i32,
        start_offset: i64,
        durability: Durability,
    ) -> Self {
        let inner = Inner {
            durability,
            log_start_offset: start_offset,
            high_watermark: start_offset,
            end_offset: start_offset,
            leader_epoch: LeaderEpoch(0),
            epochs: Epochs::default(),
            tail: VecDeque::new(),
            watchers: Vec::new(),
        };
        Self {
            id,
            topic,
            number,
            is_changed: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    /// A partition as it was kept, everything in it synced.
    pub(super) fn restored(kept: KeptPartition, durability: Durability) -> Self {
        let KeptPartition {
            id,
            topic,
            number,
            status,
            epochs,
        } = kept;
        let partition = Self::new(id, topic, number, status.log_start_offset, durability);
        let mut inner = partition.inner.lock();
        inner.end_offset = status.end_offset;
        inner.high_watermark = status.end_offset;
        inner.leader_epoch = status.leader_epoch;
        inner.epochs = epochs;
        drop(inner);
        partition
    }

    /// Notes that it has changed; says whether that is news.
    pub(super) fn set_changed(&self, is_changed: bool) -> bool {
        self.is_changed.swap(is_changed, Ordering::Relaxed) != is_changed
    }

    /// Takes in a batch that was written; `tail` is the batch itself, if it is to be kept. Returns the new
    /// end if the batch becomes readable only with a sync.
    ///
    /// # Errors
    /// The end of the partition, when the batch's base offset is another: the entry is void.
    pub fn append(
        &self,
        header: &BatchHeader,
        tail: Option<&Bytes>,
        wakes: &mut Wakes,
    ) -> Result<Option<i64>, i64> {
        let mut inner = self.inner.lock();
        if header.base_offset != inner.end_offset {
            return Err(inner.end_offset);
        }
        let end_offset = header.last_offset().saturating_add(1);
        inner.end_offset = end_offset;
        inner.leader_epoch = LeaderEpoch(header.leader_epoch);
        let epoch = inner.leader_epoch;
        inner.epochs.append(epoch, header.base_offset);
        if let Some(bytes) = tail {
            inner.tail.push_back(Readable {
                base_offset: header.base_offset,
                next_offset: end_offset,
                bytes: bytes.clone(),
            });
        }
        if inner.durability == Durability::Os {
            inner.advance(end_offset, wakes);
            return Ok(None);
        }
        Ok(Some(end_offset))
    }

    /// Makes everything below `offset` readable.
    pub fn advance_high_watermark(&self, offset: i64, wakes: &mut Wakes) {
        self.inner.lock().advance(offset, wakes);
    }

    /// Drops what is below `offset` (a LOG_START frame).
    pub fn advance_log_start(&self, offset: i64) {
        let mut inner = self.inner.lock();
        let offset = offset.min(inner.end_offset);
        inner.log_start_offset = inner.log_start_offset.max(offset);
        inner.high_watermark = inner.high_watermark.max(offset);
        let log_start_offset = inner.log_start_offset;
        inner.epochs.advance_log_start(log_start_offset);
    }

    /// Sets the level of the topic. What is readable stays readable.
    pub fn set_durability(&self, durability: Durability) {
        self.inner.lock().durability = durability;
    }

    /// Forgets the oldest batch kept in memory, and says how many bytes it had.
    pub fn evict_oldest(&self) -> usize {
        self.inner
            .lock()
            .tail
            .pop_front()
            .map_or(0, |oldest| oldest.bytes.len())
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        let inner = self.inner.lock();
        PartitionStatus {
            log_start_offset: inner.log_start_offset,
            high_watermark: inner.high_watermark,
            end_offset: inner.end_offset,
            leader_epoch: inner.leader_epoch,
        }
    }

    /// Where its leader epochs begin.
    #[must_use]
    pub fn epochs(&self) -> Epochs {
        self.inner.lock().epochs.clone()
    }

    /// The offset behind the last record of `epoch`: what a reader of that epoch has read beyond it is not
    /// in the log any more.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> i64 {
        let inner = self.inner.lock();
        inner.epochs.end_of(epoch, inner.end_offset)
    }

    /// The largest of its epochs that is not above `epoch`, and its end: [`Epochs::end_at`].
    #[must_use]
    pub fn epoch_end_at(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, i64)> {
        let inner = self.inner.lock();
        inner.epochs.end_at(epoch, inner.end_offset)
    }

    /// The epoch of the record at `offset`: [`Epochs::at`].
    #[must_use]
    pub fn epoch_at(&self, offset: i64) -> Option<LeaderEpoch> {
        self.inner.lock().epochs.at(offset)
    }

    /// Adds to `found` the readable batches from the one that holds `offset` on, about `max_bytes` of
    /// them (at least one if there is one), and returns the high watermark. Nothing is added if `offset` lies
    /// below what is kept in memory: then the log has it.
    ///
    /// # Errors
    /// The status, when `offset` is below the log start or beyond the end.
    pub fn readable(
        &self,
        offset: i64,
        max_bytes: usize,
        found: &mut Vec<Readable>,
    ) -> Result<i64, PartitionStatus> {
        let inner = self.inner.lock();
        if offset < inner.log_start_offset || offset > inner.end_offset {
            drop(inner);
            return Err(self.status());
        }
        let high_watermark = inner.high_watermark;
        let first = inner
            .tail
            .partition_point(|batch| batch.next_offset <= offset);
        let is_kept = |batch: &Readable| first > 0 || batch.base_offset <= offset;
        if offset >= high_watermark || !inner.tail.get(first).is_some_and(is_kept) {
            return Ok(high_watermark);
        }
        let mut budget = max_bytes;
        for batch in inner.tail.range(first..) {
            let size = batch.bytes.len();
            if batch.next_offset > high_watermark || (!found.is_empty() && size > budget) {
                break;
            }
            budget = budget.saturating_sub(size);
            found.push(batch.clone());
        }
        Ok(high_watermark)
    }

    /// Whether a reader at `offset` would get something (a batch or an error).
    #[must_use]
    pub fn is_readable_at(&self, offset: i64) -> bool {
        let inner = self.inner.lock();
        offset < inner.high_watermark || offset > inner.end_offset
    }

    /// Wakes `signal` whenever more becomes readable, until it is dropped.
    pub fn add_watcher(&self, signal: &Arc<Signal>) {
        #[cfg(any(test, feature = "simulation"))]
        if simulated::has(Bug::WatcherForgotten) {
            return;
        }
        let mut inner = self.inner.lock();
        inner.watchers.retain(|watcher| watcher.strong_count() > 0);
        inner.watchers.push(Arc::downgrade(signal));
    }

    /// Wakes everybody who waits, because the partition is going.
    pub fn wake_all(&self, wakes: &mut Wakes) {
        self.inner.lock().wake(wakes);
    }
}

impl Inner {
    fn advance(&mut self, offset: i64, wakes: &mut Wakes) {
        if offset > self.high_watermark {
            self.high_watermark = offset;
            self.wake(wakes);
        }
    }

    fn wake(&self, wakes: &mut Wakes) {
        for signal in self.watchers.iter().filter_map(Weak::upgrade) {
            signal.fire(wakes);
        }
    }
}

/// Somebody who waits for more to read: holds one wake-up at a time.
#[derive(Debug, Default)]
pub struct Signal {
    is_armed: AtomicBool,
    wake: Mutex<Option<Wake>>,
}

impl Signal {
    /// To be woken once; replaces what was there.
    pub fn arm(&self, wake: Wake) {
        *self.wake.lock() = Some(wake);
        self.is_armed.store(true, Ordering::SeqCst);
    }

    /// Adds the wake-up to `wakes`, if there is one.
    pub fn fire(&self, wakes: &mut Wakes) {
        // The common case, nobody waiting, costs one load on the append path.
        if self.is_armed.load(Ordering::SeqCst)
            && self.is_armed.swap(false, Ordering::SeqCst)
            && let Some(wake) = self.wake.lock().take()
        {
            wakes.push(wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::batch::HEADER_BYTES;

    fn header(base_offset: i64, records: i32, max_timestamp_ms: i64) -> BatchHeader {
        let mut bytes = [0u8; HEADER_BYTES];
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&49i32.to_be_bytes());
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        bytes[35..43].copy_from_slice(&max_timestamp_ms.to_be_bytes());
        bytes[43..51].copy_from_slice(&(-1i64).to_be_bytes());
        bytes[57..61].copy_from_slice(&records.to_be_bytes());
        BatchHeader::parse(&bytes).unwrap()
    }

    fn partition(durability: Durability) -> Partition {
        Partition::new(PartitionId(1), [0; 16], 0, 0, durability)
    }

    fn append(
        partition: &Partition,
        base: i64,
        records: i32,
        time: i64,
    ) -> Result<Option<i64>, i64> {
        partition.append(
            &header(base, records, time),
            Some(&Bytes::from(vec![0; 100])),
            &mut Wakes::new(),
        )
    }

    #[test]
    fn at_os_a_batch_is_readable_when_written() {
        let partition = partition(Durability::Os);
        assert_eq!(append(&partition, 0, 3, 10), Ok(None));
        let mut found = Vec::new();
        assert_eq!(partition.readable(1, 1_000, &mut found), Ok(3));
        assert_eq!((found[0].base_offset, found[0].next_offset), (0, 3));
    }

    #[test]
    fn at_disk_a_batch_is_readable_when_synced() {
        let partition = partition(Durability::Disk);
        assert_eq!(append(&partition, 0, 3, 10), Ok(Some(3)));
        let mut found = Vec::new();
        assert_eq!(partition.readable(0, 1_000, &mut found), Ok(0));
        assert!(found.is_empty() && !partition.is_readable_at(0));
        partition.advance_high_watermark(3, &mut Wakes::new());
        assert_eq!(partition.readable(0, 1_000, &mut found), Ok(3));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_batch_that_does_not_start_at_the_end_is_void() {
        let partition = partition(Durability::Os);
        append(&partition, 0, 3, 10).unwrap();
        assert_eq!(append(&partition, 4, 1, 10), Err(3));
        assert_eq!(partition.status().end_offset, 3);
    }

    #[test]
    fn an_offset_beyond_the_end_or_below_the_start_is_out_of_range() {
        let partition = partition(Durability::Os);
        append(&partition, 0, 3, 10).unwrap();
        assert!(partition.readable(4, 1, &mut Vec::new()).is_err());
        partition.advance_log_start(2);
        assert!(partition.readable(1, 1, &mut Vec::new()).is_err());
        assert!(partition.readable(2, 1, &mut Vec::new()).is_ok());
    }

    #[test]
    fn what_is_no_longer_in_memory_is_left_to_the_log() {
        let partition = partition(Durability::Os);
        for base in 0..10 {
            append(&partition, base, 1, 0).unwrap();
        }
        assert_eq!(partition.evict_oldest(), 100);
        let mut found = Vec::new();
        assert_eq!(partition.readable(0, 1_000, &mut found), Ok(10));
        assert!(found.is_empty());
        partition.readable(1, 1_000, &mut found).unwrap();
        assert_eq!((found[0].base_offset, found.len()), (1, 9));
    }

    #[test]
    fn the_budget_bounds_what_is_found_but_never_below_one_batch() {
        let partition = partition(Durability::Os);
        for base in 0..10 {
            append(&partition, base, 1, 0).unwrap();
        }
        let mut found = Vec::new();
        partition.readable(0, 1, &mut found).unwrap();
        assert_eq!(found.len(), 1);
        found.clear();
        partition.readable(3, 250, &mut found).unwrap();
        assert_eq!(
            found
                .iter()
                .map(|batch| batch.base_offset)
                .collect::<Vec<_>>(),
            [3, 4]
        );
    }

    #[test]
    fn a_signal_fires_once_for_one_arming() {
        let partition = partition(Durability::Os);
        let signal = Arc::new(Signal::default());
        partition.add_watcher(&signal);
        signal.arm(Wake::Hook(Arc::new(|| {})));
        let mut wakes = Wakes::new();
        partition
            .append(&header(0, 1, 0), None, &mut wakes)
            .unwrap();
        assert!(!wakes.is_empty());
        wakes.run();
        partition
            .append(&header(1, 1, 0), None, &mut wakes)
            .unwrap();
        assert!(wakes.is_empty());
    }
}
