//! Batches out, answers in: what is done with what the accumulator says.
//!
//! One thread dispatches at a time, whoever has something to send: the job on the transport's thread, or
//! a thread that waits anyway and so appends by itself. A thread that finds another dispatching leaves its
//! batches to it; the other looks again after it has let go, so nothing is left behind and no two batches
//! of a partition change places.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::MutexGuard;
use bytes::Bytes;

use super::DeliveryFailure;
use super::accumulator::{BatchKey, Dispatch, Outgoing, Settled, Told};
use super::batch::Stamp;
use super::delivery::Placed;
use super::desk::Desk;
use super::sender::Sender;
use super::topics::Lookup;
use crate::client::retry::passes;
use crate::completion::{Assist, Completion, Shared, Wake, Wakes};
use crate::error::{Error, ErrorCode, Outcome, Result};
use crate::protocol::request::Request;
use crate::protocol::response::{Response, TopicDescription};
use crate::record::{BatchBuilder, Compressor};
use crate::timer;
use crate::world;

impl Sender {
    /// Sends what there is to send, on this thread.
    pub(super) fn drain(self: &Arc<Self>) {
        loop {
            let Some(mut compressor) = self.draining.try_lock() else {
                return;
            };
            let mut used = None;
            while let Some((dispatch, topic)) = self.next(used.take()) {
                used = self.run(dispatch, topic, &mut compressor);
            }
            drop(compressor);
            // What came while the others saw this thread dispatching.
            if !self.desk.lock().accumulator.has_dispatch() {
                return;
            }
        }
    }

    pub(super) fn next(&self, used: Option<BatchBuilder>) -> Option<(Dispatch, Arc<str>)> {
        let mut desk = self.desk.lock();
        if let Some(builder) = used {
            desk.accumulator.recycle(builder);
        }
        let dispatch = desk.accumulator.next_dispatch()?;
        let topic = dispatch.topic();
        let topic = topic.map_or_else(Arc::default, |it| desk.accumulator.topics.name(it));
        Some((dispatch, topic))
    }

    pub(super) fn run(
        self: &Arc<Self>,
        dispatch: Dispatch,
        topic: Arc<str>,
        compressor: &mut Compressor,
    ) -> Option<BatchBuilder> {
        match dispatch {
            Dispatch::Identify => {
                let sender = Arc::clone(self);
                let completion =
                    Completion::call(move |answer, wakes| sender.identified(answer, wakes));
                self.transport
                    .run_here(Request::InitProducer, Bytes::new(), completion);
                None
            }
            Dispatch::Batch(mut outgoing) => {
                let payload = self.encode(&mut outgoing, compressor);
                self.produce(&topic, outgoing.key, payload);
                Some(outgoing.builder)
            }
            Dispatch::Again { key, payload } => {
                self.counters.batches_resent.add(1);
                self.produce(&topic, key, payload);
                None
            }
            Dispatch::AskEnd {
                topic: number,
                partition,
            } => {
                self.ask_end(&topic, number, partition);
                None
            }
        }
    }

    fn produce(self: &Arc<Self>, topic: &str, key: BatchKey, payload: Bytes) {
        let request = Request::Produce {
            topic: topic.to_owned(),
            partition: key.partition,
            durability: self.durability,
        };
        // In process the log takes the bytes as they are, without a copy, and no connection can be lost.
        let sent = self.transport.is_remote().then(|| payload.clone());
        let sender = Arc::clone(self);
        let completion =
            Completion::call(move |answer, wakes| sender.answered(key, sent, answer, wakes));
        self.transport.run_here(request, payload, completion);
    }

    /// Asks where a partition ends, of which the log has forgotten this producer.
    fn ask_end(self: &Arc<Self>, topic: &str, number: u32, partition: i32) {
        let sender = Arc::clone(self);
        let completion = Completion::call(move |answer: Result<Response>, wakes: &mut Wakes| {
            let answer = answer.and_then(|response| match response {
                Response::Topics(topics) => end_of(&topics, partition),
                other => Err(unexpected("topics", &other)),
            });
            sender.step(wakes, |desk, told| {
                let accumulator = &mut desk.accumulator;
                accumulator.log_end(number, partition, answer, world::now(), told);
            });
        });
        let names = vec![topic.to_owned()];
        self.transport
            .run_here(Request::DescribeTopics { names }, Bytes::new(), completion);
    }

    /// The records are compressed, and checksum and header are computed, here, without the lock.
    fn encode(&self, outgoing: &mut Outgoing, compressor: &mut Compressor) -> Bytes {
        self.counters.batches_sent.add(1);
        self.counters
            .records_sent
            .add(outgoing.builder.record_count().into());
        let Stamp {
            producer_id,
            producer_epoch,
        } = outgoing.stamp;
        let bytes = outgoing.builder.finish_compressed(
            compressor,
            producer_id,
            producer_epoch,
            outgoing.base_sequence,
        );
        Bytes::from(bytes.unwrap_or_default())
    }

    fn identified(self: &Arc<Self>, answer: Result<Response>, wakes: &mut Wakes) {
        let answer = match answer {
            Ok(Response::Producer {
                producer_id,
                producer_epoch,
            }) => {
                self.span.record("producer_id", producer_id);
                Ok(Stamp {
                    producer_id,
                    producer_epoch,
                })
            }
            Ok(other) => Err(unexpected("a producer id", &other)),
            Err(error) => Err(error.with_outcome(Outcome::NotDone)),
        };
        self.step(wakes, |desk, told| {
            desk.accumulator.identified(answer, world::now(), told)
        });
    }

    fn answered(
        self: &Arc<Self>,
        key: BatchKey,
        sent: Option<Bytes>,
        answer: Result<Response>,
        wakes: &mut Wakes,
    ) {
        let error = match answer {
            Ok(Response::Produced(ack)) => {
                return self.step(wakes, |desk, told| {
                    desk.accumulator.acknowledge(key, ack, told);
                });
            }
            Ok(other) => unexpected("an acknowledgement", &other).with_outcome(Outcome::Unknown),
            Err(error) => error,
        };
        if passes(&error) {
            let _mine = self.span.enter();
            crate::seldom!(debug, %error, "a batch was not acknowledged; it is sent again while there is time");
        }
        self.step(wakes, |desk, told| {
            let accumulator = &mut desk.accumulator;
            accumulator.fail(key, error, sent, world::now(), told);
        });
    }

    /// Changes the accumulator, tells what came of it, and goes on sending.
    pub(super) fn step(
        self: &Arc<Self>,
        wakes: &mut Wakes,
        change: impl FnOnce(&mut Desk, &mut Told),
    ) {
        let mut told = Told::default();
        let mut desk = self.desk.lock();
        change(&mut desk, &mut told);
        if let Some(wake_at) = told.wake_at {
            self.arm(&mut desk, wake_at);
        }
        let ready = self.make_way(&mut desk);
        let schedules = self.wants_job(&mut desk);
        drop(desk);
        self.tell(told, wakes);
        for completion in ready {
            completion.complete(Ok(()), wakes);
        }
        if schedules {
            // Not here: this may be a thread that must not write.
            let sender = Arc::clone(self);
            wakes.push(Wake::Hook(Arc::new(move || sender.schedule_drain())));
        }
    }

    /// Tells everybody what became of their records.
    pub(super) fn tell(&self, told: Told, wakes: &mut Wakes) {
        for settled in told.settled {
            self.tell_batch(settled, wakes);
        }
        let mut flushed = told.flushed;
        if !told.ended.is_empty() {
            flushed.append(&mut self.desk.lock().accumulator.leave(&told.ended));
        }
        for flushed in flushed {
            flushed.complete(Ok(()), wakes);
        }
    }

    fn tell_batch(&self, settled: Settled, wakes: &mut Wakes) {
        let Settled {
            topic,
            partition,
            meta,
            result,
        } = settled;
        let records = u64::from(meta.records);
        match &result {
            Ok(_) => self.counters.records_acknowledged.add(records),
            Err(_) => self.counters.records_failed.add(records),
        }
        let placed = result.map(|ack| Placed {
            partition,
            base_offset: ack.base_offset,
            append_time_ms: ack.append_time_ms,
            durability: ack.durability,
        });
        let mut lost = u64::from(meta.silent);
        if let Some(slot) = meta.slot {
            lost += u64::from(slot.settle(placed.clone(), wakes));
        }
        for (index, slot) in meta.followers {
            let own = placed.clone().map(|placed| Placed {
                base_offset: placed.base_offset.saturating_add(index.into()),
                ..placed
            });
            lost += u64::from(slot.settle(own, wakes));
        }
        self.ledger
            .add_rows(partition, &meta.tickets, &placed, wakes);
        if let Err(error) = placed
            && lost > 0
        {
            let topic = self.desk.lock().accumulator.topics.name(topic);
            let failure = DeliveryFailure {
                topic,
                partition,
                records: lost,
                error,
            };
            self.lost(failure, wakes);
        }
    }

    /// Records failed of which nobody waits for the end.
    fn lost(&self, failure: DeliveryFailure, wakes: &mut Wakes) {
        if !self.ledger.has_failure_hook() {
            let _mine = self.span.enter();
            let (topic, partition, records) = (&*failure.topic, failure.partition, failure.records);
            let error = &failure.error;
            crate::seldom!(warn, topic, partition, records, %error, "records were not delivered");
        }
        self.ledger.lost(failure, wakes);
    }

    /// A delivery of a batch that failed was dropped before anybody looked.
    pub(super) fn dropped_unread(
        self: &Arc<Self>,
        topic: &Arc<str>,
        partition: i32,
        error: &Error,
    ) {
        let mut wakes = Wakes::new();
        let (topic, error) = (Arc::clone(topic), error.clone());
        let failure = DeliveryFailure {
            topic,
            partition,
            records: 1,
            error,
        };
        self.lost(failure, &mut wakes);
        if !wakes.is_empty() {
            // The hook may not expect to be called from where the host drops things.
            self.transport.schedule(Box::new(move || wakes.run()));
        }
    }

    /// Whether a job must be scheduled; if so, it counts as scheduled.
    ///
    /// Not while somebody dispatches: that thread looks again after it has let go, and the lock of the
    /// desk, held here, orders the two. (Asking takes that lock for a moment if it is free; whoever fails to
    /// get it then may leave, for then a job is wanted, and does what is left.)
    pub(super) fn wants_job(&self, desk: &mut Desk) -> bool {
        let wants =
            !desk.is_scheduled && desk.accumulator.has_dispatch() && !self.draining.is_locked();
        desk.is_scheduled |= wants;
        wants
    }

    pub(super) fn schedule_drain(self: &Arc<Self>) {
        let job = Job(Some(Arc::clone(self)));
        self.transport.schedule(Box::new(move || job.run()));
    }

    /// Does what a thread can do that is about to wait.
    pub(super) fn assist_here(self: &Arc<Self>) {
        self.drain();
        self.transport.assist();
    }

    /// Looks a topic up, unless that is under way.
    pub(super) fn look_up(self: &Arc<Self>, topic: u32) -> Shared<()> {
        let (done, shared) = Completion::shared();
        let mut desk = self.desk.lock();
        if let Some(lookup) = desk.lookups.get(&topic) {
            return lookup.clone();
        }
        desk.lookups.insert(topic, shared.clone());
        let name = desk.accumulator.topics.name(topic);
        drop(desk);
        let sender = Arc::clone(self);
        let completion = Completion::call(move |answer, wakes| {
            sender.looked_up(topic, answer, done, wakes);
        });
        let names = vec![String::from(&*name)];
        self.transport
            .submit(Request::DescribeTopics { names }, Bytes::new(), completion);
        shared
    }

    fn looked_up(
        self: &Arc<Self>,
        topic: u32,
        answer: Result<Response>,
        done: Completion<()>,
        wakes: &mut Wakes,
    ) {
        let answer = match answer {
            Ok(Response::Topics(topics)) => topics.first().map(lookup).ok_or_else(|| {
                Error::new(
                    ErrorCode::UnknownTopicOrPartition,
                    "the topic does not exist",
                )
            }),
            Ok(other) => Err(unexpected("topics", &other)),
            Err(error) => Err(error.with_outcome(Outcome::NotDone)),
        };
        let outcome = answer.as_ref().map(|_| ()).map_err(Error::clone);
        self.step(wakes, |desk, told| {
            desk.lookups.remove(&topic);
            desk.accumulator.looked_up(topic, answer, told);
        });
        done.complete(outcome, wakes);
    }

    /// Sees to it that time is looked at, at the latest then.
    pub(super) fn arm(self: &Arc<Self>, desk: &mut MutexGuard<'_, Desk>, wake_at: Instant) {
        if desk.timer.as_ref().is_some_and(|(at, _)| *at <= wake_at) {
            return;
        }
        let weak = Arc::downgrade(self);
        let timer = timer::at(wake_at, move || {
            if let Some(sender) = weak.upgrade() {
                let transport = Arc::clone(&sender.transport);
                let job = Job(Some(sender));
                transport.schedule(Box::new(move || job.tick()));
            }
        });
        desk.timer = Some((wake_at, timer));
    }

    fn tick(self: &Arc<Self>) {
        let mut wakes = Wakes::new();
        let mut told = Told::default();
        let mut desk = self.desk.lock();
        desk.timer = None;
        if let Some(next) = desk.accumulator.advance(world::now(), &mut told) {
            self.arm(&mut desk, next);
        }
        let ready = self.make_way(&mut desk);
        drop(desk);
        self.tell(told, &mut wakes);
        ready
            .into_iter()
            .for_each(|ready| ready.complete(Ok(()), &mut wakes));
        self.drain();
    }

    /// The transport takes no more jobs: what is not on its way will never be.
    fn abandon(self: &Arc<Self>) {
        let what = self.transport.description();
        let error = Error::new(
            ErrorCode::Closed,
            format!("the connection to {what} is closed"),
        );
        self.step(&mut Wakes::new(), |desk, told| {
            desk.is_scheduled = false;
            desk.timer = None;
            desk.accumulator.fail_queued(&error, told);
        });
    }
}

/// A job that dispatches. Dropped without having run, it fails what it was to send.
struct Job(Option<Arc<Sender>>);

impl Job {
    fn run(mut self) {
        if let Some(sender) = self.0.take() {
            sender.desk.lock().is_scheduled = false;
            sender.drain();
        }
    }

    fn tick(mut self) {
        if let Some(sender) = self.0.take() {
            sender.tick();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            sender.abandon();
        }
    }
}

/// A thread that waits for an answer dispatches and writes first.
pub(super) struct Helper(pub(super) Arc<Sender>);

impl Assist for Helper {
    fn assist(&self) {
        self.0.assist_here();
    }
}

/// What a producer must know of a topic.
pub(in crate::client) fn lookup(topic: &TopicDescription) -> Lookup {
    let max_batch_bytes = topic
        .config
        .iter()
        .find(|(name, _)| name == "max_message_bytes")
        .and_then(|(_, value)| value.parse().ok());
    Lookup {
        partitions: i32::try_from(topic.partitions.len())
            .unwrap_or(i32::MAX)
            .max(1),
        max_batch_bytes: max_batch_bytes.unwrap_or(crate::limits::BATCH_BYTES_MAX),
    }
}

/// Where a partition of the one topic that was asked for ends.
fn end_of(topics: &[TopicDescription], partition: i32) -> Result<i64> {
    let mut partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let found = partitions.find(|it| it.partition == partition);
    found.map(|it| it.log_end_offset).ok_or_else(|| {
        Error::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("the topic has no partition {partition} any more"),
        )
    })
}

pub(super) fn unexpected(wanted: &str, found: &Response) -> Error {
    Error::new(
        ErrorCode::UnknownServerError,
        format!("the log answered {found:?} where {wanted} was expected"),
    )
}
