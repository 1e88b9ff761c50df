//! How batches end without an answer, and who waits for the end: flushes, deadlines, failures.

use std::time::Instant;

use super::super::batch::Meta;
use super::{Accumulator, BatchKey, Settings, Told};
use crate::completion::Completion;
use crate::error::{Error, ErrorCode, Outcome};
use crate::limits::FLUSH_WAITERS_MAX;

/// A call that waits until what came before it has ended.
#[derive(Debug)]
pub(super) struct Flush {
    /// Batches of a lower order are waited for.
    pub(super) before: u64,
    pub(super) remaining: u64,
    pub(super) done: Completion<()>,
}

impl Accumulator {
    /// These have ended and everybody has been told; returns the flushes that waited for them. Not before: a flush says
    /// what failed until then.
    pub(in crate::client::producer) fn leave(&mut self, orders: &[u64]) -> Vec<Completion<()>> {
        self.outstanding_batches -= orders.len() as u64;
        for flush in &mut self.flushes {
            let ended = orders.iter().filter(|order| **order < flush.before);
            flush.remaining -= ended.count() as u64;
        }
        let done = self.flushes.extract_if(.., |flush| flush.remaining == 0);
        done.map(|flush| flush.done).collect()
    }

    /// Fails everything that is not on its way.
    pub(in crate::client::producer) fn fail_queued(&mut self, error: &Error, told: &mut Told) {
        for (topic, partition) in self.topics.partitions() {
            self.fail_unsent(topic, partition, 0, error, told);
        }
        self.listed.clear();
        self.unidentified.clear();
        self.topics.unlist();
        for topic in self.topics.all() {
            self.fail_parked(topic, error, told);
        }
    }

    /// Ends everything: the producer is closed and waits for no answer any more.
    pub(in crate::client::producer) fn give_up(&mut self, told: &mut Told) {
        let unknown = Error::new(
            ErrorCode::Closed,
            "the producer was closed before the answer came",
        )
        .with_outcome(Outcome::Unknown);
        let unsent = Error::new(
            ErrorCode::Closed,
            "the producer was closed before it could send the record",
        );
        self.fail_queued(&unsent, told);
        for (topic, partition) in self.topics.partitions() {
            for meta in std::mem::take(&mut self.topics.queue_mut(topic, partition).sent) {
                self.settle(topic, partition, meta, Err(unknown.clone()), told);
            }
        }
    }

    /// Completes `done` when everything that is here now is settled; lets nothing linger.
    ///
    /// # Errors
    /// `done` itself when too many wait already: it must not be dropped under a lock.
    pub(in crate::client::producer) fn flush(
        &mut self,
        done: Completion<()>,
        told: &mut Told,
    ) -> Result<(), Completion<()>> {
        if self.flushes.len() >= FLUSH_WAITERS_MAX {
            return Err(done);
        }
        self.close_all();
        if self.outstanding_batches == 0 {
            told.flushed.push(done);
            return Ok(());
        }
        let flush = Flush {
            before: self.next_id,
            remaining: self.outstanding_batches,
            done,
        };
        self.flushes.push(flush);
        Ok(())
    }

    /// Somebody waits for room: what lingers is sent now, for else there is none until it has lingered.
    pub(in crate::client::producer) fn hurry(&mut self) {
        if !self.lingering.is_empty() {
            self.close_all();
        }
    }

    fn close_all(&mut self) {
        self.lingering.clear();
        for (topic, partition) in self.topics.partitions() {
            self.close_open(topic, partition);
        }
    }

    /// Time has passed: batches have lingered enough, deliveries have timed out. Returns when to call
    /// again.
    pub(in crate::client::producer) fn advance(
        &mut self,
        now: Instant,
        told: &mut Told,
    ) -> Option<Instant> {
        while let Some((due, key)) = self.lingering.front().copied()
            && due <= now
        {
            self.lingering.pop_front();
            let queue = self.topics.queue_mut(key.topic, key.partition);
            if queue
                .open
                .as_ref()
                .is_some_and(|open| open.meta.id == key.id)
            {
                self.close_open(key.topic, key.partition);
            }
        }
        let opened_before = now.checked_sub(self.settings.delivery_timeout);
        let mut oldest = None;
        let mut wake_at = self.identify_in_time(now);
        for (topic, partition) in self.topics.partitions() {
            if let Some(before) = opened_before {
                self.expire(topic, partition, before, told);
            }
            let queue = self.topics.queue_mut(topic, partition);
            if queue.retry_at.is_some_and(|at| at <= now) {
                queue.retry_at = None;
            }
            wake_at = queue.retry_at.into_iter().chain(wake_at).min();
            let building = queue.closed.iter().chain(&queue.open).map(|it| &it.meta);
            let opened = queue.sent.iter().chain(building).map(|it| it.opened_at);
            oldest = opened.chain(oldest).min();
            self.list(topic, partition);
        }
        for topic in self.topics.all() {
            oldest = self
                .expire_parked(topic, opened_before, told)
                .into_iter()
                .chain(oldest)
                .min();
        }
        let expires = oldest.map(|opened| opened + self.settings.delivery_timeout);
        let lingers = self.lingering.front().map(|(due, _)| *due);
        lingers.into_iter().chain(expires).chain(wake_at).min()
    }

    /// Batches are opened one after the other, so the oldest stand in front.
    fn expire(&mut self, topic: u32, partition: i32, opened_before: Instant, told: &mut Told) {
        let is_old = |meta: &Meta| meta.opened_at <= opened_before;
        loop {
            let queue = self.topics.queue_mut(topic, partition);
            let Some(meta) = queue.sent.front().filter(|it| is_old(it)) else {
                break;
            };
            let key = BatchKey {
                topic,
                partition,
                id: meta.id,
            };
            let outcome = match meta.again {
                Some(_) => Outcome::NotDone,
                None => Outcome::Unknown,
            };
            let error = timed_out(&self.settings, meta.last_error.as_ref());
            self.end(key, 0, error.with_outcome(outcome), told);
        }
        loop {
            let queue = self.topics.queue_mut(topic, partition);
            let next = match queue.closed.front() {
                Some(next) => is_old(&next.meta)
                    .then(|| queue.closed.pop_front())
                    .flatten(),
                None => queue.open.take_if(|open| is_old(&open.meta)),
            };
            let Some(building) = next else { return };
            let error = timed_out(&self.settings, None);
            self.drop_queued(topic, partition, building, error, told);
        }
    }
}

/// `last` is why the last attempt failed, if there was one.
pub(super) fn timed_out(settings: &Settings, last: Option<&Error>) -> Error {
    let after = settings.delivery_timeout.as_millis();
    let mut message = format!("not acknowledged within the delivery_timeout_ms of {after} ms");
    if let Some(last) = last {
        message = format!(
            "{message}; the last attempt failed with: {}",
            last.message()
        );
    }
    let error = Error::new(ErrorCode::DeliveryTimedOut, message);
    match last {
        Some(last) => error.with_source(last.clone()),
        None => error,
    }
}

/// For a batch that was queued behind one that failed.
pub(super) fn behind(first: &Error) -> Error {
    let message = if first.message().starts_with(BEHIND) {
        first.message().to_owned()
    } else {
        format!("{BEHIND}{}", first.message())
    };
    Error::new(first.code(), message)
}

const BEHIND: &str = "a batch before it in its partition failed: ";
