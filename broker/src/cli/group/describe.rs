//! What a group has committed, how far behind it is, and who of it holds what.

use std::collections::BTreeMap;

use headwater::{Client, Error, ErrorCode, GroupDetails, GroupMember, OffsetAt, TopicPartitions};
use serde_json::{Value, json};

use super::offsets_at;
use crate::cli::{Io, Stop};

/// A partition that the group has committed, or that one of its members holds.
struct Row<'a> {
    topic: &'a str,
    partition: i32,
    committed: Option<i64>,
    member: Option<&'a str>,
    /// None: not asked for, or the topic has gone meanwhile.
    high_watermark: Option<i64>,
}

impl Row<'_> {
    fn lag(&self) -> Option<i64> {
        Some(self.high_watermark? - self.committed?)
    }
}

pub(super) fn show(
    client: &Client,
    group: &GroupDetails,
    io: &mut Io,
    stop: &Stop,
) -> Result<(), Error> {
    let mut rows = rows(group);
    ask_high_watermarks(client, &mut rows, stop)?;
    if io.is_json() {
        io.json(&object(group, &rows))
    } else {
        print(group, &rows, io)
    }
}

/// The group without what has to be asked for.
pub(super) fn summary(group: &GroupDetails) -> Value {
    object(group, &rows(group))
}

/// Every partition once, in order.
fn rows(group: &GroupDetails) -> Vec<Row<'_>> {
    let mut rows = BTreeMap::new();
    let row = |topic, partition| Row {
        topic,
        partition,
        committed: None,
        member: None,
        high_watermark: None,
    };
    for committed in &group.offsets {
        let (topic, partition) = (committed.topic.as_str(), committed.partition);
        let found = rows.entry((topic, partition));
        found.or_insert_with(|| row(topic, partition)).committed = Some(committed.offset);
    }
    for member in &group.members {
        for held in &member.partitions {
            for partition in &held.partitions {
                let (topic, partition) = (held.topic.as_str(), *partition);
                let found = rows.entry((topic, partition));
                found.or_insert_with(|| row(topic, partition)).member = Some(&member.member_id);
            }
        }
    }
    rows.into_values().collect()
}

fn ask_high_watermarks(client: &Client, rows: &mut [Row<'_>], stop: &Stop) -> Result<(), Error> {
    let partitions = rows.iter().map(|row| (row.topic, row.partition));
    match offsets_at(client, partitions, OffsetAt::Latest, stop) {
        Ok(offsets) => {
            for (row, offset) in rows.iter_mut().zip(offsets) {
                row.high_watermark = Some(offset);
            }
            Ok(())
        }
        // A member may still hold what was deleted: then each is asked for by itself.
        Err(error) if error.code() == ErrorCode::UnknownTopicOrPartition && rows.len() > 1 => rows
            .iter_mut()
            .try_for_each(|row| ask_high_watermarks(client, std::slice::from_mut(row), stop)),
        Err(error) if error.code() == ErrorCode::UnknownTopicOrPartition => Ok(()),
        Err(error) => Err(error),
    }
}

fn object(group: &GroupDetails, rows: &[Row<'_>]) -> Value {
    let offsets = rows.iter().map(|row| {
        json!({
            "topic": row.topic,
            "partition": row.partition,
            "committed_offset": row.committed,
            "high_watermark": row.high_watermark,
            "lag": row.lag(),
            "member_id": row.member,
        })
    });
    let members = group.members.iter().map(member_object);
    json!({
        "group": group.group,
        "state": group.state,
        "generation": group.generation,
        "members": members.collect::<Vec<_>>(),
        "offsets": offsets.collect::<Vec<_>>(),
    })
}

/// Whether more is known of it than its id: a list of groups and an old broker tell no more.
fn is_known(member: &GroupMember) -> bool {
    member.generation > 0 || !member.client_name.is_empty()
}

/// What is not known is null.
fn member_object(member: &GroupMember) -> Value {
    let partitions = member
        .partitions
        .iter()
        .map(|held| json!({ "topic": held.topic, "partitions": held.partitions }));
    let known = |value: Value| is_known(member).then_some(value);
    json!({
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_name": known(json!(member.client_name)),
        "host": member.host,
        "generation": known(json!(member.generation)),
        "partitions": known(partitions.collect()),
    })
}

fn print(group: &GroupDetails, rows: &[Row<'_>], io: &mut Io) -> Result<(), Error> {
    io.line(&format!(
        "group {}: {}, generation {}",
        group.group, group.state, group.generation
    ))?;
    for member in &group.members {
        if is_known(member) {
            io.line(&format!("  member {}", member_words(member)))?;
        } else {
            io.line(&format!("  member {}", member.member_id))?;
        }
    }
    let has_holders = rows.iter().any(|row| row.member.is_some());
    let line = |topic: &str, [partition, committed, high_watermark, lag, member]: [&str; 5]| {
        let line =
            format!("  {topic:<30} {partition:>9} {committed:>12} {high_watermark:>14} {lag:>12}");
        if has_holders {
            format!("{line}  {member}")
        } else {
            line
        }
    };
    let heads = ["partition", "committed", "high watermark", "lag", "member"];
    io.line(&line("topic", heads))?;
    for row in rows {
        io.line(&line(
            row.topic,
            [
                &row.partition.to_string(),
                &number(row.committed),
                &number(row.high_watermark),
                &number(row.lag()),
                row.member.unwrap_or("-"),
            ],
        ))?;
    }
    Ok(())
}

/// `id (client, at host, instance x, generation 3): orders 0-3,5; logs 1`.
fn member_words(member: &GroupMember) -> String {
    let mut about = vec![member.client_name.clone()];
    about.extend(member.host.iter().map(|host| format!("at {host}")));
    let instance = member.instance_id.iter();
    about.extend(instance.map(|instance| format!("instance {instance}")));
    about.push(format!("generation {}", member.generation));
    about.retain(|word| !word.is_empty());
    let held: Vec<_> = member.partitions.iter().map(held_words).collect();
    let held = if held.is_empty() {
        "nothing".to_owned()
    } else {
        held.join("; ")
    };
    format!("{} ({}): {held}", member.member_id, about.join(", "))
}

/// Partitions of one topic, neighbours as ranges.
fn held_words(held: &TopicPartitions) -> String {
    let runs = held
        .partitions
        .chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let runs = runs.filter_map(|run| match run {
        [] => None,
        [alone] => Some(alone.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
    });
    format!("{} {}", held.topic, runs.collect::<Vec<_>>().join(","))
}

/// A number, or a dash for none.
pub(super) fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_ranges() {
        let words = |partitions: &[i32]| {
            held_words(&TopicPartitions {
                topic: "t".to_owned(),
                partitions: partitions.to_vec(),
            })
        };
        assert_eq!(words(&[0, 1, 2, 4, 7, 8]), "t 0-2,4,7-8");
        assert_eq!(words(&[i32::MAX]), format!("t {}", i32::MAX));
    }
}
