//! While `process` reads: records are acknowledged one by one, and what is dropped is noted.
//!
//! What was given out is in other hands then. A seek, and a log that took records back, drop some of it;
//! whoever has them asks for what was dropped before doing anything else with them.

use std::sync::Arc;

use super::Fetcher;

/// Records that were given out and are not wanted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Dropped {
    pub(in crate::client) topic: Arc<str>,
    pub(in crate::client) partition: i32,
    /// They and all behind them.
    pub(in crate::client) from_offset: i64,
}

impl Fetcher {
    /// From now on records are acknowledged one by one, whatever the options say. Called again it does
    /// nothing.
    pub(in crate::client::consumer) fn begin_processing(&mut self) {
        self.is_manual = true;
        self.dropped.get_or_insert_default();
    }

    pub(in crate::client::consumer) const fn is_processing(&self) -> bool {
        self.dropped.is_some()
    }

    /// As before. Positions stay where they are: what was given out and is not done is not passed either,
    /// and a commit that is under way must not see it so.
    pub(in crate::client::consumer) fn end_processing(&mut self, is_manual: bool) {
        if self.dropped.take().is_none() {
            return;
        }
        self.end_lease();
        for state in &mut self.partitions {
            state.passed = state.position(true);
        }
        self.is_manual = is_manual;
    }

    /// What was dropped since this was asked last.
    pub(in crate::client::consumer) fn take_dropped(&mut self) -> Vec<Dropped> {
        let dropped = self.dropped.as_mut().map(std::mem::take);
        let dropped = dropped.unwrap_or_default().into_iter();
        let named = dropped.filter_map(|(place, from_offset)| {
            let state = self.partitions.get(place)?;
            Some(Dropped {
                topic: Arc::clone(&state.topic),
                partition: state.partition,
                from_offset,
            })
        });
        named.collect()
    }

    /// Whether the last rows that were given out are still wanted.
    pub(in crate::client::consumer) fn is_lease_current(&self) -> bool {
        self.lease.last().is_none_or(|leased| {
            let state = self.partitions.get(leased.segment.place);
            state.is_some_and(|state| state.seeks == leased.seeks)
        })
    }

    /// This record is done; one that is not waited for does not matter.
    pub(in crate::client::consumer) fn done(&mut self, topic: &str, partition: i32, offset: i64) {
        let place = self.places.find(topic, partition);
        if let Some(state) = place.and_then(|place| self.partitions.get_mut(place)) {
            state.unacked.remove(offset..offset.saturating_add(1));
        }
    }

    /// The partitions of which rows were given out that the host has not passed, each with the first.
    pub(in crate::client::consumer) fn unpassed(&self) -> Vec<(Arc<str>, i32, i64)> {
        let open = self
            .partitions
            .iter()
            .filter(|state| state.passed < state.delivered);
        open.map(|state| (Arc::clone(&state.topic), state.partition, state.passed))
            .collect()
    }

    pub(super) fn note_dropped(&mut self, place: usize, from_offset: i64) {
        if let Some(dropped) = &mut self.dropped {
            let from = dropped.entry(place).or_insert(from_offset);
            *from = (*from).min(from_offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Assigned, Moved, Offsets, Origin, Segment};
    use super::*;
    use crate::client::options::Start;
    use crate::protocol::out_of_range::OutOfRange;

    fn fetcher() -> Fetcher {
        let assigned = Assigned {
            topic: "t".into(),
            partition: 3,
            start: 0,
            origin: Origin::Found,
            committed: None,
            until: None,
            grant: 0,
        };
        Fetcher::new(vec![assigned], false)
    }

    fn lease(fetcher: &mut Fetcher, offsets: std::ops::Range<i64>) {
        fetcher.lease(vec![Segment {
            place: 0,
            next_offset: offsets.end,
            offsets: Offsets::Contiguous(offsets),
            leader_epoch: 0,
        }]);
    }

    #[test]
    fn while_processing_a_position_is_the_first_record_that_is_not_done() {
        let mut fetcher = fetcher();
        fetcher.begin_processing();
        lease(&mut fetcher, 0..3);
        lease(&mut fetcher, 3..6);
        fetcher.done("t", 3, 1);
        assert_eq!(fetcher.positions()[0].offset, 0);
        fetcher.done("t", 3, 0);
        assert_eq!(fetcher.positions()[0].offset, 2);
    }

    #[test]
    fn at_its_end_what_is_not_done_is_not_passed() {
        // A consumer that was closed in the middle committed all that had been given out.
        let mut fetcher = fetcher();
        fetcher.begin_processing();
        lease(&mut fetcher, 0..10);
        (0..4).for_each(|offset| fetcher.done("t", 3, offset));
        fetcher.done("t", 3, 7);
        fetcher.end_processing(false);
        assert_eq!(fetcher.positions()[0].offset, 4);
        fetcher.pass(10);
        fetcher.end_lease();
        assert_eq!(fetcher.positions()[0].offset, 4);
    }

    #[test]
    fn a_seek_drops_all_that_was_given_out_and_is_told_once() {
        let mut fetcher = fetcher();
        fetcher.begin_processing();
        lease(&mut fetcher, 0..3);
        assert!(fetcher.is_lease_current());
        fetcher.seek("t", 3, 1, Origin::Named).unwrap();
        assert!(!fetcher.is_lease_current());
        let dropped = Dropped {
            topic: "t".into(),
            partition: 3,
            from_offset: 0,
        };
        assert_eq!(fetcher.take_dropped(), [dropped]);
        assert_eq!(fetcher.take_dropped(), []);
    }

    #[test]
    fn what_a_crash_took_back_is_dropped_and_what_stands_before_it_is_not() {
        let mut fetcher = fetcher();
        fetcher.begin_processing();
        lease(&mut fetcher, 0..10);
        let found = OutOfRange {
            topic: "t".to_owned(),
            partition: 3,
            offset: 10,
            last_epoch: 0,
            epoch_end_offset: Some(6),
            log_start_offset: 0,
            high_watermark: 6,
            log_end_offset: 6,
        };
        let moved = fetcher.move_on(&found, Start::Earliest, false);
        assert_eq!(
            moved,
            Some(Moved::Back {
                lost_records: 4,
                to: 6
            })
        );
        assert_eq!(fetcher.take_dropped()[0].from_offset, 6);
        (0..6).for_each(|offset| fetcher.done("t", 3, offset));
        assert_eq!(fetcher.positions()[0].offset, 6);
    }

    #[test]
    fn nothing_is_noted_when_nobody_processes() {
        let mut fetcher = fetcher();
        fetcher.begin_processing();
        fetcher.end_processing(false);
        fetcher.seek("t", 3, 1, Origin::Named).unwrap();
        assert_eq!(fetcher.take_dropped(), []);
    }
}
