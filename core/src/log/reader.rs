//! Reading a log's files from outside: for `headwater dump`, offline and beside a running owner.
//!
//! Nothing is changed, nothing is locked, no state is built: segments, frames and damage are told in the
//! order in which they stand, with the verdict that opening the log would come to (see `recovery`): damage
//! to what was promised, or bytes that never were. Beyond opening it goes on behind damage, so that one
//! reading finds all of it.
//!
//! A frame that is being written looks like a damaged one. So before a verdict everything behind is read for
//! what it promises, and then the place again: who promised it has written it before. What is appended while
//! the reader is at work may or may not be seen.

mod walk;

use std::ops::ControlFlow;

use self::walk::Walk;
use super::error::OpenError;
use super::frame::FrameHeader;
use super::recovery::{Candidate, Place, survey};
use super::segment::SegmentHeader;
use super::set::Part;
use super::snapshot;
use super::storage::Storage;
use crate::error::Result;

/// A log's files, as they were listed.
#[derive(Debug)]
pub struct Reader<'a> {
    storage: &'a dyn Storage,
    log_uuid: [u8; 16],
    segments: Vec<Candidate>,
    /// Whether the first segment has a snapshot: what came before it was removed, and is not missing.
    is_front_kept: bool,
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
    /// Whether a later cut has dropped all of it.
    pub is_cut: bool,
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
    /// What it holds: the parts of a SET, one part of any other entry, none of a MARK or FOOTER.
    pub parts: Vec<Part<'a>>,
    /// Whether it is none of the log's: dropped by a cut, or written behind bytes that were never promised.
    pub is_cut: bool,
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
        let segments = survey(place)?.candidates;
        Ok(Self {
            is_front_kept: is_front_kept(place, segments.first())?,
            storage,
            log_uuid,
            segments,
        })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|one| one.length).sum()
    }

    /// Reads everything and tells `visit` of it; `None` if that ended it.
    ///
    /// # Errors
    /// `Storage` when a file cannot be read, `Unsupported` for a frame of a newer version.
    pub fn read(&self, visit: &mut Visit<'_>) -> Result<Option<Ending>> {
        let mut walk = Walk::new(self, visit);
        for at in 0..self.segments.len() {
            if walk.segment(at)?.is_break() {
                return Ok(None);
            }
        }
        Ok(Some(walk.ending()))
    }
}

/// Whether a snapshot stands where the first segment begins.
fn is_front_kept(
    place: Place<'_>,
    first: Option<&Candidate>,
) -> std::result::Result<bool, OpenError> {
    let Some((number, header)) = first.and_then(|it| Some((it.segment, it.header.as_ref().ok()?)))
    else {
        return Ok(false);
    };
    let Place {
        storage,
        dir,
        log_uuid,
    } = place;
    if !snapshot::list(storage, dir)?.contains(&number) {
        return Ok(false);
    }
    let found = snapshot::read(storage, dir, log_uuid, number)?;
    Ok(found.is_some_and(|found| found.index == header.previous_index))
}

#[cfg(test)]
mod tests;
