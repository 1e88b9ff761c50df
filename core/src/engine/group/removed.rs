//! Members that are none any more, and why: for a while, so that who comes back learns it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::MemberId;
use super::coordinator::RECOVERY_GRACE;
use crate::error::{Error, ErrorCode};
use crate::limits::GROUP_MEMBERS_REMEMBERED_MAX;

/// Why a member is none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It left.
    Left,
    /// Its session ended, and it had no longer life than that.
    SessionEnded,
    /// It was silent for too long.
    Silent {
        heard: Instant,
        session_timeout: Duration,
    },
    /// Its connection was lost, and it did not come back in time.
    Lost { heard: Instant, allowed: Duration },
    /// It did not let go of a partition in time.
    Held {
        since: Instant,
        rebalance_timeout: Duration,
    },
    /// It did not come back after a restart of the broker.
    NotBack,
    /// Another member of its instance id took its place.
    Replaced { instance_id: Arc<str>, by: MemberId },
    /// It was a static member, and went away for a moment.
    Away { instance_id: Arc<str> },
}

/// The last members that were removed, of all groups.
#[derive(Debug, Default)]
pub(super) struct RemovedMembers {
    by_id: BTreeMap<(Arc<str>, MemberId), Removal>,
    oldest_first: VecDeque<(Arc<str>, MemberId)>,
}

impl RemovedMembers {
    pub(super) fn remember(&mut self, group: &Arc<str>, member: &MemberId, removal: Removal) {
        let key = (Arc::clone(group), Arc::clone(member));
        if self.by_id.insert(key.clone(), removal).is_none() {
            self.oldest_first.push_back(key);
        }
        while self.oldest_first.len() > GROUP_MEMBERS_REMEMBERED_MAX {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// Why this one is no member.
    pub(super) fn get(&self, group: &Arc<str>, member: &MemberId) -> Option<&Removal> {
        self.by_id.get(&(Arc::clone(group), Arc::clone(member)))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Removal {
    /// What a member is told that was removed for this.
    pub(super) fn error(&self, group: &str, member: &str, now: Instant) -> Error {
        let who = format!("member `{}` of group `{group}`", member.escape_debug());
        let ms = |since: &Instant| now.saturating_duration_since(*since).as_millis();
        let (code, message) = match self {
            Self::Left => (ErrorCode::UnknownMemberId, format!("{who} has left it")),
            Self::SessionEnded => (
                ErrorCode::UnknownMemberId,
                format!("{who} ended with its session"),
            ),
            Self::Silent {
                heard,
                session_timeout,
            } => (
                ErrorCode::UnknownMemberId,
                format!(
                    "{who} was silent for {} ms; its session_timeout_ms is {}",
                    ms(heard),
                    session_timeout.as_millis()
                ),
            ),
            Self::Lost { heard, allowed } => (
                ErrorCode::UnknownMemberId,
                format!(
                    "{who} lost its connection and was silent for {} ms; without one it has {} \
                     (twice its heartbeat_ms)",
                    ms(heard),
                    allowed.as_millis()
                ),
            ),
            Self::Held {
                since,
                rebalance_timeout,
            } => (
                ErrorCode::UnknownMemberId,
                format!(
                    "{who} was asked to let go of partitions {} ms ago and did not; its \
                     rebalance_timeout_ms is {}",
                    ms(since),
                    rebalance_timeout.as_millis()
                ),
            ),
            Self::NotBack => (
                ErrorCode::UnknownMemberId,
                format!(
                    "{who} did not come back within {} ms after the broker started",
                    RECOVERY_GRACE.as_millis()
                ),
            ),
            Self::Replaced { instance_id, by } => (
                ErrorCode::FencedInstanceId,
                format!(
                    "{who} was replaced: member `{}` joined with the same instance_id \
                     `{instance_id}`",
                    by.escape_debug()
                ),
            ),
            Self::Away { instance_id } => (
                ErrorCode::FencedInstanceId,
                format!(
                    "{who} went away; who comes back as instance_id `{instance_id}` needs a new \
                     member id"
                ),
            ),
        };
        Error::new(code, message)
    }
}
