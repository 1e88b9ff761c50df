//! Consumer groups as the log left them: generations and committed offsets.
//!
//! Who is a member right now is not here: that is the coordinator's (`engine/group`) to know. It is told who
//! was one when the last generation began, and can come back after a restart. Offsets are kept by the topic's
//! uuid, so a topic created again under a name starts without.

use std::collections::BTreeMap;

use crate::log::control;

/// All groups.
#[derive(Debug, Default)]
pub struct Groups {
    by_id: BTreeMap<String, Group>,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its generation; rises with every assignment.
    pub generation: i32,
    /// The members of that generation that outlive the coordinator, by id.
    pub members: Vec<String>,
    /// The next offset to read, by topic uuid and partition.
    pub offsets: BTreeMap<([u8; 16], i32), i64>,
}

impl Groups {
    /// The group with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Group> {
        self.by_id.get(id)
    }

    /// All groups, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.by_id.iter()
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The group with this id as it was kept.
    pub(super) fn restore(&mut self, id: String, group: Group) {
        self.by_id.insert(id, group);
    }

    /// A GROUP frame.
    pub fn change(&mut self, change: control::Group) {
        if change.is_deleted {
            self.by_id.remove(&change.group);
            return;
        }
        let group = self.by_id.entry(change.group).or_default();
        group.generation = change.generation;
        group.members = change.members;
    }

    /// An OFFSET_COMMIT frame.
    pub fn commit(&mut self, commit: control::OffsetCommit) {
        let group = self.by_id.entry(commit.group).or_default();
        for committed in commit.offsets {
            group
                .offsets
                .insert((committed.topic, committed.partition), committed.offset);
        }
    }

    /// A topic is gone, and what was committed for it: by these groups, for these partitions.
    pub fn forget_topic(&mut self, uuid: &[u8; 16]) -> Vec<(String, i32)> {
        let mut forgotten = Vec::new();
        for (id, group) in &mut self.by_id {
            group.offsets.retain(|(topic, partition), _| {
                if topic == uuid {
                    forgotten.push((id.clone(), *partition));
                }
                topic != uuid
            });
        }
        forgotten
    }
}
