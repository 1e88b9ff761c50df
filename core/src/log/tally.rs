//! What a log has done since it was opened: counts that only rise.
//!
//! The writer counts under its lock and the sync thread in its rounds, a batch or a group at a time: no
//! record is touched for it. The counts are figures for people and decide nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Tally {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    sync_ns: AtomicU64,
}

impl Tally {
    /// A record batch that was given its place.
    pub(super) fn batch(&self, records: u64) {
        add(&self.batches, 1);
        add(&self.records, records);
    }

    /// Bytes of frames that were written.
    pub(super) fn written(&self, bytes: u64) {
        add(&self.bytes, bytes);
    }

    /// A round of syncing that took so long.
    pub(super) fn synced(&self, took: Duration) {
        add(&self.syncs, 1);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&self.sync_ns, took_ns);
    }

    pub(super) fn counts(&self) -> Counts {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            batches: now(&self.batches),
            records: now(&self.records),
            bytes: now(&self.bytes),
            syncs: now(&self.syncs),
            sync_time: Duration::from_nanos(now(&self.sync_ns)),
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Record batches appended, those of SETs included; repetitions are none.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of all frames written, those that are no records included.
    pub bytes: u64,
    /// Rounds of syncing.
    pub syncs: u64,
    /// How long they took, all together.
    pub sync_time: Duration,
}
