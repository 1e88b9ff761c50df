//! The queue in front of the writer: bounded in bytes, and the place where a log that has stopped refuses.
//!
//! Where the oldest records go to make room for what comes, what found none is *parked*: it waits here, in its
//! order and with all that comes behind it, until the housekeeper lets it in again. What gives space back passes it.

use std::collections::VecDeque;
use std::mem;

use crate::sync::Mutex;

use crate::error::{Error, ErrorCode, Outcome};
use crate::limits::{APPEND_QUEUE_BYTES_MAX, SET_BYTES_MAX};

use super::append::Append;
use super::error::Fault;
use super::roll::gives_space;

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
    /// What passes those that are parked.
    express: VecDeque<Append>,
    bytes: usize,
    is_parked: bool,
    /// There is no hope of room for a segment of so many bytes, or fewer: what finds none is not parked.
    hopeless_bytes: u64,
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
        let is_express = state.is_parked && gives_space(append.kind, &append.payload);
        // What makes room is not to wait for it.
        let more_bytes = if is_express { SET_BYTES_MAX } else { 0 };
        if bytes > APPEND_QUEUE_BYTES_MAX + more_bytes && !state.appends.is_empty() {
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
        if is_express {
            state.express.push_back(append);
        } else {
            state.appends.push_back(append);
        }
        Ok(())
    }

    /// Takes back `first`, which found no room, and all that was taken behind it, in order: it is not given out
    /// before [`let_in`](Self::let_in). Without hope, or a log, `first` comes back with the reason, if that is
    /// not the room, and the others are given out again.
    pub(super) fn park(
        &self,
        first: Append,
        mut behind: VecDeque<Append>,
        wanted_bytes: u64,
    ) -> Result<(), (Append, Option<Error>)> {
        let mut state = self.state.lock();
        let is_parked = wanted_bytes > state.hopeless_bytes && state.refusal.is_none();
        let mut refused = None;
        if is_parked {
            behind.push_front(first);
        } else {
            let reason = state.refusal.as_ref().map(Refusal::error);
            refused = Some((first, reason));
        }
        state.bytes += behind.iter().map(size_of).sum::<usize>();
        behind.append(&mut state.appends);
        for append in behind {
            if is_parked && gives_space(append.kind, &append.payload) {
                state.express.push_back(append);
            } else {
                state.appends.push_back(append);
            }
        }
        state.is_parked |= is_parked;
        refused.map_or(Ok(()), Err)
    }

    /// Gives out again what is parked. What finds no room for a segment of so many bytes, or fewer, is refused from
    /// now on; for a longer one more might go than was asked for.
    pub(super) fn let_in(&self, hopeless_bytes: u64) {
        let mut state = self.state.lock();
        state.is_parked = false;
        state.hopeless_bytes = hopeless_bytes;
    }

    /// Whether what finds no room for a segment of so many bytes may be parked.
    pub(super) fn is_hopeful(&self, wanted_bytes: u64) -> bool {
        let state = self.state.lock();
        wanted_bytes > state.hopeless_bytes && state.refusal.is_none()
    }

    /// Moves the oldest appends, at most `bytes_max` bytes of them or one, to `group`.
    pub(super) fn take(&self, group: &mut VecDeque<Append>, bytes_max: usize) {
        let mut state = self.state.lock();
        let State {
            appends,
            express,
            bytes,
            is_parked,
            ..
        } = &mut *state;
        let from = if !express.is_empty() {
            express
        } else if *is_parked {
            return;
        } else if *bytes <= bytes_max && group.is_empty() {
            *bytes = 0;
            mem::swap(appends, group);
            return;
        } else {
            appends
        };
        let mut taken = 0;
        while let Some(next) = from.front().map(size_of) {
            if taken > 0 && taken + next > bytes_max {
                break;
            }
            taken += next;
            group.extend(from.pop_front());
        }
        *bytes = bytes.saturating_sub(taken);
    }

    /// Bytes of what waits, with what they take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Whether nothing waits that may be written.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.express.is_empty() && (state.is_parked || state.appends.is_empty())
    }

    /// Refuses from now on; what waits stays, and is parked no more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.refusal.get_or_insert(Refusal::Closed);
        state.is_parked = false;
    }

    /// Refuses from now on, and gives out what waits.
    pub(super) fn stop(&self, refusal: Refusal) -> VecDeque<Append> {
        let mut state = self.state.lock();
        // A fault says more than a close.
        if matches!(refusal, Refusal::Fault(_)) || state.refusal.is_none() {
            state.refusal = Some(refusal);
        }
        state.bytes = 0;
        state.is_parked = false;
        let mut waiting = mem::take(&mut state.express);
        waiting.append(&mut state.appends);
        waiting
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::Completion;
    use crate::ids::{Durability, PartitionId};
    use crate::log::{Kind, PAYLOAD_VERSION};

    fn append(payload_bytes: usize) -> Append {
        Append {
            kind: Kind::Records,
            version: PAYLOAD_VERSION,
            partition: PartitionId(1),
            payload: vec![0; payload_bytes],
            ack: Durability::Os,
            topic: Durability::Os,
            log_append_time: false,
            completion: Completion::call(|_, _| {}),
        }
    }

    #[test]
    fn no_more_is_taken_than_was_asked_for_whatever_comes_meanwhile() {
        // What came between the look at the queue and the taking was taken too, up to a whole group: so a socket's
        // thread wrote 8 MiB where it had looked for room for 1.
        let queue = Queue::default();
        for payload_bytes in [100, 200] {
            assert!(queue.push(append(payload_bytes)).is_ok());
        }
        let looked_at = queue.bytes();
        for payload_bytes in [1, 5_000_000] {
            assert!(queue.push(append(payload_bytes)).is_ok());
        }
        let taken = |bytes_max| {
            let mut group = VecDeque::new();
            queue.take(&mut group, bytes_max);
            let sizes: Vec<_> = group.iter().map(|append| append.payload.len()).collect();
            sizes
        };
        assert_eq!(taken(looked_at), [100, 200]);
        assert_eq!(taken(looked_at), [1]);
        // One that is longer by itself comes alone.
        assert!(queue.push(append(7)).is_ok());
        assert_eq!(taken(looked_at), [5_000_000]);
        assert_eq!(taken(looked_at), [7]);
        assert_eq!((taken(looked_at), queue.bytes()), (Vec::new(), 0));
    }
}
