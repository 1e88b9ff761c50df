//! Members that make results of what they read, and commit how far they were with them (`Consumer::commit_with`).

use std::sync::Arc;
use std::time::Duration;

use super::TOPIC;
use super::broker::Signal;
use super::clients::{Stage, numbers};
use super::parts::among;
use crate::client::options::ConsumerOptions;
use crate::client::producer::Record;
use crate::client::{Consumer, RecordMetadata};
use crate::error::{Error, Outcome};
use crate::log::storage::faulty::Random;

pub(super) const GROUP: &str = "invoicing";
/// The topic of the results.
pub(super) const BILLS: &str = "bills";

/// How results are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Billing {
    pub(super) members: usize,
    /// Of the topic of the results.
    pub(super) partitions: i32,
    /// Whether a key chooses the partition of a result, or a number.
    is_keyed: bool,
    /// Batches that are committed together at most.
    at_once: u64,
}

/// What a result is made of: the partition, the offset and the number of a record.
pub(super) type Source = (i32, i64, u64);

/// One result: what it is of, which of those it is, and what is written.
pub(super) struct Bill {
    pub(super) source: Source,
    pub(super) index: u32,
    partition: i32,
    key: String,
    value: String,
}

/// How many results come of this record: mostly one, sometimes two or none.
pub(super) const fn bill_count(number: u64) -> u32 {
    if number % 7 == 6 {
        0
    } else if number % 3 == 1 {
        2
    } else {
        1
    }
}

impl Billing {
    pub(super) fn draw(random: &mut Random) -> Self {
        Self {
            members: 1 + random.below(3) as usize,
            partitions: 1 + random.below(3) as i32,
            is_keyed: random.below(2) == 0,
            at_once: among(random, &[1, 1, 4]),
        }
    }

    /// All of one place in the order of one partition go to one partition: so they stay in order.
    fn bills(&self, stage: &Stage, sources: &[Source]) -> Vec<Bill> {
        let mut bills = Vec::new();
        for source in sources {
            let (from, offset, number) = *source;
            for index in 0..bill_count(number) {
                let to = from + index as i32;
                let fill = "x".repeat(stage.below(200) as usize);
                bills.push(Bill {
                    source: *source,
                    index,
                    partition: to % self.partitions,
                    key: format!("b{to}"),
                    value: format!("{number}:{from}:{offset}:{index}:{fill}"),
                });
            }
        }
        bills
    }

    fn record<'a>(&self, bill: &'a Bill) -> (&'static str, Record<'a>) {
        let record = Record::new(bill.value.as_bytes());
        let record = match self.is_keyed {
            true => record.with_key(bill.key.as_bytes()),
            false => Record {
                partition: Some(bill.partition),
                ..record
            },
        };
        (BILLS, record)
    }
}

impl Stage {
    /// Makes results as a member of the group, again and again, until it is told to stop.
    pub(super) async fn bill(self, number: usize, billing: Billing, stop: Arc<Signal>) {
        while !stop.is_set() {
            let life = Arc::new(Signal::default());
            let client = self.connect_for(number, &life).await;
            let options = ConsumerOptions {
                group: Some(GROUP.to_owned()),
                commit_interval_ms: Some(self.among(&[10, 1_000])),
                heartbeat_ms: Some(self.among(&[200, 1_000])),
                session_timeout_ms: Some(self.among(&[1_500, 4_000, 10_000])),
                rebalance_timeout_ms: Some(self.among(&[1_000, 1_000, 5_000])),
                processing_timeout_ms: Some(self.among(&[2_000, 300_000])),
                ..ConsumerOptions::default()
            };
            let consumer = client
                .consumer(&[TOPIC], options)
                .expect("options in their range");
            self.note(format!("biller {number}: begins"));
            let billed = self.read_and_bill(number, &consumer, billing, &stop);
            if self.parts.is_deadly {
                let ended = self.live(billed).await;
                self.note(format!("biller {number}: ends, {ended:?}"));
                self.die(number, (client, consumer), &life, stop.is_set())
                    .await;
            } else {
                let ended = billed.await;
                self.note(format!("biller {number}: ends, {ended:?}"));
                self.part(number, (client, consumer), &stop).await;
            }
            self.pause(2_000).await;
        }
        stop.count();
    }

    async fn read_and_bill(
        &self,
        number: usize,
        consumer: &Consumer,
        billing: Billing,
        stop: &Signal,
    ) -> Result<(), Error> {
        consumer.open().await?;
        if billing.at_once > 1 || self.chance(2) {
            // From here on nothing is committed without results, before the first of them either.
            consumer.commit_with(&[]).await?;
        }
        let pause_ms = self.among(&[0, 50, 400, 2_000]);
        while !stop.is_set() && (self.is_calm() || !self.chance(40)) {
            let sources = self.gather(consumer, billing.at_once).await?;
            if sources.is_empty() && !self.chance(20) {
                continue;
            }
            self.pause(pause_ms).await;
            if !self.is_calm() && self.chance(40) {
                self.pause(15_000).await;
            }
            for (partition, offset, _) in &sources {
                self.history.process(GROUP, *partition, *offset);
            }
            let ends = (sources.first(), sources.last());
            self.note(format!("biller {number}: {ends:?}"));
            self.send_bills(consumer, billing, &sources).await?;
        }
        Ok(())
    }

    /// What some batches hold, or nothing.
    async fn gather(&self, consumer: &Consumer, at_once: u64) -> Result<Vec<Source>, Error> {
        let mut sources = Vec::new();
        let mut wait_ms = 300;
        for _ in 0..=self.below(at_once) {
            let wait = Duration::from_millis(wait_ms);
            let Some(batch) = consumer.next_batch(Some(wait)).await? else {
                break;
            };
            let partition = batch.partition();
            for (offset, number) in numbers(&batch)? {
                self.history.deliver(GROUP, partition, offset, number);
                sources.push((partition, offset, number));
            }
            wait_ms = 20;
        }
        Ok(sources)
    }

    /// Sends results until they are there, or it is not known whether they are. Of what was not done some host thinks
    /// that it may be done again, and some, that it is somebody else's.
    async fn send_bills(
        &self,
        consumer: &Consumer,
        billing: Billing,
        sources: &[Source],
    ) -> Result<(), Error> {
        let bills = billing.bills(self, sources);
        let records: Vec<_> = bills.iter().map(|bill| billing.record(bill)).collect();
        loop {
            let error = match consumer.commit_with(&records).await {
                Ok(places) => {
                    self.keep_places(&bills, &places);
                    return Ok(());
                }
                Err(error) => error,
            };
            let outcome = error.outcome();
            self.note(format!("the bills are not sent: {outcome:?}, {error}"));
            if outcome == Outcome::Unknown {
                return Err(error);
            }
            match self.below(3) {
                0 => return Err(error),
                1 if error.is_fatal() => return Ok(()),
                _ => self.pause(100).await,
            }
        }
    }

    fn keep_places(&self, bills: &[Bill], places: &[RecordMetadata]) {
        if bills.len() != places.len() {
            let (sent, told) = (bills.len(), places.len());
            let what = format!("{sent} results were sent and {told} places told");
            return self.history.fail(what);
        }
        for (bill, place) in bills.iter().zip(places) {
            let place = (place.partition, place.offset);
            self.history.billed(bill.source, bill.index, place);
        }
    }
}
