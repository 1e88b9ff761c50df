//! Records whose topic is not known yet, or not their partition: kept, and put into batches when it is.

use std::time::Instant;

use super::super::parked::{Entry, Parked, Waiter};
use super::super::topics::Lookup;
use super::ending::timed_out;
use super::{Accumulator, Settled, Taken, Told};
use crate::error::Error;
use crate::record::RecordRef;

impl Accumulator {
    /// Keeps a record whose topic's partitions are not known yet, or whose partition is not among those that are.
    pub(in crate::client::producer) fn park(
        &mut self,
        topic: u32,
        partition: Option<i32>,
        record: &RecordRef<'_>,
        waiter: Waiter,
        now: Instant,
    ) -> Taken {
        let id = self.next_id;
        let parked = self.topics.parked_mut(topic);
        let opens = parked.is_none();
        let parked = parked.get_or_insert_with(|| Parked::new(id, now));
        self.used_bytes += parked.add(partition, record, waiter);
        self.outstanding_records += 1;
        if opens {
            self.next_id += 1;
            self.outstanding_batches += 1;
        }
        let wake_at = opens.then(|| now + self.settings.delivery_timeout);
        Taken { index: 0, wake_at }
    }

    /// A topic's partitions are known, or it cannot be found: then what was kept for it fails. Of one that was known
    /// before that stays true.
    pub(in crate::client::producer) fn looked_up(
        &mut self,
        topic: u32,
        answer: Result<Lookup, Error>,
        told: &mut Told,
    ) {
        match answer {
            Ok(lookup) => {
                self.topics.know(topic, lookup);
                self.unpark(topic, told);
            }
            Err(error) => self.fail_parked(topic, &error, told),
        }
    }

    fn unpark(&mut self, topic: u32, told: &mut Told) {
        let Some(parked) = self.topics.parked_mut(topic).take() else {
            return;
        };
        // A flush waits for what was kept by its order, so it gets batches of its own.
        self.close_topic(topic);
        let (order, opened_at) = (parked.order, parked.opened_at);
        self.used_bytes -= parked.bytes;
        self.outstanding_records -= parked.records();
        for mut entry in parked.into_entries() {
            let outstanding = self.outstanding_batches;
            if let Err(settled) = self.unpark_entry(topic, &mut entry, order, opened_at) {
                told.settled.push(*settled);
            }
            let opened = self.outstanding_batches - outstanding;
            for flush in self.flushes.iter_mut().filter(|flush| order < flush.before) {
                flush.remaining += opened;
            }
        }
        self.close_topic(topic);
        told.ended.push(order);
    }

    fn unpark_entry(
        &mut self,
        topic: u32,
        entry: &mut Entry,
        order: u64,
        opened_at: Instant,
    ) -> Result<(), Box<Settled>> {
        let wanted = entry.partition;
        let chosen = self.topics.choose(topic, wanted, entry.key.as_deref());
        let (record, waiter) = entry.split();
        let partition = match chosen {
            Ok(partition) => partition,
            Err(error) => {
                let wanted = wanted.unwrap_or(-1);
                return Err(Box::new(waiter.refused(topic, wanted, opened_at, error)));
            }
        };
        let mut waiter = Some(waiter);
        let pushed = self.push(
            topic,
            partition,
            &record,
            || opened_at,
            |meta, index| {
                meta.order = order;
                if let Some(waiter) = waiter.take() {
                    waiter.note(meta, index);
                }
            },
        );
        match (pushed, waiter) {
            (Err(error), Some(waiter)) => {
                Err(Box::new(waiter.refused(topic, partition, opened_at, error)))
            }
            _ => Ok(()),
        }
    }

    fn close_topic(&mut self, topic: u32) {
        for partition in self.topics.partitions_of(topic) {
            self.close_open(topic, partition);
        }
    }

    pub(super) fn fail_parked(&mut self, topic: u32, error: &Error, told: &mut Told) {
        let Some(parked) = self.topics.parked_mut(topic).take() else {
            return;
        };
        self.used_bytes -= parked.bytes;
        self.outstanding_records -= parked.records();
        let (order, opened_at) = (parked.order, parked.opened_at);
        for mut entry in parked.into_entries() {
            let partition = entry.partition.unwrap_or(-1);
            let (_, waiter) = entry.split();
            told.settled
                .push(waiter.refused(topic, partition, opened_at, error.clone()));
        }
        told.ended.push(order);
    }

    pub(super) fn expire_parked(
        &mut self,
        topic: u32,
        opened_before: Option<Instant>,
        told: &mut Told,
    ) -> Option<Instant> {
        let opened_at = self.topics.parked_mut(topic).as_ref()?.opened_at;
        if opened_before.is_some_and(|before| opened_at <= before) {
            let error = timed_out(&self.settings, None);
            self.fail_parked(topic, &error, told);
            return None;
        }
        Some(opened_at)
    }
}
