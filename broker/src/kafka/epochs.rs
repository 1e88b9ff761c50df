//! Leader epochs as Kafka's clients see them: the log's term is the epoch of every partition, from the moment on at
//! which the log was opened, and not from its first batch on.

use headwater::engine::partition::Partition;
use headwater::ids::LeaderEpoch;

use super::context::Context;
use super::error::code;

/// Whether a client's leader epoch is the one there is; -1 is not looked at (KIP-320).
///
/// # Errors
/// Kafka's number: the client is to ask for the metadata again.
pub(super) fn check(context: &Context, current_leader_epoch: i32) -> Result<(), i16> {
    let ours = context.service().leader_epoch().0;
    match current_leader_epoch {
        ..=-1 => Ok(()),
        epoch if epoch < ours => Err(code::FENCED_LEADER_EPOCH),
        epoch if epoch > ours => Err(code::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// The largest epoch of a partition that is not above `epoch`, and its end. None if `epoch` is above all.
pub(super) fn end_at(
    context: &Context,
    partition: &Partition,
    epoch: LeaderEpoch,
) -> Option<(LeaderEpoch, i64)> {
    let term = context.service().leader_epoch();
    if epoch > term {
        return None;
    }
    let known = partition.epoch_end_at(epoch);
    // The term begins where the partition ended when it began, though nothing was written in it yet.
    known.or_else(|| {
        let below = partition.epoch_at(i64::MAX).unwrap_or(epoch);
        let found = if epoch == term { term } else { below };
        Some((found, partition.status().end_offset))
    })
}
