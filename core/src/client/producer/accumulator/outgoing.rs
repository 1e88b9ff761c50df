//! What is sent next, and as whom.

use std::time::Instant;

use super::super::batch::{Ready, Stamp};
use super::{Accumulator, BatchKey, Dispatch, Outgoing, Told};
use crate::client::retry::passes;
use crate::error::Error;
use crate::record::BatchBuilder;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};
#[cfg(any(test, feature = "simulation"))]
use bytes::Bytes;

/// Whose batches these are, for the log: what a partition that was not sent to yet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Not idempotent.
    Anonymous,
    /// To be asked for.
    Unknown,
    /// Asked for.
    Asked {
        /// Attempts before this one.
        failed_attempts: u32,
    },
    /// To be asked for again, then.
    Delayed {
        /// When.
        until: Instant,
        /// Attempts that failed.
        failed_attempts: u32,
    },
    /// Known.
    Known(Stamp),
}

/// Builders kept for the next batches: as many as a drain and a push hold at once.
const SPARE_MAX: usize = 16;

impl Accumulator {
    /// Whether [`next_dispatch`](Self::next_dispatch) may have something.
    #[inline]
    pub(in crate::client::producer) fn has_dispatch(&self) -> bool {
        !self.listed.is_empty()
    }

    /// What to do next, if anything.
    pub(in crate::client::producer) fn next_dispatch(&mut self) -> Option<Dispatch> {
        while let Some((topic, partition)) = self.listed.pop_front() {
            let takes_open = self.settings.linger.is_zero();
            let in_flight_max = self.settings.in_flight;
            let queue = self.topics.queue_mut(topic, partition);
            queue.is_listed = false;
            match queue.ready(takes_open, in_flight_max) {
                None => {}
                Some(Ready::Ask) => {
                    queue.memory = super::super::batch::Memory::Asked;
                    return Some(Dispatch::AskEnd { topic, partition });
                }
                Some(Ready::Again(place)) => {
                    let again = self.send_again(topic, partition, place);
                    if again.is_some() {
                        return again;
                    }
                }
                Some(Ready::New) => {
                    if let Some(stamp) = self.stamp(topic, partition) {
                        return Some(self.send_new(topic, partition, stamp));
                    }
                    // It stays listed, there: nothing lists it again before there is an id.
                    self.topics.queue_mut(topic, partition).is_listed = true;
                    self.unidentified.push((topic, partition));
                    if self.identity == Identity::Unknown {
                        self.identity = Identity::Asked { failed_attempts: 0 };
                        return Some(Dispatch::Identify);
                    }
                }
            }
        }
        None
    }

    /// What the partition's batches are sent as, if that is known.
    fn stamp(&mut self, topic: u32, partition: i32) -> Option<Stamp> {
        let queue = self.topics.queue_mut(topic, partition);
        if queue.stamp.is_none() {
            queue.stamp = match self.identity {
                Identity::Anonymous => Some(Stamp::NONE),
                Identity::Known(stamp) => Some(stamp),
                _ => None,
            };
        }
        queue.stamp
    }

    fn send_new(&mut self, topic: u32, partition: i32, stamp: Stamp) -> Dispatch {
        let takes_open = self.settings.linger.is_zero();
        let queue = self.topics.queue_mut(topic, partition);
        let mut next = queue
            .take_next(takes_open)
            .expect("`ready` found a batch to send");
        let id = next.meta.id;
        let base_sequence = if stamp == Stamp::NONE {
            -1
        } else {
            queue.take_sequence(next.meta.records)
        };
        next.meta.stamp = stamp;
        next.meta.comes_behind = queue.acknowledged_end;
        queue.is_renewed = false;
        queue.sent.push_back(next.meta);
        self.list(topic, partition);
        self.topics.move_on(topic, partition);
        Dispatch::Batch(Outgoing {
            key: BatchKey {
                topic,
                partition,
                id,
            },
            builder: next.builder,
            stamp,
            base_sequence,
        })
    }

    fn send_again(&mut self, topic: u32, partition: i32, place: usize) -> Option<Dispatch> {
        let meta = self
            .topics
            .queue_mut(topic, partition)
            .sent
            .get_mut(place)?;
        let payload = meta.again.take()?;
        let id = meta.id;
        #[cfg(any(test, feature = "simulation"))]
        let payload = match simulated::has(Bug::ResentBehind) {
            true => self.as_new(topic, partition, place, payload),
            false => payload,
        };
        self.list(topic, partition);
        let key = BatchKey {
            topic,
            partition,
            id,
        };
        Some(Dispatch::Again { key, payload })
    }

    /// A bug: what is sent again is another batch for the log.
    #[cfg(any(test, feature = "simulation"))]
    fn as_new(&mut self, topic: u32, partition: i32, place: usize, payload: Bytes) -> Bytes {
        let queue = self.topics.queue_mut(topic, partition);
        let (stamp, records) = (queue.sent[place].stamp, queue.sent[place].records);
        let sequence = queue.take_sequence(records);
        let mut bytes = Vec::from(payload);
        let (id, epoch) = (stamp.producer_id, stamp.producer_epoch);
        crate::record::stamp_producer(&mut bytes, id, epoch, sequence);
        bytes.into()
    }

    /// Takes a builder back, to be used again.
    pub(in crate::client::producer) fn recycle(&mut self, builder: BatchBuilder) {
        if self.spare.len() < SPARE_MAX && builder.is_empty() {
            self.spare.push(builder);
        }
    }

    /// The producer id has come, or not: then it is asked for again, or everything that waits for it fails.
    pub(in crate::client::producer) fn identified(
        &mut self,
        answer: Result<Stamp, Error>,
        now: Instant,
        told: &mut Told,
    ) {
        let Identity::Asked { failed_attempts } = self.identity else {
            return;
        };
        match answer {
            Ok(stamp) => {
                self.identity = Identity::Known(stamp);
                self.list_unidentified();
            }
            Err(error) if passes(&error) => {
                let failed_attempts = failed_attempts.saturating_add(1);
                let until = now + self.backoff.pause(failed_attempts);
                self.identity = Identity::Delayed {
                    until,
                    failed_attempts,
                };
                told.wake(until);
            }
            Err(error) => {
                self.identity = Identity::Unknown;
                for (topic, partition) in std::mem::take(&mut self.unidentified) {
                    self.topics.queue_mut(topic, partition).is_listed = false;
                    self.fail_unsent(topic, partition, 0, &error, told);
                }
            }
        }
    }

    /// Asks for the id again when it is time; returns when that is.
    pub(super) fn identify_in_time(&mut self, now: Instant) -> Option<Instant> {
        let Identity::Delayed { until, .. } = self.identity else {
            return None;
        };
        if until > now {
            return Some(until);
        }
        self.identity = Identity::Unknown;
        self.list_unidentified();
        None
    }

    fn list_unidentified(&mut self) {
        for (topic, partition) in std::mem::take(&mut self.unidentified) {
            self.topics.queue_mut(topic, partition).is_listed = false;
            self.list(topic, partition);
        }
    }
}
