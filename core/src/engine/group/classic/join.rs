//! Joining: for the first time, again, as somebody else, or in the place of an earlier self.

use std::sync::Arc;

use super::group::{Group, Phase, Promised};
use super::member::Member;
use super::{Join, Joined, Parked, Turn, errors, protocols};
use crate::engine::group::MemberId;
use crate::error::Result;
use crate::limits;

#[cfg(test)]
use crate::engine::group::mutant::{self, Mutant};

impl Group {
    pub(super) fn join(&mut self, join: &Join, turn: &mut Turn<'_>) {
        if let Err(error) = self.try_join(join, turn) {
            let parked = Parked {
                ticket: join.ticket,
                session: join.session,
            };
            turn.joined(parked, Err(error));
        }
        self.settle(turn);
    }

    fn try_join(&mut self, join: &Join, turn: &mut Turn<'_>) -> Result<()> {
        self.check_protocols(join)?;
        if join.member_id.is_empty() {
            return match &join.instance_id {
                Some(instance) => self.join_static(&Arc::clone(instance), join, turn),
                None => self.join_unknown(join, turn),
            };
        }
        let id = MemberId::from(join.member_id.as_str());
        if self.promised.contains_key(&id) && join.instance_id.is_none() {
            self.enter(Member::new(Arc::clone(&id), join, turn.now), join, turn);
            // Taken off the list last: it counts as one until it is one.
            self.promised.remove(&id);
            return Ok(());
        }
        if let Some(instance) = &join.instance_id
            && let Some(holder) = self.instances.get(instance)
            && *holder != id
        {
            return Err(errors::fenced(&self.id, instance, &id, holder));
        }
        if self.is_missing(&id) {
            self.no_more_missing(&id);
            self.enter(Member::new(id, join, turn.now), join, turn);
            return Ok(());
        }
        match self.members.get(&id) {
            Some(member) if member.instance_id == join.instance_id => {
                self.join_again(&id, join, turn);
                Ok(())
            }
            _ => Err(errors::unknown_member(&self.id, &id)),
        }
    }

    fn check_protocols(&self, join: &Join) -> Result<()> {
        let others = self
            .members
            .values()
            .filter(|member| *member.id != *join.member_id);
        let mut others = others.peekable();
        if others.peek().is_none() {
            return Ok(());
        }
        if join.protocol_type != self.protocol_type {
            let what = format!(
                "its protocols are for `{}`, and not for `{}`",
                self.protocol_type.escape_debug(),
                join.protocol_type.escape_debug()
            );
            return Err(errors::no_common_protocol(&self.id, &what));
        }
        let lists = others.map(|member| &*member.protocols);
        if protocols::select(lists.chain([&*join.protocols])).is_none() {
            let names = join.protocols.iter().map(|it| it.name.escape_debug());
            let names: Vec<_> = names.map(|name| name.to_string()).collect();
            let what = format!(
                "its members have no protocol in common with one that has `{}`",
                names.join("`, `")
            );
            return Err(errors::no_common_protocol(&self.id, &what));
        }
        Ok(())
    }

    fn check_room(&self) -> Result<()> {
        if self.len() >= limits::GROUP_MEMBERS_MAX {
            return Err(errors::group_full(&self.id));
        }
        Ok(())
    }

    /// One without an id: it gets one.
    fn join_unknown(&mut self, join: &Join, turn: &mut Turn<'_>) -> Result<()> {
        self.check_room()?;
        let id = Arc::clone(&join.new_id);
        if !join.must_know_id {
            self.enter(Member::new(id, join, turn.now), join, turn);
            return Ok(());
        }
        let promised = Promised {
            session: join.session,
            until: turn.now + join.session_timeout,
        };
        self.promised.insert(Arc::clone(&id), promised);
        let parked = Parked {
            ticket: join.ticket,
            session: join.session,
        };
        turn.joined(parked, Ok(Joined::IdRequired(id)));
        Ok(())
    }

    /// A static member that says it is new: if it was one before, it takes its own place over.
    fn join_static(&mut self, instance: &Arc<str>, join: &Join, turn: &mut Turn<'_>) -> Result<()> {
        let id = Arc::clone(&join.new_id);
        let Some(old) = self.instances.get(instance).cloned() else {
            self.check_room()?;
            self.forget_missing_instance(join);
            self.enter(Member::new(id, join, turn.now), join, turn);
            return Ok(());
        };
        let was_leader = self.leader.as_ref() == Some(&old);
        let Some(replaced) = self.drop_member(&old) else {
            return Ok(());
        };
        let why = errors::fenced(&self.id, instance, &old, &id);
        if let Some(parked) = replaced.joining {
            turn.joined(parked, Err(why.clone()));
        }
        if let Some(parked) = replaced.syncing {
            turn.synced(parked, Err(why));
        }
        let mut member = Member::new(Arc::clone(&id), join, turn.now);
        member.assignment = replaced.assignment;
        member.has_synced = true;
        #[cfg(test)]
        if mutant::is(Mutant::ClassicNoFencing) {
            let ghost = Member::new(Arc::clone(&old), join, turn.now);
            self.members.insert(Arc::clone(&old), ghost);
        }
        if self.phase != Phase::Stable {
            self.enter(member, join, turn);
            return Ok(());
        }
        self.insert(member, join);
        if was_leader {
            self.leader = Some(id);
        }
        let lists = self.members.values().map(|member| &*member.protocols);
        if protocols::select(lists).as_ref() == Some(&self.protocol) {
            // It is told once the log has it in the other's place.
            self.is_unlisted = true;
            #[cfg(test)]
            if mutant::is(Mutant::ClassicReplacedUnlisted) {
                self.answer_replacements(turn);
            }
        } else {
            self.prepare(turn);
        }
        Ok(())
    }

    /// One that is a member joins again.
    fn join_again(&mut self, id: &MemberId, join: &Join, turn: &mut Turn<'_>) {
        let is_leader = self.leader.as_ref() == Some(id);
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let is_same = member.protocols == join.protocols;
        let is_answered = match self.phase {
            // It did not get the answer, or wants to know where it is.
            Phase::Completing { .. } => is_same,
            Phase::Stable => is_same && !is_leader && !self.is_unlisted && self.proposal.is_none(),
            Phase::Empty | Phase::Preparing { .. } => false,
        };
        let earlier = (member.joining.take(), member.syncing.take());
        member.hear(join, turn.now);
        member.knows_id = true;
        member.joining = Some(Parked {
            ticket: join.ticket,
            session: join.session,
        });
        if let Some(parked) = earlier.0 {
            turn.joined(parked, Err(errors::rebalancing(&self.id)));
        }
        if let Some(parked) = earlier.1 {
            turn.synced(parked, Err(errors::rebalancing(&self.id)));
        }
        if self.members.len() == 1 {
            self.protocol_type = Arc::clone(&join.protocol_type);
        }
        if is_answered {
            self.answer_joining(id, false, turn);
        } else {
            self.prepare(turn);
        }
    }

    /// One becomes a member, in the next generation.
    fn enter(&mut self, member: Member, join: &Join, turn: &mut Turn<'_>) {
        self.insert(member, join);
        self.prepare(turn);
        self.wait_for_more(turn);
    }

    fn insert(&mut self, mut member: Member, join: &Join) {
        if self.members.is_empty() {
            self.protocol_type = Arc::clone(&join.protocol_type);
        }
        member.joining = Some(Parked {
            ticket: join.ticket,
            session: join.session,
        });
        if let Some(instance) = &member.instance_id {
            let id = Arc::clone(&member.id);
            self.instances.insert(Arc::clone(instance), id);
        }
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Static members that took a place over in a generation that goes on: the log has them now.
    pub(super) fn answer_replacements(&mut self, turn: &mut Turn<'_>) {
        let members = self.members.values();
        let waiting = members.filter(|member| member.joining.is_some());
        let waiting: Vec<_> = waiting
            .map(|member| (Arc::clone(&member.id), member.can_skip_assignment))
            .collect();
        for (id, can_skip) in waiting {
            let is_leader = self.leader.as_ref() == Some(&id);
            if !is_leader || can_skip {
                self.answer_joining(&id, is_leader, turn);
                continue;
            }
            // Its client assigns whenever it leads, and the others would not learn of that: it is told that
            // another does, and asks for its assignment like anybody.
            let other = MemberId::from(format!("{id}-before"));
            let generation = self.told(&id, other, false);
            if let Some(member) = self.members.get_mut(&id)
                && let Some(parked) = member.joining.take()
            {
                member.heard = turn.now;
                member.knows_id = true;
                turn.joined(parked, Ok(Joined::Generation(generation)));
            }
        }
    }
}
