//! A consumer: reads what it is assigned, processes it, and commits how far it came; now and then it is busy, or gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::record::{Batch, BatchHeader};
use headwater::testing::simulation::{Bug, Signal, Stage, has};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use tokio::time::Instant;

use super::line::{Line, Told};
use super::member::{Member, Over};
use crate::kafka::tests::topic_name;

/// Kafka's codes that a reader minds.
mod code {
    pub(super) const NONE: i16 = 0;
    pub(super) const OFFSET_OUT_OF_RANGE: i16 = 1;
}

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

/// A record that was read.
type Read = (i32, i64, u64);

struct Consumer {
    stage: Stage,
    number: usize,
    member: Member,
    line: Option<(Line, Told)>,
    version: i16,
    /// Whether it says which leader it believes in, and what it has read of which one.
    is_fenced: bool,
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

impl Consumer {
    fn new(stage: Stage, group: &'static str, number: usize, instance: Option<String>) -> Self {
        Self {
            number,
            member: Member::new(stage.clone(), group, number, instance),
            line: None,
            version: stage.among(&[4, 7, 11, 12, 13, 16, 17]),
            is_fenced: stage.chance(2),
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
            let records = self.fetch().await;
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

    /// What there is to read; nothing where that fails.
    async fn fetch(&mut self) -> Vec<Read> {
        if self.member.positions.is_empty() {
            self.stage.pause(100).await;
            return Vec::new();
        }
        let Some(answer) = self.ask().await else {
            self.line = None;
            self.stage.pause(200).await;
            return Vec::new();
        };
        let topics = answer.responses.into_iter();
        let mut records = Vec::new();
        for found in topics.flat_map(|topic| topic.partitions) {
            self.take(&found, &mut records);
        }
        records
    }

    async fn ask(&mut self) -> Option<FetchResponse> {
        if self.line.is_none() {
            let within = Duration::from_secs(3);
            let mut line = Line::open(&self.stage, self.number, within).await?;
            let told = line.metadata(&self.stage).await?;
            self.line = Some((line, told));
        }
        let (line, told) = self.line.as_mut()?;
        let version = self.version;
        let partitions = self.member.positions.iter().map(|position| {
            let mut wanted = FetchPartition::default()
                .with_partition(position.partition)
                .with_fetch_offset(position.next)
                .with_partition_max_bytes(1 << 16);
            if self.is_fenced && version >= 9 {
                wanted.current_leader_epoch = told.leader_epoch;
            }
            if self.is_fenced && version >= 12 {
                wanted.last_fetched_epoch = position.leader_epoch;
            }
            wanted
        });
        let mut topic = FetchTopic::default().with_partitions(partitions.collect());
        if version >= 13 {
            topic.topic_id = told.id;
        } else {
            topic.topic = topic_name(self.stage.topic());
        }
        let request = FetchRequest::default()
            .with_max_wait_ms(self.stage.among(&[0, 50, 500]))
            .with_min_bytes(1)
            .with_max_bytes(1 << 18)
            .with_topics(vec![topic]);
        let answer: FetchResponse = line.ask(1, version, &request).await.ok()?;
        if answer.error_code != code::NONE {
            let history = self.stage.history();
            history.fail(format!("a fetch is answered {}", answer.error_code));
        }
        Some(answer)
    }

    fn take(&mut self, found: &PartitionData, records: &mut Vec<Read>) {
        let (partition, code) = (found.partition_index, found.error_code);
        let positions = &mut self.member.positions;
        let Some(position) = positions.iter_mut().find(|it| it.partition == partition) else {
            return;
        };
        let history = self.stage.history();
        if code != code::NONE {
            self.stage.note(format!(
                "fetch of {partition} from {}: {code}",
                position.next
            ));
            if code == code::OFFSET_OUT_OF_RANGE {
                history.fail(format!(
                    "offset {} of partition {partition} is out of range, and all before it were read",
                    position.next
                ));
            }
            // Another leader, or another term of it: it is asked for.
            self.line = None;
            return;
        }
        if found.diverging_epoch.end_offset >= 0 {
            history.fail(format!(
                "partition {partition} parts from what was read of it up to {}: {:?}",
                position.next, found.diverging_epoch
            ));
        }
        let mut bytes = found.records.clone().unwrap_or_default();
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).unwrap();
            let batch = Batch::verified(bytes.split_to(header.total_bytes())).unwrap();
            position.leader_epoch = header.leader_epoch;
            for record in batch.records() {
                let record = record.unwrap();
                if record.offset < position.next {
                    continue;
                }
                if record.offset >= found.high_watermark {
                    let mark = found.high_watermark;
                    history.fail(format!(
                        "offset {} was read, which is not below {mark}",
                        record.offset
                    ));
                }
                let number = number(record.value.unwrap_or_default());
                records.push((partition, record.offset, number));
                position.next = record.offset + 1;
            }
        }
    }
}

fn number(value: &[u8]) -> u64 {
    let digits = value.split(|byte| *byte == b':').next().unwrap_or_default();
    let number = std::str::from_utf8(digits).ok();
    number.and_then(|it| it.parse().ok()).unwrap_or(u64::MAX)
}

/// What a member is, said to those who share out partitions: version 0 of it, one topic, no more.
pub(super) fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.into()
}
