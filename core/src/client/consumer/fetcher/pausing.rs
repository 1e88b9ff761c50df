//! Partitions that are paused: held, and not given out.

use std::sync::Arc;

use super::{Fetcher, Hold};
use crate::error::{Error, ErrorCode};
use crate::ids::TopicPartition;

impl Fetcher {
    /// Pauses or resumes these; none: all that are held. True if that changes something; one that is not held
    /// is an error, and nothing is changed then.
    pub(in crate::client::consumer) fn set_paused(
        &mut self,
        partitions: Option<&[TopicPartition]>,
        is_paused: bool,
    ) -> Result<bool, Error> {
        let places = match partitions {
            None => self.places_held().collect(),
            Some(named) => named
                .iter()
                .map(|it| self.held_place(it, is_paused))
                .collect::<Result<Vec<_>, _>>()?,
        };
        let mut has_changed = false;
        for place in places {
            if let Some(state) = self.partitions.get_mut(place) {
                has_changed |= state.is_paused != is_paused;
                state.is_paused = is_paused;
            }
        }
        Ok(has_changed)
    }

    fn held_place(&self, wanted: &TopicPartition, is_paused: bool) -> Result<usize, Error> {
        let place = self.places.find(&wanted.topic, wanted.partition);
        let is_held = |place: &usize| {
            let state = self.partitions.get(*place);
            state.is_some_and(|state| state.hold == Hold::Held)
        };
        place.filter(is_held).ok_or_else(|| {
            let verb = if is_paused { "paused" } else { "resumed" };
            Error::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("{wanted} cannot be {verb}: it is not assigned to this consumer"),
            )
        })
    }

    /// Those that are held and paused.
    pub(in crate::client::consumer) fn paused(&self) -> Vec<TopicPartition> {
        let paused = self.places_held().filter(|place| self.is_paused(*place));
        let states = paused.filter_map(|place| self.partitions.get(place));
        states
            .map(|state| TopicPartition {
                topic: Arc::clone(&state.topic),
                partition: state.partition,
            })
            .collect()
    }

    pub(in crate::client::consumer) fn is_paused(&self, place: usize) -> bool {
        self.partitions
            .get(place)
            .is_some_and(|state| state.is_paused)
    }
}
