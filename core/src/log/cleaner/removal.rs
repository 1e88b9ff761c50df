//! Segments that hold nothing any more: removed whole, each durably before the next.
//!
//! Of the log's own a segment goes when all of its batches are dead, all before it are gone, and the state
//! does not need it: a crash leaves a log that begins later, and never one with a hole. One that fails is
//! tried again before any other; not if it was the sync that failed, after which nothing more is removed
//! before the log is opened anew.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sync::Mutex;

use super::super::checkpoint::DirectoryRow;
use super::super::shared::Shared;
use super::super::snapshot;
#[cfg(test)]
use super::super::tests::mutant;
use super::{Rules, SLACK_SEGMENTS};

/// A segment that nobody is told of any more, and whose file is there still.
#[derive(Debug)]
struct Leaving {
    segment: u64,
    path: String,
    rows: Vec<DirectoryRow>,
    size_bytes: u64,
}

/// What the answer to whether anything is to be moved depends on: the entry that was the last, the newest
/// snapshot, how many segments there were, and whether the log was tight.
pub(super) type Question = (u64, u64, usize, bool);

/// How far removing and moving have come, and whether they may go on.
#[derive(Debug, Default)]
pub(in crate::log) struct Removing {
    /// In the order in which their files have to go. Held while segments are removed.
    leaving: Mutex<VecDeque<Leaving>>,
    /// Bytes of those.
    leaving_bytes: AtomicU64,
    is_over: AtomicBool,
    is_moving_over: AtomicBool,
    /// When last there was nothing to be moved.
    nothing_for: Mutex<Option<Question>>,
}

impl Removing {
    /// Nothing is known of the folder any more: no more segments are removed, and none moved.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Bytes of files that nobody is told of any more, and that are there still.
    pub(in crate::log) fn leaving_bytes(&self) -> u64 {
        self.leaving_bytes.load(Ordering::Acquire)
    }

    /// Whether it is known that there is nothing to be moved.
    pub(super) fn has_nothing_for(&self, question: Question) -> bool {
        *self.nothing_for.lock() == Some(question)
    }

    /// Notes that there is nothing to be moved.
    pub(super) fn note_nothing_for(&self, question: Question) {
        *self.nothing_for.lock() = Some(question);
    }

    /// Nothing more is moved.
    pub(super) fn end_moving(&self) {
        self.is_moving_over.store(true, Ordering::Release);
    }

    /// Whether anything may be moved: all that was moved before is gone.
    pub(super) fn may_move(&self) -> bool {
        let is_over = self.is_over.load(Ordering::Acquire);
        let is_over = is_over || self.is_moving_over.load(Ordering::Acquire);
        !is_over && self.leaving.lock().is_empty()
    }
}

/// Whether nothing of what a segment holds lives.
pub(super) fn is_dead(rows: &[DirectoryRow], rules: &Rules<'_>) -> bool {
    rows.iter().all(|row| {
        rules(row.partition).is_none_or(|rule| row.summary.next_offset <= rule.log_start_offset)
    })
}

impl Shared {
    /// Removes the segments at the front of the log that are dead by `rules`, as of an entry, and the cold
    /// ones that are. Says how many; `None` if the entry is not synced yet.
    pub(in crate::log) fn remove_dead(
        self: &Arc<Self>,
        as_of: u64,
        rules: &Rules<'_>,
    ) -> Option<usize> {
        // A decision that a power cut can take back is none yet.
        if self.is_durable && self.syncer.synced() < as_of {
            return None;
        }
        let mut removed = 0;
        if !self.remove_leaving(&mut removed) {
            return Some(removed);
        }
        for segment in self.index.sealed(true) {
            let rows = self.index.rows_of(segment);
            if is_dead(&rows, rules) && !self.remove_segment(segment, rows, &mut removed) {
                return Some(removed);
            }
        }
        let needed = match self.first_needed(rules) {
            Ok(needed) => needed,
            Err(error) => {
                crate::seldom!(warn, dir = %self.dir, %error, "no segment can be removed");
                return Some(removed);
            }
        };
        while let Some((segment, rows)) = self.index.front() {
            if segment >= needed
                || !is_dead(&rows, rules)
                || !self.remove_segment(segment, rows, &mut removed)
            {
                break;
            }
        }
        Some(removed)
    }

    /// Forgets a segment and removes its file; false if that failed.
    fn remove_segment(&self, segment: u64, rows: Vec<DirectoryRow>, removed: &mut usize) -> bool {
        self.index.remove(segment);
        self.leave(segment, rows);
        self.remove_leaving(removed)
    }

    /// A segment that is in the index no more is on its way out.
    pub(super) fn leave(&self, segment: u64, rows: Vec<DirectoryRow>) {
        let Some(file) = self.files.segment(segment) else {
            return;
        };
        let (removing, size_bytes) = (&self.keeper.removing, file.end());
        removing
            .leaving_bytes
            .fetch_add(size_bytes, Ordering::AcqRel);
        self.files.remove(segment);
        removing.leaving.lock().push_back(Leaving {
            segment,
            path: file.path(&self.dir, segment),
            rows,
            size_bytes,
        });
    }

    /// Removes the files of the segments that are on their way out, in order; false if one stays.
    pub(super) fn remove_leaving(&self, removed: &mut usize) -> bool {
        let mut leaving = self.keeper.removing.leaving.lock();
        while let Some(first) = leaving.front() {
            if !self.remove_file(&first.path) {
                return false;
            }
            if let Some(left) = leaving.pop_front() {
                let leaving_bytes = &self.keeper.removing.leaving_bytes;
                leaving_bytes.fetch_sub(left.size_bytes, Ordering::AcqRel);
                self.keeper.note_removed(left.segment, left.rows);
                *removed += 1;
            }
        }
        true
    }

    /// Removes a segment's file, durably; false if that failed.
    fn remove_file(&self, path: &str) -> bool {
        if self.keeper.removing.is_over.load(Ordering::Acquire) {
            return false;
        }
        let mut removed = match self.storage.unlink(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        if removed.is_ok() {
            removed = self.storage.sync_dir(&self.dir);
            if removed.is_err() {
                self.keeper.removing.end();
            }
        }
        match removed {
            Ok(()) => {
                tracing::debug!(%path, "removed a segment that holds nothing any more");
                true
            }
            Err(error) => {
                crate::seldom!(warn, %path, %error, "a segment that holds nothing cannot be removed");
                false
            }
        }
    }

    /// The first segment that opening the log needs, whatever is dead in it.
    fn first_needed(&self, rules: &Rules<'_>) -> io::Result<u64> {
        let (older, newer) = self.snapshots()?;
        let bytes_of = |segment| self.files.segment(segment).map_or(0, |file| file.end());
        let dead = self.index.leading(&|rows| is_dead(rows, rules)).into_iter();
        let dead_bytes: u64 = dead.filter(|it| *it < newer).map(bytes_of).sum();
        let live_bytes = self.files.size_bytes().saturating_sub(dead_bytes);
        let slack_bytes = SLACK_SEGMENTS * self.options.segment_bytes;
        let is_much = dead_bytes > live_bytes.saturating_add(slack_bytes);
        if (is_much || self.is_tight()) && newer > older && self.is_snapshot_whole(newer)? {
            return Ok(newer);
        }
        Ok(older)
    }

    /// The segments where the older and the newer of the snapshots that are kept begin: those before need not
    /// be there for the state. 0 if there is none.
    pub(super) fn snapshots(&self) -> io::Result<(u64, u64)> {
        if !self.is_durable {
            return Ok((u64::MAX, u64::MAX));
        }
        #[cfg(test)]
        if mutant::is(mutant::Mutant::CleanedAhead) {
            return Ok((u64::MAX, u64::MAX));
        }
        let found = snapshot::list(self.storage.as_ref(), &self.dir)?;
        let ends = found.first().zip(found.last());
        Ok(ends.map_or((0, 0), |(older, newer)| (*older, *newer)))
    }

    /// Whether the snapshot of a segment can be read.
    pub(super) fn is_snapshot_whole(&self, segment: u64) -> io::Result<bool> {
        let storage = self.storage.as_ref();
        Ok(snapshot::read(storage, &self.dir, &self.log_uuid, segment)?.is_some())
    }
}
