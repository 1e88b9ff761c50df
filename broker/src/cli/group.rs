//! `headwater group`: list, describe, reset, delete.

use headwater::{
    Client, ConsumerOptions, Error, ErrorCode, GroupDescription, OffsetAt, OffsetQuery,
    PartitionOffset, Start,
};
use serde_json::{Value, json};

use super::args::Group;
use super::{Ended, Io, Stop, connect, wait};

pub(super) fn run(group: Group, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let client = connect(address, false, stop)?;
    let done = with(group, &client, io, stop);
    let closed = client.close(None).wait(None);
    let done = done?;
    closed?;
    Ok(done)
}

fn with(group: Group, client: &Client, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let admin = client.admin();
    match group {
        Group::List => {
            let groups = wait(admin.list_groups(), stop)?;
            for group in &groups {
                if io.is_json() {
                    io.json(&describe(group, &[]))?;
                } else {
                    io.line(&group.group)?;
                }
            }
            if groups.is_empty() {
                io.say("no groups");
                return Ok(Ended::Nothing);
            }
        }
        Group::Describe { group } => {
            let group = wait(admin.describe_group(&group), stop)?;
            show(client, &group, io, stop)?;
        }
        Group::Reset { group, topics, to } => {
            reset(client, &group, &topics, &to, stop)?;
            let group = wait(admin.describe_group(&group), stop)?;
            show(client, &group, io, stop)?;
        }
        Group::Delete { group } => {
            wait(admin.delete_group(&group), stop)?;
            if io.is_json() {
                io.json(&json!({ "group": group, "done": "deleted" }))?;
            } else {
                io.say(&format!("group `{group}` deleted"));
            }
        }
    }
    Ok(Ended::Done)
}

fn show(client: &Client, group: &GroupDescription, io: &mut Io, stop: &Stop) -> Result<(), Error> {
    let ends = ends(client, group, stop)?;
    if io.is_json() {
        io.json(&describe(group, &ends))
    } else {
        print(group, &ends, io)
    }
}

/// Commits the offsets by hand.
fn reset(
    client: &Client,
    group: &str,
    topics: &[String],
    to: &str,
    stop: &Stop,
) -> Result<(), Error> {
    let mut options = ConsumerOptions::default();
    options.set("start", to)?;
    let mut offsets = partitions(client, group, topics, stop)?;
    let at = match options.start() {
        Start::Earliest => OffsetAt::Earliest,
        Start::Latest => OffsetAt::Latest,
        Start::Time(time_ms) => OffsetAt::Time(time_ms),
        Start::Offset(offset) => {
            for committed in &mut offsets {
                committed.offset = offset;
            }
            return wait(client.admin().commit_offsets(group, offsets), stop);
        }
    };
    let queries = offsets.iter().map(|committed| OffsetQuery {
        topic: committed.topic.clone(),
        partition: committed.partition,
        at,
    });
    let found = wait(client.admin().list_offsets(queries.collect()), stop)?;
    for (committed, offset) in offsets.iter_mut().zip(found) {
        committed.offset = offset;
    }
    wait(client.admin().commit_offsets(group, offsets), stop)
}

/// The partitions to reset: those of the topics named, or those that the group has committed.
fn partitions(
    client: &Client,
    group: &str,
    topics: &[String],
    stop: &Stop,
) -> Result<Vec<PartitionOffset>, Error> {
    let admin = client.admin();
    if topics.is_empty() {
        let committed = wait(admin.describe_group(group), stop)?.offsets;
        if committed.is_empty() {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("group `{group}` has committed nothing; say which topics, with --topic"),
            ));
        }
        return Ok(committed);
    }
    let mut partitions = Vec::new();
    for topic in topics {
        let described = wait(admin.describe_topic(topic), stop)?;
        partitions.extend(
            described
                .partitions
                .iter()
                .map(|partition| PartitionOffset {
                    topic: topic.clone(),
                    partition: partition.partition,
                    offset: 0,
                }),
        );
    }
    Ok(partitions)
}

/// The high watermark of every partition the group has committed.
fn ends(client: &Client, group: &GroupDescription, stop: &Stop) -> Result<Vec<i64>, Error> {
    let queries = group.offsets.iter().map(|committed| OffsetQuery {
        topic: committed.topic.clone(),
        partition: committed.partition,
        at: OffsetAt::Latest,
    });
    wait(client.admin().list_offsets(queries.collect()), stop)
}

fn describe(group: &GroupDescription, ends: &[i64]) -> Value {
    let offsets: Vec<Value> = group
        .offsets
        .iter()
        .enumerate()
        .map(|(place, committed)| {
            let end = ends.get(place).copied();
            json!({
                "topic": committed.topic,
                "partition": committed.partition,
                "committed_offset": committed.offset,
                "high_watermark": end,
                "lag": end.map(|end| end - committed.offset),
            })
        })
        .collect();
    json!({
        "group": group.group,
        "state": group.state,
        "generation": group.generation,
        "members": group.members,
        "offsets": offsets,
    })
}

fn print(group: &GroupDescription, ends: &[i64], io: &mut Io) -> Result<(), Error> {
    io.line(&format!(
        "group {}: {}, generation {}",
        group.group, group.state, group.generation
    ))?;
    for member in &group.members {
        io.line(&format!("  member {member}"))?;
    }
    io.line(&format!(
        "  {:<30} {:>9} {:>12} {:>14} {:>12}",
        "topic", "partition", "committed", "high watermark", "lag"
    ))?;
    for (committed, end) in group.offsets.iter().zip(ends) {
        io.line(&format!(
            "  {:<30} {:>9} {:>12} {:>14} {:>12}",
            committed.topic,
            committed.partition,
            committed.offset,
            end,
            end - committed.offset
        ))?;
    }
    Ok(())
}
