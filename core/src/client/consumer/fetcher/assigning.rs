//! Partitions that come and go while others are read.

use std::sync::Arc;

use super::{Assigned, Fetcher, Hold, PartitionState};
use crate::ids::TopicPartition;

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
            if let (Some(until), Some(state)) =
                (places.until.get_mut(place), self.partitions.get_mut(place))
            {
                *until = assigned.until;
                let seeks = state.seeks.wrapping_add(1);
                *state = PartitionState {
                    seeks,
                    ..PartitionState::new(assigned)
                };
            }
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

    /// Reads these on after all.
    pub(in crate::client::consumer) fn keep(&mut self, partitions: &[TopicPartition]) {
        self.change(partitions, |state| {
            if state.hold == Hold::LettingGo {
                state.hold = Hold::Held;
            }
        });
    }

    /// Those of them of which nothing is in the host's hands. With `gives_up` what is not acknowledged does not
    /// count: whoever reads the partition next is given it again.
    pub(in crate::client::consumer) fn let_go_of(
        &self,
        partitions: &[TopicPartition],
        gives_up: bool,
    ) -> Vec<TopicPartition> {
        let is_ready = |it: &&TopicPartition| {
            let place = self.places.find(&it.topic, it.partition);
            let state = place.and_then(|place| self.partitions.get(place));
            state.is_none_or(|state| gives_up || state.position(self.is_manual) >= state.delivered)
        };
        partitions.iter().filter(is_ready).cloned().collect()
    }

    /// They are others' now: what was given out of them is nobody's business here any more.
    pub(in crate::client::consumer) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.change(partitions, PartitionState::forget);
        for partition in partitions {
            if let Some(place) = self.places.find(&partition.topic, partition.partition) {
                self.note_dropped(place, 0);
            }
        }
    }

    /// The same for all.
    pub(in crate::client::consumer) fn forget_all(&mut self) {
        for place in 0..self.partitions.len() {
            self.note_dropped(place, 0);
        }
        self.partitions.iter_mut().for_each(PartitionState::forget);
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
        self.seeks = self.seeks.wrapping_add(1);
        self.unacked.clear();
        (self.passed, self.committed) = (self.delivered, self.delivered);
    }
}
