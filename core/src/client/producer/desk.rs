//! What a producer has under its one lock: what was accepted, and who waits for what.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::accumulator::Accumulator;
use crate::completion::{Completion, Shared};
use crate::timer;

/// After so long without a new batch, the next record is not one of a row.
const PAUSE: Duration = Duration::from_micros(100);

/// What stands under the lock.
pub(super) struct Desk {
    pub(super) accumulator: Accumulator,
    pub(super) is_closed: bool,
    /// Whether a job that dispatches is on its way.
    pub(super) is_scheduled: bool,
    /// The next deadline and its timer.
    pub(super) timer: Option<(Instant, timer::Timer)>,
    /// `send`s that wait for room, in order.
    pub(super) queue: VecDeque<u64>,
    pub(super) next_place: u64,
    /// Who wants to know when there is room for so many bytes.
    pub(super) ready: Vec<(usize, Completion<()>)>,
    /// What the last refused record needed.
    pub(super) last_refused: usize,
    /// Topics that are being looked up.
    pub(super) lookups: HashMap<u32, Shared<()>>,
    /// Topics of which it is to be asked again how many partitions they have.
    pub(super) aged: Vec<u32>,
    /// When a batch was begun last, and whether that was after a pause.
    pub(super) begun: Option<(Instant, bool)>,
}

impl Desk {
    pub(super) fn new(accumulator: Accumulator) -> Self {
        Self {
            accumulator,
            is_closed: false,
            is_scheduled: false,
            timer: None,
            queue: VecDeque::new(),
            next_place: 0,
            ready: Vec::new(),
            last_refused: 0,
            lookups: HashMap::new(),
            aged: Vec::new(),
            begun: None,
        }
    }

    /// Whether a record is kept until its topic is looked up: nothing is known of it, or not of the partition that is
    /// named, which may be there by the time of the answer.
    pub(super) fn waits_for_lookup(&self, topic: u32, partition: Option<i32>) -> bool {
        let topics = &self.accumulator.topics;
        topics.lookup(topic).is_none() || self.is_asked_about(topic, partition)
    }

    /// Whether a partition is beyond those that are known of while it is asked how many there are.
    pub(super) fn is_asked_about(&self, topic: u32, partition: Option<i32>) -> bool {
        self.accumulator.topics.is_beyond(topic, partition) && self.lookups.contains_key(&topic)
    }

    /// A batch has begun.
    pub(super) fn begins(&mut self, now: Instant) {
        let is_after_pause = self
            .begun
            .is_none_or(|(before, _)| now.saturating_duration_since(before) >= PAUSE);
        self.begun = Some((now, is_after_pause));
    }
}
