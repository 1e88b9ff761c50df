//! The log as openraft's storage of entries and votes: every call is one of the log's.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use headwater::ids::PartitionId;
use headwater::log::raft::{EntryId, RaftEntry, RaftLog};
use headwater::log::storage::Storage;
use headwater::log::{Kind, LogOptions, control};
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::vote::RaftLeaderId as _;
use openraft::vote::RaftVote as _;
use openraft::{BasicNode, EntryPayload, LogState, OptionalSend, RaftLogReader, alias::LeaderIdOf};

use super::{DIR, Entry, LOG_UUID, LogId, Membership, Records, Types, Vote};

/// Bytes read at once where a limit is wished for.
const READ_BYTES: usize = 16 * 1_024;

/// What a member has told others: it holds for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Promise {
    /// Term, and whether committed.
    pub(super) vote: (u32, bool),
    /// The last entry said to be durable; less after a truncation.
    pub(super) synced: u64,
    /// Truncations that took entries away.
    pub(super) truncations: u64,
    pub(super) purges: u64,
}

/// A deliberate bug: to see that it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// Entries are said to be durable once they are written.
    AckUnsynced,
    /// What is to be truncated stays.
    TruncateNothing,
}

/// The log of a member. A clone is another handle to it.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) log: Arc<RaftLog>,
    pub(super) promise: Arc<Mutex<Promise>>,
    pub(super) bug: Option<Bug>,
}

impl Store {
    /// Opens the log in `storage`.
    pub(super) fn open(storage: Arc<dyn Storage>, segment_bytes: u64) -> headwater::Result<Self> {
        let options = LogOptions {
            segment_bytes,
            ..LogOptions::default()
        };
        Ok(Self {
            log: Arc::new(RaftLog::open(storage, DIR, LOG_UUID, options)?),
            promise: Arc::default(),
            bug: None,
        })
    }

    /// Entries from `start` on and below `end`.
    pub(super) fn entries(
        &self,
        start: u64,
        end: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, io::Error> {
        let end = end.saturating_add(1);
        let found = self.log.read(start.saturating_add(1), end, max_bytes);
        found.map_err(io_error)?.iter().map(entry_of).collect()
    }

    fn note(&self, note: impl FnOnce(&mut Promise)) {
        note(&mut self.promise.lock().unwrap());
    }
}

pub(super) fn io_error(error: headwater::Error) -> io::Error {
    io::Error::other(error)
}

/// openraft's id as the log's.
fn id_of(id: &LogId) -> EntryId {
    EntryId {
        term: u32::try_from(id.leader_id.term + 1).unwrap(),
        index: id.index + 1,
    }
}

/// The log's id as openraft's; none before the first, and none of which the term is not known.
pub(super) fn log_id(id: EntryId) -> Option<LogId> {
    let term = id.term.checked_sub(1)?;
    Some(LogId::new_term_index(term.into(), id.index.checked_sub(1)?))
}

/// A membership as the log's payload.
pub(super) fn encode_membership(membership: &Membership) -> Vec<u8> {
    let sets = membership.get_joint_config().iter();
    let members = membership.nodes().map(|(node, at)| control::Member {
        node: *node,
        address: at.addr.clone(),
    });
    let payload = control::Membership {
        voters: sets.map(|set| set.iter().copied().collect()).collect(),
        members: members.collect(),
    };
    control::encode(&payload).unwrap()
}

/// The membership that a payload is.
pub(super) fn decode_membership(payload: &[u8]) -> Result<Membership, io::Error> {
    let payload: control::Membership = control::decode(payload).map_err(io_error)?;
    let sets = payload.voters.into_iter();
    let sets: Vec<_> = sets.map(|set| set.into_iter().collect()).collect();
    let members = payload.members.into_iter();
    let members: BTreeMap<_, _> = members
        .map(|member| (member.node, BasicNode::new(member.address)))
        .collect();
    Membership::new(sets, members).map_err(io::Error::other)
}

fn raft_entry(entry: &Entry) -> RaftEntry {
    let (kind, partition, payload) = match &entry.payload {
        EntryPayload::Blank => (Kind::Blank, 0, Bytes::new()),
        EntryPayload::Normal(records) => (Kind::Records, 1, records.0.clone()),
        EntryPayload::Membership(membership) => {
            (Kind::Membership, 0, encode_membership(membership).into())
        }
    };
    RaftEntry {
        id: id_of(&entry.log_id()),
        kind,
        partition: PartitionId(partition),
        payload,
    }
}

fn entry_of(entry: &RaftEntry) -> Result<Entry, io::Error> {
    let id = log_id(entry.id).ok_or_else(|| io::Error::other("an entry without an id"))?;
    let payload = match entry.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Membership => EntryPayload::Membership(decode_membership(&entry.payload)?),
        _ => EntryPayload::Normal(Records(entry.payload.clone())),
    };
    Ok(Entry::new(id, payload))
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.entries(start, end, READ_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let vote = self.log.state().vote;
        Ok(vote.term.checked_sub(1).map(|term| {
            let leader = LeaderIdOf::<Types>::new(term.into(), vote.node);
            Vote::from_leader_id(leader, vote.is_committed)
        }))
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.log.state();
        Ok(LogState {
            last_purged_log_id: log_id(state.vote.purged),
            last_log_id: log_id(state.last),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let leader = vote.leader_id();
        let term = u32::try_from(leader.term + 1).unwrap();
        let saved = self.log.save_vote(term, leader.voted_for, vote.committed);
        saved.map_err(io_error)?;
        self.note(|promise| promise.vote = (term, vote.committed));
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else {
            return Ok(());
        };
        let saved = self.log.save_committed(id_of(&committed));
        saved.map_err(io_error)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(log_id(self.log.state().vote.committed))
    }

    /// Writes at once, and syncs in a task of its own: a leader's followers may be faster than its disk.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| raft_entry(&entry))
            .collect();
        let state = self.log.state();
        let mut last = state.last;
        // The suite begins empty logs anywhere.
        if let Some(first) = entries.first()
            && first.id.index > last.index + 1
            && last.index == state.vote.purged.index
        {
            let index = first.id.index - 1;
            let nowhere = EntryId { term: 0, index };
            self.log.purge(nowhere).map_err(io_error)?;
            last = nowhere;
        }
        self.log.append(last, &entries).map_err(io_error)?;
        if self.bug == Some(Bug::AckUnsynced) {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        let store = self.clone();
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            let synced = store.log.sync();
            if let Ok(index) = synced {
                store.note(|promise| promise.synced = index);
            }
            callback.io_completed(synced.map(|_| ()).map_err(io_error));
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let to = last.as_ref().map(id_of).unwrap_or_default();
        if self.bug == Some(Bug::TruncateNothing) {
            return Ok(());
        }
        let is_shorter = to.index < self.log.state().last.index;
        self.note(|promise| promise.synced = promise.synced.min(to.index));
        self.log.truncate(to).map_err(io_error)?;
        self.note(|promise| promise.truncations += u64::from(is_shorter));
        Ok(())
    }

    async fn purge(&mut self, last: LogId) -> Result<(), io::Error> {
        self.log.purge(id_of(&last)).map_err(io_error)?;
        self.note(|promise| promise.purges += 1);
        Ok(())
    }
}
