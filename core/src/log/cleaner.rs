//! Giving space back: segments at the front that hold nothing any more are removed.
//!
//! What is dead is the engine's to say: batches below their partition's log start, and those of partitions
//! that are gone. A segment goes when all of its batches are dead, all before it are gone, and a durable
//! snapshot stands at a segment behind it: the state then no longer needs its frames. As long as what is dead
//! is less than what lives, the older of the two snapshots decides, so that losing the newer one loses
//! nothing; beyond that, the newer one, once it has been read again.
//!
//! Each removal is durable before the next begins: a crash leaves a log that begins later, and never one
//! with a hole. One that fails is tried again before any other; not if it was the sync that failed, after
//! which nothing more is removed before the log is opened anew. Readers that have a segment open read on in
//! it.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::ids::PartitionId;

use super::checkpoint::DirectoryRow;
use super::index::Summary;
use super::segment;
use super::shared::Shared;
use super::snapshot;
#[cfg(test)]
use super::tests::mutant;

/// Segments' worth of dead bytes beside which what is dead may be as much as what lives.
const SLACK_SEGMENTS: u64 = 3;

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

impl Shared {
    /// Removes the segments at the front that are dead by what `log_start` says of each partition (`None`: it
    /// is gone), which is what the log made of everything up to `as_of`. Says how many; `None` if that is not
    /// synced yet.
    ///
    /// Only on the thread that writes snapshots, which decide how far it may go.
    pub(super) fn remove_dead(
        self: &Arc<Self>,
        as_of: u64,
        log_start: &dyn Fn(PartitionId) -> Option<i64>,
    ) -> Option<usize> {
        // A decision that a power cut can take back is none yet.
        if self.is_durable && self.syncer.synced() < as_of {
            return None;
        }
        let is_dead = |rows: &[DirectoryRow]| {
            let is_below = |row: &DirectoryRow, start| row.summary.next_offset <= start;
            rows.iter()
                .all(|row| log_start(row.partition).is_none_or(|start| is_below(row, start)))
        };
        let needed = match self.first_needed(&is_dead) {
            Ok(needed) => needed,
            Err(error) => {
                tracing::warn!(dir = %self.dir, %error, "no segment can be removed");
                return Some(0);
            }
        };
        let mut leaving = self.keeper.leaving();
        let mut removed = 0;
        loop {
            if let Some((segment, rows)) = leaving.take() {
                if !self.remove_file(segment) {
                    *leaving = Some((segment, rows));
                    break;
                }
                self.keeper.note_removed(segment, rows);
                removed += 1;
            }
            let Some((segment, rows)) = self.index.front() else {
                break;
            };
            if segment >= needed || !is_dead(&rows) {
                break;
            }
            self.index.remove(segment);
            self.files.remove(segment);
            *leaving = Some((segment, rows));
        }
        Some(removed)
    }

    /// Removes a segment's file, durably; false if that failed.
    fn remove_file(&self, segment: u64) -> bool {
        if self.keeper.is_removal_over() {
            return false;
        }
        let path = segment::path(&self.dir, segment);
        let mut removed = match self.storage.unlink(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        if removed.is_ok() {
            removed = self.storage.sync_dir(&self.dir);
            if removed.is_err() {
                self.keeper.end_removal();
            }
        }
        match removed {
            Ok(()) => tracing::debug!(%path, "removed a segment that holds nothing any more"),
            Err(error) => {
                tracing::warn!(%path, %error, "a segment that holds nothing cannot be removed");
                return false;
            }
        }
        true
    }

    /// The first segment that opening the log needs, whatever is dead in it.
    fn first_needed(&self, is_dead: &dyn Fn(&[DirectoryRow]) -> bool) -> io::Result<u64> {
        if !self.is_durable {
            return Ok(u64::MAX);
        }
        #[cfg(test)]
        if mutant::is(mutant::Mutant::CleanedAhead) {
            return Ok(u64::MAX);
        }
        let storage = self.storage.as_ref();
        let snapshots = snapshot::list(storage, &self.dir)?;
        let (Some(&older), Some(&newer)) = (snapshots.first(), snapshots.last()) else {
            return Ok(0);
        };
        let bytes_of = |segment| self.files.segment(segment).map_or(0, |file| file.end());
        let dead = self.index.leading(is_dead).into_iter();
        let dead_bytes: u64 = dead.filter(|it| *it < newer).map(bytes_of).sum();
        let live_bytes = self.files.size_bytes().saturating_sub(dead_bytes);
        let slack_bytes = SLACK_SEGMENTS * self.options.segment_bytes;
        let is_much = dead_bytes > live_bytes.saturating_add(slack_bytes);
        if is_much && snapshot::read(storage, &self.dir, &self.log_uuid, newer)?.is_some() {
            return Ok(newer);
        }
        Ok(older)
    }
}
