//! After a restart: the members that the log lists are waited for, and join again under their ids.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::group::{Group, Phase};
use super::{Join, Turn};
use crate::engine::group::{MemberId, RECOVERY_GRACE};

/// Characters of what stands behind an instance id in a static member's id: a hyphen and a uuid.
const ID_TAIL: usize = 37;

#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) until: Instant,
    pub(super) missing: BTreeSet<MemberId>,
}

impl Group {
    /// A group as the log left it.
    pub(super) fn recovered(
        id: Arc<str>,
        generation: i32,
        missing: BTreeSet<MemberId>,
        now: Instant,
    ) -> Self {
        let until = now + RECOVERY_GRACE;
        let mut group = Self::new(id, generation);
        group.phase = Phase::Preparing {
            since: now,
            until,
            quiet: None,
        };
        group.recovery = Some(Recovery { until, missing });
        group
    }

    /// Whether it was a member before the restart, and is not back yet.
    pub(super) fn is_missing(&self, id: &MemberId) -> bool {
        let recovery = self.recovery.as_ref();
        recovery.is_some_and(|recovery| recovery.missing.contains(id))
    }

    /// One is not waited for any more; whether it was.
    pub(super) fn no_more_missing(&mut self, id: &MemberId) -> bool {
        let recovery = self.recovery.as_mut();
        recovery.is_some_and(|recovery| recovery.missing.remove(id))
    }

    /// A static member is there under a new id: the one it had is not waited for. The log does not say whose
    /// instance an id is, but ids begin with it.
    pub(super) fn forget_missing_instance(&mut self, join: &Join) {
        if let (Some(recovery), Some(instance)) = (&mut self.recovery, &join.instance_id) {
            let is_its = |id: &MemberId| {
                let tail = id.strip_prefix(&**instance);
                tail.is_some_and(|tail| tail.len() == ID_TAIL && tail.starts_with('-'))
            };
            recovery.missing.retain(|id| !is_its(id));
        }
    }

    /// Ends the waiting when all are back, or its time is over.
    pub(super) fn end_recovery(&mut self, turn: &Turn<'_>) {
        let is_over =
            |recovery: &mut Recovery| recovery.missing.is_empty() || recovery.until <= turn.now;
        if self.recovery.take_if(is_over).is_none() {
            return;
        }
        let longest = self.longest_rebalance();
        if let Phase::Preparing { until, .. } = &mut self.phase {
            *until = turn.now + longest;
        }
    }
}
