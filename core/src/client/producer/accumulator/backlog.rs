//! How much is here that is not acknowledged, and since when.

use std::time::Instant;

use super::Accumulator;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct Backlog {
    /// Of the budget.
    pub(in crate::client) bytes: u64,
    pub(in crate::client) records: u64,
    /// When the oldest batch was opened.
    pub(in crate::client) oldest: Option<Instant>,
}

impl Backlog {
    /// Both together.
    pub(in crate::client) fn with(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            records: self.records + other.records,
            oldest: self.oldest.into_iter().chain(other.oldest).min(),
        }
    }
}

impl Accumulator {
    pub(in crate::client::producer) fn backlog(&self) -> Backlog {
        let bytes = self.used_bytes() as u64;
        let mut backlog = Backlog {
            bytes,
            ..Backlog::default()
        };
        for queue in self.topics.queues() {
            let building = queue.closed.iter().chain(&queue.open).map(|it| &it.meta);
            for meta in queue.sent.iter().chain(building) {
                backlog.add(u64::from(meta.records), meta.opened_at);
            }
        }
        for parked in self.topics.parked() {
            backlog.add(parked.records(), parked.opened_at);
        }
        backlog
    }
}

impl Backlog {
    fn add(&mut self, records: u64, opened_at: Instant) {
        self.records += records;
        self.oldest = self.oldest.into_iter().chain([opened_at]).min();
    }
}
