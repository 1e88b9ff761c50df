//! The offsets of one partition that were given out and are not acknowledged, as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges of offsets, none empty, none touching the next by accident of how they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unacked {
    /// Start to end (exclusive).
    ranges: BTreeMap<i64, i64>,
    count: u64,
}

impl Unacked {
    /// How many offsets.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The first.
    pub(super) fn first(&self) -> Option<i64> {
        self.ranges.first_key_value().map(|(start, _)| *start)
    }

    /// Adds offsets that were just given out: they stand behind all that were before.
    pub(super) fn add(&mut self, offsets: Range<i64>) {
        if offsets.is_empty() {
            return;
        }
        self.count += offsets.start.abs_diff(offsets.end);
        if let Some(mut last) = self.ranges.last_entry()
            && *last.get() == offsets.start
        {
            *last.get_mut() = offsets.end;
            return;
        }
        self.ranges.insert(offsets.start, offsets.end);
    }

    /// Takes offsets out; those that are not in do not matter.
    pub(super) fn remove(&mut self, offsets: Range<i64>) {
        let mut from = offsets.start;
        while from < offsets.end {
            let Some((start, end)) = self.covering_or_after(from) else {
                return;
            };
            if start >= offsets.end {
                return;
            }
            let cut = start.max(offsets.start)..end.min(offsets.end);
            self.ranges.remove(&start);
            if start < cut.start {
                self.ranges.insert(start, cut.start);
            }
            if cut.end < end {
                self.ranges.insert(cut.end, end);
            }
            self.count -= cut.start.abs_diff(cut.end);
            from = cut.end;
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.ranges.clear();
        self.count = 0;
    }

    fn covering_or_after(&self, offset: i64) -> Option<(i64, i64)> {
        let before = self
            .ranges
            .range(..=offset)
            .next_back()
            .filter(|(_, end)| **end > offset);
        let found = before.or_else(|| self.ranges.range(offset..).next());
        found.map(|(start, end)| (*start, *end))
    }
}
