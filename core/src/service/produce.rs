//! Producing: a batch is checked once, here, and then only stamped and written.

use std::sync::Arc;

use bytes::Bytes;

use super::{Inner, Run, unknown_partition, unknown_topic};
use crate::completion::{Completion, Wakes};
use crate::engine::topics::Topic;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{Durability, PartitionId};
use crate::limits;
use crate::log::{Append, Appended, Kind, PAYLOAD_VERSION, control};
use crate::protocol::response::{ProduceAck, Response};
use crate::record::batch::{self, BatchHeader, TimestampType};
use crate::record::{Batch, BatchError, CompressionProblem};

/// A batch on its way in.
pub(super) struct Produce {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) durability: Option<Durability>,
    /// Whether this process encoded it.
    pub(super) is_trusted: bool,
}

/// The producer ids that are ours to give: reserved in the log in blocks, ahead of need.
#[derive(Debug)]
pub(super) struct ProducerIds {
    next: i64,
    end: i64,
    is_reserving: bool,
    waiting: Vec<Completion<Response>>,
}

impl ProducerIds {
    pub(super) fn new(first_free: i64) -> Self {
        Self {
            next: first_free,
            end: first_free,
            is_reserving: false,
            waiting: Vec::new(),
        }
    }

    fn take(&mut self) -> Option<i64> {
        (self.next < self.end).then(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

impl Inner {
    pub(super) fn produce(
        self: &Arc<Self>,
        produce: Produce,
        mut payload: Bytes,
        run: Run,
        completion: Completion<Response>,
    ) {
        if self.auto_create_topics && self.state.topics.read().get(&produce.topic).is_none() {
            let inner = Arc::clone(self);
            let name = produce.topic.clone();
            return self.create_missing(vec![name], move |created, wakes| match created {
                Ok(()) if inner.state.topics.read().get(&produce.topic).is_none() => {
                    completion.complete(Err(unknown_topic(&produce.topic)), wakes);
                }
                Ok(()) => inner.produce(produce, payload, Run::Io, completion),
                Err(error) => completion.complete(Err(error), wakes),
            });
        }
        match self.check_produce(&produce, &mut payload) {
            Ok((topic, partition)) => {
                let append = Append {
                    kind: Kind::Records,
                    version: PAYLOAD_VERSION,
                    partition,
                    payload: Vec::from(payload),
                    ack: produce.durability.unwrap_or(topic.config.durability),
                    topic: topic.config.durability,
                    log_append_time: topic.config.is_log_append_time,
                    completion: acknowledge(topic.name, produce.partition, completion),
                };
                self.log.append(append, run);
            }
            Err(error) => completion.finish(Err(error)),
        }
    }

    /// Whether a batch may be appended, and where. What a stranger's says of its records is put right in it.
    pub(super) fn check_produce(
        &self,
        produce: &Produce,
        payload: &mut Bytes,
    ) -> Result<(Topic, PartitionId)> {
        let topic = self.state.topics.read().get(&produce.topic).cloned();
        let topic = topic.ok_or_else(|| unknown_topic(&produce.topic))?;
        let partition = topic.partition(produce.partition).ok_or_else(|| {
            unknown_partition(&topic.name, produce.partition, topic.partitions.len())
        })?;
        let id = partition.id;
        self.check_level(produce.durability)?;
        let max_bytes = topic.config.max_message_bytes as usize;
        if payload.len() > max_bytes {
            return Err(Error::new(
                ErrorCode::MessageTooLarge,
                format!(
                    "a record batch of {} bytes for topic `{}`; its max_message_bytes is {max_bytes}",
                    payload.len(),
                    topic.name
                ),
            ));
        }
        check_batch(payload, produce.is_trusted, &topic.name)?;
        if topic.config.cleanup_policy.compacts() {
            check_keys(payload, &topic.name, produce.partition)?;
        }
        Ok((topic, id))
    }

    fn check_level(&self, wished: Option<Durability>) -> Result<()> {
        match wished {
            Some(Durability::Quorum) => Err(Error::new(
                ErrorCode::UnsupportedFeature,
                "durability `quorum` needs a cluster, which is not there yet; use `disk`",
            )),
            Some(Durability::Disk) if !self.is_durable => Err(Error::new(
                ErrorCode::InvalidOption,
                format!(
                    "durability `disk` cannot be had: {} lives in memory; use `os`",
                    self.name
                ),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn init_producer(self: &Arc<Self>, run: Run, completion: Completion<Response>) {
        let mut ids = self.producer_ids.lock();
        if let Some(producer_id) = ids.take() {
            drop(ids);
            return completion.finish(Ok(Response::Producer {
                producer_id,
                producer_epoch: 0,
            }));
        }
        let first = ids.end;
        if first.checked_add(limits::PRODUCER_ID_BLOCK).is_none() {
            drop(ids);
            return completion.finish(Err(Error::new(
                ErrorCode::KafkaStorageError,
                format!(
                    "{} has no producer ids left: the next is {first}",
                    self.name
                ),
            )));
        }
        ids.waiting.push(completion);
        if std::mem::replace(&mut ids.is_reserving, true) {
            return;
        }
        drop(ids);
        let block = control::ProducerIds {
            first,
            count: limits::PRODUCER_ID_BLOCK,
        };
        let inner = Arc::clone(self);
        let reserved = Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
            inner.reserved(first, result, wakes);
        });
        self.append_control(
            Kind::ProducerIds,
            PartitionId(0),
            &block,
            None,
            run,
            reserved,
        );
    }

    /// A block of producer ids is ours, or is not: answers all who waited for it.
    fn reserved(self: &Arc<Self>, first: i64, result: Result<Appended>, wakes: &mut Wakes) {
        let mut ids = self.producer_ids.lock();
        ids.is_reserving = false;
        let waiting = std::mem::take(&mut ids.waiting);
        let answer = match result {
            Ok(_) => {
                ids.next = first;
                ids.end = first.saturating_add(limits::PRODUCER_ID_BLOCK);
                Ok(())
            }
            Err(error) => Err(error),
        };
        drop(ids);
        for completion in waiting {
            let taken = match &answer {
                Ok(()) => self.producer_ids.lock().take(),
                Err(error) => {
                    completion.complete(Err(error.clone()), wakes);
                    continue;
                }
            };
            // The lock is free again: whoever got none takes it, to reserve the next block. (More may
            // have waited than one holds.)
            let Some(producer_id) = taken else {
                self.init_producer(Run::Io, completion);
                continue;
            };
            let producer = Response::Producer {
                producer_id,
                producer_epoch: 0,
            };
            completion.complete(Ok(producer), wakes);
        }
    }

    /// Appends a control entry at the level of identities, or at `level`.
    pub(super) fn append_control(
        &self,
        kind: Kind,
        partition: PartitionId,
        payload: &impl serde::Serialize,
        level: Option<Durability>,
        run: Run,
        completion: Completion<Appended>,
    ) {
        match postcard::to_stdvec(payload) {
            Ok(payload) if payload.len() <= limits::CONTROL_BYTES_MAX => {
                self.append_encoded(kind, partition, payload, level, run, completion);
            }
            Ok(payload) => completion.finish(Err(Error::new(
                ErrorCode::MessageTooLarge,
                format!(
                    "the request makes an entry of {} bytes; at most {} are allowed",
                    payload.len(),
                    limits::CONTROL_BYTES_MAX
                ),
            ))),
            Err(error) => completion.finish(Err(Error::new(
                ErrorCode::UnknownServerError,
                "a control entry could not be encoded",
            )
            .with_source(error))),
        }
    }

    pub(super) fn append_encoded(
        &self,
        kind: Kind,
        partition: PartitionId,
        payload: Vec<u8>,
        level: Option<Durability>,
        run: Run,
        completion: Completion<Appended>,
    ) {
        let frame = (kind, PAYLOAD_VERSION, partition);
        self.append_version(frame, payload, level, run, completion);
    }

    /// The same with the version of the payload.
    pub(super) fn append_version(
        &self,
        (kind, version, partition): (Kind, u16, PartitionId),
        payload: Vec<u8>,
        level: Option<Durability>,
        run: Run,
        completion: Completion<Appended>,
    ) {
        let append = self.control_entry((kind, version, partition), payload, level, completion);
        self.log.append(append, run);
    }

    /// An entry with a control payload, at the level of identities or at `level`.
    pub(super) fn control_entry(
        &self,
        (kind, version, partition): (Kind, u16, PartitionId),
        payload: Vec<u8>,
        level: Option<Durability>,
        completion: Completion<Appended>,
    ) -> Append {
        let level = level.unwrap_or_else(|| self.identity_level());
        Append {
            kind,
            version,
            partition,
            payload,
            ack: level,
            topic: level,
            log_append_time: false,
            completion,
        }
    }
}

/// Every record for a compacted topic has a key: without one nothing could ever take its place.
fn check_keys(payload: &Bytes, topic: &str, partition: i32) -> Result<()> {
    let batch = Batch::already_verified(payload.clone());
    let invalid = |error: BatchError| Error::new(ErrorCode::CorruptMessage, error.to_string());
    for (at, record) in batch.map_err(invalid)?.records().enumerate() {
        if record.map_err(invalid)?.key.is_none() {
            return Err(Error::new(
                ErrorCode::InvalidRecord,
                format!(
                    "record {at} of a batch for topic `{topic}`, partition {partition} has no key; the topic is \
                     compacted, and every record of it needs one"
                ),
            ));
        }
    }
    Ok(())
}

fn check_batch(payload: &mut Bytes, is_trusted: bool, topic: &str) -> Result<()> {
    // Readers decode what is stored: a stranger's batch must be one that can be decoded to its end.
    let checked = if is_trusted {
        batch::verify(payload)
    } else {
        batch::verify_records(payload)
    };
    let header = checked.map_err(|error| refused(error, topic))?;
    check_header(&header, topic)?;
    if !is_trusted && header.timestamp_type() == TimestampType::LogAppendTime {
        let message = format!(
            "a batch for topic `{topic}` with the time of its append, which is the log's to say"
        );
        return Err(Error::new(ErrorCode::InvalidRecord, message));
    }
    let said = BatchHeader::parse(payload).map_err(|error| refused(error, topic))?;
    if said.max_timestamp_ms != header.max_timestamp_ms {
        // By it records are looked up by time: one that is not theirs would hide them, or others behind them.
        let mut bytes = Vec::from(std::mem::take(payload));
        batch::stamp_max_timestamp(&mut bytes, header.max_timestamp_ms);
        *payload = Bytes::from(bytes);
    }
    Ok(())
}

fn refused(error: BatchError, topic: &str) -> Error {
    let code = match &error {
        BatchError::UnsupportedCodec { .. } | BatchError::UnknownCodec { .. } => {
            ErrorCode::UnsupportedCompressionType
        }
        BatchError::Compression {
            problem: CompressionProblem::TooLarge { .. },
            ..
        } => ErrorCode::MessageTooLarge,
        _ => ErrorCode::CorruptMessage,
    };
    let message = format!("a record batch for topic `{topic}`: {error}");
    Error::new(code, message).with_source(error)
}

fn check_header(header: &BatchHeader, topic: &str) -> Result<()> {
    let codec = header.codec();
    if !codec.is_supported() {
        return Err(refused(BatchError::UnsupportedCodec { codec }, topic));
    }
    if header.is_control() || header.is_transactional() {
        return Err(Error::new(
            ErrorCode::InvalidRecord,
            format!("a transactional or control batch for topic `{topic}`, outside a transaction"),
        ));
    }
    let is_whole = header.record_count > 0 && header.last_offset_delta == header.record_count - 1;
    if !is_whole {
        return Err(Error::new(
            ErrorCode::InvalidRecord,
            format!(
                "a batch for topic `{topic}` counts {} records with a last offset delta of {}",
                header.record_count, header.last_offset_delta
            ),
        ));
    }
    Ok(())
}

/// Turns what the log says of an append into the producer's acknowledgement.
fn acknowledge(
    topic: Arc<str>,
    partition: i32,
    completion: Completion<Response>,
) -> Completion<Appended> {
    Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
        let answer = result.map(|appended| {
            Response::Produced(ProduceAck {
                base_offset: appended.base_offset,
                append_time_ms: appended.append_time_ms,
                durability: appended.durability,
                is_duplicate: appended.is_duplicate,
            })
        });
        let answer = answer.map_err(|error| {
            let message = format!("topic `{topic}`, partition {partition}: {error}");
            Error::new(error.code(), message)
                .with_outcome(error.outcome())
                .with_source(error)
        });
        completion.complete(answer, wakes);
    })
}

#[cfg(test)]
mod tests;
