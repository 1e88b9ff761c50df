//! What has to go first where a folder's limit is reached: the records of the oldest segments.

use std::collections::BTreeMap;

use super::super::shared::Shared;
use super::Rules;
use super::plan::Worth;
use crate::ids::PartitionId;

/// This part of the limit goes beyond what has to, so that not every segment begins with dropping.
const MORE_PART: u64 = 16;

/// Up to which offset each partition is to go.
type Victims = BTreeMap<PartitionId, i64>;

/// What a segment would come to.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    goes_bytes: u64,
    stays_bytes: u64,
}

impl Part {
    fn and(self, other: Self) -> Self {
        Self {
            goes_bytes: self.goes_bytes + other.goes_bytes,
            stays_bytes: self.stays_bytes + other.stays_bytes,
        }
    }

    /// Bytes of space that come of it.
    fn freed_bytes(self, worth: Worth) -> u64 {
        if self.stays_bytes == 0 || worth.is_enough(self.goes_bytes, self.stays_bytes) {
            self.goes_bytes
        } else {
            0
        }
    }
}

impl Shared {
    /// The partitions that have to lose their oldest records for the next segment to fit, and some more, each
    /// with the offset that it is to start at; of those alone for which `may_go` holds. What is dead by `rules`
    /// already counts as given back. Nothing behind the newest snapshot is among it: its space would stay.
    pub(in crate::log) fn oldest(
        &self,
        rules: &Rules<'_>,
        may_go: &dyn Fn(PartitionId) -> bool,
    ) -> Vec<(PartitionId, i64)> {
        let (excess_bytes, Ok((_, newest))) = (self.excess_bytes(), self.snapshots()) else {
            return Vec::new();
        };
        if excess_bytes == 0 {
            return Vec::new();
        }
        let more_bytes = self.options.max_bytes.map_or(0, |most| most / MORE_PART);
        let bytes = excess_bytes + more_bytes;
        let worth = Worth::new(self);
        let mut victims = Victims::new();
        let mut freed = 0;
        for segment in self.index.sealed(true) {
            if freed >= bytes {
                break;
            }
            freed += self
                .take(segment, rules, may_go, &mut victims)
                .freed_bytes(worth);
        }
        // The log's own go from the front: what counts is all of a beginning.
        let mut front = Part::default();
        for segment in self.index.sealed(false) {
            if freed + front.freed_bytes(worth) >= bytes || segment >= newest {
                break;
            }
            front = front.and(self.take(segment, rules, may_go, &mut victims));
        }
        victims.into_iter().collect()
    }

    fn take(
        &self,
        segment: u64,
        rules: &Rules<'_>,
        may_go: &dyn Fn(PartitionId) -> bool,
        victims: &mut Victims,
    ) -> Part {
        let mut stays_bytes = 0;
        for row in self.index.rows_of(segment) {
            let lives = |rule: super::CleaningRule| row.summary.next_offset > rule.log_start_offset;
            if !rules(row.partition).is_some_and(lives) {
                continue;
            }
            if may_go(row.partition) {
                let until = victims.entry(row.partition).or_default();
                *until = row.summary.next_offset.max(*until);
            } else {
                stays_bytes += row.summary.size_bytes;
            }
        }
        let all = self.files.segment(segment).map_or(0, |file| file.end());
        Part {
            goes_bytes: all.saturating_sub(stays_bytes),
            stays_bytes,
        }
    }
}
