//! Which offsets of which partition lie where: in memory for the segment that is written to, in the
//! footer of every other.
//!
//! - `run`: the batches of one partition in one segment; `segment`: all of a segment, and its footer
//! - `rows`: what the sealed segments hold of one partition; `held`: the partitions that one of them holds
//! - [`Index`]: the whole log. What it keeps of a sealed segment, cold ones among them, is a row for each
//!   partition in it, about 10 bytes, and which partitions those are; the rest is read from the footer when
//!   somebody asks, into a cache of bounded size.
//!
//! What holds: an entry is in the index before anybody is told of it, and stays findable at every moment
//! while its segment is sealed. Nothing here decides what a reader may see: that is the
//! engine's high watermark.

mod held;
mod rows;
mod run;
mod segment;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lru::LruCache;

use super::checkpoint::DirectoryRow;
use crate::ids::PartitionId;
use crate::sync::{Mutex, RwLock};

use held::Held;
use rows::{Row, Rows};
pub(crate) use run::{IndexEntry, Summary};
pub(crate) use segment::SegmentIndex;
pub(super) use segment::{footer_header, read_footer};

/// Where to look on.
#[derive(Debug)]
pub(super) enum Place {
    /// The index of this segment is here.
    Here(u64, Arc<SegmentIndex>),
    /// It is in the footer of this segment.
    Footer(u64),
}

/// What a question about a partition came to.
#[derive(Debug)]
pub(super) enum Answer<T> {
    /// It is answered.
    Found(T),
    /// The answer is in a sealed segment.
    LookIn(Place),
}

/// Batches of a partition that follow one another in one segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batches {
    pub(super) segment: u64,
    pub(super) entries: Vec<IndexEntry>,
}

/// How much of a partition is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) partition: PartitionId,
    /// From the batch on that holds this offset.
    pub(super) offset: i64,
    /// Only batches that end here or before.
    pub(super) end_offset: i64,
    /// About so many bytes; one batch at least.
    pub(super) max_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    view: RwLock<View>,
    footers: Mutex<Footers>,
    /// What the active segment's index takes in memory.
    active_bytes: AtomicUsize,
}

#[derive(Debug)]
struct View {
    /// Of sealed segments, by partition.
    rows: HashMap<PartitionId, Rows>,
    /// Sealed segments, with the partitions that each holds.
    sealed: BTreeMap<u64, Held>,
    /// Those without a footer that can be read.
    resident: BTreeMap<u64, Arc<SegmentIndex>>,
    active: u64,
    active_index: SegmentIndex,
}

/// A sealed segment on its way into the index.
#[derive(Debug)]
pub(super) struct Adding {
    pub(super) segment: u64,
    pub(super) index: Arc<SegmentIndex>,
    /// Whether it has a footer to read it from.
    pub(super) is_footed: bool,
    pub(super) is_cold: bool,
}

/// Footers that were read, the last used kept longest.
#[derive(Debug)]
struct Footers {
    kept: LruCache<u64, Arc<SegmentIndex>>,
    size_bytes: usize,
    budget_bytes: usize,
}

impl Index {
    /// That of a log whose segment `active` is written to; `active_index` is what it holds by now.
    pub(super) fn new(active: u64, active_index: SegmentIndex, budget_bytes: usize) -> Self {
        Self {
            active_bytes: AtomicUsize::new(active_index.memory_bytes()),
            view: RwLock::new(View {
                rows: HashMap::new(),
                sealed: BTreeMap::new(),
                resident: BTreeMap::new(),
                active,
                active_index,
            }),
            footers: Mutex::new(Footers {
                kept: LruCache::unbounded(),
                size_bytes: 0,
                budget_bytes,
            }),
        }
    }

    /// Adds a sealed segment.
    pub(super) fn add_sealed(&self, adding: Adding) {
        self.view.write().add(adding);
    }

    /// Segments take the place of others, for all readers at once.
    pub(super) fn replace(&self, removed: &[u64], added: Vec<Adding>) {
        let mut view = self.view.write();
        removed.iter().for_each(|segment| view.remove(*segment));
        added.into_iter().for_each(|adding| view.add(adding));
        drop(view);
        let mut footers = self.footers.lock();
        removed.iter().for_each(|segment| footers.forget(*segment));
    }

    /// Adds entries to the active segment's index.
    pub(super) fn extend(&self, add: impl FnOnce(&mut SegmentIndex)) {
        let mut view = self.view.write();
        add(&mut view.active_index);
        let bytes = view.active_index.memory_bytes();
        drop(view);
        self.active_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the active segment's index takes in memory.
    pub(super) fn active_bytes(&self) -> usize {
        self.active_bytes.load(Ordering::Relaxed)
    }

    /// The active segment's index as its footer would say it; `None` if it is longer than `bytes_max`.
    pub(super) fn active_payload(&self, bytes_max: usize) -> Option<Vec<u8>> {
        let view = self.view.read();
        let payload =
            (view.active_index.memory_bytes() <= bytes_max).then(|| view.active_index.encode());
        payload.filter(|payload| payload.len() <= bytes_max)
    }

    /// The active segment is sealed, and `next` is written to from the entry `first_index` on.
    pub(super) fn roll(&self, next: u64, first_index: u64) {
        let mut view = self.view.write();
        let sealed = std::mem::replace(&mut view.active, next);
        let index = std::mem::replace(&mut view.active_index, SegmentIndex::new(first_index));
        view.add(Adding {
            segment: sealed,
            index: Arc::new(index),
            is_footed: false,
            is_cold: false,
        });
        drop(view);
        self.active_bytes.store(0, Ordering::Relaxed);
    }

    /// The index of a sealed segment that has no footer yet.
    pub(super) fn resident(&self, segment: u64) -> Option<Arc<SegmentIndex>> {
        self.view.read().resident.get(&segment).cloned()
    }

    /// The footer of a segment can be read from now on.
    pub(super) fn set_footed(&self, segment: u64) {
        let mut view = self.view.write();
        let index = view.resident.remove(&segment);
        drop(view);
        // Who reads behind the writer wants it next.
        if let Some(index) = index {
            self.footers.lock().keep(segment, &index);
        }
    }

    /// Keeps the index of a segment whose footer turned out to be unreadable.
    pub(super) fn set_resident(&self, segment: u64, index: Arc<SegmentIndex>) {
        self.view.write().resident.insert(segment, index);
    }

    /// A footer that was read before.
    pub(super) fn cached(&self, segment: u64) -> Option<Arc<SegmentIndex>> {
        self.footers.lock().kept.get(&segment).cloned()
    }

    /// Keeps a footer that was read.
    pub(super) fn keep(&self, segment: u64, index: &Arc<SegmentIndex>) {
        self.footers.lock().keep(segment, index);
    }

    /// The first sealed segment of the log, and what it holds.
    pub(super) fn front(&self) -> Option<(u64, Vec<DirectoryRow>)> {
        let view = self.view.read();
        let (first, _) = view.sealed.iter().find(|(_, held)| !held.is_cold)?;
        Some((*first, view.rows_in(*first)))
    }

    /// The first segment of the log, sealed or not.
    pub(super) fn first_of_log(&self) -> u64 {
        let view = self.view.read();
        let mut sealed = view.sealed.iter();
        let first = sealed.find(|(_, held)| !held.is_cold);
        first.map_or(view.active, |(segment, _)| *segment)
    }

    /// The sealed segments, in order of their numbers: the cold ones, or those of the log.
    pub(super) fn sealed(&self, is_cold: bool) -> Vec<u64> {
        let view = self.view.read();
        let sealed = view.sealed.iter();
        let wanted = sealed.filter(|(_, held)| held.is_cold == is_cold);
        wanted.map(|(segment, _)| *segment).collect()
    }

    /// The sealed segments at the front of the log of which `is_so` holds.
    pub(super) fn leading(&self, is_so: &dyn Fn(&[DirectoryRow]) -> bool) -> Vec<u64> {
        let sealed = self.sealed(false).into_iter();
        sealed
            .take_while(|segment| is_so(&self.rows_of(*segment)))
            .collect()
    }

    /// Forgets a sealed segment.
    pub(super) fn remove(&self, segment: u64) {
        self.view.write().remove(segment);
        self.footers.lock().forget(segment);
    }

    /// The segments with all those that hold something between what they hold, of any partition.
    pub(super) fn together_with(&self, segments: &BTreeSet<u64>) -> BTreeSet<u64> {
        let view = self.view.read();
        let mut all = segments.clone();
        let mut open: Vec<_> = segments.iter().copied().collect();
        while let Some(segment) = open.pop() {
            let held = view.sealed.get(&segment).into_iter();
            for partition in held.flat_map(Held::partitions) {
                let holders = view.rows_of(partition).map(|row| row.segment);
                let holders: Vec<_> = holders.collect();
                let is_in = |segment: &u64| all.contains(segment);
                let first = holders.iter().position(is_in);
                let ends = first.zip(holders.iter().rposition(is_in));
                let between = ends.and_then(|(first, last)| holders.get(first..=last));
                let between = between.unwrap_or_default().iter();
                open.extend(between.filter(|segment| all.insert(**segment)));
            }
        }
        all
    }

    /// The sealed segment that holds an offset of a partition, or the first one above it.
    pub(super) fn holder_of(&self, partition: PartitionId, offset: i64) -> Option<u64> {
        let view = self.view.read();
        let first = view.rows_from(partition, offset).next();
        first.map(|row| row.segment)
    }

    /// Where the index of a sealed segment is.
    pub(super) fn place(&self, segment: u64) -> Place {
        self.view.read().place(segment)
    }

    /// What each segment holds of a partition, in order; the one that is written to comes last.
    pub(super) fn summaries_of(&self, partition: PartitionId) -> Vec<Summary> {
        let view = self.view.read();
        let rows = view.rows_of(partition).map(|row| row.summary);
        let active = view.active_index.run(partition).map(run::Run::summary);
        rows.chain(active.copied()).collect()
    }

    /// What a sealed segment holds, by partition.
    pub(super) fn rows_of(&self, segment: u64) -> Vec<DirectoryRow> {
        self.view.read().rows_in(segment)
    }

    /// The sealed segments that have a footer.
    pub(super) fn footed(&self) -> Vec<u64> {
        let view = self.view.read();
        let footed = view
            .sealed
            .keys()
            .filter(|at| !view.resident.contains_key(at));
        footed.copied().collect()
    }

    /// Bytes of the footers kept in memory.
    pub(super) fn cached_bytes(&self) -> usize {
        self.footers.lock().size_bytes
    }

    /// The batches of a partition from an offset on: those of the segment that holds it.
    pub(super) fn find(&self, wanted: Wanted) -> Answer<Option<Batches>> {
        let view = self.view.read();
        let mut rows = view.rows_from(wanted.partition, wanted.offset);
        match rows.next() {
            Some(row) if row.summary.first_offset >= wanted.end_offset => Answer::Found(None),
            Some(row) => Answer::LookIn(view.place(row.segment)),
            None => Answer::Found(batches(view.active, &view.active_index, wanted)),
        }
    }

    /// The first batch of a partition, in order of offsets and from `offset` on, with a timestamp of
    /// `time_ms` or later.
    pub(super) fn find_time(
        &self,
        partition: PartitionId,
        time_ms: i64,
        offset: i64,
    ) -> Answer<Option<(u64, IndexEntry)>> {
        let view = self.view.read();
        let mut rows = view.rows_from(partition, offset);
        if let Some(row) = rows.find(|row| row.summary.max_timestamp_ms >= time_ms) {
            return Answer::LookIn(view.place(row.segment));
        }
        let run = view.active_index.run(partition);
        let found = run.and_then(|run| run.at_time(time_ms, offset));
        Answer::Found(found.map(|entry| (view.active, entry)))
    }

    /// The largest timestamp of the batches of a partition that lie in segments with such from `offset` on.
    pub(super) fn max_timestamp(&self, partition: PartitionId, offset: i64) -> Option<i64> {
        let view = self.view.read();
        let rows = view.rows_from(partition, offset).map(|row| row.summary);
        let active = view.active_index.run(partition).map(run::Run::summary);
        let active = active.filter(|summary| summary.next_offset > offset);
        rows.chain(active.copied())
            .map(|summary| summary.max_timestamp_ms)
            .max()
    }

    /// Bytes of the batches of a partition that do not lie wholly below `offset`, by segments.
    pub(super) fn size_bytes(&self, partition: PartitionId, offset: i64) -> u64 {
        let view = self.view.read();
        let rows = view.rows_from(partition, offset).map(|row| row.summary);
        let active = view.active_index.run(partition).map(run::Run::summary);
        let active = active.filter(|summary| summary.next_offset > offset);
        rows.chain(active.copied())
            .map(|summary| summary.size_bytes)
            .fold(0, u64::saturating_add)
    }
}

impl View {
    /// What sealed segments hold of a partition, in order of offsets.
    fn rows_of(&self, partition: PartitionId) -> impl Iterator<Item = Row> + '_ {
        let rows = self.rows.get(&partition).into_iter();
        rows.flat_map(Rows::iter)
    }

    /// The same from the one on that holds `offset`, or the next above it.
    fn rows_from(&self, partition: PartitionId, offset: i64) -> impl Iterator<Item = Row> + '_ {
        let rows = self.rows.get(&partition).into_iter();
        rows.flat_map(move |rows| rows.starting_at(offset))
    }

    /// What a sealed segment holds.
    fn rows_in(&self, segment: u64) -> Vec<DirectoryRow> {
        let held = self.sealed.get(&segment);
        let held = held.into_iter().flat_map(Held::partitions);
        let rows = held.filter_map(|partition| {
            let row = self.rows.get(&partition)?.of_segment(segment)?;
            Some(DirectoryRow {
                partition,
                segment,
                summary: row.summary,
            })
        });
        rows.collect()
    }

    fn place(&self, segment: u64) -> Place {
        match self.resident.get(&segment) {
            Some(index) => Place::Here(segment, Arc::clone(index)),
            None => Place::Footer(segment),
        }
    }

    fn add(&mut self, adding: Adding) {
        let Adding {
            segment,
            index,
            is_footed,
            is_cold,
        } = adding;
        for (partition, summary) in index.summaries() {
            let summary = *summary;
            let rows = self.rows.entry(partition).or_default();
            rows.insert(Row { segment, summary });
        }
        let partitions = index.summaries().map(|(partition, _)| partition);
        let before = self.sealed.range(..segment).next_back();
        let held = Held::new(partitions, is_cold, before.map(|(_, held)| held));
        self.sealed.insert(segment, held);
        if !is_footed {
            self.resident.insert(segment, index);
        }
    }

    fn remove(&mut self, segment: u64) {
        self.resident.remove(&segment);
        let held = self.sealed.remove(&segment);
        for partition in held.iter().flat_map(Held::partitions) {
            let Some(rows) = self.rows.get_mut(&partition) else {
                continue;
            };
            rows.remove(segment);
            if rows.is_empty() {
                self.rows.remove(&partition);
            }
        }
    }

    /// Bytes that what is kept of sealed segments takes in memory, without those that have no footer.
    #[cfg(test)]
    fn directory_bytes(&self) -> usize {
        let partitions = self.rows.capacity() * (size_of::<(PartitionId, Rows)>() + 1);
        let rows = self.rows.values().map(Rows::memory_bytes);
        // Nodes of a map are half empty at worst.
        let segments = self.sealed.len() * 2 * size_of::<(u64, Held)>();
        let held = self.sealed.values().map(Held::memory_bytes);
        partitions + rows.sum::<usize>() + segments + held.sum::<usize>()
    }
}

impl Footers {
    fn forget(&mut self, segment: u64) {
        if let Some(index) = self.kept.pop(&segment) {
            self.size_bytes -= index.memory_bytes();
        }
    }

    fn keep(&mut self, segment: u64, index: &Arc<SegmentIndex>) {
        self.size_bytes += index.memory_bytes();
        if let Some(before) = self.kept.put(segment, Arc::clone(index)) {
            self.size_bytes -= before.memory_bytes();
        }
        while self.size_bytes > self.budget_bytes {
            let Some((_, oldest)) = self.kept.pop_lru() else {
                break;
            };
            self.size_bytes -= oldest.memory_bytes();
        }
    }
}

/// What `index`, of `segment`, has of what is wanted.
pub(super) fn batches(segment: u64, index: &SegmentIndex, wanted: Wanted) -> Option<Batches> {
    let mut budget = wanted.max_bytes;
    let mut entries = Vec::new();
    for entry in index.run(wanted.partition)?.starting_at(wanted.offset) {
        let bytes = entry.len as usize;
        if entry.next_offset > wanted.end_offset || (!entries.is_empty() && bytes > budget) {
            break;
        }
        budget = budget.saturating_sub(bytes);
        entries.push(entry);
    }
    (!entries.is_empty()).then_some(Batches { segment, entries })
}

#[cfg(test)]
mod tests;
