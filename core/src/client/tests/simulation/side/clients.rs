//! Who produces and reads beside.

use std::sync::Arc;
use std::time::Duration;

use super::super::clients::numbers;
use super::ledger::Place;
use super::{GROUP, Kind, Side, TOPIC, is_new};
use crate::client::options::{Ack, Compression, ConsumerOptions, ProducerOptions};
use crate::client::{Client, Consumer, ConsumerBatch, Producer, Record};
use crate::error::{Error, ErrorCode};
use crate::ids::Durability;

/// The time of every record that a producer sends, ms since 1970 UTC: the log has others.
pub(super) const MADE_MS: i64 = 1_000;

impl Side {
    /// One producer a partition, so that each knows all that was there: they send so many records, and then a few
    /// once nothing goes wrong any more.
    pub(super) async fn produce(self: Arc<Self>, number: usize) {
        let stage = &self.stage;
        let client = stage.connect(number).await;
        let senders: Vec<_> = (0..self.partitions).map(|_| self.sender(&client)).collect();
        let (most, pause_ms) = (15 + stage.below(30), stage.among(&[100, 300, 1_000]));
        let mut sent = 0;
        loop {
            let is_last = stage.calm.is_set();
            if sent < most || is_last {
                let burst = 1 + stage.below(4);
                for _ in 0..burst {
                    let partition = stage.below(self.partitions as u64) as i32;
                    self.send(&senders[partition as usize], partition);
                }
                sent += burst;
            }
            if is_last {
                break;
            }
            stage.pause(pause_ms).await;
        }
        let closed = client.close(Some(Duration::from_secs(200))).await;
        self.note(format!("the producers are closed, {closed:?}"));
        self.sending.count();
    }

    fn sender(&self, client: &Client) -> Producer {
        let stage = &self.stage;
        let durability = match self.kind {
            Kind::Os { is_topics: true } => stage.among(&[None, None, Some(Durability::Disk)]),
            Kind::Os { is_topics: false } => Some(Durability::Os),
            Kind::Records | Kind::Topic => None,
        };
        let request_timeout_ms = stage.among(&[200, 1_000, 5_000]);
        let options = ProducerOptions {
            durability,
            linger_ms: Some(stage.among(&[0, 0, 20])),
            batch_bytes: Some(stage.among(&[1_024, 131_072])),
            request_timeout_ms: Some(request_timeout_ms),
            delivery_timeout_ms: Some(request_timeout_ms + stage.among(&[100, 5_000, 60_000])),
            retry_backoff_ms: Some(stage.among(&[1, 20, 100])),
            in_flight: Some(stage.among(&[1, 5])),
            compression: Some(stage.among(&[Compression::None, Compression::Lz4])),
            ..ProducerOptions::default()
        };
        client.producer(options).expect("options in their range")
    }

    fn send(self: &Arc<Self>, sender: &Producer, partition: i32) {
        let number = self.ledger.invoke(partition);
        let value = format!("{number}:");
        let record = Record {
            partition: Some(partition),
            timestamp_ms: Some(MADE_MS),
            ..Record::new(value.as_bytes())
        };
        match sender.send(TOPIC, &record) {
            Ok(delivery) => {
                let side = Arc::clone(self);
                tokio::spawn(async move {
                    let result = delivery.await;
                    let told = match &result {
                        Ok(it) => format!("at {}, {:?}", it.offset, it.durability),
                        Err(error) => format!("{:?}, {error}", error.outcome()),
                    };
                    side.note(format!("record {number} in {partition}: {told}"));
                    side.ledger.ended(number, &result);
                });
            }
            Err(error) => self.ledger.ended(number, &Err(error)),
        }
    }

    /// Reads all of it without a group, over and over again from where it was, until it is told to stop.
    pub(super) async fn follow(self: Arc<Self>, number: usize) {
        while !self.reading.is_set() {
            let client = self.stage.connect(number).await;
            let options = ConsumerOptions {
                read_ahead_bytes: Some(self.stage.among(&[64 << 10, 8 << 20])),
                ..ConsumerOptions::default()
            };
            let consumer = client.consumer(&[TOPIC], options);
            let consumer = consumer.expect("options in their range");
            self.ledger.view_begins();
            let ended = self.watch(&client, &consumer).await;
            self.note(format!("the follower ends, {ended:?}"));
            if let Some(error) = ended.err().filter(|error| !error.is_fatal()) {
                self.ledger.fail(format!("the follower ends: {error}"));
            }
            drop(client.close(None).await);
        }
        self.reading.count();
    }

    async fn watch(&self, client: &Client, consumer: &Consumer) -> Result<(), Error> {
        let pause_ms = self.stage.among(&[0, 50, 400]);
        while !self.reading.is_set() {
            let next = consumer.next_batch(Some(Duration::from_millis(700))).await;
            let metrics = client.metrics();
            match next {
                Ok(Some(batch)) => {
                    let records = numbers(&batch)?;
                    self.note(format!(
                        "follower: {}, {:?}",
                        batch.partition(),
                        bounds(&records)
                    ));
                    for (offset, record) in records {
                        self.ledger.view(place(&batch), offset, record, &metrics);
                    }
                    self.stage.pause(pause_ms).await;
                }
                Ok(None) => self.ledger.view_told(&metrics),
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    self.note(format!("follower: {error}"));
                    self.stage.pause(200).await;
                }
            }
        }
        Ok(())
    }

    /// Reads as a member of the group, again and again, until it is told to stop.
    pub(super) async fn consume(self: Arc<Self>, number: usize) {
        let stage = &self.stage;
        while !self.reading.is_set() {
            let client = stage.connect(number).await;
            let ack = stage.among(&[Ack::Auto, Ack::Auto, Ack::Manual]);
            let options = ConsumerOptions {
                group: Some(GROUP.to_owned()),
                ack: Some(ack),
                commit_interval_ms: Some(stage.among(&[10, 200, 1_000])),
                heartbeat_ms: Some(stage.among(&[200, 1_000])),
                session_timeout_ms: Some(stage.among(&[1_500, 4_000, 10_000])),
                rebalance_timeout_ms: Some(stage.among(&[1_000, 5_000])),
                ..ConsumerOptions::default()
            };
            let consumer = client.consumer(&[TOPIC], options);
            let consumer = consumer.expect("options in their range");
            let ended = self.read(number, &consumer, ack).await;
            self.note(format!("member {number}: ends, {ended:?}"));
            if self.reading.is_set() || !stage.chance(4) {
                let closed = client.close(None).await;
                self.note(format!("member {number}: closed, {closed:?}"));
            }
            drop((consumer, client));
            stage.pause(2_000).await;
        }
        self.reading.count();
    }

    async fn read(&self, number: usize, consumer: &Consumer, ack: Ack) -> Result<(), Error> {
        let pause_ms = self.stage.among(&[0, 50, 400]);
        loop {
            if self.reading.is_set() || self.stage.chance(200) {
                return Ok(());
            }
            let batch = match consumer.next_batch(Some(Duration::from_millis(700))).await {
                Ok(Some(batch)) => batch,
                Ok(None) => continue,
                Err(error) if error.code() == ErrorCode::UnknownTopicOrPartition => {
                    return Err(error);
                }
                Err(error) => {
                    self.note(format!("member {number}: {error}"));
                    if error.is_fatal() || self.stage.chance(4) {
                        return Err(error);
                    }
                    self.stage.pause(100).await;
                    continue;
                }
            };
            let (place, records) = (place(&batch), numbers(&batch)?);
            self.note(format!(
                "member {number}: {place:?}, {:?}",
                bounds(&records)
            ));
            for (offset, record) in &records {
                self.ledger.deliver(place, *offset, *record);
            }
            self.stage.pause(pause_ms).await;
            for (offset, record) in &records {
                self.ledger.process(place, *offset, *record);
                if ack == Ack::Manual {
                    // What it holds no more it cannot acknowledge.
                    drop(consumer.ack(TOPIC, place.partition, *offset));
                }
            }
        }
    }
}

fn place(batch: &ConsumerBatch) -> Place {
    Place {
        partition: batch.partition(),
        is_new: is_new(batch),
    }
}

fn bounds(records: &[(i64, u64)]) -> Option<(i64, i64)> {
    Some((records.first()?.0, records.last()?.0))
}
