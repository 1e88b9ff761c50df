//! What there is to read of a request's partitions, in their order.

use std::sync::Arc;

use bytes::Bytes;
use headwater::Completion;
use headwater::engine::partition::{Partition, Readable};
use headwater::ids::{LeaderEpoch, PartitionId};

use super::{Asked, Row, VERSION_WITH_IDS};
use crate::kafka::context::Context;
use crate::kafka::epochs;
use crate::kafka::error::{self, code};

/// Partitions that are looked at before other connections have their turn.
const ROWS_IN_A_TURN: usize = 1_024;

/// A partition of an answer.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) error_code: i16,
    pub(super) high_watermark: i64,
    pub(super) log_start_offset: i64,
    /// Where the client's records and the log's part.
    pub(super) diverging: Option<(LeaderEpoch, i64)>,
    pub(super) batches: Vec<Bytes>,
    pub(super) bytes: usize,
    /// Whether more could be read, and has no place in the answer.
    pub(super) is_cut: bool,
}

impl Found {
    fn failed(error_code: i16) -> Self {
        Self {
            error_code,
            high_watermark: -1,
            log_start_offset: -1,
            diverging: None,
            batches: Vec::new(),
            bytes: 0,
            is_cut: false,
        }
    }

    fn empty(partition: &Partition) -> Self {
        let status = partition.status();
        Self {
            high_watermark: status.high_watermark,
            log_start_offset: status.log_start_offset,
            ..Self::failed(error::NONE)
        }
    }
}

/// How many bytes may still be given, and whether nothing is yet: then one batch may exceed it (KIP-74).
struct Budget {
    bytes: usize,
    is_untouched: bool,
    /// Whether something had no place any more: then nothing else is read.
    is_full: bool,
    /// The first partition that had none, and is looked at first the next time.
    left_out: Option<PartitionId>,
}

/// What was found, partition by partition as they were asked for.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) found: Vec<Found>,
    /// Whether there is no place for more.
    pub(super) is_full: bool,
    /// The partition whose turn it is the next time, if one had no place.
    pub(super) left_out: Option<PartitionId>,
}

/// Looks at every partition of a request: in their order, beginning with the one that had no place in the answer
/// before, so that each has its turn however the client orders them.
pub(super) async fn look_all(context: &Context, asked: &Asked) -> Look {
    let mut budget = Budget {
        bytes: asked.max_bytes,
        is_untouched: true,
        is_full: false,
        left_out: None,
    };
    let rows: Vec<_> = asked.topics.iter().flat_map(|topic| &topic.rows).collect();
    let next = context.fetch_turn().and_then(|next| {
        let is_next = |row: &&Row| row.partition.as_ref().is_ok_and(|it| it.id == next);
        rows.iter().position(is_next)
    });
    let (last, first) = rows.split_at_checked(next.unwrap_or(0)).unwrap_or_default();
    let mut all = Vec::with_capacity(rows.len());
    for row in first.iter().chain(last) {
        if all.len() % ROWS_IN_A_TURN == ROWS_IN_A_TURN - 1 {
            tokio::task::yield_now().await;
        }
        let found = match &row.partition {
            Ok(partition) => look(context, asked, row, partition, &mut budget).await,
            Err(error_code) => Found::failed(*error_code),
        };
        all.push(found);
    }
    all.rotate_right(last.len());
    Look {
        found: all,
        is_full: budget.is_full,
        left_out: budget.left_out,
    }
}

async fn look(
    context: &Context,
    asked: &Asked,
    row: &Row,
    partition: &Arc<Partition>,
    budget: &mut Budget,
) -> Found {
    if !context.service().holds(partition) {
        return Found::failed(if asked.version >= VERSION_WITH_IDS {
            code::UNKNOWN_TOPIC_ID
        } else {
            code::UNKNOWN_TOPIC_OR_PARTITION
        });
    }
    if let Err(error_code) = epochs::check(context, row.current_leader_epoch) {
        return Found::failed(error_code);
    }
    match diverging(context, row, partition) {
        Ok(None) => {}
        Ok(diverging) => {
            return Found {
                diverging,
                ..Found::empty(partition)
            };
        }
        Err(error_code) => return Found::failed(error_code),
    }
    if budget.is_full {
        if budget.left_out.is_none() && partition.is_readable_at(row.offset) {
            budget.left_out = Some(partition.id);
        }
        return Found::empty(partition);
    }
    let max_bytes = row.max_bytes.min(budget.bytes);
    let batches = match read(context, partition, row.offset, max_bytes).await {
        Ok(batches) => batches,
        Err(error_code) => return Found::failed(error_code),
    };
    let fits = |first: &Readable| budget.is_untouched || first.bytes.len() <= max_bytes;
    let mut found = Found::empty(partition);
    if batches.first().is_some_and(fits) {
        let end = batches.last().map_or(row.offset, |last| last.next_offset);
        found.is_cut = end < found.high_watermark;
        found.bytes = batches.iter().map(|batch| batch.bytes.len()).sum();
        found.batches = batches.into_iter().map(|batch| batch.bytes).collect();
        budget.bytes = budget.bytes.saturating_sub(found.bytes);
        budget.is_untouched = false;
        budget.is_full = budget.bytes == 0;
    } else if !batches.is_empty() {
        // Whatever else is read may have no place either, and would be read for nothing.
        budget.is_full = true;
        budget.left_out = Some(partition.id);
    }
    found
}

/// Where what a client says it has read is not what is there any more (KIP-320).
fn diverging(
    context: &Context,
    row: &Row,
    partition: &Partition,
) -> Result<Option<(LeaderEpoch, i64)>, i16> {
    if row.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let read = LeaderEpoch(row.last_fetched_epoch);
    match epochs::end_at(context, partition, read) {
        Some((epoch, end_offset)) if epoch < read || end_offset < row.offset => {
            Ok(Some((epoch, end_offset)))
        }
        Some(_) => Ok(None),
        None => Err(code::OFFSET_OUT_OF_RANGE),
    }
}

/// The batches of a partition: from memory here, else from the files, on the thread that reads them.
async fn read(
    context: &Context,
    partition: &Arc<Partition>,
    offset: i64,
    max_bytes: usize,
) -> Result<Vec<Readable>, i16> {
    let mut batches = Vec::new();
    match partition.readable(offset, max_bytes, &mut batches) {
        Ok(high_watermark) if batches.is_empty() && offset < high_watermark => {}
        Ok(_) => return Ok(batches),
        Err(_) => return Err(code::OFFSET_OUT_OF_RANGE),
    }
    context.figures().read_files();
    let (completion, pending) = Completion::pair();
    let (service, partition) = (context.service().clone(), Arc::clone(partition));
    context.service().schedule_turn(move || {
        completion.finish(service.fetch(&partition, offset, max_bytes));
    });
    match pending.await {
        Ok(Ok(fetched)) => Ok(fetched.batches),
        Ok(Err(_)) => Err(code::OFFSET_OUT_OF_RANGE),
        Err(error) => {
            headwater::seldom!(warn, %error, "a Kafka client's fetch failed");
            Err(error::of(&error))
        }
    }
}
