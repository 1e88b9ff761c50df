//! Who is a member: joining, coming back, taking a place over, going away, leaving, being removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::member::{Held, Member};
use super::removed::Removal;
use super::state::{Due, Group, Turn};
use super::{AWAY, Assigned, Heartbeat, JOINING, LEAVING, Lifetime, MemberId, errors};
use crate::error::{Error, ErrorCode, Result};
use crate::limits;

#[cfg(test)]
use super::mutant::{self, Mutant};

impl Group {
    /// Finds out who it is, and makes it a member if it may be one and is none.
    pub(super) fn identify(&mut self, heartbeat: &Heartbeat, turn: &mut Turn<'_>) -> Result<()> {
        let id = &heartbeat.member_id;
        if let Some(member) = self.members.get(id) {
            return self.check_known(member, heartbeat, turn);
        }
        let holder = heartbeat
            .instance_id
            .as_ref()
            .and_then(|instance| Some((instance, self.instances.get(instance)?)));
        // Another one has its name, whatever became of it before: it must not take it back.
        if let Some((instance, holder)) = holder
            && heartbeat.generation != JOINING
        {
            return Err(errors::fenced_instance(&self.id, instance, id, holder));
        }
        if let Some(removal) = turn.removed.get(&self.id, id) {
            return Err(removal.error(&self.id, id, turn.now));
        }
        if let Some((instance, holder)) = holder {
            let (instance, holder) = (Arc::clone(instance), Arc::clone(holder));
            if let Some(recovery) = &mut self.recovery {
                recovery.missing.remove(id);
            }
            self.take_over(&instance, &holder, heartbeat, turn);
            return Ok(());
        }
        let missing = self.recovery.as_ref().map(|recovery| &recovery.missing);
        if missing.is_some_and(|missing| missing.contains(id)) {
            return self.come_back(heartbeat, turn);
        }
        if heartbeat.generation == JOINING {
            return self.join(heartbeat, turn);
        }
        Err(errors::unknown_member(&self.id, id))
    }

    fn check_known(&self, member: &Member, heartbeat: &Heartbeat, turn: &Turn<'_>) -> Result<()> {
        if member.instance_id != heartbeat.instance_id {
            return Err(errors::invalid(
                heartbeat,
                "its instance_id is not the one it joined with",
            ));
        }
        if member.is_away {
            return Err(away(member).error(&self.id, &member.id, turn.now));
        }
        // Who joins again did not get the answer, and knows nothing yet.
        let found = heartbeat.generation;
        if found == JOINING || self.is_generation_of(member, found) {
            return Ok(());
        }
        Err(errors::other_generation(self, member, found))
    }

    /// Whether a member may name this generation: one that began since it is a member.
    pub(super) fn is_generation_of(&self, member: &Member, found: i32) -> bool {
        let joined = member.joined;
        joined.is_some_and(|first| (first..=self.generation).contains(&found))
    }

    fn join(&mut self, heartbeat: &Heartbeat, turn: &Turn<'_>) -> Result<()> {
        let is_exclusive = heartbeat.lifetime == Lifetime::Exclusive;
        let mut others = self.members.values();
        let other = others.find(|other| is_exclusive || other.lifetime == Lifetime::Exclusive);
        if let Some(other) = other {
            return Err(errors::has_member(&self.id, &other.id));
        }
        if let Some(recovery) = self.recovery.as_ref().filter(|_| is_exclusive) {
            return Err(errors::recovering(&self.id, recovery.missing.len()));
        }
        if self.members.len() >= limits::GROUP_MEMBERS_MAX {
            return Err(errors::group_full(&self.id));
        }
        self.enter(Member::new(heartbeat, turn.now));
        self.due = Due::Target;
        Ok(())
    }

    fn enter(&mut self, mut member: Member) {
        // One whose entry the log refused comes again under its id, maybe before it is settled what of the place
        // that it took over is whose: then it is its own, and it is told so, or asked for it.
        let held = Held {
            granted: self.generation,
            revoked: None,
            is_void: false,
        };
        let left = self.holders.iter().filter(|(_, id)| **id == member.id);
        for (partition, _) in left {
            member.held.entry(partition.clone()).or_insert(held);
        }
        if let Some(instance) = &member.instance_id {
            self.instances
                .insert(Arc::clone(instance), Arc::clone(&member.id));
        }
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// A member of before the restart: what it says it holds it keeps, unless another said so before.
    fn come_back(&mut self, heartbeat: &Heartbeat, turn: &Turn<'_>) -> Result<()> {
        let found = heartbeat.generation;
        if !(JOINING..=self.generation).contains(&found) {
            let id = &heartbeat.member_id;
            return Err(errors::later_generation(self, id, found));
        }
        let mut gone = BTreeSet::new();
        if let Some(recovery) = &mut self.recovery {
            recovery.missing.remove(&heartbeat.member_id);
            gone.clone_from(&recovery.gone);
        }
        let mut member = Member::new(heartbeat, turn.now);
        if found == JOINING {
            // It was never told that it is one: it begins like a new one, in the next generation.
            self.due = Due::Target;
            self.enter(member);
            return Ok(());
        }
        member.joined = Some(found);
        member.is_listed = true;
        // Also of topics that are gone: others of that name may come before it has let go.
        for partition in &heartbeat.owned {
            let held = Held {
                granted: found,
                revoked: None,
                is_void: gone.contains(&partition.topic)
                    || !turn.topics.contains_key(&partition.topic),
            };
            if !self.holders.contains_key(partition) {
                self.holders
                    .insert(partition.clone(), Arc::clone(&member.id));
                self.target
                    .insert(partition.clone(), Arc::clone(&member.id));
                self.is_list_old |= held.is_void;
                member.held.insert(partition.clone(), held);
            }
        }
        self.enter(member);
        Ok(())
    }

    /// Members that did not come back in time are none any more.
    pub(super) fn give_up(&mut self, turn: &mut Turn<'_>) {
        let Some(recovery) = self.recovery.take() else {
            return;
        };
        for id in recovery.missing {
            turn.removed.remember(&self.id, &id, Removal::NotBack);
        }
        self.due = Due::Target;
    }

    /// A static member comes back under a new id: it has the old one's place, in the same generation.
    fn take_over(
        &mut self,
        instance: &Arc<str>,
        old: &MemberId,
        heartbeat: &Heartbeat,
        turn: &mut Turn<'_>,
    ) {
        let Some(replaced) = self.drop_member(old) else {
            return;
        };
        let removal = Removal::Replaced {
            instance_id: Arc::clone(instance),
            by: Arc::clone(&heartbeat.member_id),
        };
        if let Some(parked) = replaced.parked {
            turn.answer(parked.ticket, Err(removal.error(&self.id, old, turn.now)));
        }
        turn.removed.remember(&self.id, old, removal);
        let mut member = Member::new(heartbeat, turn.now);
        member.joined = replaced.joined.map(|_| self.generation);
        // What the old one still had to let go of it has not confirmed: that waits for a generation without it.
        let is_clean = replaced.held.values().all(|held| held.revoked.is_none());
        let held = Held {
            granted: self.generation,
            revoked: None,
            is_void: false,
        };
        let kept = replaced
            .held
            .iter()
            .filter(|(_, held)| held.revoked.is_none());
        member.held = kept
            .map(|(partition, _)| (partition.clone(), held))
            .collect();
        for partition in member.held.keys() {
            self.holders
                .insert(partition.clone(), Arc::clone(&member.id));
        }
        rename(&mut self.target, old, &member.id);
        if let Some(target) = self
            .proposal
            .as_mut()
            .and_then(|proposal| proposal.target.as_mut())
        {
            rename(target, old, &member.id);
        }
        let is_same = replaced.topics == member.topics && replaced.assignor == member.assignor;
        let is_in = replaced.joined.is_some() && is_clean && is_same;
        self.due = self.due.max(if is_in { Due::Roster } else { Due::Target });
        self.enter(member);
    }

    /// A static member's process ends: its place is kept for a while.
    pub(super) fn go_away(&mut self, heartbeat: &Heartbeat, turn: &mut Turn<'_>) -> Result<()> {
        let id = &heartbeat.member_id;
        if heartbeat.instance_id.is_none() {
            return Err(errors::invalid(
                heartbeat,
                "without an instance_id it can only leave",
            ));
        }
        let Some(member) = self.members.get_mut(id) else {
            return self.end_unknown(heartbeat, turn);
        };
        if member.instance_id != heartbeat.instance_id {
            return Err(errors::invalid(
                heartbeat,
                "its instance_id is not the one it joined with",
            ));
        }
        if !member.is_away {
            member.is_away = true;
            member.heard = turn.now;
            member.patience = member.session_timeout;
        }
        if let Some(parked) = member.parked.take() {
            let error = away(member).error(&self.id, id, turn.now);
            turn.answer(parked.ticket, Err(error));
        }
        self.release_all_revoked(id);
        turn.answer(heartbeat.ticket, Ok(self.farewell(heartbeat)));
        Ok(())
    }

    pub(super) fn leave(&mut self, heartbeat: &Heartbeat, turn: &mut Turn<'_>) -> Result<()> {
        if !self.members.contains_key(&heartbeat.member_id) {
            return self.end_unknown(heartbeat, turn);
        }
        self.remove(&heartbeat.member_id, Removal::Left, turn);
        turn.answer(heartbeat.ticket, Ok(self.farewell(heartbeat)));
        Ok(())
    }

    /// One that is no member wants to be none: nothing to say against it, unless it was removed.
    fn end_unknown(&mut self, heartbeat: &Heartbeat, turn: &mut Turn<'_>) -> Result<()> {
        let id = &heartbeat.member_id;
        match turn.removed.get(&self.id, id) {
            Some(Removal::Left) => {}
            Some(removal) => return Err(removal.error(&self.id, id, turn.now)),
            None => {
                let recovery = self.recovery.as_mut();
                if !recovery.is_some_and(|recovery| recovery.missing.remove(id)) {
                    return Err(errors::unknown_member(&self.id, id));
                }
                turn.removed.remember(&self.id, id, Removal::Left);
            }
        }
        turn.answer(heartbeat.ticket, Ok(self.farewell(heartbeat)));
        Ok(())
    }

    fn farewell(&self, heartbeat: &Heartbeat) -> Assigned {
        debug_assert!(matches!(heartbeat.generation, LEAVING | AWAY));
        Assigned {
            group: Arc::clone(&self.id),
            member_id: Arc::clone(&heartbeat.member_id),
            generation: heartbeat.generation,
            partitions: Vec::new(),
        }
    }

    /// The session is gone: members that end with it go, the others have a moment to come back.
    pub(super) fn lose_session(&mut self, session: u64, turn: &mut Turn<'_>) {
        let mut ended = Vec::new();
        for member in self
            .members
            .values_mut()
            .filter(|member| member.session == session)
        {
            if member.lifetime != Lifetime::Own {
                ended.push(Arc::clone(&member.id));
                continue;
            }
            if let Some(parked) = member.parked.take() {
                let gone = Error::new(
                    ErrorCode::Closed,
                    "the session ended before the answer came",
                );
                turn.answer(parked.ticket, Err(gone));
            }
            if !member.is_away {
                member.is_connected = false;
                let silent = turn.now.saturating_duration_since(member.heard);
                let allowed = silent.saturating_add(2 * member.heartbeat);
                member.patience = member.patience.min(allowed);
            }
        }
        for id in ended {
            self.remove(&id, Removal::SessionEnded, turn);
        }
        self.settle(turn);
    }

    /// Removes those whose time is over.
    pub(super) fn remove_late(&mut self, turn: &mut Turn<'_>) {
        let late = self.members.values().filter_map(|member| {
            let removal = late(member, turn)?;
            Some((Arc::clone(&member.id), removal))
        });
        let late: Vec<_> = late.collect();
        for (id, removal) in late {
            self.remove(&id, removal, turn);
        }
    }

    fn remove(&mut self, id: &MemberId, removal: Removal, turn: &mut Turn<'_>) {
        let Some(member) = self.drop_member(id) else {
            return;
        };
        #[cfg(test)]
        if mutant::is(Mutant::RemovedFreedAtOnce) {
            self.free_all(id);
        }
        if let Some(parked) = member.parked {
            turn.answer(parked.ticket, Err(removal.error(&self.id, id, turn.now)));
        }
        turn.removed.remember(&self.id, id, removal);
        self.due = Due::Target;
    }

    /// Takes a member out; what it held stays its until the log knows.
    pub(super) fn drop_member(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance_id
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
        }
        Some(member)
    }
}

pub(super) fn away(member: &Member) -> Removal {
    let instance_id = member.instance_id.clone().unwrap_or_default();
    Removal::Away { instance_id }
}

/// Why a member is to be removed now.
fn late(member: &Member, turn: &Turn<'_>) -> Option<Removal> {
    let now = turn.now;
    if member.session_end().is_some_and(|end| end <= now) {
        return Some(if member.is_connected {
            Removal::Silent {
                heard: member.heard,
                session_timeout: member.session_timeout,
            }
        } else {
            Removal::Lost {
                heard: member.heard,
                allowed: (2 * member.heartbeat).min(member.session_timeout),
            }
        });
    }
    let end = member.release_end().filter(|end| *end <= now)?;
    Some(Removal::Held {
        since: end - member.rebalance_timeout,
        rebalance_timeout: member.rebalance_timeout,
    })
}

fn rename<K: Ord>(places: &mut BTreeMap<K, MemberId>, old: &MemberId, new: &MemberId) {
    for id in places.values_mut().filter(|id| *id == old) {
        *id = Arc::clone(new);
    }
}
