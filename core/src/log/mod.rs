//! Layer 2, how records are kept: one append-only sequence of segment files for everything.
//!
//! - [`control`]: what the control frames say
//! - `entry`, `append`: the entries handed to the state derived from the log, and what is asked of it
//! - [`format`], [`lock`]: the version of a folder, and who owns it
//! - [`storage`]: where files live
//!
//! The log knows frames, indexes, offsets and producers' sequences. It knows no topic's meaning, no group
//! and no reader: that is the engine, which is a [`Machine`] to it.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::completion::{Assist, Completion};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{LeaderEpoch, PartitionId};

mod append;
pub mod control;
mod entry;
pub mod format;
pub mod lock;
pub mod storage;

pub use append::{Append, Appended, Run};
pub use entry::{Entry, Kind, Location, Machine};
use storage::Storage;

/// The wall clock, ms since 1970 UTC. Injected, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a log is kept.
#[derive(Clone)]
pub struct LogOptions {
    /// Bytes at which a segment rolls; default 64 MiB.
    pub segment_bytes: u64,
    /// The wall clock.
    pub clock: Clock,
    /// Data written at `os` is synced in the background after this time at the latest, ms; default 1,000.
    pub os_sync_interval_ms: u64,
    /// A log idle for this long writes a MARK that covers what was synced, ms; default 1,000.
    pub idle_mark_ms: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1_024 * 1_024,
            clock: Arc::new(|| {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| {
                        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
                    })
            }),
            os_sync_interval_ms: 1_000,
            idle_mark_ms: 1_000,
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("segment_bytes", &self.segment_bytes)
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
    term: LeaderEpoch,
}

impl Log {
    /// Opens the log in `dir` of `storage`, or creates it: recovers, and replays every entry to `machine`.
    ///
    /// `log_uuid` is the folder's: frames of another log are no frames here. No thread is started before
    /// the first append, sync or job.
    ///
    /// # Errors
    /// `Corrupt` naming file and position when promised data is damaged (nothing is changed then),
    /// `Unsupported` for segments of a newer version, `Storage` when the files cannot be read or written.
    pub fn open(
        _storage: Arc<dyn Storage>,
        _dir: &str,
        _log_uuid: [u8; 16],
        _options: LogOptions,
        _machine: Arc<dyn Machine>,
    ) -> Result<Self> {
        Err(not_yet())
    }

    /// Appends one frame; the completion gets the answer, or the refusal.
    ///
    /// Refusals: `Full` when the queue is, `Storage` when the log has stopped, `Closed`, and what the
    /// sequencer says of a producer's sequence.
    pub fn append(&self, append: Append, _run: Run) {
        append.completion.finish(Err(not_yet()));
    }

    /// Writes what is queued, on this thread, unless another thread does.
    pub fn assist(&self) {}

    /// Runs `job` on the io thread, in order of scheduling. It may touch files and must not wait.
    ///
    /// # Errors
    /// `Full` when `IO_JOBS_MAX` jobs wait, `Closed` after the close; the job is dropped then.
    pub fn schedule(&self, _job: impl FnOnce() + Send + 'static) -> Result<()> {
        Err(not_yet())
    }

    /// The payload at `location`, read from its file. The frame is checked; a batch's own CRC is not.
    ///
    /// # Errors
    /// `Corrupt` naming file and position; `Storage` when the file cannot be read.
    pub fn read(&self, _location: Location) -> Result<Bytes> {
        Err(not_yet())
    }

    /// The offset that the next record of a partition gets, counting what is in flight.
    #[must_use]
    pub fn next_offset(&self, _partition: PartitionId) -> Option<i64> {
        None
    }

    /// The largest index that is written and applied.
    #[must_use]
    pub fn written(&self) -> u64 {
        0
    }

    /// The largest index that is synced.
    #[must_use]
    pub fn synced(&self) -> u64 {
        0
    }

    /// The term that this log writes in: it rose if the last close was not clean.
    #[must_use]
    pub fn term(&self) -> LeaderEpoch {
        self.term
    }

    /// Threads that the log runs: 0 to 2.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        0
    }

    /// Segments there are.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        0
    }

    /// Bytes of all segments' data.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        0
    }

    /// Completes when everything written so far is synced.
    pub fn sync(&self, completion: Completion<()>) {
        completion.finish(Err(not_yet()));
    }

    /// Closes: refuses new appends, writes what is queued, syncs, marks the log as cleanly closed, and
    /// ends its threads. Called again it does nothing.
    ///
    /// # Errors
    /// `Storage` if something could not be written or synced, now or before; `InvalidArgument` on a
    /// thread of the log itself.
    pub fn close(&self) -> Result<()> {
        Err(not_yet())
    }
}

impl Assist for Log {
    fn assist(&self) {
        Self::assist(self);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("term", &self.term).finish()
    }
}

fn not_yet() -> Error {
    Error::new(ErrorCode::UnsupportedFeature, "the log is not built yet")
}
