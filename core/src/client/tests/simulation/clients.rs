//! Producers and members of a group, as applications use them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::broker::Signal;
use super::history::{History, number_of};
use super::network::{Network, Way};
use super::parts::Parts;
use super::{GROUP, TOPIC};
use crate::client::handle::{Client, Shared};
use crate::client::options::{
    Ack, Compression, ConnectOptions, ConsumerOptions, ProducerOptions, Until,
};
use crate::client::producer::Record;
use crate::client::transport::tcp::{TcpOptions, simulated};
use crate::client::{Consumer, ConsumerBatch};
use crate::error::{Error, ErrorCode};
use crate::fork;
use crate::world::simulated::World;

/// What all clients share: the world, the way to the broker, and the history of what comes of it.
#[derive(Clone)]
pub struct Stage {
    pub(super) world: Arc<World>,
    pub(super) network: Arc<Network>,
    pub(super) history: Arc<History>,
    pub(super) partitions: i32,
    /// Set once nothing goes wrong any more.
    pub(super) calm: Arc<Signal>,
    /// What is played besides.
    pub(super) parts: Parts,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stage({} partitions)", self.partitions)
    }
}

impl Stage {
    /// A number below `limit`, which is not 0, by the seed.
    #[must_use]
    pub fn below(&self, limit: u64) -> u64 {
        self.world.below(limit)
    }

    /// Whether something happens that does so one time in so many.
    #[must_use]
    pub fn chance(&self, one_in: u64) -> bool {
        self.world.below(one_in) == 0
    }

    /// One of these.
    #[must_use]
    pub fn among<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.world.below(choices.len() as u64) as usize]
    }

    /// Waits, at most so long.
    pub async fn pause(&self, most_ms: u64) {
        let pause = Duration::from_millis(self.world.below(most_ms + 1));
        sleep(pause).await;
    }

    /// Connects, however long it takes.
    pub(super) async fn connect(&self, number: usize) -> Client {
        self.connect_for(number, &Arc::default()).await
    }

    /// The same for a client that reaches nobody any more once its life is over.
    pub(super) async fn connect_for(&self, number: usize, life: &Arc<Signal>) -> Client {
        let options = TcpOptions {
            keep_alive: Duration::from_millis(self.among(&[500, 3_000, 10_000])),
            // More than twice as long as a heartbeat may wait, as it is outside of here (`limits.rs`).
            request_timeout: Duration::from_millis(self.among(&[2_500, 5_000, 30_000])),
            connect_timeout: Duration::from_millis(self.among(&[500, 3_000])),
            ..TcpOptions::default()
        };
        loop {
            let (network, life) = (Arc::clone(&self.network), Arc::clone(life));
            let dial = move || {
                let (network, is_over) = (Arc::clone(&network), life.is_set());
                async move {
                    match is_over {
                        true => std::future::pending().await,
                        false => network.dial(number, Way::Native).await,
                    }
                }
            };
            match simulated::connect(dial, options.clone()).await {
                Ok(transport) => {
                    let generation = fork::current().expect("this process");
                    let address = "broker:9092".to_owned();
                    let options = ConnectOptions::default();
                    return Client::open(Shared::new(transport, address, generation, &options));
                }
                Err(_) => self.pause(300).await,
            }
        }
    }

    /// Sends records until it has sent so many or is told to stop, and waits until all have come to an end.
    pub(super) async fn produce(self, producer: usize, records: u64, stop: Arc<Signal>) {
        let client = self.connect(producer).await;
        let request_timeout_ms = self.among(&[200, 1_000, 5_000]);
        let options = ProducerOptions {
            linger_ms: Some(self.among(&[0, 0, 5, 50])),
            batch_bytes: Some(self.among(&[1_024, 4_096, 131_072])),
            request_timeout_ms: Some(request_timeout_ms),
            delivery_timeout_ms: Some(request_timeout_ms + self.among(&[100, 5_000, 120_000])),
            retry_backoff_ms: Some(self.among(&[1, 20, 100])),
            in_flight: Some(self.among(&[1, 2, 5])),
            compression: Some(self.among(&[Compression::None, Compression::Lz4])),
            ..ProducerOptions::default()
        };
        let sender = client.producer(options).expect("options in their range");
        let pause_ms = self.among(&[0, 2, 20, 200]);
        let mut sent = 0;
        while sent < records && !stop.is_set() {
            for _ in 0..=self.world.below(8) {
                self.send(&sender, producer, &stop);
                sent += 1;
            }
            self.pause(pause_ms).await;
        }
        let closed = client.close(Some(Duration::from_secs(200))).await;
        self.world
            .note(format!("producer {producer}: closed, {closed:?}"));
        stop.count();
    }

    fn send(&self, sender: &crate::Producer, producer: usize, stop: &Arc<Signal>) {
        let partition = self.world.below(self.partitions as u64) as i32;
        let number = self.history.invoke(producer, partition);
        let fill = self.world.below(self.among(&[8, 200, 2_000]));
        let value = format!("{number}:{}", "x".repeat(fill as usize));
        let key = self.key_of(number);
        let record = Record {
            partition: Some(partition),
            key: key.as_deref().map(str::as_bytes),
            ..Record::new(value.as_bytes())
        };
        let history = Arc::clone(&self.history);
        match sender.send(TOPIC, &record) {
            Ok(delivery) => {
                let world = Arc::clone(&self.world);
                let stop = Arc::clone(stop);
                tokio::spawn(async move {
                    let result = delivery.await.map(|it| (it.partition, it.offset));
                    world.note(format!(
                        "record {number} in {partition}: {}",
                        in_short(&result)
                    ));
                    history.end(number, &result);
                    drop(stop);
                });
            }
            Err(error) => history.end(number, &Err(error)),
        }
    }

    /// Reads as a member of the group, again and again, until it is told to stop.
    pub(super) async fn consume(self, number: usize, stop: Arc<Signal>) {
        while !stop.is_set() {
            let client = self.connect(number).await;
            let session_timeout_ms = self.among(&[1_500, 4_000, 10_000]);
            let ack = self.among(&[Ack::Auto, Ack::Auto, Ack::Manual]);
            let options = ConsumerOptions {
                group: Some(GROUP.to_owned()),
                ack: Some(ack),
                commit_interval_ms: Some(self.among(&[10, 200, 1_000])),
                heartbeat_ms: Some(self.among(&[200, 500, 1_000])),
                session_timeout_ms: Some(session_timeout_ms),
                rebalance_timeout_ms: Some(self.among(&[1_000, 5_000])),
                processing_timeout_ms: Some(self.among(&[2_000, 300_000])),
                read_ahead_bytes: Some(self.among(&[64 << 10, 8 << 20])),
                ..ConsumerOptions::default()
            };
            let consumer = client
                .consumer(&[TOPIC], options)
                .expect("options in their range");
            self.world.note(format!("member {number}: begins"));
            let ended = self.read(GROUP, number, &consumer, ack, &stop).await;
            self.world.note(format!("member {number}: ends, {ended:?}"));
            if stop.is_set() || !self.chance(4) {
                let closed = client.close(None).await;
                self.world
                    .note(format!("member {number}: closed, {closed:?}"));
            }
            // Dropped: the group has to do without a word of it, if it was not closed.
            drop((consumer, client));
            self.pause(2_000).await;
        }
        stop.count();
    }

    pub(super) async fn read(
        &self,
        group: &'static str,
        number: usize,
        consumer: &Consumer,
        ack: Ack,
        stop: &Signal,
    ) -> Result<(), Error> {
        let pause_ms = self.among(&[0, 5, 50, 400]);
        loop {
            if stop.is_set() || self.chance(200) {
                return Ok(());
            }
            let batch = match consumer.next_batch(Some(Duration::from_millis(300))).await {
                Ok(batch) => batch,
                Err(error) if error.code() == ErrorCode::UnknownTopicOrPartition => {
                    return Err(error);
                }
                Err(error) => {
                    self.world.note(format!("member {number}: {error}"));
                    if self.chance(4) {
                        return Err(error);
                    }
                    self.pause(100).await;
                    continue;
                }
            };
            let Some(batch) = batch else {
                if consumer.is_finished() {
                    return Ok(());
                }
                continue;
            };
            let partition = batch.partition();
            let records = numbers(&batch)?;
            for (offset, record) in &records {
                self.history.deliver(group, partition, *offset, *record);
            }
            self.world.note(format!(
                "member {number}: {partition}, {:?}",
                bounds(&records)
            ));
            self.pause(pause_ms).await;
            if self.chance(400) && !stop.is_set() {
                // It is busy with something else.
                self.pause(15_000).await;
            }
            for (offset, _) in &records {
                self.history.process(group, partition, *offset);
                if ack == Ack::Manual {
                    // What it holds no more it cannot acknowledge.
                    drop(consumer.ack(TOPIC, partition, *offset));
                }
            }
        }
    }

    /// Every record of the topic, by partition.
    pub(super) async fn read_all(&self, number: usize) -> Result<Vec<Vec<(i64, u64)>>, Error> {
        let client = self.connect(number).await;
        let options = ConsumerOptions {
            until: Some(Until::End),
            ..ConsumerOptions::default()
        };
        let consumer = client.consumer(&[TOPIC], options)?;
        let mut found = vec![Vec::new(); self.partitions as usize];
        while let Some(batch) = consumer.next_batch(None).await? {
            found[batch.partition() as usize].extend(numbers(&batch)?);
        }
        client.close(None).await?;
        Ok(found)
    }
}

pub(super) fn numbers(batch: &ConsumerBatch) -> Result<Vec<(i64, u64)>, Error> {
    let records = batch.records().map(|record| {
        let record = record?;
        let number = number_of(record.value.unwrap_or_default());
        Ok((record.offset, number))
    });
    records.collect()
}

fn bounds(records: &[(i64, u64)]) -> Option<(i64, i64)> {
    Some((records.first()?.0, records.last()?.0))
}

fn in_short(result: &Result<(i32, i64), Error>) -> String {
    match result {
        Ok((_, offset)) => format!("at {offset}"),
        Err(error) => format!("{:?}, {error}", error.outcome()),
    }
}
