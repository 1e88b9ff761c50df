//! Reading a log's files from outside: for `headwater dump`, offline and beside a running owner.
//!
//! Nothing is changed, nothing is locked, no state is built: segments, frames and damage are told in the
//! order in which they stand, with the verdict that opening the log would come to (see `recovery`): damage
//! to what was promised, or bytes that never were. Beyond opening it goes on behind damage, so that one
//! reading finds all of it. Cold segments come first: what is in them is older than the rest.
//!
//! A frame that is being written looks like a damaged one. So before a verdict everything behind is read for
//! what it promises, and then the place again: who promised it has written it before. What is appended while
//! the reader is at work may or may not be seen.

mod cold;
mod walk;

use std::ops::ControlFlow;

use self::walk::Walk;
use super::cold::{ColdFile, path as cold_path};
use super::error::OpenError;
use super::frame::FrameHeader;
use super::pair::StatePair;
use super::recovery::{Candidate, Place, survey};
use super::segment::{self, SegmentHeader};
use super::sequencer::Sequencer;
use super::set::Part;
use super::snapshot::{self, Snapshot};
use super::storage::Storage;
use crate::error::Result;

/// A log's files, as they were listed.
#[derive(Debug)]
pub struct Reader<'a> {
    storage: &'a dyn Storage,
    log_uuid: [u8; 16],
    dir: String,
    segments: Vec<Candidate>,
    cold: Vec<ColdFile>,
    /// Segments that hold nothing of the log any more.
    stale: Vec<(String, u64)>,
    /// Of a log whose front was removed, the state as of an entry behind it.
    base: Option<Snapshot>,
}

/// What a reader comes by.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a tool that prints everything has to know of everything"
)]
pub enum Item<'a> {
    /// A segment begins.
    Segment(FoundSegment<'a>),
    /// A frame whose checks hold.
    Frame(FoundFrame<'a>),
    /// Bytes that should be something else.
    Damage(Damage<'a>),
}

/// A segment of a log.
#[derive(Clone, Copy, Debug)]
pub struct FoundSegment<'a> {
    /// Its file, from the folder of the log on.
    pub path: &'a str,
    /// Bytes of its file.
    pub length: u64,
    /// Its header; none if that was never finished.
    pub header: Option<&'a SegmentHeader>,
    /// Whether a later cut has dropped all of it, or it has been moved elsewhere: none of it is told.
    pub is_cut: bool,
    /// What a cold segment says of itself.
    pub cold: Option<FoundCold>,
}

/// A cold segment: what cleaning has left of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundCold {
    /// Its number.
    pub segment: u64,
    /// Batches in it.
    pub batches: u64,
    /// When it was written, ms since 1970 UTC.
    pub created_ms: i64,
}

/// A frame of a log.
#[derive(Debug)]
pub struct FoundFrame<'a> {
    /// Number of its segment.
    pub segment: u64,
    /// Position in the segment's file, bytes.
    pub position: u64,
    /// Its header.
    pub header: FrameHeader,
    /// What it holds: the parts of a SET, one part of any other entry and of a VOTE, none of a MARK or FOOTER.
    pub parts: Vec<Part<'a>>,
    /// Whether it is none of the log's: dropped by a cut, or written behind bytes that were never promised.
    pub is_cut: bool,
    /// Whether it stands in a cold segment, where only the batches of a partition are in order.
    pub is_cold: bool,
}

/// A place where the log is not what it should be.
#[derive(Debug)]
pub struct Damage<'a> {
    /// The file, from the folder of the log on.
    pub path: &'a str,
    /// Position in it, bytes.
    pub position: u64,
    /// What is wrong there, in words.
    pub problem: String,
    /// The index that was to stand there.
    pub index: u64,
    /// The largest index known to have been synced.
    pub durable: u64,
    /// Whether it was promised to be there. If not, opening the log cuts it and loses nothing.
    pub is_promised: bool,
    /// The partition id that the damaged frame speaks of, if it is one of records.
    pub partition: Option<u32>,
}

/// Where a reading ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Index of the last entry of the log.
    pub last_index: u64,
    /// The largest index known to have been synced.
    pub durable: u64,
    /// Term of the last frame.
    pub term: u32,
    /// Whether the log was closed cleanly: its last frame says so.
    pub is_clean: bool,
}

/// Who is told; [`ControlFlow::Break`] ends the reading.
pub type Visit<'v> = dyn FnMut(&Item<'_>) -> ControlFlow<()> + 'v;

impl<'a> Reader<'a> {
    /// Lists the segments of the log `log_uuid` in `dir` and reads their headers.
    ///
    /// # Errors
    /// `Storage` when the files cannot be read, `Unsupported` for a segment of a newer version. A folder
    /// that is not there is an empty log.
    pub fn new(storage: &'a dyn Storage, dir: &str, log_uuid: [u8; 16]) -> Result<Self> {
        let place = Place {
            storage,
            dir,
            log_uuid: &log_uuid,
        };
        let found = survey(place)?;
        let moved = found.moved.iter().map(|it| segment::path(dir, *it));
        let doomed = found.cold.doomed.iter().map(|it| cold_path(dir, *it));
        let mut stale = Vec::new();
        for path in moved.chain(doomed) {
            // Its owner may be removing it just now.
            let length = storage.open(&path, true).and_then(|file| file.length());
            stale.push((path, length.unwrap_or_default()));
        }
        Ok(Self {
            base: base(place, found.candidates.first())?,
            storage,
            log_uuid,
            dir: dir.to_owned(),
            segments: found.candidates,
            cold: found.cold.kept,
            stale,
        })
    }

    /// Of a log whose front was removed: the index up to which a snapshot holds what it led to, and the
    /// machine's state as of then. Frames up to it tell only a part of what there was.
    #[must_use]
    pub fn base(&self) -> Option<(u64, &[StatePair])> {
        let base = self.base.as_ref()?;
        Some((base.index, &base.pairs))
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let log: u64 = self.segments.iter().map(|one| one.length).sum();
        let cold: u64 = self.cold.iter().map(|one| one.length).sum();
        log + cold
    }

    /// Reads everything and tells `visit` of it; `None` if that ended it.
    ///
    /// # Errors
    /// `Storage` when a file cannot be read, `Unsupported` for a frame of a newer version.
    pub fn read(&self, visit: &mut Visit<'_>) -> Result<Option<Ending>> {
        for (path, length) in &self.stale {
            let stale = Item::Segment(FoundSegment {
                path,
                length: *length,
                header: None,
                is_cut: true,
                cold: None,
            });
            if visit(&stale).is_break() {
                return Ok(None);
            }
        }
        for file in &self.cold {
            if cold::read(self, file, visit)?.is_break() {
                return Ok(None);
            }
        }
        let mut walk = Walk::new(self, visit);
        for at in 0..self.segments.len() {
            if walk.segment(at)?.is_break() {
                return Ok(None);
            }
        }
        Ok(Some(walk.ending()))
    }
}

/// The first snapshot that makes up for what stood before the first segment, if anything did.
fn base(
    place: Place<'_>,
    first: Option<&Candidate>,
) -> std::result::Result<Option<Snapshot>, OpenError> {
    let header = first.and_then(|first| first.header.as_ref().ok());
    let Some(header) = header.filter(|header| header.previous_index > 0) else {
        return Ok(None);
    };
    let Place {
        storage,
        dir,
        log_uuid,
    } = place;
    for segment in snapshot::list(storage, dir)? {
        let found = snapshot::read(storage, dir, log_uuid, segment)?;
        if let Some(mut found) = found.filter(|found| found.index >= header.previous_index) {
            found.pairs.retain(|pair| !Sequencer::is_own(pair));
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
