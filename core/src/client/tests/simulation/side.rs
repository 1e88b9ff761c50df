//! What goes on beside all else in about half of the seeds, on a topic of its own in the same log: one at `os`, one
//! whose records are deleted, or one that is itself deleted and created again under its name.
//!
//! `ledger` holds what is true of it. Whether it goes on, and what, comes from a random stream of its own: a seed
//! without it is what it would be if this were not here.

#[cfg(test)]
mod bugs;
mod clients;
mod deletion;
mod ledger;
mod os;
mod view;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use self::ledger::{Found, Ledger};
use super::broker::{Broker, Signal};
use super::clients::{Stage, numbers};
use super::guests::Cast;
use super::mend;
use crate::client::options::{ConsumerOptions, TimestampType, TopicOptions, Until};
use crate::client::{Client, ConsumerBatch};
use crate::error::Error;
use crate::ids::Durability;
use crate::log::storage::faulty::Random;
use crate::protocol::request::{OffsetAt, OffsetQuery, Request};
use crate::record::TimestampType as Times;

const TOPIC: &str = "readings";
const GROUP: &str = "audit";

/// What makes of a seed that of the stream.
const SALT: u64 = 0x51DE_51DE;

/// In which time all of it has to come to its end once all else has.
const SETTLING: Duration = Duration::from_secs(300);

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Durability `os`: the topic's, or else that of producers to a topic at `disk`.
    Os { is_topics: bool },
    /// Records are deleted.
    Records,
    /// The topic is deleted and created again.
    Topic,
}

/// See the module.
pub(super) struct Side {
    kind: Kind,
    stage: Stage,
    ledger: Arc<Ledger>,
    partitions: i32,
    members: usize,
    sending: Arc<Signal>,
    reading: Arc<Signal>,
}

impl Kind {
    fn of(random: &mut Random) -> Option<Self> {
        match random.below(8) {
            0 | 1 => Some(Self::Os {
                is_topics: random.below(4) > 0,
            }),
            2 => Some(Self::Records),
            3 => Some(Self::Topic),
            _ => None,
        }
    }

    /// Whether a power cut may take back what was read.
    const fn is_truncated(self) -> bool {
        matches!(self, Self::Os { is_topics: true })
    }

    /// How many write: producers together, and who deletes.
    const fn writers(self) -> usize {
        match self {
            Self::Os { .. } => 1,
            Self::Records | Self::Topic => 2,
        }
    }

    /// How many read without a group. One of those ends with its topic.
    const fn followers(self) -> usize {
        match self {
            Self::Os { .. } | Self::Records => 1,
            Self::Topic => 0,
        }
    }
}

impl Side {
    /// What this seed has; with guests there is none.
    pub(super) fn of(seed: u64, stage: &Stage, cast: &Cast) -> Option<Arc<Self>> {
        let mut random = Random(seed ^ SALT);
        let kind = Kind::of(&mut random).filter(|_| cast.guests.is_none())?;
        let members = match kind {
            Kind::Topic => 1 + random.below(2),
            Kind::Os { .. } | Kind::Records => random.below(3),
        };
        Some(Arc::new(Self {
            kind,
            stage: stage.clone(),
            ledger: Ledger::new(kind, &stage.history),
            partitions: 1 + random.below(2) as i32,
            members: members as usize,
            sending: Arc::default(),
            reading: Arc::default(),
        }))
    }

    /// Creates the topic, however long it takes.
    pub(super) async fn create(&self) {
        self.stage.world.note(format!("beside: {:?}", self.kind));
        self.create_topic(TimestampType::CreateTime).await;
    }

    /// The times of a topic's records say which of the two topics of the name it is.
    async fn create_topic(&self, times: TimestampType) {
        let durability = match self.kind.is_truncated() {
            true => Durability::Os,
            false => Durability::Disk,
        };
        let topic = TopicOptions {
            partitions: Some(self.partitions as u32),
            durability: Some(durability),
            message_timestamp_type: Some(times),
            exist_ok: Some(true),
            ..TopicOptions::default()
        };
        let client = self.stage.connect(usize::MAX).await;
        while let Err(error) = client.admin().create_topic(TOPIC, topic.clone()).await {
            self.note(format!("not created: {error}"));
            self.stage.pause(200).await;
        }
        drop(client.close(None).await);
    }

    /// All of its clients begin; how many they are. The first has this number.
    pub(super) fn begin(self: &Arc<Self>, first: usize) -> usize {
        let mut next = first..;
        let mut number = || next.next().unwrap_or(first);
        tokio::spawn(Arc::clone(self).produce(number()));
        match self.kind {
            Kind::Os { .. } => {}
            Kind::Records => drop(tokio::spawn(Arc::clone(self).delete_records(number()))),
            Kind::Topic => drop(tokio::spawn(Arc::clone(self).recreate(number()))),
        }
        for _ in 0..self.kind.followers() {
            tokio::spawn(Arc::clone(self).follow(number()));
        }
        for _ in 0..self.members {
            tokio::spawn(Arc::clone(self).consume(number()));
        }
        number() - first
    }

    /// Everything comes to its end, nothing goes wrong any more; then it is looked at.
    pub(super) async fn settle(&self, broker: &mut Broker) {
        if timeout(SETTLING, self.end(broker)).await.is_err() {
            self.ledger.fail(format!(
                "no end in {SETTLING:?}: {} of {} writers and {} of {} readers have ended, {}",
                self.sending.counted(),
                self.kind.writers(),
                self.reading.counted(),
                self.readers(),
                self.ledger.standing(),
            ));
        }
    }

    /// After another start all is as it was.
    pub(super) async fn look_again(&self) {
        if let Ok(again) = self.read_all().await
            && self.ledger.found().is_some_and(|found| found != again)
        {
            self.ledger
                .fail("after another start other records are read".to_owned());
        }
    }

    fn readers(&self) -> usize {
        self.kind.followers() + self.members
    }

    fn note(&self, what: String) {
        self.stage.world.note(format!("beside: {what}"));
    }

    async fn end(&self, broker: &mut Broker) {
        let writers = self.kind.writers() as u64;
        while self.sending.counted() < writers || self.ledger.open_count() > 0 {
            mend(&self.stage, broker).await;
        }
        // What is on its way still does not arrive, or is in the log by then.
        self.stage.network.cut_all();
        sleep(Duration::from_secs(5)).await;
        let found = loop {
            mend(&self.stage, broker).await;
            match timeout(Duration::from_secs(60), self.read_all()).await {
                Ok(Ok(found)) => break found,
                Ok(Err(error)) => self.note(format!("not all can be read: {error}")),
                Err(_) => self.note("not all can be read in a minute".to_owned()),
            }
        };
        self.ledger.check(found);
        while !self
            .ledger
            .is_all_read(self.kind.followers() > 0, self.members > 0)
        {
            mend(&self.stage, broker).await;
        }
        self.ledger.check_views();
        self.reading.set();
        while self.reading.counted() < self.readers() as u64 {
            mend(&self.stage, broker).await;
        }
        let client = self.stage.connect(usize::MAX).await;
        self.look_at_commits(&client).await;
        drop(client.close(None).await);
    }

    /// What the group has committed, if that can be asked now.
    async fn look_at_commits(&self, client: &Client) {
        let asked = self.ledger.asks_for_commits();
        if let Ok(group) = client.admin().describe_group(GROUP).await {
            let offsets = group.offsets.iter();
            let offsets = offsets.map(|it| (it.partition, it.offset));
            self.ledger.commits(asked, offsets);
        }
    }

    /// Every partition of the topic.
    async fn read_all(&self) -> Result<Vec<Found>, Error> {
        let client = self.stage.connect(usize::MAX).await;
        let query = |(partition, at)| OffsetQuery {
            topic: TOPIC.to_owned(),
            partition,
            at,
        };
        let both = [OffsetAt::Earliest, OffsetAt::Latest];
        let queries = (0..self.partitions).flat_map(|partition| both.map(|at| (partition, at)));
        let offsets = client.admin().list_offsets(queries.map(query).collect());
        let offsets = offsets.await?;
        let bounds = offsets.chunks(both.len());
        let mut found: Vec<_> = bounds
            .map(|bounds| Found {
                start: bounds[0],
                end: bounds[1],
                records: Vec::new(),
            })
            .collect();
        let options = ConsumerOptions {
            until: Some(Until::End),
            ..ConsumerOptions::default()
        };
        let consumer = client.consumer(&[TOPIC], options)?;
        while let Some(batch) = consumer.next_batch(None).await? {
            let is_new = is_new(&batch);
            let records = numbers(&batch)?.into_iter();
            let records = records.map(|(offset, number)| (offset, number, is_new));
            found[batch.partition() as usize].records.extend(records);
        }
        client.close(None).await?;
        Ok(found)
    }
}

/// Whether a group's request is one of the group's here.
pub(super) fn is_beside(request: &Request) -> bool {
    let group = match request {
        Request::CommitOffsets { group, .. } => group,
        Request::GroupHeartbeat(said) => &said.group,
        _ => return false,
    };
    group == GROUP
}

/// Whether a batch is of the second topic of the name.
fn is_new(batch: &ConsumerBatch) -> bool {
    batch.batch_header().timestamp_type() == Times::LogAppendTime
}
