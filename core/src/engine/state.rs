//! The state that is derived from the log: `apply` is its only writer.
//!
//! Deterministic: what an entry does depends on the entry and on the entries before it alone. Readers
//! take short locks; the log calls `apply` from one thread at a time, in index order.
//!
//! Lock order: `changed`, `topics`, `groups`, `unsynced`, `tail`, then a partition's own. None is held
//! while waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::sync::{Mutex, RwLock};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::completion::Wakes;
use crate::engine::groups::Groups;
use crate::engine::kept::{self, Changed};
use crate::engine::partition::Partition;
use crate::engine::topic_config::TopicDefaults;
use crate::engine::topics::Topics;
use crate::error::Result;
use crate::log::{Entry, Kind, Machine, Scope, StatePair, control};
use crate::record::batch::BatchHeader;

/// Topics, partitions, groups and counters, as of the last entry applied.
#[derive(Debug)]
pub struct State {
    defaults: TopicDefaults,
    /// Topics and partitions.
    pub topics: RwLock<Topics>,
    /// Consumer groups.
    pub groups: Mutex<Groups>,
    next_producer_id: AtomicI64,
    void_entries: AtomicU64,
    unsynced: Mutex<VecDeque<Unsynced>>,
    tail: Mutex<TailCache>,
    pub(super) changed: Mutex<Changed>,
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
            defaults,
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
            changed: Mutex::new(Changed::default()),
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
                crate::seldom!(
                    error,
                    index = entry.index,
                    partition = entry.partition.0,
                    base_offset = header.base_offset,
                    end_offset,
                    "a batch does not start at its partition's end; it is ignored"
                );
                return;
            }
        }
        if partition.set_changed(true) {
            self.changed.lock().partitions.insert(partition.id);
        }
        if let Some(bytes) = &entry.tail {
            self.tail.lock().keep(partition, bytes);
        }
    }

    fn apply_control(&self, entry: &Entry<'_>, wakes: &mut Wakes) -> Option<()> {
        let mut changed = self.changed.lock();
        match entry.kind {
            Kind::TopicCreate => {
                let create: control::TopicCreate = decode(entry)?;
                changed.topics.insert(create.uuid);
                if !self.topics.write().create(create) {
                    self.note_second(entry);
                }
            }
            Kind::TopicAlter => {
                let alter: control::TopicAlter = decode(entry)?;
                changed.topics.insert(alter.uuid);
                self.topics.write().alter(&alter);
            }
            Kind::TopicDelete => self.delete_topic(&decode(entry)?, &mut changed, wakes),
            Kind::PartitionOpen => {
                changed.partitions.insert(entry.partition);
                let open = decode(entry)?;
                if !self.topics.write().open_partition(entry.partition, &open) {
                    self.note_second(entry);
                }
            }
            Kind::LogStart => {
                let start: control::LogStart = decode(entry)?;
                changed.partitions.insert(entry.partition);
                if let Some(partition) = self.topics.read().partition(entry.partition) {
                    partition.advance_log_start(start.offset);
                }
            }
            Kind::OffsetCommit => {
                let commit = control::decode_offset_commit(entry.version, entry.payload).ok()?;
                changed.note_commit(&commit.commit);
                self.groups.lock().commit(commit);
            }
            Kind::Group => {
                let change: control::Group = decode(entry)?;
                let mut groups = self.groups.lock();
                changed.note_group(&change, groups.get(&change.group));
                groups.change(change);
            }
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

    /// A uuid or an id was given a second time, which no version does: the log is damaged in a way that its
    /// checksums do not show. The first stays what it was, so nobody gets or loses what is another's.
    fn note_second(&self, entry: &Entry<'_>) {
        self.void_entries.fetch_add(1, Ordering::Relaxed);
        crate::seldom!(error,
            index = entry.index,
            kind = ?entry.kind,
            partition = entry.partition.0,
            "an entry makes what is there already; it is ignored"
        );
    }

    fn delete_topic(
        &self,
        delete: &control::TopicDelete,
        changed: &mut Changed,
        wakes: &mut Wakes,
    ) {
        let mut topics = self.topics.write();
        changed.topics.insert(delete.uuid);
        let partitions = topics.opened(&delete.uuid).map(|partition| partition.id);
        changed.partitions.extend(partitions);
        topics.delete(&delete.uuid, wakes);
        drop(topics);
        for (group, partition) in self.groups.lock().forget_topic(&delete.uuid) {
            changed.offsets.insert((group, delete.uuid, partition));
        }
    }

    /// Becomes what was kept, in one step.
    pub(super) fn replace(&self, topics: Topics, groups: Groups, next_producer_id: i64) {
        *self.topics.write() = topics;
        *self.groups.lock() = groups;
        self.next_producer_id
            .store(next_producer_id, Ordering::Release);
    }

    /// What a folder gives to topics that do not say otherwise.
    pub(super) const fn defaults(&self) -> TopicDefaults {
        self.defaults
    }
}

impl Machine for State {
    fn apply(&self, entry: &Entry<'_>, wakes: &mut Wakes) {
        if entry.kind == Kind::Records {
            self.apply_records(entry, wakes);
        } else if self.apply_control(entry, wakes).is_none() {
            self.void_entries.fetch_add(1, Ordering::Relaxed);
            crate::seldom!(error,
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

    fn pairs(&self, scope: Scope) -> Vec<StatePair> {
        kept::pairs(self, scope)
    }

    fn restore(&self, pairs: &[StatePair]) -> Result<()> {
        kept::restore(self, pairs)
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
