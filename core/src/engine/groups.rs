//! Consumer groups as the log left them: generations and committed offsets.
//!
//! Who is a member right now is not here: that is the coordinator's (`engine/group`) to know. It is told who
//! was one when the last generation began, and can come back after a restart. Offsets are kept by the topic's
//! uuid, so a topic created again under a name starts without.

use std::collections::BTreeMap;

use crate::log::control::{self, CommitDetails, NO_OFFSET};

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
    /// What is committed, by topic uuid and partition.
    pub offsets: BTreeMap<([u8; 16], i32), Committed>,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// What its reader noted beside it, if it did: few bytes where it did not.
    pub details: Option<Box<CommitDetails>>,
}

impl Committed {
    /// An offset, and what was noted beside it; nothing if that says nothing.
    #[must_use]
    pub fn new(offset: i64, details: CommitDetails) -> Self {
        let is_said = details != CommitDetails::default();
        Self {
            offset,
            details: is_said.then(|| Box::new(details)),
        }
    }
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
    pub fn commit(&mut self, detailed: control::DetailedOffsetCommit) {
        let control::DetailedOffsetCommit { commit, details } = detailed;
        let group = self.by_id.entry(commit.group).or_default();
        let mut details = details.into_iter();
        for committed in commit.offsets {
            let details = details.next().unwrap_or_default();
            let place = (committed.topic, committed.partition);
            if committed.offset == NO_OFFSET {
                group.offsets.remove(&place);
            } else {
                let committed = Committed::new(committed.offset, details);
                group.offsets.insert(place, committed);
            }
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
