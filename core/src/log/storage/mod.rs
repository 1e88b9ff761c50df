//! Where files live: the one small trait through which everything on disk is written and read.
//!
//! Three implementations: `disk` (real files), `memory` (`mem:` logs), `faulty` (what was synced kept
//! apart from what was only written; for tests). Paths are relative to the storage's root and use `/`.
//! What is written is not durable before `sync` of the file returned; a name (create, rename, remove) is
//! not durable before `sync_dir` of its folder returned. A failed sync says nothing about the bytes: the
//! caller stops the log and never retries it.
//!
//! A path names no `..`, no empty part and nothing outside the root; the empty path is the root itself.
//! Every error carries a [`PathError`], which names the file and what was tried, and keeps its kind.

pub mod disk;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
mod image;
pub mod memory;
mod path;
mod tree;

#[cfg(test)]
mod conformance;

pub use error::PathError;
pub(crate) use error::error_of;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A folder of files. All calls may block; none is made from an async runtime's thread.
pub trait Storage: Debug + Send + Sync {
    /// Creates a folder and its parents; one that exists already is fine.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Creates a file for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` if it is there; else the operating system's.
    fn create(&self, path: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file for reading and writing (`is_read_only`: for reading).
    ///
    /// # Errors
    /// `NotFound` if it is not there; else the operating system's. A call that changes a file opened
    /// for reading fails with `PermissionDenied`.
    fn open(&self, path: &str, is_read_only: bool) -> io::Result<Arc<dyn StorageFile>>;

    /// The names in a folder, sorted. Names only, no paths.
    ///
    /// # Errors
    /// `NotFound` if the folder is not there; else the operating system's.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Renames a file over another in one step.
    ///
    /// # Errors
    /// `NotFound` if the first is not there; else the operating system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file's name; who has it open may go on reading it.
    ///
    /// # Errors
    /// `NotFound` if it is not there; else the operating system's. A folder is refused.
    fn unlink(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a folder durable: files and folders created in it, renamed, removed.
    ///
    /// # Errors
    /// `NotFound` if the folder is not there; else the operating system's.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Whether a sync here survives the power: false for memory.
    fn is_durable(&self) -> bool;

    /// Whether a sync is quicker where the file was written before: so that it is worth it to write zeros
    /// where something will be written. Not where every write goes to another place on the disk.
    fn gains_by_zeros(&self) -> bool {
        self.is_durable()
    }

    /// Bytes by which files may still grow, for a message; `None` where that is not known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// A file of a [`Storage`]. Closed when the last handle is dropped.
pub trait StorageFile: Debug + Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn length(&self) -> io::Result<u64>;

    /// Reads `buffer.len()` bytes from `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; else the operating system's.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;

    /// Says that these bytes are read next, so that they can be fetched together. A hint: it may do nothing.
    fn will_read(&self, _position: u64, _count: u64) {}

    /// Writes all `buffers`, one after the other, from `position` on. A gap reads as zero.
    ///
    /// # Errors
    /// The operating system's; some bytes may have been written.
    fn write_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Makes what was written durable, with the length (fdatasync).
    ///
    /// # Errors
    /// The operating system's; then nothing is known of the bytes.
    fn sync(&self) -> io::Result<()>;

    /// Reserves space up to `end_position`, which becomes the length; new bytes read as zero. Does
    /// nothing if the file is that long already.
    ///
    /// # Errors
    /// `StorageFull`; else the operating system's.
    fn preallocate(&self, end_position: u64) -> io::Result<()>;

    /// Cuts or extends the file to `length`; new bytes read as zero, also where old ones were cut.
    ///
    /// # Errors
    /// The operating system's.
    fn truncate(&self, length: u64) -> io::Result<()>;
}
