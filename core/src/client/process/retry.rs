//! Records that failed and are to be tried again, and until when they pause.

use std::collections::BTreeSet;

#[cfg(test)]
use super::scheduler::mutant::{self, Mutant};
use crate::client::retry::Backoff;

/// See the module.
#[derive(Debug)]
pub(super) struct Retries {
    backoff: Backoff,
    /// When, and which record.
    due: BTreeSet<(u64, u64)>,
}

impl Retries {
    pub(super) const fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            due: BTreeSet::new(),
        }
    }

    /// Lets `record` pause; returns until when.
    pub(super) fn add(&mut self, record: u64, failed_attempts: u32, now_ms: u64) -> u64 {
        let pause = self.backoff.pause(failed_attempts).as_millis();
        let due_ms = now_ms.saturating_add(u64::try_from(pause).unwrap_or(u64::MAX));
        #[cfg(test)]
        let due_ms = match mutant::is(Mutant::PauseLeftOut) {
            true => now_ms,
            false => due_ms,
        };
        self.due.insert((due_ms, record));
        due_ms
    }

    pub(super) fn remove(&mut self, record: u64, due_ms: u64) {
        self.due.remove(&(due_ms, record));
    }

    /// The next record whose pause is over.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<u64> {
        let (due_ms, record) = *self.due.first()?;
        if due_ms > now_ms {
            return None;
        }
        self.due.pop_first();
        Some(record)
    }

    /// When the next pause is over.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }
}
