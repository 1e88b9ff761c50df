//! One subscription, client side: what was pushed and not taken yet, and the credit that is owed for it.
//!
//! ```text
//! window = credit at the server + pushed and queued here + taken and not yet given back
//! ```
//!
//! Credit goes back a quarter of the window at a time, when batches are taken. After a reassignment what
//! was pushed for the old one is dropped, and its credit given back. What the taker holds keeps its credit until
//! it is let go. No socket in here.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::sync::Mutex;
use bytes::Bytes;

use crate::completion::{Wake, Wakes};
use crate::error::{Error, Result};
use crate::limits;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::frame::{FrameError, FrameKind};
use crate::protocol::header::{Push, PushedBatch};

/// A subscription of this connection.
pub(super) struct TcpFeed {
    id: u64,
    window_bytes: u64,
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<FetchedBatch>,
    /// What the server may still push; below zero when a last batch exceeded it.
    credit_bytes: i64,
    /// Taken or dropped here, and not given back yet.
    owed_bytes: u64,
    /// How much of that is not to be given back now.
    held_bytes: u64,
    assignment: u32,
    topics: Vec<Arc<str>>,
    watch: Option<Wake>,
    ended: Option<Error>,
}

impl TcpFeed {
    pub(super) fn new(id: u64, window_bytes: u64) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            credit_bytes: i64::try_from(window_bytes).unwrap_or(i64::MAX),
            owed_bytes: 0,
            held_bytes: 0,
            assignment: 0,
            topics: Vec::new(),
            watch: None,
            ended: None,
        };
        Arc::new(Self {
            id,
            window_bytes,
            state: Mutex::new(state),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// What is there, about `max_bytes` of it; an end comes after all that was pushed before.
    pub(super) fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.queue.front() {
            if !taken.is_empty() && bytes + next.batch.len() > max_bytes {
                break;
            }
            bytes += next.batch.len();
            taken.extend(state.queue.pop_front());
        }
        state.owed_bytes += bytes as u64;
        match &state.ended {
            Some(error) if taken.is_empty() => Err(error.clone()),
            _ => Ok(taken),
        }
    }

    pub(super) fn watch(&self, wake: Wake) {
        let mut state = self.state.lock();
        if state.queue.is_empty() && state.ended.is_none() {
            state.watch = Some(wake);
            return;
        }
        drop(state);
        wake.run();
    }

    /// The credit to give back now, if it is enough to be worth a frame.
    pub(super) fn take_owed(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let owed = state.owed_bytes.saturating_sub(state.held_bytes);
        if owed < (self.window_bytes / 4).max(1) || state.ended.is_some() {
            return None;
        }
        state.owed_bytes -= owed;
        state.credit_bytes = state.credit_bytes.saturating_add_unsigned(owed);
        Some(owed)
    }

    /// So much of what was taken is kept, and its credit with it.
    pub(super) fn hold(&self, bytes: u64) {
        self.state.lock().held_bytes = bytes;
    }

    /// Drops what was read ahead. Returns the number of the new assignment.
    ///
    /// # Errors
    /// What ended the subscription.
    pub(super) fn begin_assignment(&self) -> Result<u32> {
        let mut state = self.state.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let dropped = state
            .queue
            .drain(..)
            .map(|batch| batch.batch.len() as u64)
            .sum::<u64>();
        state.owed_bytes += dropped;
        state.assignment = state.assignment.wrapping_add(1);
        Ok(state.assignment)
    }

    /// Takes in what was pushed.
    ///
    /// # Errors
    /// When the lengths do not add up, or there was no credit for it.
    pub(super) fn receive(
        &self,
        push: &Push<'_>,
        mut payload: Bytes,
        wakes: &mut Wakes,
    ) -> Result<(), FrameError> {
        let found = payload.len();
        let expected = push
            .batches
            .iter()
            .map(|batch| u64::from(batch.batch_bytes))
            .sum::<u64>();
        if expected != found as u64 {
            let expected = usize::try_from(expected).unwrap_or(usize::MAX);
            return Err(FrameError::PayloadLength {
                kind: FrameKind::Push,
                found,
                expected,
            });
        }
        let mut state = self.state.lock();
        // One frame may exceed the credit by its last batch, and a take may be split into frames.
        if state.credit_bytes < -(limits::FRAME_BYTES_MAX as i64) {
            let excess = state.credit_bytes.unsigned_abs() + found as u64;
            return Err(FrameError::BeyondCredit {
                subscription: self.id,
                excess,
            });
        }
        state.credit_bytes = state.credit_bytes.saturating_sub_unsigned(found as u64);
        if state.ended.is_some() {
            return Ok(());
        }
        if push.assignment != state.assignment {
            state.owed_bytes += found as u64;
            return Ok(());
        }
        for pushed in &push.batches {
            let batch = payload.split_to(pushed.batch_bytes as usize);
            let fetched = state.fetched(pushed, batch);
            state.queue.push_back(fetched);
        }
        state.wake(wakes);
        Ok(())
    }

    /// It has ended; what was pushed before can still be taken. The first reason stands.
    pub(super) fn end(&self, error: &Error, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        if state.ended.is_none() {
            state.ended = Some(error.clone());
        }
        state.wake(wakes);
    }
}

impl State {
    fn fetched(&mut self, pushed: &PushedBatch<'_>, batch: Bytes) -> FetchedBatch {
        FetchedBatch {
            topic: self.topic(pushed.topic),
            partition: pushed.partition,
            high_watermark: pushed.high_watermark,
            batch,
            from_offset: pushed.from_offset,
        }
    }

    /// The name, shared by all batches of the topic.
    fn topic(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.topics.iter().find(|topic| ***topic == *name) {
            return Arc::clone(known);
        }
        if self.topics.len() >= TOPICS_KEPT_MAX {
            self.topics.clear();
        }
        let topic = Arc::<str>::from(name);
        self.topics.push(Arc::clone(&topic));
        topic
    }

    fn wake(&mut self, wakes: &mut Wakes) {
        if let Some(wake) = self.watch.take() {
            wakes.push(wake);
        }
    }
}

/// Names kept to be shared; a subscription of more topics shares less.
const TOPICS_KEPT_MAX: usize = 16;

impl fmt::Debug for TcpFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("TcpFeed")
            .field("id", &self.id)
            .field("queued_batches", &state.queue.len())
            .field("credit_bytes", &state.credit_bytes)
            .field("ended", &state.ended)
            .finish_non_exhaustive()
    }
}
