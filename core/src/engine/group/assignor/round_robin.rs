//! Kafka's round robin assignor: all partitions in the order of topic and number, each to the next member in
//! turn that subscribed to its topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assignment, Subscriber, partitions_of, subscribed};

pub(super) fn assign(
    subscribers: &[Subscriber<'_>],
    topics: &BTreeMap<Arc<str>, i32>,
) -> Assignment {
    let mut assignment = Assignment::new();
    let mut turn = 0;
    for (topic, (count, places)) in subscribed(subscribers, topics) {
        for partition in partitions_of(topic, count) {
            // The first at or behind the turn; the round begins again where there is none.
            let next = places.partition_point(|place| *place < turn);
            let place = places[next % places.len()];
            turn = (place + 1) % subscribers.len();
            assignment.insert(partition, place);
        }
    }
    assignment
}
