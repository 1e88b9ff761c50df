//! What members of a group know of it that share out partitions among themselves, as they are told it.
//!
//! They repeat a commit of which they have no answer, or go on to the next, over another connection than the one on
//! which the first is still on its way. So the committed offset may go back, to what such a commit asked for: but only
//! within its generation, and not once a later one has committed, or has read what is committed.

use super::{History, Progress, State};

/// A group, as its members know it.
#[derive(Debug, Default)]
pub(super) struct Classic {
    /// The last generation that anybody was told.
    newest: i32,
    commits: u64,
}

/// A commit of which it is not known what became.
#[derive(Debug)]
pub(super) struct Open {
    number: u64,
    generation: i32,
    pub(super) offset: i64,
}

/// A commit that is asked for; dropped, nobody knows what became of it.
#[derive(Debug)]
pub struct CommitAsked {
    group: &'static str,
    member: String,
    generation: i32,
    offsets: Vec<(i32, i64)>,
    number: u64,
    /// The later generation that somebody knew of already.
    later: Option<i32>,
}

impl History {
    /// A member was told a generation.
    pub fn joined(&self, group: &'static str, generation: i32) {
        self.state().tell(group, generation);
    }

    /// A member was told what it holds in a generation. `member`: its id, or its instance's, which stays.
    pub fn granted(&self, group: &'static str, generation: i32, member: &str, partitions: &[i32]) {
        let mut state = self.state();
        for partition in partitions {
            let key = (group, generation, *partition);
            let known = state.grants.insert(key, member.to_owned());
            if let Some(known) = known.filter(|known| known != member) {
                state.fail(format!(
                    "in generation {generation} of `{group}` partition {partition} belongs to {known} and to {member}"
                ));
            }
        }
    }

    /// A member was told what is committed for a partition that it holds, 0 for nothing.
    pub fn begins(&self, group: &'static str, generation: i32, partition: i32, committed: i64) {
        let mut state = self.state();
        if state.newest(group) != generation {
            // It is late: others hold the partition.
            return;
        }
        let progress = state.groups.entry((group, partition)).or_default();
        let expected = progress.acknowledged.max(progress.committed);
        if progress.is_explained(committed) {
            progress.acknowledged = progress.acknowledged.min(committed);
            progress.committed = progress.committed.min(committed);
        } else if committed < expected {
            state.fail(format!(
                "generation {generation} of `{group}` begins at offset {committed} of partition {partition}, and \
                 {expected} was committed"
            ));
            return;
        }
        progress.pass(generation);
    }

    /// A member is about to ask for a commit.
    #[must_use]
    pub fn commit_asked(
        &self,
        group: &'static str,
        generation: i32,
        member: &str,
        offsets: &[(i32, i64)],
    ) -> CommitAsked {
        let mut state = self.state();
        let known = state.classics.entry(group).or_default();
        known.commits += 1;
        let number = known.commits;
        let later = Some(known.newest).filter(|newest| *newest > generation);
        for (partition, offset) in offsets {
            let progress = state.groups.entry((group, *partition)).or_default();
            // What cannot count explains nothing.
            if later.is_none() {
                progress.open.push(Open {
                    number,
                    generation,
                    offset: *offset,
                });
            }
        }
        CommitAsked {
            group,
            member: member.to_owned(),
            generation,
            offsets: offsets.to_vec(),
            number,
            later,
        }
    }

    /// It was done.
    pub fn commit_done(&self, asked: &CommitAsked) {
        let mut state = self.state();
        if let Some(later) = asked.later {
            state.fail(format!(
                "a commit of {} of generation {} of `{}` counted when there was generation {later}",
                asked.member, asked.generation, asked.group
            ));
        }
        for (partition, offset) in &asked.offsets {
            let progress = state.groups.entry((asked.group, *partition)).or_default();
            progress.open.retain(|it| it.number != asked.number);
            progress.acknowledged = progress.acknowledged.max(*offset);
            progress.pass(asked.generation);
        }
    }

    /// It was refused: it does not count.
    pub fn commit_refused(&self, asked: &CommitAsked) {
        let mut state = self.state();
        for (partition, _) in &asked.offsets {
            let progress = state.groups.entry((asked.group, *partition)).or_default();
            progress.open.retain(|it| it.number != asked.number);
        }
    }
}

impl State {
    /// Somebody was told a generation, of whichever kind.
    pub(super) fn tell(&mut self, group: &'static str, generation: i32) {
        let known = self.classics.entry(group).or_default();
        known.newest = known.newest.max(generation);
    }

    fn newest(&self, group: &'static str) -> i32 {
        self.classics.get(group).map_or(0, |known| known.newest)
    }
}

impl Progress {
    /// What was asked for in earlier generations has no effect any more.
    pub(super) fn pass(&mut self, generation: i32) {
        self.fence = self.fence.max(generation);
        let fence = self.fence;
        self.open.retain(|it| it.generation >= fence);
    }
}
