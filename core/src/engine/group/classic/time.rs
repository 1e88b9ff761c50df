//! What time and lost connections do to a group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::group::{Group, Phase};
use super::member::Member;
use super::{Turn, errors};
use crate::error::{Error, ErrorCode};

impl Group {
    /// Whatever time has brought.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) {
        self.promised
            .retain(|_, promised| promised.until > turn.now);
        let silent = self.members.values().filter(|member| {
            let end = member.session_end();
            end.is_some_and(|end| end <= turn.now)
        });
        let mut late: Vec<_> = silent.map(|member| Arc::clone(&member.id)).collect();
        if matches!(self.phase, Phase::Completing { until } if until <= turn.now) {
            let members = self.members.values();
            let unsynced = members.filter(|member| !member.has_synced);
            late.extend(unsynced.map(|member| Arc::clone(&member.id)));
            // All others wait for one that says nothing: they try again without it.
            self.prepare(turn);
        }
        for id in late {
            let why = errors::unknown_member(&self.id, &id);
            self.remove(&id, &why, turn);
        }
        self.settle(turn);
    }

    /// Nothing could come in for a while: that is nobody's silence. Whoever lives sends a heartbeat in each third
    /// of its session timeout, and what it sent is about to be read.
    pub(super) fn excuse(&mut self, now: Instant, stalled: Duration) {
        for member in self.members.values_mut() {
            let third = member.session_timeout / 3;
            let excused = member.heard + stalled;
            let end = (excused + member.session_timeout).max(now + third);
            member.heard = end.checked_sub(member.session_timeout).unwrap_or(excused);
        }
        for promised in self.promised.values_mut() {
            promised.until += stalled;
        }
        match &mut self.phase {
            Phase::Preparing { until, .. } | Phase::Completing { until } => *until += stalled,
            Phase::Empty | Phase::Stable => {}
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.until += stalled;
        }
    }

    /// When `advance` has something to do.
    pub(super) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let members = self.members.values().filter_map(Member::session_end);
        let promised = self.promised.values().map(|promised| promised.until);
        let recovery = self.recovery.as_ref().map(|recovery| recovery.until);
        let is_writing = self.proposal.is_some() || self.recovery.is_some();
        let phase = match self.phase {
            // What becomes of it is the log's to say.
            Phase::Preparing { .. } if is_writing => [None, None],
            Phase::Preparing { until, quiet, .. } => {
                [Some(until), quiet.filter(|quiet| *quiet > now)]
            }
            Phase::Completing { until } => [Some(until), None],
            Phase::Empty | Phase::Stable => [None, None],
        };
        let phase = phase.into_iter().flatten();
        members.chain(promised).chain(recovery).chain(phase).min()
    }

    /// A session is gone: what waited for an answer through it does not any more.
    pub(super) fn lose_session(&mut self, session: u64, turn: &mut Turn<'_>) {
        let gone = Error::new(
            ErrorCode::Closed,
            "the session ended before the answer came",
        );
        self.promised.retain(|_, it| it.session != session);
        let mut unknown = Vec::new();
        for member in self.members.values_mut() {
            if let Some(parked) = member.joining.take_if(|it| it.session == session) {
                member.heard = turn.now;
                turn.joined(parked, Err(gone.clone()));
                if !member.knows_id && member.instance_id.is_none() {
                    unknown.push(Arc::clone(&member.id));
                }
            }
            if let Some(parked) = member.syncing.take_if(|it| it.session == session) {
                member.heard = turn.now;
                turn.synced(parked, Err(gone.clone()));
            }
        }
        for id in unknown {
            self.remove(&id, &gone, turn);
        }
        self.settle(turn);
    }
}
