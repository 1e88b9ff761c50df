//! Moving what a group has committed: first a plan, from where to where each partition goes, then the commit. The
//! plan is all that a dry run shows.

use std::collections::{BTreeMap, BTreeSet};

use headwater::{
    Client, ConsumerOptions, Error, ErrorCode, GroupDetails, OffsetAt, PartitionOffset, Start,
};
use serde_json::json;

use super::describe::number;
use super::offsets_at;
use crate::cli::{Io, Stop, wait};

/// Members that an error names; it says how many more there are.
const MEMBERS_NAMED_MAX: usize = 10;

/// What happens to one partition.
pub(super) struct Move {
    topic: String,
    partition: i32,
    /// What is committed now, if anything is.
    from: Option<i64>,
    /// Where it was to go.
    wanted: i64,
    /// Where it goes: no further than to the ends of what the log holds.
    to: i64,
}

/// Where to.
enum Target {
    Start(Start),
    /// By so many from where it stands.
    Shift(i64),
}

impl Target {
    fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if !text.starts_with(['+', '-']) {
            let mut options = ConsumerOptions::default();
            options.set("start", text)?;
            return Ok(Self::Start(options.start()));
        }
        text.parse().map(Self::Shift).map_err(|_| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!("`{text}` is no number of records to go on or back by, such as +10 or -10"),
            )
        })
    }
}

/// What a reset would do.
///
/// # Errors
/// `NON_EMPTY_GROUP` while the group has members; `INVALID_ARGUMENT` for a target that is none, and where there is
/// nothing to go from.
pub(super) fn plan(
    client: &Client,
    group: &str,
    topics: &[String],
    to: &str,
    stop: &Stop,
) -> Result<Vec<Move>, Error> {
    let target = Target::parse(to)?;
    let details = match wait(client.admin().describe_group(group), stop) {
        Ok(details) => Some(details),
        // A group that is not there is made, of what is named.
        Err(error) if error.code() == ErrorCode::GroupIdNotFound && !topics.is_empty() => None,
        Err(error) => return Err(error),
    };
    if let Some(details) = &details {
        check_no_members(details)?;
    }
    let committed = details.map_or_else(Vec::new, |details| details.offsets);
    let committed = committed
        .into_iter()
        .map(|found| ((found.topic, found.partition), found.offset));
    let committed: BTreeMap<_, _> = committed.collect();
    let partitions: Vec<(String, i32)> = if topics.is_empty() {
        committed.keys().cloned().collect()
    } else {
        partitions_of(client, topics, stop)?
    };
    if partitions.is_empty() {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("group `{group}` has committed nothing; say which topics, with --topic"),
        ));
    }
    moves(client, group, &target, &partitions, &committed, stop)
}

fn check_no_members(group: &GroupDetails) -> Result<(), Error> {
    let count = group.members.len();
    if count == 0 {
        return Ok(());
    }
    let named = group.members.iter().take(MEMBERS_NAMED_MAX).map(|member| {
        let id = &member.member_id;
        match member.client_name.as_str() {
            "" => format!("`{id}`"),
            client => format!("`{id}` ({client})"),
        }
    });
    let mut named = named.collect::<Vec<_>>().join(", ");
    if count > MEMBERS_NAMED_MAX {
        named = format!("{named} and {} more", count - MEMBERS_NAMED_MAX);
    }
    let members = if count == 1 { "a member" } else { "members" };
    Err(Error::new(
        ErrorCode::NonEmptyGroup,
        format!(
            "group `{}` has {members}, {named}; close it first: who reads would not notice a reset",
            group.group
        ),
    ))
}

/// All partitions of these topics, each once.
fn partitions_of(
    client: &Client,
    topics: &[String],
    stop: &Stop,
) -> Result<Vec<(String, i32)>, Error> {
    let mut partitions = Vec::new();
    for topic in topics.iter().collect::<BTreeSet<_>>() {
        let described = wait(client.admin().describe_topic(topic), stop)?;
        let found = described.partitions.iter();
        partitions.extend(found.map(|found| (topic.clone(), found.partition)));
    }
    Ok(partitions)
}

fn moves(
    client: &Client,
    group: &str,
    target: &Target,
    partitions: &[(String, i32)],
    committed: &BTreeMap<(String, i32), i64>,
    stop: &Stop,
) -> Result<Vec<Move>, Error> {
    let at = |at| {
        let partitions = partitions.iter();
        let partitions = partitions.map(|(topic, partition)| (topic.as_str(), *partition));
        offsets_at(client, partitions, at, stop)
    };
    let (starts, ends) = (at(OffsetAt::Earliest)?, at(OffsetAt::Latest)?);
    let times = match target {
        Target::Start(Start::Time(time_ms)) => at(OffsetAt::Time(*time_ms))?,
        _ => Vec::new(),
    };
    let mut moves = Vec::with_capacity(partitions.len());
    for (place, (found, (start, end))) in partitions
        .iter()
        .zip(starts.into_iter().zip(ends))
        .enumerate()
    {
        let from = committed.get(found).copied();
        let (topic, partition) = found.clone();
        let wanted = match target {
            Target::Start(Start::Earliest) => start,
            Target::Start(Start::Latest) => end,
            Target::Start(Start::Offset(offset)) => *offset,
            Target::Start(Start::Time(_)) => times.get(place).copied().unwrap_or(end),
            Target::Shift(by) => from
                .ok_or_else(|| nothing_to_go_from(group, &topic, partition))?
                .saturating_add(*by),
        };
        moves.push(Move {
            topic,
            partition,
            from,
            wanted,
            to: wanted.min(end).max(start),
        });
    }
    Ok(moves)
}

fn nothing_to_go_from(group: &str, topic: &str, partition: i32) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        format!(
            "group `{group}` has committed nothing for topic `{topic}`, partition {partition}: there is nothing to \
             go on or back from; use earliest, latest, an offset or a time"
        ),
    )
}

/// Commits the offsets by hand.
///
/// # Errors
/// `NON_EMPTY_GROUP` if somebody has joined meanwhile; then nothing has changed.
pub(super) fn carry_out(
    client: &Client,
    group: &str,
    plan: &[Move],
    io: &mut Io,
    stop: &Stop,
) -> Result<(), Error> {
    let offsets = plan.iter().map(|one| PartitionOffset {
        topic: one.topic.clone(),
        partition: one.partition,
        offset: one.to,
    });
    let committed = client.admin().commit_offsets(group, offsets.collect());
    wait(committed, stop)?;
    for one in plan.iter().filter(|one| one.wanted != one.to) {
        // Also with --json, where it would otherwise not be told.
        io.note(&format!(
            "topic `{}`, partition {}: {}",
            one.topic,
            one.partition,
            clamped(one)
        ));
    }
    Ok(())
}

/// Prints the plan.
pub(super) fn show(group: &str, plan: &[Move], io: &mut Io) -> Result<(), Error> {
    if io.is_json() {
        let offsets = plan.iter().map(|one| {
            json!({
                "topic": one.topic,
                "partition": one.partition,
                "from": one.from,
                "to": one.to,
                "wanted": one.wanted,
            })
        });
        let offsets: Vec<_> = offsets.collect();
        return io.json(&json!({ "group": group, "dry_run": true, "offsets": offsets }));
    }
    io.line(&format!("group {group}, nothing is changed"))?;
    io.line(&format!(
        "  {:<30} {:>9} {:>12}    {:>12}",
        "topic", "partition", "from", "to"
    ))?;
    for one in plan {
        let mut line = format!(
            "  {:<30} {:>9} {:>12} -> {:>12}",
            one.topic,
            one.partition,
            number(one.from),
            one.to
        );
        if one.wanted != one.to {
            line = format!("{line}  {}", clamped(one));
        }
        io.line(&line)?;
    }
    Ok(())
}

fn clamped(one: &Move) -> String {
    let (wanted, to) = (one.wanted, one.to);
    if wanted < to {
        format!("{wanted} is before the first record held; it goes to {to}")
    } else {
        format!("{wanted} is past the last record; it goes to {to}")
    }
}
