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
//! A state that is known already, from the checkpoint or a snapshot, is where reading begins: the segments
//! before it are passed over. It is used only if the log holds the entry that it ends with.
//!
//! At the end the frames above D are written again, the same bytes: after a failed sync, or a kill, the
//! page cache may show what the disk does not have. [`recover`] only looks and replays; what it found to do
//! is done by the methods of [`Found`].

mod base;
mod colds;
mod found;
mod group;
mod passed;
mod survey;
mod verdict;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::completion::Wakes;

pub(super) use self::base::Base;
use self::base::Bases;
pub(super) use self::found::{Anchor, ColdKept, Found, Kept, LastEntry, Place};
pub(super) use self::group::recover_group;
pub(super) use self::survey::{Candidate, Limits, Reached, Surveyed, survey};
use self::verdict::Failure;
use super::control::Vote;
use super::entry::{Kind, Machine};
use super::error::{OpenError, Problem};
use super::frame::{CrcSeed, FrameError, FrameHeader};
use super::index::SegmentIndex;
use super::order::Order;
use super::replay::Replay;
use super::scan::{self, Scanner};
use super::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader};
#[cfg(test)]
use super::tests::mutant;

/// A place to write again from is remembered at least this many bytes apart.
/// (In tests at every frame, so that one frame too few written again shows.)
const ANCHOR_BYTES: u64 = if cfg!(test) { 1 } else { 64 * 1_024 };

struct Walk<'a> {
    place: Place<'a>,
    candidates: &'a [Candidate],
    limits: Limits,
    /// What is known of the state without reading: until it is found in the log, and restored.
    base: Option<Base>,
    /// Of a group's log: what its member has to remember. Its entries are not replayed: which of them are
    /// committed is not the log's to know.
    vote: Option<Vote>,
    /// The first candidate that is read; those before it are known.
    first: usize,
    replay: Replay<'a>,
    kept: Vec<Kept>,
    doomed: Vec<u64>,
    anchors: VecDeque<Anchor>,
    order: Order,
    last_entry: Option<LastEntry>,
    durable: u64,
    is_clean: bool,
    /// Bytes that were read.
    read_bytes: u64,
}

/// What was walked of a segment.
struct Walked {
    position: u64,
    index: SegmentIndex,
    is_footed: bool,
}

/// Why the frames of a segment cannot be judged.
enum FrameOpenError {
    Io(io::Error),
    TooNew(u64, FrameError),
}

impl From<io::Error> for FrameOpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl FrameOpenError {
    fn in_file(self, path: String) -> OpenError {
        match self {
            Self::Io(error) => OpenError::Io(error),
            Self::TooNew(position, source) => OpenError::FrameTooNew {
                path,
                position,
                source,
            },
        }
    }
}

/// How a walk ended.
enum Ending {
    /// At the end of the log.
    Whole,
    /// Before its time.
    Failed(Failure),
    /// The log does not hold what its base speaks of.
    NoBase,
}

/// Reads the log, replays it to `machine`, and says what is to be done. It begins at the newest state that
/// is known and that the log goes on from: the checkpoint, a snapshot, or nothing. Changes nothing in the
/// log's own files.
///
/// # Errors
/// [`OpenError`]; then `machine` has seen a part of the log and is of no further use.
pub(super) fn recover(place: Place<'_>, machine: &dyn Machine) -> Result<Found, OpenError> {
    let surveyed = survey(place)?;
    let mut bases = Bases::new(place)?;
    loop {
        let base = bases.next(&surveyed.candidates)?;
        let is_beginning = base.is_none();
        let cold = colds::outlines(place, &surveyed.cold, base.as_ref())?;
        if let Some(mut found) = walk(place, &surveyed.candidates, machine, base, None)? {
            found.store = bases.into_store();
            found.cold = cold;
            found.stale = colds::stale(place, &surveyed);
            found.last_segment = found.last_segment.max(surveyed.cold.last_segment);
            return Ok(found);
        }
        assert!(!is_beginning, "the beginning of a log is always in it");
    }
}

/// One attempt, from a base on; `None` if the log does not hold it, and `machine` was told nothing.
fn walk(
    place: Place<'_>,
    candidates: &[Candidate],
    machine: &dyn Machine,
    base: Option<Base>,
    vote: Option<Vote>,
) -> Result<Option<Found>, OpenError> {
    let mut wakes = Wakes::new();
    let is_from_checkpoint = base.as_ref().is_some_and(|base| base.is_checkpoint);
    let is_base = |at: &Candidate| base.as_ref().is_some_and(|base| base.segment == at.segment);
    let mut walk = Walk {
        place,
        limits: Limits::new(
            candidates,
            base.as_ref().map_or_else(Reached::default, Base::reached),
        ),
        candidates,
        first: candidates.iter().position(is_base).unwrap_or_default(),
        durable: base.as_ref().map_or(0, |base| base.index),
        base,
        vote,
        replay: Replay::new(machine, &mut wakes),
        kept: Vec::new(),
        doomed: Vec::new(),
        anchors: VecDeque::new(),
        order: Order::default(),
        last_entry: None,
        is_clean: false,
        read_bytes: 0,
    };
    let failure = match walk.run()? {
        Ending::Whole => None,
        Ending::Failed(failure) => Some(failure),
        Ending::NoBase => return Ok(None),
    };
    let is_cut = failure.is_some();
    if let Some(failure) = failure {
        walk.judge(failure)?;
    }
    let mut rewrite_from = walk.anchors.front().copied();
    if !place.storage.is_durable() {
        rewrite_from = None;
    }
    walk.replay.settle(walk.order.index);
    Ok(Some(Found {
        is_from_checkpoint,
        read_bytes: walk.read_bytes,
        doomed: walk.doomed,
        is_cut,
        last_segment: candidates.last().map_or(0, |last| last.segment),
        rewrite_from,
        last_index: walk.order.index,
        last_term: walk.order.term,
        last_entry: walk.last_entry,
        durable: walk.durable,
        is_clean: walk.is_clean && !is_cut,
        sequencer: walk.replay.into_sequencer(),
        vote: walk.vote,
        kept: walk.kept,
        cold: Vec::new(),
        stale: Vec::new(),
        store: None,
    }))
}

impl Walk<'_> {
    fn run(&mut self) -> Result<Ending, OpenError> {
        let candidates = self.candidates;
        for (at, candidate) in candidates.iter().enumerate() {
            let limit = self.limits.of(at);
            let header = match candidate.header_after(self.order.term) {
                Ok(header) => header,
                // A header that was never finished, of a segment that a later cut left behind.
                Err(error) if error.may_be_torn() && self.is_reached(limit) => {
                    self.doomed.push(candidate.segment);
                    continue;
                }
                Err(error) => return Ok(Ending::Failed(Failure::header(at, error.into()))),
            };
            if header.previous_index > limit {
                self.doomed.push(candidate.segment);
                continue;
            }
            if self.vote.is_some() {
                self.take_group_header(&header);
            } else if self.kept.is_empty() && header.previous_index > 0 {
                self.begin_behind_the_front(&header)?;
            }
            self.promise(header.durable);
            if let Some(problem) = self.chain_problem(&header) {
                return Ok(Ending::Failed(Failure::header(at, problem)));
            }
            let failure = if at < self.first {
                self.pass_segment(at, header, limit)?
            } else {
                if !self.try_restore(header.previous_index, header.previous_term) {
                    return Ok(Ending::NoBase);
                }
                self.walk_segment(at, header)?
            };
            if let Some(failure) = failure {
                return Ok(Ending::Failed(failure));
            }
            if at == self.first && self.base.is_some() {
                return Ok(Ending::NoBase);
            }
        }
        Ok(match self.base {
            None => Ending::Whole,
            Some(_) => Ending::NoBase,
        })
    }

    /// The first segment there is does not begin with the first entry.
    fn begin_behind_the_front(&mut self, header: &SegmentHeader) -> Result<(), OpenError> {
        let previous_index = header.previous_index;
        if self.base.is_none() {
            let path = segment::path(self.place.dir, header.segment);
            return Err(OpenError::FrontMissing {
                path,
                previous_index,
            });
        }
        self.order = Order {
            index: previous_index,
            term: header.previous_term,
        };
        Ok(())
    }

    /// Restores the base if the log has come to its index; false if it says another term there, or if the
    /// state cannot be restored.
    fn try_restore(&mut self, index: u64, term: u32) -> bool {
        let Some(base) = self.base.take_if(|base| base.index == index) else {
            return true;
        };
        let restored = base.term == term && self.replay.restore(&base);
        if !restored {
            tracing::warn!(index, term, base = %base.name, "the log does not go on from it");
            self.base = Some(base);
        }
        restored
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
    ) -> Result<Option<Failure>, OpenError> {
        let path = segment::path(self.place.dir, header.segment);
        let length = self.candidates.get(at).map_or(0, |it| it.length);
        let file = self.place.storage.open(&path, true)?;
        let seed = CrcSeed::new(self.place.log_uuid, header.segment);
        let mut scanner = Scanner::new(file.as_ref(), seed, length);
        if let Some(before) = self.kept.last_mut().filter(|before| before.is_footed) {
            before.index = Arc::new(before.index.outline());
        }
        let skipped = self.skip_to_base(at, &header, &mut scanner)?;
        // What is skipped is durable, the segment's header among it.
        let start = skipped.as_ref().map_or(0, |(position, _)| *position);
        self.anchor(Anchor {
            before: self.order.index,
            kept: self.kept.len(),
            position: start,
        });
        let (position, index) = skipped.unwrap_or_else(|| {
            let index = SegmentIndex::new(header.first_index);
            (SEGMENT_HEADER_BYTES as u64, index)
        });
        let mut walked = Walked {
            position,
            index,
            is_footed: false,
        };
        let failure = self.walk_frames(at, scanner, header.segment, &mut walked);
        let failure = failure.map_err(|error| error.in_file(path))?;
        self.read_bytes += walked.position - start;
        self.kept.push(Kept {
            header,
            end: walked.position,
            length,
            last_index: self.order.index,
            last_term: self.order.term,
            index: Arc::new(walked.index),
            is_footed: walked.is_footed,
            is_listed: false,
        });
        Ok(failure)
    }

    fn walk_frames(
        &mut self,
        at: usize,
        mut scanner: Scanner<'_>,
        segment: u64,
        walked: &mut Walked,
    ) -> Result<Option<Failure>, FrameOpenError> {
        let kept = self.kept.len();
        loop {
            let found = scanner.find(walked.position)?;
            #[cfg(test)]
            let found = mutant::find(found, &mut scanner, &mut walked.position, &mut self.order)?;
            let position = walked.position;
            if let scan::Found::Frame(FrameHeader { term, .. }) = found {
                self.limits
                    .reach(self.candidates, Reached { segment, term });
            }
            let limit = self.limits.of(at);
            let frame = match found {
                scan::Found::End => return Ok(None),
                scan::Found::Frame(frame) if frame.index > limit => return Ok(None),
                scan::Found::Frame(frame) => frame,
                scan::Found::Damage(..) if self.is_reached(limit) => return Ok(None),
                scan::Found::Damage(error, frame) => {
                    return Ok(Some(Failure::frame(at, position, error, frame)));
                }
            };
            let payload = scanner.payload(position, &frame)?;
            let taken = self.take_frame((segment, position), &frame, payload, &mut walked.index);
            match taken {
                Ok(true) => {}
                // What the base speaks of is not in the log: the caller sees that it is still there.
                Ok(false) => return Ok(None),
                Err(source @ FrameError::TooNew { .. }) => {
                    return Err(FrameOpenError::TooNew(position, source));
                }
                Err(error) => {
                    let mut failure = Failure::frame(at, position, error, Some(frame));
                    failure.read_about(payload);
                    return Ok(Some(failure));
                }
            }
            walked.is_footed = frame.kind == Kind::Footer.number()
                && SegmentIndex::decode(payload).is_some_and(|footer| footer == walked.index);
            walked.position += frame.padded_bytes();
            self.anchor(Anchor {
                before: self.order.index,
                kept,
                position: walked.position,
            });
        }
    }

    /// Checks a frame's place in the order and what it holds, and replays it if the base does not speak of
    /// it. False if it is the one that the base ends with, and is not what that says.
    fn take_frame(
        &mut self,
        (segment, position): (u64, u64),
        header: &FrameHeader,
        payload: &[u8],
        index: &mut SegmentIndex,
    ) -> Result<bool, FrameError> {
        // First: what only a newer version can read is not for this one to judge, let alone to cut.
        let kind = header.known_kind();
        let is_known = kind.is_some_and(|kind| {
            kind == Kind::Footer || (self.knows(kind) && kind.reads_version(header.version))
        });
        if !is_known && !header.may_skip() {
            let (kind, version) = (header.kind, header.version);
            return Err(FrameError::TooNew { kind, version });
        }
        let mut order = self.order;
        order.take(header)?;
        if let Some(kind) = kind.filter(|kind| kind.takes_index()) {
            let place = (segment, position);
            if self.base.is_some() || self.vote.is_some() {
                Replay::index(kind, place, header, payload, index)?;
            } else {
                self.replay.frame(kind, place, header, payload, index)?;
            }
            if !self.try_restore(header.index, header.term) {
                return Ok(false);
            }
            self.last_entry = Some(LastEntry {
                segment,
                position,
                term: header.term,
            });
        }
        if kind == Some(Kind::Vote) {
            self.vote = Some(group::vote_of(payload)?);
        }
        self.order = order;
        self.is_clean = header.is_closed_mark();
        self.promise(header.durable);
        Ok(true)
    }

    fn promise(&mut self, durable: u64) {
        if durable > self.durable {
            self.durable = durable;
            self.prune();
            if self.base.is_none() {
                self.replay.settle(durable.min(self.order.index));
            }
        }
    }

    fn anchor(&mut self, anchor: Anchor) {
        let is_near = self.anchors.back().is_some_and(|last| {
            last.kept == anchor.kept && anchor.position < last.position + ANCHOR_BYTES
        });
        if !is_near {
            self.anchors.push_back(anchor);
            self.prune();
        }
    }

    /// Keeps as the first anchor the last one before the entry D: what is behind it may not be durable,
    /// and a MARK between D and the next entry is.
    fn prune(&mut self) {
        while self
            .anchors
            .get(1)
            .is_some_and(|second| second.before < self.durable)
        {
            self.anchors.pop_front();
        }
    }
}
