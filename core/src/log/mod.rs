//! Layer 2, how records are kept: one append-only sequence of segment files for everything.
//!
//! - [`control`]: what the control frames say; `entry`, `append`, `set`: what goes in and what comes out
//! - `set_plan`: whether all parts of a SET may happen, before one does
//! - `frame`, `segment`: the bytes; `scan` and `span` walk them, `recovery`, `replay` and `open` open a log
//! - `sequencer`: who gets which offset; `expiry`: which producers are forgotten; `queue`, `group`, `writer`: the write group
//! - `syncer`: the sync thread; `io_thread`: the other one; `shared`: what ties them together; `files`: open files
//! - `roll`, `quota` and `seal`: from one segment to the next; `index`, `rebuild`, `read`: where everything lies
//! - `pair`, `snapshot`, `checkpoint`, `keeper`: the state kept beside the log; `cleaner`: space given back
//! - [`reader`]: the files read from outside, without opening the log
//! - [`mod@format`], [`lock`]: the version of a folder, and who owns it; [`storage`]: where files live
//!
//! ```text
//! append -> queue -> writer (whoever has its lock) -> machine -> written -> `os` answers
//!                       | files                                     |
//!                       v                                           v
//!                    segments <---- fdatasync ---- sync thread -> synced -> `disk` answers
//! ```
//!
//! What holds: an entry is applied after it was written, and `written` is published after it was applied; a
//! `disk` answer is given after the fdatasync that covers its frame has returned; a call on a file that
//! failed stops the log for good; a thread of the log waits for no answer. The log knows frames, indexes,
//! offsets and producers' sequences. It knows no topic's meaning, no group and no reader: that is the
//! engine, which is a [`Machine`] to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::completion::{Assist, Completion};
use crate::error::Result;
use crate::fork;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::world;

mod ahead;
mod append;
mod checkpoint;
mod cleaner;
mod closing;
pub(crate) mod cold;
pub mod control;
mod entry;
mod error;
mod expiry;
mod files;
pub mod format;
mod frame;
mod group;
pub(crate) mod index;
mod io_thread;
mod keeper;
pub mod lock;
mod look_ahead;
mod mark;
mod open;
mod order;
pub mod owner;
mod pair;
mod prompt;
mod queue;
mod quota;
#[doc(hidden)]
pub mod raft;
pub(crate) mod read;
pub mod reader;
mod rebuild;
mod recovery;
mod replay;
mod roll;
mod scan;
mod seal;
mod segment;
mod sequencer;
mod set;
mod set_plan;
mod settle;
mod shared;
pub(crate) mod snapshot;
mod span;
pub mod storage;
mod syncer;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

pub use append::{Append, Appended, BatchPlace, Run};
pub use cleaner::{CleaningRule, Compaction, Extent, Rules};
pub use entry::{Entry, Kind, Location, Machine};
pub use expiry::{Expired, ProducerExpiry};
pub use frame::{
    FRAME_HEADER_BYTES, FrameError, FrameHeader, MARK_CLOSED, MARK_OPENED, PAYLOAD_VERSION,
};
use index::Wanted;
pub use pair::{Scope, StatePair};
pub use read::Stored;
pub use segment::{SEGMENT_FORMAT, SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};
pub use set::{Part, PartRefused, SetError, SetPart, encode_set};
use shared::Shared;
use storage::Storage;
pub use tally::Counts;

/// The wall clock, ms since 1970 UTC. Injected, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a log is kept.
#[derive(Clone)]
pub struct LogOptions {
    /// Bytes at which a segment rolls; default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of the log's files at most, 8 segments or more; default none: no limit.
    pub max_bytes: Option<u64>,
    /// Bytes of the log's files from which all that is dead is given back, and the housekeeper called for it, who
    /// is to drop more: until it says that there is no hope ([`Log::let_in`]), what finds no room within
    /// `max_bytes` waits. Default none: what finds no room is refused.
    pub tight_bytes: Option<u64>,
    /// The wall clock.
    pub clock: Clock,
    /// Data written at `os` is synced in the background after this time at the latest, ms; default 1,000.
    pub os_sync_interval_ms: u64,
    /// A log idle for this long writes a MARK that covers what was synced, ms; default 1,000.
    pub idle_mark_ms: u64,
    /// Bytes logged since the last checkpoint at which another is written; default 64 MiB.
    pub checkpoint_bytes: u64,
    /// Time since the last checkpoint at which another is written, ms, if `checkpoint_least_bytes` were
    /// logged; default 30,000.
    pub checkpoint_interval_ms: u64,
    /// Bytes logged for which a checkpoint is worth it, also at a clean close; default 4 MiB.
    pub checkpoint_least_bytes: u64,
    /// Bytes of segments for which a snapshot is worth it, at least; default 16 MiB.
    pub snapshot_least_bytes: u64,
    /// Bytes a second that cleaning reads, as long as it keeps up; default 64 MiB, 0: as many as it can.
    pub clean_bytes_per_s: u64,
    /// Whether the sync thread reserves space before the writer needs it; default true. Otherwise an append
    /// does that finds none.
    pub reserves_ahead: bool,
    /// Zeros that the sync thread writes ahead at a time, while others wait for syncs and little is written
    /// between them, bytes; default 1 MiB, 0: none. Only what was written before is synced without a commit of
    /// the file system's journal. Where that makes no difference none are written.
    pub zero_bytes: u64,
    /// Whether the sync thread itself writes snapshots and checkpoints: for tests that count what is done to
    /// the files. Default false: a thread of their own.
    pub keeps_inline: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1_024 * 1_024,
            max_bytes: None,
            tight_bytes: None,
            clock: Arc::new(world::wall_ms),
            os_sync_interval_ms: 1_000,
            idle_mark_ms: 1_000,
            checkpoint_bytes: 64 * 1_024 * 1_024,
            checkpoint_interval_ms: 30_000,
            checkpoint_least_bytes: 4 * 1_024 * 1_024,
            snapshot_least_bytes: 16 * 1_024 * 1_024,
            clean_bytes_per_s: 64 * 1_024 * 1_024,
            reserves_ahead: true,
            zero_bytes: 1_024 * 1_024,
            keeps_inline: false,
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("max_bytes", &self.max_bytes)
            .field("os_sync_interval_ms", &self.os_sync_interval_ms)
            .field("idle_mark_ms", &self.idle_mark_ms)
            .finish_non_exhaustive()
    }
}

/// A log: one shard's sequence of segments, open for appending and reading.
///
/// Dropped without [`close`](Self::close) it ends as a crash would: its threads are told to end, nothing
/// is joined, and what was not answered is answered `Closed`.
pub struct Log {
    shared: Arc<Shared>,
    /// The fork generation that it was opened in.
    generation: usize,
}

impl Log {
    /// Opens the log in `dir` of `storage`, or creates it: recovers, and replays every entry to `machine`.
    ///
    /// `log_uuid` is the folder's: frames of another log are no frames here. No thread is started before
    /// the first append, sync or job. After a clean close nothing is written before the first append;
    /// otherwise the term rises.
    ///
    /// # Errors
    /// `Corrupt` naming file and position when promised data is damaged (nothing is changed then),
    /// `Unsupported` for segments of a newer version, `Storage` when the files cannot be read or written,
    /// `Full` when there is no space for what opening has to write.
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &str,
        log_uuid: [u8; 16],
        options: LogOptions,
        machine: Arc<dyn Machine>,
    ) -> Result<Self> {
        let generation = fork::current()?;
        let shared = open::open(storage, dir, log_uuid, options, machine)?;
        shared.begin_quota();
        Ok(Self {
            shared: Arc::new(shared),
            generation,
        })
    }

    /// Appends one frame; the completion gets the answer, or the refusal.
    ///
    /// Refusals: `Full` when the queue or the disk is, `Storage` when the log has stopped, `Closed`, and
    /// what the sequencer says of a producer's sequence. An answer of `Storage` with outcome `unknown`
    /// means that the entry may be there when the log is opened again.
    pub fn append(&self, append: Append, run: Run) {
        match self.enqueue(append, run) {
            Ok(()) => self.write_queued(run),
            Err((append, error)) => append.completion.finish(Err(error)),
        }
    }

    /// Writes what is queued, on this thread, unless another thread does.
    pub fn assist(&self) {
        self.shared.drive();
    }

    /// Runs `job` on the io thread, in order of scheduling. It may touch files and must not wait.
    ///
    /// # Errors
    /// `Full` when `IO_JOBS_MAX` jobs wait, `Closed` after the close; the job is dropped then.
    pub fn schedule(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.shared.schedule(job)
    }

    /// The same for a job that somebody's going on depends on: it is refused by no limit, so whoever asks has a few
    /// of them waiting at most. After the close it is dropped.
    pub fn schedule_turn(&self, job: impl FnOnce() + Send + 'static) {
        self.shared.schedule_turn(job);
    }

    /// The payload at `location`, read from its file. The frame is checked; a batch's own CRC is not.
    ///
    /// # Errors
    /// `Corrupt` naming file and position; `Storage` when the file cannot be read.
    pub fn read(&self, location: Location) -> Result<Bytes> {
        read::read(&self.shared, location)
    }

    /// The batches of a partition from `offset` on, in order, as far as they end at `end_offset` or before:
    /// about `max_bytes` of them, at least one if there is one, and not all if they do not lie together or one
    /// cannot be read.
    ///
    /// # Errors
    /// `Corrupt` naming file and position; `Storage` when a file cannot be read.
    pub fn read_from(
        &self,
        partition: PartitionId,
        offset: i64,
        end_offset: i64,
        max_bytes: usize,
    ) -> Result<Vec<Stored>> {
        let wanted = Wanted {
            partition,
            offset,
            end_offset,
            max_bytes,
        };
        read::read_from(&self.shared, wanted)
    }

    /// The first batch of a partition, in order of offsets and from `offset` on, whose largest timestamp is
    /// `time_ms` or later.
    ///
    /// # Errors
    /// As for [`read_from`](Self::read_from).
    pub fn find_time(
        &self,
        partition: PartitionId,
        time_ms: i64,
        offset: i64,
    ) -> Result<Option<Stored>> {
        read::find_time(&self.shared, partition, time_ms, offset)
    }

    /// The largest timestamp of the batches of a partition from `offset` on; those before it in the same segment may
    /// count too. None if there are none.
    #[must_use]
    pub fn max_timestamp(&self, partition: PartitionId, offset: i64) -> Option<i64> {
        self.shared.index.max_timestamp(partition, offset)
    }

    /// Bytes of the batches of a partition from `offset` on; those before it in the same segment may count
    /// too.
    #[must_use]
    pub fn partition_bytes(&self, partition: PartitionId, offset: i64) -> u64 {
        self.shared.index.size_bytes(partition, offset)
    }

    /// Bytes of memory that the index takes: of the segment written to, and of footers that were read.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.shared.index.active_bytes() + self.shared.index.cached_bytes()
    }

    /// The offset that the next record of a partition gets, counting what is in flight. Waits for a write
    /// that is under way.
    #[must_use]
    pub fn next_offset(&self, partition: PartitionId) -> Option<i64> {
        self.shared
            .with_writer(|writer| writer.next_offset(partition))
    }

    /// The largest index that is written and applied.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Acquire)
    }

    /// The largest index that anything is applied of. Waits for a write that is under way.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.shared.with_writer(|writer| writer.last_index())
    }

    /// The largest index that is synced.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.shared.syncer.synced()
    }

    /// The term that this log writes in: it rose if the last close was not clean.
    #[must_use]
    pub fn term(&self) -> LeaderEpoch {
        self.shared.term
    }

    /// Whether the last close was clean; known until something is appended.
    #[must_use]
    pub fn was_closed(&self) -> bool {
        self.shared.with_writer(|writer| writer.unopened.is_some())
    }

    /// Threads that the log runs: 0 to 2.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.shared.thread_count()
    }

    /// Segments there are.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.shared.files.count()
    }

    /// Bytes of all segments' data.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.files.size_bytes()
    }

    /// What each segment holds of a partition, in order of offsets.
    #[must_use]
    pub fn extents(&self, partition: PartitionId) -> Vec<Extent> {
        let summaries = self.shared.index.summaries_of(partition);
        summaries.iter().map(Extent::from).collect()
    }

    /// Has `housekeeper` called soon, and again after the time that it gives, on a thread of the log that may
    /// touch files. It begins with the first append, or with
    /// [`start_housekeeping`](Self::start_housekeeping).
    pub fn set_housekeeper(&self, housekeeper: Arc<dyn Fn() -> Duration + Send + Sync>) {
        self.shared.keeper.set_housekeeper(housekeeper);
        self.shared.syncer.set_housekeeping(world::now());
    }

    /// Has the housekeeper called after a time, starting the thread for it if that does not run yet.
    ///
    /// # Errors
    /// `Storage` when the system gives no thread, `Closed` after the close.
    pub fn start_housekeeping(&self, after: Duration) -> Result<()> {
        self.shared.syncer.set_housekeeping(world::now() + after);
        self.shared.start_sync_thread()
    }

    /// Gives back space of what is dead by `rules`, as of the entry `as_of`: removes segments that hold
    /// nothing else, and moves what lives of others if more is dead than lives. Says how many segments went;
    /// `None` if that entry is not synced yet. May take long; for the housekeeper alone.
    pub fn clean(&self, as_of: u64, rules: &Rules<'_>) -> Option<usize> {
        self.shared.clean(as_of, rules)
    }

    /// Whether space has to be given back because of `max_bytes`.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.shared.is_tight()
    }

    /// Lets in the appends that wait for room, which a log of `tight_bytes` has them do. Without `is_hopeful`, and
    /// while no snapshot is on its way, what finds none is refused from now on. For the housekeeper alone.
    pub fn let_in(&self, is_hopeful: bool) {
        let is_hopeful = is_hopeful || self.shared.keeper.has_snapshot_to_write();
        self.shared.let_in(is_hopeful);
    }

    /// Of a log that is tight: which partitions would have to lose their oldest
    /// records, and up to which offset. Only those for which `may_go` holds; what is dead by `rules` counts
    /// as gone. For the housekeeper alone.
    pub fn oldest(
        &self,
        rules: &Rules<'_>,
        may_go: &dyn Fn(PartitionId) -> bool,
    ) -> Vec<(PartitionId, i64)> {
        self.shared.oldest(rules, may_go)
    }

    /// How many producers are remembered, each once for every partition that it appended to.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.shared.producer_count()
    }

    /// Forgets producers by entries of the log: those that were idle for too long, and the oldest of those
    /// that are too many. One that has appended meanwhile stays. For the housekeeper alone.
    ///
    /// # Errors
    /// `Closed`; `Full` without space; `Storage` when the log has stopped.
    pub fn expire_producers(&self, expiry: &ProducerExpiry) -> Result<Expired> {
        self.shared.expire_producers(expiry)
    }

    /// Sets the age at which a segment rolls, ms; at first a day.
    pub fn set_segment_ms(&self, segment_ms: i64) {
        self.shared.segment_ms.store(segment_ms, Ordering::Relaxed);
    }

    /// Rolls the segment that is written to if it has reached its age. For the housekeeper alone.
    pub fn roll_aged(&self) {
        self.shared.roll_aged();
    }

    /// What it has done since it was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.tally.counts()
    }

    /// Whether it takes appends.
    ///
    /// # Errors
    /// `Storage` with what stopped it, `Closed` once it is closed.
    pub fn health(&self) -> Result<()> {
        let refusal = self.shared.queue.refusal();
        refusal.map_or(Ok(()), |refusal| Err(refusal.error()))
    }

    /// Completes when everything written so far is synced.
    pub fn sync(&self, completion: Completion<()>) {
        self.shared.sync(completion);
    }

    /// Closes: refuses new appends, writes what is queued, syncs, marks the log as cleanly closed, and
    /// ends its threads. Called again it answers the same.
    ///
    /// # Errors
    /// `Storage` if something could not be written or synced, now or before; `InvalidArgument` on a
    /// thread of the log itself.
    pub fn close(&self) -> Result<()> {
        self.shared.close()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // A forked child has none of its threads, and waits for none: what they are at is the parent's.
        if fork::check_process(self.generation).is_ok() {
            self.shared.abandon();
        }
    }
}

impl Assist for Log {
    fn assist(&self) {
        Self::assist(self);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.shared).finish()
    }
}
