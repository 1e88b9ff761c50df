//! An idempotent producer, as Kafka's clients have it: many requests in flight on one connection, sequences, and the same
//! batches again over another connection when there was no answer.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::testing::simulation::{End, Signal, Stage};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use tokio::time::{Instant, sleep_until};

use super::lane::{Identity, Lane};
use super::line::{Line, Told};
use crate::kafka::tests::topic_name;

/// Kafka's codes that a producer minds.
mod code {
    pub(super) const NONE: i16 = 0;
    /// The sequence is not the next; or it is not the first, of a producer of which nothing is known in the partition.
    pub(super) const OUT_OF_ORDER: [i16; 2] = [45, 59];
    /// What a client asks again after: not the leader, timed out, too few replicas, a storage that failed, an epoch
    /// of the past.
    pub(super) const RETRIABLE: [i16; 5] = [6, 7, 19, 56, 74];
}

/// More than there are clients.
const AUTHORS: usize = 1_000;

/// How it does things.
#[derive(Clone, Copy, Debug)]
struct Choices {
    version: i16,
    acks: i16,
    in_flight_max: usize,
    batch_records_max: usize,
    request_timeout: Duration,
    delivery_timeout: Duration,
    backoff: Duration,
    pause_ms: u64,
    /// Whether a request has all that may be sent, or one partition's.
    is_gathering: bool,
}

struct Asked {
    id: i32,
    /// Partitions and the numbers of their batches.
    batches: Vec<(i32, u64)>,
    deadline: Instant,
}

struct Producer {
    stage: Stage,
    number: usize,
    /// Who it is for the history: another after its process has ended.
    author: usize,
    choices: Choices,
    identity: Option<Identity>,
    line: Option<(Line, Told)>,
    lanes: Vec<Lane>,
    asked: VecDeque<Asked>,
    next_batch: u64,
}

/// Sends so many records, and waits until all have come to an end.
pub(super) async fn produce(stage: Stage, number: usize, records: u64, done: Arc<Signal>) {
    let mut producer = Producer::new(stage.clone(), number);
    let mut left = records;
    let mut next_at = Instant::now();
    loop {
        producer.expire();
        if stage.chance(300) {
            producer.die();
        }
        if left > 0 && next_at <= Instant::now() && producer.has_room() {
            for _ in 0..=stage.below(8).min(left - 1) {
                producer.push();
                left -= 1;
            }
            let pause = stage.below(producer.choices.pause_ms + 1);
            next_at = Instant::now() + Duration::from_millis(pause);
        }
        if left == 0 && producer.is_empty() {
            break;
        }
        if producer.is_ready().await {
            producer.send().await;
            producer.wait((left > 0).then_some(next_at)).await;
        } else {
            stage.pause(300).await;
        }
    }
    stage.note(format!("kafka producer {number}: ends"));
    done.count();
}

impl Producer {
    fn new(stage: Stage, number: usize) -> Self {
        let request_timeout = Duration::from_millis(stage.among(&[500, 2_000, 10_000]));
        let more = Duration::from_millis(stage.among(&[100, 5_000, 120_000]));
        let choices = Choices {
            version: stage.among(&[3, 7, 9, 12, 13]),
            acks: stage.among(&[1, -1, -1]),
            in_flight_max: stage.among(&[1, 2, 5]),
            batch_records_max: stage.among(&[1, 4, 100]),
            request_timeout,
            delivery_timeout: request_timeout + more,
            backoff: Duration::from_millis(stage.among(&[1, 20, 100])),
            pause_ms: stage.among(&[1, 50, 500, 1_500]),
            is_gathering: stage.chance(2),
        };
        stage.note(format!("kafka producer {number}: {choices:?}"));
        Self {
            number,
            author: number,
            choices,
            identity: None,
            line: None,
            lanes: (0..stage.partitions()).map(Lane::new).collect(),
            asked: VecDeque::new(),
            next_batch: 0,
            stage,
        }
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty)
    }

    fn has_room(&self) -> bool {
        self.lanes.iter().map(Lane::len).sum::<usize>() < 100
    }

    fn expire(&mut self) {
        let timeout = self.choices.delivery_timeout;
        for lane in &mut self.lanes {
            lane.expire(&self.stage, timeout);
        }
        let overdue = self.asked.front();
        if overdue.is_some_and(|asked| asked.deadline <= Instant::now()) {
            self.lose("no answer in time");
        }
    }

    /// Its process ends, and another begins with nothing.
    fn die(&mut self) {
        self.lose("dies");
        for lane in &mut self.lanes {
            lane.abandon(&self.stage);
        }
        self.identity = None;
        self.author += AUTHORS;
    }

    fn push(&mut self) {
        let partition = self.stage.below(self.lanes.len() as u64) as i32;
        let number = self.stage.history().invoke(self.author, partition);
        let fill = self.stage.below(self.stage.among(&[8, 200, 2_000]));
        let value = format!("{number}:{}", "x".repeat(fill as usize));
        let most = self.choices.batch_records_max;
        self.lanes[partition as usize].push((number, value), most, &mut self.next_batch);
    }

    /// The connection is over: what was on its way is sent again.
    fn lose(&mut self, why: &str) {
        self.stage
            .note(format!("kafka producer {}: {why}", self.number));
        self.line = None;
        let not_before = Instant::now() + self.choices.backoff;
        for asked in std::mem::take(&mut self.asked) {
            for (partition, batch) in asked.batches {
                self.lanes[partition as usize].again(batch, not_before);
            }
        }
    }

    /// Whether it has a connection and an identity.
    async fn is_ready(&mut self) -> bool {
        if self.line.is_none() {
            let within = self.choices.request_timeout;
            let Some(mut line) = Line::open(&self.stage, self.number, within).await else {
                return false;
            };
            let Some(told) = line.metadata(&self.stage).await else {
                return false;
            };
            self.line = Some((line, told));
        }
        if self.identity.is_some() {
            return true;
        }
        let Some((line, _)) = &mut self.line else {
            return false;
        };
        let version = self.stage.among(&[0, 2, 4]);
        let mut request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        request.producer_id.0 = -1;
        request.producer_epoch = -1;
        let answer: std::io::Result<InitProducerIdResponse> = line.ask(22, version, &request).await;
        match answer {
            Ok(answer) if answer.error_code == code::NONE => {
                self.identity = Some((answer.producer_id.0, answer.producer_epoch));
                true
            }
            Ok(answer) => {
                if !code::RETRIABLE.contains(&answer.error_code) {
                    let history = self.stage.history();
                    history.fail(format!("no producer id, code {}", answer.error_code));
                }
                let why = format!("no producer id, code {}", answer.error_code);
                self.lose(&why);
                false
            }
            Err(error) => {
                self.lose(&error.to_string());
                false
            }
        }
    }

    /// Sends what may be sent.
    async fn send(&mut self) {
        while self.asked.len() < self.choices.in_flight_max {
            let (now, Some(mut identity)) = (Instant::now(), self.identity) else {
                return;
            };
            let mut ready = Vec::new();
            for lane in &mut self.lanes {
                if let Some((number, bytes)) = lane.next(now, &mut identity) {
                    ready.push((lane.partition, number, bytes));
                    if !self.choices.is_gathering {
                        break;
                    }
                }
            }
            self.identity = Some(identity);
            if ready.is_empty() {
                return;
            }
            self.ask(ready).await;
        }
    }

    async fn ask(&mut self, ready: Vec<(i32, u64, Bytes)>) {
        let Choices { version, acks, .. } = self.choices;
        let batches = ready
            .iter()
            .map(|(partition, batch, _)| (*partition, *batch));
        let batches = batches.collect();
        let data = ready.into_iter().map(|(partition, _, bytes)| {
            PartitionProduceData::default()
                .with_index(partition)
                .with_records(Some(bytes))
        });
        let mut topic = TopicProduceData::default().with_partition_data(data.collect());
        let deadline = Instant::now() + self.choices.request_timeout;
        let sent = match &mut self.line {
            Some((line, told)) => {
                if version >= 13 {
                    topic.topic_id = told.id;
                } else {
                    topic.name = topic_name(self.stage.topic());
                }
                let request = ProduceRequest::default()
                    .with_acks(acks)
                    .with_timeout_ms(30_000)
                    .with_topic_data(vec![topic]);
                line.send(0, version, &request).await
            }
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let asked = Asked {
            id: *sent.as_ref().unwrap_or(&-1),
            batches,
            deadline,
        };
        self.asked.push_back(asked);
        if let Err(error) = sent {
            self.lose(&error.to_string());
        }
    }

    /// Waits for an answer, or until there is something else to do.
    async fn wait(&mut self, next_at: Option<Instant>) {
        let timeout = self.choices.delivery_timeout;
        let times = self.lanes.iter().filter_map(|lane| lane.next_time(timeout));
        let deadline = self.asked.front().map(|asked| asked.deadline);
        let has_room = self.has_room();
        let next_at = next_at.filter(|_| has_room);
        let until = times.chain(deadline).chain(next_at).min();
        let slept = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let version = self.choices.version;
        let Some((line, _)) = &mut self.line else {
            return slept.await;
        };
        let answer = tokio::select! {
            biased;
            answer = line.receive::<ProduceResponse>(version) => answer,
            () = slept => return,
        };
        match answer {
            Ok((id, answer)) => self.answered(id, answer),
            Err(error) => self.lose(&error.to_string()),
        }
    }

    fn answered(&mut self, id: i32, answer: ProduceResponse) {
        let Some(asked) = self.asked.pop_front() else {
            return self.stage.history().fail("an answer to nothing".to_owned());
        };
        let mut answers = answer.responses.into_iter();
        let answers = answers.next().map(|topic| topic.partition_responses);
        let answers = answers.unwrap_or_default();
        let partitions = answers.iter().map(|answer| answer.index);
        if asked.id != id || !partitions.eq(asked.batches.iter().map(|it| it.0)) {
            let history = self.stage.history();
            return history.fail(format!("another answer than to request {}", asked.id));
        }
        for ((partition, batch), answer) in asked.batches.into_iter().zip(answers) {
            self.told(partition, batch, &answer);
        }
    }

    /// What became of a batch.
    fn told(&mut self, partition: i32, batch: u64, answer: &PartitionProduceResponse) {
        let (stage, lane) = (&self.stage, &mut self.lanes[partition as usize]);
        let (code, base) = (answer.error_code, answer.base_offset);
        stage.note(format!(
            "batch {batch} in {partition}: code {code}, at {base}"
        ));
        if code == code::NONE {
            // None: it was given up before.
            let records = lane.take(batch).map(|batch| batch.records);
            for (place, (record, _)) in (0..).zip(records.unwrap_or_default()) {
                stage
                    .history()
                    .ended(record, End::Acknowledged(base + place));
            }
            return;
        }
        let is_out_of_order = code::OUT_OF_ORDER.contains(&code);
        if code::RETRIABLE.contains(&code) || (is_out_of_order && !lane.is_first(batch)) {
            return lane.again(batch, Instant::now() + self.choices.backoff);
        }
        if !(is_out_of_order && lane.is_unsure) {
            // All before it are acknowledged, so there is nothing that it could be out of order with.
            stage.history().fail(format!(
                "batch {batch} in {partition}: code {code}, {:?}",
                answer.error_message
            ));
        }
        lane.is_unsure = true;
        // An earlier copy may be on its way still, behind one that was given up.
        for (record, _) in lane.take(batch).map(|it| it.records).unwrap_or_default() {
            stage.history().ended(record, End::Unknown);
        }
    }
}
