//! How far each partition is, for who measures the lag.

use super::Fetcher;
use crate::client::consumer::lag::PartitionLag;

impl Fetcher {
    /// Those that are held; how far they could be is still to be found out.
    pub(in crate::client::consumer) fn standings(&self) -> Vec<PartitionLag> {
        let held = self.places_held();
        let states = held.filter_map(|place| self.partitions.get(place));
        states
            .map(|state| PartitionLag {
                topic: state.topic.to_string(),
                partition: state.partition,
                position: state.position(self.is_manual),
                committed: state.has_committed.then_some(state.committed),
                high_watermark: 0,
                lag: 0,
            })
            .collect()
    }
}
