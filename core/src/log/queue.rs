//! The queue in front of the writer: bounded in bytes, and the place where a log that has stopped refuses.

use std::collections::VecDeque;
use std::mem;

use crate::sync::Mutex;

use crate::error::{Error, ErrorCode, Outcome};
use crate::limits::APPEND_QUEUE_BYTES_MAX;

use super::append::Append;
use super::error::Fault;

/// Why nothing is taken any more.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The log was closed.
    Closed,
    /// A write or sync failed.
    Fault(Fault),
}

impl Refusal {
    /// Whether the log has stopped, and was not closed.
    pub(super) const fn is_fault(&self) -> bool {
        matches!(self, Self::Fault(_))
    }

    /// What the caller of a refused append is told: it was not done.
    pub(super) fn error(&self) -> Error {
        match self {
            Self::Closed => closed(),
            Self::Fault(fault) => fault.error(Outcome::NotDone),
        }
    }
}

/// What a closed log answers.
pub(super) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the log is closed")
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    appends: VecDeque<Append>,
    bytes: usize,
    refusal: Option<Refusal>,
}

impl Queue {
    /// Adds an append, or gives it back with the reason why not.
    pub(super) fn push(&self, append: Append) -> Result<(), (Append, Error)> {
        let mut state = self.state.lock();
        if let Some(refusal) = &state.refusal {
            let error = refusal.error();
            return Err((append, error));
        }
        let bytes = state.bytes.saturating_add(size_of(&append));
        if bytes > APPEND_QUEUE_BYTES_MAX && !state.appends.is_empty() {
            let error = Error::new(
                ErrorCode::BufferFull,
                format!(
                    "the log's append queue holds {} bytes, {} more do not fit; the limit is \
                     {APPEND_QUEUE_BYTES_MAX}",
                    state.bytes,
                    size_of(&append)
                ),
            );
            return Err((append, error));
        }
        state.bytes = bytes;
        state.appends.push_back(append);
        Ok(())
    }

    /// Moves the oldest appends, about `bytes_max` and at least one, to `group`.
    pub(super) fn take(&self, group: &mut VecDeque<Append>, bytes_max: usize) {
        let mut state = self.state.lock();
        if state.bytes <= bytes_max && group.is_empty() {
            state.bytes = 0;
            mem::swap(&mut state.appends, group);
            return;
        }
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(append) = state.appends.pop_front() else {
                break;
            };
            bytes += size_of(&append);
            group.push_back(append);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().appends.is_empty()
    }

    /// Refuses from now on; what waits stays.
    pub(super) fn close(&self) {
        self.state.lock().refusal.get_or_insert(Refusal::Closed);
    }

    /// Refuses from now on, and gives out what waits.
    pub(super) fn stop(&self, refusal: Refusal) -> VecDeque<Append> {
        let mut state = self.state.lock();
        // A fault says more than a close.
        if matches!(refusal, Refusal::Fault(_)) || state.refusal.is_none() {
            state.refusal = Some(refusal);
        }
        state.bytes = 0;
        mem::take(&mut state.appends)
    }

    /// Why it refuses, if it does.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.state.lock().refusal.clone()
    }
}

/// What an append takes in memory.
fn size_of(append: &Append) -> usize {
    append.payload.len() + mem::size_of::<Append>()
}
