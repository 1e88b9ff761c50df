//! The log as a member of a group keeps it: what Raft asks of a log, and nothing of what Raft does.
//!
//! It is the same log: the same segments, frames and recovery, the same rule for a cut. What [`Log`] adds for
//! a log of its own is not here: no write group, no sequencer, no machine. An entry comes with its index and
//! term; whether it is committed, and what it does then, is the caller's to know.
//!
//! - `segments`: which there are, reading them, and how one begins
//! - `writer`: everything that changes them; `open`: what an open does before anything is served
//!
//! What holds:
//!
//! - What a call made durable when it returned, no crash takes back: entries by [`sync`](RaftLog::sync), a
//!   vote, a truncation, a purge by themselves.
//! - **A truncation never continues in the same file.** It begins a segment whose header says after which
//!   entry, and with which vote; that header is the truncation. It is durable before anything is removed.
//! - The vote is in the same order as the entries: a VOTE frame. It never goes backwards: one that would is
//!   refused. It is repeated in each segment's header, so no removed segment takes it away.
//! - **What was purged is a VOTE frame's to say,** and durable before a segment goes. Segments go whole, from
//!   the front; what is purged of the first one is passed over. A purge beyond the end (after a snapshot was
//!   taken over) begins a segment behind the gap.
//! - A segment's name is durable before its header is written, and its header before any frame but the first
//!   VOTE: so no number comes to be used twice with frames in it.
//! - Damage to a VOTE is told from a torn write once an entry behind it was synced and another written: as for
//!   the entries, what was synced last of all is not.
//! - The first call on a file that fails stops the log: everything is refused until it is opened anew.
//!
//! One lock is around all of it, also while a file is synced.
//!
//! [`Log`]: super::Log

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::ids::PartitionId;
use crate::sync::Mutex;

mod open;
mod segments;
mod writer;

use super::entry::Kind;
use super::recovery::Place;
use super::storage::Storage;
use super::{LogOptions, control};
use writer::Writer;

pub use super::control::{EntryId, Vote};

/// An entry with its place in the group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftEntry {
    /// Index and term. Indexes count from 1; a term is from 1 to `i32::MAX` and does not fall.
    pub id: EntryId,
    /// What it is: BLANK, MEMBERSHIP, or what a log of its own holds too.
    pub kind: Kind,
    /// The partition it is about; 0 where the kind has none.
    pub partition: PartitionId,
    /// The payload: a record batch, or what `control` says of the kind.
    pub payload: Bytes,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftState {
    /// The last entry; the last one purged, if there is none.
    pub last: EntryId,
    /// Entries up to this index are durable.
    pub synced: u64,
    /// The vote, what is purged and what is known to be committed.
    pub vote: Vote,
}

/// Where a log lives, and how it is kept.
struct Home {
    storage: Arc<dyn Storage>,
    dir: String,
    log_uuid: [u8; 16],
    options: LogOptions,
}

impl Home {
    fn place(&self) -> Place<'_> {
        Place {
            storage: self.storage.as_ref(),
            dir: &self.dir,
            log_uuid: &self.log_uuid,
        }
    }

    fn now_ms(&self) -> i64 {
        (self.options.clock)()
    }
}

/// The log of a member of a group, open. Dropped it ends as a crash would.
pub struct RaftLog {
    dir: String,
    writer: Mutex<Writer>,
}

impl RaftLog {
    /// Opens the log in `dir` of `storage`, or creates it. What it shows afterwards is durable.
    ///
    /// # Errors
    /// As [`Log::open`](super::Log::open).
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &str,
        log_uuid: [u8; 16],
        options: LogOptions,
    ) -> Result<Self> {
        let dir = dir.to_owned();
        let home = Home {
            storage,
            dir: dir.clone(),
            log_uuid,
            options,
        };
        let writer = Mutex::new(open::open(home)?);
        Ok(Self { dir, writer })
    }

    /// What it holds.
    #[must_use]
    pub fn state(&self) -> RaftState {
        self.writer.lock().state()
    }

    /// Writes entries behind `previous`, which has to be the last: readable at once, durable after the next
    /// [`sync`](Self::sync).
    ///
    /// # Errors
    /// `InvalidArgument` if they do not follow on the log or cannot stand in it, and nothing was written;
    /// `Storage` when the log has stopped.
    pub fn append(&self, previous: EntryId, entries: &[RaftEntry]) -> Result<()> {
        self.writer.lock().append(previous, entries)
    }

    /// Makes everything written durable, and says up to which index that is.
    ///
    /// # Errors
    /// `Storage` when the log has stopped.
    pub fn sync(&self) -> Result<u64> {
        self.writer.lock().sync()
    }

    /// Removes every entry behind `last`, durably.
    ///
    /// # Errors
    /// `InvalidArgument` if that is not an entry of the log or what was purged last, or if committed entries
    /// stand behind it; `Storage` when the log has stopped.
    pub fn truncate(&self, last: EntryId) -> Result<()> {
        self.writer.lock().truncate(last)
    }

    /// Votes, durably.
    ///
    /// # Errors
    /// `InvalidArgument` for a vote that is lower than the last, or for another node in the same term without
    /// a majority; `Storage` when the log has stopped.
    pub fn save_vote(&self, term: u32, node: u64, is_committed: bool) -> Result<()> {
        self.writer.lock().save_vote(term, node, is_committed)
    }

    /// Takes note that entries up to `committed` are committed. Durable with the next sync.
    ///
    /// # Errors
    /// `Storage` when the log has stopped.
    pub fn save_committed(&self, committed: EntryId) -> Result<()> {
        self.writer.lock().save_committed(committed)
    }

    /// Removes every entry up to `last`, durably; beyond the end of the log it goes on behind `last`. A term
    /// of 0 says that the one of `last` is not known.
    ///
    /// # Errors
    /// `Storage` when the log has stopped.
    pub fn purge(&self, last: EntryId) -> Result<()> {
        self.writer.lock().purge(last)
    }

    /// Entries from the index `from` on and below `end`, as far as there are any: about `max_bytes`, at least
    /// one if there is one.
    ///
    /// # Errors
    /// `Corrupt` naming file and position; `Storage` when a file cannot be read.
    pub fn read(&self, from: u64, end: u64, max_bytes: usize) -> Result<Vec<RaftEntry>> {
        self.writer.lock().read(from, end, max_bytes)
    }

    /// Number of segments.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.writer.lock().segment_count()
    }

    /// Closes: syncs, vouches for what is there, and refuses everything from then on.
    ///
    /// # Errors
    /// `Storage` when the log has stopped.
    pub fn close(&self) -> Result<()> {
        self.writer.lock().close()
    }
}

impl fmt::Debug for RaftLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftLog")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}
