//! Syncing and heartbeats: a member asks what it is assigned, the leader says, all say that they live.

use bytes::Bytes;

use super::group::{Group, Phase};
use super::{Parked, Speaker, Sync, Synced, Turn, errors};
use crate::engine::group::MemberId;
use crate::error::Result;

#[cfg(test)]
use crate::engine::group::mutant::{self, Mutant};

impl Group {
    /// Whether somebody is the member of this generation that it says it is.
    pub(super) fn check_speaker(&self, speaker: &Speaker) -> Result<()> {
        let id = &speaker.member_id;
        if let Some(instance) = &speaker.instance_id {
            match self.instances.get(instance) {
                Some(holder) if holder != id => {
                    return Err(errors::fenced(&self.id, instance, id, holder));
                }
                Some(_) => {}
                None if self.is_missing(id) => {}
                None => return Err(errors::unknown_member(&self.id, id)),
            }
        }
        if !self.members.contains_key(id) && !self.is_missing(id) {
            return Err(errors::unknown_member(&self.id, id));
        }
        #[cfg(test)]
        if mutant::is(Mutant::ClassicAnyGeneration) {
            return Ok(());
        }
        if speaker.generation != self.generation {
            let (found, current) = (speaker.generation, self.generation);
            return Err(errors::other_generation(&self.id, id, found, current));
        }
        Ok(())
    }

    pub(super) fn beat(&mut self, speaker: &Speaker, turn: &Turn<'_>) -> Result<()> {
        self.check_speaker(speaker)?;
        if let Some(member) = self.members.get_mut(&speaker.member_id) {
            member.heard = turn.now;
        }
        match self.phase {
            Phase::Preparing { .. } => Err(errors::rebalancing(&self.id)),
            Phase::Empty | Phase::Completing { .. } | Phase::Stable => Ok(()),
        }
    }

    pub(super) fn sync(&mut self, sync: &Sync, turn: &mut Turn<'_>) {
        let parked = Parked {
            ticket: sync.ticket,
            session: sync.session,
        };
        match self.try_sync(sync, parked, turn) {
            Ok(Some(synced)) => turn.synced(parked, Ok(synced)),
            Ok(None) => {}
            Err(error) => turn.synced(parked, Err(error)),
        }
        self.settle(turn);
    }

    fn try_sync(
        &mut self,
        sync: &Sync,
        parked: Parked,
        turn: &mut Turn<'_>,
    ) -> Result<Option<Synced>> {
        self.check_speaker(&sync.speaker)?;
        self.check_protocol(sync)?;
        let id = &sync.speaker.member_id;
        let is_leader = self.leader.as_ref() == Some(id);
        match self.phase {
            Phase::Empty | Phase::Preparing { .. } => return Err(errors::rebalancing(&self.id)),
            Phase::Completing { .. } | Phase::Stable => {}
        }
        let is_stable = self.phase == Phase::Stable;
        let Some(member) = self.members.get_mut(id) else {
            return Err(errors::rebalancing(&self.id));
        };
        member.heard = turn.now;
        member.has_synced = true;
        if is_stable {
            return Ok(Some(self.synced(id)));
        }
        if let Some(earlier) = member.syncing.replace(parked) {
            turn.synced(earlier, Err(errors::rebalancing(&self.id)));
        }
        if is_leader {
            self.assign(&sync.assignments, turn);
        }
        Ok(None)
    }

    fn check_protocol(&self, sync: &Sync) -> Result<()> {
        for (what, found, is) in [
            ("type", &sync.protocol_type, &self.protocol_type),
            ("name", &sync.protocol, &self.protocol),
        ] {
            if let Some(found) = found.as_ref().filter(|found| ***found != **is) {
                let what = format!(
                    "the {what} of its protocol is `{}`, and not `{}`",
                    is.escape_debug(),
                    found.escape_debug()
                );
                return Err(errors::no_common_protocol(&self.id, &what));
            }
        }
        Ok(())
    }

    /// The leader has decided.
    fn assign(&mut self, assignments: &[(MemberId, Bytes)], turn: &mut Turn<'_>) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(id) {
                member.assignment = assignment.clone();
            }
        }
        self.phase = Phase::Stable;
        let members = self.members.values();
        let waiting = members.filter(|member| member.syncing.is_some());
        let waiting: Vec<_> = waiting.map(|member| MemberId::clone(&member.id)).collect();
        for id in waiting {
            let synced = self.synced(&id);
            let member = self.members.get_mut(&id);
            if let Some(parked) = member.and_then(|member| {
                member.heard = turn.now;
                member.syncing.take()
            }) {
                turn.synced(parked, Ok(synced));
            }
        }
    }

    fn synced(&self, id: &MemberId) -> Synced {
        let member = self.members.get(id);
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.map_or_else(Bytes::new, |member| member.assignment.clone()),
        }
    }
}
