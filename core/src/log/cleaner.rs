//! Giving space back: what is dead goes, what lives among it is moved together.
//!
//! - `removal`: segments that hold nothing any more are removed whole: of the log's from the front, of cold
//!   ones any
//! - `plan`: when the rest is worth it, and what is to be moved; `copy`: moving it; `output`: the cold segments
//!   it is moved into; `compaction`: which records a later one of their key has made dead
//! - `reserve`: space that is kept, so that a full disk can be cleaned; `oldest`: what has to go first where a
//!   folder's limit is reached
//!
//! What is dead is the engine's to say, by a [`CleaningRule`] for each partition: batches below its log start,
//! those of partitions that are gone, and where keys count the records that come again. Only segments behind
//! which a durable snapshot stands are touched, since the state then no longer needs their frames. As long as
//! what is dead is less than what lives, the older of the two snapshots decides, so that losing the newer one
//! loses nothing; beyond that, the newer one, once it has been read again.
//!
//! What holds: at every moment, and after a crash at any, each record that lives can be read at one place and
//! at no other. Readers that have a segment open read on in it. Nothing here changes what `apply` has made of
//! the log; and none of it is needed for the log to go on: what fails is said, and tried again.

mod compaction;
mod copy;
mod oldest;
mod output;
mod plan;
mod removal;
mod reserve;

use std::io;
use std::sync::Arc;

use crate::error::Error;
use crate::ids::PartitionId;

use self::plan::Job;
pub(super) use self::removal::Removing;
pub(super) use self::reserve::NAME as RESERVE_NAME;
use self::reserve::Space;
use super::error::is_full;
use super::index::Summary;
use super::shared::Shared;

/// Segments' worth of dead bytes beside which what is dead may be as much as what lives.
const SLACK_SEGMENTS: u64 = 3;

/// What cleaning is to leave of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleaningRule {
    /// Records below this offset are dead.
    pub log_start_offset: i64,
    /// Of each key only the last record lives; `None`: keys do not count.
    pub compaction: Option<Compaction>,
}

/// How a partition is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// How long a tombstone stays after the cleaning that first kept it, ms.
    pub tombstone_retention_ms: i64,
}

/// The rule for each partition; `None`: it is gone, and all of it is dead.
pub type Rules<'a> = dyn Fn(PartitionId) -> Option<CleaningRule> + 'a;

/// What a segment holds of a partition, as far as retention is about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the first record.
    pub first_offset: i64,
    /// Offset behind the last.
    pub next_offset: i64,
    /// When the last of its batches was appended, ms since 1970 UTC.
    pub max_append_time_ms: i64,
    /// Bytes of its batches.
    pub size_bytes: u64,
}

impl From<&Summary> for Extent {
    fn from(summary: &Summary) -> Self {
        Self {
            first_offset: summary.first_offset,
            next_offset: summary.next_offset,
            max_append_time_ms: summary.max_append_time_ms,
            size_bytes: summary.size_bytes,
        }
    }
}

/// Why moving came to nothing.
#[derive(Debug)]
enum Stopped {
    /// The log is being closed.
    Closed,
    /// A file cannot be written.
    Io(io::Error),
    /// A source cannot be read.
    Unreadable(Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

impl Shared {
    /// Removes what is dead by `rules`, which are what the log made of everything up to `as_of`; then moves
    /// what lives, if that is worth it. Says how many segments went; `None` if that entry is not synced yet.
    ///
    /// Only on the thread that writes snapshots, which decide how far it may go.
    pub(super) fn clean(self: &Arc<Self>, as_of: u64, rules: &Rules<'_>) -> Option<usize> {
        self.measure_beside();
        let removed = self.remove_dead(as_of, rules)?;
        self.look_at_quota();
        self.hasten_snapshot();
        self.keep_reserve();
        if !self.keeper.removing.may_move() || self.keeper.is_closed() {
            return Some(removed);
        }
        let Some(job) = plan::plan(self, rules, as_of) else {
            return Some(removed);
        };
        let moved = self.make_move(job, rules);
        self.keep_reserve();
        match moved {
            Ok(sources) => return Some(removed + sources),
            Err(Stopped::Closed) => {}
            Err(Stopped::Io(error)) => {
                crate::seldom!(warn, dir = %self.dir, %error, "cleaning could not be finished, and is tried again");
            }
            Err(Stopped::Unreadable(error)) => {
                self.keeper.removing.end_moving();
                let dir = &self.dir;
                tracing::error!(%dir, %error, "what is to be cleaned cannot be read; cleaning has ended");
            }
        }
        Some(removed)
    }

    /// In a tight log of which nothing may be cleaned for want of a snapshot, has one taken.
    fn hasten_snapshot(self: &Arc<Self>) {
        if !self.is_tight() || !self.is_durable || self.keeper.has_snapshot_to_write() {
            return;
        }
        let first = self.index.sealed(false).into_iter().next();
        let newest = self.snapshots().map(|(_, newest)| newest);
        if let (Some(first), Ok(newest)) = (first, newest)
            && first >= newest
        {
            self.roll_for_snapshot();
        }
    }

    /// Moves what lives of a job's sources or, where there is no room for that, of the first of them. Says how
    /// many segments that was.
    fn make_move(self: &Arc<Self>, job: Job, rules: &Rules<'_>) -> Result<usize, Stopped> {
        let mut moved = Ok(0);
        if self.begin_moving(job.live_bytes) {
            moved = copy::run(self, &job, rules, Space::Any).map(|()| job.sources.len());
            self.end_moving();
            if !matches!(&moved, Err(Stopped::Io(error)) if is_full(error)) {
                return moved;
            }
        }
        let Some(first) = job.first().filter(|_| self.begin_moving_in_room()) else {
            return moved;
        };
        let space = if self.has_reserve() {
            Space::Reserve
        } else {
            Space::Any
        };
        let moved = copy::run(self, &first, rules, space).map(|()| first.sources.len());
        self.end_moving();
        moved
    }

    /// Moves what lives of these, whether it is worth it or not.
    #[cfg(test)]
    pub(super) fn move_these(self: &Arc<Self>, sources: Vec<u64>, rules: &Rules<'_>) {
        let front = self.index.first_of_log();
        let job = Job {
            sources,
            front,
            is_urgent: false,
            is_merge: true,
            live_bytes: 0,
        };
        copy::run(self, &job, rules, Space::Any).unwrap();
    }
}
