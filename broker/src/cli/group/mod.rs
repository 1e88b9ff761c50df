//! `headwater group`: list, describe, reset, delete.

mod describe;
mod reset;

use headwater::{Client, Error, OffsetAt, OffsetQuery};
use serde_json::json;

use super::args::Group;
use super::{Ended, Io, Stop, close, connect, wait};

pub(super) fn run(group: Group, address: &str, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let client = connect(address, false, stop)?;
    let done = with(group, &client, io, stop);
    let closed = close(|timeout| client.close(timeout), stop);
    let done = done?;
    closed?;
    Ok(done)
}

fn with(group: Group, client: &Client, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    match group {
        Group::List => return list(client, io, stop),
        Group::Describe { group } => {
            describe::show(
                client,
                &wait(client.admin().describe_group(&group), stop)?,
                io,
                stop,
            )?;
        }
        Group::Reset {
            group,
            topics,
            to,
            dry_run,
        } => {
            let plan = reset::plan(client, &group, &topics, &to, stop)?;
            if dry_run {
                reset::show(&group, &plan, io)?;
            } else {
                reset::carry_out(client, &group, &plan, io, stop)?;
                describe::show(
                    client,
                    &wait(client.admin().describe_group(&group), stop)?,
                    io,
                    stop,
                )?;
            }
        }
        Group::Delete { group } => {
            wait(client.admin().delete_group(&group), stop)?;
            if io.is_json() {
                io.json(&json!({ "group": group, "done": "deleted" }))?;
            } else {
                io.say(&format!("group `{group}` deleted"));
            }
        }
    }
    Ok(Ended::Done)
}

fn list(client: &Client, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let groups = wait(client.admin().list_groups(), stop)?;
    if groups.is_empty() {
        io.say("no groups");
        return Ok(Ended::Nothing);
    }
    for group in groups {
        if io.is_json() {
            io.json(&describe::summary(&group.into()))?;
        } else {
            io.line(&group.group)?;
        }
    }
    Ok(Ended::Done)
}

/// Where offsets of these partitions are, in their order.
fn offsets_at<'a>(
    client: &Client,
    partitions: impl Iterator<Item = (&'a str, i32)>,
    at: OffsetAt,
    stop: &Stop,
) -> Result<Vec<i64>, Error> {
    let queries = partitions.map(|(topic, partition)| OffsetQuery {
        topic: topic.to_owned(),
        partition,
        at,
    });
    wait(client.admin().list_offsets(queries.collect()), stop)
}
