//! Topics as they are, for who speaks another protocol than ours: looked up, not described.

use super::Service;
use crate::engine::topics::Topic;

impl Service {
    /// The topic of this name. A copy: it and its partitions stay what they were when the topic is deleted.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.inner.state.topics.read().get(name).cloned()
    }

    /// The topic with this uuid.
    #[must_use]
    pub fn topic_by_uuid(&self, uuid: &[u8; 16]) -> Option<Topic> {
        self.inner.state.topics.read().by_uuid(uuid).cloned()
    }

    /// All topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.inner.state.topics.read().iter().cloned().collect()
    }
}
