//! A consumer: reads what it is assigned, processes it, and commits how far it came; now and then it is busy, or gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::testing::simulation::{Bug, Signal, Stage, has};
use tokio::time::Instant;

use super::fetcher::{Fetcher, Read};
use super::member::{Member, Over};

/// Where a member is in a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) partition: i32,
    /// The next record to read.
    pub(super) next: i64,
    /// The next record to process.
    pub(super) processed: i64,
    pub(super) committed: i64,
    /// Of the last batch that was read; -1: none.
    pub(super) leader_epoch: i32,
}

struct Consumer {
    stage: Stage,
    number: usize,
    member: Member,
    fetcher: Fetcher,
    commit_interval: Duration,
    pause_ms: u64,
    committed_at: Instant,
}

/// Reads as a member of the group, again and again, until it is told to stop.
pub(super) async fn consume(stage: Stage, group: &'static str, number: usize, stop: Arc<Signal>) {
    let mut is_static = stage.chance(3);
    while !stop.is_set() {
        // Two of a name: one of them takes the other's place.
        let instance = is_static.then(|| format!("instance-{}", number / 2));
        let mut consumer = Consumer::new(stage.clone(), group, number, instance);
        let over = consumer.read(&stop).await;
        stage.note(format!("kafka member {number}: ends, {over:?}"));
        if !is_static && (stop.is_set() || !stage.chance(4)) {
            consumer.member.leave().await;
        }
        is_static &= over.is_ok();
        // Dropped: the group has to do without a word of it, if it has not left.
        drop(consumer);
        stage.pause(2_000).await;
    }
    done(&stage, number, &stop);
}

fn done(stage: &Stage, number: usize, stop: &Signal) {
    stage.note(format!("kafka member {number}: is over"));
    stop.count();
}

/// Reads all there is up to these ends, as nobody's member.
pub(super) async fn read_all(
    stage: Stage,
    group: &'static str,
    ends: Vec<i64>,
) -> Vec<Vec<(i64, u64)>> {
    let number = usize::MAX;
    let mut fetcher = Fetcher::new(stage.clone(), number);
    let mut nobody = Member::new(stage, group, number, None);
    let begins = (0..).zip(&ends).map(|(partition, _)| Position {
        partition,
        next: 0,
        processed: 0,
        committed: 0,
        leader_epoch: -1,
    });
    nobody.positions = begins.collect();
    let mut all = vec![Vec::new(); ends.len()];
    let is_behind = |member: &Member| {
        let mut positions = member.positions.iter().zip(&ends);
        positions.any(|(position, end)| position.next < *end)
    };
    while is_behind(&nobody) {
        for (partition, offset, record) in fetcher.fetch(&mut nobody).await {
            all[partition as usize].push((offset, record));
        }
    }
    all
}

impl Consumer {
    fn new(stage: Stage, group: &'static str, number: usize, instance: Option<String>) -> Self {
        Self {
            number,
            member: Member::new(stage.clone(), group, number, instance),
            fetcher: Fetcher::new(stage.clone(), number),
            commit_interval: Duration::from_millis(stage.among(&[10, 200, 1_000])),
            pause_ms: stage.among(&[0, 5, 50, 400]),
            committed_at: Instant::now(),
            stage,
        }
    }

    /// Until it is told to stop, has had enough, or is a member no more and will not be one again.
    async fn read(&mut self, stop: &Signal) -> Result<(), Over> {
        loop {
            if stop.is_set() || self.stage.chance(100) {
                if self.stage.chance(2) {
                    self.commit().await?;
                }
                return Ok(());
            }
            if !self.member.is_joined() {
                self.member.join(stop).await?;
                continue;
            }
            self.member.beat_if_due().await?;
            let records = self.fetcher.fetch(&mut self.member).await;
            self.work(records, stop).await?;
            if self.committed_at.elapsed() >= self.commit_interval {
                self.commit().await?;
            }
            if self.member.is_called() {
                // What is processed is committed before another may get it.
                if !self.stage.chance(4) {
                    self.commit().await?;
                }
                self.member.give_up();
            }
        }
    }

    async fn commit(&mut self) -> Result<(), Over> {
        self.committed_at = Instant::now();
        let is_ahead = has(Bug::CommitAhead);
        self.member.commit(is_ahead).await
    }

    /// Processes records one after the other, unless the member is called to join again.
    async fn work(&mut self, records: Vec<Read>, stop: &Signal) -> Result<(), Over> {
        let history = self.stage.clone();
        let history = history.history();
        for (partition, offset, record) in &records {
            history.deliver(self.member.group, *partition, *offset, *record);
        }
        let Some((first, last)) = records.first().zip(records.last()) else {
            return Ok(());
        };
        let number = self.number;
        self.stage
            .note(format!("kafka member {number}: {first:?} to {last:?}"));
        self.stage.pause(self.pause_ms).await;
        if self.stage.chance(40) && !stop.is_set() {
            // The process stops, and goes on as if nothing had happened.
            self.stage.pause(15_000).await;
            if self.stage.chance(2) {
                self.commit().await?;
            }
        }
        for (partition, offset, _) in records {
            if self.member.is_called() || !self.member.is_joined() {
                break;
            }
            history.process(self.member.group, partition, offset);
            self.member.processed(partition, offset);
            if self.stage.chance(50) {
                self.stage.pause(self.pause_ms).await;
                self.member.beat_if_due().await?;
            }
        }
        Ok(())
    }
}

/// What a member is, said to those who share out partitions: version 0 of it, one topic, no more.
pub(super) fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.into()
}
