//! What about half of the seeds play besides: members that hand records to handlers, that commit results with
//! offsets, and that keep their places while they are away.
//!
//! Who plays what is drawn from a stream of its own, so that a seed that plays nothing of it is what it was before
//! there was any of it. Each has a group for itself; all of them read the topic that the producers fill.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::broker::{Broker, Signal};
use super::clients::Stage;
use super::processing::{self, Handling};
use super::results::{self, Billing};
use super::statics::{self, Places};
use super::{GROUP, create_topic, mend};
use crate::client::Client;
use crate::client::options::{ConsumerOptions, Until};
use crate::error::Error;
use crate::log::storage::faulty::Random;

/// Begins the stream: with it, none of the seeds that were kept before plays anything of this.
const STREAM: u64 = 0x9A27_5EED_0000_0003;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    pub(super) handling: Option<Handling>,
    pub(super) billing: Option<Billing>,
    pub(super) places: Option<Places>,
    /// Whether processes end in the middle of what they do; those that keep places do so anyway.
    pub(super) is_deadly: bool,
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Nothing that it says is heard any more.
    Killed,
    /// It is closed, and waits for that.
    Closed,
    /// It is closed, and the next is there before that is done.
    Dropped,
}

/// A record that was read in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) value: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Parts {
    /// What this seed plays.
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random(seed ^ STREAM);
        if random.below(2) == 0 {
            return Self::default();
        }
        let chosen = random.below(10);
        let (handling, billing) = (Handling::draw(&mut random), Billing::draw(&mut random));
        let places = Places::draw(&mut random);
        let is_deadly = random.below(2) == 1;
        Self {
            is_deadly,
            handling: matches!(chosen, 0..=2 | 9).then_some(handling),
            billing: matches!(chosen, 3..=5 | 9).then_some(billing),
            places: matches!(chosen, 6..=8).then_some(places),
        }
    }

    /// How many clients they are.
    pub(super) fn members(&self) -> usize {
        let handling = self.handling.map_or(0, |it| it.members);
        let billing = self.billing.map_or(0, |it| it.members);
        handling + billing + self.places.map_or(0, |it| it.members())
    }

    /// Their groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &'static str> {
        let groups = [
            self.handling.map(|_| processing::GROUP),
            self.billing.map(|_| results::GROUP),
            self.places.map(|_| statics::GROUP),
        ];
        groups.into_iter().flatten()
    }

    /// Topics beside the one that all read, and how many partitions each has.
    fn topics(&self) -> impl Iterator<Item = (&'static str, i32)> {
        let letters = self.handling.filter(|it| it.has_letters);
        let topics = [
            letters.map(|_| (processing::LETTERS, processing::LETTER_PARTITIONS)),
            self.billing.map(|it| (results::BILLS, it.partitions)),
        ];
        topics.into_iter().flatten()
    }

    /// The group of this name, if it is one that native clients are in.
    pub(super) fn group_of(name: &str) -> Option<&'static str> {
        let groups = [GROUP, processing::GROUP, results::GROUP, statics::GROUP];
        groups.into_iter().find(|group| *group == name)
    }

    /// The topics are made.
    pub(super) async fn prepare(&self, stage: &Stage) {
        for (topic, partitions) in self.topics() {
            create_topic(stage, topic, partitions).await;
        }
    }

    /// All of them begin; the first is this client.
    pub(super) fn begin(&self, stage: &Stage, first: usize, stop: &Arc<Signal>) {
        let mut next = first..;
        let mut number = || next.next().unwrap_or_default();
        if let Some(handling) = self.handling {
            for _ in 0..handling.members {
                let member = stage.clone();
                tokio::spawn(member.handle_records(number(), handling, Arc::clone(stop)));
            }
        }
        if let Some(billing) = self.billing {
            for _ in 0..billing.members {
                let member = stage.clone();
                tokio::spawn(member.bill(number(), billing, Arc::clone(stop)));
            }
        }
        for place in self.places.iter().flat_map(Places::all) {
            let member = stage.clone();
            tokio::spawn(member.keep_place(number(), place, Arc::clone(stop)));
        }
    }

    /// Whether a group has not committed all of these records yet.
    pub(super) fn are_behind(
        &self,
        stage: &Stage,
        ends: impl Iterator<Item = i64> + Clone,
    ) -> bool {
        self.groups().any(|group| {
            let mut ends = ends.clone().enumerate();
            ends.any(|(partition, end)| stage.history.committed(group, partition as i32) < end)
        })
    }

    /// Looks at what they have written, when nothing goes wrong any more.
    pub(super) async fn check(&self, stage: &Stage, broker: &mut Broker) {
        if self.handling.is_some_and(|it| it.has_letters) {
            let found = read(stage, broker, processing::LETTERS).await;
            stage.history.check_letters(&found);
        }
        if self.billing.is_some() {
            let found = read(stage, broker, results::BILLS).await;
            stage.history.check_bills(&found);
        }
    }
}

/// Every record of a topic, however long it takes.
async fn read(stage: &Stage, broker: &mut Broker, topic: &'static str) -> Vec<Found> {
    loop {
        mend(stage, broker).await;
        match timeout(Duration::from_secs(60), stage.read_topic(topic)).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => stage.note(format!("not all of {topic} can be read: {error}")),
            Err(_) => stage.note(format!("not all of {topic} can be read in a minute")),
        }
    }
}

impl Stage {
    async fn read_topic(&self, topic: &'static str) -> Result<Vec<Found>, Error> {
        let client = self.connect(usize::MAX).await;
        let options = ConsumerOptions {
            until: Some(Until::End),
            ..ConsumerOptions::default()
        };
        let consumer = client.consumer(&[topic], options)?;
        let mut found = Vec::new();
        while let Some(batch) = consumer.next_batch(None).await? {
            for record in batch.records() {
                let record = record?;
                let headers = record.headers().filter_map(Result::ok);
                found.push(Found {
                    partition: batch.partition(),
                    offset: record.offset,
                    value: record.value.unwrap_or_default().to_vec(),
                    headers: headers
                        .map(|it| (it.key.to_owned(), it.value.unwrap_or_default().to_vec()))
                        .collect(),
                });
            }
        }
        client.close(None).await?;
        Ok(found)
    }

    /// What a process does: to its end, or, while things go wrong, until it ends in the middle of it.
    pub(super) async fn live<T>(&self, life: impl Future<Output = T>) -> Option<T> {
        let life_ms = self.among(&[300, 1_500, 6_000]);
        match self.is_calm() {
            true => Some(life.await),
            false => timeout(Duration::from_millis(life_ms), life).await.ok(),
        }
    }

    /// A process ends when it wants to: in order, or now and then without waiting for that.
    pub(super) async fn part<T>(
        &self,
        number: usize,
        (client, besides): (Client, T),
        stop: &Signal,
    ) {
        if stop.is_set() || !self.chance(4) {
            let closed = client.close(None).await;
            self.note(format!("process {number}: closed, {closed:?}"));
        }
        drop((besides, client));
    }

    /// A process ends, with its client and this besides: somehow, or in order when all is over.
    pub(super) async fn die<T>(
        &self,
        number: usize,
        (client, besides): (Client, T),
        life: &Signal,
        is_in_order: bool,
    ) {
        let ending = match is_in_order {
            true => Ending::Closed,
            false => self.among(&[Ending::Killed, Ending::Closed, Ending::Dropped]),
        };
        self.note(format!("process {number}: {ending:?}"));
        match ending {
            Ending::Killed => {
                life.set();
                self.network.kill(number);
            }
            Ending::Closed => {
                let closed = client.close(None).await;
                self.note(format!("process {number}: closed, {closed:?}"));
            }
            Ending::Dropped => {}
        }
        drop((besides, client));
    }

    /// The key of a record, where records have keys: five of them, and none.
    pub(super) fn key_of(&self, number: u64) -> Option<String> {
        self.parts.handling.and_then(|_| key_of(number))
    }
}

/// The key of this record where records have keys.
pub(super) fn key_of(number: u64) -> Option<String> {
    match number % 6 {
        5 => None,
        key => Some(format!("k{key}")),
    }
}

/// One of these.
pub(super) fn among<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}
