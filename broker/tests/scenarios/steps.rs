//! What each step does.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use headwater::sync::Mutex;
use headwater::{
    ConnectOptions, ConsumerOptions, Header, OffsetAt, OffsetQuery, ProcessError, ProcessOptions,
    ProcessRecord, ProducerOptions, Record, TopicOptions,
};
use serde_json::{Value, json};

use crate::run::{Run, Stop};
use crate::values::{Fields, health, hex, metadata, offsets, place, report, to_bytes};

/// Does a step; what it gives is what its README says.
pub(crate) fn call(run: &mut Run<'_>, step: &str, fields: Fields) -> Result<Value, Stop> {
    match step {
        "connect" | "reconnect" | "restart" | "close" => door(run, step, fields),
        "metrics" | "health" => looks(run, step, fields),
        "create_topic" | "alter_topic" | "delete_topic" | "describe_topic" | "list_topics" => {
            topics(run, step, fields)
        }
        "delete_records" | "list_offsets" => partitions(run, step, fields),
        "list_groups" | "describe_group" | "delete_group" | "commit_offsets" => {
            groups(run, step, fields)
        }
        "producer" | "send" | "enqueue" | "send_many" | "flush" => producers(run, step, fields),
        "consumer" | "open" | "consume" | "ack" | "process" => consumers(run, step, fields),
        "commit" | "committed" | "positions" | "assignment" | "is_finished" | "seek" => {
            positions(run, step, fields)
        }
        other => Err(Stop::Fault(format!("there is no step `{other}`"))),
    }
}

/// The options that are left in a step, of a group of core's.
macro_rules! options {
    ($type:ty, $fields:expr) => {{
        let mut options = <$type>::default();
        for (name, text) in $fields.options() {
            options.set(&name, &text)?;
        }
        options
    }};
}

fn door(run: &mut Run<'_>, step: &str, mut fields: Fields) -> Result<Value, Stop> {
    match step {
        "connect" => {
            let address = fields.text("address")?;
            let options = options!(ConnectOptions, fields);
            let other = headwater::connect_with(&address, options).wait(None)?;
            other.close(None).wait(None)?;
        }
        "close" => return close(run, fields),
        "reconnect" => {
            fields.end()?;
            run.reconnect()?;
        }
        _ => {
            fields.end()?;
            run.door.restart();
        }
    }
    Ok(Value::Null)
}

fn looks(run: &Run<'_>, step: &str, fields: Fields) -> Result<Value, Stop> {
    fields.end()?;
    Ok(match step {
        "metrics" => json!(
            run.db
                .metrics()
                .entries()
                .into_iter()
                .collect::<BTreeMap<_, _>>()
        ),
        _ => health(&run.db.health()),
    })
}

fn close(run: &mut Run<'_>, mut fields: Fields) -> Result<Value, Stop> {
    let is_client = fields.take("client").is_some_and(|it| it == true);
    let producer = fields.take("producer");
    let consumer = fields.name("consumer", "consumer");
    fields.end()?;
    let mut closing = match producer.as_ref().and_then(Value::as_str) {
        _ if is_client => run.db.close(None),
        Some(producer) => run.producer(producer)?.close(None),
        None => run.reading(&consumer)?.consumer.close(None),
    };
    Ok(report(&closing.wait(None)?))
}

fn topics(run: &Run<'_>, step: &str, mut fields: Fields) -> Result<Value, Stop> {
    let admin = run.db.admin();
    if step == "list_topics" {
        fields.end()?;
        let topics = admin.list_topics().wait(None)?;
        return Ok(topics.into_iter().map(|topic| topic.name).collect());
    }
    let topic = fields.text("topic")?;
    match step {
        "create_topic" => {
            let options = options!(TopicOptions, fields);
            admin.create_topic(&topic, options).wait(None)?;
        }
        "alter_topic" => {
            let options = options!(TopicOptions, fields);
            admin.alter_topic(&topic, options).wait(None)?;
        }
        "delete_topic" => {
            fields.end()?;
            admin.delete_topic(&topic).wait(None)?;
        }
        _ => {
            fields.end()?;
            let found = admin.describe_topic(&topic).wait(None)?;
            let partitions = found.partitions.iter().map(|one| {
                json!({
                    "partition": one.partition,
                    "log_start_offset": one.log_start_offset,
                    "high_watermark": one.high_watermark,
                    "log_end_offset": one.log_end_offset,
                    "leader_epoch": one.leader_epoch,
                    "size_bytes": one.size_bytes,
                })
            });
            return Ok(json!({
                "name": found.name,
                "uuid": hex(&found.uuid),
                "config": found.config.into_iter().collect::<BTreeMap<_, _>>(),
                "notes": found.notes,
                "partitions": partitions.collect::<Vec<_>>(),
            }));
        }
    }
    Ok(Value::Null)
}

fn partitions(run: &Run<'_>, step: &str, mut fields: Fields) -> Result<Value, Stop> {
    let admin = run.db.admin();
    if step == "delete_records" {
        let (topic, before) = (fields.text("topic")?, fields.need("before")?);
        fields.end()?;
        let before: Vec<(i32, i64)> = parsed(before)?;
        let mut starts = admin.delete_records(&topic, before.into_iter().collect());
        return Ok(json!(starts.wait(None)?.into_iter().collect::<Vec<_>>()));
    }
    let queries = fields.list("queries")?;
    fields.end()?;
    let query = |query: Value| {
        let (topic, partition, meaning): (String, i32, Value) = parsed(query)?;
        let at = meaning_of(&meaning)?;
        Ok(OffsetQuery {
            topic,
            partition,
            at,
        })
    };
    let queries: Result<Vec<_>, String> = queries.into_iter().map(query).collect();
    Ok(json!(admin.list_offsets(queries?).wait(None)?))
}

fn groups(run: &Run<'_>, step: &str, mut fields: Fields) -> Result<Value, Stop> {
    let admin = run.db.admin();
    if step == "list_groups" {
        fields.end()?;
        let groups = admin.list_groups().wait(None)?;
        return Ok(groups.into_iter().map(|group| group.group).collect());
    }
    let group = fields.text("group")?;
    match step {
        "commit_offsets" => {
            let offsets = fields.list("offsets")?;
            fields.end()?;
            let offsets: Result<_, String> = offsets.iter().map(place).collect();
            admin.commit_offsets(&group, offsets?).wait(None)?;
        }
        "delete_group" => {
            fields.end()?;
            admin.delete_group(&group).wait(None)?;
        }
        _ => {
            fields.end()?;
            let found = admin.describe_group(&group).wait(None)?;
            return Ok(json!({
                "group": found.group,
                "state": found.state,
                "generation": found.generation,
                "members": found.members.len(),
                "offsets": offsets(found.offsets),
            }));
        }
    }
    Ok(Value::Null)
}

fn producers(run: &mut Run<'_>, step: &str, mut fields: Fields) -> Result<Value, Stop> {
    if step == "producer" {
        let name = fields.name("as", "producer");
        let producer = run.db.producer(options!(ProducerOptions, fields))?;
        run.add_producer(name, producer);
        return Ok(Value::Null);
    }
    let name = fields.name("producer", "producer");
    match step {
        "flush" => {
            fields.end()?;
            run.producer(&name)?.flush().wait(None)?;
            Ok(Value::Null)
        }
        "send_many" => {
            let (topic, records) = (fields.text("topic")?, fields.list("records")?);
            let partition = fields.take("partition");
            fields.end()?;
            let mut sent = Vec::new();
            for record in records {
                let mut fields = match &record {
                    Value::Object(_) => Fields::of(&record)?,
                    plain => Fields::of(&json!({"value": plain}))?,
                };
                let mut row = Row::of(&mut fields)?;
                fields.end()?;
                row.partition = row.partition.or(partition.clone().map(parsed).transpose()?);
                sent.push(row.with(|record| {
                    run.producer(&name)?
                        .send(&topic, record)
                        .map_err(Stop::from)
                })?);
            }
            let placed = sent.iter().map(|delivery| delivery.wait(None));
            let placed: headwater::Result<Vec<_>> = placed.collect();
            Ok(placed?.iter().map(metadata).collect())
        }
        _ => {
            let topic = fields.text("topic")?;
            let row = Row::of(&mut fields)?;
            fields.end()?;
            let producer = run.producer(&name)?;
            if step == "send" {
                let delivery = row.with(|record| producer.send(&topic, record))?;
                Ok(metadata(&delivery.wait(None)?))
            } else {
                row.with(|record| producer.enqueue(&topic, record))?;
                Ok(Value::Null)
            }
        }
    }
}

/// A record to be sent.
struct Row {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    partition: Option<i32>,
    timestamp: Option<i64>,
}

impl Row {
    fn of(fields: &mut Fields) -> Result<Self, String> {
        let headers = fields.take("headers").unwrap_or_else(|| json!([]));
        let headers: Vec<(String, Value)> = parsed(headers)?;
        let headers = headers.into_iter();
        let headers = headers.map(|(name, value)| Ok((name, to_bytes(&value)?)));
        Ok(Self {
            key: to_bytes(&fields.take("key").unwrap_or_default())?,
            value: to_bytes(&fields.need("value")?)?,
            headers: headers.collect::<Result<_, String>>()?,
            partition: fields.take("partition").map(parsed).transpose()?,
            timestamp: fields.take("timestamp").map(parsed).transpose()?,
        })
    }

    fn with<T>(&self, send: impl FnOnce(&Record<'_>) -> T) -> T {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        send(&Record {
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
            timestamp_ms: self.timestamp,
        })
    }
}

fn consumers(run: &mut Run<'_>, step: &str, mut fields: Fields) -> Result<Value, Stop> {
    if step == "consumer" {
        let name = fields.name("as", "consumer");
        let topics: Vec<String> = parsed(fields.need("topics")?)?;
        let consumer = run
            .db
            .consumer(&topics, options!(ConsumerOptions, fields))?;
        run.add_consumer(name, consumer);
        return Ok(Value::Null);
    }
    let name = fields.name("consumer", "consumer");
    match step {
        "open" => {
            fields.end()?;
            run.reading(&name)?.consumer.open().wait(None)?;
        }
        "consume" => return consume(run, &name, fields),
        "ack" => {
            let records = fields.list("records")?;
            fields.end()?;
            for record in &records {
                let at = place(record)?;
                let reading = run.reading(&name)?;
                reading.consumer.ack(&at.topic, at.partition, at.offset)?;
            }
        }
        _ => return process(run, &name, fields),
    }
    Ok(Value::Null)
}

fn consume(run: &mut Run<'_>, name: &str, mut fields: Fields) -> Result<Value, Stop> {
    let count: Option<usize> = fields.take("count").map(parsed).transpose()?;
    let is_sorted = fields.take("sorted").is_some_and(|it| it == true);
    fields.end()?;
    let reading = run.reading(name)?;
    let mut records = Vec::new();
    while Some(records.len()) != count {
        let Some(record) = reading.next()? else { break };
        records.push(record);
    }
    if is_sorted {
        records.sort_by_key(|record| {
            let number = |field: &str| record[field].as_i64();
            (
                record["topic"].to_string(),
                number("partition"),
                number("offset"),
            )
        });
    }
    Ok(Value::Array(records))
}

fn positions(run: &mut Run<'_>, step: &str, mut fields: Fields) -> Result<Value, Stop> {
    let name = fields.name("consumer", "consumer");
    let reading = run.reading(&name)?;
    match step {
        "commit" => {
            let named = fields.take("offsets");
            fields.end()?;
            let mut committing = match named {
                None => reading.consumer.commit(),
                Some(named) => {
                    let named: Vec<Value> = parsed(named)?;
                    let named: Result<_, String> = named.iter().map(place).collect();
                    reading.consumer.commit_offsets(named?)
                }
            };
            committing.wait(None)?;
        }
        "seek" => {
            let (topic, partition) = (fields.text("topic")?, fields.number("partition")?);
            let (partition, to) = (parsed(partition.into())?, fields.need("to")?);
            fields.end()?;
            match to.as_i64() {
                Some(offset) => reading.consumer.seek(&topic, partition, offset)?,
                None => {
                    let to = meaning_of(to.get("time").unwrap_or(&to))?;
                    reading.consumer.seek_to(&topic, partition, to).wait(None)?;
                }
            }
            reading.leave();
        }
        _ => {
            fields.end()?;
            return Ok(match step {
                "committed" => offsets(reading.consumer.committed().wait(None)?),
                "positions" => offsets(reading.consumer.positions()),
                "assignment" => offsets(reading.consumer.assignment()),
                _ => reading.consumer.is_finished().into(),
            });
        }
    }
    Ok(Value::Null)
}

/// What a handler fails with.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is refused", self.0)
    }
}

fn process(run: &mut Run<'_>, name: &str, mut fields: Fields) -> Result<Value, Stop> {
    let failing: HashMap<String, Value> = parsed(fields.need("failing")?)?;
    let options = options!(ProcessOptions, fields);
    let left = Mutex::new(failing);
    let given = Mutex::new(Vec::new());
    let handler = |record: &ProcessRecord| {
        let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
        given.lock().push(value.clone());
        let mut left = left.lock();
        let Some(times) = left.get_mut(&value) else {
            return Ok(());
        };
        match times.as_u64() {
            Some(0) => return Ok(()),
            Some(more) => *times = (more - 1).into(),
            None => assert_eq!(*times, "always"),
        }
        Err(Refused(value))
    };
    let ended = run.reading(name)?.consumer.process(&options, handler);
    match ended {
        Ok(()) => Ok(std::mem::take(&mut *given.lock()).into()),
        Err(ProcessError::Client(error)) => Err(error.into()),
        Err(ProcessError::Handler { error, .. }) => Err(Stop::Handler(error.to_string())),
    }
}

fn meaning_of(value: &Value) -> Result<OffsetAt, String> {
    match (value.as_str(), value.as_i64()) {
        (Some("earliest"), _) => Ok(OffsetAt::Earliest),
        (Some("latest"), _) => Ok(OffsetAt::Latest),
        (_, Some(time)) => Ok(OffsetAt::Time(time)),
        _ => Err(format!("{value} is no meaning of an offset")),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}
