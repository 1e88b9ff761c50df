//! What is kept of a sealed segment beside its [rows](super::rows): of which partitions it has one.
//!
//! The ids stand in rising order, each a varint, what it is more than the one before. Segments that follow
//! one another mostly hold the same partitions: then they share them.

use std::sync::Arc;

use crate::ids::PartitionId;
use crate::record::varint;

/// See the module.
#[derive(Debug)]
pub(super) struct Held {
    partitions: Arc<[u8]>,
    /// Whether the segment is a cold one.
    pub(super) is_cold: bool,
}

impl Held {
    /// That of a segment which holds something of `partitions`, rising; `neighbour` is another's.
    pub(super) fn new(
        partitions: impl Iterator<Item = PartitionId>,
        is_cold: bool,
        neighbour: Option<&Self>,
    ) -> Self {
        let mut coded = Vec::new();
        let mut before = 0;
        for partition in partitions {
            let id = i64::from(partition.0);
            varint::put_i64(&mut coded, id - before);
            before = id;
        }
        let same = neighbour.filter(|neighbour| *neighbour.partitions == coded);
        Self {
            partitions: same.map_or_else(|| coded.into(), |same| Arc::clone(&same.partitions)),
            is_cold,
        }
    }

    /// The partitions, rising.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        let mut bytes = &*self.partitions;
        let mut before = 0_i64;
        std::iter::from_fn(move || {
            let (more, taken) = varint::read_i64(bytes).ok()?;
            bytes = bytes.get(taken..)?;
            before = before.wrapping_add(more);
            u32::try_from(before).ok().map(PartitionId)
        })
    }

    /// Bytes that it takes in memory beside its own size; of what it shares, its share.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let shared = 2 * size_of::<usize>() + self.partitions.len();
        shared / Arc::strong_count(&self.partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ids: &[u32], neighbour: Option<&Held>) -> Held {
        Held::new(ids.iter().copied().map(PartitionId), false, neighbour)
    }

    #[test]
    fn partitions_come_back_whatever_their_ids() {
        for ids in [
            &[][..],
            &[0],
            &[u32::MAX],
            &[0, 1, 63, 200, 70_000, u32::MAX],
        ] {
            let back: Vec<_> = held(ids, None).partitions().map(|it| it.0).collect();
            assert_eq!(back, ids);
        }
    }

    #[test]
    fn segments_of_the_same_partitions_share_them() {
        let first = held(&[1, 2, 3], None);
        let same = held(&[1, 2, 3], Some(&first));
        assert!(Arc::ptr_eq(&first.partitions, &same.partitions));
        let other = held(&[1, 2], Some(&first));
        assert_eq!(other.partitions().count(), 2);
    }
}
