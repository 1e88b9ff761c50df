//! Which record runs when: order, concurrency, retries, and what is done.
//!
//! A state machine without clock, thread or transport. A record goes through these states; a *run* is one
//! attempt, and has a ticket of its own:
//!
//! ```text
//!   push            take              finish: ok
//!   ----> queued ----> running ----------------------------------> done
//!           ^            |  | finish: failed, the last attempt       ^
//!           |            |  +-------------> letter ------------------+
//!           |            |                         its dead letter is acknowledged
//!           +- pausing <-+ finish: failed
//! ```
//!
//! - At most `concurrency` runs have not ended, those of dropped records among them.
//! - Of a lane (see [`lanes`](super::lanes)) only the first record that is not done runs.
//! - Without a dead letter topic the last attempt's failure stops everything: nothing runs any more.
//! - It holds at most `max_records` records and `max_bytes` bytes; one larger record may exceed these.
//! - What does not come from a lane runs in the order in which it came.

use std::collections::{BTreeSet, HashMap};

use super::frontier::Frontiers;
use super::lanes::{LaneKey, Lanes, lane_of};
use super::retry::Retries;
use crate::client::options::Order;
use crate::client::retry::Backoff;

#[cfg(test)]
use self::mutant::Mutant;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// Stands for one attempt at one record. Tickets rise by one, from 1.
pub(in crate::client) type Ticket = u64;

/// The options, resolved.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Settings {
    pub(in crate::client) concurrency: usize,
    pub(in crate::client) order: Order,
    /// Of one record, at least 1.
    pub(in crate::client) attempts: u32,
    /// Whether what failed at every attempt goes to a topic; if not, it stops everything.
    pub(in crate::client) has_dead_letter: bool,
    pub(in crate::client) max_records: usize,
    pub(in crate::client) max_bytes: usize,
}

/// A record as it comes in.
#[derive(Clone, Debug)]
pub(in crate::client) struct Incoming<P> {
    /// Its partition, by the caller's number.
    pub(in crate::client) place: usize,
    /// Above all that came of the partition before.
    pub(in crate::client) offset: i64,
    pub(in crate::client) key_hash: Option<u64>,
    pub(in crate::client) bytes: usize,
    pub(in crate::client) payload: P,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Verdict {
    /// It is done.
    Done,
    /// It failed, and is tried again if it may be.
    Retry,
    /// It failed, and trying again is of no use.
    Dead,
}

/// What follows from results.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct Settled {
    /// These are done, by place and offset.
    pub(in crate::client) done: Vec<(usize, i64)>,
    /// These are to become dead letters; [`Scheduler::buried`] says when they are.
    pub(in crate::client) letters: Vec<Letter>,
    /// The run whose failure has stopped everything.
    pub(in crate::client) stopped_by: Option<Ticket>,
}

/// A record that failed at every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct Letter {
    pub(in crate::client) record: u64,
    /// The run that failed last.
    pub(in crate::client) ticket: Ticket,
}

/// A record that is here.
#[derive(Debug)]
pub(in crate::client) struct Held<P> {
    pub(in crate::client) place: usize,
    pub(in crate::client) offset: i64,
    /// Begun so far.
    pub(in crate::client) attempts: u32,
    pub(in crate::client) payload: P,
    lane: Option<LaneKey>,
    bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Running(Ticket),
    Pausing { until_ms: u64 },
    Letter,
}

/// A run that has not ended.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// None: it was dropped.
    record: Option<u64>,
    lane: Option<LaneKey>,
}

/// See the module. Records are numbered in the order in which they came.
#[derive(Debug)]
pub(in crate::client) struct Scheduler<P> {
    settings: Settings,
    records: HashMap<u64, Held<P>>,
    bytes: usize,
    last_record: u64,
    /// Those that may run now.
    ready: BTreeSet<u64>,
    lanes: Lanes,
    retries: Retries,
    frontiers: Frontiers,
    runs: HashMap<Ticket, Run>,
    last_ticket: Ticket,
    is_stopped: bool,
}

impl<P> Scheduler<P> {
    pub(in crate::client) fn new(settings: Settings, backoff: Backoff) -> Self {
        Self {
            settings,
            records: HashMap::new(),
            bytes: 0,
            last_record: 0,
            ready: BTreeSet::new(),
            lanes: Lanes::default(),
            retries: Retries::new(backoff),
            frontiers: Frontiers::default(),
            runs: HashMap::new(),
            last_ticket: 0,
            is_stopped: false,
        }
    }

    /// Whether a record of `bytes` finds room; the first always does.
    pub(in crate::client) fn has_room(&self, bytes: usize) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= self.settings.max_bytes;
        self.records.is_empty() || (self.records.len() < self.settings.max_records && fits)
    }

    /// Whether to bring more: there are fewer that may run than could, or enough are done that it is worth
    /// it.
    pub(in crate::client) fn wants_more(&self) -> bool {
        let is_half_empty = self.records.len() < self.settings.max_records.div_ceil(2)
            && self.bytes < self.settings.max_bytes.div_ceil(2);
        is_half_empty || (self.ready.len() < self.settings.concurrency && self.has_room(1))
    }

    /// Takes a record; gives it back if there is no room, or if it does not stand behind all that came of
    /// its partition.
    pub(in crate::client) fn push(&mut self, incoming: Incoming<P>) -> Result<(), Incoming<P>> {
        let Incoming { place, offset, .. } = incoming;
        let record = self.last_record + 1;
        if !self.has_room(incoming.bytes) || !self.frontiers.add(place, offset, record) {
            return Err(incoming);
        }
        self.last_record = record;
        self.bytes += incoming.bytes;
        let lane = lane_of(self.settings.order, place, incoming.key_hash);
        if lane.is_none_or(|lane| self.lanes.push(lane, record)) {
            self.ready.insert(record);
        }
        let held = Held {
            place,
            offset,
            attempts: 0,
            payload: incoming.payload,
            lane,
            bytes: incoming.bytes,
            state: State::Queued,
        };
        self.records.insert(record, held);
        Ok(())
    }

    /// Begins runs, at most `max` of them and of `max_bytes` (the first may be larger). Their tickets rise
    /// by one. Empty: nothing can run now.
    pub(in crate::client) fn take(
        &mut self,
        max: usize,
        max_bytes: usize,
        now_ms: u64,
    ) -> Vec<Ticket> {
        self.end_pauses(now_ms);
        let mut tickets = Vec::new();
        let mut bytes = 0_usize;
        while tickets.len() < max && self.can_begin() {
            let Some(record) = self.ready.first().copied() else {
                break;
            };
            let Some(held) = self.records.get_mut(&record) else {
                self.ready.remove(&record);
                continue;
            };
            bytes = bytes.saturating_add(held.bytes);
            if bytes > max_bytes && !tickets.is_empty() {
                break;
            }
            self.ready.remove(&record);
            self.last_ticket += 1;
            held.attempts = held.attempts.saturating_add(1);
            held.state = State::Running(self.last_ticket);
            let run = Run {
                record: Some(record),
                lane: held.lane,
            };
            self.runs.insert(self.last_ticket, run);
            tickets.push(self.last_ticket);
        }
        tickets
    }

    /// Whether `take` would give something.
    #[cfg(test)]
    pub(in crate::client) fn can_take(&mut self, now_ms: u64) -> bool {
        self.end_pauses(now_ms);
        self.can_begin() && !self.ready.is_empty()
    }

    /// The record of a run, while it is wanted.
    pub(in crate::client) fn running(&self, ticket: Ticket) -> Option<&Held<P>> {
        self.records.get(&self.runs.get(&ticket)?.record?)
    }

    /// The record of a dead letter that is on its way, while it is wanted.
    pub(in crate::client) fn letter(&self, record: u64) -> Option<&Held<P>> {
        let held = self.records.get(&record)?;
        (held.state == State::Letter).then_some(held)
    }

    /// These runs have ended. Tickets that are not known any more do not matter.
    pub(in crate::client) fn finish(
        &mut self,
        results: impl IntoIterator<Item = (Ticket, Verdict)>,
        now_ms: u64,
    ) -> Settled {
        let mut settled = Settled::default();
        for (ticket, verdict) in results {
            let Some(run) = self.runs.remove(&ticket) else {
                continue;
            };
            match run.record {
                Some(record) => self.settle(record, ticket, verdict, now_ms, &mut settled),
                None => {
                    let next = run.lane.and_then(|lane| self.lanes.release(lane));
                    self.ready.extend(next);
                }
            }
        }
        settled
    }

    /// Takes runs back of which nobody has heard: they count as never begun.
    pub(in crate::client) fn take_back(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        for ticket in tickets {
            let Some(run) = self.runs.remove(&ticket) else {
                continue;
            };
            let held = run.record.and_then(|record| self.records.get_mut(&record));
            if let (Some(record), Some(held)) = (run.record, held) {
                held.attempts -= 1;
                held.state = State::Queued;
                self.ready.insert(record);
            } else {
                let next = run.lane.and_then(|lane| self.lanes.release(lane));
                self.ready.extend(next);
            }
        }
    }

    /// A dead letter is acknowledged; returns the place and offset that are done by that.
    pub(in crate::client) fn buried(&mut self, record: u64) -> Option<(usize, i64)> {
        self.letter(record)?;
        self.end(record)
    }

    /// What a partition has from `from_offset` on is not wanted any more: it is dropped, and what its runs
    /// come to does not matter. From then on the partition may go on anywhere from `from_offset`, and
    /// where nothing of it is left, anywhere.
    pub(in crate::client) fn revoke(&mut self, place: usize, from_offset: i64) {
        for record in self.frontiers.cut(place, from_offset) {
            let Some(held) = self.records.remove(&record) else {
                continue;
            };
            self.bytes -= held.bytes;
            self.ready.remove(&record);
            match held.state {
                State::Running(ticket) => {
                    if let Some(run) = self.runs.get_mut(&ticket) {
                        run.record = None;
                    }
                    #[cfg(test)]
                    if mutant::is(Mutant::DroppedRunsForgotten) {
                        self.runs.remove(&ticket);
                    }
                }
                State::Pausing { until_ms } => self.retries.remove(record, until_ms),
                State::Queued | State::Letter => {}
            }
            let is_running = matches!(held.state, State::Running(_));
            let next = held
                .lane
                .and_then(|lane| self.lanes.drop_record(lane, record, is_running));
            self.ready.extend(next);
        }
    }

    /// Begins no more runs.
    pub(in crate::client) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// When to ask for runs again, if nothing else happens before.
    pub(in crate::client) fn next_wakeup(&self) -> Option<u64> {
        if !self.can_begin() {
            return None;
        }
        self.retries.next_ms()
    }

    /// Whether every record is done.
    pub(in crate::client) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether there are runs that have not ended.
    pub(in crate::client) fn is_running(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Runs that have not ended.
    #[cfg(test)]
    pub(in crate::client) fn running_count(&self) -> usize {
        self.runs.len()
    }

    /// The first offset that is not done, of every partition that has one.
    pub(in crate::client) fn unfinished(&self) -> impl Iterator<Item = (usize, i64)> {
        self.frontiers.unfinished()
    }

    fn can_begin(&self) -> bool {
        !self.is_stopped && self.runs.len() < self.settings.concurrency
    }

    fn end_pauses(&mut self, now_ms: u64) {
        while let Some(record) = self.retries.pop_due(now_ms) {
            if let Some(held) = self.records.get_mut(&record) {
                held.state = State::Queued;
                self.ready.insert(record);
            }
        }
    }

    fn settle(
        &mut self,
        record: u64,
        ticket: Ticket,
        verdict: Verdict,
        now_ms: u64,
        settled: &mut Settled,
    ) {
        if verdict == Verdict::Done {
            settled.done.extend(self.end(record));
            return;
        }
        let Some(held) = self.records.get_mut(&record) else {
            return;
        };
        if verdict == Verdict::Retry && held.attempts < self.settings.attempts {
            let until_ms = self.retries.add(record, held.attempts, now_ms);
            held.state = State::Pausing { until_ms };
            #[cfg(test)]
            if let Some(lane) = held.lane.filter(|_| mutant::is(Mutant::RetryFreesLane)) {
                self.ready.extend(self.lanes.pop(lane));
            }
            #[cfg(any(test, feature = "simulation"))]
            if let Some(lane) = held.lane.filter(|_| simulated::has(Bug::RetryFreesLane)) {
                self.ready.extend(self.lanes.pop(lane));
            }
            return;
        }
        // Not done, whatever comes: the offset waits for the letter, or stays where it is for good.
        held.state = State::Letter;
        #[cfg(test)]
        if mutant::is(Mutant::LetterIsDone) {
            self.frontiers.finish(held.place, held.offset);
        }
        #[cfg(any(test, feature = "simulation"))]
        if simulated::has(Bug::LetterUnawaited) {
            settled.done.push((held.place, held.offset));
        }
        if self.settings.has_dead_letter {
            settled.letters.push(Letter { record, ticket });
        } else {
            self.is_stopped = true;
            settled.stopped_by.get_or_insert(ticket);
        }
    }

    /// A record is done: what stands behind it may run.
    fn end(&mut self, record: u64) -> Option<(usize, i64)> {
        let held = self.records.remove(&record)?;
        self.bytes -= held.bytes;
        self.frontiers.finish(held.place, held.offset);
        let next = held.lane.and_then(|lane| self.lanes.pop(lane));
        self.ready.extend(next);
        Some((held.place, held.offset))
    }
}

#[cfg(test)]
pub(super) mod mutant;
#[cfg(test)]
mod tests;
