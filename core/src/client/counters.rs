//! What a client has done, counted batch by batch.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the client was opened, shared by its producers and consumers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records_sent: Counter,
    pub(crate) records_acknowledged: Counter,
    pub(crate) records_failed: Counter,
    pub(crate) batches_sent: Counter,
    pub(crate) batches_resent: Counter,
    pub(crate) records_received: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) streams_resumed: Counter,
    pub(crate) memberships_lost: Counter,
    pub(crate) log_truncations: Counter,
    pub(crate) records_truncated: Counter,
    pub(crate) offset_resets: Counter,
    pub(crate) records_skipped: Counter,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
