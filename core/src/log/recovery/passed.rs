//! What a segment holds that is passed over: from its footer, or, without one, from its frames.

use std::io;

use super::Place;
use super::verdict::Failure;
use crate::log::error::Problem;
use crate::log::frame::CrcSeed;
use crate::log::index::{SegmentIndex, read_footer};
use crate::log::rebuild;
use crate::log::segment::{self, SegmentHeader};

/// A segment that is passed over.
pub(super) struct Passed {
    pub(super) index: SegmentIndex,
    /// Where its data ends.
    pub(super) end: u64,
    pub(super) is_footed: bool,
}

/// Why a passed segment is not what it should be.
pub(super) struct Failed {
    position: u64,
    problem: Problem,
}

impl Failed {
    pub(super) fn at(self, candidate: usize) -> Failure {
        Failure {
            candidate,
            position: self.position,
            problem: self.problem,
            about: None,
        }
    }
}

/// A sealed segment that is passed over, its index in outline if it has a footer.
///
/// # Errors
/// The storage's; inside, of a segment without a footer, where its frames end before `last_index`.
pub(super) fn passed(
    place: Place<'_>,
    header: &SegmentHeader,
    last_index: u64,
    length: u64,
) -> io::Result<Result<Passed, Failed>> {
    let path = segment::path(place.dir, header.segment);
    let file = place.storage.open(&path, true)?;
    let seed = CrcSeed::new(place.log_uuid, header.segment);
    let footer = read_footer(file.as_ref(), seed, length)?;
    if let Some(index) = footer {
        return Ok(Ok(Passed {
            index: index.outline(),
            end: length,
            is_footed: true,
        }));
    }
    let rebuilt = rebuild::frames(file.as_ref(), seed, header.first_index, length)?;
    if rebuilt.index.last_index() == last_index {
        return Ok(Ok(Passed {
            index: rebuilt.index,
            end: rebuilt.end,
            is_footed: false,
        }));
    }
    Ok(Err(Failed {
        position: rebuilt.end,
        problem: Problem::End { index: last_index },
    }))
}
