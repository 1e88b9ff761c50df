//! The segments of an open log: how long each one's data is, and a bounded number of open files.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sync::{Mutex, RwLock};

use crate::limits::SEGMENT_FILES_OPEN_MAX;

use super::cold::{self, ColdHeader};
use super::segment;
use super::storage::{Storage, StorageFile};

/// What stands for "not yet" in an index.
const NONE: u64 = u64::MAX;

/// A cold segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cold {
    /// Where the frames of its batches end.
    pub(super) frames_end: u64,
    /// The cleaning that wrote it.
    pub(super) set: u64,
}

/// One segment.
#[derive(Debug)]
pub(super) struct SegmentFile {
    /// Of a cold one, what is to be known of it.
    cold: Option<Cold>,
    first_index: u64,
    /// [`NONE`] while it is written to.
    last_index: AtomicU64,
    end: AtomicU64,
    /// Whether the file ends with its data.
    is_trimmed: AtomicBool,
    file: Mutex<Option<Arc<dyn StorageFile>>>,
}

impl SegmentFile {
    /// What is to be known of a cold segment; `None` if it is one of the log.
    pub(super) const fn cold(&self) -> Option<Cold> {
        self.cold
    }

    /// The path of its file.
    pub(super) fn path(&self, dir: &str, segment: u64) -> String {
        match self.cold {
            None => segment::path(dir, segment),
            Some(_) => cold::path(dir, segment),
        }
    }

    /// Index of its first entry.
    pub(super) const fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Index of its last entry, once it is sealed.
    pub(super) fn last_index(&self) -> Option<u64> {
        Some(self.last_index.load(Ordering::Acquire)).filter(|index| *index != NONE)
    }

    /// Says that nothing comes behind `last_index` any more.
    pub(super) fn seal(&self, last_index: u64) {
        self.last_index.store(last_index, Ordering::Release);
    }

    /// Says that the file ends with its data.
    pub(super) fn set_trimmed(&self) {
        self.is_trimmed.store(true, Ordering::Release);
    }

    /// Where its data ends.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Says that everything below `end` is written.
    pub(super) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }
}

/// All segments of a log.
#[derive(Debug)]
pub(super) struct Files {
    storage: Arc<dyn Storage>,
    dir: String,
    segments: RwLock<BTreeMap<u64, Arc<SegmentFile>>>,
    /// Those opened to read, oldest first.
    opened: Mutex<VecDeque<Arc<SegmentFile>>>,
}

impl Files {
    pub(super) fn new(storage: Arc<dyn Storage>, dir: &str) -> Self {
        Self {
            storage,
            dir: dir.to_owned(),
            segments: RwLock::new(BTreeMap::new()),
            opened: Mutex::new(VecDeque::new()),
        }
    }

    /// Adds a segment; the one that is written to comes with its file.
    pub(super) fn add(
        &self,
        segment: u64,
        first_index: u64,
        end: u64,
        file: Option<Arc<dyn StorageFile>>,
    ) -> Arc<SegmentFile> {
        let added = Arc::new(SegmentFile {
            cold: None,
            first_index,
            last_index: AtomicU64::new(NONE),
            end: AtomicU64::new(end),
            is_trimmed: AtomicBool::new(file.is_none()),
            file: Mutex::new(file.clone()),
        });
        self.segments.write().insert(segment, Arc::clone(&added));
        if file.is_some() {
            self.note_opened(&added);
        }
        added
    }

    /// Adds a cold segment, which ends at `end`.
    pub(super) fn add_cold(&self, header: &ColdHeader, end: u64) {
        let added = Arc::new(SegmentFile {
            cold: Some(Cold {
                frames_end: header.frames_end,
                set: header.set,
            }),
            first_index: header.first_index,
            last_index: AtomicU64::new(header.last_index),
            end: AtomicU64::new(end),
            is_trimmed: AtomicBool::new(true),
            file: Mutex::new(None),
        });
        self.segments.write().insert(header.segment, added);
    }

    /// Forgets a segment; who has it open may go on reading it.
    pub(super) fn remove(&self, segment: u64) {
        let removed = self.segments.write().remove(&segment);
        if let Some(removed) = removed {
            removed.file.lock().take();
        }
    }

    /// A segment, if there is one of this number.
    pub(super) fn segment(&self, segment: u64) -> Option<Arc<SegmentFile>> {
        self.segments.read().get(&segment).cloned()
    }

    /// The file of a segment, to read from.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn open(
        &self,
        segment: u64,
        entry: &Arc<SegmentFile>,
    ) -> io::Result<Arc<dyn StorageFile>> {
        if let Some(file) = entry.file.lock().as_ref() {
            return Ok(Arc::clone(file));
        }
        let path = entry.path(&self.dir, segment);
        let file = self.storage.open(&path, true)?;
        *entry.file.lock() = Some(Arc::clone(&file));
        self.note_opened(entry);
        Ok(file)
    }

    /// How many segments there are.
    pub(super) fn count(&self) -> usize {
        self.segments.read().len()
    }

    /// Bytes of all segments' data.
    pub(super) fn size_bytes(&self) -> u64 {
        self.segments
            .read()
            .values()
            .map(|segment| segment.end())
            .sum()
    }

    /// Bytes that the files take at most: `full_bytes` those that are not as long as their data yet.
    pub(super) fn reserved_bytes(&self, full_bytes: u64) -> u64 {
        let segments = self.segments.read();
        let bytes = segments.values().map(|segment| {
            let is_trimmed = segment.is_trimmed.load(Ordering::Acquire);
            segment.end().max(if is_trimmed { 0 } else { full_bytes })
        });
        bytes.sum()
    }

    /// Lets go of the file that was opened longest ago when there are too many. The writer and the sync
    /// thread hold their own handles, so this is about reading alone.
    fn note_opened(&self, entry: &Arc<SegmentFile>) {
        let mut opened = self.opened.lock();
        opened.push_back(Arc::clone(entry));
        let mut closed = None;
        if opened.len() > SEGMENT_FILES_OPEN_MAX {
            closed = opened.pop_front();
        }
        drop(opened);
        if let Some(closed) = closed {
            closed.file.lock().take();
        }
    }
}
