//! Sets of byte positions, as ranges that neither touch nor overlap.

use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut merged = range;
        // Ranges that touch are merged too.
        while let Some((&start, &end)) = self.0.range(..=merged.end).next_back() {
            if end < merged.start {
                break;
            }
            self.0.remove(&start);
            merged = merged.start.min(start)..merged.end.max(end);
        }
        self.0.insert(merged.start, merged.end);
    }

    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.0.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.0.remove(&start);
            if start < range.start {
                self.0.insert(start, range.start);
            }
            if end > range.end {
                self.0.insert(range.end, end);
            }
        }
    }

    pub(super) fn insert_all(&mut self, others: &Self) {
        others.iter().for_each(|range| self.insert(range));
    }

    pub(super) fn remove_all(&mut self, others: &Self) {
        others.iter().for_each(|range| self.remove(range));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn overlaps(&self, range: &Range<u64>) -> bool {
        let last_before_end = self.0.range(..range.end).next_back();
        !range.is_empty() && last_before_end.is_some_and(|(_, end)| *end > range.start)
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn ranges_answer_as_a_set_of_positions_does(
            steps in proptest::collection::vec((proptest::bool::ANY, 0_u64..40, 0_u64..12), 0..40)
        ) {
            let mut ranges = Ranges::default();
            let mut model = std::collections::BTreeSet::new();
            for (is_insert, start, length) in steps {
                let range = start..start + length;
                if is_insert {
                    ranges.insert(range.clone());
                    model.extend(range);
                } else {
                    ranges.remove(range.clone());
                    model.retain(|position| !range.contains(position));
                }
                let found: Vec<u64> = ranges.iter().flatten().collect();
                proptest::prop_assert_eq!(found, model.iter().copied().collect::<Vec<_>>());
                proptest::prop_assert_eq!(ranges.first(), model.first().copied());
                for start in 0..40 {
                    let probe = start..start + 3;
                    let overlaps = probe.clone().any(|position| model.contains(&position));
                    proptest::prop_assert_eq!(ranges.overlaps(&probe), overlaps);
                }
            }
        }
    }
}
