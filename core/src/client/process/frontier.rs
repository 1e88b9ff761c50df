//! How far each partition is done: the first offset that is not, which is what may be committed.
//!
//! It keeps only what is not done, so what is done far beyond the first costs nothing.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Partition {
    /// Offset and record.
    unfinished: BTreeMap<i64, u64>,
    /// Behind the last offset that was added.
    next_offset: i64,
}

/// See the module. Partitions are numbered by the caller.
#[derive(Debug, Default)]
pub(super) struct Frontiers(BTreeMap<usize, Partition>);

impl Frontiers {
    /// Adds a record behind all others of its partition; false if it does not stand behind them.
    pub(super) fn add(&mut self, place: usize, offset: i64, record: u64) -> bool {
        let partition = self.0.entry(place).or_default();
        if offset < partition.next_offset {
            return false;
        }
        partition.unfinished.insert(offset, record);
        partition.next_offset = offset.saturating_add(1);
        true
    }

    pub(super) fn finish(&mut self, place: usize, offset: i64) {
        if let Some(partition) = self.0.get_mut(&place) {
            partition.unfinished.remove(&offset);
        }
    }

    /// Forgets what a partition has from `from_offset` on; returns those records, the last first.
    pub(super) fn cut(&mut self, place: usize, from_offset: i64) -> Vec<u64> {
        let Some(partition) = self.0.get_mut(&place) else {
            return Vec::new();
        };
        let cut = partition.unfinished.split_off(&from_offset);
        partition.next_offset = partition.next_offset.min(from_offset);
        if partition.unfinished.is_empty() {
            self.0.remove(&place);
        }
        cut.into_values().rev().collect()
    }

    /// The first offset of a partition that is not done; none if nothing of it was ever added.
    #[cfg(test)]
    pub(super) fn of(&self, place: usize) -> Option<i64> {
        let partition = self.0.get(&place)?;
        let first = partition.unfinished.first_key_value();
        Some(first.map_or(partition.next_offset, |(offset, _)| *offset))
    }

    /// The first offset that is not done, of every partition that has one.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = (usize, i64)> {
        let partitions = self.0.iter();
        partitions.filter_map(|(place, partition)| {
            let (offset, _) = partition.unfinished.first_key_value()?;
            Some((*place, *offset))
        })
    }
}
