//! How a consumer is as a member of its group.

use std::time::{Duration, Instant};

use super::Remembered;
use super::state::State;
use crate::client::health::{MemberHealth, MemberState, millis};
use crate::world;

/// What is known of a membership.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) partitions: usize,
    /// When it began to join.
    pub(super) began: Instant,
    /// When a heartbeat was answered last.
    pub(super) heard: Option<Instant>,
}

impl Remembered {
    /// None: it has no group, nobody has read from it yet, or it is closed.
    pub(in crate::client) fn health(&self) -> Option<MemberHealth> {
        let state = self.0.upgrade()?;
        if state.is_closed() {
            return None;
        }
        state.health()
    }
}

impl State {
    fn health(&self) -> Option<MemberHealth> {
        let group = self.settings.group.clone()?;
        let standing = self.in_group.lock().as_ref().map(|it| it.standing());
        let Some(standing) = standing else {
            return self.outside(group);
        };
        let timeout = self.settings.session_timeout;
        let silent = standing
            .heard
            .map(|heard| world::now().saturating_duration_since(heard));
        let (state, reason) = if standing.generation <= 0 {
            let joins_for = world::now().saturating_duration_since(standing.began);
            let reason = (joins_for > timeout).then(|| joins_too_long(joins_for, timeout));
            (MemberState::Joining, reason)
        } else {
            match silent.filter(|silent| *silent > timeout) {
                Some(silent) => (MemberState::Lost, Some(unheard(silent, timeout))),
                None => (MemberState::Stable, None),
            }
        };
        Some(MemberHealth {
            group,
            member_id: standing.member_id,
            generation: standing.generation,
            state,
            partitions: standing.partitions as u64,
            last_heartbeat_ms: silent.map(millis),
            reason,
        })
    }

    /// It is in no group: not yet, or not any more.
    fn outside(&self, group: String) -> Option<MemberHealth> {
        let fatal = self.commits.lock().fatal.clone();
        let overdue = self.overdue.lock().clone();
        let opening = self.opening.lock().clone();
        let opened = opening.as_ref().and_then(|opening| opening.peek());
        let failed = opened.and_then(Result::err);
        let was_in = self.heard_of_host.lock().is_some();
        let (state, reason) = match (fatal.or(overdue).or(failed), opening.is_some()) {
            (Some(error), _) => (MemberState::Lost, Some(error.message().to_owned())),
            (None, true) => (MemberState::Joining, None),
            (None, false) if was_in => (MemberState::Lost, Some(NOT_BACK.to_owned())),
            (None, false) => return None,
        };
        Some(MemberHealth {
            group,
            member_id: String::new(),
            generation: 0,
            state,
            partitions: 0,
            last_heartbeat_ms: None,
            reason,
        })
    }
}

const NOT_BACK: &str = "it has left the group, and nobody has read from it since";

fn joins_too_long(joins_for: Duration, timeout: Duration) -> String {
    format!(
        "it has been joining for {} ms, and session_timeout_ms is {}",
        joins_for.as_millis(),
        timeout.as_millis()
    )
}

fn unheard(silent: Duration, timeout: Duration) -> String {
    format!(
        "no heartbeat was answered for {} ms, and session_timeout_ms is {}: others may have its partitions",
        silent.as_millis(),
        timeout.as_millis()
    )
}
