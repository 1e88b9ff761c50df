//! One frame, in words or as JSON.

use headwater::Error;
use headwater::log::control::{
    CommitDetails, DetailedOffsetCommit, EntryId, Group, LogStart, Membership, NO_LEADER_EPOCH,
    PartitionOpen, ProducerExpire, ProducerIds, TopicAlter, TopicCreate, TopicDelete, Vote,
    decode_offset_commit,
};
use headwater::log::format::display_uuid;
use headwater::log::reader::FoundFrame;
use headwater::log::{Kind, MARK_CLOSED, MARK_OPENED, Part};
use headwater::record::{BatchHeader, Codec};
use serde_json::{Map, Value, json};

use super::Io;
use super::names::{Names, decode};
use crate::cli::output::utc;

/// What stands above the frames of a segment.
pub(super) const COLUMNS: &str =
    "    position      index  term    durable  time                      kind";

/// Prints a frame.
pub(super) fn print(frame: &FoundFrame<'_>, names: &Names, io: &mut Io) -> Result<(), Error> {
    if io.is_json() {
        return io.json(&to_json(frame, names));
    }
    let header = &frame.header;
    let what = words(frame, names);
    let cut = if frame.is_cut { " (cut)" } else { "" };
    io.bytes(
        format!(
            "{:>12} {:>10} {:>5} {:>10}  {}  {what}{cut}\n",
            frame.position,
            header.index,
            header.term,
            header.durable,
            utc(header.time_ms)
        )
        .as_bytes(),
    )
}

fn words(frame: &FoundFrame<'_>, names: &Names) -> String {
    let header = &frame.header;
    let Some(kind) = header.known_kind() else {
        return format!(
            "kind {} of a newer version, {} bytes",
            header.kind, header.len
        );
    };
    let parts: Vec<_> = frame
        .parts
        .iter()
        .map(|part| part_words(part, names))
        .collect();
    match (kind, &parts[..]) {
        (Kind::Mark, _) => format!("MARK{}", mark_words(header.flags)),
        (Kind::Set, parts) => format!("SET [{}]", parts.join("; ")),
        (_, [part]) => part.clone(),
        (kind, _) => kind.name().to_owned(),
    }
}

fn mark_words(flags: u8) -> &'static str {
    match (flags & MARK_CLOSED != 0, flags & MARK_OPENED != 0) {
        (true, _) => " closed cleanly",
        (false, true) => " opened again",
        (false, false) => "",
    }
}

/// A part, kind first.
fn part_words(part: &Part<'_>, names: &Names) -> String {
    let said = match part.kind {
        Kind::Records => records_words(part, names),
        _ => control_words(part, names),
    };
    let said = said.unwrap_or_else(|| format!("{} bytes that cannot be read", part.payload.len()));
    format!("{} {said}", part.kind.name()).trim_end().to_owned()
}

fn control_words(part: &Part<'_>, names: &Names) -> Option<String> {
    let (payload, id) = (part.payload, part.partition.0);
    let config = |pairs: &[(String, String)]| -> String {
        let pairs = pairs.iter().map(|(name, value)| format!(" {name}={value}"));
        pairs.collect()
    };
    Some(match part.kind {
        Kind::TopicCreate => {
            let create: TopicCreate = decode(payload)?;
            let uuid = display_uuid(&create.uuid);
            format!("{} {uuid}{}", create.name, config(&create.config))
        }
        Kind::TopicAlter => {
            let alter: TopicAlter = decode(payload)?;
            format!("{}{}", names.topic(&alter.uuid), config(&alter.config))
        }
        Kind::TopicDelete => names.topic(&decode::<TopicDelete>(payload)?.uuid),
        Kind::PartitionOpen => {
            let open: PartitionOpen = decode(payload)?;
            let start = open.start_offset;
            format!("{} id {id} from offset {start}", names.partition(id))
        }
        Kind::LogStart => {
            let start: LogStart = decode(payload)?;
            format!("{} offset {}", names.partition(id), start.offset)
        }
        Kind::OffsetCommit => {
            let detailed = decode_offset_commit(part.version, payload).ok()?;
            let commit = &detailed.commit;
            let offsets = commit.offsets.iter().enumerate().map(|(at, committed)| {
                let topic = names.topic(&committed.topic);
                let details = detailed.details.get(at).map(noted).unwrap_or_default();
                format!(
                    " {topic}/{}={}{details}",
                    committed.partition, committed.offset
                )
            });
            format!(
                "{} generation {}{}",
                commit.group,
                commit.generation,
                offsets.collect::<String>()
            )
        }
        Kind::Group => {
            let group: Group = decode(payload)?;
            let state = if group.is_deleted { " deleted" } else { "" };
            let members = group.members.join(" ");
            format!(
                "{} generation {} members [{members}]{state}",
                group.group, group.generation
            )
        }
        Kind::ProducerIds => {
            let ids: ProducerIds = decode(payload)?;
            format!("{} from {}", ids.count, ids.first)
        }
        Kind::ProducerExpire => {
            let expire: ProducerExpire = decode(payload)?;
            format!("{} producer {}", names.partition(id), expire.producer_id)
        }
        Kind::Vote => vote_words(&decode(payload)?),
        Kind::Membership => membership_words(&decode(payload)?),
        Kind::Blank => String::new(),
        _ => return None,
    })
}

fn vote_words(vote: &Vote) -> String {
    let is_committed = if vote.is_committed { " committed" } else { "" };
    let until = |EntryId { term, index }| format!("index {index} of term {term}");
    format!(
        "term {} for node {}{is_committed}, purged through {}, committed through {}",
        vote.term,
        vote.node,
        until(vote.purged),
        until(vote.committed)
    )
}

fn membership_words(membership: &Membership) -> String {
    let members = membership.members.iter();
    let members = members.map(|member| format!(" {} at {}", member.node, member.address));
    format!(
        "voters {:?} members{}",
        membership.voters,
        members.collect::<String>()
    )
}

fn records_words(part: &Part<'_>, names: &Names) -> Option<String> {
    let batch = BatchHeader::parse(part.payload).ok()?;
    let producer = match batch.producer_id {
        -1 => String::new(),
        id => format!(
            ", producer {id} epoch {} sequence {}",
            batch.producer_epoch, batch.base_sequence
        ),
    };
    let codec = match batch.codec() {
        Codec::None => String::new(),
        codec => format!(" of {}", codec.name()),
    };
    Some(format!(
        "{} offset {} records {}, {} bytes{codec}{producer}",
        names.partition(part.partition.0),
        batch.base_offset,
        batch.record_count,
        part.payload.len()
    ))
}

fn to_json(frame: &FoundFrame<'_>, names: &Names) -> Value {
    let header = &frame.header;
    let kind = header.known_kind();
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("item", "frame".into());
    put("segment", frame.segment.into());
    put("position", frame.position.into());
    put("index", header.index.into());
    put("term", header.term.into());
    put("durable", header.durable.into());
    put("time_ms", header.time_ms.into());
    put(
        "kind",
        kind.map_or_else(|| header.kind.into(), |kind| kind.name().into()),
    );
    put("flags", header.flags.into());
    put("partition", header.partition.into());
    put("len", header.len.into());
    put("is_cut", frame.is_cut.into());
    match (kind, &frame.parts[..]) {
        (Some(Kind::Mark), _) => {
            let is_set = |flag| Value::from(header.flags & flag != 0);
            let content = json!({ "closed": is_set(MARK_CLOSED), "opened": is_set(MARK_OPENED) });
            put("content", content);
        }
        (Some(Kind::Set), parts) => {
            let parts = parts.iter().map(|part| {
                let mut object = part_json(part, names);
                object.insert("kind".to_owned(), part.kind.name().into());
                object.insert("partition".to_owned(), part.partition.0.into());
                Value::Object(object)
            });
            put("parts", parts.collect());
        }
        (_, [part]) => object.extend(part_json(part, names)),
        _ => {}
    }
    Value::Object(object)
}

fn part_json(part: &Part<'_>, names: &Names) -> Map<String, Value> {
    if part.kind == Kind::Records {
        return records_json(part, names).unwrap_or_default();
    }
    let content = content(part, names).map_or(Value::Null, Value::Object);
    Map::from_iter([("content".to_owned(), content)])
}

fn records_json(part: &Part<'_>, names: &Names) -> Option<Map<String, Value>> {
    let batch = BatchHeader::parse(part.payload).ok()?;
    let partition = names.partition(part.partition.0);
    object(json!({
        "topic": partition.topic,
        "topic_partition": partition.number,
        "base_offset": batch.base_offset,
        "last_offset": batch.last_offset(),
        "records": batch.record_count,
        "leader_epoch": batch.leader_epoch,
        "codec": batch.codec().name(),
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "base_timestamp_ms": batch.base_timestamp_ms,
        "max_timestamp_ms": batch.max_timestamp_ms,
    }))
}

/// What a control payload says; none if it cannot be read.
fn content(part: &Part<'_>, names: &Names) -> Option<Map<String, Value>> {
    let payload = part.payload;
    let config = |pairs: Vec<(String, String)>| -> Value {
        let pairs = pairs.into_iter().map(|(name, value)| (name, value.into()));
        Value::Object(pairs.collect())
    };
    object(match part.kind {
        Kind::TopicCreate => {
            let create: TopicCreate = decode(payload)?;
            let uuid = display_uuid(&create.uuid);
            json!({ "topic": create.name, "uuid": uuid, "config": config(create.config) })
        }
        Kind::TopicAlter => {
            let alter: TopicAlter = decode(payload)?;
            json!({ "topic": names.topic(&alter.uuid), "config": config(alter.config) })
        }
        Kind::TopicDelete => {
            let delete: TopicDelete = decode(payload)?;
            json!({ "topic": names.topic(&delete.uuid), "uuid": display_uuid(&delete.uuid) })
        }
        Kind::PartitionOpen => {
            let open: PartitionOpen = decode(payload)?;
            json!({
                "id": part.partition.0,
                "topic": names.topic(&open.topic),
                "partition": open.partition,
                "start_offset": open.start_offset,
            })
        }
        Kind::LogStart => {
            let start: LogStart = decode(payload)?;
            let partition = names.partition(part.partition.0);
            json!({
                "topic": partition.topic,
                "partition": partition.number,
                "log_start_offset": start.offset,
            })
        }
        Kind::OffsetCommit => {
            offset_commit(&decode_offset_commit(part.version, payload).ok()?, names)
        }
        Kind::Group => {
            let group: Group = decode(payload)?;
            json!({
                "group": group.group,
                "generation": group.generation,
                "members": group.members,
                "is_deleted": group.is_deleted,
            })
        }
        Kind::ProducerIds => {
            let ids: ProducerIds = decode(payload)?;
            json!({ "first": ids.first, "count": ids.count })
        }
        Kind::ProducerExpire => {
            let expire: ProducerExpire = decode(payload)?;
            json!({ "producer_id": expire.producer_id })
        }
        Kind::Vote => vote_json(&decode(payload)?),
        Kind::Membership => membership_json(&decode(payload)?),
        _ => return None,
    })
}

fn vote_json(vote: &Vote) -> Value {
    let entry = |EntryId { term, index }| json!({ "term": term, "index": index });
    json!({
        "term": vote.term,
        "node": vote.node,
        "is_committed": vote.is_committed,
        "purged": entry(vote.purged),
        "committed": entry(vote.committed),
    })
}

fn membership_json(membership: &Membership) -> Value {
    let members = membership.members.iter();
    let members = members.map(|member| json!({ "node": member.node, "address": member.address }));
    json!({ "voters": membership.voters, "members": members.collect::<Vec<_>>() })
}

/// What was noted beside an offset, in brackets.
fn noted(details: &CommitDetails) -> String {
    match details.leader_epoch {
        NO_LEADER_EPOCH if details.metadata.is_empty() => String::new(),
        epoch => format!(" (leader epoch {epoch}, {:?})", details.metadata),
    }
}

fn offset_commit(detailed: &DetailedOffsetCommit, names: &Names) -> Value {
    let commit = &detailed.commit;
    let offsets = commit.offsets.iter().enumerate().map(|(at, committed)| {
        let mut offset = json!({
            "topic": names.topic(&committed.topic),
            "partition": committed.partition,
            "offset": committed.offset,
        });
        if let (Some(details), Some(fields)) = (detailed.details.get(at), offset.as_object_mut()) {
            fields.insert("leader_epoch".to_owned(), details.leader_epoch.into());
            fields.insert("metadata".to_owned(), details.metadata.as_str().into());
        }
        offset
    });
    json!({
        "group": commit.group,
        "generation": commit.generation,
        "offsets": offsets.collect::<Vec<_>>(),
    })
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        _ => None,
    }
}
