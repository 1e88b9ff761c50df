//! What has to hold at every moment, and in the end.

use std::collections::BTreeSet;

use super::client::{Doing, PARTITIONS};
use super::world::{Checked, World, place_of};
use super::*;
use crate::engine::group::RECOVERY_GRACE;

impl World {
    pub(super) fn check_joined(&mut self, joined: &Joined) -> Checked {
        let Joined::Generation(told) = joined else {
            return Ok(());
        };
        let listed: MemberId = format!("{LISTED_PREFIX}{}", told.member_id).into();
        let generation = told.generation;
        let mut members = told.members.iter().map(|member| &member.member_id);
        let all_listed = members.all(|id| {
            let listed: MemberId = format!("{LISTED_PREFIX}{id}").into();
            self.log.1.contains(&listed)
        });
        if generation > self.log.0 || !self.log.1.contains(&listed) || !all_listed {
            return Err(format!("{told:?} is told; the log has {:?}", self.log));
        }
        let place = place_of(&told.member_id);
        self.newest = self.newest.max(generation);
        self.holders.insert(place.clone(), told.member_id.clone());
        let protocol = self.protocols.entry(generation);
        let protocol = protocol.or_insert_with(|| told.protocol.clone());
        if *protocol != told.protocol {
            return Err(format!("generation {generation} has two protocols"));
        }
        self.members_told
            .entry(generation)
            .or_default()
            .insert(place);
        if told.members.is_empty() {
            return Ok(());
        }
        let places = told
            .members
            .iter()
            .map(|member| place_of(&member.member_id));
        let places: BTreeSet<_> = places.collect();
        let known = self
            .rosters
            .entry(generation)
            .or_insert_with(|| places.clone());
        let others = &self.members_told[&generation];
        if *known != places || !others.is_subset(known) {
            return Err(format!(
                "generation {generation} has other members: {told:?}"
            ));
        }
        Ok(())
    }

    /// In one generation a partition is one member's.
    pub(super) fn check_synced(&mut self, id: &str, generation: i32, synced: &Synced) -> Checked {
        let place = place_of(id);
        for partition in &synced.assignment {
            let key = (generation, *partition);
            let known = self.assigned.entry(key).or_insert_with(|| place.clone());
            if *known != place {
                return Err(format!(
                    "in generation {generation} {partition} is {known}'s and {place}'s"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn commit(&self, speaker: &Speaker) -> Checked {
        if self.coordinator.check_classic_commit(speaker).is_err() {
            return Ok(());
        }
        let id = &speaker.member_id;
        let holder = self.holders.get(&place_of(id));
        if speaker.generation >= self.newest && holder == Some(id) {
            return Ok(());
        }
        Err(format!(
            "a commit counts of {speaker:?}; the newest generation told is {}, and its place is {holder:?}'s",
            self.newest
        ))
    }

    /// The faults end; after a while all is in order and stays so.
    pub(super) fn come_to_rest(&mut self) -> Checked {
        self.is_faulty = false;
        for name in 0..self.clients.len() {
            self.clients[name].paused_until_ms = 0;
            self.go_on(name);
        }
        let rest_ms = u64::try_from(RECOVERY_GRACE.as_millis()).unwrap() + 15_000;
        self.run_quietly(rest_ms)?;
        // One that was fenced by what was still on its way starts again.
        for name in 0..self.clients.len() {
            self.go_on(name);
        }
        self.run_quietly(rest_ms)?;
        let generation = self.at_rest()?;
        self.run_quietly(3_000)?;
        if self.at_rest()? != generation {
            return Err("it does not stay at rest".to_owned());
        }
        Ok(())
    }

    /// The generation in which all read, and each partition is read.
    fn at_rest(&self) -> std::result::Result<i32, String> {
        let view = self
            .coordinator
            .describe(GROUP)
            .ok_or("the group is gone")?;
        let reads = |client: &client::Client| {
            client.doing == Doing::Reading && client.generation == view.generation
        };
        let all_read = self.clients.iter().all(reads);
        let count: usize = self.clients.iter().map(|it| it.assigned.len()).sum();
        let is_whole = count == usize::from(PARTITIONS);
        let is_stable = view.state == GroupState::Stable;
        if !all_read || !is_whole || !is_stable || view.members.len() != self.clients.len() {
            let clients = &self.clients;
            return Err(format!("it does not come to rest: {view:?} {clients:?}"));
        }
        Ok(view.generation)
    }
}
