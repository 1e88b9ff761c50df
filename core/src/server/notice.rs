//! One line in the log for a connection that misbehaved, and not more than one a second for all of them.

use std::fmt::Display;
use std::time::Duration;

use crate::seldom::Seldom;

/// Writes lines to the log at a bounded rate.
#[derive(Debug)]
pub(super) struct Notices(Seldom);

impl Default for Notices {
    fn default() -> Self {
        Self(Seldom::every(Duration::from_secs(1)))
    }
}

impl Notices {
    /// Says that the connection from `peer` was closed because of `reason`.
    pub(super) fn closed(&self, peer: &str, reason: &dyn Display) {
        if let Some(left_out) = self.0.pass() {
            tracing::warn!(peer, left_out, "connection closed: {reason}");
        }
    }
}
