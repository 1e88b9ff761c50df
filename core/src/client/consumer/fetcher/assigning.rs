//! Partitions that come and go while others are read.

use std::sync::Arc;

use super::{Assigned, Fetcher, Hold, PartitionState};
use crate::client::consumer::membership::Granted;
use crate::ids::TopicPartition;
use crate::limits::SUBSCRIPTION_PARTITIONS_MAX;

impl Fetcher {
    /// Reads these from now on. One that was read before begins anew.
    pub(in crate::client::consumer) fn assign(&mut self, assigned: Vec<Assigned>) {
        for assigned in assigned {
            let places = Arc::make_mut(&mut self.places);
            let of_topic = places.by_topic.entry(Arc::clone(&assigned.topic));
            let next = self.partitions.len();
            let place = *of_topic
                .or_default()
                .entry(assigned.partition)
                .or_insert(next);
            if place == next {
                places.until.push(assigned.until);
                self.partitions.push(PartitionState::new(assigned));
                continue;
            }
            let Some(state) = self.partitions.get_mut(place) else {
                continue;
            };
            if state.grant == assigned.grant && state.hold == Hold::Held && state.grant > 0 {
                // It was found out twice where it begins, and is read already.
                continue;
            }
            if let Some(until) = places.until.get_mut(place) {
                *until = assigned.until;
            }
            let seeks = state.seeks.wrapping_add(1);
            // What was given out the last time may be acknowledged late, which changes nothing.
            let lost_end = state.lost_end.max(state.delivered);
            *state = PartitionState {
                seeks,
                lost_end,
                ..PartitionState::new(assigned)
            };
            self.note_dropped(place, 0);
        }
    }

    /// Leaves those that are not read yet, as many as one consumer may read: who looked what there is may have looked
    /// twice.
    pub(in crate::client::consumer) fn leave_new(&self, assigned: &mut Vec<Assigned>) {
        assigned.retain(|it| self.places.find(&it.topic, it.partition).is_none());
        let room = SUBSCRIPTION_PARTITIONS_MAX.saturating_sub(self.partitions.len());
        if assigned.len() > room {
            let left_out = assigned.len() - room;
            crate::seldom!(
                warn,
                partitions = left_out,
                "a consumer reads no more than it may"
            );
            assigned.truncate(room);
        }
    }

    /// Reads these no more; what was given out of them is still to be passed.
    pub(in crate::client::consumer) fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.change(partitions, |state| {
            if state.hold == Hold::Held {
                state.hold = Hold::LettingGo;
            }
        });
    }

    /// Reads these on after all; returns those that it does not know yet.
    pub(in crate::client::consumer) fn keep(&mut self, granted: Vec<Granted>) -> Vec<Granted> {
        let mut unknown = Vec::new();
        for granted in granted {
            let (topic, partition) = (&granted.offset.topic, granted.offset.partition);
            let place = self.places.find(topic, partition);
            let state = place.and_then(|place| self.partitions.get_mut(place));
            match state.filter(|it| it.grant == granted.grant && it.hold != Hold::Gone) {
                Some(state) => state.hold = Hold::Held,
                None => unknown.push(granted),
            }
        }
        unknown
    }

    /// Those of them that may be another's now: all that was given out of them is passed, or is not waited for
    /// any more. With `is_settled` what is passed must be committed too.
    pub(in crate::client::consumer) fn let_go_of(
        &self,
        partitions: &[TopicPartition],
        gives_up: bool,
        is_settled: bool,
    ) -> Vec<TopicPartition> {
        let is_ready = |it: &&TopicPartition| {
            let place = self.places.find(&it.topic, it.partition);
            let state = place.and_then(|place| self.partitions.get(place));
            state.is_none_or(|state| {
                let is_passed = gives_up || state.position(self.is_manual) >= state.delivered;
                is_passed && !(is_settled && self.is_dirty(state))
            })
        };
        partitions.iter().filter(is_ready).cloned().collect()
    }

    /// They are others' now: what was given out of them is nobody's business here any more. True if some of that
    /// was not committed.
    pub(in crate::client::consumer) fn forget(&mut self, partitions: &[TopicPartition]) -> bool {
        let places = partitions.iter();
        let places = places.filter_map(|it| self.places.find(&it.topic, it.partition));
        self.forget_places(places.collect())
    }

    /// The same for all.
    pub(in crate::client::consumer) fn forget_all(&mut self) -> bool {
        self.forget_places((0..self.partitions.len()).collect())
    }

    fn forget_places(&mut self, places: Vec<usize>) -> bool {
        let mut was_open = false;
        for place in places {
            self.note_dropped(place, 0);
            if let Some(state) = self.partitions.get_mut(place) {
                was_open |= state.hold != Hold::Gone && state.committed != state.delivered;
                state.forget();
            }
        }
        was_open
    }

    /// Whether what is given out is acknowledged one by one.
    pub(in crate::client::consumer) const fn is_manual(&self) -> bool {
        self.is_manual
    }

    /// Whether some are to be let go of.
    pub(in crate::client::consumer) fn is_letting_go(&self) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.any(|state| state.hold == Hold::LettingGo)
    }

    /// Whether the host has passed all that it was given.
    pub(in crate::client::consumer) fn is_all_passed(&self) -> bool {
        let mut there = self.partitions.iter().filter(|it| it.hold != Hold::Gone);
        there.all(|state| state.position(self.is_manual) >= state.delivered)
    }

    fn change(&mut self, partitions: &[TopicPartition], change: impl Fn(&mut PartitionState)) {
        for TopicPartition { topic, partition } in partitions {
            let place = self.places.find(topic, *partition);
            if let Some(state) = place.and_then(|place| self.partitions.get_mut(place)) {
                change(state);
            }
        }
    }
}

impl PartitionState {
    fn forget(&mut self) {
        self.hold = Hold::Gone;
        self.is_paused = false;
        self.seeks = self.seeks.wrapping_add(1);
        self.unacked.clear();
        (self.passed, self.committed) = (self.delivered, self.delivered);
    }
}
