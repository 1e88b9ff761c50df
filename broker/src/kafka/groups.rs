//! What the APIs of groups share: fields that many of them have, and answers that come from a completion.

use std::sync::Arc;
use std::time::Duration;

use headwater::engine::group::{GroupState, MemberId};
use headwater::{Error, Pending, limits};
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::answer::{Answer, Reply};
use super::context::Context;
use super::error::{self, code};
use super::wire::{Malformed, Reader};

/// A string of an answer.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A group's id in an answer.
pub(super) fn group_id(id: &str) -> GroupId {
    GroupId(text(id))
}

/// A topic's name in an answer.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Partitions of a request, topic by topic as they were named.
pub(super) type Named = Vec<(String, Vec<i32>)>;

/// A topic's name as it is looked up. One that is too long is no topic's; it is not copied for each of the partitions
/// that are named with it.
pub(super) fn to_look_up(name: &str) -> &str {
    if name.len() > limits::NAME_BYTES_MAX {
        ""
    } else {
        name
    }
}

/// A member's id.
pub(super) fn member_id(fields: &mut Reader<'_>) -> Result<MemberId, Malformed> {
    fields.string("member_id").map(MemberId::from)
}

/// The name of a static member, from the version on that has it.
pub(super) fn instance_id(
    fields: &mut Reader<'_>,
    is_there: bool,
) -> Result<Option<Arc<str>>, Malformed> {
    if !is_there {
        return Ok(None);
    }
    let instance = fields.nullable_string("group_instance_id")?;
    Ok(instance.map(Arc::from))
}

/// Milliseconds as they are sent; below 0 they are none.
pub(super) fn ms(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// An answer that may be long in coming; when the connection ends nobody waits for it any more.
pub(super) fn when_there<T: Send + 'static>(
    context: &Context,
    pending: Pending<T>,
    reply: impl FnOnce(Result<T, Error>) -> Reply + Send + 'static,
) -> Answer {
    let context = context.clone();
    Answer::later(async move {
        tokio::select! {
            biased;
            result = pending => reply(result),
            () = context.ended() => Reply::Nothing,
        }
    })
}

/// Kafka's number for what happened, where a coordinator was asked: its clients know what to do about one that is
/// gone or cannot write, and not about a partition's leader or a disk.
pub(super) fn code_of(error: &Error) -> i16 {
    use headwater::ErrorCode as C;
    match error.code() {
        C::Closed | C::BrokerClosing | C::Forked | C::OwnerSilent | C::FolderLocked => {
            code::NOT_COORDINATOR
        }
        C::DiskFull | C::BufferFull | C::QuotaExceeded | C::KafkaStorageError => {
            code::COORDINATOR_NOT_AVAILABLE
        }
        _ => error::of(error),
    }
}

/// How a group stands, in Kafka's words.
pub(super) const fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::Stable => "Stable",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::PreparingRebalance | GroupState::Reconciling | GroupState::Recovering => {
            "PreparingRebalance"
        }
        GroupState::Dead => "Dead",
    }
}

#[cfg(test)]
mod tests;
