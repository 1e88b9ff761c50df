//! `headwater group`: list, describe, delete.

use headwater::{Client, Error, ErrorCode, GroupDescription, OffsetAt, OffsetQuery};
use serde_json::{Value, json};

use super::args::Group;
use super::{Ended, Io, connect};

pub(super) fn run(group: Group, address: &str, io: &mut Io) -> Result<Ended, Error> {
    if let Group::Reset { group } = &group {
        return Err(Error::new(
            ErrorCode::UnsupportedFeature,
            format!("resetting the offsets of a group (`{group}`) is not there yet"),
        ));
    }
    let client = connect(address, false)?;
    let done = with(group, &client, io);
    let closed = client.close(None).wait(None);
    let done = done?;
    closed?;
    Ok(done)
}

fn with(group: Group, client: &Client, io: &mut Io) -> Result<Ended, Error> {
    let admin = client.admin();
    match group {
        Group::List => {
            let groups = admin.list_groups().wait(None)?;
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
            let group = admin.describe_group(&group).wait(None)?;
            let ends = ends(client, &group)?;
            if io.is_json() {
                io.json(&describe(&group, &ends))?;
            } else {
                print(&group, &ends, io)?;
            }
        }
        Group::Delete { group } => {
            admin.delete_group(&group).wait(None)?;
            if io.is_json() {
                io.json(&json!({ "group": group, "done": "deleted" }))?;
            } else {
                io.say(&format!("group `{group}` deleted"));
            }
        }
        // Refused before anything was connected.
        Group::Reset { .. } => {}
    }
    Ok(Ended::Done)
}

/// The high watermark of every partition the group has committed.
fn ends(client: &Client, group: &GroupDescription) -> Result<Vec<i64>, Error> {
    let queries = group.offsets.iter().map(|committed| OffsetQuery {
        topic: committed.topic.clone(),
        partition: committed.partition,
        at: OffsetAt::Latest,
    });
    client.admin().list_offsets(queries.collect()).wait(None)
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
