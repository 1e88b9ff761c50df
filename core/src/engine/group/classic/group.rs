//! One group: its members, where it stands between two generations, and what follows from that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::member::Member;
use super::recovery::Recovery;
use super::{Generation, Joined, Joiner, LISTED_PREFIX, Parked, Turn, errors, protocols};
use crate::engine::group::{MemberId, Output};
use crate::error::{Error, ErrorCode, Result};

#[cfg(test)]
use crate::engine::group::mutant::{self, Mutant};
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// A group that begins waits for more at most so many times its initial delay.
const INITIAL_DELAYS_MAX: u32 = 10;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    /// The generation that members were told last.
    pub(super) generation: i32,
    /// The last generation that the log has.
    pub(super) logged: i32,
    pub(super) phase: Phase,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) instances: BTreeMap<Arc<str>, MemberId>,
    /// Ids that were given to members that have to come back with them.
    pub(super) promised: BTreeMap<MemberId, Promised>,
    pub(super) leader: Option<MemberId>,
    pub(super) protocol_type: Arc<str>,
    pub(super) protocol: Arc<str>,
    /// What the log is being told.
    pub(super) proposal: Option<Proposal>,
    /// Whether the log has to learn of members in the place of others, or that there are none.
    pub(super) is_unlisted: bool,
    pub(super) recovery: Option<Recovery>,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No members.
    Empty,
    /// Members join again.
    Preparing {
        since: Instant,
        /// Who has not joined by then is none of the next generation.
        until: Instant,
        /// Until when others are waited for that nobody knows of yet.
        quiet: Option<Instant>,
    },
    /// The leader decides.
    Completing {
        /// Who has not asked for its assignment by then is none of the next generation.
        until: Instant,
    },
    /// All is decided.
    Stable,
}

/// An id that was given away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promised {
    pub(super) session: u64,
    pub(super) until: Instant,
}

/// On its way to the log.
#[derive(Debug)]
pub(super) struct Proposal {
    write: u64,
    generation: i32,
    roster: BTreeSet<MemberId>,
}

impl Group {
    pub(super) fn new(id: Arc<str>, generation: i32) -> Self {
        let generation = generation.max(0);
        Self {
            id,
            generation,
            logged: generation,
            phase: Phase::Empty,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            promised: BTreeMap::new(),
            leader: None,
            protocol_type: Arc::from(""),
            protocol: Arc::from(""),
            proposal: None,
            is_unlisted: false,
            recovery: None,
        }
    }

    /// Whether there is nothing about it that the log does not know.
    pub(super) fn is_idle(&self) -> bool {
        self.has_nobody() && self.proposal.is_none() && !self.is_unlisted
    }

    /// Whether it has no members, and waits for none.
    pub(super) fn has_nobody(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty() && self.recovery.is_none()
    }

    /// Whether something of it ends with this session.
    pub(super) fn concerns(&self, session: u64) -> bool {
        let is_of = |parked: Option<Parked>| parked.is_some_and(|parked| parked.session == session);
        let mut members = self.members.values();
        members.any(|member| is_of(member.joining) || is_of(member.syncing))
            || self.promised.values().any(|it| it.session == session)
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.members.values().map(Member::size_bytes).sum()
    }

    /// Members, and who is to be one.
    pub(super) fn len(&self) -> usize {
        self.members.len() + self.promised.len()
    }

    /// Members are to join again.
    pub(super) fn prepare(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::Preparing { .. }) {
            return;
        }
        let quiet = (self.phase == Phase::Empty).then(|| turn.now + turn.initial_delay);
        for member in self.members.values_mut() {
            if let Some(parked) = member.syncing.take() {
                member.heard = turn.now;
                turn.synced(parked, Err(errors::rebalancing(&self.id)));
            }
        }
        self.phase = Phase::Preparing {
            since: turn.now,
            until: turn.now + self.longest_rebalance(),
            quiet,
        };
    }

    /// Somebody came: others may be about to.
    pub(super) fn wait_for_more(&mut self, turn: &Turn<'_>) {
        if let Phase::Preparing { since, quiet, .. } = &mut self.phase
            && let Some(quiet) = quiet
        {
            let most = *since + turn.initial_delay * INITIAL_DELAYS_MAX;
            *quiet = (turn.now + turn.initial_delay).min(most);
        }
    }

    pub(super) fn longest_rebalance(&self) -> Duration {
        let members = self.members.values();
        let times = members.map(|member| member.rebalance_timeout);
        times.max().unwrap_or_default()
    }

    /// Takes a member out, and lets it know if it waits.
    pub(super) fn remove(&mut self, id: &MemberId, why: &Error, turn: &mut Turn<'_>) {
        let Some(member) = self.drop_member(id) else {
            return;
        };
        if let Some(parked) = member.joining {
            turn.joined(parked, Err(why.clone()));
        }
        if let Some(parked) = member.syncing {
            turn.synced(parked, Err(why.clone()));
        }
        #[cfg(test)]
        if mutant::is(Mutant::ClassicLeaderForgotten) {
            return;
        }
        self.prepare(turn);
    }

    pub(super) fn drop_member(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance_id
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = None;
        }
        Some(member)
    }

    /// What follows from any input.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        self.end_recovery(turn);
        if self.members.is_empty() && self.recovery.is_none() {
            if self.phase != Phase::Empty {
                self.phase = Phase::Empty;
                self.leader = None;
                self.is_unlisted = true;
            }
        } else if self.is_ready(turn) {
            return self.propose(self.logged.saturating_add(1), turn);
        }
        if self.is_unlisted && self.proposal.is_none() {
            match self.phase {
                Phase::Empty => self.propose(self.logged.saturating_add(1), turn),
                Phase::Stable => self.propose(self.logged, turn),
                // The next generation lists all.
                Phase::Preparing { .. } | Phase::Completing { .. } => self.is_unlisted = false,
            }
        }
    }

    /// Whether the next generation can begin; who is too late for it is left out.
    fn is_ready(&mut self, turn: &Turn<'_>) -> bool {
        let Phase::Preparing { until, quiet, .. } = self.phase else {
            return false;
        };
        if self.proposal.is_some() || self.recovery.is_some() {
            return false;
        }
        let mut members = self.members.values();
        let all_joined = members.all(|member| member.joining.is_some());
        if all_joined && self.promised.is_empty() && quiet.is_none_or(|quiet| quiet <= turn.now) {
            return true;
        }
        if until > turn.now {
            return false;
        }
        // A static member keeps its place until its session ends, whether it joins or not.
        let members = self.members.values();
        let late = members.filter(|it| it.joining.is_none() && it.instance_id.is_none());
        let late: Vec<_> = late.map(|member| Arc::clone(&member.id)).collect();
        for id in late {
            self.drop_member(&id);
        }
        if self.members.values().any(|it| it.joining.is_some()) {
            return true;
        }
        if let Phase::Preparing { until, .. } = &mut self.phase {
            let members = self.members.values();
            let times = members.map(|member| member.rebalance_timeout);
            *until = turn.now + times.max().unwrap_or_default();
        }
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.leader = None;
            self.is_unlisted = true;
        }
        false
    }

    /// Has the log told of a generation and its members.
    fn propose(&mut self, generation: i32, turn: &mut Turn<'_>) {
        let write = *turn.next_write;
        *turn.next_write += 1;
        let listed = |id: &MemberId| MemberId::from(format!("{LISTED_PREFIX}{id}"));
        turn.outputs.push(Output::Persist {
            write,
            group: Arc::clone(&self.id),
            generation,
            members: self.members.keys().map(listed).collect(),
        });
        self.is_unlisted = false;
        let proposal = Proposal {
            write,
            generation,
            roster: self.members.keys().cloned().collect(),
        };
        #[cfg(test)]
        if mutant::is(Mutant::ClassicToldUnpersisted) {
            self.install(&proposal, turn);
        }
        #[cfg(any(test, feature = "simulation"))]
        if simulated::has(Bug::GenerationUnlogged) {
            self.install(&proposal, turn);
        }
        self.proposal = Some(proposal);
    }

    /// The log has what it was last told, or could not take it.
    pub(super) fn persisted(&mut self, write: u64, result: Result<()>, turn: &mut Turn<'_>) {
        let Some(proposal) = self.proposal.take_if(|proposal| proposal.write == write) else {
            return;
        };
        match result {
            Ok(()) => {
                self.logged = proposal.generation;
                self.install(&proposal, turn);
            }
            Err(error) => self.take_back(&error, turn),
        }
        self.settle(turn);
    }

    fn install(&mut self, proposal: &Proposal, turn: &mut Turn<'_>) {
        let is_current = self.members.keys().eq(&proposal.roster);
        #[cfg(test)]
        let is_current = is_current || mutant::is(Mutant::ClassicOtherRoster);
        let is_next = proposal.generation > self.generation;
        let is_awaited = self.members.values().any(|it| it.joining.is_some());
        match self.phase {
            // Whoever came or went meanwhile: the generation that is told is one that the log has as it is.
            Phase::Preparing { .. } if is_current && is_next && is_awaited => {
                self.begin(proposal.generation, turn);
            }
            Phase::Stable if is_current => self.answer_replacements(turn),
            Phase::Stable => self.is_unlisted = true,
            Phase::Empty => {
                self.generation = proposal.generation;
                self.is_unlisted = !proposal.roster.is_empty();
            }
            Phase::Preparing { .. } | Phase::Completing { .. } => {}
        }
    }

    /// The log did not take it: who waits is told to try again.
    fn take_back(&mut self, error: &Error, turn: &mut Turn<'_>) {
        let message = format!(
            "group `{}`: its next generation could not be written, try again: {error}",
            self.id
        );
        let error = Error::new(ErrorCode::CoordinatorLoadInProgress, message);
        // Nobody is left to whom it matters; the log says what it said before.
        self.is_unlisted = false;
        if self.phase == Phase::Stable {
            self.prepare(turn);
        }
        let until = turn.now + self.longest_rebalance();
        if let Phase::Preparing { until: end, .. } = &mut self.phase {
            *end = until;
        }
        let mut unknown = Vec::new();
        for member in self.members.values_mut() {
            if let Some(parked) = member.joining.take() {
                member.heard = turn.now;
                turn.joined(parked, Err(error.clone()));
                // It was never told its id, so it comes as another.
                if !member.knows_id {
                    unknown.push(Arc::clone(&member.id));
                }
            }
        }
        for id in unknown {
            self.drop_member(&id);
        }
        if self.members.is_empty() {
            self.phase = Phase::Empty;
        }
    }

    /// A generation begins: all who joined are told.
    fn begin(&mut self, generation: i32, turn: &mut Turn<'_>) {
        self.generation = generation;
        let lists = self.members.values().map(|member| &*member.protocols);
        if let Some(protocol) = protocols::select(lists) {
            self.protocol = protocol;
        }
        let joined = |id: &MemberId| {
            let member = self.members.get(id);
            member.is_some_and(|member| member.joining.is_some())
        };
        self.leader = self.leader.take().filter(joined).or_else(|| {
            let mut members = self.members.values();
            let first = members.find(|member| member.joining.is_some());
            first.map(|member| Arc::clone(&member.id))
        });
        self.phase = Phase::Completing {
            until: turn.now + self.longest_rebalance(),
        };
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            member.has_synced = false;
        }
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            self.answer_joining(&id, false, turn);
        }
    }

    /// Tells one who joined the generation that there is.
    pub(super) fn answer_joining(&mut self, id: &MemberId, skips: bool, turn: &mut Turn<'_>) {
        let leader = self.leader.clone().unwrap_or_else(|| Arc::from(""));
        let generation = self.told(id, leader, skips);
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if let Some(parked) = member.joining.take() {
            member.heard = turn.now;
            member.knows_id = true;
            turn.joined(parked, Ok(Joined::Generation(generation)));
        }
    }

    /// What a member is told of the generation, with this leader.
    pub(super) fn told(&self, id: &MemberId, leader: MemberId, skips: bool) -> Generation {
        let is_leader = *id == leader;
        let members = self.members.values().map(|member| Joiner {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(&self.protocol),
        });
        Generation {
            member_id: Arc::clone(id),
            generation: self.generation,
            protocol_type: Arc::clone(&self.protocol_type),
            protocol: Arc::clone(&self.protocol),
            members: if is_leader {
                members.collect()
            } else {
                Vec::new()
            },
            skip_assignment: is_leader && skips,
            leader,
        }
    }
}
