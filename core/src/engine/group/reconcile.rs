//! Who is to have which partition, and how it gets there without two having it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::assignor::Subscriber;
use super::member::{Held, Member, Revoked};
use super::state::{Due, Group, Proposal, Turn};
use super::{Assignor, MemberId, Output};
use crate::ids::TopicPartition;

#[cfg(test)]
use super::mutant::{self, Mutant};
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

impl Group {
    /// Has the log told what is due, unless it is being told something, or members are waited for.
    pub(super) fn propose(&mut self, turn: &mut Turn<'_>) {
        if self.proposal.is_some() || self.retry_at.is_some() {
            return;
        }
        // Who is missing may have to be taken off the list, and nothing else.
        let is_recovering = self.recovery.is_some();
        let due = match self.due {
            _ if is_recovering => Due::Nothing,
            _ => std::mem::replace(&mut self.due, Due::Nothing),
        };
        let is_list_old = std::mem::take(&mut self.is_list_old);
        if due == Due::Nothing && !is_list_old {
            return;
        }
        let is_new = due == Due::Target;
        let generation = self.generation.saturating_add(i32::from(is_new));
        let target = is_new.then(|| self.new_target(turn.topics));
        // Who has just joined becomes a member with a generation.
        let members = self.members.values();
        let members = members.filter(|member| is_new || member.joined.is_some());
        let returning = members.clone().filter(|member| member.may_come_back());
        let write = *turn.next_write;
        *turn.next_write += 1;
        turn.outputs.push(Output::Persist {
            write,
            group: Arc::clone(&self.id),
            generation,
            members: returning.map(|member| Arc::clone(&member.id)).collect(),
        });
        let proposal = Proposal {
            write,
            generation,
            target,
            roster: members.map(|member| Arc::clone(&member.id)).collect(),
        };
        #[cfg(test)]
        if mutant::is(Mutant::ToldUnpersisted) {
            return self.install(proposal, turn.now);
        }
        self.proposal = Some(proposal);
    }

    fn new_target(&self, topics: &BTreeMap<Arc<str>, i32>) -> BTreeMap<TopicPartition, MemberId> {
        let mut members: Vec<&Member> = self.members.values().collect();
        members.sort_by_key(|member| member.order());
        let mut previous: BTreeMap<&MemberId, BTreeSet<TopicPartition>> = BTreeMap::new();
        for (partition, id) in &self.target {
            previous.entry(id).or_default().insert(partition.clone());
        }
        let subscribers = members.iter().map(|member| Subscriber {
            topics: &member.topics,
            previous: previous.remove(&member.id).unwrap_or_default(),
        });
        let subscribers: Vec<_> = subscribers.collect();
        let assignor = Assignor::most_named(members.iter().map(|member| member.assignor));
        let assignment = assignor.assign(&subscribers, topics).into_iter();
        assignment
            .map(|(partition, place)| (partition, Arc::clone(&members[place].id)))
            .collect()
    }

    /// The log has a generation, or a list of members: it may be told.
    pub(super) fn install(&mut self, proposal: Proposal, now: Instant) {
        self.generation = proposal.generation;
        let roster = proposal.roster;
        if let Some(target) = proposal.target {
            self.target = target;
            // Who is none of its members and no member now will not come back after a restart either: nothing
            // is its any more. A static member that has taken a place over meanwhile is not in it yet.
            let members = &self.members;
            self.holders
                .retain(|_, holder| members.contains_key(holder) || roster.contains(holder));
            self.revoke(now);
            for member in self.members.values_mut() {
                member.version += 1;
            }
        }
        for member in self.members.values_mut() {
            if roster.contains(&member.id) {
                member.is_listed = true;
                member.joined.get_or_insert(proposal.generation);
            }
        }
        self.grant_all();
    }

    /// Takes away what the target gives to another, and gives back what it does not any more.
    fn revoke(&mut self, now: Instant) {
        let generation = self.generation;
        let mut gone = Vec::new();
        for member in self.members.values_mut() {
            for (partition, held) in &mut member.held {
                let is_its = self.target.get(partition) == Some(&member.id);
                if is_its && (!held.is_void || keeps_void()) {
                    held.revoked = None;
                } else if held.revoked.is_none() {
                    held.revoked = Some(Revoked {
                        generation,
                        since: now,
                    });
                }
            }
            if member.is_away {
                gone.push(Arc::clone(&member.id));
            }
        }
        for id in gone {
            self.release_all_revoked(&id);
        }
    }

    /// Takes note of what a member let go of: what it has to, and does not own while it knows that it has to.
    pub(super) fn release(
        &mut self,
        id: &MemberId,
        generation: i32,
        owned: &BTreeSet<TopicPartition>,
    ) {
        #[cfg(test)]
        let generation = if mutant::is(Mutant::ReleaseOfAnyGeneration) {
            i32::MAX
        } else {
            generation
        };
        self.release_if(id, |partition, revoked| {
            revoked.generation <= generation && !owned.contains(partition)
        });
    }

    /// A member that went away holds nothing; only what is to stay its own is kept for it.
    pub(super) fn release_all_revoked(&mut self, id: &MemberId) {
        self.release_if(id, |_, _| true);
    }

    fn release_if(
        &mut self,
        id: &MemberId,
        is_released: impl Fn(&TopicPartition, &Revoked) -> bool,
    ) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let released: Vec<_> = member
            .held
            .iter()
            .filter_map(|(partition, held)| Some((partition, held.revoked?)))
            .filter(|(partition, revoked)| is_released(partition, revoked))
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in &released {
            let held = member.held.remove(partition);
            self.is_list_old |= held.is_some_and(|held| held.is_void);
        }
        for partition in released {
            self.holders.remove(&partition);
            self.grant(&partition);
        }
    }

    fn grant_all(&mut self) {
        let free = self
            .target
            .keys()
            .filter(|partition| self.is_free(partition));
        let free: Vec<_> = free.cloned().collect();
        for partition in free {
            self.grant(&partition);
        }
    }

    #[cfg(test)]
    pub(super) fn free_all(&mut self, id: &MemberId) {
        self.holders.retain(|_, holder| holder != id);
        self.grant_all();
    }

    fn is_free(&self, partition: &TopicPartition) -> bool {
        #[cfg(test)]
        if mutant::is(Mutant::GrantBeforeRelease) {
            return self.holders.get(partition) != self.target.get(partition);
        }
        !self.holders.contains_key(partition)
    }

    /// Gives a partition that nobody holds to whom it is for.
    fn grant(&mut self, partition: &TopicPartition) {
        let owner = self.target.get(partition);
        let Some(member) = owner.and_then(|id| self.members.get_mut(id)) else {
            return;
        };
        let held = Held {
            granted: self.generation,
            revoked: None,
            is_void: false,
        };
        member.held.insert(partition.clone(), held);
        member.version += 1;
        self.holders
            .insert(partition.clone(), Arc::clone(&member.id));
    }
}

/// A bug: what is held of a topic that is gone is taken for that of another of its name.
pub(super) fn keeps_void() -> bool {
    #[cfg(any(test, feature = "simulation"))]
    return simulated::has(Bug::OldTopicHeld);
    #[cfg(not(any(test, feature = "simulation")))]
    false
}
