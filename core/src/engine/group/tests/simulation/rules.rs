//! What has to hold at every moment, and in the end.

use super::client::Commit;
use super::world::{Checked, World};
use super::*;

impl World {
    pub(super) fn commit(&self, commit: &Commit) -> Checked {
        let member = Some((&*commit.member_id, commit.generation));
        let checked = self
            .coordinator
            .check_commit(self.now(), GROUP, member, [&commit.partition]);
        if checked.is_err() {
            return Ok(());
        }
        let last = self.last_taken.get(&commit.partition);
        let is_member = self.members().contains(&commit.member_id);
        if last == Some(&commit.member_id) && is_member {
            return Ok(());
        }
        Err(format!(
            "a commit counts of {commit:?}; who took the partition last is {last:?}"
        ))
    }

    pub(super) fn members(&self) -> BTreeSet<MemberId> {
        let view = self.coordinator.describe(GROUP);
        let members = view.into_iter().flat_map(|view| view.members);
        members.map(|member| member.id).collect()
    }

    /// Nobody who is not removed holds what another holds who is not; nor does the coordinator think so.
    pub(super) fn check_holders(&self) -> Checked {
        if let Some(group) = self.coordinator.group(GROUP) {
            let members = group.members.values();
            let mut held =
                members.flat_map(|member| member.held.keys().map(|held| (held, &member.id)));
            if let Some((partition, id)) =
                held.find(|(held, id)| group.holders.get(*held) != Some(*id))
            {
                return Err(format!(
                    "{partition} is held by `{id}`, and the group does not know"
                ));
            }
        }
        let mut members = self.members();
        let missing = self
            .coordinator
            .group(GROUP)
            .and_then(|group| group.recovery.as_ref());
        members.extend(
            missing
                .into_iter()
                .flat_map(|recovery| recovery.missing.iter().cloned()),
        );
        let mut holders: BTreeMap<&TopicPartition, &MemberId> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.is_running) {
            if !members.contains(&client.member_id) {
                continue;
            }
            for partition in client.owned.keys() {
                if let Some(other) = holders.insert(partition, &client.member_id) {
                    let id = &client.member_id;
                    return Err(format!("{partition} is held by `{id}` and by `{other}`"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_told(&mut self, assigned: &Assigned) -> Checked {
        let generation = assigned.generation;
        if generation > self.log.0 {
            return Err(format!(
                "generation {generation} is told; the log has {}",
                self.log.0
            ));
        }
        let name: &str = &assigned.member_id;
        let place = name.split('-').next().unwrap_or(name);
        for partition in &assigned.partitions {
            let key = (generation, partition.clone());
            let known = self.told.entry(key).or_insert_with(|| place.to_owned());
            if known != place {
                return Err(format!(
                    "in generation {generation} {partition} is {known}'s and {name}'s"
                ));
            }
        }
        Ok(())
    }

    /// The faults end; after a while all is in order and stays so.
    pub(super) fn come_to_rest(&mut self) -> Checked {
        self.is_faulty = false;
        for name in 0..self.clients.len() {
            self.go_on(name);
            let client = &mut self.clients[name];
            client.release_ms = 10;
            client.topics = BTreeSet::from([topic("t"), topic("u")]);
        }
        let rest_ms = u64::try_from(RECOVERY_GRACE.as_millis()).unwrap() + 10_000;
        self.run_quietly(rest_ms)?;
        let view = self
            .coordinator
            .describe(GROUP)
            .ok_or("the group is gone")?;
        if view.state != GroupState::Stable || view.members.len() != self.clients.len() {
            return Err(format!("it does not come to rest: {view:?}"));
        }
        let total: i32 = self.topics.values().sum();
        let loads: Vec<_> = self
            .clients
            .iter()
            .map(|client| client.owned.len())
            .collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        let is_complete = loads.iter().sum::<usize>() == usize::try_from(total).unwrap();
        if most - least > 1 || !is_complete {
            return Err(format!("{total} partitions are held as {loads:?}"));
        }
        let owned: Vec<_> = self
            .clients
            .iter()
            .map(|client| client.owned.clone())
            .collect();
        self.run_quietly(3_000)?;
        let still = self
            .coordinator
            .describe(GROUP)
            .ok_or("the group is gone")?;
        let is_same = self.clients.iter().map(|client| &client.owned).eq(&owned);
        if still.generation != view.generation || !is_same {
            return Err("it does not stay at rest".to_owned());
        }
        Ok(())
    }
}
