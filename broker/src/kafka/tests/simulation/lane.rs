//! What a producer has on its way to one partition: batches in their order, their sequences, and when each may be sent.
//!
//! As Kafka's own clients do it: sequences are given when a batch is sent first; one that is sent again is sent when all
//! before it are answered; and once one that may have arrived was given up, the partition goes on in a new epoch of
//! the producer, behind all that were sent before.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater::testing::simulation::{End, Stage};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::time::Instant;

/// Batches of a partition that are sent and not answered, at most: Kafka's own limit for idempotence.
const IN_FLIGHT_MAX: usize = 5;

/// Behind the base of all records' timestamps, which is when the world begins.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// A producer's id and its epoch.
pub(super) type Identity = (i64, i16);

/// Records that go together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) records: Vec<(u64, String)>,
    made_at: Instant,
    /// Who sends it, and the sequence of its first record; none before it was sent.
    stamp: Option<(Identity, i32)>,
    pub(super) is_in_flight: bool,
    not_before: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) partition: i32,
    epoch: i16,
    next_sequence: i32,
    /// Whether a batch was given up that may be in the log.
    pub(super) is_unsure: bool,
    batches: VecDeque<Batch>,
}

impl Lane {
    pub(super) const fn new(partition: i32) -> Self {
        Self {
            partition,
            epoch: -1,
            next_sequence: 0,
            is_unsure: false,
            batches: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Adds a record to the last batch, if that has room, or to another.
    pub(super) fn push(&mut self, record: (u64, String), most: usize, next_number: &mut u64) {
        let open = self.batches.back_mut();
        let open = open.filter(|it| it.stamp.is_none() && it.records.len() < most);
        match open {
            Some(batch) => batch.records.push(record),
            None => {
                *next_number += 1;
                let now = Instant::now();
                self.batches.push_back(Batch {
                    number: *next_number,
                    records: vec![record],
                    made_at: now,
                    stamp: None,
                    is_in_flight: false,
                    not_before: now,
                });
            }
        }
    }

    /// The batch that may be sent now, if there is one, as bytes. A bump of the producer's epoch is the caller's
    /// `identity`, changed.
    pub(super) fn next(&mut self, now: Instant, identity: &mut Identity) -> Option<(u64, Bytes)> {
        let place = self.batches.iter().position(|it| !it.is_in_flight)?;
        let batch = self.batches.get(place)?;
        if batch.not_before > now || place >= IN_FLIGHT_MAX || (batch.stamp.is_some() && place > 0)
        {
            return None;
        }
        if batch.stamp.is_none() {
            if self.is_unsure && place > 0 {
                return None;
            }
            if self.is_unsure {
                identity.1 += 1;
                self.is_unsure = false;
            }
            if self.epoch != identity.1 && place == 0 {
                self.epoch = identity.1;
                self.next_sequence = 0;
            }
        }
        let (epoch, sequence) = (self.epoch, self.next_sequence);
        let batch = self.batches.get_mut(place)?;
        if batch.stamp.is_none() {
            batch.stamp = Some(((identity.0, epoch), sequence));
            self.next_sequence += batch.records.len() as i32;
        }
        batch.is_in_flight = true;
        Some((batch.number, batch.encode()))
    }

    /// Whether this is the first that is not answered.
    pub(super) fn is_first(&self, number: u64) -> bool {
        self.batches.front().is_some_and(|it| it.number == number)
    }

    /// It is over for this batch.
    pub(super) fn take(&mut self, number: u64) -> Option<Batch> {
        let place = self.batches.iter().position(|it| it.number == number)?;
        self.batches.remove(place)
    }

    /// It is to be sent again.
    pub(super) fn again(&mut self, number: u64, not_before: Instant) {
        let mut batches = self.batches.iter_mut();
        if let Some(batch) = batches.find(|it| it.number == number) {
            batch.is_in_flight = false;
            batch.not_before = not_before;
        }
    }

    /// Gives up what is too old: whether it may be in the log is known by whether it was ever sent.
    pub(super) fn expire(&mut self, stage: &Stage, timeout: Duration) {
        let now = Instant::now();
        while let Some(batch) = self.batches.front() {
            if batch.made_at + timeout > now {
                return;
            }
            self.give_up(stage);
        }
    }

    /// Gives up everything: who comes next knows nothing of it.
    pub(super) fn abandon(&mut self, stage: &Stage) {
        while !self.is_empty() {
            self.give_up(stage);
        }
        *self = Self::new(self.partition);
    }

    fn give_up(&mut self, stage: &Stage) {
        if let Some(batch) = self.batches.pop_front() {
            let end = match batch.stamp {
                Some(_) => End::Unknown,
                None => End::NotDone,
            };
            self.is_unsure |= end == End::Unknown;
            let (partition, number) = (self.partition, batch.number);
            stage.note(format!("batch {number} in {partition}: given up, {end:?}"));
            for (record, _) in &batch.records {
                stage.history().ended(*record, end);
            }
        }
    }

    /// When something is to be done of itself.
    pub(super) fn next_time(&self, timeout: Duration) -> Option<Instant> {
        let expires = self.batches.front().map(|it| it.made_at + timeout);
        let waiting = self.batches.iter().find(|it| !it.is_in_flight);
        // One that waits for others goes on when they are answered.
        let waiting = waiting.map(|it| it.not_before);
        let waiting = waiting.filter(|at| *at > Instant::now());
        expires.into_iter().chain(waiting).min()
    }
}

impl Batch {
    fn encode(&self) -> Bytes {
        let ((producer_id, producer_epoch), first) = self.stamp.unwrap_or(((-1, -1), -1));
        let records = self.records.iter().enumerate();
        let records = records.map(|(place, (number, value))| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: place as i64,
            sequence: first + place as i32,
            timestamp: TIMESTAMP_MS + *number as i64,
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Default::default(),
        });
        let records: Vec<_> = records.collect();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        bytes.freeze()
    }
}
