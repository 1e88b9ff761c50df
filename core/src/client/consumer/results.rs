//! Results that are sent with a commit: which partitions they go to, and the batches they become.
//!
//! When their turn among the commits comes, the topics are asked for, the records become batches, and all of
//! it is one request with the positions that were passed when the results were handed over.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Consumer;
use super::state::State;
use crate::client::admin::unexpected;
use crate::client::producer::{Lookup, Record, RecordMetadata, lookup, now_ms, unknown_partition};
use crate::completion::{Completion, Pending, Wakes};
use crate::error::{Error, ErrorCode, Outcome, Result};
use crate::limits::SET_BYTES_MAX;
use crate::protocol::request::{Member, PartitionOffset, Request, SetBatch};
use crate::protocol::response::{ProduceAck, Response};
use crate::record::{BatchBuilder, BatchError, HeadersRef, RecordRef, pack_header};
use crate::record::{batch::HEADER_BYTES, partition_for_key};

/// Bytes of a batch's buffer at first.
const BUFFER_BYTES: usize = 4 * 1_024;

/// Records to be sent, and who is told where they went.
#[derive(Debug)]
pub(super) struct Results {
    records: Vec<Owned>,
    pub(super) done: Completion<Vec<RecordMetadata>>,
}

/// A record until its turn comes.
#[derive(Debug)]
struct Owned {
    topic: Arc<str>,
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// Packed.
    headers: Vec<u8>,
    timestamp_ms: i64,
}

/// The batches of one request.
#[derive(Default)]
struct Batches {
    batches: Vec<SetBatch>,
    payload: Vec<u8>,
    /// Of each record, its batch and its place in that.
    places: Vec<(usize, u32)>,
}

/// A batch that still takes records.
struct Building {
    builder: BatchBuilder,
    size_bytes: usize,
    /// Of each record in it, its place among the results.
    members: Vec<usize>,
}

impl Consumer {
    /// Sends records, and commits the positions passed, as one append: both happen, or neither does. For
    /// reading one topic and writing what comes of it to another: after a crash nothing is missing and
    /// nothing is there twice.
    ///
    /// Every record given out so far counts as processed, also the block or batch given out last: call it
    /// for each, or for several together, before their results are forgotten. From the first call on nothing
    /// is committed unasked, neither in time nor at close; who takes several together from the beginning calls
    /// it once before, without results. Each result is a topic and a record; without a
    /// partition its key chooses, as in a producer, and records without key go to one partition a call.
    /// They are sent uncompressed and without a producer's sequences: what keeps them from being there twice
    /// is the position that is committed with them. Returns where they went, in order. The answer waits for
    /// the highest durability among the topics.
    ///
    /// ```
    /// use headwater::{ConsumerOptions, ProducerOptions, Record, TopicOptions};
    ///
    /// let db = headwater::connect("mem:").wait(None)?;
    /// for topic in ["orders", "bills"] {
    ///     db.admin().create_topic(topic, TopicOptions::default()).wait(None)?;
    /// }
    /// let producer = db.producer(ProducerOptions::default())?;
    /// producer.send("orders", &Record::new(b"two shirts").with_key(b"k1"))?.wait(None)?;
    ///
    /// let options = ConsumerOptions { group: Some("billing".into()), ..Default::default() };
    /// let consumer = db.consumer(&["orders"], options)?;
    /// let batch = consumer.next_batch_wait(None)?.expect("an order was sent");
    /// let orders = batch.records().collect::<Result<Vec<_>, _>>()?;
    /// let bills: Vec<_> = orders.iter().map(|order| ("bills", Record { key: order.key, ..Record::new(b"40") })).collect();
    /// let sent = consumer.commit_with(&bills).wait(None)?;
    /// assert_eq!((&*sent[0].topic, sent[0].offset), ("bills", 0));
    /// assert_eq!(consumer.committed().wait(None)?[0].offset, 1);
    /// consumer.close(None).wait(None)?;
    /// # Ok::<(), headwater::Error>(())
    /// ```
    ///
    /// # Errors
    /// `INVALID_STATE` without a group, with `ack=manual`, or before the consumer is open; what the group
    /// says; what a topic says of a record, naming it and the partition. If the outcome is not known, or something
    /// that was given out went to another member before it was committed, the consumer ends: opened again, it
    /// goes on where the group is.
    pub fn commit_with(&self, results: &[(&str, Record<'_>)]) -> Pending<Vec<RecordMetadata>> {
        self.commit_rows_with(u32::MAX, results)
    }

    /// The same for a host that is in the middle of a block: of that only the first `rows` rows count as
    /// processed, as with [`progress`](Self::progress).
    ///
    /// # Errors
    /// As [`commit_with`](Self::commit_with).
    pub fn commit_rows_with(
        &self,
        rows: u32,
        results: &[(&str, Record<'_>)],
    ) -> Pending<Vec<RecordMetadata>> {
        let state = self.state();
        if let Err(error) = state.check_commit_with() {
            return Pending::ready(Err(error));
        }
        let (completion, pending) = Completion::pair();
        match Results::new(results, completion) {
            Ok(results) => state.commit_with(results, rows),
            Err(error) => return Pending::ready(Err(error)),
        }
        self.assisted(pending)
    }
}

impl Results {
    /// Copies the records.
    ///
    /// # Errors
    /// `INVALID_RECORD` for headers that cannot be encoded; `MESSAGE_TOO_LARGE` for more than one append
    /// takes.
    pub(super) fn new(
        results: &[(&str, Record<'_>)],
        done: Completion<Vec<RecordMetadata>>,
    ) -> Result<Self> {
        let (mut topics, mut records) = (HashMap::<&str, Arc<str>>::new(), Vec::new());
        let mut size_bytes = 0_usize;
        for (topic, record) in results {
            let name = topics.entry(topic).or_insert_with(|| Arc::from(*topic));
            let mut headers = Vec::new();
            for header in record.headers {
                pack_header(&mut headers, header).map_err(|error| {
                    let message = format!("a record for topic `{topic}`: {error}");
                    Error::new(ErrorCode::InvalidRecord, message)
                })?;
            }
            let owned = Owned {
                topic: Arc::clone(name),
                partition: record.partition,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers,
                timestamp_ms: record.timestamp_ms.unwrap_or_else(now_ms),
            };
            size_bytes = size_bytes.saturating_add(BatchBuilder::estimate(&owned.as_ref()));
            if size_bytes > SET_BYTES_MAX {
                return Err(Error::new(
                    ErrorCode::MessageTooLarge,
                    format!(
                        "{} results have more than the {SET_BYTES_MAX} bytes that one append takes",
                        results.len()
                    ),
                ));
            }
            records.push(owned);
        }
        Ok(Self { records, done })
    }

    fn topics(&self) -> Vec<String> {
        let mut names: Vec<_> = self.records.iter().map(|it| it.topic.to_string()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Where each record went.
    fn placed(&self, batches: &Batches, acks: &[ProduceAck]) -> Option<Vec<RecordMetadata>> {
        let pairs = self.records.iter().zip(&batches.places);
        let placed = pairs.map(|(record, (number, index))| {
            let (ack, batch) = (acks.get(*number)?, batches.batches.get(*number)?);
            let stamped = (ack.append_time_ms >= 0).then_some(ack.append_time_ms);
            Some(RecordMetadata {
                topic: Arc::clone(&record.topic),
                partition: batch.partition,
                offset: ack.base_offset.saturating_add(i64::from(*index)),
                timestamp_ms: stamped.unwrap_or(record.timestamp_ms),
                durability: ack.durability,
            })
        });
        placed.collect()
    }

    /// Makes batches; of the records of a partition in order.
    fn encode(&self, known: &HashMap<String, Lookup>, keyless: u32) -> Result<Batches> {
        let mut batches = Batches {
            places: vec![(0, 0); self.records.len()],
            ..Batches::default()
        };
        let mut open = HashMap::<(&str, i32), Building>::new();
        let mut order = Vec::new();
        for (at, record) in self.records.iter().enumerate() {
            let topic = &*record.topic;
            let lookup = known.get(topic).copied().ok_or_else(|| {
                let message = format!("the log did not describe topic `{topic}`");
                Error::new(ErrorCode::UnknownServerError, message)
            })?;
            let partition = record.choose(lookup.partitions, keyless)?;
            let size_bytes = BatchBuilder::estimate(&record.as_ref());
            let building = open.entry((topic, partition)).or_insert_with(|| {
                order.push((topic, partition));
                Building::new()
            });
            if building.size_bytes + size_bytes > lookup.max_batch_bytes {
                batches.close(topic, partition, building);
            }
            building.size_bytes += size_bytes;
            let pushed = building.builder.push(&record.as_ref());
            pushed.map_err(|error| refused(topic, partition, &error))?;
            building.members.push(at);
        }
        for (topic, partition) in order {
            if let Some(building) = open.get_mut(&(topic, partition)) {
                batches.close(topic, partition, building);
            }
        }
        Ok(batches)
    }
}

impl Owned {
    fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: HeadersRef::Packed(&self.headers),
        }
    }

    fn choose(&self, partitions: i32, keyless: u32) -> Result<i32> {
        match (self.partition, &self.key) {
            (Some(partition), _) if (0..partitions).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(unknown_partition(&self.topic, partition, partitions)),
            (None, Some(key)) => Ok(partition_for_key(key, partitions)),
            // Fits: it is below a count that does.
            (None, None) => Ok((keyless % partitions.unsigned_abs().max(1)) as i32),
        }
    }
}

impl Building {
    fn new() -> Self {
        Self {
            builder: BatchBuilder::new(BUFFER_BYTES),
            size_bytes: HEADER_BYTES,
            members: Vec::new(),
        }
    }
}

impl Batches {
    fn close(&mut self, topic: &str, partition: i32, building: &mut Building) {
        let Some(bytes) = building.builder.finish(-1, -1, -1) else {
            return;
        };
        let number = self.batches.len();
        for (index, at) in (0..).zip(building.members.drain(..)) {
            if let Some(place) = self.places.get_mut(at) {
                *place = (number, index);
            }
        }
        building.size_bytes = HEADER_BYTES;
        self.batches.push(SetBatch {
            topic: topic.to_owned(),
            partition,
            // The builder takes no more than a batch may have.
            size_bytes: bytes.len() as u32,
        });
        self.payload.extend_from_slice(&bytes);
    }
}

impl State {
    /// Whether results may be sent with a commit.
    ///
    /// # Errors
    /// `CLOSED`, `INVALID_STATE`.
    pub(super) fn check_commit_with(&self) -> Result<()> {
        self.check_open()?;
        self.group()?;
        self.check_not_processing()?;
        if self.settings.is_manual {
            return Err(Error::new(
                ErrorCode::InvalidState,
                "results are committed with all that was given out, and this consumer has `ack=manual`; open \
                 it with `ack=auto`",
            ));
        }
        if self.reader.lock().is_none() {
            return Err(Self::not_open());
        }
        Ok(())
    }

    /// Sends results with the offsets they are of: their turn has come.
    pub(super) fn send_results(
        self: &Arc<Self>,
        results: Results,
        offsets: Vec<PartitionOffset>,
        member: Option<Member>,
    ) {
        let names = results.topics();
        if names.is_empty() {
            let nothing = Batches::default();
            return self.send_batches(results, nothing, offsets, member, &mut Wakes::new());
        }
        let state = Arc::clone(self);
        let described = Completion::call(move |answer: Result<Response>, wakes: &mut Wakes| {
            let batches = match answer {
                Ok(Response::Topics(topics)) => {
                    let known = topics.iter().map(|it| (it.name.clone(), lookup(it)));
                    let keyless = state.commits.lock().next_keyless();
                    results.encode(&known.collect(), keyless)
                }
                Ok(other) => Err(unexpected(&other)),
                Err(error) => Err(error.with_outcome(Outcome::NotDone)),
            };
            match batches {
                Ok(batches) => state.send_batches(results, batches, offsets, member, wakes),
                Err(error) => {
                    state.end_results(Some(&error));
                    results.done.complete(Err(error), wakes);
                }
            }
        });
        self.transport
            .submit(Request::DescribeTopics { names }, Bytes::new(), described);
    }

    fn send_batches(
        self: &Arc<Self>,
        results: Results,
        mut batches: Batches,
        offsets: Vec<PartitionOffset>,
        member: Option<Member>,
        wakes: &mut Wakes,
    ) {
        let Some(group) = self.settings.group.clone() else {
            return results.done.complete(Ok(Vec::new()), wakes);
        };
        let payload = Bytes::from(std::mem::take(&mut batches.payload));
        let request = Request::ProduceAndCommit {
            batches: batches.batches.clone(),
            group,
            member,
            offsets: offsets.clone(),
        };
        let state = Arc::clone(self);
        let answered = Completion::call(move |answer: Result<Response>, wakes: &mut Wakes| {
            let answer = answer.and_then(|response| match response {
                Response::ProducedAll(acks) => results
                    .placed(&batches, &acks)
                    .ok_or_else(|| unexpected(&Response::ProducedAll(acks))),
                other => Err(unexpected(&other)),
            });
            if answer.is_ok() {
                state.fetcher.lock().committed(&offsets);
            }
            state.end_results(answer.as_ref().err());
            results.done.complete(answer, wakes);
        });
        self.transport.submit(request, payload, answered);
    }
}

fn refused(topic: &str, partition: i32, error: &BatchError) -> Error {
    let code = match error {
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        _ => ErrorCode::InvalidRecord,
    };
    let message = format!("a record for topic `{topic}`, partition {partition}: {error}");
    Error::new(code, message)
}
