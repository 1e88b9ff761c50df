//! Kafka's range assignor: of each topic, the members that subscribed to it take runs of its partitions in
//! their order; the first ones take one more where it does not come out even.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Assignment, Subscriber, partitions_of, subscribed};

pub(super) fn assign(
    subscribers: &[Subscriber<'_>],
    topics: &BTreeMap<Arc<str>, i32>,
) -> Assignment {
    let mut assignment = Assignment::new();
    for (topic, (count, places)) in subscribed(subscribers, topics) {
        let partitions = usize::try_from(count).unwrap_or_default();
        let (each, more) = (partitions / places.len(), partitions % places.len());
        let mut run = partitions_of(topic, count);
        for (nth, place) in places.into_iter().enumerate() {
            let length = each + usize::from(nth < more);
            assignment.extend(
                run.by_ref()
                    .take(length)
                    .map(|partition| (partition, place)),
            );
        }
    }
    assignment
}
