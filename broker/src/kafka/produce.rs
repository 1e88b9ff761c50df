//! Produce: each partition's record batch goes to the log as it came.
//!
//! Acknowledged is at the topic's level, whether 1 or all were asked for; who asks for none is told nothing. What a
//! batch may be is as at Kafka's own brokers: one a partition, of magic 2. Of a partition that is named more than once
//! the last batch is taken and the others are not, as there.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use headwater::completion::Wakes;
use headwater::engine::topics::Topic;
use headwater::protocol::request::Request as NativeRequest;
use headwater::protocol::response::{ProduceAck, Response};
use headwater::server::Place;
use headwater::service::Run;
use headwater::{Completion, Error, ErrorCode, Pending};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{self, Failure, code};
use super::wire::{Malformed, Writer};

/// The first version that may carry zstd.
const VERSION_WITH_ZSTD: i16 = 7;
/// The first version that names topics by their ids.
const VERSION_WITH_IDS: i16 = 13;

/// Where a batch's attributes and its magic stand, and what says how long it is.
const LENGTH_POSITION: usize = 8;
const LENGTH_END: usize = 12;
const MAGIC_POSITION: usize = 16;
const ATTRIBUTES_LOW_POSITION: usize = 22;
const CODEC_BITS: u8 = 0b111;
const LOG_APPEND_TIME_BIT: u8 = 0b1000;
const ZSTD: u8 = 4;

/// A topic of a request.
#[derive(Debug)]
struct Asked {
    name: String,
    id: [u8; 16],
    partitions: Vec<(i32, Option<Bytes>)>,
}

/// A topic on its way, with what is known of each of its partitions.
struct UnderWay {
    name: String,
    id: [u8; 16],
    topic: Option<Topic>,
    partitions: Vec<(i32, Result<Pending<Response>, Failure>)>,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let (version, is_flexible) = (request.version, request.is_flexible);
    let place = request.place.take();
    let fields = &mut request.fields;
    let is_transactional = fields.nullable_string("transactional_id")?.is_some();
    let acks = fields.i16("acks")?;
    fields.i32("timeout_ms")?;
    let mut topics = fields.array("topic_data", |fields| {
        let (mut name, mut id) = (String::new(), [0; 16]);
        if version >= VERSION_WITH_IDS {
            id = fields.uuid("topic_id")?;
        } else {
            fields.string("name")?.clone_into(&mut name);
        }
        let partitions = fields.array("partition_data", |fields| {
            let index = fields.i32("index")?;
            let records = fields.nullable_bytes("records")?;
            fields.tags()?;
            Ok((index, records))
        })?;
        fields.tags()?;
        Ok(Asked {
            name,
            id,
            partitions,
        })
    })?;
    fields.end()?;
    keep_last(&mut topics);
    let refusal = if !(-1..=1).contains(&acks) {
        let words = format!("acks is {acks}; it must be 0, 1 or -1 (all)");
        Some(Failure::new(code::INVALID_REQUIRED_ACKS, words))
    } else {
        is_transactional.then(Failure::no_transactions)
    };
    let under_way = topics.into_iter().map(|asked| match &refusal {
        Some(refusal) => refused(asked, refusal),
        None => start(context, version, asked, place.as_ref()),
    });
    let under_way: Vec<_> = under_way.collect();
    Ok(Answer::later(async move {
        let (reply, is_done) = finish(under_way, version, is_flexible).await;
        match acks {
            // Whoever wants no answer is held back by what is in flight all the same, and looks at the metadata
            // again when the connection ends.
            0 if is_done => Reply::Nothing,
            0 => Reply::End,
            _ => reply,
        }
    }))
}

/// Leaves of each partition what is said of it last.
fn keep_last(topics: &mut Vec<Asked>) {
    if let [topic] = topics.as_slice()
        && topic.partitions.len() == 1
    {
        return;
    }
    let mut seen = HashSet::new();
    // A name may be long, and is looked at once for all of its partitions.
    let mut numbers = HashMap::new();
    let mut is_again = false;
    for topic in topics.iter_mut().rev() {
        let Asked {
            name,
            id,
            partitions,
        } = topic;
        let next = numbers.len();
        let number = *numbers.entry((&*name, *id)).or_insert(next);
        partitions.reverse();
        partitions.retain(|(index, _)| {
            let is_last = seen.insert((number, *index));
            is_again |= !is_last;
            is_last
        });
        partitions.reverse();
    }
    if is_again {
        headwater::seldom!(
            warn,
            "a Kafka client sent more than one record batch for a partition in one request: the last was taken"
        );
    }
    topics.retain(|topic| !topic.partitions.is_empty());
}

fn refused(asked: Asked, refusal: &Failure) -> UnderWay {
    let partitions = asked.partitions.into_iter();
    UnderWay {
        name: asked.name,
        id: asked.id,
        topic: None,
        partitions: partitions
            .map(|(index, _)| (index, Err(refusal.clone())))
            .collect(),
    }
}

/// Hands a topic's batches to the log.
fn start(context: &Context, version: i16, asked: Asked, place: Option<&Place>) -> UnderWay {
    let service = context.service();
    let topic = if version >= VERSION_WITH_IDS {
        service.topic_by_uuid(&asked.id)
    } else {
        service.topic(&asked.name)
    };
    let unknown = if version >= VERSION_WITH_IDS {
        Failure::new(code::UNKNOWN_TOPIC_ID, "there is no topic of this id")
    } else {
        Failure::new(
            code::UNKNOWN_TOPIC_OR_PARTITION,
            // Without its name, which may be long, and stands in the answer.
            "the topic does not exist",
        )
    };
    let partitions = asked.partitions.into_iter().map(|(index, records)| {
        let name = topic.as_ref().map(|topic| &topic.name);
        let started = name.ok_or_else(|| unknown.clone()).and_then(|name| {
            let payload = check(records.unwrap_or_default(), version)?;
            let (completion, pending) = Completion::pair();
            let completion = giving_back(place.cloned(), completion);
            let produce = NativeRequest::Produce {
                topic: name.to_string(),
                partition: index,
                durability: None,
            };
            let session = context.session();
            session.submit(produce, payload, Run::Prompt, completion);
            Ok(pending)
        });
        (index, started)
    });
    UnderWay {
        name: asked.name,
        id: asked.id,
        partitions: partitions.collect(),
        topic,
    }
}

/// The same, giving the room for it back once the batch is appended, whoever reads the answer and when.
fn giving_back(place: Option<Place>, completion: Completion<Response>) -> Completion<Response> {
    Completion::call(
        move |result: headwater::Result<Response>, wakes: &mut Wakes| {
            completion.complete(result, wakes);
            if let Some(place) = place {
                wakes.push(place.give_back());
            }
        },
    )
}

/// Whether it is one batch, and of the kind that is taken. What it holds the service looks at.
fn check(records: Bytes, version: i16) -> Result<Bytes, Failure> {
    let refused = |why: &str| Err(Failure::new(code::INVALID_RECORD, why));
    let Some(&magic) = records.get(MAGIC_POSITION) else {
        return refused("there is no record batch");
    };
    if magic != 2 {
        return refused("a record batch of another magic than 2");
    }
    let length = records.get(LENGTH_POSITION..LENGTH_END);
    let length = length.and_then(|length| <[u8; 4]>::try_from(length).ok());
    let length = length.map_or(0, u32::from_be_bytes) as usize;
    if records.len() - LENGTH_END > length {
        return refused("more than one record batch for a partition");
    }
    let attributes = records.get(ATTRIBUTES_LOW_POSITION).copied();
    if attributes.is_some_and(|bits| bits & LOG_APPEND_TIME_BIT != 0) {
        return Err(Failure::new(
            code::INVALID_TIMESTAMP,
            "a record batch with the time of its append, which is the broker's to say",
        ));
    }
    if version < VERSION_WITH_ZSTD && attributes.is_some_and(|bits| bits & CODEC_BITS == ZSTD) {
        return Err(Failure::new(
            code::UNSUPPORTED_COMPRESSION_TYPE,
            "zstd, in a version of the request that has none",
        ));
    }
    Ok(records)
}

/// Waits for the acknowledgements, in order, and writes the answer; says too whether all there is was appended.
async fn finish(topics: Vec<UnderWay>, version: i16, is_flexible: bool) -> (Reply, bool) {
    let mut is_done = true;
    let mut writer = Writer::new(is_flexible);
    writer.count(Some(topics.len()));
    for topic in topics {
        if version >= VERSION_WITH_IDS {
            writer.uuid(&topic.id);
        } else {
            writer.string(Some(&topic.name));
        }
        writer.count(Some(topic.partitions.len()));
        for (index, started) in topic.partitions {
            let acknowledged = match started {
                Ok(pending) => acknowledged(pending.await),
                Err(failure) => Err(failure),
            };
            is_done &= acknowledged.is_ok();
            let partition = topic
                .topic
                .as_ref()
                .and_then(|topic| topic.partition(index));
            let log_start_offset = match &acknowledged {
                // By it a producer that the log has forgotten knows that it may begin anew (KIP-360).
                Err(failure) if failure.code != code::UNKNOWN_PRODUCER_ID => -1,
                _ => partition.map_or(-1, |partition| partition.status().log_start_offset),
            };
            let partition = Partition {
                index,
                acknowledged,
                log_start_offset,
            };
            partition.write(&mut writer, version);
        }
        writer.tags();
    }
    writer.i32(0);
    writer.tags();
    (Reply::pieces(writer.finish(), !is_done), is_done)
}

fn acknowledged(answer: headwater::Result<Response>) -> Result<ProduceAck, Failure> {
    match answer {
        Ok(Response::Produced(ack)) => Ok(ack),
        Ok(_) => Err(Failure::from(&Error::new(
            ErrorCode::UnknownServerError,
            "the batch was answered with something else",
        ))),
        Err(error) => Err(Failure::from(&error)),
    }
}

/// One partition of an answer.
struct Partition {
    index: i32,
    acknowledged: Result<ProduceAck, Failure>,
    log_start_offset: i64,
}

impl Partition {
    fn write(&self, writer: &mut Writer, version: i16) {
        let (code, words) = match &self.acknowledged {
            Ok(_) => (error::NONE, None),
            Err(failure) => (failure.code, Some(&*failure.message)),
        };
        let ack = self.acknowledged.as_ref().ok();
        writer.i32(self.index);
        writer.i16(code);
        writer.i64(ack.map_or(-1, |ack| ack.base_offset));
        writer.i64(ack.map_or(-1, |ack| ack.append_time_ms));
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        if version >= 8 {
            // Which records are to blame is said in words.
            writer.count(Some(0));
            writer.string(words);
        }
        writer.tags();
    }
}
