//! What recovery found, and has to be done by `settle`.

use std::sync::Arc;

use crate::log::checkpoint::Store;
use crate::log::cold::ColdHeader;
use crate::log::control::Vote;
use crate::log::index::SegmentIndex;
use crate::log::segment::SegmentHeader;
use crate::log::sequencer::Sequencer;
use crate::log::storage::Storage;

/// Where the log lives.
#[derive(Clone, Copy)]
pub(in crate::log) struct Place<'a> {
    pub(in crate::log) storage: &'a dyn Storage,
    pub(in crate::log) dir: &'a str,
    pub(in crate::log) log_uuid: &'a [u8; 16],
}

/// What stands in the folder.
pub(in crate::log) struct Found {
    /// The segments whose data is the log, in order.
    pub(in crate::log) kept: Vec<Kept>,
    /// Segments that an earlier or this cut left behind, to be removed.
    pub(in crate::log) doomed: Vec<u64>,
    /// Whether the last segment's data ends in damage, so that a new segment has to begin.
    pub(in crate::log) is_cut: bool,
    /// The cold segments.
    pub(in crate::log) cold: Vec<ColdKept>,
    /// Files that cleaning has left behind, to be removed.
    pub(in crate::log) stale: Vec<String>,
    /// The largest number of a segment, whatever became of it.
    pub(in crate::log) last_segment: u64,
    /// What has to be written again: from here to the end of the data.
    pub(in crate::log) rewrite_from: Option<Anchor>,
    /// The last index.
    pub(in crate::log) last_index: u64,
    /// The term of the last frame.
    pub(in crate::log) last_term: u32,
    /// The last entry, if it was read.
    pub(in crate::log) last_entry: Option<LastEntry>,
    /// D: the largest index known synced before this open.
    pub(in crate::log) durable: u64,
    /// Whether the last frame is a MARK of a clean close.
    pub(in crate::log) is_clean: bool,
    /// What the log says of offsets and sequences.
    pub(in crate::log) sequencer: Sequencer,
    /// Of a group's log: what its member has to remember.
    pub(in crate::log) vote: Option<Vote>,
    /// Whether the state began with the checkpoint.
    pub(in crate::log) is_from_checkpoint: bool,
    /// Bytes of the log that were read, and not passed over.
    pub(in crate::log) read_bytes: u64,
    /// The checkpoint's store, if finding out what it holds meant opening it for writing.
    pub(in crate::log) store: Option<Store>,
}

/// Where the last entry of a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct LastEntry {
    pub(in crate::log) segment: u64,
    /// Position of its frame.
    pub(in crate::log) position: u64,
    /// The term that the entry itself carries.
    pub(in crate::log) term: u32,
}

/// A segment whose data is part of the log.
#[derive(Clone, Debug)]
pub(in crate::log) struct Kept {
    pub(in crate::log) header: SegmentHeader,
    /// Where its data ends.
    pub(in crate::log) end: u64,
    /// Bytes of its file.
    pub(in crate::log) length: u64,
    /// Index of its last entry.
    pub(in crate::log) last_index: u64,
    /// Term of its last frame.
    pub(in crate::log) last_term: u32,
    /// What lies where in it; only in outline if a footer says the same, unless it is the last.
    pub(in crate::log) index: Arc<SegmentIndex>,
    /// Whether a footer at its end says the same.
    pub(in crate::log) is_footed: bool,
    /// Whether the checkpoint's directory has it.
    pub(in crate::log) is_listed: bool,
}

/// A cold segment.
#[derive(Clone, Debug)]
pub(in crate::log) struct ColdKept {
    pub(in crate::log) header: ColdHeader,
    /// Where it ends.
    pub(in crate::log) end: u64,
    /// What lies where in it; only in outline if a footer says the same.
    pub(in crate::log) index: Arc<SegmentIndex>,
    pub(in crate::log) is_footed: bool,
    /// Whether the checkpoint's directory has it.
    pub(in crate::log) is_listed: bool,
}

/// A place between frames, and the last index before it.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Anchor {
    pub(super) before: u64,
    /// Which of the segments kept.
    pub(in crate::log) kept: usize,
    pub(in crate::log) position: u64,
}
