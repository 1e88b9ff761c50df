//! How much a server was asked: over all connections, for monitoring.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// A request was taken in.
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered with an error.
    pub(super) fn refused_request(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests taken in, and those of them answered with an error.
    pub(super) fn requests(&self) -> (u64, u64) {
        let refused = self.refused.load(Ordering::Relaxed);
        (self.requests.load(Ordering::Relaxed), refused)
    }
}
