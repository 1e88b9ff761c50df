//! Reading: one Fetch on its way at a time, which may wait for long, while the member goes on living.

use std::time::Duration;

use headwater::record::{Batch, BatchHeader};
use headwater::testing::simulation::Stage;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use tokio::time::{Instant, timeout};

use super::line::{Line, Told};
use super::member::Member;
use crate::kafka::tests::topic_name;

/// Kafka's codes that a reader minds.
mod code {
    pub(super) const NONE: i16 = 0;
    pub(super) const OFFSET_OUT_OF_RANGE: i16 = 1;
}

/// What connecting may take, and an answer beside what it waits for.
const WITHIN: Duration = Duration::from_secs(3);

/// How long a record that is there may be on its way when nothing goes wrong.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A wait that only something to read ends in time: longer than all may take once nothing goes wrong any more.
const FOR_EVER_MS: i32 = 1_000_000;

/// A record that was read: its partition, its offset, its number.
pub(super) type Read = (i32, i64, u64);

/// A Fetch on its way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    id: i32,
    /// Which of the member's assignments it was asked in.
    assignment: u64,
    deadline: Instant,
    /// Since when there is something to read, and nothing in the way of it.
    due_since: Option<Instant>,
}

/// See the module.
pub(super) struct Fetcher {
    stage: Stage,
    number: usize,
    line: Option<(Line, Told)>,
    asked: Option<Asked>,
    version: i16,
    /// Whether it says which leader it believes in, and what it has read of which one.
    is_fenced: bool,
}

impl Fetcher {
    pub(super) fn new(stage: Stage, number: usize) -> Self {
        Self {
            number,
            line: None,
            asked: None,
            version: stage.among(&[4, 7, 11, 12, 13, 16, 17]),
            is_fenced: stage.chance(2),
            stage,
        }
    }

    /// What there is to read; nothing where that fails, or when it is time to do something else.
    pub(super) async fn fetch(&mut self, member: &mut Member) -> Vec<Read> {
        if member.positions.is_empty() {
            self.stage.pause(100).await;
            return Vec::new();
        }
        let is_late = |asked: Asked| {
            asked.assignment != member.assignment || asked.deadline <= Instant::now()
        };
        if self.asked.is_some_and(is_late) {
            self.lose();
        }
        if self.asked.is_none() {
            self.asked = self.ask(member).await;
        }
        let (Some(asked), Some((line, _))) = (self.asked, &mut self.line) else {
            self.lose();
            self.stage.pause(200).await;
            return Vec::new();
        };
        // Time has to pass for who never lives.
        let within = member.until_beat().max(Duration::from_millis(10));
        let answer = match timeout(within, line.receive::<FetchResponse>(self.version)).await {
            Err(_) => {
                self.check_wait(member);
                return Vec::new();
            }
            Ok(Ok((id, answer))) if id == asked.id && answer.error_code == code::NONE => answer,
            Ok(Ok((id, answer))) => {
                let history = self.stage.history();
                history.fail(format!("fetch {} is answered {answer:?} as {id}", asked.id));
                return Vec::new();
            }
            Ok(Err(_)) => {
                self.lose();
                self.stage.pause(200).await;
                return Vec::new();
            }
        };
        self.asked = None;
        let topics = answer.responses.into_iter();
        let mut records = Vec::new();
        for found in topics.flat_map(|topic| topic.partitions) {
            self.take(member, &found, &mut records);
        }
        records
    }

    /// Nothing has come: is there nothing?
    fn check_wait(&mut self, member: &Member) {
        let history = self.stage.history();
        let mut positions = member.positions.iter();
        let due = positions.find(|it| history.is_acknowledged_from(it.partition, it.next));
        let (Some(due), Some(asked), true) = (due, &mut self.asked, self.stage.is_calm()) else {
            return;
        };
        let since = *asked.due_since.get_or_insert_with(Instant::now);
        if since.elapsed() > PROMPTLY {
            history.fail(format!(
                "offset {} of partition {} was acknowledged {PROMPTLY:?} ago, and a fetch waits for it",
                due.next, due.partition
            ));
        }
    }

    /// The connection is over.
    fn lose(&mut self) {
        self.line = None;
        self.asked = None;
    }

    async fn ask(&mut self, member: &Member) -> Option<Asked> {
        if self.line.is_none() {
            let mut line = Line::open(&self.stage, self.number, WITHIN).await?;
            let told = line.metadata(&self.stage).await?;
            self.line = Some((line, told));
        }
        let (line, told) = self.line.as_mut()?;
        let version = self.version;
        // However little is asked for, the first batch that is there comes.
        let partition_max_bytes = self.stage.among(&[1, 2_000, 1 << 16]);
        let max_bytes = self.stage.among(&[1, 5_000, 1 << 18]);
        let partitions = member.positions.iter().map(|position| {
            let mut wanted = FetchPartition::default()
                .with_partition(position.partition)
                .with_fetch_offset(position.next)
                .with_partition_max_bytes(partition_max_bytes);
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
        let max_wait_ms = self.stage.among(&[0, 500, FOR_EVER_MS, FOR_EVER_MS]);
        let request = FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(max_bytes)
            .with_topics(vec![topic]);
        let id = line.send(1, version, &request).await.ok()?;
        Some(Asked {
            id,
            assignment: member.assignment,
            deadline: Instant::now()
                + Duration::from_millis(max_wait_ms.unsigned_abs().into())
                + WITHIN,
            due_since: None,
        })
    }

    fn take(&mut self, member: &mut Member, found: &PartitionData, records: &mut Vec<Read>) {
        let (partition, code) = (found.partition_index, found.error_code);
        let mut positions = member.positions.iter_mut();
        let Some(position) = positions.find(|it| it.partition == partition) else {
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
