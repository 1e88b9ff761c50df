//! Fetch: record batches as they are stored, at once or as soon as there are enough.
//!
//! There are no fetch sessions: every answer says session 0, upon which a client sends all it wants in every
//! request (KIP-227). There are no transactions either: what is readable is stable, at every isolation level.
//!
//! A long poll holds no thread. It looks, arms a signal with the partitions, looks again, and is woken by what
//! becomes readable, by its time, or by the end of the connection. Files are read on the log's io thread, a
//! partition at a time, and no more of them than the answer has a place for.

mod look;
mod write;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use headwater::completion::Wake;
use headwater::engine::partition::{Partition, Signal};
use headwater::limits;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{self, code};
use super::wire::{Malformed, Reader};
use look::{Found, Look, look_all};

/// The first version that names topics by their ids.
const VERSION_WITH_IDS: i16 = 13;

/// A request.
#[derive(Debug)]
struct Asked {
    version: i16,
    is_flexible: bool,
    max_wait: Duration,
    min_bytes: usize,
    max_bytes: usize,
    is_committed_only: bool,
    session_id: i32,
    topics: Vec<Topic>,
}

/// A topic of a request.
#[derive(Debug)]
struct Topic {
    name: String,
    id: [u8; 16],
    rows: Vec<Row>,
}

/// A partition of a request.
#[derive(Debug)]
struct Row {
    index: i32,
    current_leader_epoch: i32,
    offset: i64,
    last_fetched_epoch: i32,
    max_bytes: usize,
    /// The partition that is meant, or the code that says why there is none.
    partition: Result<Arc<Partition>, i16>,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let mut asked = read(request)?;
    if asked.session_id != 0 {
        let code = code::FETCH_SESSION_ID_NOT_FOUND;
        asked.topics.clear();
        return Ok(Answer::Now(write::reply(&asked, code, Vec::new())));
    }
    for topic in &mut asked.topics {
        resolve(context, asked.version, topic);
    }
    let context = context.clone();
    Ok(Answer::later(async move { poll(&context, &asked).await }))
}

fn read(request: &mut Request<'_>) -> Result<Asked, Malformed> {
    let (version, is_flexible) = (request.version, request.is_flexible);
    let fields = &mut request.fields;
    if version < 15 {
        fields.i32("replica_id")?;
    }
    let max_wait_ms = fields.i32("max_wait_ms")?;
    let min_bytes = fields.i32("min_bytes")?;
    let max_bytes = fields.i32("max_bytes")?;
    let is_committed_only = fields.i8("isolation_level")? != 0;
    let mut session_id = 0;
    if version >= 7 {
        session_id = fields.i32("session_id")?;
        fields.i32("session_epoch")?;
    }
    let topics = fields.array("topics", |fields| read_topic(fields, version))?;
    if version >= 7 {
        fields.array("forgotten_topics_data", |fields| {
            if version >= VERSION_WITH_IDS {
                fields.uuid("topic_id")?;
            } else {
                fields.string("topic")?;
            }
            fields.array("partitions", |fields| fields.i32("partition"))?;
            fields.tags()
        })?;
    }
    if version >= 11 {
        fields.string("rack_id")?;
    }
    fields.end()?;
    let max_bytes = bytes(max_bytes).min(limits::KAFKA_FETCH_BYTES_MAX);
    Ok(Asked {
        version,
        is_flexible,
        max_wait: Duration::from_millis(u64::try_from(max_wait_ms).unwrap_or(0)),
        // What can never be given is not waited for.
        min_bytes: bytes(min_bytes).min(max_bytes),
        max_bytes,
        is_committed_only,
        session_id,
        topics,
    })
}

fn read_topic(fields: &mut Reader<'_>, version: i16) -> Result<Topic, Malformed> {
    let (mut name, mut id) = (String::new(), [0; 16]);
    if version >= VERSION_WITH_IDS {
        id = fields.uuid("topic_id")?;
    } else {
        fields.string("topic")?.clone_into(&mut name);
    }
    let rows = fields.array("partitions", |fields| {
        let index = fields.i32("partition")?;
        let mut current_leader_epoch = -1;
        if version >= 9 {
            current_leader_epoch = fields.i32("current_leader_epoch")?;
        }
        let offset = fields.i64("fetch_offset")?;
        let mut last_fetched_epoch = -1;
        if version >= 12 {
            last_fetched_epoch = fields.i32("last_fetched_epoch")?;
        }
        if version >= 5 {
            fields.i64("log_start_offset")?;
        }
        let max_bytes = bytes(fields.i32("partition_max_bytes")?);
        fields.tags()?;
        Ok(Row {
            index,
            current_leader_epoch,
            offset,
            last_fetched_epoch,
            max_bytes,
            partition: Err(code::UNKNOWN_TOPIC_OR_PARTITION),
        })
    })?;
    fields.tags()?;
    Ok(Topic { name, id, rows })
}

fn bytes(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Finds the partitions that are meant.
fn resolve(context: &Context, version: i16, topic: &mut Topic) {
    let service = context.service();
    let (found, unknown) = if version >= VERSION_WITH_IDS {
        (service.topic_by_uuid(&topic.id), code::UNKNOWN_TOPIC_ID)
    } else {
        (service.topic(&topic.name), code::UNKNOWN_TOPIC_OR_PARTITION)
    };
    for row in &mut topic.rows {
        row.partition = match &found {
            Some(found) => found
                .partition(row.index)
                .cloned()
                .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION),
            None => Err(unknown),
        };
    }
}

/// Looks until there is enough, the time is over, or the connection ends.
async fn poll(context: &Context, asked: &Asked) -> Reply {
    let deadline = Instant::now() + asked.max_wait;
    let found = look_all(context, asked).await;
    if asked.max_wait.is_zero() || is_enough(asked, &found) {
        return reply(context, asked, found);
    }
    let (signal, more) = watch(asked);
    loop {
        // Armed first, looked second: what becomes readable in between is seen by one of the two.
        let woken = Arc::clone(&more);
        signal.arm(Wake::Hook(Arc::new(move || woken.notify_one())));
        let found = look_all(context, asked).await;
        if is_enough(asked, &found) {
            return reply(context, asked, found);
        }
        tokio::select! {
            biased;
            () = more.notified() => {}
            () = tokio::time::sleep_until(deadline) => {
                return reply(context, asked, found);
            }
            () = context.ended() => return reply(context, asked, found),
        }
    }
}

fn reply(context: &Context, asked: &Asked, look: Look) -> Reply {
    context.set_fetch_turn(look.left_out);
    write::reply(asked, error::NONE, look.found)
}

/// A signal that every partition fires when more of it becomes readable, and what it notifies.
fn watch(asked: &Asked) -> (Arc<Signal>, Arc<Notify>) {
    let signal = Arc::new(Signal::default());
    let mut watched = HashSet::new();
    for row in asked.topics.iter().flat_map(|topic| &topic.rows) {
        // Once each: what is watched looks through all that watch it.
        if let Ok(partition) = &row.partition
            && watched.insert(partition.id)
        {
            partition.add_watcher(&signal);
        }
    }
    (signal, Arc::new(Notify::new()))
}

/// Whether a client wants to know this now.
fn is_enough(asked: &Asked, look: &Look) -> bool {
    let found = &look.found;
    // Of what is cut there is as much as can be given: who waits for it does not get more.
    let is_urgent = |found: &Found| {
        found.error_code != error::NONE || found.diverging.is_some() || found.is_cut
    };
    let bytes = found.iter().map(|found| found.bytes).sum::<usize>();
    look.is_full || bytes >= asked.min_bytes || found.is_empty() || found.iter().any(is_urgent)
}
