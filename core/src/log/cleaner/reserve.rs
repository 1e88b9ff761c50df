//! Space that is kept for cleaning: a file of one segment's length, as long as a log is of some length itself.
//!
//! On a disk without room what lives of a segment can be moved nowhere. Then the reserve itself becomes the
//! cold segment, so that nobody else can take its space meanwhile; and another is made as soon as there is
//! room for it. If that comes to nothing it is the reserve again. It holds nothing, and losing it loses nothing.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::super::shared::Shared;
use super::super::storage::StorageFile;
use super::plan::Job;

/// The name of its file.
pub(in crate::log) const NAME: &str = "reserve";

/// Segments of a log from which it makes a reserve, and below which it gives it up.
const SEGMENTS_MIN: usize = 8;
const SEGMENTS_KEPT_MIN: usize = 4;
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
    /// Of the sources only the first, for which little space is enough; `None` if nothing is won by less than
    /// all of them.
    pub(super) fn first(&self) -> Option<Self> {
        let first = *self.sources.first()?;
        (!self.is_merge).then(|| Self {
            sources: vec![first],
            // Below a cold one's number there is no more of the log than below the front.
            front: self.front.min(first + 1),
            ..*self
        })
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

    /// Makes one, if the log is long enough and there is room; gives it up if the log is short.
    pub(super) fn keep_reserve(&self) {
        let (has_reserve, segments) = (self.has_reserve(), self.files.count());
        let path = self.reserve_path();
        if has_reserve && segments < SEGMENTS_KEPT_MIN {
            self.give_up_reserve();
        }
        let bytes = self.options.segment_bytes;
        let free = self.storage.free_bytes();
        let has_room = free.is_none_or(|free| free >= FREE_RESERVES_MIN * bytes);
        let has_room = has_room && !self.is_room_taken();
        if !self.is_durable || has_reserve || segments < SEGMENTS_MIN || !has_room {
            return;
        }
        let made = self.storage.create(&path);
        let is_made = made.and_then(|file| file.preallocate(bytes)).is_ok();
        // A segment may have begun in its room meanwhile.
        if !is_made || self.is_room_taken() {
            self.give_up_reserve();
        }
    }

    /// Removes it, if there is one.
    pub(in crate::log) fn give_up_reserve(&self) {
        if self.is_durable {
            drop(self.storage.unlink(&self.reserve_path()));
        }
    }

    /// Makes the file at `path`, which came of the reserve and is nothing, the reserve again.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn return_reserve(&self, path: &str) -> io::Result<()> {
        self.storage.rename(path, &self.reserve_path())
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
