//! What native members are told of their groups, and what they commit.

use super::{Asked, State};
use crate::protocol::request::{GroupHeartbeat, Member, PartitionOffset};
use crate::protocol::response::GroupAssignment;

impl State {
    /// The partitions that another holds since a later generation, with that and who.
    pub(super) fn late(
        &self,
        group: &'static str,
        member: &Member,
        offsets: &[PartitionOffset],
    ) -> Vec<(i32, i32, String)> {
        let late = offsets.iter().filter_map(|offset| {
            let progress = self.groups.get(&(group, offset.partition))?;
            let (generation, holder) = progress.holder.clone()?;
            let is_late = generation > member.generation && holder != member.id;
            is_late.then_some((offset.partition, generation, holder))
        });
        late.collect()
    }

    /// A commit counts.
    pub(super) fn commit(
        &mut self,
        asked: &Asked,
        member: Option<&Member>,
        offsets: &[PartitionOffset],
    ) {
        let Some(group) = asked.group else {
            return;
        };
        for (partition, generation, holder) in &asked.late {
            self.fail(format!(
                "a commit of {member:?} for partition {partition} counted when {holder} held it since generation \
                 {generation}"
            ));
        }
        if asked.is_fenced {
            self.fail(format!(
                "a commit of {member:?} counted when another had its name"
            ));
        }
        for offset in offsets {
            let progress = self.groups.entry((group, offset.partition)).or_default();
            progress.acknowledged = progress.acknowledged.max(offset.offset);
            if let Some(member) = member {
                progress.pass(member.generation);
            }
        }
    }

    /// A member is told what it holds.
    pub(super) fn grant(&mut self, asked: &Asked, said: &GroupHeartbeat, answer: &GroupAssignment) {
        let Some(group) = asked.group else {
            return;
        };
        let (generation, member) = (answer.generation, &answer.member_id);
        self.tell(group, generation);
        if let Some(instance) = &said.instance_id {
            self.told(group, instance, member, asked.is_fenced);
        }
        // An instance stays who it is.
        let name = said.instance_id.as_ref().unwrap_or(member);
        for held in &answer.assignment {
            let partition = held.partition;
            let key = (group, generation, partition);
            let known = self.grants.insert(key, name.clone());
            if let Some(known) = known.filter(|known| known != name) {
                self.fail(format!(
                    "in generation {generation} partition {partition} belongs to {known} and to {name}"
                ));
            }
            let progress = self.groups.entry((group, partition)).or_default();
            let since = progress.holder.as_ref().map(|(since, _)| *since);
            let is_mine = progress.holder.as_ref().is_some_and(|it| it.1 == *member);
            if !is_mine && since.is_none_or(|since| since < generation) {
                progress.holder = Some((generation, member.clone()));
            }
        }
    }
}
