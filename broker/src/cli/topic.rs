//! `headwater topic`: create, list, describe, alter, delete, delete-records.

use std::collections::BTreeMap;

use headwater::{Client, Error, TopicDescription, TopicOptions};
use serde_json::{Map, Value, json};

use super::args::Topic;
use super::{Ended, Io, Stop, close, connect, wait};

pub(super) fn run(topic: Topic, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let creates = matches!(topic, Topic::Create { .. });
    let client = connect(address, creates, stop)?;
    let done = with(topic, &client, io, stop);
    let closed = close(|timeout| client.close(timeout), stop);
    let done = done?;
    closed?;
    Ok(done)
}

fn with(topic: Topic, client: &Client, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let admin = client.admin();
    match topic {
        Topic::Create {
            name,
            partitions,
            config,
            exist_ok,
        } => {
            let mut options = options(&config)?;
            options.partitions = partitions.or(options.partitions);
            options.exist_ok = Some(exist_ok);
            wait(admin.create_topic(&name, options), stop)?;
            said(io, &name, "created")?;
        }
        Topic::List => {
            let topics = wait(admin.list_topics(), stop)?;
            for topic in &topics {
                if io.is_json() {
                    io.json(&describe(topic))?;
                } else {
                    io.line(&topic.name)?;
                }
            }
            if topics.is_empty() {
                io.say("no topics");
                return Ok(Ended::Nothing);
            }
        }
        Topic::Describe { name } => {
            let topic = wait(admin.describe_topic(&name), stop)?;
            if io.is_json() {
                io.json(&describe(&topic))?;
            } else {
                print(&topic, io)?;
            }
        }
        Topic::Alter { name, config } => {
            wait(admin.alter_topic(&name, options(&config)?), stop)?;
            said(io, &name, "altered")?;
        }
        Topic::Delete { name } => {
            wait(admin.delete_topic(&name), stop)?;
            said(io, &name, "deleted")?;
        }
        Topic::DeleteRecords {
            name,
            partition,
            before,
        } => {
            let before = BTreeMap::from([(partition, before)]);
            let starts = wait(admin.delete_records(&name, before), stop)?;
            for (partition, start) in starts {
                starts_at(io, &name, partition, start)?;
            }
        }
    }
    Ok(Ended::Done)
}

fn starts_at(io: &mut Io, topic: &str, partition: i32, start: i64) -> Result<(), Error> {
    if io.is_json() {
        return io.json(&json!({
            "topic": topic,
            "partition": partition,
            "log_start_offset": start,
        }));
    }
    io.say(&format!(
        "topic `{topic}`, partition {partition} starts at offset {start}"
    ));
    Ok(())
}

fn options(config: &[(String, String)]) -> Result<TopicOptions, Error> {
    let mut options = TopicOptions::default();
    for (name, value) in config {
        options.set(name, value)?;
    }
    Ok(options)
}

fn said(io: &mut Io, topic: &str, what: &str) -> Result<(), Error> {
    if io.is_json() {
        return io.json(&json!({ "topic": topic, "done": what }));
    }
    io.say(&format!("topic `{topic}` {what}"));
    Ok(())
}

fn describe(topic: &TopicDescription) -> Value {
    let config: Map<String, Value> = topic
        .config
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(&**value)))
        .collect();
    let partitions: Vec<Value> = topic
        .partitions
        .iter()
        .map(|partition| {
            json!({
                "partition": partition.partition,
                "log_start_offset": partition.log_start_offset,
                "high_watermark": partition.high_watermark,
                "log_end_offset": partition.log_end_offset,
                "leader_epoch": partition.leader_epoch,
                "size_bytes": partition.size_bytes,
            })
        })
        .collect();
    json!({
        "topic": topic.name,
        "config": config,
        "notes": topic.notes,
        "partitions": partitions,
    })
}

fn print(topic: &TopicDescription, io: &mut Io) -> Result<(), Error> {
    io.line(&format!("topic {}", topic.name))?;
    for (name, value) in &topic.config {
        io.line(&format!("  {name:<24} {value}"))?;
    }
    for note in &topic.notes {
        io.line(&format!("  note: {note}"))?;
    }
    io.line(&format!(
        "  {:>9} {:>12} {:>14} {:>12} {:>14}",
        "partition", "log start", "high watermark", "log end", "bytes"
    ))?;
    for partition in &topic.partitions {
        io.line(&format!(
            "  {:>9} {:>12} {:>14} {:>12} {:>14}",
            partition.partition,
            partition.log_start_offset,
            partition.high_watermark,
            partition.log_end_offset,
            partition.size_bytes
        ))?;
    }
    Ok(())
}
