//! One group: its members, and whose each partition is. What comes in is sorted out here; who joins and
//! leaves is in `roster.rs`, who gets what in `reconcile.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::member::{Member, Parked};
use super::removed::RemovedMembers;
use super::{AWAY, Assigned, Heartbeat, JOINING, LEAVING, Lifetime, MemberId, Output};
use crate::error::{Error, Result};
use crate::ids::TopicPartition;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    /// The last generation that the log has.
    pub(super) generation: i32,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) instances: BTreeMap<Arc<str>, MemberId>,
    /// Who is to have a partition in this generation.
    pub(super) target: BTreeMap<TopicPartition, MemberId>,
    /// Who has it. Members that were removed stay here until a generation without them is in the log.
    pub(super) holders: BTreeMap<TopicPartition, MemberId>,
    /// What the log is being told.
    pub(super) proposal: Option<Proposal>,
    /// What it has to be told next.
    pub(super) due: Due,
    /// Whether the log lists members who may come back with what is void, or does not list some who have let go of it.
    pub(super) is_list_old: bool,
    /// When that is tried again, after it failed.
    pub(super) retry_at: Option<Instant>,
    pub(super) recovery: Option<Recovery>,
}

/// A generation on its way to the log.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) write: u64,
    pub(super) generation: i32,
    /// None: only the list of members changes.
    pub(super) target: Option<BTreeMap<TopicPartition, MemberId>>,
    pub(super) roster: BTreeSet<MemberId>,
}

/// What the log has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Nothing,
    /// Who is a member, in the same generation.
    Roster,
    /// A new generation.
    Target,
}

/// After a restart: who is waited for, and how long.
#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) until: Instant,
    pub(super) missing: BTreeSet<MemberId>,
    /// Topics of which those who are missing may know what is not so any more: they were deleted meanwhile, and there
    /// may be others of their names, or a crash may have taken records back.
    pub(super) gone: BTreeSet<Arc<str>>,
}

/// What an input is handled with.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    /// How many partitions each topic has.
    pub(super) topics: &'a BTreeMap<Arc<str>, i32>,
    pub(super) removed: &'a mut RemovedMembers,
    /// The number of the next write.
    pub(super) next_write: &'a mut u64,
    pub(super) outputs: &'a mut Vec<Output>,
}

impl Turn<'_> {
    pub(super) fn answer(&mut self, ticket: u64, result: Result<Assigned>) {
        self.outputs.push(Output::Answer { ticket, result });
    }
}

impl Group {
    pub(super) fn new(id: Arc<str>, generation: i32) -> Self {
        Self {
            id,
            // Those below 0 mean something else; no log of ours has one.
            generation: generation.max(0),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            target: BTreeMap::new(),
            holders: BTreeMap::new(),
            proposal: None,
            due: Due::Nothing,
            is_list_old: false,
            retry_at: None,
            recovery: None,
        }
    }

    /// Whether there is nothing about it that the log does not know.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty()
            && self.proposal.is_none()
            && self.recovery.is_none()
            && self.due == Due::Nothing
    }

    /// A topic is gone, or another has come in its place: what is held of it counts for no other of its name.
    pub(super) fn void(&mut self, topic: &Arc<str>) {
        for member in self.members.values_mut() {
            self.is_list_old |= member.void(topic);
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.gone.insert(Arc::clone(topic));
            self.is_list_old = true;
        }
    }

    /// Whether a topic's partitions concern its assignment.
    pub(super) fn reads(&self, topic: &str) -> bool {
        let mut sharing = self.members.values();
        sharing
            .any(|member| member.lifetime != Lifetime::Exclusive && member.topics.contains(topic))
    }

    pub(super) fn has_member_of(&self, session: u64) -> bool {
        self.members
            .values()
            .any(|member| member.session == session)
    }

    pub(super) fn heartbeat(&mut self, heartbeat: &Heartbeat, turn: &mut Turn<'_>) {
        let received = match heartbeat.generation {
            LEAVING => self.leave(heartbeat, turn),
            AWAY => self.go_away(heartbeat, turn),
            _ => self.receive(heartbeat, turn),
        };
        if let Err(error) = received {
            turn.answer(heartbeat.ticket, Err(error));
        }
        self.settle(turn);
    }

    fn receive(&mut self, heartbeat: &Heartbeat, turn: &mut Turn<'_>) -> Result<()> {
        self.identify(heartbeat, turn)?;
        let generation = self.generation;
        let Some(member) = self.members.get_mut(&heartbeat.member_id) else {
            return Ok(());
        };
        member.hear(heartbeat, turn.now);
        // An older generation may be an older heartbeat, and say what it does not want any more.
        let knows = heartbeat.generation == generation || !member.is_told();
        if knows && (member.topics != heartbeat.topics || member.assignor != heartbeat.assignor) {
            member.topics.clone_from(&heartbeat.topics);
            member.assignor = heartbeat.assignor;
            self.due = Due::Target;
        }
        let told = (member.version, member.session);
        let is_behind = heartbeat.generation != generation || member.told != Some(told);
        let parked = Parked {
            ticket: heartbeat.ticket,
            until: turn.now + member.poll(),
            is_behind,
        };
        let earlier = member.parked.replace(parked);
        self.release(&heartbeat.member_id, heartbeat.generation, &heartbeat.owned);
        if let Some(earlier) = earlier {
            let assigned = self.assigned(&heartbeat.member_id);
            turn.answer(earlier.ticket, Ok(assigned));
        }
        Ok(())
    }

    /// Whatever time has brought.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) {
        self.remove_late(turn);
        if self.retry_at.is_some_and(|at| at <= turn.now) {
            self.retry_at = None;
        }
        if self
            .recovery
            .as_ref()
            .is_some_and(|recovery| recovery.until <= turn.now)
        {
            self.give_up(turn);
        }
        self.settle(turn);
    }

    /// Nothing could come in for a while: that is nobody's silence.
    pub(super) fn excuse(&mut self, stalled: Duration) {
        for member in self.members.values_mut() {
            member.heard += stalled;
            let held = member.held.values_mut();
            for revoked in held.filter_map(|held| held.revoked.as_mut()) {
                revoked.since += stalled;
            }
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.until += stalled;
        }
    }

    /// When `advance` has something to do.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        let members = self.members.values().filter_map(Member::wakeup);
        let recovery = self.recovery.as_ref().map(|recovery| recovery.until);
        members.chain(self.retry_at).chain(recovery).min()
    }

    /// What follows from any input: the end of waiting, the next generation, answers.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        if self
            .recovery
            .as_ref()
            .is_some_and(|recovery| recovery.missing.is_empty())
        {
            self.recovery = None;
            self.due = Due::Target;
        }
        self.propose(turn);
        self.answer_news(turn);
    }

    /// Answers all who wait and have something to learn, or have waited long enough.
    fn answer_news(&mut self, turn: &mut Turn<'_>) {
        let mut due = Vec::new();
        for member in self.members.values_mut() {
            let told = (member.version, member.session);
            let has_news = |parked: &Parked| {
                let is_late = parked.until <= turn.now;
                let is_news = parked.is_behind || member.told != Some(told);
                is_late || (is_news && member.is_listed && member.joined.is_some())
            };
            if let Some(parked) = member.parked.filter(has_news) {
                member.parked = None;
                if member.is_told() {
                    member.told = Some(told);
                    member.known = self.generation;
                }
                due.push((parked.ticket, Arc::clone(&member.id)));
            }
        }
        for (ticket, id) in due {
            let assigned = self.assigned(&id);
            turn.answer(ticket, Ok(assigned));
        }
    }

    /// What a member is told.
    fn assigned(&self, id: &MemberId) -> Assigned {
        let member = self.members.get(id).filter(|member| member.is_told());
        let partitions = member.map(|member| member.assigned().cloned().collect());
        Assigned {
            group: Arc::clone(&self.id),
            member_id: Arc::clone(id),
            generation: member.map_or(JOINING, |_| self.generation),
            partitions: partitions.unwrap_or_default(),
        }
    }

    /// The log has what it was last told, or could not take it.
    pub(super) fn persisted(&mut self, write: u64, result: Result<()>, turn: &mut Turn<'_>) {
        let Some(proposal) = self.proposal.take_if(|proposal| proposal.write == write) else {
            return;
        };
        match result {
            Ok(()) => self.install(proposal, turn.now),
            Err(error) => self.take_back(&proposal, &error, turn),
        }
        self.settle(turn);
    }

    /// A generation that the log did not take: who waits to get in is told, the others go on as they are.
    fn take_back(&mut self, proposal: &Proposal, error: &Error, turn: &mut Turn<'_>) {
        let what = proposal
            .target
            .as_ref()
            .map_or(Due::Roster, |_| Due::Target);
        self.due = self.due.max(what);
        let outside = self.members.values().filter(|member| !member.is_told());
        let outside: Vec<_> = outside.map(|member| Arc::clone(&member.id)).collect();
        if !outside.is_empty() {
            self.due = Due::Target;
        }
        for id in outside {
            if let Some(parked) = self.drop_member(&id).and_then(|member| member.parked) {
                turn.answer(parked.ticket, Err(error.clone()));
            }
        }
        if self.members.is_empty() && self.recovery.is_none() {
            // Nobody is left to whom it matters; the log says what it said before.
            self.due = Due::Nothing;
            self.holders.clear();
        } else {
            self.is_list_old |= proposal.target.is_none();
            self.retry_at = Some(turn.now + super::coordinator::PERSIST_AGAIN);
        }
    }
}
