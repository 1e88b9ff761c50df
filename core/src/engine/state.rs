//! The state that is derived from the log: `apply` is its only writer.
//!
//! Deterministic: what an entry does depends on the entry and on the entries before it alone. Readers
//! take short locks; the log calls `apply` from one thread at a time, in index order.
//!
//! Lock order: `topics`, `groups`, `unsynced`, `tail`, then a partition's own. None is held while waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::sync::{Mutex, RwLock};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::completion::Wakes;
use crate::engine::groups::Groups;
use crate::engine::partition::Partition;
use crate::engine::topic_config::TopicDefaults;
use crate::engine::topics::Topics;
use crate::log::{Entry, Kind, Machine, control};
use crate::record::batch::BatchHeader;

/// Topics, partitions, groups and counters, as of the last entry applied.
#[derive(Debug)]
pub struct State {
    /// Topics and partitions.
    pub topics: RwLock<Topics>,
    /// Consumer groups.
    pub groups: Mutex<Groups>,
    next_producer_id: AtomicI64,
    void_entries: AtomicU64,
    unsynced: Mutex<VecDeque<Unsynced>>,
    tail: Mutex<TailCache>,
}

/// A batch that becomes readable when its entry is synced.
#[derive(Debug)]
struct Unsynced {
    index: u64,
    partition: Arc<Partition>,
    end_offset: i64,
}

/// What the partitions keep of the newest batches, oldest first, within a budget.
#[derive(Debug)]
struct TailCache {
    kept: VecDeque<Arc<Partition>>,
    size_bytes: usize,
    budget_bytes: usize,
}

impl State {
    /// The state of an empty log.
    #[must_use]
    pub fn new(defaults: TopicDefaults, tail_cache_bytes: usize) -> Self {
        Self {
            topics: RwLock::new(Topics::new(defaults)),
            groups: Mutex::new(Groups::default()),
            next_producer_id: AtomicI64::new(0),
            void_entries: AtomicU64::new(0),
            unsynced: Mutex::new(VecDeque::new()),
            tail: Mutex::new(TailCache {
                kept: VecDeque::new(),
                size_bytes: 0,
                budget_bytes: tail_cache_bytes,
            }),
        }
    }

    /// The first producer id that was never given.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id.load(Ordering::Acquire)
    }

    /// Entries that changed nothing because they did not fit: none, unless there is a bug.
    #[must_use]
    pub fn void_entries(&self) -> u64 {
        self.void_entries.load(Ordering::Relaxed)
    }

    /// Bytes of record batches kept in memory for readers at the end.
    #[must_use]
    pub fn tail_cache_bytes(&self) -> usize {
        self.tail.lock().size_bytes
    }

    fn apply_records(&self, entry: &Entry<'_>, wakes: &mut Wakes) {
        let partition = self
            .topics
            .read()
            .partition(entry.partition)
            .map(Arc::clone);
        let (Some(partition), Ok(header)) = (partition, BatchHeader::parse(entry.payload)) else {
            // Records of a topic deleted since: written in a race with the deletion, read by nobody.
            self.void_entries.fetch_add(1, Ordering::Relaxed);
            return;
        };
        match partition.append(&header, entry.tail.as_ref(), wakes) {
            Ok(Some(end_offset)) => {
                let index = entry.index;
                let partition = Arc::clone(&partition);
                self.unsynced.lock().push_back(Unsynced {
                    index,
                    partition,
                    end_offset,
                });
            }
            Ok(None) => {}
            Err(end_offset) => {
                self.void_entries.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    index = entry.index,
                    partition = entry.partition.0,
                    base_offset = header.base_offset,
                    end_offset,
                    "a batch does not start at its partition's end; it is ignored"
                );
                return;
            }
        }
        if let Some(bytes) = &entry.tail {
            self.tail.lock().keep(partition, bytes);
        }
    }

    fn apply_control(&self, entry: &Entry<'_>, wakes: &mut Wakes) -> Option<()> {
        match entry.kind {
            Kind::TopicCreate => self.topics.write().create(decode(entry)?),
            Kind::TopicAlter => self.topics.write().alter(&decode(entry)?),
            Kind::TopicDelete => {
                let delete: control::TopicDelete = decode(entry)?;
                self.topics.write().delete(&delete.uuid, wakes);
                self.groups.lock().forget_topic(&delete.uuid);
            }
            Kind::PartitionOpen => {
                self.topics
                    .write()
                    .open_partition(entry.partition, &decode(entry)?);
            }
            Kind::LogStart => {
                let start: control::LogStart = decode(entry)?;
                if let Some(partition) = self.topics.read().partition(entry.partition) {
                    partition.advance_log_start(start.offset);
                }
            }
            Kind::OffsetCommit => self.groups.lock().commit(decode(entry)?),
            Kind::Group => self.groups.lock().change(decode(entry)?),
            Kind::ProducerIds => {
                let ids: control::ProducerIds = decode(entry)?;
                let next = ids.first.saturating_add(ids.count);
                self.next_producer_id.fetch_max(next, Ordering::AcqRel);
            }
            // Producer windows belong to the sequencer; the rest is not written by this version.
            _ => {}
        }
        Some(())
    }
}

impl Machine for State {
    fn apply(&self, entry: &Entry<'_>, wakes: &mut Wakes) {
        if entry.kind == Kind::Records {
            self.apply_records(entry, wakes);
        } else if self.apply_control(entry, wakes).is_none() {
            self.void_entries.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                index = entry.index,
                kind = ?entry.kind,
                version = entry.version,
                "the payload of an entry cannot be read; it is ignored"
            );
        }
    }

    fn synced(&self, index: u64, wakes: &mut Wakes) {
        let mut unsynced = self.unsynced.lock();
        while unsynced.front().is_some_and(|first| first.index <= index) {
            if let Some(first) = unsynced.pop_front() {
                first
                    .partition
                    .advance_high_watermark(first.end_offset, wakes);
            }
        }
    }
}

impl TailCache {
    fn keep(&mut self, partition: Arc<Partition>, bytes: &Bytes) {
        self.size_bytes += bytes.len();
        self.kept.push_back(partition);
        while self.size_bytes > self.budget_bytes {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.size_bytes = self.size_bytes.saturating_sub(oldest.evict_oldest());
        }
    }
}

fn decode<T: DeserializeOwned>(entry: &Entry<'_>) -> Option<T> {
    // Append-only structs: fields added by a newer version stand behind and are not looked at.
    postcard::take_from_bytes(entry.payload)
        .ok()
        .map(|(value, _)| value)
}
