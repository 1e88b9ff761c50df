//! Where each leader epoch of a partition begins: what tells a reader of records that a crash took back.
//!
//! Invariants: epochs and their start offsets both rise; an epoch without batches is not in here. Epochs
//! whose records are all deleted are forgotten, and those beyond [`limits::LEADER_EPOCHS_KEPT_MAX`] are
//! taken for a part of the one behind them. So an end that is not known any more is never given too high:
//! a reader may have to read records again, but none is passed over.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::ids::LeaderEpoch;
use crate::limits;

/// A leader epoch and the offset of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset of its first record.
    pub start_offset: i64,
}

/// The leader epochs of one partition, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs(VecDeque<EpochStart>);

impl Epochs {
    /// What was kept; what does not rise is left out.
    #[must_use]
    pub fn restored(kept: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut epochs = Self::default();
        for EpochStart {
            epoch,
            start_offset,
        } in kept
        {
            epochs.append(epoch, start_offset);
        }
        epochs
    }

    /// Takes in a batch of this epoch that begins at `base_offset`.
    pub fn append(&mut self, epoch: LeaderEpoch, base_offset: i64) {
        if self.0.back().is_some_and(|newest| newest.epoch >= epoch) {
            return;
        }
        self.0.push_back(EpochStart {
            epoch,
            start_offset: base_offset,
        });
        while self.0.len() > limits::LEADER_EPOCHS_KEPT_MAX {
            self.merge_oldest();
        }
    }

    /// Forgets epochs whose records all lie below `log_start_offset`.
    pub fn advance_log_start(&mut self, log_start_offset: i64) {
        while let Some(second) = self.0.get(1)
            && second.start_offset <= log_start_offset
        {
            self.0.pop_front();
        }
    }

    /// The offset behind the last record of `epoch` and of those before it, where the partition ends at
    /// `end_offset`: where the next higher epoch begins, or the end.
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch, end_offset: i64) -> i64 {
        let next = self.0.partition_point(|known| known.epoch <= epoch);
        self.0
            .get(next)
            .map_or(end_offset, |next| next.start_offset)
    }

    /// The largest epoch there is that is not above `epoch`, and the offset behind its last record, where the
    /// partition ends at `end_offset`: what a reader who has read records of `epoch` has in common with the log.
    /// Below the oldest it is `epoch` itself, with where the oldest begins. None if `epoch` is above all.
    #[must_use]
    pub fn end_at(&self, epoch: LeaderEpoch, end_offset: i64) -> Option<(LeaderEpoch, i64)> {
        let newest = self.0.back()?;
        if epoch > newest.epoch {
            return None;
        }
        let next = self.0.partition_point(|known| known.epoch <= epoch);
        let known = next.checked_sub(1).and_then(|at| self.0.get(at));
        let found = known.map_or(epoch, |known| known.epoch);
        Some((found, self.end_of(epoch, end_offset)))
    }

    /// The epoch of the record at `offset`; behind the last record, that of the last. None if nothing is known.
    #[must_use]
    pub fn at(&self, offset: i64) -> Option<LeaderEpoch> {
        let next = self.0.partition_point(|known| known.start_offset <= offset);
        let known = next.checked_sub(1).and_then(|at| self.0.get(at));
        known.map(|known| known.epoch)
    }

    /// The epochs there are, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = EpochStart> + '_ {
        self.0.iter().copied()
    }

    /// The oldest epoch becomes a part of the second.
    fn merge_oldest(&mut self) {
        let oldest = self.0.pop_front();
        if let (Some(oldest), Some(first)) = (oldest, self.0.front_mut()) {
            first.start_offset = oldest.start_offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// So many records in the present epoch.
        Append(i64),
        /// The term is raised by so much.
        Raise(i32),
        /// A crash: the last records are gone, and the term is raised.
        Cut(i64),
        /// So many of a thousand records are deleted.
        Delete(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let one = prop_oneof![
            4 => (1..5_i64).prop_map(Step::Append),
            2 => (1..3_i32).prop_map(Step::Raise),
            1 => (0..9_i64).prop_map(Step::Cut),
            1 => (0..1_000_i64).prop_map(Step::Delete),
        ];
        prop::collection::vec(one, 0..60)
    }

    /// The epoch of every record ever written and not cut, and where the log starts.
    #[derive(Default)]
    struct Model {
        epochs: Vec<i32>,
        log_start: usize,
    }

    impl Model {
        /// Looks at every record for the first of a higher epoch.
        fn end_of(&self, epoch: i32) -> i64 {
            let higher = self.epochs.iter().position(|known| *known > epoch);
            higher.unwrap_or(self.epochs.len()) as i64
        }
    }

    /// As `apply` would after a crash: from the batches that are left.
    fn rebuilt(model: &Model) -> Epochs {
        let mut epochs = Epochs::default();
        for (offset, epoch) in (0..).zip(&model.epochs) {
            epochs.append(LeaderEpoch(*epoch), offset);
        }
        epochs.advance_log_start(model.log_start as i64);
        epochs
    }

    proptest! {
        #[test]
        fn ends_of_epochs_are_those_of_a_plain_list_of_records(steps in steps()) {
            let (mut model, mut epochs, mut term) = (Model::default(), Epochs::default(), 1);
            for step in steps {
                match step {
                    Step::Append(records) => {
                        let base_offset = model.epochs.len();
                        epochs.append(LeaderEpoch(term), base_offset as i64);
                        model.epochs.resize(base_offset + records as usize, term);
                    }
                    Step::Raise(by) => term += by,
                    Step::Cut(records) => {
                        term += 1;
                        let left = model.epochs.len().saturating_sub(records as usize);
                        model.epochs.truncate(left.max(model.log_start));
                        epochs = rebuilt(&model);
                    }
                    Step::Delete(of_thousand) => {
                        let to = model.epochs.len() * of_thousand as usize / 1_000;
                        model.log_start = model.log_start.max(to);
                        epochs.advance_log_start(model.log_start as i64);
                    }
                }
                let end = model.epochs.len() as i64;
                let held = model.epochs.get(model.log_start).copied();
                for epoch in 0..=term + 1 {
                    let found = epochs.end_of(LeaderEpoch(epoch), end);
                    prop_assert!(found <= end);
                    // Of an epoch that is deleted it is known only that it ends no later than what is held.
                    if held.is_none_or(|held| epoch >= held) {
                        let expected = model.end_of(epoch);
                        prop_assert!(found == expected || found.max(expected) <= model.log_start as i64);
                    } else {
                        prop_assert!(found <= model.log_start as i64);
                    }
                }
                prop_assert_eq!(&Epochs::restored(epochs.iter()), &epochs);
            }
        }
    }

    #[test]
    fn what_a_reader_has_in_common_is_the_end_of_the_largest_epoch_that_both_know() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.end_at(LeaderEpoch(1), 0), None);
        assert_eq!(epochs.at(0), None);
        for (epoch, start_offset) in [(3, 10), (5, 20), (6, 30)] {
            epochs.append(LeaderEpoch(epoch), start_offset);
        }
        let end_at = |epoch| {
            let found = epochs.end_at(LeaderEpoch(epoch), 40);
            found.map(|(epoch, end_offset)| (epoch.0, end_offset))
        };
        assert_eq!(end_at(2), Some((2, 10)));
        assert_eq!(end_at(3), Some((3, 20)));
        assert_eq!(end_at(4), Some((3, 20)));
        assert_eq!(end_at(6), Some((6, 40)));
        assert_eq!(end_at(7), None);
        let at = [9, 10, 19, 20, 30, 40].map(|offset| epochs.at(offset).map(|epoch| epoch.0));
        assert_eq!(at, [None, Some(3), Some(3), Some(5), Some(6), Some(6)]);
    }

    #[test]
    fn beyond_the_limit_the_oldest_ends_are_given_too_low_and_never_too_high() {
        let kept = limits::LEADER_EPOCHS_KEPT_MAX as i32;
        let mut epochs = Epochs::default();
        for epoch in 1..=kept + 3 {
            epochs.append(LeaderEpoch(epoch), i64::from(epoch) * 10);
        }
        assert_eq!(epochs.iter().count(), limits::LEADER_EPOCHS_KEPT_MAX);
        let end_of = |epoch| epochs.end_of(LeaderEpoch(epoch), i64::MAX);
        // The first three are one with the fourth, which begins where they did.
        assert_eq!((end_of(1), end_of(3), end_of(4)), (10, 10, 50));
        assert_eq!(end_of(kept + 2), i64::from(kept + 3) * 10);
        assert_eq!(end_of(kept + 3), i64::MAX);
    }
}
