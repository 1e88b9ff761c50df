//! Space that is kept for cleaning: a file of one segment's length, from when a log is of some length itself.
//!
//! On a disk without room what lives of a segment can be moved nowhere. Then the reserve itself becomes the
//! cold segment, so that nobody else can take its space meanwhile; and another is made as soon as there is
//! room for it. It holds nothing, and losing it loses nothing.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::super::shared::Shared;
use super::super::storage::StorageFile;
use super::plan::Job;

const NAME: &str = "reserve";

/// Segments of a log from which it keeps a reserve: so it is an eighth of it at most.
const SEGMENTS_MIN: usize = 8;
/// Free space that has to be there to make one, in reserves.
const FREE_RESERVES_MIN: u64 = 2;

/// Where what is moved gets its space from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// What the disk has.
    Any,
    /// The reserve: one file, and no more than a segment.
    Reserve,
}

impl Job {
    /// Of the sources only the first, which fits the reserve: what lives of it is less than a segment.
    pub(super) fn first(&self) -> Self {
        let sources: Vec<_> = self.sources.iter().take(1).copied().collect();
        let is_of_log = self.front == self.sources.last().map_or(0, |last| last + 1);
        let front = match sources.first() {
            Some(first) if is_of_log => first + 1,
            _ => self.front,
        };
        Self {
            sources,
            front,
            is_urgent: self.is_urgent,
        }
    }
}

impl Shared {
    fn reserve_path(&self) -> String {
        format!("{}/{NAME}", self.dir)
    }

    /// Whether there is a reserve.
    pub(super) fn has_reserve(&self) -> bool {
        self.is_durable && self.storage.open(&self.reserve_path(), true).is_ok()
    }

    /// Makes one, if the log is long enough and there is room.
    pub(super) fn keep_reserve(&self) {
        let bytes = self.options.segment_bytes;
        let free = self.storage.free_bytes();
        let has_room = free.is_none_or(|free| free >= FREE_RESERVES_MIN * bytes);
        let is_long = self.files.count() >= SEGMENTS_MIN;
        if !self.is_durable || !is_long || !has_room || self.has_reserve() {
            return;
        }
        let path = self.reserve_path();
        let made = self.storage.create(&path);
        if made.and_then(|file| file.preallocate(bytes)).is_err() {
            drop(self.storage.unlink(&path));
        }
    }

    /// Makes the reserve the file at `path`, in which nothing is written yet.
    ///
    /// # Errors
    /// The storage's; `NotFound` if there is none.
    pub(super) fn take_reserve(&self, path: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.storage.rename(&self.reserve_path(), path)?;
        let file = self.storage.open(path, false)?;
        if file.length()? < self.options.segment_bytes {
            // Made while segments were shorter.
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(file)
    }
}
