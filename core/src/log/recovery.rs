//! Opening: what of the bytes on disk is the log, what was never promised, and what is damage.
//!
//! Frames are read in order until the first that fails. Then every later place of that segment and every
//! later segment is searched for frames, because their `durable` tells what had been synced: D is the
//! largest of any valid frame or header.
//!
//! - The first bad index is at most D: promised data is damaged. Nothing is changed, the log is not served.
//! - Otherwise everything from the first bad frame on is cut. A cut never continues in the same file: a new
//!   segment says in its header what came before it, and that header *is* the cut. So every frame above a
//!   later segment's `previous` is dropped, here and at every later open.
//!
//! At the end the frames above D are written again, the same bytes: after a failed sync, or a kill, the
//! page cache may show what the disk does not have. [`recover`] only looks and replays; what it found to do
//! is done by the methods of [`Found`].

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use crate::completion::Wakes;
use crate::record::BatchHeader;

use super::entry::{Kind, Machine};
use super::error::{Damage, OpenError, Problem};
use super::frame::{CrcSeed, FrameError, FrameHeader, PAYLOAD_VERSION};
use super::index::SegmentIndex;
use super::order::Order;
use super::replay::Replay;
use super::scan::{self, Scanner};
use super::segment::{self, SEGMENT_HEADER_BYTES, SegmentError, SegmentHeader};
use super::sequencer::Sequencer;
use super::storage::Storage;

/// A place to write again from is remembered at least this many bytes apart.
/// (In tests at every frame, so that one frame too few written again shows.)
const CHECKPOINT_BYTES: u64 = if cfg!(test) { 1 } else { 64 * 1_024 };

/// Where the log lives.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) dir: &'a str,
    pub(super) log_uuid: &'a [u8; 16],
}

/// What stands in the folder.
pub(super) struct Found {
    /// The segments whose data is the log, in order.
    pub(super) kept: Vec<Kept>,
    /// Segments that an earlier or this cut left behind, to be removed.
    pub(super) doomed: Vec<u64>,
    /// Whether the last segment's data ends in damage, so that a new segment has to begin.
    pub(super) is_cut: bool,
    /// The largest number of a segment, whatever became of it.
    pub(super) last_segment: u64,
    /// What has to be written again: from here to the end of the data.
    pub(super) rewrite_from: Option<Checkpoint>,
    /// The last index.
    pub(super) last_index: u64,
    /// The term of the last frame.
    pub(super) last_term: u32,
    /// D: the largest index known synced before this open.
    pub(super) durable: u64,
    /// Whether the last frame is a MARK of a clean close.
    pub(super) is_clean: bool,
    /// What the log says of offsets and sequences.
    pub(super) sequencer: Sequencer,
}

/// A segment whose data is part of the log.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) header: SegmentHeader,
    /// Where its data ends.
    pub(super) end: u64,
    /// Bytes of its file.
    pub(super) length: u64,
    /// Index of its last entry.
    pub(super) last_index: u64,
    /// Term of its last frame.
    pub(super) last_term: u32,
    /// What lies where in it; only in outline if a footer says the same, unless it is the last.
    pub(super) index: Arc<SegmentIndex>,
    /// Whether a footer at its end says the same.
    pub(super) is_footed: bool,
}

/// A place between frames, and the last index before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    before: u64,
    /// Which of the segments kept.
    pub(super) kept: usize,
    pub(super) position: u64,
}

struct Candidate {
    segment: u64,
    length: u64,
    header: Result<SegmentHeader, SegmentError>,
}

struct Walk<'a> {
    place: Place<'a>,
    candidates: Vec<Candidate>,
    /// The highest index that each may hold: later segments cut what is above their `previous`.
    limits: Vec<u64>,
    replay: Replay<'a>,
    kept: Vec<Kept>,
    doomed: Vec<u64>,
    checkpoints: VecDeque<Checkpoint>,
    order: Order,
    durable: u64,
    is_clean: bool,
}

/// Where a walk ended before its time.
struct Failure {
    candidate: usize,
    position: u64,
    problem: Problem,
    about: Option<(u32, Option<i64>)>,
}

/// Reads the whole log, replays it to `machine`, and says what is to be done. Changes nothing.
///
/// # Errors
/// [`OpenError`]; then `machine` has seen a part of the log and is of no further use.
pub(super) fn recover(place: Place<'_>, machine: &dyn Machine) -> Result<Found, OpenError> {
    let mut wakes = Wakes::new();
    let candidates = survey(place)?;
    let mut walk = Walk {
        place,
        limits: limits(&candidates),
        candidates,
        replay: Replay::new(machine, &mut wakes),
        kept: Vec::new(),
        doomed: Vec::new(),
        checkpoints: VecDeque::new(),
        order: Order::default(),
        durable: 0,
        is_clean: false,
    };
    let failure = walk.run()?;
    let is_cut = failure.is_some();
    if let Some(failure) = failure {
        walk.judge(failure)?;
    }
    let last_segment = walk.candidates.last().map_or(0, |last| last.segment);
    let mut rewrite_from = walk.checkpoints.front().copied();
    if !place.storage.is_durable() {
        rewrite_from = None;
    }
    walk.replay.settle(walk.order.index);
    Ok(Found {
        doomed: walk.doomed,
        is_cut,
        last_segment,
        rewrite_from,
        last_index: walk.order.index,
        last_term: walk.order.term,
        durable: walk.durable,
        is_clean: walk.is_clean && !is_cut,
        sequencer: walk.replay.into_sequencer(),
        kept: walk.kept,
    })
}

fn survey(place: Place<'_>) -> Result<Vec<Candidate>, OpenError> {
    let segments = match segment::list(place.storage, place.dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut candidates = Vec::with_capacity(segments.len());
    for segment in segments {
        let path = segment::path(place.dir, segment);
        let file = place.storage.open(&path, true)?;
        let length = file.length()?;
        let header = segment::read_header(file.as_ref(), length)?;
        let header =
            header.and_then(|header| header.check_place(place.log_uuid, segment).map(|()| header));
        if let Err(source @ SegmentError::TooNew { .. }) = header {
            return Err(OpenError::SegmentTooNew { path, source });
        }
        candidates.push(Candidate {
            segment,
            length,
            header,
        });
    }
    Ok(candidates)
}

fn limits(candidates: &[Candidate]) -> Vec<u64> {
    let mut limit = u64::MAX;
    let mut limits: Vec<_> = candidates
        .iter()
        .rev()
        .map(|candidate| {
            let own = limit;
            if let Ok(header) = &candidate.header {
                limit = limit.min(header.previous_index);
            }
            own
        })
        .collect();
    limits.reverse();
    limits
}

impl Walk<'_> {
    fn run(&mut self) -> Result<Option<Failure>, OpenError> {
        for at in 0..self.candidates.len() {
            let (Some(candidate), Some(&limit)) = (self.candidates.get(at), self.limits.get(at))
            else {
                break;
            };
            let segment = candidate.segment;
            let header = match &candidate.header {
                Ok(header) => *header,
                // A header that was never finished, of a segment that a later cut left behind.
                Err(error) if error.may_be_torn() && self.order.index >= limit => {
                    self.doomed.push(segment);
                    continue;
                }
                Err(error) => return Ok(Some(Failure::header(at, error.clone().into()))),
            };
            if header.previous_index > limit {
                self.doomed.push(segment);
                continue;
            }
            if at == 0 && header.previous_index > 0 {
                let path = segment::path(self.place.dir, segment);
                return Err(OpenError::FrontMissing {
                    path,
                    previous_index: header.previous_index,
                });
            }
            self.promise(header.durable);
            if let Some(problem) = self.chain_problem(&header) {
                return Ok(Some(Failure::header(at, problem)));
            }
            if let Some(failure) = self.walk_segment(at, header, limit)? {
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }

    fn chain_problem(&self, header: &SegmentHeader) -> Option<Problem> {
        let (index, term) = (header.previous_index, header.previous_term);
        let (last_index, last_term) = (self.order.index, self.order.term);
        if index == last_index && term == last_term {
            return None;
        }
        Some(Problem::Chain {
            index,
            term,
            last_index,
            last_term,
        })
    }

    fn walk_segment(
        &mut self,
        at: usize,
        header: SegmentHeader,
        limit: u64,
    ) -> Result<Option<Failure>, OpenError> {
        let path = segment::path(self.place.dir, header.segment);
        let length = self
            .candidates
            .get(at)
            .map_or(0, |candidate| candidate.length);
        let file = self.place.storage.open(&path, true);
        let file = file?;
        let seed = CrcSeed::new(self.place.log_uuid, header.segment);
        let mut scanner = Scanner::new(file.as_ref(), seed, length);
        if let Some(before) = self.kept.last_mut().filter(|before| before.is_footed) {
            before.index = Arc::new(before.index.outline());
        }
        let kept = self.kept.len();
        let mut position = SEGMENT_HEADER_BYTES as u64;
        self.checkpoint(Checkpoint {
            before: self.order.index,
            kept,
            position: 0,
        });
        let mut index = SegmentIndex::new(header.first_index);
        let mut is_footed = false;
        let failure = loop {
            let found = scanner.find(position)?;
            let frame = match found {
                scan::Found::End => break None,
                scan::Found::Frame(frame) if frame.index > limit => break None,
                scan::Found::Frame(frame) => frame,
                scan::Found::Damage(..) if self.order.index == limit => break None,
                scan::Found::Damage(error, frame) => {
                    break Some(Failure::frame(at, position, error, frame));
                }
            };
            let payload = scanner.payload(position, &frame)?;
            let place = (header.segment, position);
            if let Err(error) = self.take_frame(place, &frame, payload, &mut index) {
                if matches!(error, FrameError::TooNew { .. }) {
                    return Err(OpenError::FrameTooNew {
                        path,
                        position,
                        source: error,
                    });
                }
                let mut failure = Failure::frame(at, position, error, Some(frame));
                failure.read_about(payload);
                break Some(failure);
            }
            is_footed = frame.kind == Kind::Footer.number()
                && SegmentIndex::decode(payload).is_some_and(|footer| footer == index);
            position += frame.padded_bytes();
            self.checkpoint(Checkpoint {
                before: self.order.index,
                kept,
                position,
            });
        };
        self.kept.push(Kept {
            header,
            end: position,
            length,
            last_index: self.order.index,
            last_term: self.order.term,
            index: Arc::new(index),
            is_footed,
        });
        Ok(failure)
    }

    /// Checks a frame's place in the order and what it holds, and replays it.
    fn take_frame(
        &mut self,
        (segment, position): (u64, u64),
        header: &FrameHeader,
        payload: &[u8],
        index: &mut SegmentIndex,
    ) -> Result<(), FrameError> {
        // First: what only a newer version can read is not for this one to judge, let alone to cut.
        let kind = header.known_kind();
        let is_known = kind.is_some_and(|kind| {
            kind == Kind::Footer || (kind.is_supported() && header.version == PAYLOAD_VERSION)
        });
        if !is_known && !header.may_skip() {
            let (kind, version) = (header.kind, header.version);
            return Err(FrameError::TooNew { kind, version });
        }
        let mut order = self.order;
        order.take(header)?;
        if let Some(kind) = kind.filter(|kind| kind.takes_index()) {
            self.replay
                .frame(kind, (segment, position), header, payload, index)?;
        }
        self.order = order;
        self.is_clean = header.is_closed_mark();
        self.promise(header.durable);
        Ok(())
    }

    fn promise(&mut self, durable: u64) {
        if durable > self.durable {
            self.durable = durable;
            self.prune();
            self.replay.settle(durable.min(self.order.index));
        }
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        let is_near = self.checkpoints.back().is_some_and(|last| {
            last.kept == checkpoint.kept && checkpoint.position < last.position + CHECKPOINT_BYTES
        });
        if !is_near {
            self.checkpoints.push_back(checkpoint);
            self.prune();
        }
    }

    /// Keeps as the first checkpoint the last one before the entry D: what is behind it may not be durable,
    /// and a MARK between D and the next entry is.
    fn prune(&mut self) {
        while self
            .checkpoints
            .get(1)
            .is_some_and(|second| second.before < self.durable)
        {
            self.checkpoints.pop_front();
        }
    }

    /// Decides about a failure: damage to what was promised, or the end of what ever was.
    fn judge(&mut self, failure: Failure) -> Result<(), OpenError> {
        let bad_index = self.order.index.saturating_add(1);
        let durable = self.durable.max(self.search(&failure)?);
        let is_torn = failure.problem.may_be_torn();
        if bad_index <= durable || !is_torn {
            let segment = self
                .candidates
                .get(failure.candidate)
                .map_or(0, |bad| bad.segment);
            return Err(OpenError::Corrupt(Box::new(Damage {
                path: segment::path(self.place.dir, segment),
                position: failure.position,
                problem: failure.problem,
                index: bad_index,
                durable,
                about: failure.about,
            })));
        }
        let kept_segment = self.kept.last().map(|kept| kept.header.segment);
        let behind = self
            .candidates
            .iter()
            .skip(failure.candidate)
            .map(|bad| bad.segment);
        self.doomed
            .extend(behind.filter(|segment| Some(*segment) != kept_segment));
        Ok(())
    }

    /// The largest `durable` of any valid frame or header from a failure on.
    fn search(&self, failure: &Failure) -> Result<u64, OpenError> {
        let mut durable = 0;
        for (at, candidate) in self.candidates.iter().enumerate().skip(failure.candidate) {
            let mut position = SEGMENT_HEADER_BYTES as u64;
            if at == failure.candidate {
                position = position.max(failure.position);
            }
            if let Ok(header) = &candidate.header {
                durable = durable.max(header.durable);
            }
            let path = segment::path(self.place.dir, candidate.segment);
            let file = self.place.storage.open(&path, true);
            let file = file?;
            let seed = CrcSeed::new(self.place.log_uuid, candidate.segment);
            let mut scanner = Scanner::new(file.as_ref(), seed, candidate.length);
            loop {
                let found = scanner.search(position);
                let found = found?;
                let Some((found_at, header)) = found else {
                    break;
                };
                durable = durable.max(header.durable);
                position = found_at + header.padded_bytes();
            }
        }
        Ok(durable)
    }
}

impl Failure {
    fn header(candidate: usize, problem: Problem) -> Self {
        Self {
            candidate,
            position: 0,
            problem,
            about: None,
        }
    }

    fn frame(
        candidate: usize,
        position: u64,
        error: FrameError,
        frame: Option<FrameHeader>,
    ) -> Self {
        let about = frame.filter(|frame| frame.kind == Kind::Records as u8);
        let about = about.map(|frame| (frame.partition, None));
        Self {
            candidate,
            position,
            problem: error.into(),
            about,
        }
    }

    /// Reads which offset a damaged batch speaks of; its frame's checksum has vouched for these bytes.
    fn read_about(&mut self, payload: &[u8]) {
        if let (Some((_, offset)), Ok(batch)) = (&mut self.about, BatchHeader::parse(payload)) {
            *offset = Some(batch.base_offset);
        }
    }
}
