//! Files in memory that lose power and fail on demand: for tests.
//!
//! Two images are kept. The *live* one is what the process sees. The *durable* one is what a disk would
//! hold: bytes of a file reach it by `sync`, names by `sync_dir` of their folder, and nothing else does.
//! [`FaultyStorage::crash_image`] makes a new storage of what a power cut would leave.
//!
//! Every call that changes or syncs something is one [`Operation`] and one tick of a logical clock
//! ([`FaultyStorage::now`]); reads are none. Operation `n` takes the clock from `n` to `n + 1`. Faults are
//! set for an operation's number, so a script of one thread meets them at the same place every time.
//! A [`History`] tells afterwards what was durable at which time: enough to show that no acknowledgement
//! came before its sync.
//!
//! A failed sync does as Linux does: the bytes stay readable, count as clean, and no later sync writes
//! them, until the cache lets go of them ([`FaultyStorage::evict`]). A failed write leaves its first half.

mod crash;
mod history;
mod inode;
mod names;
mod random;
mod ranges;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

use crate::sync::{Condvar, Mutex};

pub use crash::CrashMode;
pub use history::History;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use random::Random;
use state::{ReadFault, State};

use super::error::PathError;
use super::{Storage, StorageFile, path};

/// A folder of files in memory, with faults. A clone is another handle to the same files.
#[derive(Clone, Debug, Default)]
pub struct FaultyStorage {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    // Woken when syncs are resumed, and when one begins to wait.
    syncs: Condvar,
}

/// One call that changed or synced something, or tried to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What was called.
    pub action: Action,
    /// The file or folder; of an open file, the name it was opened by.
    pub path: String,
    /// The file, whatever it is called by now; 0 for a folder.
    pub file: u64,
    /// The time at which the call began: below the operation's own number only for a sync during which
    /// others went on.
    pub began_at: u64,
    /// What it failed with.
    pub error: Option<ErrorKind>,
}

/// What an [`Operation`] was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A folder was created.
    CreateDir,
    /// A file was created.
    Create,
    /// A file was renamed, to this path.
    RenameTo(String),
    /// A file's name was removed.
    Unlink,
    /// The names in a folder were made durable.
    SyncDir,
    /// Bytes were written (of a failed write: those that were).
    Write {
        /// Position of the first byte.
        position: u64,
        /// Number of bytes.
        length: u64,
    },
    /// A file's bytes were made durable.
    Sync,
    /// The file's length was set by a preallocation, unless it was that long already.
    Preallocate {
        /// The length.
        end_position: u64,
    },
    /// The file's length was set.
    Truncate {
        /// The length.
        length: u64,
    },
}

impl FaultyStorage {
    /// An empty folder without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who holds these files: handles of the storage, this one too, and files that are open.
    #[must_use]
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    /// The number of operations so far: the logical clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.shared.state.lock().now()
    }

    /// Every operation so far, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.shared.state.lock().operations.clone()
    }

    /// What was durable when, up to now.
    #[must_use]
    pub fn history(&self) -> History {
        let state = self.shared.state.lock();
        History::new(state.base.clone(), state.operations.clone())
    }

    /// What a power cut at this moment would leave, as a storage of its own without faults. The handles
    /// of this one go on as before.
    ///
    /// # Panics
    /// If a file is too long for memory, which the limit on its own files rules out.
    #[must_use]
    pub fn crash_image(&self, mode: CrashMode) -> Self {
        let state = crash::image_of(&self.shared.state.lock(), mode)
            .expect("what files hold now fits into files");
        Self::with(state)
    }

    /// The same files, with what is not synced of them, as a storage of its own without faults: what the
    /// next process finds after this one was killed.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::with(self.shared.state.lock().fork())
    }

    fn with(state: State) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                syncs: Condvar::new(),
            }),
        }
    }

    /// Makes operation `number` fail, once.
    pub fn fail_at(&self, number: u64, kind: ErrorKind) {
        self.shared.state.lock().faults.at.insert(number, kind);
    }

    /// Makes the next sync of a file fail, once.
    pub fn fail_next_sync(&self) {
        self.shared.state.lock().faults.is_next_sync_failing = true;
    }

    /// Has failed syncs write some of the sectors they were to write, by this seed; without one, none.
    pub fn tear_failed_syncs(&self, seed: Option<u64>) {
        self.shared.state.lock().faults.torn_syncs = seed;
    }

    /// Makes reads of these bytes of the file opened by this name fail.
    pub fn fail_reads(&self, path: &str, positions: Range<u64>, kind: ErrorKind) {
        let path = path.to_owned();
        self.shared.state.lock().faults.reads.push(ReadFault {
            path,
            positions,
            kind,
        });
    }

    /// Has the cache let go of clean pages: what failed syncs dropped is no longer seen.
    ///
    /// # Errors
    /// `StorageFull` for a file too long for memory.
    pub fn evict(&self) -> io::Result<()> {
        self.shared.state.lock().evict()
    }

    /// Has the cache let go of clean pages right before operation `number`.
    pub fn evict_at(&self, number: u64) {
        self.shared.state.lock().faults.evict_at = Some(number);
    }

    /// From operation `number` on nothing happens any more: every call fails and leaves no trace.
    pub fn power_off_at(&self, number: u64) {
        self.shared.state.lock().faults.power_off_at = Some(number);
    }

    /// Lets all files together be at most `bytes` long; beyond that there is no space. `None`: no limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.shared.state.lock().faults.space_bytes = bytes;
    }

    /// Whether nothing happens any more.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.shared.state.lock().check_power().is_err()
    }

    /// Takes back every fault that is set; syncs that wait go on.
    pub fn clear_faults(&self) {
        self.shared.state.lock().faults = state::Faults::default();
        self.shared.syncs.notify_all();
    }

    /// Makes syncs of files wait until [`Self::resume_syncs`]. What was written before a sync began to
    /// wait is all that it will make durable.
    pub fn pause_syncs(&self) {
        self.shared.state.lock().faults.are_syncs_paused = true;
    }

    /// Lets syncs go on.
    pub fn resume_syncs(&self) {
        self.shared.state.lock().faults.are_syncs_paused = false;
        self.shared.syncs.notify_all();
    }

    /// How many syncs wait.
    #[must_use]
    pub fn paused_syncs(&self) -> usize {
        self.shared.state.lock().waiting_syncs
    }

    /// Waits until `count` syncs wait, while paused.
    pub fn wait_for_paused_syncs(&self, count: usize) {
        let mut state = self.shared.state.lock();
        while state.waiting_syncs < count {
            self.shared.syncs.wait(&mut state);
        }
    }

    fn with_state<T>(
        &self,
        operation: &'static str,
        path: &str,
        action: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        path::check(path)
            .and_then(|()| action(&mut self.shared.state.lock()))
            .map_err(|error| PathError::wrap(operation, path, error))
    }

    fn handle(&self, path: &str, file: u64, is_read_only: bool) -> Arc<dyn StorageFile> {
        Arc::new(FaultyFile {
            storage: self.clone(),
            path: path.to_owned(),
            file,
            is_read_only,
        })
    }
}

impl Storage for FaultyStorage {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.with_state("create folder", path, |state| {
            state.run(Action::CreateDir, path, |state| {
                state.names.create_dir(path)
            })
        })
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.with_state("create", path, |state| state.create(path))?;
        Ok(self.handle(path, file, false))
    }

    fn open(&self, path: &str, is_read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.with_state("open", path, |state| {
            state.check_power()?;
            state.names.live.file(path).copied()
        })?;
        Ok(self.handle(path, file, is_read_only))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.with_state("list", path, |state| {
            state.check_power()?;
            state.names.live.list(path)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with_state("rename", from, |state| {
            path::check(to)?;
            state.run(Action::RenameTo(to.to_owned()), from, |state| {
                state.names.rename(from, to)
            })
        })
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.with_state("remove", path, |state| state.unlink(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.with_state("sync", path, |state| {
            state.run(Action::SyncDir, path, |state| state.names.sync_dir(path))
        })
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn free_bytes(&self) -> Option<u64> {
        self.shared.state.lock().free_bytes()
    }
}

#[derive(Debug)]
struct FaultyFile {
    storage: FaultyStorage,
    path: String,
    file: u64,
    is_read_only: bool,
}

impl FaultyFile {
    fn with_state<T>(
        &self,
        operation: &'static str,
        action: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.storage.with_state(operation, &self.path, action)
    }

    fn change<T>(
        &self,
        operation: &'static str,
        action: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.with_state(operation, |state| {
            if self.is_read_only {
                return Err(ErrorKind::PermissionDenied.into());
            }
            action(state)
        })
    }
}

impl StorageFile for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        self.with_state("measure", |state| {
            state.check_power()?;
            Ok(state.inode(self.file).live.length())
        })
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.with_state("read", |state| {
            state.read(self.file, &self.path, buffer, position)
        })
    }

    fn write_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.change("write", |state| {
            state.write(self.file, &self.path, &buffers.concat_bytes(), position)
        })
    }

    fn sync(&self) -> io::Result<()> {
        let result = {
            let mut state = self.storage.shared.state.lock();
            state.begin_sync(self.file).and_then(|begun| {
                state.waiting_syncs += 1;
                self.storage.shared.syncs.notify_all();
                while state.faults.are_syncs_paused {
                    self.storage.shared.syncs.wait(&mut state);
                }
                state.waiting_syncs -= 1;
                state.end_sync(self.file, &self.path, begun)
            })
        };
        result.map_err(|error| PathError::wrap("sync", &self.path, error))
    }

    fn preallocate(&self, end_position: u64) -> io::Result<()> {
        self.change("preallocate", |state| {
            state.preallocate(self.file, &self.path, end_position)
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change("truncate", |state| {
            state.truncate(self.file, &self.path, length)
        })
    }
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [io::IoSlice<'_>] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|buffer| buffer.iter().copied())
            .collect()
    }
}
