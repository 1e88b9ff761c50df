//! What the log of a member has to be, in memory: what is there, what was promised, and which calls may come.

use std::collections::BTreeMap;

use super::*;
use crate::log::storage::faulty::Random;

/// A call.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Append(Vec<RaftEntry>),
    Sync,
    Truncate(EntryId),
    Vote(u32, u64, bool),
    Commit(EntryId),
    Purge(EntryId),
    /// Closed cleanly, or just dropped, and opened again.
    Reopen(bool),
}

/// The log.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) entries: BTreeMap<u64, RaftEntry>,
    pub(super) last: EntryId,
    /// Entries up to here survive everything.
    pub(super) promised: u64,
    pub(super) vote: Vote,
    /// How many entries there ever were: so that no two are alike.
    count: u64,
}

impl Model {
    /// The log after a call that was answered.
    pub(super) fn after(&self, call: &Call) -> Self {
        let mut after = self.clone();
        match call {
            Call::Append(entries) => {
                for entry in entries {
                    after.last = entry.id;
                    after.entries.insert(entry.id.index, entry.clone());
                    after.count += 1;
                }
            }
            Call::Sync | Call::Reopen(_) => after.promised = after.last.index,
            Call::Truncate(to) => {
                after.entries.retain(|index, _| *index <= to.index);
                after.last = *to;
                after.promised = to.index;
            }
            Call::Vote(term, node, is_committed) => {
                after.vote.term = *term;
                after.vote.node = *node;
                after.vote.is_committed = *is_committed;
                after.promised = after.last.index;
            }
            Call::Commit(to) => after.vote.committed = *to,
            Call::Purge(to) => {
                after.entries.retain(|index, _| *index > to.index);
                after.vote.purged = *to;
                if to.index >= after.last.index {
                    after.last = *to;
                }
                after.promised = after.last.index;
            }
        }
        after
    }

    /// The log that a call may have led to that was not answered: all of it, with nothing new promised but
    /// what the call removes.
    pub(super) fn halfway(&self, call: &Call) -> Self {
        let after = self.after(call);
        let floor = match call {
            Call::Truncate(to) => to.index,
            _ => after.vote.purged.index,
        };
        Self {
            promised: self.promised.min(after.last.index).max(floor),
            ..after
        }
    }

    /// Whether the log that was opened is this one, except for entries at its end that were not promised.
    pub(super) fn check(&self, log: &RaftLog) -> std::result::Result<(), String> {
        let state = log.state();
        let vote = |vote: Vote| (vote.term, vote.node, vote.is_committed, vote.purged);
        if vote(state.vote) != vote(self.vote) {
            return Err(format!("vote {:?}, not {:?}", state.vote, self.vote));
        }
        let last = state.last.index;
        if last < self.promised || last > self.last.index {
            let (least, most) = (self.promised, self.last);
            return Err(format!("{:?}, not from {least} to {most:?}", state.last));
        }
        let found = all(log);
        let expected: Vec<_> = self.entries.range(..=last).map(|(_, it)| it).collect();
        if found.iter().collect::<Vec<_>>() != expected {
            return Err(format!("{found:?}, not {expected:?}"));
        }
        let id = found.last().map_or(self.vote.purged, |entry| entry.id);
        if state.last != id || state.synced != last {
            return Err(format!("{state:?}, and the last entry is {id:?}"));
        }
        if state.vote.committed.index > last {
            return Err(format!("{state:?}: committed beyond the end"));
        }
        Ok(())
    }

    /// The log as it was opened: what it showed is promised from now on.
    pub(super) fn adopted(&self, log: &RaftLog) -> Self {
        let state = log.state();
        let mut entries = self.entries.clone();
        entries.retain(|index, _| *index <= state.last.index);
        Self {
            entries,
            last: state.last,
            promised: state.last.index,
            vote: state.vote,
            count: self.count,
        }
    }

    /// A call that may come next.
    pub(super) fn next(&self, random: &mut Random) -> Call {
        match random.below(20) {
            0..=8 => Call::Append(self.next_entries(random)),
            9..=11 => Call::Sync,
            12 | 13 => self.next_vote(random),
            14 if self.promised > self.vote.committed.index => {
                let from = self.vote.committed.index + 1;
                let to = from + random.below(self.promised - from + 1);
                self.id(to).map_or(Call::Sync, Call::Commit)
            }
            15 if self.vote.committed.index > self.vote.purged.index => {
                let from = self.vote.purged.index + 1;
                let to = from + random.below(self.vote.committed.index - from + 1);
                self.id(to).map_or(Call::Sync, Call::Purge)
            }
            16 if random.below(3) == 0 => Call::Purge(id(
                self.last.term.max(1) + random.below(2) as u32,
                self.last.index + 1 + random.below(5),
            )),
            17 | 18 => self.next_cut(random),
            _ => Call::Reopen(random.coin()),
        }
    }

    fn id(&self, index: u64) -> Option<EntryId> {
        self.entries.get(&index).map(|entry| entry.id)
    }

    fn next_entries(&self, random: &mut Random) -> Vec<RaftEntry> {
        let mut term = self.last.term.max(1);
        let count = 1 + random.below(4);
        let entries = (1..=count).map(|behind| {
            term += u32::from(random.below(6) == 0);
            let index = self.last.index + behind;
            let mut value = (self.count + behind).to_le_bytes().to_vec();
            match random.below(8) {
                0 => blank(term, index),
                1 => {
                    value.resize(1_200, 1);
                    entry(term, index, &value)
                }
                // Of equal length: so that an old one may stand where a new one should.
                _ => entry(term, index, &value),
            }
        });
        entries.collect()
    }

    fn next_vote(&self, random: &mut Random) -> Call {
        let Vote {
            term,
            node,
            is_committed,
            ..
        } = self.vote;
        if !is_committed && term > 0 && random.coin() {
            return Call::Vote(term, node, true);
        }
        Call::Vote(term.max(self.last.term) + 1, random.below(3), random.coin())
    }

    /// A conflict: a new leader's entries take the place of the last ones. Its vote has come before.
    fn next_cut(&self, random: &mut Random) -> Call {
        let least = self.vote.purged.index.max(self.vote.committed.index);
        if self.vote.term <= self.last.term {
            return self.next_vote(random);
        }
        if self.last.index == least {
            return Call::Sync;
        }
        let to = least + random.below(self.last.index - least);
        let purged = Some(self.vote.purged).filter(|purged| to == purged.index);
        let known = self.id(to).or(purged);
        known.map_or(Call::Sync, Call::Truncate)
    }
}
